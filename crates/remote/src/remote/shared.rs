//! What a supervisor shares with everybody else: what has happened to its link, what is wanted of it, and what it is up to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use gate::lock::Leaf;
use gate::{Deadline, ThreadToken};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::status::Record;
use crate::link::{Link, LinkWatch, Loss};
use crate::ranks;

/// See the module's head.
pub(super) struct Shared {
    /// Rank: 105, back end's life; a leaf. What is known of one link changes together, and news of it come from any thread. Held for
    /// a look; no link is dropped or called under it.
    desk: Leaf<ranks::Life, Desk>,
    /// Readable when there is something new on the desk.
    bell: OwnedFd,
}

struct Desk {
    /// Counts links: news of an earlier one concern nobody.
    generation: u64,
    link: Option<Arc<Link>>,
    lost: Option<Loss>,
    closing: bool,
    retry: bool,
    record: Record,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The link was lost.
    Lost(Loss),
    /// The owner lets go.
    Close,
    /// The operator wants another attempt now.
    Retry,
}

impl Shared {
    /// # Errors
    /// No descriptor left.
    pub(super) fn new(state: &'static str) -> Result<Shared, Errno> {
        let desk = Desk {
            generation: 0,
            link: None,
            lost: None,
            closing: false,
            retry: false,
            record: Record::new(state),
        };
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Shared { desk: Leaf::new(desk), bell })
    }

    fn ring(&self) {
        // A counter that is full is readable already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Begins with another link, whose loss the result is to be told of. Nobody hears of earlier ones any more.
    pub(super) fn next_link(self: &Arc<Shared>) -> Arc<dyn LinkWatch> {
        let mut desk = self.desk.lock();
        desk.generation += 1;
        desk.lost = None;
        Arc::new(Listener { shared: Arc::clone(self), generation: desk.generation })
    }

    /// The link is there. If the owner has let go meanwhile it is cut.
    pub(super) fn connected(&self, link: &Arc<Link>, pid: Option<i32>) {
        let mut desk = self.desk.lock();
        desk.record.pid = pid;
        desk.link = Some(Arc::clone(link));
        let closing = desk.closing;
        drop(desk);
        if closing {
            link.cut(CLOSED);
        }
    }

    /// The link, if there is one.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.desk.lock().link.clone()
    }

    /// Takes the link away, and what was told of it. What becomes of it later concerns nobody.
    pub(super) fn take_link(&self) -> (Option<Arc<Link>>, Option<Loss>) {
        let mut desk = self.desk.lock();
        desk.generation += 1;
        desk.record.pid = None;
        (desk.link.take(), desk.lost.take())
    }

    /// The owner lets go. Whatever the supervisor waits for ends.
    pub(super) fn close(&self) {
        let mut desk = self.desk.lock();
        desk.closing = true;
        let link = desk.link.clone();
        drop(desk);
        if let Some(link) = link {
            link.cut(CLOSED);
        }
        self.ring();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.desk.lock().closing
    }

    /// The next attempt is to be made now.
    pub(super) fn retry(&self) {
        self.desk.lock().retry = true;
        self.ring();
    }

    /// Changes or reads what is shown.
    pub(super) fn record<R>(&self, with: impl FnOnce(&mut Record) -> R) -> R {
        with(&mut self.desk.lock().record)
    }

    /// What wakes a wait.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// What is new, if anything. The owner's word comes first.
    pub(super) fn news(&self) -> Option<News> {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        let mut desk = self.desk.lock();
        if desk.closing {
            return Some(News::Close);
        }
        if let Some(loss) = desk.lost {
            return Some(News::Lost(loss));
        }
        std::mem::take(&mut desk.retry).then_some(News::Retry)
    }

    /// Waits until something is new, or until `deadline`.
    pub(super) fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> Option<News> {
        token.assert_holds_nothing();
        loop {
            if let Some(news) = self.news() {
                return Some(news);
            }
            let timeout = Timespec::try_from(deadline.remaining()?).ok();
            let bell = PollFd::from_borrowed_fd(self.bell(), PollFlags::IN);
            // An interruption or an error is a wake-up without a reason.
            let _ = poll(&mut [bell], timeout.as_ref());
        }
    }
}

/// Why the owner's end cuts a link.
const CLOSED: Loss = Loss::Cut("the function is closed");

/// Hears of one link.
struct Listener {
    shared: Arc<Shared>,
    generation: u64,
}

impl LinkWatch for Listener {
    fn lost(&self, loss: Loss) {
        let mut desk = self.shared.desk.lock();
        if desk.generation == self.generation && desk.lost.is_none() {
            desk.lost = Some(loss);
            drop(desk);
            self.shared.ring();
        }
    }
}

/// A clock that begins now; a life knows no other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn new() -> Clock {
        Clock(Instant::now())
    }

    pub(super) fn now(&self) -> std::time::Duration {
        self.0.elapsed()
    }

    /// That moment of this clock, as the end of a wait.
    pub(super) fn deadline(&self, at: std::time::Duration) -> Deadline {
        Deadline::at(self.0.checked_add(at).unwrap_or(self.0))
    }
}

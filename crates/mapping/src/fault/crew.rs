//! The handlers of one pool, and what they share.

use super::handler;
use super::signals::KeptAway;
use super::table::{Found, Table};
use crate::uffd::{Bell, Ones, Uffd};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Bytes. Nothing here recurses; a panic is reported from there.
const STACK: usize = 256 << 10;
/// One reads, and another has to be there to interrupt it and to watch deadlines.
pub(super) const FEWEST_HANDLERS: usize = 2;
/// A window whose faults have ended so many times in a panic is given up.
const MOST_PANICS: u32 = 3;

/// Starts the thread of a handler.
pub(super) type Start = fn(Arc<Crew>) -> io::Result<()>;

/// What the handlers of one pool share. The last to have it closes the descriptors.
pub(super) struct Crew {
    table: Table,
    /// What interrupts the one who reads.
    bell: Bell,
    /// Tokens there are. Who has one reads faults; who has none watches deadlines, and is there to take one.
    tokens: AtomicUsize,
    /// One less than there are handlers.
    most_tokens: AtomicUsize,
    /// An eventfd with the tokens that nobody has.
    vacant: OwnedFd,
    /// An eventfd that is readable when there are deadlines that nobody may be watching.
    news: OwnedFd,
    /// An eventfd that is readable from the end of the pool on.
    stop: OwnedFd,
    /// The same for who is about to read.
    ended: AtomicBool,
    /// Faults cannot be read any more, and every window has been given up, or is about to be.
    lost: AtomicBool,
    ones: Ones,
    uffd: Uffd,
}

impl Crew {
    pub(super) fn new(uffd: Uffd, ones: Ones) -> io::Result<Crew> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Crew {
            table: Table::default(),
            bell: Bell::new(&uffd, &ones)?,
            tokens: AtomicUsize::new(0),
            most_tokens: AtomicUsize::new(0),
            vacant: eventfd(0, flags | EventfdFlags::SEMAPHORE)?,
            news: eventfd(0, flags)?,
            stop: eventfd(0, flags)?,
            ended: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            ones,
            uffd,
        })
    }

    /// Starts `wanted` handlers, or as many as the system permits. Once.
    ///
    /// # Errors
    /// There are not enough of them. Those there are end.
    pub(super) fn staff(self: &Arc<Crew>, wanted: usize, start: Start) -> io::Result<()> {
        let wanted = wanted.max(FEWEST_HANDLERS);
        for started in 0..wanted {
            match start(Arc::clone(self)) {
                Ok(()) => self.most_tokens.store(started, Ordering::Relaxed),
                Err(error) if started < FEWEST_HANDLERS => {
                    self.stop();
                    return Err(error);
                }
                Err(_) => break,
            }
        }
        // Not earlier: who reads with nobody else there could not be interrupted.
        self.invite();
        Ok(())
    }

    pub(super) fn uffd(&self) -> &Uffd {
        &self.uffd
    }

    pub(super) fn ones(&self) -> &Ones {
        &self.ones
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Has every handler end, when it has done what it is at.
    pub(super) fn stop(&self) {
        self.ended.store(true, Ordering::Release);
        post(&self.stop);
    }

    /// A handler has come to its end; `reading` if it has a token, which ends with it.
    pub(super) fn end(&self, reading: bool) {
        let vacant = std::iter::from_fn(|| self.take_over().then_some(())).count();
        let gone = vacant + usize::from(reading);
        if self.tokens.fetch_sub(gone, Ordering::SeqCst) == gone {
            // Nobody reads faults any more, and who rings need not wait for that.
            self.bell.silence(&self.uffd, &self.ones);
        } else {
            // Who has a token comes to its end too, and may have to be interrupted for that.
            self.bell.ring();
        }
    }

    /// A handler has come to grief over `serving`.
    pub(super) fn recover(&self, serving: &Found) {
        tracing::error!("answering a page fault has ended in a panic");
        if self.table.count_panic(serving.start) >= MOST_PANICS {
            tracing::error!("a mapping shows all-ones from now on: answering its faults fails");
            serving.window.abandon();
        }
        // Whoever waits there faults again.
        self.uffd.wake(serving.start, serving.len);
    }

    /// Nobody answers faults any more.
    pub(super) fn give_up(&self) {
        tracing::error!("nothing answers page faults any more; every mapping shows all-ones from now on");
        self.lost.store(true, Ordering::SeqCst);
        self.stop();
        for window in self.table.windows() {
            window.abandon();
        }
    }

    /// There is work for one more: has another one read faults too, if there is one to spare.
    pub(super) fn invite(&self) {
        let most = self.most_tokens.load(Ordering::Relaxed);
        let more = |tokens: usize| (tokens < most).then_some(tokens + 1);
        if self.tokens.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok() {
            self.pass_on();
        }
    }

    /// Who has a token finds too little work: true if it may leave with it, since there are others.
    pub(super) fn leave(&self) -> bool {
        let fewer = |tokens: usize| (tokens > 1).then(|| tokens - 1);
        self.tokens.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok()
    }

    /// Who has a token gives it up: another one reads faults from now on, or the same again.
    pub(super) fn pass_on(&self) {
        post(&self.vacant);
    }

    /// Takes a token that nobody has.
    pub(super) fn take_over(&self) -> bool {
        take(&self.vacant)
    }

    #[cfg(test)]
    pub(super) fn tokens(&self) -> usize {
        self.tokens.load(Ordering::SeqCst)
    }

    /// Whether there is a token that nobody has.
    #[cfg(test)]
    pub(super) fn is_vacant(&self) -> bool {
        let mut fds = [PollFd::new(&self.vacant, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    /// Has one of those who wait look at the deadlines.
    pub(super) fn tell(&self) {
        post(&self.news);
    }

    /// Waits until there is a token to take, which it gives; there is news; the end; or `timeout` has passed.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = [&self.vacant, &self.news, &self.stop].map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [vacant, news, _] = fds.map(|fd| !fd.revents().is_empty());
        if news {
            // Before the deadlines are looked at, so whatever is noted after that look is news again.
            take(&self.news);
        }
        Ok(vacant)
    }
}

/// Makes an eventfd readable.
fn post(eventfd: &OwnedFd) {
    // Fails only if the counter is full, and then it is readable.
    let _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}

/// Makes an eventfd unreadable; false if it is.
fn take(eventfd: &OwnedFd) -> bool {
    rustix::io::read(eventfd, &mut [0; 8]).is_ok()
}

/// Starts a thread that is a handler.
pub(super) fn start_thread(crew: Arc<Crew>) -> io::Result<()> {
    let _inherited = KeptAway::new();
    let thread = std::thread::Builder::new().name(String::from("fault")).stack_size(STACK);
    thread.spawn(move || handler::run(crew)).map(drop)
}

//! Where events come from: the control socket, asked again and again, and anew if the connection is lost.
//!
//! A follower asks for what is new and lets the daemon wait a moment if there is nothing. It looks for signals and for the
//! end of its own reader meanwhile, so that both end it at once. The daemon cuts off the client that has been silent
//! longest when it has too many, so a lost connection is made again; the follower's place is in its requests, so it
//! misses nothing by that.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use gate::Deadline;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::exit::{Exit, Failure};
use super::{Events, Since};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{RefusalCode, Request};
use crate::control::stream::EventPage;
use crate::daemon::signals::Signals;

/// How long the daemon is let wait at a time. It notices only then that a follower has gone, so not for long.
const WAIT: Duration = Duration::from_secs(2);
/// How long to pause when there is no place to wait in the daemon.
const PAUSE: Duration = Duration::from_millis(500);
/// Connections that are lost one after the other before this is given up.
const MAX_LOST: u32 = 5;

/// How long to wait for something new.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    None,
    /// Until interrupted, or until then.
    Until(Option<Deadline>),
}

/// A place in the stream of events, and the connection to read on.
pub(super) struct Source {
    socket: PathBuf,
    client: Client,
    /// What ends a follower.
    signals: Option<Signals>,
    target: Option<String>,
    kinds: Vec<String>,
    stream: Option<String>,
    after: Option<u64>,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// There is an answer.
    Answer,
    /// The time is over.
    Time,
    /// A signal came, or nobody reads what is printed.
    Unwanted,
}

impl Source {
    pub(super) fn connect(socket: PathBuf, options: Events) -> Result<Self, Failure> {
        let system = |error: io::Error| Failure::new(Exit::Failed, format!("cannot take signals: {error}"));
        let client = Client::connect(&socket)?;
        let after = match options.since {
            Since::Number(number) => Some(number),
            Since::Now => None,
        };
        let Events { target, kinds, follow, .. } = options;
        let signals = if follow { Some(Signals::block().map_err(system)?) } else { None };
        Ok(Self { socket, client, signals, target, kinds, stream: None, after })
    }

    /// The next piece, which may have nothing in it; `None` when nobody wants any more, or the time is over.
    pub(super) fn next(&mut self, patience: Patience) -> Result<Option<EventPage>, Failure> {
        let mut lost = 0;
        // Without a place to wait in the daemon, the waiting is done here.
        let mut places = true;
        loop {
            let wait = match patience {
                Patience::None => Duration::ZERO,
                Patience::Until(None) => WAIT,
                Patience::Until(Some(until)) => match until.remaining() {
                    Some(left) => left.min(WAIT),
                    None => return Ok(None),
                },
            };
            match self.ask(if places { wait } else { Duration::ZERO }) {
                Ok(None) => return Ok(None),
                Ok(Some(page)) => {
                    (self.stream, self.after) = (Some(page.stream.clone()), Some(page.next));
                    if places || !page.items.is_empty() || page.ended {
                        return Ok(Some(page));
                    }
                }
                Err(ClientError::Refused(refusal))
                    if refusal.code == RefusalCode::TooManyClients && !wait.is_zero() =>
                {
                    places = false;
                }
                Err(ClientError::NoAnswer(_)) if lost < MAX_LOST => {
                    lost += 1;
                    self.client = Client::connect(&self.socket).map_err(|_| ended())?;
                    continue;
                }
                Err(ClientError::NoAnswer(_)) => return Err(ended()),
                Err(error) => return Err(error.into()),
            }
            if self.wait(None, wait.min(PAUSE))? == Woken::Unwanted {
                return Ok(None);
            }
        }
    }

    /// One request; `None` when nobody wants the answer any more.
    fn ask(&mut self, wait: Duration) -> Result<Option<EventPage>, ClientError> {
        let request = Request::EventWait {
            target: self.target.clone(),
            kinds: self.kinds.clone(),
            after: self.after,
            stream: self.stream.clone(),
            limit: None,
            timeout_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let sent = self.client.send(&request)?;
        // Longer than the daemon: what ends this is its answer, its end, or ours.
        let woken = self.wait(Some(&self.client), wait + Duration::from_secs(30));
        if woken.map_err(|error| ClientError::NoAnswer(error.into()))? == Woken::Unwanted {
            return Ok(None);
        }
        self.client.receive(sent).map(Some)
    }

    /// Waits for an answer, at most `time`, unless this is not a follower, which waits in reading.
    fn wait(&self, client: Option<&Client>, time: Duration) -> io::Result<Woken> {
        use std::os::fd::AsFd;
        let Some(signals) = &self.signals else { return Ok(Woken::Answer) };
        let stdout = io::stdout();
        // Of the reader of our output nothing is asked but whether it has gone, which is always told.
        let mut fds = vec![
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty()),
        ];
        let answer: Option<BorrowedFd<'_>> = client.map(AsFd::as_fd);
        fds.extend(answer.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let seen = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok(match (seen(0) || seen(1), seen(2)) {
            (true, _) => Woken::Unwanted,
            (false, true) => Woken::Answer,
            (false, false) => Woken::Time,
        })
    }
}

fn ended() -> Failure {
    Failure::new(Exit::Unreachable, "the daemon has ended")
}

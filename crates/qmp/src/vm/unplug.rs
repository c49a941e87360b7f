//! Taking a device out of a machine: the guest is asked, again and again, until it lets go or time is up.
//!
//! What ends it well: the event `DEVICE_DELETED`; QEMU's word that there is no such device, since events are told only to
//! who is connected when they happen; and the end of QEMU itself, which takes its devices with it.

use super::ask::{Asked, ask};
use super::look;
use super::monitor::{Heard, Operation, Since};
use super::news::What;
use super::pace::{Pace, Pauses};
use super::{DeviceId, Vm};
use crate::error::{QmpError, Refusal};
use crate::socket::{self, Failure};
use gate::{Deadline, ThreadToken};
use std::fmt;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The pause before a connection that was lost is made anew; doubled each time up to [`LONGEST_RECONNECT`].
const RECONNECT: Duration = Duration::from_millis(20);
const LONGEST_RECONNECT: Duration = Duration::from_secs(1);

/// How long QEMU leaves a command unanswered before that, and not the guest, is what is wrong.
const HELD_UP: Duration = Duration::from_secs(1);

/// A device is out of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unplugged {
    /// How that is known.
    pub how: How,
    /// How often the guest was given the request.
    pub asked: u32,
}

/// How it is known that a device is out of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// QEMU said so after the guest let it go.
    LetGo,
    /// QEMU knows no such device.
    NotThere,
    /// QEMU has ended.
    QemuEnded,
}

/// What happens on the way, for who shows progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The guest was given the request, for the so-many-th time.
    Asked(u32),
    /// The guest has an earlier request that it has not answered.
    Pending,
    /// QEMU cannot pass the request on, in its words.
    NotNow(Refusal),
    /// The guest says that it will not let the device go.
    GuestRefused,
    /// The connection to QEMU was lost; it is made anew.
    Lost,
    /// The processors of the machine do not run, in QEMU's word for its state: no guest can answer.
    NotRunning(String),
}

/// Why a device is still in a machine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnplugError {
    /// The guest said no, and time was up before it said yes.
    #[error(
        "the guest refuses to let the device go (it was asked {asked} times): see the guest's kernel log"
    )]
    Refused {
        /// How often the guest was given the request.
        asked: u32,
    },
    /// Nobody answered.
    #[error("the guest did not let the device go in time: {0}")]
    TimedOut(Silence),
    /// The thread's waits were cancelled. A guest that was given the request may still act on it.
    #[error("cancelled after the guest was asked {asked} times; it may still let the device go")]
    Cancelled {
        /// How often the guest was given the request.
        asked: u32,
    },
    /// The machine cannot do it.
    #[error("QEMU cannot take the device out while the machine runs: {0}")]
    Impossible(Refusal),
    /// QEMU could not be asked at all.
    #[error(transparent)]
    Qmp(QmpError),
}

/// Why a guest is silent, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The processors do not run, in QEMU's word for the state.
    NotRunning(String),
    /// It has the request, was given it so often by this call, and does nothing.
    NoAnswer(u32),
    /// QEMU did not pass the request on, for the reason that it gave.
    NotGiven(Refusal),
    /// QEMU itself did not answer, or not on this socket.
    NoQemu(QmpError),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(state) => write!(f, "the machine is {state}; let it run (QMP cont)"),
            Self::NoAnswer(asked) => write!(
                f,
                "it has the request (given {asked} times) and does nothing; it has no driver for hot-plug (Linux: pciehp \
                 or acpiphp), has not booted, or hangs"
            ),
            Self::NotGiven(refusal) => write!(f, "QEMU does not pass the request on: {refusal}"),
            Self::NoQemu(error) => write!(f, "{error}"),
        }
    }
}

impl Vm {
    /// Has the guest let the device go, and waits until it has. `told` hears of each step; it is called with no lock held.
    ///
    /// # Errors
    /// [`UnplugError`]. After [`UnplugError::TimedOut`] and [`UnplugError::Cancelled`] a guest that was given the request
    /// may still act on it.
    pub fn unplug(
        &self,
        token: &mut ThreadToken,
        id: &DeviceId,
        pace: Pace,
        deadline: Deadline,
        told: &mut dyn FnMut(Step),
    ) -> Result<Unplugged, UnplugError> {
        let mut attempt = Attempt {
            operation: self.monitor.operation(),
            id,
            deadline,
            told,
            pauses: Pauses::new(pace),
            reconnect: RECONNECT,
            asked: 0,
            answered: false,
            guest_refused: false,
            silence: None,
        };
        loop {
            let began = Instant::now();
            let ended = match attempt.round(token) {
                Ok(ended) => ended,
                Err(end) => attempt.survive(token, end, began)?,
            };
            if let Some(how) = ended {
                return Ok(Unplugged { how, asked: attempt.asked });
            }
        }
    }
}

/// An unplug under way.
struct Attempt<'a> {
    operation: Operation<'a>,
    id: &'a DeviceId,
    deadline: Deadline,
    told: &'a mut dyn FnMut(Step),
    pauses: Pauses,
    /// The pause before the next connection.
    reconnect: Duration,
    asked: u32,
    /// QEMU has answered at least once.
    answered: bool,
    /// The guest has said no at least once.
    guest_refused: bool,
    /// Why nothing has happened so far.
    silence: Option<Silence>,
}

/// What ends a round before it is time to ask again.
enum End {
    Qmp(QmpError),
    Lost,
    Impossible(Refusal),
    Cancelled,
    TimedOut,
}

impl From<QmpError> for End {
    fn from(error: QmpError) -> End {
        match error {
            QmpError::Cancelled(_) => End::Cancelled,
            QmpError::Closed => End::Lost,
            other => End::Qmp(other),
        }
    }
}

impl Attempt<'_> {
    /// Asks once, and waits until it is time to ask again.
    fn round(&mut self, token: &mut ThreadToken) -> Result<Option<How>, End> {
        let (state, running) = look::status(&self.operation, token, self.deadline)?;
        self.answered = true;
        let since = self.operation.since();
        let pause = match ask(&self.operation, token, self.id, self.deadline)? {
            Asked::NotThere => return Ok(Some(How::NotThere)),
            Asked::Impossible(refusal) => return Err(End::Impossible(refusal)),
            Asked::Given => {
                self.asked = self.asked.saturating_add(1);
                self.silence = Some(Silence::NoAnswer(self.asked));
                (self.told)(Step::Asked(self.asked));
                self.pauses.after_request()
            }
            Asked::Pending => {
                self.silence = Some(Silence::NoAnswer(self.asked));
                (self.told)(Step::Pending);
                self.pauses.after_request()
            }
            Asked::NotNow(refusal) => {
                self.silence = Some(Silence::NotGiven(refusal.clone()));
                (self.told)(Step::NotNow(refusal));
                self.pauses.after_busy()
            }
        };
        if !running {
            self.silence = Some(Silence::NotRunning(state.clone()));
            (self.told)(Step::NotRunning(state));
        }
        self.listen(token, since, Deadline::after(pause).min(self.deadline))
    }

    /// Waits for what becomes of the request.
    fn listen(
        &mut self,
        token: &mut ThreadToken,
        mut since: Since,
        until: Deadline,
    ) -> Result<Option<How>, End> {
        loop {
            match self.operation.wait_for_news(token, self.id.as_str(), since, until) {
                Heard::News(What::Deleted, _) => return Ok(Some(How::LetGo)),
                Heard::News(What::GuestRefused, mark) => {
                    since.news = mark;
                    self.guest_refused = true;
                    (self.told)(Step::GuestRefused);
                }
                Heard::Lost => return Err(End::Lost),
                Heard::Cancelled => return Err(End::Cancelled),
                Heard::Nothing if self.deadline.remaining().is_none() => return Err(End::TimedOut),
                Heard::Nothing => {
                    self.reconnect = RECONNECT;
                    return Ok(None);
                }
            }
        }
    }

    /// Goes on after a lost connection; anything else ends the unplug, well if what has ended is QEMU.
    fn survive(
        &mut self,
        token: &mut ThreadToken,
        end: End,
        began: Instant,
    ) -> Result<Option<How>, UnplugError> {
        match end {
            End::Impossible(refusal) => Err(UnplugError::Impossible(refusal)),
            End::Cancelled => Err(self.cancelled()),
            End::TimedOut => Err(self.timed_out()),
            // It was there, and now nobody listens.
            End::Qmp(error) if self.answered && error.is_absence() => Ok(Some(How::QemuEnded)),
            End::Qmp(error @ (QmpError::TimedOut(_) | QmpError::NoGreeting(_))) => {
                if self.silence.is_none() || began.elapsed() > HELD_UP {
                    self.silence = Some(Silence::NoQemu(error));
                }
                Err(self.timed_out())
            }
            End::Qmp(error) => Err(UnplugError::Qmp(error)),
            End::Lost => {
                (self.told)(Step::Lost);
                self.silence = Some(Silence::NoQemu(QmpError::Closed));
                let pause = self.reconnect;
                self.reconnect = (pause * 2).min(LONGEST_RECONNECT);
                socket::pause(token, pause, self.deadline).map(|()| None).map_err(|failure| match failure {
                    Failure::Cancelled => self.cancelled(),
                    _ => self.timed_out(),
                })
            }
        }
    }

    fn cancelled(&self) -> UnplugError {
        UnplugError::Cancelled { asked: self.asked }
    }

    fn timed_out(&mut self) -> UnplugError {
        if self.guest_refused {
            return UnplugError::Refused { asked: self.asked };
        }
        let silence = self.silence.take();
        UnplugError::TimedOut(silence.unwrap_or(Silence::NoAnswer(self.asked)))
    }
}

//! What a remote function is told.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use contain::budget::FreezeBudget;

/// How much of the back end the consumer reaches, and what a new one means to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// NVMe only: the consumer has a controller of ours, whose commands the back end executes. A new back end is set up as the
    /// last one was, and what was in flight is executed there: the consumer sees a pause.
    #[default]
    Replay,
    /// Registers, doorbells and queues are the back end's, and what it lets be mapped the consumer maps. A dead back end is an
    /// error that is contained; under a new one the device is reset.
    Passthrough,
    /// As [`Mode::Passthrough`], but nothing of the back end's memory is passed on.
    Reset,
}

impl Mode {
    /// All modes with the words that a configuration has for them, the default first.
    pub const CHOICES: [(&'static str, Mode); 3] =
        [("replay", Mode::Replay), ("passthrough", Mode::Passthrough), ("reset", Mode::Reset)];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Replay => "replay",
            Mode::Passthrough => "passthrough",
            Mode::Reset => "reset",
        }
    }
}

/// How long is waited between two attempts to connect: longer each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// After the first attempt that failed.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// By how much each wait may be shorter, in per cent, so that many who have lost the same back end do not come back as one.
    pub jitter_percent: u8,
}

impl Default for BackOff {
    /// 20 ms, doubled each time up to 2 s, up to a quarter less.
    fn default() -> BackOff {
        BackOff { first: Duration::from_millis(20), longest: Duration::from_secs(2), jitter_percent: 25 }
    }
}

/// A command that starts the back end again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartCommand {
    /// The program, looked for in `PATH` if it has no slash. No shell is between.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// See the module's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteConfig {
    /// Socket of the back end, or a directory with `cntrl` in it.
    pub upstream: PathBuf,
    /// See [`Mode`].
    pub mode: Mode,
    /// How long the first connection may take, with everything that is asked over it; without it there is no function.
    pub connect_timeout: Duration,
    /// How long an answer may take before the back end counts as hung. Below QEMU's 5 s, or QEMU gives up first.
    pub hang_limit: Duration,
    /// Waits between attempts to reconnect.
    pub back_off: BackOff,
    /// How long a back end may be away before that is final.
    pub give_up_after: Duration,
    /// How often it may be lost before that is final.
    pub budget: FreezeBudget,
    /// Starts it again when it is lost; `None`: somebody else does.
    pub restart: Option<RestartCommand>,
    /// A back end that hangs is killed, so that what it may still have in flight is known to be over.
    pub kill_hung: bool,
    /// Replay writes although the old back end's own may land after them, because nobody knows whether it is over.
    pub accept_late_writes: bool,
    /// Pass on memory that the back end could shrink under the consumer, which ends the consumer (SIGBUS).
    pub accept_unsealed: bool,
    /// Submission queues at the back end that the consumer's are spread over, in replay.
    pub queues: u16,
    /// The controller that the consumer has in replay.
    pub nvme: models::nvme::Config,
}

impl RemoteConfig {
    /// What `hang_limit` may be.
    pub const HANG_LIMITS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(4);
    /// What `give_up_after` may be.
    pub const GIVE_UP: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);
    /// What `queues` may be.
    pub const QUEUES: RangeInclusive<u32> = 1..=16;

    /// The defaults for the back end at this socket.
    #[must_use]
    pub fn new(upstream: PathBuf) -> RemoteConfig {
        RemoteConfig {
            upstream,
            mode: Mode::default(),
            connect_timeout: Duration::from_secs(5),
            hang_limit: Duration::from_secs(3),
            back_off: BackOff::default(),
            give_up_after: Duration::from_secs(300),
            budget: FreezeBudget { max_freezes: 20, window: Duration::from_secs(3600) },
            restart: None,
            kill_hung: false,
            accept_late_writes: false,
            accept_unsealed: false,
            queues: 1,
            nvme: models::nvme::Config::default(),
        }
    }
}

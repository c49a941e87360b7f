//! Why a command was not carried out: what QEMU, or whoever answers in its place, did, and what an operator can do.

use rustix::io::Errno;
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Bytes of QEMU's words that are kept: they go into log lines, and their length is the peer's choice.
const MAX_WORDS: usize = 400;

/// Why a command has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QmpError {
    /// Nobody listens there.
    #[error(
        "no QEMU monitor at {}: {cause}; start QEMU with -qmp unix:{},server=on,wait=off",
        .path.display(), .path.display()
    )]
    Connect {
        /// The monitor's socket.
        path: PathBuf,
        /// What connecting gave.
        cause: Errno,
    },
    /// Somebody listens and says nothing: QEMU serves one client at a time on a monitor.
    #[error(
        "the monitor {} did not greet: another client has it; give QEMU one more -qmp socket for Portcullis alone",
        .0.display()
    )]
    NoGreeting(PathBuf),
    /// The other end closed the connection: QEMU ends when it does that.
    #[error("QEMU closed the monitor: it has ended, or is about to")]
    Closed,
    /// The deadline passed first. Whether the command takes effect is not known.
    #[error(
        "QEMU did not answer `{0}` in time: something holds its main loop up, for instance a device that does not answer"
    )]
    TimedOut(String),
    /// This thread's waits were cancelled. Whether the command takes effect is not known.
    #[error("cancelled before QEMU answered `{0}`")]
    Cancelled(String),
    /// QEMU has the command and says no.
    #[error("QEMU refuses `{command}`: {refusal}")]
    Refused {
        /// The command.
        command: String,
        /// Its answer.
        refusal: Refusal,
    },
    /// What came is not QMP.
    #[error("what answers on the monitor is no QEMU: {0}; check the path of the socket")]
    Protocol(Offence),
    /// A system call failed.
    #[error("the monitor's socket failed: {0}")]
    Socket(#[from] Errno),
}

impl QmpError {
    /// The connection can be used on: the command failed, not the stream.
    pub(crate) fn leaves_the_stream_sound(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::TimedOut(_) | Self::Cancelled(_))
    }

    /// Nobody listens on the socket, or there is none.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Connect { cause: Errno::CONNREFUSED | Errno::NOENT, .. })
    }

    pub(crate) fn connect(path: &Path, cause: Errno) -> QmpError {
        QmpError::Connect { path: path.to_owned(), cause }
    }
}

/// QEMU's answer to a command that it does not carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class, for programs: `GenericError`, `DeviceNotFound`, `CommandNotFound`.
    pub class: String,
    /// The reason, for people; not stable from version to version. At most 400 bytes, without control characters.
    pub words: String,
}

impl Refusal {
    pub(crate) fn new(class: &str, words: &str) -> Refusal {
        Refusal { class: printable(class), words: printable(words) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What a peer did that QEMU does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Offence {
    /// A line of more than 1 MiB.
    #[error("it sent a line of more than 1 MiB")]
    LongLine,
    /// A line that is no JSON object, or one that nests deeper than 128 levels.
    #[error("it sent a line that is no JSON object")]
    NotAnObject,
    /// An object that is neither an answer nor an event.
    #[error("it sent an object that is neither an answer nor an event")]
    NotAMessage,
    /// An answer to a command that was not sent.
    #[error("it answered a command that was not sent")]
    Unasked,
    /// It did not begin with the greeting.
    #[error("it did not begin with QEMU's greeting")]
    Greeting,
}

/// The peer's words as they may be shown and logged.
pub(crate) fn printable(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_WORDS);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusals_words_are_cut_and_cannot_steer_a_terminal() {
        let refusal = Refusal::new("GenericError", &format!("\u{1b}[2J\n{}", "é".repeat(MAX_WORDS)));
        assert!(refusal.words.len() <= MAX_WORDS);
        assert!(!refusal.words.chars().any(char::is_control));
    }
}

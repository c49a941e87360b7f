//! Lines of text from a UNIX socket, each waited for with a deadline.

use super::deadline::Deadline;
use super::{During, GuestError};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

/// A line longer than this many bytes is delivered in pieces.
const LONGEST: usize = 1 << 20;

/// Waits until `fd` can be read.
///
/// # Errors
/// [`GuestError::TimedOut`], or an I/O error.
pub(super) fn wait_readable(
    fd: impl AsFd,
    deadline: &Deadline,
    what: &dyn Fn() -> String,
) -> Result<(), GuestError> {
    loop {
        let left = deadline.left(what)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error).during(|| format!("wait for {}", what())),
        }
    }
}

/// Accepts one connection; QEMU connects to the host's listener, so there is no race with its start.
///
/// # Errors
/// [`GuestError::TimedOut`], or an I/O error.
pub(super) fn accept(
    listener: &UnixListener,
    deadline: &Deadline,
    what: &str,
) -> Result<UnixStream, GuestError> {
    wait_readable(listener, deadline, &|| format!("{what} to connect"))?;
    listener.accept().map(|(stream, _)| stream).during(|| format!("accept {what}"))
}

/// A line-by-line text channel.
#[derive(Debug)]
pub(super) struct Lines {
    stream: UnixStream,
    /// Who is at the other end, for errors.
    peer: String,
    /// Received and not yet delivered.
    pending: Vec<u8>,
}

impl Lines {
    /// Takes over a connected socket.
    pub(super) fn new(stream: UnixStream, peer: impl Into<String>) -> Self {
        Self { stream, peer: peer.into(), pending: Vec::new() }
    }

    /// Sends `text` as it is.
    ///
    /// # Errors
    /// [`GuestError::Ended`] when the other end is gone, or an I/O error.
    pub(super) fn send(&mut self, text: &str) -> Result<(), GuestError> {
        match self.stream.write_all(text.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(GuestError::Ended(self.peer.clone()))
            }
            other => other.during(|| format!("write to {}", self.peer)),
        }
    }

    /// The next line, without its end; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], [`GuestError::Ended`] when the other end has closed, or an I/O error.
    pub(super) fn next(
        &mut self,
        deadline: &Deadline,
        what: &dyn Fn() -> String,
    ) -> Result<String, GuestError> {
        let mut searched = 0;
        loop {
            let end = self.pending[searched..].iter().position(|&byte| byte == b'\n').map(|at| searched + at);
            if let Some(end) = end.or((self.pending.len() >= LONGEST).then_some(LONGEST - 1)) {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            searched = self.pending.len();
            wait_readable(&self.stream, deadline, what)?;
            let mut chunk = [0; 16384];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(GuestError::Ended(self.peer.clone())),
                Ok(count) => self.pending.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Err(GuestError::Ended(self.peer.clone()));
                }
                Err(error) => return Err(error).during(|| format!("read from {}", self.peer)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn lines() -> (Lines, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Lines::new(ours, "peer"), theirs)
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_delivered_whole_and_the_rest_is_kept() {
        let (mut lines, mut peer) = lines();
        let deadline = Deadline::after(Duration::from_secs(10));
        peer.write_all(b"one\r\ntwo\nthr").unwrap();
        assert_eq!(lines.next(&deadline, &String::new).unwrap(), "one");
        assert_eq!(lines.next(&deadline, &String::new).unwrap(), "two");
        peer.write_all(b"ee\n").unwrap();
        assert_eq!(lines.next(&deadline, &String::new).unwrap(), "three");
    }

    #[test]
    fn a_closed_peer_ends_the_wait_before_its_deadline() {
        let (mut lines, peer) = lines();
        drop(peer);
        let outcome = lines.next(&Deadline::after(Duration::from_secs(600)), &String::new);
        assert!(matches!(outcome, Err(GuestError::Ended(peer)) if peer == "peer"));
    }

    #[test]
    fn a_silent_peer_is_given_up_at_the_deadline() {
        let (mut lines, _peer) = lines();
        let outcome = lines.next(&Deadline::after(Duration::from_millis(20)), &|| "a line".into());
        assert!(matches!(outcome, Err(GuestError::TimedOut { what, .. }) if what == "a line"));
    }
}

//! Entries that take arbitrary bytes, for fuzz targets and for tests of malformed input.
//!
//! Nothing here is for production use.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use assign::Assignment;
use gate::ThreadToken;
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use crate::codec::{MAX_DATA_XFER_SIZE, MAX_MESSAGE_SIZE, RegionCapabilities, Request, VersionMessage};
use crate::connection::{Frame, Inbox};
use crate::server::{Session, SessionEnd, SessionOptions, SessionReport};

/// Cuts `bytes` into messages and parses each in every way that either side would. Gives how many messages there
/// were.
pub fn codec(bytes: &[u8]) -> usize {
    let mut inbox = Inbox::new(MAX_MESSAGE_SIZE);
    let mut rest = bytes;
    let mut messages = 0;
    while let Ok(spare) = inbox.spare() {
        let step = spare.len().min(rest.len());
        let (now, later) = rest.split_at(step);
        spare[..step].copy_from_slice(now);
        inbox.received(step);
        rest = later;
        loop {
            match inbox.next_frame() {
                Frame::Message(message) => {
                    messages += 1;
                    let payload = inbox.payload(&message);
                    let _ = message.header.failure();
                    let _ = Request::parse(message.header.command, payload, MAX_DATA_XFER_SIZE);
                    let _ = VersionMessage::parse(payload);
                    let _ = RegionCapabilities::parse(payload);
                }
                Frame::TooLarge(_) => messages += 1,
                Frame::OutOfStep(_) => return messages,
                Frame::Partial => break,
            }
        }
        if step == 0 {
            break;
        }
    }
    messages
}

/// Serves a client that sends `bytes` and hangs up without reading. Bytes that do not fit into the socket's buffer are
/// not sent.
pub fn session(assignment: &Arc<Assignment>, bytes: &[u8], token: &mut ThreadToken) -> SessionReport {
    with_client(bytes, |stream, options| Session::run(stream, assignment, options, token))
}

/// As [`session`], and the function is revoked after so many messages: the rest is answered by a tombstone.
pub fn revoked_session(
    assignment: &Arc<Assignment>,
    bytes: &[u8],
    after: u64,
    token: &mut ThreadToken,
) -> SessionReport {
    with_client(bytes, |stream, options| Session::run_revoked(stream, assignment, options, token, after))
}

fn with_client(
    bytes: &[u8],
    serve: impl FnOnce(UnixStream, &SessionOptions) -> SessionReport,
) -> SessionReport {
    let failed = SessionReport { end: SessionEnd::Closed, messages: 0, refused: 0, posted_failures: 0 };
    let Ok((client, server)) = UnixStream::pair() else { return failed };
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let mut rest = bytes;
    while let Ok(sent @ 1..) = send(&client, rest, flags) {
        rest = rest.get(sent..).unwrap_or(&[]);
    }
    let _ = shutdown(&client, Shutdown::Write);
    // Nobody reads the replies; a session that fills the buffer with them ends at once.
    let options = SessionOptions { send_timeout: Duration::from_millis(1), ..SessionOptions::default() };
    serve(server, &options)
}

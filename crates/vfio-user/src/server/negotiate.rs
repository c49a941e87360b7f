//! The beginning of a session: `VERSION`, and the attach that goes with it.
//!
//! A client is refused here and not later: QEMU survives an error reply to `VERSION`, and crashes on some later
//! ones. So the function is attached before the reply is sent.

use std::time::Instant;

use gate::{Deadline, ThreadToken};
use rustix::io::Errno;

use super::clients::ClientInfo;
use super::session::{Session, SessionEnd, is_version};
use crate::codec::{Capabilities, Header, Introduction, VersionMessage, encode_version};
use crate::connection::Message;

/// The version spoken: 0.1.
const VERSION: (u16, u16) = (0, 1);

/// Messages before `VERSION` that are answered. More is not a client that lost its way.
const STRAYS: usize = 16;

/// Descriptors a client may send in one message. More are taken, but QEMU 11.1.3 calls any number above 16 malformed and
/// gives up the device.
const ADVERTISED_FDS: u32 = 16;

impl Session<'_> {
    /// Receives `VERSION`, attaches, and answers.
    pub(super) fn negotiate(&mut self, token: &mut ThreadToken) -> Result<(), SessionEnd> {
        let deadline = Deadline::after(self.options.message_timeout);
        for _ in 0..STRAYS {
            self.connection.expect_by(deadline);
            let message = self.receive(token)?;
            let header = message.header;
            if !is_version(&header) {
                self.settle(&header, Err(Errno::INVAL))?;
                continue;
            }
            let outcome = self.open(token, &header, &message);
            self.settle(&header, outcome)?;
            return match outcome {
                Ok(()) => Ok(()),
                Err(errno) => {
                    self.flush(token)?;
                    Err(SessionEnd::Refused(errno))
                }
            };
        }
        self.flush(token)?;
        Err(SessionEnd::NotNegotiated)
    }

    fn open(&mut self, token: &mut ThreadToken, header: &Header, message: &Message) -> Result<(), Errno> {
        let proposed = VersionMessage::parse(self.connection.inbox.payload(message))?;
        if proposed.major != VERSION.0 {
            return Err(Errno::INVAL);
        }
        // Whatever happens from here on, the end of the session detaches.
        self.facts = self.hold.attach(token)?;
        if let Some(door) = self.hold.door() {
            let info = ClientInfo { pid: self.connection.peer_process(), since: Instant::now() };
            door.came(self.hold.seat(), info);
        }
        self.client_fds = proposed.capabilities.max_msg_fds;
        let own = Capabilities {
            max_msg_fds: ADVERTISED_FDS,
            max_data_xfer_size: self.options.max_data(),
            max_dma_maps: self.facts.dma_maps,
            pgsizes: 4096,
            write_multiple: proposed.capabilities.write_multiple,
            portcullis: self.introduction(&proposed),
        };
        let payload = encode_version(VERSION.0, VERSION.1.min(proposed.minor), &own);
        self.reply(header, &[&payload])
    }

    /// What is told only to a client that introduced itself: QEMU has no room for more in its receive buffer.
    fn introduction(&self, proposed: &VersionMessage) -> Option<Introduction> {
        let io_over = self.options.tells_of_io && self.facts.data_to_itself;
        proposed.capabilities.portcullis.map(|_| Introduction { io_over })
    }
}

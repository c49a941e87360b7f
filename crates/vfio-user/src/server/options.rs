//! How a server and its sessions behave.

use std::time::Duration;

use crate::codec::{MAX_DATA_XFER_SIZE, MAX_MESSAGE_SIZE};
use crate::connection::ConnectionLimits;

/// How a session behaves. The time-outs are below the 5 s after which QEMU gives a server up.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// Bytes of data in one region access; at most and by default 1 MiB.
    pub max_data_xfer_size: u32,
    /// How long the first message may take to come, and any message that has begun.
    pub message_timeout: Duration,
    /// How long the client may leave replies unread.
    pub send_timeout: Duration,
    /// Tells a client that introduces itself as a Portcullis whether I/O of an earlier server of the same data can still land
    /// ([`crate::codec::Introduction::io_over`]), if the device knows (`has_its_data_to_itself` of a `pci_core::Device`).
    pub tells_of_io: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            max_data_xfer_size: MAX_DATA_XFER_SIZE,
            message_timeout: Duration::from_secs(4),
            send_timeout: Duration::from_secs(4),
            tells_of_io: true,
        }
    }
}

impl SessionOptions {
    pub(super) fn max_data(&self) -> u32 {
        self.max_data_xfer_size.min(MAX_DATA_XFER_SIZE)
    }

    pub(super) fn limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            message_size: MAX_MESSAGE_SIZE,
            message_timeout: self.message_timeout,
            send_timeout: self.send_timeout,
        }
    }
}

/// How a server behaves.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// How each session behaves.
    pub session: SessionOptions,
    /// How long a second client may take to send its `VERSION` before it is dropped, and how long it waits for
    /// the first one when that is already leaving.
    pub refusal_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        // With the 3 s that an attach may take after it (`assign::Limits::attach_timeout`), a client that had to wait for its
        // predecessor is still answered before QEMU's 5 s are over.
        ServerOptions { session: SessionOptions::default(), refusal_timeout: Duration::from_millis(1500) }
    }
}

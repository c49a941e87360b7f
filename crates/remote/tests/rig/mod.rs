//! A back end that does what a script says, and what else a test of a connection to one needs.
//!
//! [`Rig`] listens on a socket and runs a script for each client that comes. A script has a [`Conversation`]: it negotiates, takes
//! [`Request`]s, answers them well ([`Plain`]) or badly, asks for the client's memory, says nothing, or leaves.
//!
//! For all test binaries of this crate: `mod rig;` in `tests/x.rs`, `#[path = "../rig/mod.rs"] mod rig;` in `tests/x/main.rs`.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

pub mod conversation;
pub mod plain;
pub mod sides;

pub use conversation::{Conversation, Request};
pub use plain::Plain;
pub use sides::{Census, Memory, Told};

use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gate::ThreadToken;
use parking_lot::Mutex;
use remote::link::{Link, LinkError, LinkOptions};

/// Longer than anything takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// A back end on a thread of its own. A script that panics fails the test when this is dropped.
pub struct Rig {
    path: PathBuf,
    stop: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Rig {
    /// Runs `script` for each client, one after the other. The connection is closed when it returns.
    pub fn start(mut script: impl FnMut(&mut Conversation) + Send + 'static) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("back-end");
        let listener = UnixListener::bind(&path).unwrap();
        let stop = Arc::new(Mutex::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("rig".into()).spawn(move || {
            loop {
                let (stream, _) = listener.accept().unwrap();
                if *stopped.lock() {
                    return;
                }
                script(&mut Conversation::new(stream));
            }
        });
        Rig { path, stop, thread: Some(thread.unwrap()), _directory: directory }
    }

    /// A back end that behaves.
    pub fn plain() -> Rig {
        Rig::start(|conversation| Plain::default().serve(conversation))
    }

    /// One that negotiates well, and does what `script` says with the rest.
    pub fn negotiated(mut script: impl FnMut(&mut Conversation) + Send + 'static) -> Rig {
        Rig::start(move |conversation| {
            if conversation.negotiate("{}") {
                script(conversation);
            }
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A link to it, with that much patience.
    pub fn link_within(
        &self,
        token: &mut ThreadToken,
        patience: Duration,
        memory: &Arc<Memory>,
        told: &Arc<Told>,
    ) -> Result<Arc<Link>, LinkError> {
        let options =
            LinkOptions { connect_timeout: patience, reply_timeout: patience, ..LinkOptions::default() };
        Link::connect(token, &self.path, options, Arc::clone(memory) as _, Arc::clone(told) as _)
    }

    /// A link to it with much patience, to memory that is not looked at.
    pub fn link(&self, token: &mut ThreadToken, told: &Arc<Told>) -> Arc<Link> {
        self.link_within(token, LONG, &Arc::new(Memory::default()), told).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        *self.stop.lock() = true;
        // It may have ended already.
        if let Err(error) = UnixStream::connect(&self.path) {
            assert!(matches!(error.kind(), ErrorKind::ConnectionRefused), "{error}");
        }
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the script failed");
    }
}

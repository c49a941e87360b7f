//! A back end: a server over a controller of our own, whose disk outlives it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use gate::ThreadToken;
use models::nvme::backing::FileOptions;
use models::nvme::{Backing, BackingError, BlockSize, Config, build};
use vfio_user::server::{Server, ServerOptions, Stop};

/// Bytes of the disk.
pub const DISK: u64 = 1 << 20;

/// What the back ends of one test have in common, unless it says otherwise.
pub fn config() -> Config {
    Config { serial: Some("SERIAL".into()), block_size: BlockSize::B512, ..Config::default() }
}

/// A place where back ends serve, one after the other.
pub struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("cntrl")
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// One with the disk that the last one had.
    pub fn start(&self, config: &Config) -> BackEnd {
        self.start_on(config, "disk", DISK)
    }

    pub fn start_on(&self, config: &Config, disk: &str, size: u64) -> BackEnd {
        let backing = open(&self.disk(disk), size);
        let assignment = build("back-end", config, backing, Arc::new(())).unwrap();
        let server = Server::bind(self.directory.path(), assignment, ServerOptions::default()).unwrap();
        let stop = Stop::new().unwrap();
        let switch = stop.clone();
        let thread = std::thread::spawn(move || {
            server.run(&mut ThreadToken::at_thread_entry(), &switch).unwrap();
        });
        BackEnd { stop, thread: Some(thread) }
    }
}

/// The last one's disk is locked until its last write has ended.
fn open(path: &Path, size: u64) -> Backing {
    loop {
        match Backing::file(path, &FileOptions { size: Some(size), ..FileOptions::default() }) {
            Ok(backing) => return backing,
            Err(BackingError::InUse(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A back end that serves until it is dropped; then it is over.
pub struct BackEnd {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

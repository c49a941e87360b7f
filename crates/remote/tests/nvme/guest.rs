//! What stands in front of the driver: commands by hand, with the guest's memory, and a supervisor who replaces back ends.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use gate::ThreadToken;
use models::nvme::Config;
use models::nvme::elsewhere::{Elsewhere, Reaped};
use nvme_spec::{NvmOpcode, Status, SubmissionEntry};
use remote::fence::{Fenced, How};
use remote::link::{LinkWatch, Loss};
use remote::nvme::{BringUpError, Driver, Options, Replayed, Wire};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use vfio_user::client::SharedMemory;

use super::back_end::{BackEnd, Home};
use super::wires::{Mortal, connect};

/// Longer than anything takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);
/// Bytes of a block, and of each command's buffer.
pub const BLOCK: usize = 512;
/// Bytes of the guest's memory: a page for each tag.
const MEMORY: usize = 64 * 4096;

/// Told of the end of a connection.
struct Bell(OwnedFd);

impl LinkWatch for Bell {
    fn lost(&self, _: Loss) {
        rustix::io::write(&self.0, &1u64.to_ne_bytes()).unwrap();
    }
}

/// A guest, its driver, and the back end that is there now.
pub struct Guest {
    pub token: ThreadToken,
    pub home: Home,
    pub config: Config,
    pub memory: SharedMemory,
    pub driver: Arc<Driver>,
    pub wire: Arc<Mortal>,
    back_end: Option<BackEnd>,
    bell: Arc<Bell>,
    /// What each command was answered, in order.
    pub answers: BTreeMap<u16, Vec<Status>>,
    pub events: Vec<u32>,
}

pub fn options() -> Options {
    Options { queues: 2, depth: 8, ..Options::default() }
}

impl Guest {
    /// With a back end of this kind, whose connection is cut after so many uses; negative: never.
    pub fn new(config: &Config, uses: i64) -> Self {
        let mut token = ThreadToken::at_thread_entry();
        let home = Home::new();
        let back_end = home.start(config);
        let bell = Arc::new(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()));
        let memory = SharedMemory::new(MEMORY).unwrap();
        let link = connect(&mut token, &home.socket(), Arc::clone(&bell) as _);
        let wire = Mortal::new(link, -1);
        Wire::map(wire.link(), &mut token, 0, &memory).unwrap();
        let driver = Driver::open(&mut token, Arc::clone(&wire) as _, options()).unwrap();
        let this = Self {
            token,
            home,
            config: config.clone(),
            memory,
            driver,
            wire,
            back_end: Some(back_end),
            bell,
            answers: BTreeMap::new(),
            events: Vec::new(),
        };
        this.wire.end_after(uses);
        this
    }

    /// A command with a block of its own in memory, and on the disk if `lba` says so.
    pub fn entry(&self, tag: u16, opcode: NvmOpcode, lba: u64) -> SubmissionEntry {
        let mut entry = SubmissionEntry {
            opcode: opcode.code(),
            cid: 0x7777.into(),
            nsid: 1.into(),
            prp1: (u64::from(tag) * 4096).into(),
            ..SubmissionEntry::default()
        };
        entry.set_slba(lba);
        entry
    }

    pub fn fill(&self, tag: u16, byte: u8) {
        self.memory.write(usize::from(tag) * 4096, &[byte; BLOCK]).unwrap();
    }

    pub fn block(&self, tag: u16) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        self.memory.read(usize::from(tag) * 4096, &mut block).unwrap();
        block
    }

    /// One round of a front's worker: doorbells, then what has come back.
    pub fn round(&mut self) {
        self.driver.ring(&mut self.token);
        let mut reaped = Vec::new();
        self.driver.reap(&mut reaped);
        for one in reaped {
            match one {
                Reaped::Finished { tag, status, .. } => self.answers.entry(tag).or_default().push(status),
                Reaped::Event { dw0 } => self.events.push(dw0),
            }
        }
    }

    /// Waits until there is something to see. False: the connection is lost.
    pub fn wait(&mut self) -> bool {
        let driver = self.driver.fd();
        let mut fds = [
            PollFd::from_borrowed_fd(driver, PollFlags::IN),
            PollFd::from_borrowed_fd(self.bell.0.as_fd(), PollFlags::IN),
        ];
        let ready = poll(&mut fds, Some(&Timespec::try_from(LONG).unwrap())).unwrap();
        assert!(ready > 0, "nothing happens: {} commands under way", self.driver.under_way());
        let (came, lost) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if came {
            self.driver.clear();
        }
        if lost {
            let _ = rustix::io::read(&self.bell.0, &mut [0; 8]);
        }
        !lost
    }

    /// Rounds until everything has an answer, with new back ends as they are needed. Each dies after as many uses as `lives`
    /// says, the ones behind them never.
    pub fn run(&mut self, lives: &mut Vec<i64>) {
        self.run_until(lives, |guest| guest.driver.under_way() == 0);
    }

    pub fn run_until(&mut self, lives: &mut Vec<i64>, done: impl Fn(&Self) -> bool) {
        loop {
            self.round();
            if done(self) {
                return;
            }
            if !self.wait() {
                self.replace(lives);
            }
        }
    }

    /// The back end is over.
    pub fn kill(&mut self) {
        self.driver.lost();
        self.back_end = None;
        while self.wire.link().loss().is_none() {
            std::thread::yield_now();
        }
        let _ = rustix::io::read(&self.bell.0, &mut [0; 8]);
    }

    /// The dead back end is replaced, until one lives long enough.
    pub fn replace(&mut self, lives: &mut Vec<i64>) {
        loop {
            self.kill();
            let life = if lives.is_empty() { -1 } else { lives.remove(0) };
            let config = self.config.clone();
            self.back_end = Some(self.home.start(&config));
            match self.bring_up(life, Fenced::Over(How::Server)) {
                Ok(_) => return,
                Err(error) => assert!(!error.is_permanent(), "{error}"),
            }
        }
    }

    /// Connects to whoever serves now.
    pub fn bring_up(&mut self, life: i64, fenced: Fenced) -> Result<Replayed, BringUpError> {
        let link = connect(&mut self.token, &self.home.socket(), Arc::clone(&self.bell) as _);
        Wire::map(&*link, &mut self.token, 0, &self.memory).unwrap();
        self.wire = Mortal::new(link, life);
        self.driver.bring_up(&mut self.token, Arc::clone(&self.wire) as _, fenced)
    }

    /// A back end of the test's own making.
    pub fn serve(&mut self, back_end: BackEnd) {
        self.back_end = Some(back_end);
    }

    /// What a command was answered, once.
    #[track_caller]
    pub fn answer(&self, tag: u16) -> Status {
        match self.answers.get(&tag).map(Vec::as_slice) {
            Some([status]) => *status,
            other => panic!("command {tag} was answered {other:?}"),
        }
    }
}

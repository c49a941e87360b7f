//! The VM's side: a function before a back end that lies, in the hands of a client like a VM's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gate::ThreadToken;
use models::nvme::host::{Driver, Io};
use models::nvme::{Backing, Config};
use models::{endpoint, nvme};
use remote::config::{BackOff, Mode, RemoteConfig};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use vfio_user::client::{Client, ClientError, SharedMemory};
use vfio_user::codec::DmaMap;
use vfio_user::server::{Server, ServerOptions, Stop};

use crate::between::Between;
use crate::stack::{DEPTH, Function, LONG, Place, is_failed, outcomes, round, submit_all};

/// How long a back end may leave the function without a reply.
pub(crate) const HANG: Duration = Duration::from_millis(200);
/// No request of the VM's takes longer: twice what QEMU waits, and the machine may be busy.
const LIMIT: Duration = Duration::from_secs(10);
const PAGE: u64 = 4096;
/// The pages of the VM's memory that matter here, in its file.
const PAGES: usize = 5;
/// What is in a page that no back end may change.
const CANARY: u8 = 0xc5;
/// Where page 1 is mapped, for reading and writing. What is around it is not mapped.
pub(crate) const MAPPED: u64 = 0x2_0010_0000;
/// Where page 3 is mapped, for reading.
pub(crate) const READ_ONLY: u64 = 0x2_0020_0000;
/// Where the VM maps page 4 now and then.
pub(crate) const NOW_AND_THEN: u64 = 0x2_0030_0000;

const BAR0: u32 = 0;
const CONFIG: u32 = 7;
/// An NVMe controller's version, and a register of the endpoint's that is a dword of memory until a reset.
const VERSION: u64 = 0x08;
const SIZE: u64 = 0x1c;
const SCRATCH: [u8; 4] = [1, 2, 3, 4];
const ONES: [u8; 4] = [0xff; 4];

/// An honest back end in this process.
pub(crate) struct Honest {
    path: PathBuf,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Honest {
    /// What mode `replay` needs, or what the others can have; of another identity or not.
    pub(crate) fn serve(path: &Path, mode: Mode, other: bool) -> Honest {
        let function = if mode == Mode::Replay {
            let serial = Some(String::from(if other { "another" } else { "the same" }));
            let config = Config { serial, ..Config::default() };
            nvme::build("back-end", &config, Backing::memory(16 << 20).unwrap(), Arc::new(())).unwrap()
        } else {
            let memory = if other { 4 << 10 } else { 64 << 10 };
            let config = endpoint::Config { memory, ..endpoint::Config::default() };
            endpoint::build("back-end", &config, Arc::new(())).unwrap()
        };
        let server = Server::bind(path, function, ServerOptions::default()).unwrap();
        let (path, stop) = (server.path().to_path_buf(), Stop::new().unwrap());
        let switch = stop.clone();
        let run = move || server.run(&mut ThreadToken::at_thread_entry(), &switch).unwrap();
        let thread = std::thread::Builder::new().name("honest".into()).spawn(run).unwrap();
        Honest { path, stop, thread: Some(thread) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

/// What drives the function.
enum Guest {
    Nvme(Box<Driver>),
    Endpoint(Box<Client>),
}

impl Guest {
    fn client(&mut self) -> &mut Client {
        match self {
            Guest::Nvme(driver) => driver.client(),
            Guest::Endpoint(client) => client,
        }
    }
}

/// See the module's head. Fields are dropped in order: whoever stands before goes first.
pub(crate) struct Vm {
    pub(crate) mode: Mode,
    pub(crate) function: Function,
    pub(crate) between: Between,
    guest: Guest,
    memory: SharedMemory,
    event: OwnedFd,
    identity: [u8; 4],
    version: [u8; 4],
    rounds: u64,
    _honest: Honest,
    place: Place,
}

impl Vm {
    /// Until everything works.
    pub(crate) fn start(token: &mut ThreadToken, mode: Mode) -> Vm {
        let place = Place::new();
        let honest = Honest::serve(&place.upstream(), mode, false);
        let between = Between::start(honest.path());
        let back_off = BackOff { longest: Duration::from_millis(50), ..BackOff::default() };
        let mut config = RemoteConfig {
            mode,
            back_off,
            connect_timeout: LONG,
            hang_limit: HANG,
            ..RemoteConfig::new(between.path().to_path_buf())
        };
        config.budget.max_freezes = 1000;
        let function = Function::open(token, &place, &config);
        let guest = if mode == Mode::Replay {
            Guest::Nvme(Box::new(function.driver(token)))
        } else {
            Guest::Endpoint(Box::new(function.client(token)))
        };
        let memory = SharedMemory::new(PAGES << 12).unwrap();
        memory.write(0, &vec![CANARY; PAGES << 12]).unwrap();
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let mut vm = Vm {
            mode,
            function,
            between,
            guest,
            memory,
            event,
            identity: [0; 4],
            version: [0; 4],
            rounds: 0,
            _honest: honest,
            place,
        };
        vm.identity = vm.read(token, CONFIG, 0).unwrap();
        vm.version = vm.read(token, BAR0, VERSION).unwrap();
        vm.map(token, MAPPED, 1, 3).unwrap();
        vm.map(token, READ_ONLY, 3, 1).unwrap();
        vm.works(token, "nothing");
        vm
    }

    /// An honest back end beside the first, of another identity.
    pub(crate) fn another(&self) -> Honest {
        Honest::serve(&self.place.upstream().with_extension("other"), self.mode, true)
    }

    fn map(&mut self, token: &mut ThreadToken, iova: u64, page: u64, flags: u32) -> Result<(), Errno> {
        let map = DmaMap { argsz: 32, flags, offset: page * PAGE, address: iova, size: PAGE };
        let Vm { guest, memory, .. } = self;
        within("a map", || guest.client().dma_map_raw(token, map, Some(memory.as_fd())))
    }

    fn read(&mut self, token: &mut ThreadToken, region: u32, offset: u64) -> Result<[u8; 4], Errno> {
        let mut data = [0; 4];
        within("a read", || self.guest.client().region_read(token, region, offset, &mut data))?;
        Ok(data)
    }

    fn write(&mut self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        within("a write", || self.guest.client().region_write(token, region, offset, data))
    }

    /// Everything that a VM does once. Each request is answered in time, by the right thing, all-ones or an error. What did not work
    /// comes back.
    pub(crate) fn pokes(&mut self, token: &mut ThreadToken) -> Vec<&'static str> {
        let mut failed = Vec::new();
        let mut note = |what: &'static str, well: bool| {
            if !well {
                failed.push(what);
            }
        };
        // This much is never the back end's to answer; a function that is frozen reads as ones.
        let identity = self.read(token, CONFIG, 0);
        assert!([Ok(self.identity), Ok(ONES)].contains(&identity), "{identity:x?}");
        note("identity", identity != Ok(ONES));
        self.write(token, CONFIG, 4, &[6, 4]).unwrap();
        note("registers", self.touches_registers(token));
        let mapped = self.map(token, NOW_AND_THEN, 4, 3);
        note("map", mapped.is_ok());
        // It may still be there from the last time.
        if matches!(mapped, Ok(()) | Err(Errno::EXIST)) {
            let client = self.guest.client();
            note("unmap", within("an unmap", || client.dma_unmap(token, NOW_AND_THEN, PAGE)).is_ok());
        }
        note("interrupts", self.wires_interrupts(token));
        if self.mode != Mode::Replay {
            let client = self.guest.client();
            note("reset", within("a reset", || client.reset(token)).is_ok());
        }
        self.memory_is_untouched();
        assert_eq!(self.between.complaints(), [] as [String; 0]);
        failed
    }

    /// Registers of the controller, which is our own; or of the endpoint, which is the back end's.
    fn touches_registers(&mut self, token: &mut ThreadToken) -> bool {
        if self.mode == Mode::Replay {
            let version = self.read(token, BAR0, VERSION);
            assert!([Ok(self.version), Ok(ONES)].contains(&version), "{version:x?}");
            return version != Ok(ONES);
        }
        let written = self.write(token, BAR0, SIZE, &SCRATCH);
        let read = self.read(token, BAR0, SIZE);
        // It may have been reset in between.
        let may = [Ok(SCRATCH), Ok([0; 4]), Ok(ONES)];
        assert!(read.is_err() || may.contains(&read), "a register reads {read:x?}");
        written.is_ok() && read == Ok(SCRATCH)
    }

    /// MSI vector 0 of the function, if it has one.
    fn wires_interrupts(&mut self, token: &mut ThreadToken) -> bool {
        let Vm { guest, event, .. } = self;
        let client = guest.client();
        let wired = within("an event", || client.set_irq_eventfds(token, 1, 0, &[event.as_fd()]));
        let unwired = within("no event", || client.disable_irqs(token, 1));
        wired.is_ok() && unwired.is_ok()
    }

    /// What was not mapped for writing is as it was.
    fn memory_is_untouched(&self) {
        for page in [0, 2, 3] {
            let mut bytes = [0; 4096];
            self.memory.read(page * bytes.len(), &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == CANARY), "page {page} was written");
        }
    }

    /// Waits until a VM can do everything again. Of replay not one command may have failed.
    pub(crate) fn works(&mut self, token: &mut ThreadToken, lie: &str) {
        let began = Instant::now();
        loop {
            let failed = self.pokes(token);
            let status = self.function.remote.status();
            if failed.is_empty() && status.state == "connected" {
                break;
            }
            assert!(began.elapsed() < LONG / 3, "{failed:?} after {lie}: {status:?}");
        }
        self.rounds += 1;
        if let Guest::Nvme(driver) = &mut self.guest {
            round(token, driver, self.rounds, |_| ());
        }
    }

    /// An NVMe driver's commands, which all end somehow.
    pub(crate) fn submits_and_hears_of_all(&mut self, token: &mut ThreadToken) {
        if let Guest::Nvme(driver) = &mut self.guest {
            submit_all(token, driver, |lba| Io::Read { lba, blocks: 1 });
            assert_eq!(outcomes(token, driver).len(), usize::from(DEPTH));
        }
    }

    /// The back end is back, or was given up.
    pub(crate) fn is_settled(&self) -> bool {
        self.function.remote.status().state == "connected" || self.is_given_up()
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.function.ear.has_heard(is_failed)
    }

    pub(crate) fn losses(&self) -> u64 {
        self.function.remote.status().losses
    }

    /// The VM leaves, and the function is closed.
    pub(crate) fn leave(self, token: &mut ThreadToken) {
        let Vm { guest, function, between, .. } = self;
        let began = Instant::now();
        drop(guest);
        function.close(token);
        assert!(began.elapsed() < LIMIT, "to leave took {:?}", began.elapsed());
        drop(between);
    }
}

/// A request of the VM's: it is answered, in time, and the VM's own connection lives.
#[track_caller]
fn within(what: &str, ask: impl FnOnce() -> Result<(), ClientError>) -> Result<(), Errno> {
    let began = Instant::now();
    let answer = match ask() {
        Ok(()) => Ok(()),
        Err(ClientError::Refused { errno, .. }) => Err(errno),
        Err(error) => panic!("{what}: {error}"),
    };
    assert!(began.elapsed() < LIMIT, "{what} took {:?}", began.elapsed());
    answer
}

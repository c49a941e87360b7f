//! A machine with one function in it, whose device remembers what reached it, and a consumer with memory.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use assign::{
    AddedRegion, Assignment, Attached, DmaMapFlags, DmaMapRequest, Errno, Limits, Port, RequestError,
};
use gate::{Deadline, Gate, Pass, Quiesced, Reason, ThreadToken};
use pci_core::{
    BarIndex, BarKind, BlockRefused, Command, ConfigSpace, Device, Function, Identity, ResetKind,
};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use zpci::region::IoRegion;
use zpci::region::layout::{IoRequest, REQUEST_START};
use zpci::{Description, Fid, Settings, Uid, View, Zdev, Zpci};

/// Bytes of BAR 0.
pub(crate) const BAR_SIZE: u64 = 0x4000;
/// A load of this register does not return while [`Probe::hangs`].
pub(crate) const HANG: u64 = 0x3f00;
/// The longest block of the function.
pub(crate) const MAX_STORE: u16 = 128;
/// Where the consumer's memory is: 16 KiB to read and write.
pub(crate) const MEMORY: u64 = 0x10_0000;
pub(crate) const MEMORY_SIZE: u64 = 0x4000;
/// The region: the device has none of its own.
pub(crate) const REGION: u32 = 9;
/// Addresses in the register space of the function.
pub(crate) const CONFIG: u8 = 15;

/// What reached the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Load(u64, usize),
    Block(u64, Vec<u8>),
}

/// Answers a load with the low bytes of its offsets, and keeps the blocks.
#[derive(Default)]
pub(crate) struct Probe {
    reached: Mutex<VecDeque<Reached>>,
    pub(crate) hangs: AtomicBool,
    pub(crate) inside: AtomicUsize,
    pub(crate) refuses: AtomicBool,
}

impl Probe {
    /// What reached the device since the last look.
    pub(crate) fn take(&self) -> Vec<Reached> {
        self.reached.lock().unwrap().drain(..).collect()
    }
}

impl Device for Probe {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &mut [u8]) {
        self.reached.lock().unwrap().push_back(Reached::Load(offset, data.len()));
        if offset == HANG {
            self.inside.fetch_add(1, Ordering::AcqRel);
            let end = Instant::now() + Duration::from_secs(60);
            while self.hangs.load(Ordering::Acquire) && Instant::now() < end {
                std::thread::yield_now();
            }
            self.inside.fetch_sub(1, Ordering::AcqRel);
        }
        for (at, byte) in (offset..).zip(data) {
            *byte = pattern(at);
        }
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, _data: &[u8]) {
        panic!("a plain store at {offset:#x}");
    }

    fn store_block(
        &self,
        _pass: &Pass<'_>,
        _bar: BarIndex,
        offset: u64,
        data: &[u8],
    ) -> Result<(), BlockRefused> {
        if self.refuses.load(Ordering::Acquire) {
            return Err(BlockRefused::NotAccepted);
        }
        self.reached.lock().unwrap().push_back(Reached::Block(offset, data.to_vec()));
        Ok(())
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// A byte of BAR 0.
pub(crate) fn pattern(offset: u64) -> u8 {
    offset.to_le_bytes()[0] ^ 0x5a
}

/// The function, its place in the machine, and the consumer's memory.
pub(crate) struct World {
    pub(crate) token: ThreadToken,
    /// The machine, for as long as its places.
    _zpci: Arc<Zpci>,
    pub(crate) zdev: Arc<Zdev>,
    pub(crate) view: Arc<View>,
    pub(crate) gate: Gate,
    pub(crate) probe: Arc<Probe>,
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) memory: OwnedFd,
    pub(crate) attached: Option<Attached>,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Limits::default())
    }

    /// A function that is configured, in the hands of a consumer that has mapped its memory.
    pub(crate) fn with(limits: Limits) -> World {
        let mut world = World::absent(limits);
        world.zdev.card(true);
        world.zdev.bring_in(&mut world.token, Arc::clone(&world.view));
        world
    }

    /// As [`World::with`], but the machine does not know the function yet.
    pub(crate) fn absent(limits: Limits) -> World {
        World::taking(MAX_STORE, limits)
    }

    /// As [`World::absent`], of a function that takes blocks of so many bytes.
    pub(crate) fn taking(max_store: u16, limits: Limits) -> World {
        let mut token = ThreadToken::at_thread_entry();
        let zpci = Zpci::new(Settings::default());
        let zdev = zpci.add(Fid(0x10), Uid(1), Description::default()).unwrap();
        let (gate, probe) = (Gate::new("probe"), Arc::new(Probe::default()));
        let (assignment, view) = device(&gate, &probe, &zdev, max_store, limits);
        let attached = assignment.attach(&mut token).unwrap();
        let memory = memfd_create("consumer", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, MEMORY_SIZE).unwrap();
        let mut world = World {
            token,
            _zpci: zpci,
            zdev,
            view,
            gate,
            probe,
            assignment,
            memory,
            attached: Some(attached),
        };
        world.map(DmaMapFlags::READ | DmaMapFlags::WRITE, MEMORY, MEMORY_SIZE).unwrap();
        world
    }

    /// Maps the beginning of the consumer's memory once more.
    pub(crate) fn map(&mut self, flags: u32, iova: u64, size: u64) -> Result<(), RequestError> {
        let fd = Some(self.memory.try_clone().unwrap());
        let request = DmaMapRequest { flags: DmaMapFlags(flags), offset: 0, iova, size, fd };
        self.assignment.dma_map(&mut self.token, request)
    }

    /// Writes a whole request.
    pub(crate) fn request(&mut self, request: IoRequest) -> Result<(), RequestError> {
        self.write(REQUEST_START, &request.encode())
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), RequestError> {
        self.assignment.region_write(&mut self.token, REGION, offset, data)
    }

    pub(crate) fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), RequestError> {
        self.assignment.region_read(&mut self.token, REGION, offset, data)
    }

    /// Writes a request from a thread of its own.
    pub(crate) fn request_elsewhere(&self, request: IoRequest) -> JoinHandle<Result<(), RequestError>> {
        let assignment = Arc::clone(&self.assignment);
        std::thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            assignment.region_write(&mut token, REGION, REQUEST_START, &request.encode())
        })
    }

    /// The consumer's memory.
    pub(crate) fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        assert_eq!(rustix::io::pread(&self.memory, &mut bytes, offset).unwrap(), length);
        bytes
    }

    pub(crate) fn fill(&self, offset: u64, bytes: &[u8]) {
        assert_eq!(rustix::io::pwrite(&self.memory, bytes, offset).unwrap(), bytes.len());
    }

    /// Sets what the function decodes and may do.
    pub(crate) fn command(&mut self, command: Command) {
        self.assignment.region_write(&mut self.token, 7, 4, &command.bits().to_le_bytes()).unwrap();
    }

    /// Closes the gate, has `during` done when it is known that a request waits for it, and opens it again.
    pub(crate) fn while_a_request_waits(
        &mut self,
        request: IoRequest,
        during: impl FnOnce(&mut World),
    ) -> Result<(), RequestError> {
        let closed = self.gate.close(&mut self.token, Reason::Reset, ahead()).unwrap().park();
        let waiting = self.request_elsewhere(request);
        let gate = self.gate.clone();
        eventually("the request waits", || gate.status().waiting_accesses > 0);
        during(self);
        if !closed.is_gone() {
            drop(closed.resume(&mut self.token));
        }
        waiting.join().unwrap()
    }

    /// Fails if anything reached the device or the consumer's memory, which is all zero at first.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(self.probe.take(), []);
        assert!(self.bytes(0, 0x4000).iter().all(|byte| *byte == 0), "the consumer's memory was written");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(attached) = self.attached.take() {
            attached.detach(&mut self.token);
        }
    }
}

/// A device behind a gate, its view in a place, and its region.
pub(crate) fn device(
    gate: &Gate,
    probe: &Arc<Probe>,
    zdev: &Arc<Zdev>,
    max_store: u16,
    limits: Limits,
) -> (Arc<Assignment>, Arc<View>) {
    let identity = Identity::new(0x1234, 1, pci_spec::ClassCode::new(0xff, 0, 0));
    let bar = BarIndex::new(0).unwrap();
    let config =
        Arc::new(ConfigSpace::builder(identity).bar(bar, BarKind::Memory64, BAR_SIZE).build().unwrap());
    let port = Port::new(gate, Arc::clone(&config), Arc::new(()));
    let function = Function::new("probe", gate.clone(), config, Arc::clone(probe) as Arc<dyn Device>);
    let assignment = Assignment::new(Arc::new(function), port, limits);
    let view = View::new(zdev, &assignment, max_store);
    let region: Arc<dyn AddedRegion> = IoRegion::new(Arc::clone(&view));
    assignment.add_region(region).unwrap();
    (assignment, view)
}

/// A load of 8 bytes at the beginning of BAR 0, to the beginning of the consumer's memory.
pub(crate) const LOAD: IoRequest =
    IoRequest { flags: IoRequest::READ, address: MEMORY, offset: 0, length: 8, space: 0 };

/// A store of the longest block, from the beginning of the consumer's memory to that of BAR 0.
pub(crate) const BLOCK: IoRequest =
    IoRequest { flags: IoRequest::BLOCKW, address: MEMORY, offset: 0, length: MAX_STORE, space: 0 };

pub(crate) fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

#[track_caller]
pub(crate) fn errno(result: Result<(), RequestError>) -> Errno {
    result.unwrap_err().errno
}

/// Waits for what is bound to happen.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

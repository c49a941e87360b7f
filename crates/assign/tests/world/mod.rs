//! A function with a device that remembers, a recorder of events, and memory files to hand over.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "test code, with sizes of its own choice"
)]

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use assign::{
    Assignment, Attached, DmaMapFlags, DmaMapRequest, Event, EventSink, Limits, Port, RequestError, SetIrqs,
};
use gate::{AccessKind, Gate, Pass, Quiesced, Refusal, ThreadToken};
use mapping::{Area, Holds, MappingLimits, Memory};
use parking_lot::{Condvar, Mutex};
use pci_core::{
    BarIndex, BarKind, Command, ConfigSpace, ConfigSpaceBuilder, Device, DeviceRegion, Express, Function,
    Identity, InterruptPin, Location, Mappable, Msi, Msix, Pm, ResetKind,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

pub(crate) const READ: u32 = DmaMapFlags::READ;
pub(crate) const WRITE: u32 = DmaMapFlags::WRITE;
pub(crate) const RW: u32 = READ | WRITE;
pub(crate) const NONE: u32 = 1 << 0;
pub(crate) const BOOL: u32 = 1 << 1;
pub(crate) const EVENTFD: u32 = 1 << 2;
pub(crate) const MASK: u32 = 1 << 3;
pub(crate) const UNMASK: u32 = 1 << 4;
pub(crate) const TRIGGER: u32 = 1 << 5;
pub(crate) const MSI_VECTORS: u32 = 4;
pub(crate) const MSIX_VECTORS: u32 = 8;

/// Where BAR 0 has data that may be mapped; doorbells follow.
pub(crate) const DATA: u64 = 0x1000;
/// Where BAR 0 has doorbells that may be mapped.
pub(crate) const DOORBELLS: u64 = 0x2000;
/// The end of what may be mapped of BAR 0.
pub(crate) const MAPPED_END: u64 = 0x3000;
/// The register that enables the ROM.
pub(crate) const ROM_ADDRESS: u64 = 0x30;
/// Bytes of the ROM's image; the ROM is longer.
pub(crate) const IMAGE: u64 = 0x300;
/// A region of the device's own that can be written and mapped.
pub(crate) const SCRATCH: u32 = 9;
/// A region of the device's own that can only be read.
pub(crate) const FIXED: u32 = 10;
/// What is added to the function, if something is, stands behind its own.
pub(crate) const ADDED: u32 = 11;

const REGIONS: [DeviceRegion; 2] = [
    DeviceRegion { kind: 0x8000_1b36, subtype: 1, size: 0x2000, writable: true },
    DeviceRegion { kind: 0x8000_1b36, subtype: 2, size: 0x1800, writable: false },
];

/// One access: region, offset, length, write.
pub(crate) type Access = (u8, u64, usize, bool);

/// Answers each byte of a region with the low byte of its offset, but for memory that may be mapped.
pub(crate) struct Fake {
    /// Behind BAR 0.
    pub(crate) memory: Arc<Memory>,
    /// Behind the first region of its own.
    pub(crate) scratch: Arc<Memory>,
    pub(crate) accesses: Mutex<Vec<Access>>,
    pub(crate) resets: Mutex<Vec<ResetKind>>,
}

impl Device for Fake {
    fn read_bar(&self, _pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &mut [u8]) {
        self.accesses.lock().push((bar.get(), offset, data.len(), false));
        if bar.get() == 0 && (DATA..MAPPED_END).contains(&offset) {
            return self.memory.read(offset, data);
        }
        for (at, byte) in (offset..).zip(data) {
            *byte = if bar == BarIndex::ROM && at >= IMAGE { 0xff } else { at as u8 };
        }
    }

    fn write_bar(&self, _pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &[u8]) {
        self.accesses.lock().push((bar.get(), offset, data.len(), true));
        if bar.get() == 0 && (DATA..MAPPED_END).contains(&offset) {
            self.memory.write(offset, data);
        }
    }

    fn regions(&self) -> &[DeviceRegion] {
        &REGIONS
    }

    fn read_region(&self, _pass: &Pass<'_>, nth: usize, offset: u64, data: &mut [u8]) {
        self.accesses.lock().push((SCRATCH as u8 + nth as u8, offset, data.len(), false));
        if nth == 0 { self.scratch.read(offset, data) } else { data.fill(0x5a) }
    }

    fn write_region(&self, _pass: &Pass<'_>, nth: usize, offset: u64, data: &[u8]) {
        self.accesses.lock().push((SCRATCH as u8 + nth as u8, offset, data.len(), true));
        self.scratch.write(offset, data);
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, kind: ResetKind) {
        self.resets.lock().push(kind);
    }

    fn mappable(&self, region: u32) -> Option<Mappable> {
        let area = |offset, holds| Area { offset, size: 0x1000, holds };
        let (memory, areas) = match region {
            0 => (&self.memory, vec![area(DATA, Holds::Data), area(DOORBELLS, Holds::Doorbells)]),
            // Only what can be written is mapped, and is the device's.
            SCRATCH | FIXED | ADDED => (&self.scratch, vec![area(0, Holds::Data), area(0x1000, Holds::Data)]),
            _ => return None,
        };
        Some(Mappable { memory: Arc::clone(memory), areas })
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

#[derive(Default)]
pub(crate) struct Recorder {
    events: Mutex<Vec<Event>>,
    added: Condvar,
}

impl EventSink for Recorder {
    fn event(&self, _function: &str, event: Event) {
        self.events.lock().push(event);
        self.added.notify_all();
    }
}

impl Recorder {
    pub(crate) fn all(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    pub(crate) fn wait_for(&self, wanted: impl Fn(&Event) -> bool) {
        let mut events = self.events.lock();
        while !events.iter().any(&wanted) {
            assert!(!self.added.wait_for(&mut events, Duration::from_secs(20)).timed_out(), "no such event");
        }
    }
}

/// The function, its assignment and its parts.
pub(crate) struct World {
    pub(crate) gate: Gate,
    pub(crate) fake: Arc<Fake>,
    pub(crate) events: Arc<Recorder>,
    pub(crate) port: Arc<Port>,
    pub(crate) assignment: Arc<Assignment>,
}

pub(crate) fn config() -> ConfigSpace {
    builder().build().unwrap()
}

fn builder() -> ConfigSpaceBuilder {
    let bar = |index| BarIndex::new(index).unwrap();
    let identity = Identity::new(0x1b36, 0x0010, pci_spec::ClassCode::NVME);
    ConfigSpace::builder(identity)
        .bar(bar(0), BarKind::Memory64, 0x4000)
        .bar(bar(2), BarKind::Memory32, 0x1000)
        .rom(0x800)
        .intx(InterruptPin::A)
        .capability(Pm { no_soft_reset: true, immediate_readiness: true, ..Pm::default() })
        .capability(Msi::new(MSI_VECTORS as u16))
        .capability(Msix {
            vectors: MSIX_VECTORS as u16,
            table: Location { bar: 2, offset: 0 },
            pba: Location { bar: 2, offset: 0x800 },
        })
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> World {
        World::bounded(limits, MappingLimits::default())
    }

    pub(crate) fn limited(mapping: MappingLimits) -> World {
        World::bounded(Limits::default(), mapping)
    }

    /// With a PCI Express function.
    pub(crate) fn express(limits: Limits) -> World {
        let config = builder().capability(Express::default()).build().unwrap();
        World::of(config, limits, MappingLimits::default())
    }

    fn bounded(limits: Limits, mapping: MappingLimits) -> World {
        World::of(config(), limits, mapping)
    }

    fn of(config: ConfigSpace, limits: Limits, mapping: MappingLimits) -> World {
        let gate = Gate::new("test");
        let config = Arc::new(config);
        let events = Arc::new(Recorder::default());
        let port = Port::new(&gate, Arc::clone(&config), events.clone());
        let fake = Arc::new(Fake {
            memory: Memory::new("bar 0", 0x4000),
            scratch: Memory::new("scratch", 0x2000),
            accesses: Mutex::default(),
            resets: Mutex::default(),
        });
        let function = Function::new("test", gate.clone(), config, fake.clone()).limited_by(mapping);
        let function = Arc::new(function);
        let assignment = Assignment::new(function, Arc::clone(&port), limits);
        World { gate, fake, events, port, assignment }
    }

    /// Attached, with bus mastering on.
    pub(crate) fn attach(&self, token: &mut ThreadToken) -> Attached {
        let attached = self.assignment.attach(token).unwrap();
        self.command(token, Command::MEMORY_SPACE | Command::BUS_MASTER);
        attached
    }

    pub(crate) fn command(&self, token: &mut ThreadToken, command: Command) {
        self.assignment.region_write(token, 7, 4, &command.bits().to_le_bytes()).unwrap();
    }

    /// Sends the function to D0 (0) to D3hot (3).
    pub(crate) fn power(&self, token: &mut ThreadToken, state: u16) {
        let power_management = self.assignment.function().config().find_capability(0x01).unwrap();
        let control = u64::from(power_management) + 4;
        self.assignment.region_write(token, 7, control, &state.to_le_bytes()).unwrap();
    }

    pub(crate) fn pass<'t>(&'t self, token: &'t ThreadToken) -> Pass<'t> {
        loop {
            match self.port.handle().try_enter(token, AccessKind::Dma) {
                Ok(pass) => return pass,
                // Another thread of the test changes the map; that is brief.
                Err(Refusal::Blocked(_)) => std::thread::yield_now(),
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }

    pub(crate) fn map(
        &self,
        token: &mut ThreadToken,
        flags: u32,
        iova: u64,
        size: u64,
        fd: OwnedFd,
    ) -> Result<(), RequestError> {
        self.map_at(token, flags, 0, iova, size, Some(fd))
    }

    pub(crate) fn map_at(
        &self,
        token: &mut ThreadToken,
        flags: u32,
        offset: u64,
        iova: u64,
        size: u64,
        fd: Option<OwnedFd>,
    ) -> Result<(), RequestError> {
        let request = DmaMapRequest { flags: DmaMapFlags(flags), offset, iova, size, fd };
        self.assignment.dma_map(token, request)
    }

    pub(crate) fn irqs(
        &self,
        token: &mut ThreadToken,
        (index, start, count): (u32, u32, u32),
        flags: u32,
        payload: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<(), RequestError> {
        self.assignment.set_irqs(token, SetIrqs::decode(index, start, count, flags, payload, fds)?)
    }

    pub(crate) fn read_guest(
        &self,
        token: &ThreadToken,
        iova: u64,
        len: usize,
    ) -> Result<Vec<u8>, assign::DmaError> {
        let mut data = vec![0xee; len];
        self.port.dma().read(&self.pass(token), iova, &mut data).map(|()| data)
    }
}

pub(crate) fn memory(size: u64) -> OwnedFd {
    let fd = memfd_create("guest", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, size).unwrap();
    fd
}

pub(crate) fn filled(size: u64, value: u8) -> OwnedFd {
    let fd = memory(size);
    rustix::io::pwrite(&fd, &vec![value; size as usize], 0).unwrap();
    fd
}

pub(crate) fn new_eventfd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

pub(crate) fn dup(fd: &OwnedFd) -> OwnedFd {
    fd.try_clone().unwrap()
}

/// Signals since the last look.
pub(crate) fn count(fd: &OwnedFd) -> u64 {
    let mut value = [0; 8];
    match rustix::io::read(fd, &mut value) {
        Ok(_) => u64::from_ne_bytes(value),
        Err(rustix::io::Errno::AGAIN) => 0,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn errno<T: std::fmt::Debug>(result: Result<T, RequestError>) -> i32 {
    result.unwrap_err().errno.raw()
}

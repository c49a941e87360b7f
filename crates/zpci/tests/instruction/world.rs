//! A machine with one function, whose device remembers what reaches it.

use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use parking_lot::Mutex;
use pci_core::{
    BarAccess, BarIndex, BarKind, BlockRefused, ConfigSpace, Device, Express, Function, Identity, Pm,
    ResetKind,
};
use pci_spec::ClassCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zpci::{AddressSpace, Configuration, Description, Fid, Handle, Request, Settings, Uid, View, Zdev, Zpci};

pub(crate) const COMMAND: u64 = 0x04;
pub(crate) const PMCSR: u64 = 0x44;
/// Bytes of BAR 0, the only one.
pub(crate) const BAR_BYTES: u64 = 16 << 10;
/// Longest block of the function.
pub(crate) const MAX_STORE: u16 = 128;
/// Where the device takes no block.
pub(crate) const NOT_ACCEPTED: u64 = 0x2000;
/// Where it has no room for one.
pub(crate) const NO_ROOM: u64 = 0x3000;

/// Long enough that only a hang reaches it.
pub(crate) fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

pub(crate) fn passed() -> Deadline {
    Deadline::at(Instant::now())
}

pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// One access that reached the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Load(u64, usize),
    Store(u64, usize),
    Block(u64, usize),
}

/// Memory behind BAR 0, and what was done to it.
pub(crate) struct Memory {
    access: BarAccess,
    bytes: Mutex<Vec<u8>>,
    seen: Mutex<Vec<Seen>>,
}

impl Memory {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock())
    }

    pub(crate) fn bytes(&self, at: u64, length: usize) -> Vec<u8> {
        self.bytes.lock()[usize::try_from(at).unwrap()..][..length].to_vec()
    }

    fn put(&self, at: u64, data: &[u8]) {
        self.bytes.lock()[usize::try_from(at).unwrap()..][..data.len()].copy_from_slice(data);
    }
}

impl Device for Memory {
    fn bar_access(&self) -> BarAccess {
        self.access
    }

    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &mut [u8]) {
        data.copy_from_slice(&self.bytes(offset, data.len()));
        self.seen.lock().push(Seen::Load(offset, data.len()));
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &[u8]) {
        self.put(offset, data);
        self.seen.lock().push(Seen::Store(offset, data.len()));
    }

    fn store_block(
        &self,
        _pass: &Pass<'_>,
        _bar: BarIndex,
        offset: u64,
        data: &[u8],
    ) -> Result<(), BlockRefused> {
        match offset {
            NOT_ACCEPTED => return Err(BlockRefused::NotAccepted),
            NO_ROOM => return Err(BlockRefused::NoResources),
            _ => self.put(offset, data),
        }
        self.seen.lock().push(Seen::Block(offset, data.len()));
        Ok(())
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// A function that is configured, enabled, and decodes its memory.
pub(crate) struct World {
    pub(crate) zpci: Arc<Zpci>,
    pub(crate) zdev: Arc<Zdev>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) function: Arc<Function>,
    pub(crate) handle: Handle,
}

impl World {
    pub(crate) fn new(token: &mut ThreadToken) -> World {
        World::with(BarAccess::Plain, token)
    }

    pub(crate) fn with(access: BarAccess, token: &mut ThreadToken) -> World {
        let zpci = Zpci::new(Settings::default());
        let zdev = zpci.add(Fid(0x11), Uid(1), Description::default()).unwrap();
        zdev.card(true);
        let (memory, function) = device(&Gate::new("f"), access);
        let view = View::of_function(&zdev, function.clone(), MAX_STORE);
        let handle = zdev.bring_in(token, view);
        assert_eq!(zdev.configuration(), Configuration::Configured);
        function.write_config(token, 0x04, &[0x06], patient()).unwrap();
        World { zpci, zdev, memory, function, handle }
    }

    /// Of BAR 0.
    pub(crate) fn request(&self, length: u16) -> Request {
        Request::new(self.handle, bar0(), length)
    }

    pub(crate) fn config(&self, length: u16) -> Request {
        Request::new(self.handle, AddressSpace::CONFIG, length)
    }
}

/// A device behind `gate`, which decodes no memory yet.
pub(crate) fn device(gate: &Gate, access: BarAccess) -> (Arc<Memory>, Arc<Function>) {
    let bytes = (0..BAR_BYTES).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    let memory = Arc::new(Memory { access, bytes: Mutex::new(bytes), seen: Mutex::new(Vec::new()) });
    let config = ConfigSpace::builder(Identity::new(0x1014, 0x04ed, ClassCode::NVME))
        .bar(BarIndex::new(0).unwrap(), BarKind::Memory64, BAR_BYTES)
        .rom(64 << 10)
        .capability(Pm::default())
        .capability(Express::default())
        .build()
        .unwrap();
    let function = Function::new(gate.name().to_owned(), gate.clone(), Arc::new(config), memory.clone());
    (memory, Arc::new(function))
}

pub(crate) fn bar0() -> AddressSpace {
    AddressSpace::bar(BarIndex::new(0).unwrap())
}

//! A back end in this process that says what the test wants, and remembers what it was asked for.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]
#![allow(
    clippy::disallowed_types,
    reason = "the double's locks guard plain data and nothing is taken under them"
)]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gate::{Deadline, ThreadToken};
use pci_core::{
    BarIndex, BarKind, ConfigSpace, ConfigSpaceBuilder, Express, Identity, Location, Msi, Msix, Pm,
};
use pci_spec::ClassCode;
use remote::link::{LinkError, Loss};
use remote::picture::Upstream;
use rustix::io::Errno;
use vfio_user::client::Region;
use vfio_user::codec::{Command, DeviceInfo, IrqInfo, RegionInfo, RegionType, SparseArea};

pub(crate) const READ: u32 = 1;
pub(crate) const WRITE: u32 = 2;
pub(crate) const MMAP: u32 = 4;

pub(crate) fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "never happened: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn bar(index: u8) -> BarIndex {
    BarIndex::new(index).unwrap()
}

/// What one region is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Says {
    pub(crate) size: u64,
    pub(crate) flags: u32,
    pub(crate) kind: Option<RegionType>,
    pub(crate) areas: Vec<SparseArea>,
    pub(crate) offset: u64,
}

impl Says {
    pub(crate) fn plain(size: u64) -> Says {
        Says { size, flags: READ | WRITE, ..Says::default() }
    }
}

/// See the module's head.
pub(crate) struct Double {
    pub(crate) flags: u32,
    pub(crate) num_regions: u32,
    pub(crate) irqs: [u32; 5],
    pub(crate) regions: BTreeMap<u32, Says>,
    pub(crate) files: BTreeMap<u32, OwnedFd>,
    pub(crate) config: Vec<u8>,
    pub(crate) limit: usize,
    /// What every other region reads as: its offset and this.
    pub(crate) fill: u8,
    pub(crate) dead: AtomicBool,
    /// Everybody who posts or reads a BAR waits until it is false.
    pub(crate) holds: AtomicBool,
    pub(crate) entered: AtomicBool,
    lines: Mutex<Vec<String>>,
    pub(crate) questions: Mutex<usize>,
}

/// An NVMe-like endpoint with everything that is carried.
pub(crate) fn endpoint() -> ConfigSpaceBuilder {
    let identity = Identity { revision: 3, ..Identity::new(0x1b36, 0x0010, ClassCode::NVME) };
    ConfigSpace::builder(identity)
        .bar(bar(0), BarKind::Memory64, 16 << 10)
        .bar(bar(4), BarKind::Memory32, 4 << 10)
        .rom(2 << 10)
        .intx(pci_core::InterruptPin::A)
        .capability_at(0x50, Pm { no_soft_reset: true, ..Pm::default() })
        .capability_at(0x60, Msi { per_vector_masking: true, ..Msi::new(8) })
        .capability_at(
            0x80,
            Msix {
                vectors: 16,
                table: Location { bar: 4, offset: 0 },
                pba: Location { bar: 4, offset: 0x800 },
            },
        )
        .capability_at(0x90, Express::default())
        .extended_capability(pci_core::ExtendedCapability::SerialNumber(0x1122_3344_5566_7788))
}

impl Double {
    /// Of a back end whose configuration space is this.
    pub(crate) fn of(config: &ConfigSpace) -> Double {
        let mut bytes = vec![0; 4096];
        config.read(0, &mut bytes);
        let mut regions = BTreeMap::new();
        for index in 0..7 {
            let window = BarIndex::new(index).and_then(|bar| config.window_size(bar));
            let flags = if index == 6 { READ } else { READ | WRITE };
            let says = Says { size: window.unwrap_or(0), flags, ..Says::default() };
            regions.insert(index.into(), says);
        }
        regions.insert(7, Says::plain(4096));
        regions.insert(8, Says::default());
        let kind = Some(RegionType { kind: 0x8000_1b36, subtype: 1 });
        regions.insert(9, Says { kind, ..Says::plain(0x100) });
        let layout = config.interrupt_layout();
        let irqs = [
            u32::from(layout.intx != pci_core::InterruptPin::None),
            layout.msi_vectors.into(),
            layout.msix.map_or(0, |msix| msix.vectors.into()),
            1,
            1,
        ];
        Double {
            flags: 3,
            num_regions: 10,
            irqs,
            regions,
            files: BTreeMap::new(),
            config: bytes,
            limit: 1 << 20,
            fill: 0,
            dead: AtomicBool::new(false),
            holds: AtomicBool::new(false),
            entered: AtomicBool::new(false),
            lines: Mutex::default(),
            questions: Mutex::default(),
        }
    }

    pub(crate) fn new() -> Double {
        Double::of(&endpoint().build().unwrap())
    }

    /// What was done to the device, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    /// The same without taking it.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|known| known == line)
    }

    fn asked(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        *self.questions.lock().unwrap() += 1;
        // Law 1: whoever waits for a reply holds nothing.
        drop(gate::waits::Waiting::new(token, "test", None, "a reply"));
        if self.dead.load(Ordering::SeqCst) { Err(LinkError::Lost(Loss::Closed)) } else { Ok(()) }
    }

    fn add(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn pause(&self) {
        self.entered.store(true, Ordering::SeqCst);
        while self.holds.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }
}

fn refused(command: Command) -> LinkError {
    LinkError::Refused { command, errno: Errno::INVAL }
}

impl Upstream for Double {
    fn device_info(&self, token: &mut ThreadToken) -> Result<DeviceInfo, LinkError> {
        self.asked(token)?;
        let (flags, num_regions) = (self.flags, self.num_regions);
        Ok(DeviceInfo { argsz: 16, flags, num_regions, num_irqs: 5 })
    }

    fn region_info(&self, token: &mut ThreadToken, index: u32) -> Result<Region, LinkError> {
        self.asked(token)?;
        let says = self.regions.get(&index).ok_or(refused(Command::DeviceGetRegionInfo))?.clone();
        let Says { size, flags, kind, areas, offset } = says;
        let info = RegionInfo { argsz: 32, flags, index, cap_offset: 0, size, offset };
        let fd = self.files.get(&index).map(|file| file.try_clone().unwrap());
        Ok(Region { info, kind, areas, fd })
    }

    fn irq_info(&self, token: &mut ThreadToken, index: u32) -> Result<IrqInfo, LinkError> {
        self.asked(token)?;
        let count = self.irqs.get(index as usize).copied().ok_or(refused(Command::DeviceGetIrqInfo))?;
        Ok(IrqInfo { argsz: 16, flags: 1, index, count })
    }

    fn read(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), LinkError> {
        self.asked(token)?;
        assert!(data.len() <= self.limit, "more than a message may carry");
        if region == 7 {
            let at = usize::try_from(offset).unwrap();
            data.copy_from_slice(&self.config[at..at + data.len()]);
            return Ok(());
        }
        let size = self.regions[&region].size;
        assert!(offset + data.len() as u64 <= size, "beyond the region");
        if region < 6 {
            self.add(format!("read {region} {offset:#x} {}", data.len()));
            self.pause();
        }
        if self.dead.load(Ordering::SeqCst) {
            return Err(LinkError::Lost(Loss::Closed));
        }
        if region < 6 && offset == 0xbad {
            return Err(refused(Command::RegionRead));
        }
        data.fill(offset.to_le_bytes()[0] ^ self.fill);
        Ok(())
    }

    fn post(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError> {
        self.asked(token)?;
        assert!(data.len() <= self.limit, "more than a message may carry");
        self.add(format!("write {region} {offset:#x} {data:02x?}"));
        self.pause();
        Ok(())
    }

    fn post_reset(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        self.asked(token)?;
        self.add(String::from("reset"));
        self.pause();
        Ok(())
    }

    fn transfer_limit(&self) -> usize {
        self.limit
    }
}

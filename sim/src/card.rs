//! Cards: devices with nothing to them but what the invariants need to see.

use assign::{Assignment, EventSink, Limits, Port};
use gate::{Gate, Handle, Pass, Quiesced};
use pci_core::mechanism::HostBridge;
use pci_core::{
    BarAccess, BarIndex, BarKind, BlockRefused, ConfigSpace, ConfigSpaceBuilder, Device, Express,
    ExtendedCapability, Function, Identity, InterruptPin, LayoutError, Msi, Pm, ResetKind, SrIov, Time,
    VirtualFunction,
};
use pci_spec::{Bdf, ClassCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Vendor ID of all cards: unregistered.
const VENDOR: u16 = 0x1234;
/// Bytes of BAR 0.
pub(crate) const BAR_BYTES: u64 = 4096;
/// Virtual functions of a card that has some.
pub(crate) const VIRTUAL_FUNCTIONS: u16 = 3;
/// They come after the last physical function that a card may have.
pub(crate) const MOST_FUNCTIONS: u8 = 4;

/// What is in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    /// Which one, in the order of their making.
    pub(crate) serial: u32,
    /// 1 to 4.
    pub(crate) functions: u8,
    /// Function 0 has virtual functions.
    pub(crate) sr_iov: bool,
    /// Its functions take whole blocks only.
    pub(crate) block_store: bool,
}

/// What all devices of a world have in common.
#[derive(Debug, Default)]
pub(crate) struct Census {
    live: AtomicUsize,
    late: AtomicUsize,
    stray: AtomicUsize,
    /// Numbers of devices that were given out.
    numbers: AtomicU64,
}

impl Census {
    /// Devices that exist, virtual functions included.
    #[must_use]
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Accesses that reached a device after its epoch had ended. Law 5: there are none.
    #[must_use]
    pub(crate) fn late(&self) -> usize {
        self.late.load(Ordering::Relaxed)
    }

    /// Blocks that reached another device than the one they were for.
    #[must_use]
    pub(crate) fn stray(&self) -> usize {
        self.stray.load(Ordering::Relaxed)
    }
}

/// A device that counts itself, and shows its number everywhere.
struct Silicon {
    census: Arc<Census>,
    /// From 1 on; no other device of the world has it.
    number: u64,
    access: BarAccess,
    /// Of the device's own epoch.
    handle: Handle,
    make: Arc<Make>,
}

impl Silicon {
    fn new(census: &Arc<Census>, gate: &Gate, make: &Arc<Make>, access: BarAccess) -> Arc<Silicon> {
        census.live.fetch_add(1, Ordering::Relaxed);
        let number = census.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let (census, make) = (census.clone(), make.clone());
        Arc::new(Silicon { census, number, access, handle: gate.handle(), make })
    }

    fn reached(&self) {
        if self.handle.is_gone() {
            self.census.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A block begins with the number of the device that it is for, or with 0.
    fn check_block(&self, data: &[u8]) {
        let number = data.first_chunk().map_or(0, |number| u64::from_le_bytes(*number));
        if number != 0 && number != self.number {
            self.census.stray.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Silicon {
    fn drop(&mut self) {
        self.census.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Device for Silicon {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &mut [u8]) {
        self.reached();
        let number = self.number.to_le_bytes();
        let bytes = number.into_iter().cycle().skip(usize::from(offset.to_le_bytes()[0] % 8));
        data.iter_mut().zip(bytes).for_each(|(byte, shown)| *byte = shown);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &[u8]) {
        self.reached();
        if data.len() > 8 {
            self.check_block(data);
        }
    }

    fn bar_access(&self) -> BarAccess {
        self.access
    }

    fn store_block(
        &self,
        _pass: &Pass<'_>,
        _bar: BarIndex,
        _offset: u64,
        data: &[u8],
    ) -> Result<(), BlockRefused> {
        self.reached();
        self.check_block(data);
        Ok(())
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        self.reached();
    }

    fn virtual_function(&self, _index: u16, gate: &Gate) -> Option<VirtualFunction> {
        let config = Arc::new(ConfigSpace::new(self.make.virtual_function.clone()));
        Some(VirtualFunction { config, device: Silicon::new(&self.census, gate, &self.make, self.access) })
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

type Layout = Arc<pci_core::Layout>;

/// The layouts of all cards, made once.
struct Make {
    plain: Layout,
    physical: Layout,
    virtual_function: Layout,
}

/// Makes the functions of cards.
pub(crate) struct Maker {
    census: Arc<Census>,
    host: Arc<HostBridge>,
    time: Arc<dyn Time>,
    make: Arc<Make>,
    limits: Limits,
}

impl Maker {
    pub(crate) fn new(host: Arc<HostBridge>, time: Arc<dyn Time>) -> Result<Maker, LayoutError> {
        let mut virtual_functions = SrIov::new(VIRTUAL_FUNCTIONS, 0x0002);
        virtual_functions.first_offset = MOST_FUNCTIONS.into();
        let identity = Identity::new(VENDOR, 0x0002, ClassCode::ETHERNET);
        let make = Make {
            plain: endpoint().layout()?,
            physical: endpoint()
                .extended_capability(ExtendedCapability::SrIov(virtual_functions))
                .layout()?,
            virtual_function: ConfigSpace::virtual_builder(identity)
                .capability(Express::default())
                .layout()?,
        };
        // Nobody can let go while the one thread there is waits for it.
        let none = Duration::ZERO;
        let limits = Limits {
            unmap_timeout: none,
            detach_timeout: none,
            access_timeout: none,
            attach_timeout: none,
            ..Limits::default()
        };
        let census = Arc::default();
        Ok(Maker { census, host, time, make: Arc::new(make), limits })
    }

    pub(crate) fn census(&self) -> &Arc<Census> {
        &self.census
    }

    /// A function of a card, with a gate of its own: a new epoch. Nobody can reach it yet.
    pub(crate) fn function(&self, card: Card, at: Bdf, events: Arc<dyn EventSink>) -> Arc<Assignment> {
        let first = at.function() == 0;
        let layout = if card.sr_iov && first { &self.make.physical } else { &self.make.plain };
        let config = Arc::new(ConfigSpace::new(layout.clone()));
        let gate = Gate::new(at.to_string());
        let port = Port::new(&gate, config.clone(), events);
        let access = if card.block_store { BarAccess::BlockStore } else { BarAccess::Plain };
        let device = Silicon::new(&self.census, &gate, &self.make, access);
        let function = Function::new(at.to_string(), gate, config, device)
            .behind(self.host.clone(), at)
            .timed_by(self.time.clone());
        Assignment::new(Arc::new(function), port, self.limits)
    }
}

/// One BAR, MSI, power management that loses its state, function level reset.
fn endpoint() -> ConfigSpaceBuilder {
    let identity = Identity::new(VENDOR, 0x0001, ClassCode::NVME);
    let builder = ConfigSpace::builder(identity).multi_function().intx(InterruptPin::A);
    let builder = match BarIndex::new(0) {
        Some(bar) => builder.bar(bar, BarKind::Memory64, BAR_BYTES),
        None => builder,
    };
    builder.capability(Pm::default()).capability(Msi::new(1)).capability(Express::default())
}

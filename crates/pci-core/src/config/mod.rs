//! A function's configuration space: 4 KiB, with the header of an endpoint (type 0) or a bridge (type 1).
//!
//! A [`Layout`] (power-on values, which bits can be written, where the capabilities are) is made once by the
//! [`ConfigSpaceBuilder`] and shared; a [`ConfigSpace`] adds the values of one function, one atomic dword each and
//! only as many as its last capability needs. Whatever no capability claims reads 0 and ignores writes.
//!
//! It changes state and says what a write asks for ([`ConfigEffects`]); it resets no device, ends no access and
//! raises no interrupt. It is the [`Function`](crate::Function) that acts on the effects.
//!
//! Concurrency: no locks. Reads load; writes compare-exchange dword by dword, so two writers to different bytes of
//! one dword both succeed, and an access that spans dwords is not atomic as a whole, as on a bus. The space knows no
//! gate: callers hold a pass, or a proof of quiescence for [`ConfigSpace::reset`] and
//! [`ConfigSpace::set_power_state`].

mod aer;
mod bar;
mod bridge;
mod builder;
mod capability;
mod containment;
mod draft;
mod effects;
mod encode;
mod error;
mod express;
mod extended;
mod layout;
mod power;
mod reset;
mod routing;
mod sr_iov;
mod virtual_function;
mod walk;
mod write;

pub use aer::{ErrorRecords, RootErrors};
pub use bar::{BarIndex, BarKind, BarLayout};
pub use bridge::BusNumbers;
pub use builder::{ConfigSpaceBuilder, Identity};
pub use capability::{Af, Capability, Express, Msi, Msix, Pm, Slot, Vendor};
pub use containment::PortContainment;
pub use effects::{Change, ConfigEffects, MsiState, MsixState};
pub use error::LayoutError;
pub use extended::ExtendedCapability;
pub use layout::{InterruptLayout, Layout, MsixLayout, SrIovLayout};
pub use reset::ResetKind;
pub use routing::{ROUTING_MARKS, RoutingChanges, RoutingMark};
pub use sr_iov::{SrIov, SrIovState};
pub use walk::{find_capability, find_extended};

use crate::power::DeviceState;
use layout::HeaderKind;
use pci_spec::capability::pm::PowerState;
use pci_spec::{Command, EXTENDED_CONFIG_SPACE_SIZE, Status, config};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Size of a configuration space, in bytes.
pub const CONFIG_SIZE: usize = EXTENDED_CONFIG_SPACE_SIZE;

/// The dword of COMMAND (low half) and STATUS (high half).
const COMMAND_STATUS: usize = config::COMMAND as usize / 4;

/// The configuration space of one function; see the module's head.
///
/// In one cache line, as every access looks here whether the function is awake and decodes: see
/// [`Function`](crate::Function).
#[repr(align(64))]
#[derive(Debug)]
pub struct ConfigSpace {
    layout: Arc<Layout>,
    /// As long as `layout.initial`.
    values: Box<[AtomicU32]>,
    /// Without power nothing is answered, whatever the values are.
    powered: AtomicBool,
    /// See [`ConfigSpace::hold_dma`].
    dma_held: AtomicBool,
    /// The power state that no register tells of: [`power::AS_REGISTER`], or the [`DeviceState`].
    noted: AtomicU8,
    /// See [`ConfigSpace::count_routing_changes`].
    routing_mark: OnceLock<Arc<RoutingMark>>,
    /// Of a virtual function: the space of its physical function, which holds its memory enable.
    physical: OnceLock<Arc<ConfigSpace>>,
}

const _: () = assert!(size_of::<ConfigSpace>() == 64, "one cache line");

impl ConfigSpace {
    /// Starts to describe a configuration space.
    pub fn builder(identity: Identity) -> ConfigSpaceBuilder {
        ConfigSpaceBuilder::new(identity, HeaderKind::Endpoint)
    }

    /// Starts to describe the space of a bridge: a root port, or a port of a switch, with bus numbers, all three windows
    /// (16-bit I/O, memory, 64-bit prefetchable memory) and bridge control. It shows no subsystem.
    pub fn bridge_builder(identity: Identity) -> ConfigSpaceBuilder {
        ConfigSpaceBuilder::new(identity, HeaderKind::Bridge)
    }

    /// Starts to describe the space of a virtual function, as a consumer sees it; see
    /// [`read_hardware`](ConfigSpace::read_hardware) for how hardware shows it.
    pub fn virtual_builder(identity: Identity) -> ConfigSpaceBuilder {
        ConfigSpaceBuilder::new(identity, HeaderKind::Virtual)
    }

    /// A configuration space with its power-on values, sharing `layout` with others of the same make.
    #[must_use]
    pub fn new(layout: Arc<Layout>) -> ConfigSpace {
        let values = layout.initial.iter().map(|value| AtomicU32::new(*value)).collect();
        ConfigSpace {
            layout,
            values,
            powered: AtomicBool::new(true),
            dma_held: AtomicBool::new(false),
            noted: AtomicU8::new(power::AS_REGISTER),
            routing_mark: OnceLock::new(),
            physical: OnceLock::new(),
        }
    }

    /// What all functions of this make share.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Reads `data.len()` bytes from `offset`.
    ///
    /// Any offset and length: bytes that nothing claims read 0, bytes from [`CONFIG_SIZE`] on and those of a function
    /// without power read all-ones.
    pub fn read(&self, offset: u16, data: &mut [u8]) {
        if !self.is_powered() {
            return data.fill(0xff);
        }
        let mut at = usize::from(offset);
        let mut rest = data;
        while !rest.is_empty() {
            let lane = at % 4;
            let length = rest.len().min(4 - lane);
            let (piece, tail) = rest.split_at_mut(length);
            let bytes = self.dword(at / 4).to_le_bytes();
            piece.copy_from_slice(&bytes[lane..lane + length]);
            at += length;
            rest = tail;
        }
    }

    /// COMMAND, in one load.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::from_bits_truncate(halves(self.dword(COMMAND_STATUS)).0)
    }

    /// STATUS, in one load.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::from_bits_truncate(halves(self.dword(COMMAND_STATUS)).1)
    }

    /// The power state; D0 for a function without power management.
    #[must_use]
    pub fn power_state(&self) -> PowerState {
        let control = self.layout.positions.power_control.map_or(0, |offset| self.half(offset));
        PowerState::decode(control)
    }

    /// Whether the function may send memory requests, messages among them: COMMAND.BUS_MASTER is set, it is in D0, and nobody
    /// [holds its DMA](ConfigSpace::hold_dma). In the other states only PME is left to it. PCIe 6.0 s5.3.1 *Device Power Management States (D-States) of a Function*.
    #[inline]
    #[must_use]
    pub fn masters_bus(&self) -> bool {
        self.command().contains(Command::BUS_MASTER)
            && self.power_state() == PowerState::D0
            && !self.dma_held.load(Ordering::Acquire)
    }

    /// Keeps the function off the bus, whatever COMMAND says and without showing in it, or no longer. For an error that is
    /// contained, of which registers can be reached again and memory not yet (EEH-14). What the function has started before
    /// may still end.
    pub fn hold_dma(&self, held: bool) {
        self.dma_held.store(held, Ordering::Release);
    }

    /// Whether the function is kept off the bus.
    #[must_use]
    pub fn is_dma_held(&self) -> bool {
        self.dma_held.load(Ordering::Acquire)
    }

    /// How software has set MSI up; off without the capability.
    #[must_use]
    pub fn msi(&self) -> MsiState {
        self.layout.positions.msi_control.map_or(MsiState::default(), |at| MsiState::decode(self.half(at)))
    }

    /// How software has set MSI-X up; off without the capability.
    #[must_use]
    pub fn msix(&self) -> MsixState {
        self.layout.positions.msix_control.map_or(MsixState::default(), |at| MsixState::decode(self.half(at)))
    }

    /// Whether software masks the MSI vector `vector` (from 0).
    #[must_use]
    pub fn msi_masked(&self, vector: u16) -> bool {
        let mask = self.layout.positions.msi_mask.map_or(0, |at| self.dword(usize::from(at / 4)));
        mask & vector_bit(vector) != 0
    }

    /// Shows that the MSI vector `vector` (from 0) is, or is no longer, held back by its mask. Without per-vector
    /// masking there is nothing to show it in.
    pub fn set_msi_pending(&self, vector: u16, pending: bool) {
        if let Some(at) = self.layout.positions.msi_pending {
            self.set_bits(usize::from(at / 4), vector_bit(vector), pending);
        }
    }

    /// Shows in STATUS whether the function wants its INTx asserted, whatever DisINTx says (CFG-11).
    pub fn set_intx_status(&self, asserted: bool) {
        self.set_bits(COMMAND_STATUS, u32::from(Status::INTERRUPT_STATUS.bits()) << 16, asserted);
    }

    /// Notes in STATUS what happened on the bus; software clears it by writing 1. Bits that are not of that kind are
    /// ignored.
    pub fn record_status(&self, events: Status) {
        let events = events & pci_spec::status::STATUS_RW1C;
        self.set_bits(COMMAND_STATUS, u32::from(events.bits()) << 16, true);
    }

    /// Whether the window answers accesses now: VF-18, memory and ROM by COMMAND.MEM, a virtual function's memory also by
    /// the memory enable of all of them, and nothing in D3hot or without power. As in vfio, I/O BARs do not depend on
    /// COMMAND.IO, nor the ROM on its own enable bit: a consumer that reads region 6 has it switched on for that.
    #[must_use]
    pub fn decodes(&self, bar: BarIndex) -> bool {
        let memory = self.layout.bar(bar).is_none_or(|bar| bar.kind.is_memory());
        (!memory || self.decodes_memory()) && self.device_state() < DeviceState::D3Hot && self.is_powered()
    }

    fn decodes_memory(&self) -> bool {
        self.command().contains(Command::MEMORY_SPACE)
            && self.physical.get().is_none_or(|pf| pf.enables_vf_memory())
    }

    /// Size of a BAR or the ROM in bytes, if the function has it.
    #[must_use]
    pub fn window_size(&self, bar: BarIndex) -> Option<u64> {
        if bar == BarIndex::ROM {
            self.layout.rom_size.map(u64::from)
        } else {
            self.layout.bar(bar).map(|bar| bar.size)
        }
    }

    /// The address that software gave a BAR, if the function has it.
    #[must_use]
    pub fn bar_address(&self, index: BarIndex) -> Option<u64> {
        let bar = self.layout.bar(index)?;
        let dword = usize::from(index.register() / 4);
        let high = if bar.kind.is_64bit() { u64::from(self.dword(dword + 1)) << 32 } else { 0 };
        Some((high | u64::from(self.dword(dword))) & !(bar.size - 1))
    }

    /// The BARs in use, lowest first.
    #[must_use]
    pub fn bars(&self) -> &[BarLayout] {
        self.layout.bars()
    }

    /// Which interrupts the function can raise.
    #[must_use]
    pub fn interrupt_layout(&self) -> InterruptLayout {
        self.layout.interrupts()
    }

    /// Opens the function for a consumer as vfio does (VF-02): bus master off, decoding on for what it has.
    /// Answers what that changed in COMMAND.
    pub fn enable_at_open(&self) -> Option<Change<Command>> {
        let decode = Command::MEMORY_SPACE | Command::IO_SPACE;
        let has = self.layout.rule(COMMAND_STATUS).map_or(0, |rule| halves(rule.bits.writable).0);
        let set = u32::from(decode.bits() & has);
        let clear = u32::from(Command::BUS_MASTER.bits());
        let change = |old: u32| (old | set) & !clear;
        let old = self.update(COMMAND_STATUS, change)?;
        Change::between(command_of(old), command_of(change(old)))
    }

    /// Bytes of heap that this space holds, without the shared [`Layout`].
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.values)
    }

    fn dword(&self, index: usize) -> u32 {
        if index >= CONFIG_SIZE / 4 {
            return u32::MAX;
        }
        self.values.get(index).map_or(0, |value| value.load(Ordering::Acquire))
    }

    /// The 16-bit register at `offset`.
    fn half(&self, offset: u16) -> u16 {
        let (low, high) = halves(self.dword(usize::from(offset / 4)));
        if offset.is_multiple_of(4) { low } else { high }
    }

    fn set_bits(&self, dword: usize, bits: u32, set: bool) {
        let _old = self.update(dword, |old| if set { old | bits } else { old & !bits });
    }

    /// Replaces a dword by what `change` makes of it; answers the old value, or nothing where no value is kept.
    fn update(&self, dword: usize, change: impl Fn(u32) -> u32) -> Option<u32> {
        let cell = self.values.get(dword)?;
        cell.fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| Some(change(old))).ok()
    }
}

fn command_of(dword: u32) -> Command {
    Command::from_bits_truncate(halves(dword).0)
}

/// The lower and the upper 16 bits.
fn halves(dword: u32) -> (u16, u16) {
    let [a, b, c, d] = dword.to_le_bytes();
    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

fn vector_bit(vector: u16) -> u32 {
    1u32.checked_shl(u32::from(vector)).unwrap_or(0)
}

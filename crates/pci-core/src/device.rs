//! What a device model implements.

use crate::block::{BarAccess, BlockRefused};
use crate::config::{BarIndex, Change, ConfigSpace, ResetKind};
use crate::fault::{FaultName, InjectError};
use crate::preserve::Preserve;
use crate::waits::Waits;
use gate::{Gate, Pass, Quiesced};
use mapping::{Area, Memory};
use pci_spec::Command;
use pci_spec::capability::pm::PowerState;
use std::sync::Arc;

/// A device model, as its function calls it.
///
/// Calls arrive under a pass, or under a proof that nothing else is inside. No lock of this crate is held over any of
/// them, so a model may lock what is its own. A panic in one of them is caught, and is a sign that the device has failed
/// ([`ErrorSign::DevicePanicked`](crate::ErrorSign::DevicePanicked)). It never waits in them: what takes time is started under a long pass
/// ([`Pass::long`]) and finished elsewhere. Calls under a pass arrive from several threads at once.
pub trait Device: Send + Sync {
    /// Reads `data.len()` bytes at `offset` of a BAR or the ROM.
    ///
    /// `offset` and length lie within the window and it is decoded at present; width and alignment are as the consumer
    /// chose them. All of `data` is to be written.
    fn read_bar(&self, pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &mut [u8]);

    /// Writes `data` at `offset` of a BAR; never called for the ROM. As [`Device::read_bar`] otherwise.
    fn write_bar(&self, pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &[u8]);

    /// How consumers reach the BARs and the ROM. The same as long as the device lives: its function asks once.
    fn bar_access(&self) -> BarAccess {
        BarAccess::Plain
    }

    /// The accesses of a device that waits for what is behind it to answer. They take the place of [`Device::read_bar`],
    /// [`Device::write_bar`], [`Device::read_region`] and [`Device::write_region`], but for those under a pass that the caller holds.
    /// Some or none as long as the device lives: its function asks once which.
    fn waits(&self) -> Option<&dyn Waits> {
        None
    }

    /// A write of `data` at `offset` of a BAR did not get in because the function is frozen, and was dropped. Only what says "look
    /// here" and has no other meaning, such as a doorbell's latest value, may be noted, to be looked at when the function is thawed;
    /// nothing is done about it now. Called without a pass, from several threads at once, and beside a reset or a restore: no lock,
    /// no wait.
    fn missed_write(&self, bar: BarIndex, offset: u64, data: &[u8]) {
        let _ = (bar, offset, data);
    }

    /// Takes `data` at `offset` of a BAR as one block; never called for the ROM. As [`Device::write_bar`] otherwise, which
    /// is what a device does with a block that has no other meaning to it.
    ///
    /// # Errors
    /// [`BlockRefused`]: nothing of the block was taken.
    fn store_block(
        &self,
        pass: &Pass<'_>,
        bar: BarIndex,
        offset: u64,
        data: &[u8],
    ) -> Result<(), BlockRefused> {
        self.write_bar(pass, bar, offset, data);
        Ok(())
    }

    /// Goes back to the state after power-on. Nothing is in flight: long passes have ended too. Configuration space is
    /// reset right after this returns.
    fn reset(&self, quiesced: &Quiesced<'_>, kind: ResetKind);

    /// COMMAND was changed by a write, or the function may use the bus again that it was kept off.
    ///
    /// Two writes at once may be told in either order; a model that follows a bit looks at the configuration space.
    fn command_changed(&self, pass: &Pass<'_>, old: Command, new: Command) {
        let _ = (pass, old, new);
    }

    /// MSI or MSI-X was switched on or off, masked as a whole, or given another number of vectors, by a write. The configuration
    /// space says what there is now, which may be later than this write.
    fn interrupts_changed(&self, pass: &Pass<'_>) {
        let _ = pass;
    }

    /// The power state changed, and the function keeps its state. Otherwise [`Device::reset`] is called instead, with
    /// [`ResetKind::PowerUp`].
    fn power_changed(&self, quiesced: &Quiesced<'_>, change: Change<PowerState>) {
        let _ = (quiesced, change);
    }

    /// The memory behind a region that consumers may map, and which parts of it; nothing if all of it is trapped. `region` is
    /// numbered as vfio numbers them (VF-13).
    fn mappable(&self, region: u32) -> Option<Mappable> {
        let _ = region;
        None
    }

    /// Regions of the device's own, beside its BARs and its ROM: the first has the number [`FIRST_DEVICE_REGION`]. The same
    /// as long as the device lives.
    fn regions(&self) -> &[DeviceRegion] {
        &[]
    }

    /// Reads `data.len()` bytes at `offset` of the `nth` of [`Device::regions`], inside it. All of `data` is to be written.
    fn read_region(&self, pass: &Pass<'_>, nth: usize, offset: u64, data: &mut [u8]) {
        let _ = (pass, nth, offset);
        data.fill(0xff);
    }

    /// Writes `data` at `offset` of the `nth` of [`Device::regions`], inside it; only if it can be written.
    fn write_region(&self, pass: &Pass<'_>, nth: usize, offset: u64, data: &[u8]) {
        let _ = (pass, nth, offset, data);
    }

    /// Makes virtual function `index` (from 0) of a device whose configuration space has SR-IOV; `gate` is the VF's, for
    /// what the model makes out of it. `None`: it has no such VF, or cannot make it now.
    ///
    /// Called while the physical function is closed for all accesses, once for each VF that is switched on. The VF is
    /// dropped when it is switched off.
    fn virtual_function(&self, index: u16, gate: &Gate) -> Option<VirtualFunction> {
        let _ = (index, gate);
        None
    }

    /// Whether a register that has bytes among these can never be read as all-ones, so that all-ones mean that nobody is there
    /// to answer (EEH-06). Asked only of a read that gave all-ones.
    fn never_all_ones(&self, bar: BarIndex, offset: u64, length: usize) -> bool {
        let _ = (bar, offset, length);
        false
    }

    /// How the device's state is saved and restored. `None`: it is lost with every reset.
    fn preserve(&self) -> Option<&dyn Preserve> {
        None
    }

    /// The faults that the device can be made to have.
    fn faults(&self) -> &'static [FaultName] {
        &[]
    }

    /// Makes the device have one of [`Device::faults`]. What follows from it is as if it had come by itself.
    ///
    /// # Errors
    /// [`InjectError`]; nothing happens then.
    fn inject(&self, pass: &Pass<'_>, fault: &str) -> Result<(), InjectError> {
        let _ = (pass, fault);
        Err(InjectError::Unknown { known: self.faults() })
    }

    /// Whether nobody else's I/O can still land in its data: it holds it by a lock that whatever was under way for its last holder
    /// held as well, or it began with the device.
    fn has_its_data_to_itself(&self) -> bool {
        false
    }

    /// Facts for the operator, as name and value.
    fn describe(&self) -> Vec<(String, String)>;
}

/// A virtual function as its device makes it.
#[derive(Clone)]
pub struct VirtualFunction {
    /// Its configuration space, made by [`ConfigSpace::virtual_builder`].
    pub config: Arc<ConfigSpace>,
    /// What is behind it.
    pub device: Arc<dyn Device>,
}

/// Number of the first region of a device's own; vfio numbers the others below it (VF-13).
pub const FIRST_DEVICE_REGION: u32 = 9;

/// A region of a device's own. It is there whatever COMMAND says, and asleep with the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRegion {
    /// Who defines it: vfio's type, with bit 31 set and a PCI vendor below it for a vendor's own.
    pub kind: u32,
    /// Which of that type.
    pub subtype: u32,
    /// Bytes.
    pub size: u64,
    /// Whether it can be written.
    pub writable: bool,
}

/// The memory behind a region and which parts of it may be mapped.
#[derive(Clone, Debug)]
pub struct Mappable {
    /// As long as the region, or longer by less than a page; offset 0 is the region's first byte.
    pub memory: Arc<Memory>,
    /// Page-aligned, in ascending order, without overlap.
    pub areas: Vec<Area>,
}

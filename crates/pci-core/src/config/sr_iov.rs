//! What a function says about its virtual functions.
//!
//! PCIe 6.0 s9.2 *SR-IOV Initialization and Resource Allocation*. A virtual function is a function of its own, with its
//! own space and gate; here is only what the physical function's registers hold.

use super::bar::{BarIndex, BarKind, BarLayout};
use super::layout::SrIovLayout;
use super::{ConfigSpace, LayoutError, halves};
use pci_spec::extended::sr_iov;
use std::sync::Arc;

/// The capability as a device model describes it.
#[derive(Clone, Copy, Debug)]
pub struct SrIov {
    /// Most VFs, 1 to 65535.
    pub total_vfs: u16,
    /// Distance of the first VF's routing ID from the physical function's, at least 1.
    pub first_offset: u16,
    /// Distance between VFs, at least 1 if there is more than one.
    pub stride: u16,
    /// Device ID of the VFs.
    pub device: u16,
    pub(super) bars: [Option<BarLayout>; 6],
}

impl SrIov {
    /// `total_vfs` virtual functions right after the physical one, without BARs.
    #[must_use]
    pub const fn new(total_vfs: u16, device: u16) -> SrIov {
        SrIov { total_vfs, first_offset: 1, stride: 1, device, bars: [None; 6] }
    }

    /// Gives each VF a BAR of `size` bytes, at least 4 KiB; an index that does not exist is refused when the space is
    /// built.
    #[must_use]
    pub fn bar(mut self, index: BarIndex, kind: BarKind, size: u64) -> SrIov {
        if let Some(bar) = self.bars.get_mut(usize::from(index.get())) {
            *bar = Some(BarLayout { index, kind, size });
        }
        self
    }

    pub(super) fn check(&self) -> Result<(), LayoutError> {
        let field = |what| Err(LayoutError::Field { name: "SR-IOV", what });
        if self.total_vfs == 0 || self.first_offset == 0 || self.total_vfs > 1 && self.stride == 0 {
            return field("VFs, their offset and their stride are at least 1");
        }
        let mut free = 0;
        for bar in self.bars.iter().flatten() {
            if bar.index.get() < free {
                return Err(LayoutError::BarTwice(bar.index));
            }
            free = bar.index.get() + if bar.kind.is_64bit() { 2 } else { 1 };
            if !bar.kind.is_memory() || bar.size < 4096 {
                return field("the BAR of a VF is memory of at least a page");
            }
        }
        Ok(())
    }
}

/// How software has set virtual functions up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SrIovState {
    /// The VFs are there.
    pub enabled: bool,
    /// Their BARs are decoded.
    pub memory: bool,
    /// They may use function numbers above 7 of the physical function's device.
    pub ari_hierarchy: bool,
    /// How many there are, or are to be.
    pub num_vfs: u16,
}

impl SrIovState {
    pub(super) fn decode(control: u16, num_vfs: u16) -> SrIovState {
        let control = sr_iov::Control::from_bits_truncate(control);
        SrIovState {
            enabled: control.contains(sr_iov::Control::VF_ENABLE),
            memory: control.contains(sr_iov::Control::VF_MEMORY_SPACE),
            ari_hierarchy: control.contains(sr_iov::Control::ARI_HIERARCHY),
            num_vfs,
        }
    }
}

/// How virtual functions were set up: their number, addresses and switches, in the order in which they are written.
#[derive(Clone, Debug)]
pub(crate) struct SrIovSetup(Vec<(u16, Vec<u8>)>);

impl ConfigSpace {
    /// Sets up by whom the virtual functions are (numvfs, the scan), not by a consumer: what it resets is put back.
    pub(crate) fn sr_iov_setup(&self) -> Option<SrIovSetup> {
        let at = self.layout.sr_iov()?.at;
        let registers = [
            (sr_iov::SYSTEM_PAGE_SIZE, sr_iov::LENGTH - sr_iov::SYSTEM_PAGE_SIZE - 4),
            (sr_iov::NUM_VFS, 2),
            (sr_iov::CONTROL, 2),
        ];
        let saved = registers.map(|(register, length)| {
            let mut bytes = vec![0; usize::from(length)];
            self.read(at + register, &mut bytes);
            (at + register, bytes)
        });
        Some(SrIovSetup(saved.into()))
    }

    /// Puts it back, the switch last. What that asks for was carried out when it was first written.
    pub(crate) fn restore_sr_iov(&self, setup: &SrIovSetup) {
        for (register, bytes) in &setup.0 {
            let _done_before = self.write(*register, bytes);
        }
    }

    /// Makes this the space of a virtual function of `physical`, whose memory is decoded only while `physical` says so too
    /// (VF MSE). PCIe 6.0 s9.3.3.3.4 *VF MSE*. Once; false if it is one already.
    pub(crate) fn depend_on(&self, physical: Arc<ConfigSpace>) -> bool {
        self.physical.set(physical).is_ok()
    }

    /// Whether virtual functions are there and their memory is decoded.
    pub(super) fn enables_vf_memory(&self) -> bool {
        self.is_powered() && self.sr_iov().is_some_and(|vfs| vfs.enabled && vfs.memory)
    }

    /// What the function says about its virtual functions; `None` without SR-IOV.
    #[must_use]
    pub fn sr_iov_layout(&self) -> Option<&SrIovLayout> {
        self.layout.sr_iov()
    }

    /// How software has set virtual functions up; `None` without SR-IOV.
    #[must_use]
    pub fn sr_iov(&self) -> Option<SrIovState> {
        let at = self.layout.sr_iov()?.at;
        let control = halves(self.dword(usize::from((at + sr_iov::CONTROL) / 4))).0;
        Some(SrIovState::decode(control, self.half(at + sr_iov::NUM_VFS)))
    }
}

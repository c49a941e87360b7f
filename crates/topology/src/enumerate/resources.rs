//! Which addresses functions ask for: sizes of their BARs, ROMs and virtual functions' BARs.
//!
//! PCIe 6.0 s7.5.1.2.1 *Base Address Registers*: software writes all-ones and reads which address bits stuck. Decoding is
//! off meanwhile, so this is done for functions that nobody uses yet only.

use super::Found;
use super::access::Access;
use super::assigned::Assignments;
use super::space::Space;
use pci_core::Width;
use pci_spec::bar::{self, Kind};
use pci_spec::extended::{self, sr_iov};
use pci_spec::{Bdf, Command, bridge, config};
use std::collections::BTreeMap;

/// One register, or pair of registers, that is to hold an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// The offset of the (lower) register.
    pub(super) register: u16,
    pub(super) kind: Kind,
    /// Bytes, for all virtual functions together.
    pub(super) size: u64,
    /// A power of two.
    pub(super) align: u64,
}

impl Want {
    pub(super) fn space(&self) -> Space {
        match self.kind {
            Kind::Io => Space::Io,
            Kind::Memory32 { .. } => Space::Memory,
            Kind::Memory64 { .. } => Space::Memory64,
        }
    }
}

/// What the functions among `found` that have no addresses yet ask for.
pub(super) fn wanted(
    access: &Access<'_>,
    found: &[Found],
    assigned: &Assignments,
) -> BTreeMap<Bdf, Vec<Want>> {
    let mut wanted = BTreeMap::new();
    let mut left: Vec<&Found> = found.iter().collect();
    while let Some(found) = left.pop() {
        if !assigned.has(found.at) {
            wanted.insert(found.at, sizes(access, found));
        }
        left.extend(found.bridge.iter().flat_map(|bridge| &bridge.below));
    }
    wanted
}

fn sizes(access: &Access<'_>, found: &Found) -> Vec<Want> {
    let at = found.at;
    let command = access.read(at, config::COMMAND, Width::Word);
    let decode = u32::from((Command::MEMORY_SPACE | Command::IO_SPACE).bits());
    access.write(at, config::COMMAND, Width::Word, command & !decode);
    let is_bridge = found.bridge.is_some();
    let count = if is_bridge { bridge::BAR_COUNT } else { config::BAR_COUNT };
    let mut wants = bars(access, at, config::BAR0, count, 1);
    if !is_bridge {
        wants.extend(rom(access, at));
        if let Some(capability) = access.find_extended(at, extended::id::SR_IOV) {
            let vfs = access.read(at, capability + sr_iov::TOTAL_VFS, Width::Word);
            wants.extend(bars(access, at, capability + sr_iov::VF_BAR0, config::BAR_COUNT, u64::from(vfs)));
        }
    }
    access.write(at, config::COMMAND, Width::Word, command);
    wants
}

/// Sizes `count` registers from `first` on.
fn bars(access: &Access<'_>, at: Bdf, first: u16, count: usize, pieces: u64) -> Vec<Want> {
    let mut wants = Vec::new();
    let mut registers = (first..).step_by(4).take(count);
    while let Some(register) = registers.next() {
        let low = size_mask(access, at, register);
        let Some(kind) = Kind::decode(low) else { continue };
        let mut mask = u64::from(low);
        if kind.registers() == 2 {
            let Some(high) = registers.next() else { break };
            mask |= u64::from(size_mask(access, at, high)) << 32;
        }
        let Some(align) = kind.size_of(mask) else { continue };
        if let Some(size) = align.checked_mul(pieces) {
            wants.push(Want { register, kind, size, align });
        }
    }
    wants
}

fn rom(access: &Access<'_>, at: Bdf) -> Option<Want> {
    let old = access.dword(at, config::ROM_BAR);
    access.write(at, config::ROM_BAR, Width::Dword, bar::ROM_ADDRESS_MASK);
    let mask = access.dword(at, config::ROM_BAR) & bar::ROM_ADDRESS_MASK;
    access.write(at, config::ROM_BAR, Width::Dword, old);
    let size = 1u64.checked_shl(mask.trailing_zeros()).filter(|_| mask != 0)?;
    let kind = Kind::Memory32 { prefetchable: false };
    Some(Want { register: config::ROM_BAR, kind, size, align: size })
}

/// What a register reads after all-ones were written; its value is put back.
fn size_mask(access: &Access<'_>, at: Bdf, register: u16) -> u32 {
    let old = access.dword(at, register);
    access.write(at, register, Width::Dword, u32::MAX);
    let mask = access.dword(at, register);
    access.write(at, register, Width::Dword, old);
    mask
}

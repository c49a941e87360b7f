//! What a function has recorded of errors: forgotten over a reset, and when a recovery asks for it (AER-06).

use crate::facts::Facts;
use crate::hold::{Hold, Reader};
use pci_core::Width;
use pci_spec::capability::express::{self, PortType};
use pci_spec::{Bdf, aer, extended};

/// A write that clears what a register has recorded: its bits are cleared by ones.
pub(crate) struct Clearing {
    pub(crate) register: u16,
    pub(crate) width: Width,
    pub(crate) value: u32,
}

/// What AER has recorded; PCIe 6.0 s7.8.4 *Advanced Error Reporting Extended Capability*.
pub(crate) fn by_aer(reader: &mut dyn Reader, at: Bdf, facts: &Facts) -> Vec<Clearing> {
    let Some(found) = facts.extended.iter().find(|found| found.id == extended::id::AER) else {
        return Vec::new();
    };
    let root = Some(aer::ROOT_ERROR_STATUS).filter(|_| facts.port_type == Some(PortType::RootPort));
    let registers = [aer::UNCORRECTABLE_STATUS, aer::CORRECTABLE_STATUS].into_iter().chain(root);
    let noted = registers.filter_map(|register| {
        let register = found.at + register;
        let value = reader.read_dword(at, register);
        let recorded = value != 0 && value != u32::MAX;
        recorded.then_some(Clearing { register, width: Width::Dword, value })
    });
    noted.collect()
}

/// What AER and Device Status have recorded; PCIe 6.0 s7.5.3.5 *Device Status Register*.
pub(crate) fn by_all(reader: &mut dyn Reader, at: Bdf, facts: &Facts) -> Vec<Clearing> {
    let mut all = by_aer(reader, at, facts);
    if let Some(express) = facts.express() {
        let register = express + express::DEVICE_STATUS;
        let status = reader.read_word(at, register);
        let value = u32::from(status & express::DEVICE_STATUS_RW1C);
        if value != 0 && status != u16::MAX {
            all.push(Clearing { register, width: Width::Word, value });
        }
    }
    all
}

/// Clears it.
pub(crate) fn clear(hold: &mut dyn Hold, at: Bdf, all: Vec<Clearing>) {
    for Clearing { register, width, value } in all {
        hold.write(at, register, width, value);
    }
}

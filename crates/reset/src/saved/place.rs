//! Which registers are saved and restored, and in which order (RST-18, RST-19).
//!
//! Only registers that software sets, each as wide as it is: no event that a neighbour has noted is cleared by the
//! way.

use crate::facts::{Facts, Found};
use crate::hold::Reader;
use pci_core::Width;
use pci_spec::capability::express::{self, PortType};
use pci_spec::capability::{id, msi, msix};
use pci_spec::extended::{
    acs, ats, dpc, id as extended, l1_substates, ltr, pasid, pri, ptm, resizable_bar, sr_iov,
    virtual_channel as vc,
};
use pci_spec::{Bdf, aer, bridge, config};

/// When a register is restored: in the order of declaration (RST-19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Stage {
    Ltr,
    L1Substates,
    Express,
    Pasid,
    Pri,
    Ats,
    VirtualChannel,
    ResizableBar,
    Dpc,
    Ptm,
    Aer,
    Header,
    /// Base address registers: those of an endpoint may need several attempts.
    Bar,
    /// The rest of the header, from the top down; COMMAND is among the last.
    LowHeader,
    PciX,
    Msi,
    Acs,
    Iov,
}

impl Stage {
    /// All stages, by the number they have in a blob.
    pub(super) const ALL: [Stage; 18] = [
        Stage::Ltr,
        Stage::L1Substates,
        Stage::Express,
        Stage::Pasid,
        Stage::Pri,
        Stage::Ats,
        Stage::VirtualChannel,
        Stage::ResizableBar,
        Stage::Dpc,
        Stage::Ptm,
        Stage::Aer,
        Stage::Header,
        Stage::Bar,
        Stage::LowHeader,
        Stage::PciX,
        Stage::Msi,
        Stage::Acs,
        Stage::Iov,
    ];
}

/// One register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) stage: Stage,
    /// Offset in bytes, aligned to the width.
    pub(crate) register: u16,
    pub(crate) width: Width,
}

/// Offset of the command register of PCI-X, 2 bytes. PCI-X Addendum 2.0 s7.2 *PCI-X Capabilities List Item*.
const PCI_X_COMMAND: u16 = 0x02;
/// Distance between the controls of two virtual channels, and between two resizable BARs.
const VC_STRIDE: u16 = 0x0c;
const RESIZABLE_BAR_STRIDE: u16 = 0x08;

/// The registers of a function in the order of their restoration.
pub(crate) fn places(reader: &mut dyn Reader, at: Bdf, facts: &Facts) -> Vec<Place> {
    let mut list = List::default();
    for found in &facts.extended {
        list.add_extended(reader, at, facts, *found);
    }
    for found in &facts.standard {
        list.add_standard(reader, at, facts, *found);
    }
    list.add_header(facts.bridge);
    // Stable: within a stage the order is that of this file.
    list.places.sort_by_key(|place| place.stage);
    list.places
}

#[derive(Default)]
struct List {
    places: Vec<Place>,
}

impl List {
    fn word(&mut self, stage: Stage, register: u16) {
        self.places.push(Place { stage, register, width: Width::Word });
    }

    fn dword(&mut self, stage: Stage, register: u16) {
        self.places.push(Place { stage, register, width: Width::Dword });
    }

    /// The 16 dwords of the header from the last to the first, without what cannot be written to good effect: the
    /// events in STATUS and in a bridge's Secondary Status, which writing back would clear.
    fn add_header(&mut self, is_bridge: bool) {
        let bars = if is_bridge { bridge::BAR_COUNT } else { config::BAR_COUNT };
        let bars = config::BAR0..=config::bar_offset(bars - 1).unwrap_or(config::BAR5);
        for register in (0..config::HEADER_SIZE).step_by(4).rev() {
            let stage = match register {
                _ if bars.contains(&register) => Stage::Bar,
                register if register < config::BAR0 => Stage::LowHeader,
                _ => Stage::Header,
            };
            match register {
                config::COMMAND => self.word(stage, config::COMMAND),
                bridge::IO_BASE if is_bridge => self.word(stage, bridge::IO_BASE),
                register => self.dword(stage, register),
            }
        }
    }

    fn add_standard(&mut self, reader: &mut dyn Reader, at: Bdf, facts: &Facts, found: Found) {
        let Ok(kind) = u8::try_from(found.id) else { return };
        match kind {
            id::PCI_EXPRESS => self.add_express(reader, at, facts, found.at),
            id::PCI_X => self.word(Stage::PciX, found.at + PCI_X_COMMAND),
            id::MSI => self.add_msi(reader, at, found.at),
            id::MSI_X => self.word(Stage::Msi, found.at + msix::CONTROL),
            _ => {}
        }
    }

    fn add_express(&mut self, reader: &mut dyn Reader, at: Bdf, facts: &Facts, express: u16) {
        let version = reader.read_byte(at, express + express::CAPABILITIES) & 0xf;
        let second = u16::from(version) >= express::VERSION;
        let kind = facts.port_type;
        let collector = kind == Some(PortType::RootComplexEventCollector);
        let linked = !collector && kind != Some(PortType::RootComplexIntegratedEndpoint);
        let root = collector || kind == Some(PortType::RootPort);
        let registers = [
            (true, express::DEVICE_CONTROL),
            (linked, express::LINK_CONTROL),
            (facts.has_slot, express::SLOT_CONTROL),
            (root, express::ROOT_CONTROL),
            (second, express::DEVICE_CONTROL_2),
            (second && linked, express::LINK_CONTROL_2),
            (second && facts.has_slot, express::SLOT_CONTROL_2),
        ];
        for (_, register) in registers.into_iter().filter(|(present, _)| *present) {
            self.word(Stage::Express, express + register);
        }
    }

    /// Address and data before the control that switches them on.
    fn add_msi(&mut self, reader: &mut dyn Reader, at: Bdf, msi: u16) {
        let control = msi::Control::from_bits_retain(reader.read_word(at, msi + msi::CONTROL));
        let layout = msi::Layout::new(control);
        self.dword(Stage::Msi, msi + msi::ADDRESS);
        if control.contains(msi::Control::ADDRESS_64) {
            self.dword(Stage::Msi, msi + msi::UPPER_ADDRESS);
        }
        self.word(Stage::Msi, msi + layout.data);
        if let Some(mask) = layout.mask {
            self.dword(Stage::Msi, msi + mask);
        }
        self.word(Stage::Msi, msi + msi::CONTROL);
    }

    fn add_extended(&mut self, reader: &mut dyn Reader, at: Bdf, facts: &Facts, found: Found) {
        let base = found.at;
        match found.id {
            extended::LTR => self.dword(Stage::Ltr, base + ltr::MAX_SNOOP),
            extended::L1_PM_SUBSTATES => {
                // The second first: the first has the enables.
                self.dword(Stage::L1Substates, base + l1_substates::CONTROL_2);
                self.dword(Stage::L1Substates, base + l1_substates::CONTROL_1);
            }
            extended::PASID => self.word(Stage::Pasid, base + pasid::CONTROL),
            extended::PRI => {
                self.dword(Stage::Pri, base + pri::ALLOCATION);
                self.word(Stage::Pri, base + pri::CONTROL);
            }
            extended::ATS => self.word(Stage::Ats, base + ats::CONTROL),
            extended::VIRTUAL_CHANNEL => self.add_channels(reader, at, base),
            extended::RESIZABLE_BAR => self.add_resizable_bars(reader, at, base),
            extended::DPC => self.word(Stage::Dpc, base + dpc::CONTROL),
            extended::PTM => self.dword(Stage::Ptm, base + ptm::CONTROL),
            extended::AER => self.add_aer(facts, base),
            extended::ACS => self.word(Stage::Acs, base + acs::CONTROL),
            extended::SR_IOV => self.add_iov(base),
            _ => {}
        }
    }

    fn add_channels(&mut self, reader: &mut dyn Reader, at: Bdf, base: u16) {
        let further = reader.read_byte(at, base + vc::PORT_CAPABILITY_1) & 0b111;
        self.word(Stage::VirtualChannel, base + vc::PORT_CONTROL);
        for index in 0..=u16::from(further) {
            self.dword(Stage::VirtualChannel, base + vc::VC0_CONTROL + VC_STRIDE * index);
        }
    }

    fn add_resizable_bars(&mut self, reader: &mut dyn Reader, at: Bdf, base: u16) {
        let count =
            reader.read_dword(at, base + resizable_bar::CONTROL) >> resizable_bar::COUNT_SHIFT & 0b111;
        for index in 0..count.min(6) as u16 {
            let register = base + resizable_bar::CONTROL + RESIZABLE_BAR_STRIDE * index;
            self.dword(Stage::ResizableBar, register);
        }
    }

    fn add_aer(&mut self, facts: &Facts, base: u16) {
        let registers =
            [aer::UNCORRECTABLE_MASK, aer::UNCORRECTABLE_SEVERITY, aer::CORRECTABLE_MASK, aer::CONTROL];
        for register in registers {
            self.dword(Stage::Aer, base + register);
        }
        if facts.port_type == Some(PortType::RootPort) {
            self.dword(Stage::Aer, base + aer::ROOT_ERROR_COMMAND);
        }
    }

    /// The control last: it makes the virtual functions appear.
    fn add_iov(&mut self, base: u16) {
        self.dword(Stage::Iov, base + sr_iov::SYSTEM_PAGE_SIZE);
        for index in 0..6 {
            self.dword(Stage::Iov, base + sr_iov::VF_BAR0 + 4 * index);
        }
        self.word(Stage::Iov, base + sr_iov::NUM_VFS);
        self.word(Stage::Iov, base + sr_iov::CONTROL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(is_bridge: bool) -> Vec<Place> {
        let mut list = List::default();
        list.add_header(is_bridge);
        list.places.sort_by_key(|place| place.stage);
        list.places
    }

    #[test]
    fn rst_19_an_endpoints_header_goes_from_dword_15_to_10_then_9_to_4_then_3_to_0() {
        let dwords: Vec<u16> = header(false).iter().map(|place| place.register / 4).collect();
        assert_eq!(dwords, [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        let bars = header(false).iter().filter(|place| place.stage == Stage::Bar).count();
        assert_eq!(bars, 6);
    }

    #[test]
    fn rst_18_a_bridges_header_has_its_bus_numbers_and_two_bars() {
        let places = header(true);
        assert_eq!(places.len(), 16);
        assert!(places.iter().any(|place| place.register == bridge::PRIMARY_BUS));
        assert_eq!(places.iter().filter(|place| place.stage == Stage::Bar).count(), 2);
    }

    #[test]
    fn events_that_writing_one_clears_are_in_no_place() {
        for is_bridge in [false, true] {
            let status = header(is_bridge).into_iter().find(|place| place.register == config::COMMAND);
            assert_eq!(status.map(|place| place.width), Some(Width::Word));
        }
        let windows = header(true).into_iter().find(|place| place.register == bridge::IO_BASE);
        assert_eq!(windows.map(|place| place.width), Some(Width::Word));
    }

    #[test]
    fn stages_are_numbered_as_they_are_declared() {
        for (number, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, number);
        }
        assert!(Stage::ALL.is_sorted());
    }
}

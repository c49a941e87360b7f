//! The names of registers and capabilities, as `setpci` knows them.

use super::Width;
use pci_spec::capability::id;
use pci_spec::extended::id as extended;

/// Registers of the header: name, offset, width. Those of bridges follow those of endpoints; offsets overlap, and whoever
/// names one means that header. PCIe 6.0 s7.5.1 *PCI-Compatible Configuration Registers*.
pub(super) const HEADER: &[(&str, u16, Width)] = &[
    ("VENDOR_ID", 0x00, Width::Word),
    ("DEVICE_ID", 0x02, Width::Word),
    ("COMMAND", 0x04, Width::Word),
    ("STATUS", 0x06, Width::Word),
    ("REVISION", 0x08, Width::Byte),
    ("CLASS_PROG", 0x09, Width::Byte),
    ("CLASS_DEVICE", 0x0a, Width::Word),
    ("CACHE_LINE_SIZE", 0x0c, Width::Byte),
    ("LATENCY_TIMER", 0x0d, Width::Byte),
    ("HEADER_TYPE", 0x0e, Width::Byte),
    ("BIST", 0x0f, Width::Byte),
    ("BASE_ADDRESS_0", 0x10, Width::Dword),
    ("BASE_ADDRESS_1", 0x14, Width::Dword),
    ("BASE_ADDRESS_2", 0x18, Width::Dword),
    ("BASE_ADDRESS_3", 0x1c, Width::Dword),
    ("BASE_ADDRESS_4", 0x20, Width::Dword),
    ("BASE_ADDRESS_5", 0x24, Width::Dword),
    ("CARDBUS_CIS", 0x28, Width::Dword),
    ("SUBSYSTEM_VENDOR_ID", 0x2c, Width::Word),
    ("SUBSYSTEM_ID", 0x2e, Width::Word),
    ("ROM_ADDRESS", 0x30, Width::Dword),
    ("CAPABILITIES_POINTER", 0x34, Width::Byte),
    ("INTERRUPT_LINE", 0x3c, Width::Byte),
    ("INTERRUPT_PIN", 0x3d, Width::Byte),
    ("MIN_GNT", 0x3e, Width::Byte),
    ("MAX_LAT", 0x3f, Width::Byte),
    ("PRIMARY_BUS", 0x18, Width::Byte),
    ("SECONDARY_BUS", 0x19, Width::Byte),
    ("SUBORDINATE_BUS", 0x1a, Width::Byte),
    ("SEC_LATENCY_TIMER", 0x1b, Width::Byte),
    ("IO_BASE", 0x1c, Width::Byte),
    ("IO_LIMIT", 0x1d, Width::Byte),
    ("SEC_STATUS", 0x1e, Width::Word),
    ("MEMORY_BASE", 0x20, Width::Word),
    ("MEMORY_LIMIT", 0x22, Width::Word),
    ("PREF_MEMORY_BASE", 0x24, Width::Word),
    ("PREF_MEMORY_LIMIT", 0x26, Width::Word),
    ("PREF_BASE_UPPER32", 0x28, Width::Dword),
    ("PREF_LIMIT_UPPER32", 0x2c, Width::Dword),
    ("IO_BASE_UPPER16", 0x30, Width::Word),
    ("IO_LIMIT_UPPER16", 0x32, Width::Word),
    ("BRIDGE_ROM_ADDRESS", 0x38, Width::Dword),
    ("BRIDGE_CONTROL", 0x3e, Width::Word),
];

/// Capabilities of the first 256 bytes, after `CAP_`.
pub(super) const CAPABILITIES: &[(&str, u8)] = &[
    ("PM", id::POWER_MANAGEMENT),
    ("AGP", id::AGP),
    ("VPD", id::VPD),
    ("SLOTID", id::SLOT_ID),
    ("MSI", id::MSI),
    ("CHSWP", id::COMPACT_PCI_HOT_SWAP),
    ("PCIX", id::PCI_X),
    ("HT", id::HYPER_TRANSPORT),
    ("VNDR", id::VENDOR),
    ("DBG", id::DEBUG_PORT),
    ("CCRC", id::COMPACT_PCI_RESOURCE),
    ("HOTPLUG", id::HOT_PLUG),
    ("SSVID", id::BRIDGE_SUBSYSTEM_VENDOR_ID),
    ("AGP3", id::AGP_8X),
    ("SECURE", id::SECURE_DEVICE),
    ("EXP", id::PCI_EXPRESS),
    ("MSIX", id::MSI_X),
    ("SATA", id::SATA),
    ("AF", id::ADVANCED_FEATURES),
    ("EA", id::ENHANCED_ALLOCATION),
];

/// Extended capabilities, after `ECAP_`.
pub(super) const EXTENDED: &[(&str, u16)] = &[
    ("AER", extended::AER),
    ("VC", extended::VIRTUAL_CHANNEL),
    ("DSN", extended::DEVICE_SERIAL_NUMBER),
    ("PB", extended::POWER_BUDGETING),
    ("VNDR", extended::VENDOR),
    ("ACS", extended::ACS),
    ("ARI", extended::ARI),
    ("ATS", extended::ATS),
    ("SRIOV", extended::SR_IOV),
    ("PRI", extended::PRI),
    ("REBAR", extended::RESIZABLE_BAR),
    ("LTR", extended::LTR),
    ("SECPCI", extended::SECONDARY_PCI_EXPRESS),
    ("PASID", extended::PASID),
    ("DPC", extended::DPC),
    ("L1PM", extended::L1_PM_SUBSTATES),
    ("PTM", extended::PTM),
    ("DVSEC", extended::DVSEC),
];

/// All names as a user writes them.
pub fn register_names() -> impl Iterator<Item = String> {
    let header = HEADER.iter().map(|(name, ..)| (*name).to_owned());
    let standard = CAPABILITIES.iter().map(|(name, _)| format!("CAP_{name}"));
    let extended = EXTENDED.iter().map(|(name, _)| format!("ECAP_{name}"));
    header.chain(standard).chain(extended)
}

/// The names most like `name`: at most three, the nearest first.
pub(super) fn near(name: &str) -> Vec<String> {
    let mut near: Vec<(usize, String)> = register_names()
        .map(|known| (distance(name, &known), known))
        .filter(|(distance, known)| *distance <= known.len() / 2)
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, known)| known).collect()
}

/// Letters to insert, remove or replace to get from one name to the other; a name that the other begins with is near.
fn distance(one: &str, other: &str) -> usize {
    if one.len() >= 3 && other.starts_with(one) {
        return 1;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.bytes().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (left, candidate) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != candidate);
            diagonal = row[left + 1];
            row[left + 1] = replaced.min(row[left] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

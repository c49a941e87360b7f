//! A function as an operator sees it: the configuration space in words, the gate, the client, DMA, interrupts.
//!
//! Configuration space is read through the gate like everybody's accesses; the rest is looked at without entering, so
//! that a function that is stuck can still be inspected.

use std::time::Duration;

use assign::{Assignment, IrqMode};
use gate::waits::Holder;
use gate::{Deadline, GateState, GateStatus, ThreadToken};
use mapping::MappingState;
use pci_core::{BarKind, BarLayout, CONFIG_SIZE, Function};
use pci_spec::bridge::{PRIMARY_BUS, SECONDARY_BUS, SUBORDINATE_BUS};
use pci_spec::config::{
    CAPABILITIES_POINTER, CLASS_CODE, COMMAND, DEVICE_ID, HEADER_LAYOUT_BRIDGE, HEADER_LAYOUT_MASK,
    HEADER_TYPE, InterruptPin, REVISION_ID, STATUS, SUBSYSTEM_ID, SUBSYSTEM_VENDOR_ID, VENDOR_ID,
    VENDOR_ID_ABSENT, bar_offset,
};
use pci_spec::{ClassCode, Command, Status, capability, extended};

use crate::control::report::{
    BarReport, CapabilityReport, ConfigReport, DmaReport, GateReport, InsideReport, InterruptReport,
    LockEntry, MappingLine,
};

/// How long reading configuration space may wait for a reset in progress.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// A configuration space, copied.
pub type ConfigBytes = Box<[u8; CONFIG_SIZE]>;

/// Reads the whole configuration space through the gate; `None` if it refused. A frozen function reads all-ones.
pub fn read_config(token: &mut ThreadToken, function: &Function) -> Option<ConfigBytes> {
    let mut bytes = Box::new([0xff; CONFIG_SIZE]);
    let deadline = Deadline::after(READ_TIMEOUT);
    function.read_config(token, 0, &mut bytes[..], deadline).ok()?;
    Some(bytes)
}

/// The class of the function, from its configuration space.
pub fn class(bytes: &[u8; CONFIG_SIZE]) -> ClassCode {
    let at = usize::from(CLASS_CODE);
    ClassCode { interface: bytes[at], sub: bytes[at + 1], base: bytes[at + 2] }
}

/// A configuration space in words; `None` if nobody answered, as in D3cold.
pub fn config(bytes: &[u8; CONFIG_SIZE], bars: &[BarLayout]) -> Option<ConfigReport> {
    if half(bytes, VENDOR_ID) == VENDOR_ID_ABSENT {
        return None;
    }
    let header = bytes[usize::from(HEADER_TYPE)] & HEADER_LAYOUT_MASK;
    let is_bridge = header == HEADER_LAYOUT_BRIDGE;
    let hex16 = |offset| format!("{:#06x}", half(bytes, offset));
    let class = class(bytes);
    let command = Command::from_bits_truncate(half(bytes, COMMAND));
    let subsystem = |offset| if is_bridge { String::new() } else { hex16(offset) };
    Some(ConfigReport {
        vendor: hex16(VENDOR_ID),
        device: hex16(DEVICE_ID),
        subsystem_vendor: subsystem(SUBSYSTEM_VENDOR_ID),
        subsystem: subsystem(SUBSYSTEM_ID),
        buses: is_bridge.then(|| {
            let number = |offset| bytes[usize::from(offset)];
            (number(PRIMARY_BUS), number(SECONDARY_BUS), number(SUBORDINATE_BUS))
        }),
        revision: format!("{:#04x}", bytes[usize::from(REVISION_ID)]),
        class: format!("0x{class}"),
        class_name: class.name().to_owned(),
        command: command.iter_names().map(|(name, _)| name.to_ascii_lowercase().replace('_', "-")).collect(),
        power: power(bytes),
        bars: bars.iter().map(|bar| bar_report(bytes, bar)).collect(),
        capabilities: capabilities(bytes),
    })
}

fn half(bytes: &[u8; CONFIG_SIZE], offset: u16) -> u16 {
    let at = usize::from(offset);
    bytes.get(at..at + 2).map_or(u16::MAX, |pair| u16::from_le_bytes([pair[0], pair[1]]))
}

fn dword(bytes: &[u8; CONFIG_SIZE], offset: u16) -> u32 {
    u32::from(half(bytes, offset)) | u32::from(half(bytes, offset.saturating_add(2))) << 16
}

fn bar_report(bytes: &[u8; CONFIG_SIZE], bar: &BarLayout) -> BarReport {
    let register = bar_offset(usize::from(bar.index.get())).unwrap_or(0);
    let high = if bar.kind.is_64bit() { u64::from(dword(bytes, register + 4)) << 32 } else { 0 };
    let flags = if bar.kind.is_memory() { 0xf } else { 0x3 };
    let base = high | u64::from(dword(bytes, register) & !flags);
    let kind = match bar.kind {
        BarKind::Memory32 => "memory32",
        BarKind::Memory64 => "memory64",
        BarKind::Memory64Prefetchable => "memory64-prefetchable",
        BarKind::Io => "io",
    };
    BarReport { index: bar.index.get(), kind: kind.to_owned(), size: bar.size, base: format!("{base:#x}") }
}

/// The capability list: offset and identifier of each. The walk is bounded, since a list in memory may loop.
fn list(bytes: &[u8; CONFIG_SIZE]) -> Vec<(u16, u8)> {
    let mut found = Vec::new();
    if !Status::from_bits_truncate(half(bytes, STATUS)).contains(Status::CAPABILITIES_LIST) {
        return found;
    }
    let pointer = |offset: u16| {
        u16::from(bytes.get(usize::from(offset)).copied().unwrap_or(0) & capability::POINTER_MASK)
    };
    let mut at = pointer(CAPABILITIES_POINTER);
    while at >= capability::FIRST_OFFSET && found.len() < capability::MAX_COUNT {
        found.push((at, bytes[usize::from(at + capability::ID)]));
        at = pointer(at + capability::NEXT);
    }
    found
}

fn capabilities(bytes: &[u8; CONFIG_SIZE]) -> Vec<CapabilityReport> {
    let name = |text: Option<&'static str>, id: u16| {
        text.map_or_else(|| format!("unknown ({id:#x})"), str::to_owned)
    };
    let mut reports: Vec<_> = list(bytes)
        .into_iter()
        .map(|(at, id)| CapabilityReport {
            offset: format!("{at:#x}"),
            name: name(capability::id::name(id), u16::from(id)),
        })
        .collect();
    let mut at = extended::FIRST_OFFSET;
    for _ in 0..extended::MAX_COUNT {
        let Some(header) = extended::Header::decode(dword(bytes, at)) else { break };
        reports.push(CapabilityReport {
            offset: format!("{at:#x}"),
            name: name(extended::id::name(header.id), header.id),
        });
        at = header.next;
        if at < extended::FIRST_OFFSET {
            break;
        }
    }
    reports
}

fn power(bytes: &[u8; CONFIG_SIZE]) -> Option<String> {
    let (at, _) = list(bytes).into_iter().find(|(_, id)| *id == capability::id::POWER_MANAGEMENT)?;
    let state =
        ["D0", "D1", "D2", "D3hot"][usize::from(half(bytes, at + capability::pm::CONTROL_STATUS) & 0x3)];
    Some(state.to_owned())
}

/// The word for a gate's state.
pub fn state_name(state: GateState) -> &'static str {
    match state {
        GateState::Open => "open",
        GateState::Blocked(_) => "blocked",
        GateState::Frozen => "frozen",
        GateState::Gone => "gone",
    }
}

/// A gate's status as a report.
pub fn gate(status: &GateStatus) -> GateReport {
    let refused = &status.refused;
    GateReport {
        state: state_name(status.state).to_owned(),
        reason: status.reason.map(|reason| reason.to_string()),
        epoch: status.epoch.get(),
        since_ms: millis(status.since),
        inside: status
            .inside
            .iter()
            .map(|inside| InsideReport { what: inside.what.clone(), age_ms: inside.age.map(millis) })
            .collect(),
        waiting: (status.waiting_accesses + status.waiting_closers) as u64,
        refused: refused.blocked + refused.frozen + refused.gone + refused.stale,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Who holds what and waits for what. Enters no gate and waits for nobody, so it answers while everything else is stuck.
pub fn locks() -> Vec<LockEntry> {
    let holders = gate::waits::snapshot();
    let entry = |(at, holder): (usize, &Holder)| LockEntry {
        thread: holder.thread.as_ref().map(|thread| thread.name.clone()),
        operation: holder.operation.clone(),
        function: holder.function.clone(),
        since_ms: holder.since.map(millis),
        waits_for: holder.waits_for.clone(),
        held_by: holder.held_by.iter().map(ToString::to_string).collect(),
        chain: match holder.wait {
            Some(_) => gate::waits::chain(&holders, at).iter().map(ToString::to_string).collect(),
            None => Vec::new(),
        },
    };
    holders.iter().enumerate().map(entry).collect()
}

/// What the client has mapped.
pub fn dma(token: &mut ThreadToken, assignment: &Assignment) -> DmaReport {
    let (mappings, bytes) = assignment.port().dma().usage(token);
    DmaReport { mappings: mappings as u64, bytes }
}

/// What is mapped of a function's regions.
pub fn mappings(function: &Function) -> Vec<MappingLine> {
    let line = |report: mapping::MappingReport| MappingLine {
        owner: report.owner,
        shared: report.shared,
        region: report.region,
        offset: report.offset,
        size: report.size,
        state: match report.state {
            MappingState::Live => "live",
            MappingState::Trapped => "trapped",
            MappingState::Frozen => "frozen",
            MappingState::Gone => "gone",
        }
        .to_owned(),
        faults: report.faults,
        zaps: report.zaps,
        waiting: report.parked,
    };
    function.mappings().report().into_iter().map(line).collect()
}

/// What interrupts there are, and which the client uses.
pub fn interrupts(assignment: &Assignment) -> InterruptReport {
    let layout = assignment.function().config().interrupt_layout();
    let mut offered = Vec::new();
    if layout.intx != InterruptPin::None {
        offered.push((String::from("intx"), 1));
    }
    if layout.msi_vectors > 0 {
        offered.push((String::from("msi"), u32::from(layout.msi_vectors)));
    }
    if let Some(msix) = layout.msix {
        offered.push((String::from("msix"), u32::from(msix.vectors)));
    }
    let interrupts = assignment.port().interrupts();
    let enabled = interrupts.mode().map(|mode| match mode {
        IrqMode::Intx => "intx",
        IrqMode::Msi => "msi",
        IrqMode::Msix => "msix",
    });
    InterruptReport { enabled: enabled.map(str::to_owned), offered, dropped: interrupts.dropped() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigBytes {
        let mut bytes = Box::new([0; CONFIG_SIZE]);
        bytes[..16].copy_from_slice(&[0x36, 0x1b, 0x10, 0, 6, 0, 0x10, 0, 2, 2, 8, 1, 0, 0, 0, 0]);
        bytes[0x10..0x18].copy_from_slice(&[4, 0xc0, 0xff, 0xfe, 1, 0, 0, 0]);
        bytes[0x34] = 0x40;
        bytes[0x40..0x48].copy_from_slice(&[0x01, 0x50, 3, 0, 3, 0, 0, 0]);
        bytes[0x50..0x52].copy_from_slice(&[0x10, 0]);
        bytes[0x100..0x104].copy_from_slice(&0x1502_0001_u32.to_le_bytes());
        bytes[0x150..0x154].copy_from_slice(&0x0001_1234_u32.to_le_bytes());
        bytes
    }

    #[test]
    fn a_configuration_space_is_put_into_words() {
        let report = config(&space(), &[]).unwrap();
        assert_eq!((report.vendor.as_str(), report.device.as_str()), ("0x1b36", "0x0010"));
        assert_eq!(
            (report.class.as_str(), report.class_name.as_str()),
            ("0x010802", "NVM Express controller")
        );
        assert_eq!(report.command, ["memory-space", "bus-master"]);
        assert_eq!(report.power.as_deref(), Some("D3hot"));
        let found: Vec<_> =
            report.capabilities.iter().map(|c| (c.offset.as_str(), c.name.as_str())).collect();
        let expected = [
            ("0x40", "Power Management"),
            ("0x50", "PCI Express"),
            ("0x100", extended::id::name(1).unwrap()),
            ("0x150", "unknown (0x1234)"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_list_that_loops_ends() {
        let mut bytes = space();
        bytes[0x51] = 0x40;
        bytes[0x100..0x104].copy_from_slice(&0x1002_0001_u32.to_le_bytes());
        let found = capabilities(&bytes).len();
        assert_eq!(found, capability::MAX_COUNT + extended::MAX_COUNT);
        bytes.fill(0xff);
        assert!(capabilities(&bytes).len() <= capability::MAX_COUNT, "a frozen function reads all-ones");
    }
}

//! What replies carry. These forms are what `--json` prints, so fields are added and never renamed.
//!
//! Numbers that people read in hexadecimal (identifiers, addresses in guest memory) are strings such as `"0x1b36"`.

use serde::{Deserialize, Serialize};

/// One line of `portcullis ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSummary {
    /// `0000:01:00.0`.
    pub address: String,
    /// Name of its slot; empty for a root port and a virtual function.
    pub slot: String,
    /// Device model, or `root-port`, `bridge` or `virtual-function`.
    pub model: String,
    /// Name of its class; empty while it has no power.
    pub class: String,
    /// State of its gate: `open`, `blocked`, `frozen`, `gone`.
    pub state: String,
    /// Power state: `D0`, `D1`, `D2`, `D3hot`, `D3cold` or `unknown`.
    #[serde(default)]
    pub power: String,
    /// Whether a client is attached.
    pub attached: bool,
    /// Path of its vfio-user socket; empty without one.
    pub socket: String,
}

/// One line of `portcullis slot list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotSummary {
    /// Its name.
    pub slot: String,
    /// Address of the function in it.
    pub address: String,
    /// Where it is in its life: `off`, `blinking-on`, `powering-on`, `on`, `blinking-off`, `asked`, `revoking`, `removing`,
    /// `cutting-power`.
    #[serde(default)]
    pub state: String,
    /// Device model; empty without a card.
    pub model: String,
    /// What holds the data: `file`, `memory` or `none`.
    pub backing: String,
    /// The image; absent without a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Size of the backing in bytes; 0 while it is not open.
    pub size: u64,
    /// Who uses it, in words; empty if nobody does.
    #[serde(default)]
    pub consumer: String,
    /// Path of its vfio-user socket.
    pub socket: String,
}

/// `portcullis slot show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotReport {
    /// Its name: that of the slot of function 0.
    pub slot: String,
    /// As in [`SlotSummary`].
    pub state: String,
    /// What the state means now, in words: what is waited for, and until when.
    pub detail: String,
    /// A card is in it.
    pub card: bool,
    /// The link to the card is up.
    pub link: bool,
    /// The latch is open; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch_open: Option<bool>,
    /// It has an attention button.
    pub attention_button: bool,
    /// Its power has failed since it was last switched on.
    pub power_fault: bool,
    /// Power indicator: `off`, `on` or `blink`.
    pub power_lamp: String,
    /// Attention indicator: `off`, `on` or `blink`.
    pub attention_lamp: String,
    /// The functions of its card.
    pub functions: Vec<SlotSummary>,
    /// Who is asked when it is unplugged.
    pub consumers: Vec<String>,
    /// Clients that lost an earlier card and have not left: they are answered, and reach nothing.
    pub tombstones: usize,
    /// What somebody waits for.
    pub operations: Vec<OperationReport>,
    /// Callbacks of drivers that have not come back in time.
    pub abandoned: usize,
}

/// Something that takes its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationReport {
    /// Its number, from 1.
    pub id: u64,
    /// The slot.
    pub slot: String,
    /// `plug`, `unplug`, `power on`, `power off`, `cancel`, `attach`, `detach`.
    pub request: String,
    /// How it ended: `done`, `cancelled`, `wrong-state`, ...; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// What it waits for, or why it ended so, in words.
    pub detail: String,
    /// Since it was asked for, or until it ended, in microseconds.
    pub took_us: u64,
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmReport {
    /// Its name.
    pub vm: String,
    /// Path of its monitor.
    pub qmp: String,
    /// `running`, `paused`, ... as its monitor says, or `unreachable`.
    pub state: String,
    /// The slots whose functions were plugged into it by us.
    pub slots: Vec<String>,
}

/// `portcullis show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionReport {
    /// As in `ls`.
    pub summary: FunctionSummary,
    /// What the configuration space says, read through the gate; absent when the gate refused or the function has no power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigReport>,
    /// The gate.
    pub gate: GateReport,
    /// Guest memory that the client has mapped for DMA; absent where there can be no client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dma: Option<DmaReport>,
    /// What consumers have mapped of its regions, in this process and by its client.
    #[serde(default)]
    pub mappings: Vec<MappingLine>,
    /// How it interrupts; absent where there can be no client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupts: Option<InterruptReport>,
    /// What the model says about itself, in its own words and order.
    pub device: Vec<(String, String)>,
}

/// A decoded configuration space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigReport {
    /// `0x1b36`.
    pub vendor: String,
    /// Device identifier.
    pub device: String,
    /// Subsystem vendor identifier; empty for a bridge.
    pub subsystem_vendor: String,
    /// Subsystem identifier; empty for a bridge.
    pub subsystem: String,
    /// Of a bridge: the bus above, the bus right below, and the highest bus below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buses: Option<(u8, u8, u8)>,
    /// Revision.
    pub revision: String,
    /// `0x010802`.
    pub class: String,
    /// The class in words.
    pub class_name: String,
    /// Bits set in the Command register.
    pub command: Vec<String>,
    /// `D0` to `D3`; absent without the Power Management capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<String>,
    /// The BARs.
    pub bars: Vec<BarReport>,
    /// The capabilities in list order, then the extended ones.
    pub capabilities: Vec<CapabilityReport>,
}

/// One BAR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarReport {
    /// 0 to 5.
    pub index: u8,
    /// `memory32`, `memory64`, `memory64-prefetchable` or `io`.
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// What the guest wrote into it.
    pub base: String,
}

/// One capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityReport {
    /// Offset in configuration space.
    pub offset: String,
    /// Its name, or its number if the number means nothing here.
    pub name: String,
}

/// A gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// `open`, `blocked`, `frozen`, `gone`.
    pub state: String,
    /// Why it is not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which device in this slot since the daemon started.
    pub epoch: u64,
    /// For how long it has been in this state, in milliseconds.
    pub since_ms: u64,
    /// Accesses inside.
    pub inside: Vec<InsideReport>,
    /// Accesses and closers that wait their turn.
    pub waiting: u64,
    /// Accesses refused since the daemon started.
    pub refused: u64,
}

/// One access in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsideReport {
    /// What it is.
    pub what: String,
    /// For how long it has been inside, in milliseconds; unknown for short accesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

/// Guest memory that the client has mapped for DMA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmaReport {
    /// Mappings, with and without memory behind them.
    pub mappings: u64,
    /// Bytes of memory mapped.
    pub bytes: u64,
}

/// One mapping of a part of a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingLine {
    /// Who has it.
    pub owner: String,
    /// Whether that is another process, which may have mapped it or not.
    pub shared: bool,
    /// Region: 0 to 5 are the BARs, 6 is the ROM, 9 and on are the device's own.
    pub region: u32,
    /// Offset in the region, in bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// What it shows: `live`, `trapped`, `frozen` (all-ones) or `gone` (all-ones for ever).
    pub state: String,
    /// Page faults answered with memory; 0 for another process, whose faults are its own.
    pub faults: u64,
    /// How often it was taken away or hidden.
    pub zaps: u64,
    /// Whether an access waits for the function to be reachable.
    pub waiting: bool,
}

/// Interrupts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptReport {
    /// The kind that the client has enabled; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<String>,
    /// The kinds the function has, with their vectors.
    pub offered: Vec<(String, u32)>,
    /// Interrupts that went nowhere, since the daemon started.
    pub dropped: u64,
}

/// `portcullis dump`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// `0000:01:00.0`.
    pub address: String,
    /// What follows the address on lspci's line.
    pub title: String,
    /// The configuration space from offset 0: two hexadecimal digits a byte.
    pub bytes: String,
}

/// `portcullis reset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetDone {
    /// `0000:01:00.0`.
    pub address: String,
    /// The method that did it.
    pub method: String,
    /// Registers that have another value than before.
    #[serde(default)]
    pub not_restored: usize,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// `portcullis reset-method`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetMethods {
    /// `0000:01:00.0`.
    pub address: String,
    /// Those that `reset` tries, in their order.
    pub in_use: Vec<String>,
    /// All methods there are, in the default order.
    pub methods: Vec<ResetMethodReport>,
    /// What an operator should think over about the order; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// One method of resetting a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetMethodReport {
    /// Its name.
    pub method: String,
    /// Why the function does not have it; absent if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<String>,
}

/// `portcullis power`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerReport {
    /// `0000:01:00.0`.
    pub address: String,
    /// `D0`, `D1`, `D2`, `D3hot`, `D3cold` or `unknown`.
    pub state: String,
    /// How long the change took, in microseconds; absent if none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
}

/// `portcullis numvfs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualFunctions {
    /// `0000:01:00.0`, the physical function.
    pub address: String,
    /// Virtual functions it can have.
    pub total: u16,
    /// Addresses of those it has.
    pub functions: Vec<String>,
}

/// `portcullis config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterReport {
    /// `0000:01:00.0`.
    pub address: String,
    /// Offset of the register, such as `0x004`.
    pub offset: String,
    /// Bytes: 1, 2 or 4.
    pub width: u16,
    /// What it read; after a write, what it reads now. As many hexadecimal digits as it has.
    pub value: String,
    /// What was written; absent for a read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
}

/// `portcullis freeze`, `thaw` and `revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionChange {
    /// `0000:01:00.0`.
    pub address: String,
    /// State of its gate now: `open`, `blocked`, `frozen`, `gone`.
    pub state: String,
    /// Whether this request changed it; a frozen function may be frozen again.
    pub changed: bool,
    /// Whether what its client has mapped shows that already; if not, it will.
    pub mappings_followed: bool,
    /// Accesses that had not ended at the deadline. They reach the device no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub still_inside: Vec<String>,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// One line of `portcullis locks`: who waits, or holds what others wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockEntry {
    /// The thread; absent for work in flight, which belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// What it does: `enter config`, `close for reset`, `closed for reset`.
    pub operation: String,
    /// The function that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// For how long, in milliseconds; unknown for short accesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// What it waits for; absent if it only holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Who and what keeps it waiting.
    pub held_by: Vec<String>,
    /// The wait, and the waits of those it waits for, nearest first, in words; empty if it only holds.
    pub chain: Vec<String>,
}

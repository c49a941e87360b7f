//! What commands give.

use crate::handle::Handle;
use crate::id::{Fid, Uid};
use crate::settings::Group;
use crate::state::Configuration;
use pci_core::BarKind;
use std::ops::RangeInclusive;

/// What a command gave; each is of the request of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the processor can do.
    Processor(Processor),
    /// Functions.
    List(ListPage),
    /// A function.
    Function(Box<FunctionInfo>),
    /// A group.
    Group(Group),
    /// The handle that the function has now.
    Set {
        /// Enabled or not.
        handle: Handle,
    },
}

/// What the processor that carries commands out can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Which commands it knows, a bit each: bit n for command n.
    pub commands: u64,
}

/// A part of the list of functions, by identifier. A function that is there from the first part to the last is in exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// Those that are not RESERVED; at most [`super::MAX_LIST_ENTRIES`].
    pub entries: Vec<Entry>,
    /// Where the next part begins; 0 if this was the last.
    pub resume: u64,
    /// How many functions there can be.
    pub max_functions: u16,
    /// Whether functions are named by what the user calls them.
    pub uid_checking: bool,
}

/// One function of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its identifier.
    pub fid: Fid,
    /// Its handle now.
    pub handle: Handle,
    /// STANDBY or CONFIGURED.
    pub configuration: Configuration,
    /// 0 in STANDBY.
    pub vendor_id: u16,
    /// 0 in STANDBY.
    pub device_id: u16,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its identifier.
    pub fid: Fid,
    /// What the user calls it.
    pub uid: Uid,
    /// Of a virtual function its number, from 1 on; else 0.
    pub vfn: u16,
    /// What it is for, by the vendor's numbers.
    pub function_type: u8,
    /// Physical channel that it is behind.
    pub pchid: u16,
    /// The port that it is for.
    pub port: u8,
    /// The group that it is in.
    pub group: u8,
    /// Its windows by BAR, a 64-bit one by its lower register; none in STANDBY.
    pub bars: [Option<BarInfo>; 6],
    /// Addresses that it can be given for DMA.
    pub dma: RangeInclusive<u64>,
    /// For people; filled with zeros.
    pub utility: [u8; 64],
    /// Memory I/O without a handle is enabled.
    pub is_mio_enabled: bool,
}

/// A window of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarInfo {
    /// Its address space and width.
    pub kind: BarKind,
    /// Base-2 logarithm of its bytes.
    pub size_log2: u8,
}

//! What an operator sees of mappings.

use crate::Area;

/// What a mapping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingState {
    /// The device's memory, page by page as it is touched.
    Live,
    /// Not mapped: every access is a call through the gate, because the system permits no page faults in user space.
    Trapped,
    /// All-ones: the function is frozen, or was and the region has not been enabled since.
    Frozen,
    /// All-ones for ever: the function is gone.
    Gone,
}

/// One mapping, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingReport {
    /// Who has it: a name for a consumer in this process, a description of the client for another process.
    pub owner: String,
    /// Whether another process has it.
    pub shared: bool,
    /// Region, numbered as vfio numbers them.
    pub region: u32,
    /// Offset in the region, in bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// What it shows.
    pub state: MappingState,
    /// Page faults answered with memory; 0 for what another process has.
    pub faults: u64,
    /// Times it was taken away: zapped, or hidden.
    pub zaps: u64,
    /// Whether accesses wait at this moment for the function to be reachable.
    pub parked: bool,
}

/// What a mapping says of itself for a report.
pub(crate) struct Account {
    pub(crate) state: MappingState,
    pub(crate) faults: u64,
    pub(crate) zaps: u64,
    pub(crate) parked: bool,
}

impl Account {
    /// Of a mapping in this process.
    pub(crate) fn report(self, owner: String, region: u32, area: Area) -> MappingReport {
        let Area { offset, size, holds: _ } = area;
        let Account { state, faults, zaps, parked } = self;
        MappingReport { owner, shared: false, region, offset, size, state, faults, zaps, parked }
    }
}

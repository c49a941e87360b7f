//! The ranks of this crate's locks; `docs/locks.md` has the order of all.

gate::ranks! {
    /// Free places of the SIGBUS registry; a leaf.
    pub GuardedRanges = 71, "guarded ranges";
    /// Which mappings and shares a function has; a leaf.
    pub Mappings = 73, "mappings";
    /// What one range of addresses shows; a leaf.
    pub Window = 74, "window";
    /// The file behind a memory; a leaf.
    pub Memory = 76, "device memory";
    /// Which range of addresses belongs to whom, for faults; a leaf.
    pub FaultTable = 77, "fault table";
    /// Which functions the keeper has to see to; a leaf.
    pub Keeper = 79, "mapping keeper";
    /// Which pool of fault handlers the process has; a leaf.
    pub FaultPool = 81, "fault pool";
}

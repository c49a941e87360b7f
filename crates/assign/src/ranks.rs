//! The ranks of this crate's locks; `docs/locks.md` has the order of all.

gate::ranks! {
    /// The plan of the next table of DMA mappings.
    pub DmaControl = 60, "DMA control";
    /// The plan of the next table of eventfds.
    pub InterruptControl = 61, "interrupt control";
    /// Orders the end of the last hold of a mapping and an unmap's look at it; a leaf.
    pub Drain = 70, "drain";
}

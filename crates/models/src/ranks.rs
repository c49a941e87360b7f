//! The ranks of this crate's locks; `docs/locks.md` has the order of all.

gate::ranks! {
    /// What a turn of an NVMe controller's worker, or a register write, changes together.
    pub NvmeEngine = 55, "NVMe engine";
    /// The one thread of an NVMe controller.
    pub NvmeWorker = 75, "NVMe worker";
    /// Which function has a GID of an ISM network; a leaf.
    pub IsmNetwork = 62, "ism network";
}

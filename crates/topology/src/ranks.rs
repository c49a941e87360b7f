//! The lock of this crate; `docs/locks.md` has the order of all.

gate::ranks! {
    /// Who scans what of a segment, and the addresses that were given; a leaf.
    pub Scans = 69, "segment scans";
}

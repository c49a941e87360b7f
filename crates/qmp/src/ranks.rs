//! The locks of this crate, in the order of `docs/locks.md`.

gate::ranks! {
    /// Who has a machine's monitor, and what it said of devices; a leaf.
    pub Monitor = 94, "QEMU monitor";
}

//! The locks of this crate, in the order of `docs/locks.md`.

gate::ranks! {
    /// Who uses a function and how it is to sleep: several threads drop their use at once; a leaf.
    pub IdlePolicy = 78, "idle policy";
}

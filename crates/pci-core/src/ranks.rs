//! The locks of this crate, in the order of `docs/locks.md`.

gate::ranks! {
    /// The writes of one function: a read-modify-write of a register is one step to all others.
    pub Registers = 57, "function registers";
    /// The steps of one access through a mechanism that has a state between them; a leaf.
    pub Mechanism = 72, "config mechanism";
}

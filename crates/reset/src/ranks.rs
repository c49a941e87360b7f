//! The locks of this crate, in the order of `docs/locks.md`.

gate::ranks! {
    /// What is kept for each function between two resets; nothing is taken under it, and nobody is called.
    pub Policies = 46, "reset policies";
    /// What functions lose while they sleep; taken under a proof, and nothing under it.
    pub Preserved = 47, "preserved states";
}

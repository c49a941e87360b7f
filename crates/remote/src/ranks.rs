//! The ranks of this crate's locks; `docs/locks.md` has the order of all.

gate::ranks! {
    /// Who may talk to the back end now; a leaf.
    pub Turn = 101, "back end's turn";
    /// What the consumer has mapped, for the next back end; a leaf.
    pub Relayed = 102, "relayed mappings";
    /// What the back end's interrupts are wired to; a leaf.
    pub Wired = 103, "relayed interrupts";
    /// Commands at the back end and the rings they are in; a leaf.
    pub Journal = 104, "commands elsewhere";
    /// What the back end is, and how its life goes on; a leaf.
    pub Life = 105, "back end's life";
    /// Faults that are injected; a leaf.
    pub Injected = 106, "injected faults";
    /// Which back end a function is forwarded to, and what it is still to be told; a leaf.
    pub Forwarded = 107, "forwarded function";
}

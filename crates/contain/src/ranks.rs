//! The locks of this crate; `docs/locks.md` has the order of all.

gate::ranks! {
    /// What one recovery is at and what it has; a leaf.
    pub RecoveryDesk = 40, "recovery desk";
    /// What is known of every PE's error, from its detection to its end; a leaf.
    pub Front = 41, "containment front";
    /// The recoveries that have ended; a leaf.
    pub History = 42, "containment history";
    /// What one freeze has contained; a leaf.
    pub Frozen = 43, "frozen PEs";
    /// Which removed PEs somebody was warned of; a leaf.
    pub Warned = 48, "orphans warned of";
    /// What functions have reported of errors; a leaf.
    pub AerLedger = 44, "AER ledger";
    /// What is kept of functions' configuration, from when they came and over their resets; a leaf.
    pub SavedStates = 45, "platform saved states";
    /// Who publishes the next picture of the tree; a leaf.
    pub Turn = 49, "PE tree turn";
    /// Which recoveries claim which PEs; a leaf.
    pub Claims = 58, "recovery claims";
    /// Which PEs left the tree and may still be held; a leaf.
    pub Orphans = 59, "orphans";
}

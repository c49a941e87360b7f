//! The ranks of this crate's locks; `docs/locks.md` has the order of all.

gate::ranks! {
    /// Which drivers there are; a leaf.
    pub Drivers = 84, "slot drivers";
    /// What one slot is at and what it has; a leaf.
    pub Desk = 87, "slot desk";
    /// How an operation ended; a leaf.
    pub Operation = 89, "slot operation";
    /// Who is woken when, and which threads there are; a leaf.
    pub Crew = 91, "slot crew";
    /// A driver's hold on its function; a leaf.
    pub Binding = 93, "slot binding";
}

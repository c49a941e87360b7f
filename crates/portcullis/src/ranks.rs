//! The ranks of this crate's locks; `docs/locks.md` has the order of all.

gate::ranks! {
    /// Who is connected to the control socket; a leaf.
    pub ControlClients = 80, "control clients";
    /// The bounded history of events; a leaf.
    pub Journal = 85, "journal";
    /// When each place in the code last logged; a leaf, and the highest: a line may be logged under any other lock but a
    /// leaf.
    pub LogPlaces = 95, "log places";
}

//! The ranks of this crate's locks; `docs/locks.md` has the order of all.

gate::ranks! {
    /// Which function is on a server's socket and who is connected; a leaf.
    pub Door = 82, "server's door";
    /// Who has a function in hand, and whether it has been taken away; a leaf.
    pub Seat = 83, "seat";
}

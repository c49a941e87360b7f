//! The ranks of this crate's locks; `docs/locks.md` has the order of all.

gate::ranks! {
    /// Who listens to a machine's events; a leaf.
    pub Listeners = 96, "zpci listeners";
    /// What stands under one function identifier; a leaf.
    pub Zdev = 97, "zpci function";
    /// Which indexes of handles nobody has; a leaf.
    pub Handles = 98, "zpci handles";
    /// Which function identifiers there are; a leaf.
    pub Functions = 99, "zpci functions";
}

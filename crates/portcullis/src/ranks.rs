//! The ranks of this crate's locks; `docs/locks.md` has the order of all.

gate::ranks! {
    /// What stands at a place; a leaf.
    pub Place = 63, "place";
    /// Which operations wait for what of a slot; a leaf.
    pub SlotRequests = 64, "slot requests";
    /// What operators have asked for; a leaf.
    pub Operations = 65, "operations";
    /// How one of them stands; a leaf that is waited with.
    pub Operation = 66, "operation";
    /// Which virtual machines are known; a leaf.
    pub Vms = 67, "vms";
    /// Who waits for a virtual machine; a leaf.
    pub VmJobs = 68, "vm jobs";
    /// Who is connected to the control socket; a leaf.
    pub ControlClients = 80, "control clients";
    /// The bounded history of events; a leaf.
    pub Journal = 85, "journal";
    /// When each place in the code last logged; a leaf, and the highest: a line may be logged under any other lock but a
    /// leaf.
    pub LogPlaces = 95, "log places";
}

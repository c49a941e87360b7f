//! What a slot has, and what its port sees of it.

/// What the port of a slot can do. PCIe 6.0 s7.5.3.9 *Slot Capabilities Register*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Software switches the slot's power.
    pub power_controller: bool,
    /// There is an attention button. A card that is put in waits for it to be pressed.
    pub attention_button: bool,
    /// A latch holds the card, and its state is seen.
    pub latch: bool,
}

impl Default for Features {
    /// Power can be switched; a card comes up as soon as it is put in.
    fn default() -> Features {
        Features { power_controller: true, attention_button: false, latch: false }
    }
}

/// What the port sees of the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// A card is in the slot.
    pub card: bool,
    /// The link to it is up.
    pub link: bool,
    /// The latch is open.
    pub latch_open: bool,
    /// The power of the slot has failed since it was last switched on.
    pub power_fault: bool,
}

//! What a machine's configuration says of a function.

/// What a machine's configuration says of a function, beside its names. Shown by a query (ZP-16).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Physical channel that the device is behind.
    pub pchid: u16,
    /// PCI function type: what it is for, by the vendor's numbers; 0 is none.
    pub function_type: u8,
    /// The port of the device that it is for, from 0 on.
    pub port: u8,
    /// The group that it is in: one of the machine's [`crate::Settings::groups`].
    pub group: u8,
    /// For people; not more than 64 bytes are shown.
    pub utility: String,
}

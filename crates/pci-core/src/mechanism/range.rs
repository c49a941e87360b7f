//! The buses behind a host bridge.

/// A range of buses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusRange {
    /// The lowest bus: the one right behind the bridge.
    pub first: u8,
    /// The highest bus that bridges behind it may use; a range with `last` below `first` is empty.
    pub last: u8,
}

impl BusRange {
    /// All buses of a segment.
    pub const ALL: BusRange = BusRange { first: 0, last: u8::MAX };

    /// Whether the bus is in the range.
    #[must_use]
    pub const fn contains(self, bus: u8) -> bool {
        self.first <= bus && bus <= self.last
    }
}

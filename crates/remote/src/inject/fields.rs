//! What a rule is made of, unchecked.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Kind;

/// The ROM's number among the BARs.
const ROM: u8 = 6;

/// A region of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Configuration space.
    Config,
    /// A BAR: 0 to 5; 6 is the ROM.
    Bar(u8),
    /// One of the device's own regions, from 0.
    Own(u8),
}

impl Place {
    /// The highest number of a BAR, which is the ROM's.
    pub const LAST_BAR: u8 = ROM;
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Config => f.write_str("config"),
            Place::Bar(bar) => write!(f, "bar={bar}"),
            Place::Own(nth) => write!(f, "own={nth}"),
        }
    }
}

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    first: u64,
    last: u64,
}

impl AddressRange {
    /// From `first` to `last`; `None` if that is the wrong way round.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Option<AddressRange> {
        if first <= last { Some(AddressRange { first, last }) } else { None }
    }

    /// The first address.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The last address.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.last
    }

    /// Whether any of `len` bytes at `at` is inside. Bytes beyond the end of all addresses are not there.
    pub(super) const fn touches(self, at: u64, len: u64) -> bool {
        len > 0 && at <= self.last && at.saturating_add(len - 1) >= self.first
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.first, self.last)
    }
}

/// It is not two addresses in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeFormatError;

impl FromStr for AddressRange {
    type Err = RangeFormatError;

    /// Reads `first-last` or one address; hexadecimal with `0x`, else decimal.
    fn from_str(text: &str) -> Result<AddressRange, RangeFormatError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let both = address(first).zip(address(last));
        both.and_then(|(first, last)| AddressRange::new(first, last)).ok_or(RangeFormatError)
    }
}

fn address(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // A sign is a number's, and not an address'.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// What a rule says, as somebody has put it together; [`Rule::new`](super::Rule::new) checks it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fields {
    /// What happens.
    pub kind: Kind,
    /// How much later, or how much longer: 1 ns to 60 s. For `irq-delay` and `read-slow`, which need it.
    pub delay: Option<Duration>,
    /// In which region; everywhere without. For faults of reads, of writes and of the back end.
    pub place: Option<Place>,
    /// At which addresses: offsets in the place, or addresses of memory for `dma-error`. An access of which one byte is inside is
    /// meant.
    pub range: Option<AddressRange>,
    /// Which interrupt vector; all without. INTx is 0. For faults of interrupts.
    pub vector: Option<u16>,
    /// How likely each time, 0 to 1; 1 without.
    pub probability: Option<f64>,
    /// How often at most; at least 1.
    pub count: Option<u64>,
    /// How long after the rule was added it begins, up to 24 h; at once without.
    pub after: Option<Duration>,
    /// How long it lasts from there, up to 24 h; for ever without.
    pub lasts: Option<Duration>,
    /// How often a fault of the back end happens by itself: 10 ms to 24 h. Without, and without a place, it happens once.
    pub every: Option<Duration>,
}

impl Fields {
    /// A fault that happens always and everywhere.
    #[must_use]
    pub const fn of(kind: Kind) -> Fields {
        Fields {
            kind,
            delay: None,
            place: None,
            range: None,
            vector: None,
            probability: None,
            count: None,
            after: None,
            lasts: None,
            every: None,
        }
    }
}

//! Spans of time as text: a whole number and a unit, e.g. `5ms`.

use std::fmt;
use std::time::Duration;

/// The units, the longest first, with their nanoseconds.
const UNITS: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Writes a span in the longest unit of which it is a whole number.
pub(super) struct Text(pub(super) Duration);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        if nanoseconds == 0 {
            return f.write_str("0s");
        }
        let whole = UNITS.iter().find(|(_, unit)| nanoseconds.is_multiple_of(*unit));
        whole.map_or(Ok(()), |(name, unit)| write!(f, "{}{name}", nanoseconds / unit))
    }
}

/// Reads one; `None` if it is none, or longer than [`Duration`] can say in nanoseconds of 64 bits.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, name) = text.split_at(end);
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name)?;
    let nanoseconds = u128::from(digits.parse::<u64>().ok()?).checked_mul(*unit)?;
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

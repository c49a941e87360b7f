//! Sizes and durations as an operator writes them: `"1GiB"`, `"250ms"`.

use std::time::Duration;

/// Why a size or a duration was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number in front.
    #[error("it does not begin with a whole number")]
    NoNumber,
    /// The unit is missing or unknown.
    #[error("its unit is missing or unknown")]
    Unit,
    /// More than 64 bits hold.
    #[error("it is too large")]
    TooLarge,
}

/// Bytes from `"4096B"`, `"64KiB"`, `"512MiB"`, `"1GiB"`, `"2TiB"`.
///
/// Decimal units (`GB`) are refused: whoever writes them means one of two sizes.
///
/// # Errors
/// [`UnitError`] says what is wrong with the text.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(UnitError::Unit),
    };
    number.checked_mul(1 << shift).ok_or(UnitError::TooLarge)
}

/// A duration from `"50us"`, `"250ms"`, `"10s"`, `"2m"`.
///
/// # Errors
/// [`UnitError`] says what is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let micros_each: u64 = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        _ => return Err(UnitError::Unit),
    };
    number.checked_mul(micros_each).map(Duration::from_micros).ok_or(UnitError::TooLarge)
}

/// Writes `bytes` in the largest unit that divides it, as [`parse_size`] reads it.
pub fn format_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    units
        .iter()
        .find(|(shift, _)| bytes != 0 && bytes.is_multiple_of(1 << shift))
        .map_or_else(|| format!("{bytes}B"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// Writes `bytes` for people, in the largest unit they reach, with one decimal.
pub fn describe_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    units.iter().find(|(shift, _)| bytes >> shift > 0).map_or_else(
        || format!("{bytes} B"),
        |(shift, unit)| format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
    )
}

fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(UnitError::NoNumber);
    }
    let number = digits.parse().map_err(|_| UnitError::TooLarge)?;
    Ok((number, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_units_only() {
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size(" 64 KiB "), Ok(64 << 10));
        assert_eq!(parse_size("1GB"), Err(UnitError::Unit));
        assert_eq!(parse_size("GiB"), Err(UnitError::NoNumber));
        assert_eq!(parse_size("99999999999TiB"), Err(UnitError::TooLarge));
        assert_eq!(parse_size("99999999999999999999B"), Err(UnitError::TooLarge));
    }

    #[test]
    fn a_written_size_reads_back_as_itself() {
        for bytes in [1, 512, 1 << 10, 3 << 20, 1 << 30, (1 << 30) + 512, 5 << 40] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn a_size_for_people_is_short() {
        assert_eq!(describe_size(215_648 << 10), "210.6 MiB");
        assert_eq!(describe_size(512), "512 B");
        assert_eq!(describe_size(1 << 30), "1.0 GiB");
    }

    #[test]
    fn durations_need_their_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10"), Err(UnitError::Unit));
    }
}

//! Reading `[watchdog]`.

use toml::Spanned;
use toml::de::DeValue;

use super::section::{Reading, Section};
use super::size::parse_duration;
use super::{WATCHDOG_THRESHOLDS, WatchdogConfig};

/// What switches it off.
const OFF: &str = "off";

pub(super) fn read_watchdog(
    reading: &mut Reading<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Option<WatchdogConfig> {
    let section =
        Section::open(reading, value, "watchdog", &["threshold"], "[watchdog] on a line of its own")?;
    let Some(text) = section.text(reading, "threshold", "10s") else {
        return Some(WatchdogConfig::default());
    };
    if text.value == OFF {
        return Some(WatchdogConfig { threshold: None });
    }
    let threshold = parse_duration(text.value).ok().filter(|duration| WATCHDOG_THRESHOLDS.contains(duration));
    if threshold.is_none() {
        let message = format!("`{}` is not a threshold", text.value);
        let fix = "write a duration from \"10ms\" to \"3600s\", or \"off\"";
        reading.complain(text.span, message, fix);
    }
    threshold.map(|threshold| WatchdogConfig { threshold: Some(threshold) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::config::Config;

    fn parse(watchdog: &str) -> Result<Option<Duration>, String> {
        let slot = "[[slot]]\nname = \"disk0\"\naddress = \"01:00.0\"\ndevice = { model = \"nvme\" }\n\
                    backing = { kind = \"memory\", size = \"1MiB\" }\n";
        let parsed = Config::parse(Path::new("lab.toml"), &format!("{watchdog}\n{slot}"));
        parsed.map(|config| config.watchdog.threshold).map_err(|complaints| complaints.to_string())
    }

    #[test]
    fn a_threshold_is_read_or_switched_off_or_is_ten_seconds() {
        let ten = Some(Duration::from_secs(10));
        assert_eq!(parse(""), Ok(ten));
        assert_eq!(parse("[watchdog]"), Ok(ten));
        assert_eq!(parse("[watchdog]\nthreshold = \"250ms\""), Ok(Some(Duration::from_millis(250))));
        assert_eq!(parse("[watchdog]\nthreshold = \"off\""), Ok(None));
    }

    #[test]
    fn what_is_no_threshold_is_refused_with_its_place_and_its_fix() {
        for wrong in ["\"9ms\"", "\"3601s\"", "\"never\"", "10", "\"\""] {
            let text = parse(&format!("[watchdog]\nthreshold = {wrong}")).unwrap_err();
            assert!(text.starts_with("lab.toml:2:13: "), "{text}");
            assert!(text.contains("fix: write "), "{text}");
        }
        assert!(parse("[watchdog]\nthresold = \"1s\"").unwrap_err().contains("did you mean `threshold`?"));
    }
}

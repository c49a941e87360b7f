//! Reading `[containment]`: what happens to functions that fail.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::section::{Reading, Section};
use super::size::parse_duration;

/// The most freezes within the window that can be configured to be recovered from.
pub(super) const MAX_FREEZES: u32 = 1_000_000;
/// The shortest and the longest time in which freezes are counted.
pub(super) const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
/// The shortest and the longest time that a driver's callback has, and after which an orphan is told of.
pub(super) const PATIENCE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

/// `[containment]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainmentConfig {
    /// `enabled`: errors freeze the PE that they are in; otherwise they are counted and nothing else.
    pub enabled: bool,
    /// `recover`: what was frozen by an error is recovered; otherwise it stays frozen until somebody asks for it.
    pub recover: bool,
    /// `max_freezes`: how many within the window are recovered from. One more is permanent.
    pub max_freezes: u32,
    /// `window`: how long a freeze counts, in whole seconds.
    pub window: Duration,
    /// `delay_percent`: how much of the time that real hardware needs for a reset is waited, 0 to 100. Built-in devices need none.
    pub delay_percent: u8,
    /// `call_timeout`: how long a driver's callback may take before it counts as lost.
    pub call_timeout: Duration,
    /// `orphan_after`: how long something that was removed may be held before it is told of.
    pub orphan_after: Duration,
}

impl Default for ContainmentConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            recover: true,
            max_freezes: 5,
            window: Duration::from_secs(3600),
            delay_percent: 1,
            call_timeout: Duration::from_secs(10),
            orphan_after: Duration::from_secs(60),
        }
    }
}

/// What happens to a function when it was frozen by an error, and a client has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// `restore`: quiesced, saved, reset, restored and resumed; its client sees a pause. A device that cannot be saved is recovered as
    /// by `notify`.
    #[default]
    Restore,
    /// `notify`: the client is told by its error interrupt, if it has asked for that, and the device is recovered without a reset if it
    /// can be.
    Notify,
    /// `contain`: it stays frozen until it is thawed or recovered.
    Contain,
}

impl OnError {
    /// What the file may say, and the default first.
    pub(super) const CHOICES: [(&'static str, OnError); 3] =
        [("restore", OnError::Restore), ("notify", OnError::Notify), ("contain", OnError::Contain)];
}

const KEYS: [&str; 7] =
    ["enabled", "recover", "max_freezes", "window", "delay_percent", "call_timeout", "orphan_after"];

pub(super) fn read_containment(
    reading: &mut Reading<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Option<ContainmentConfig> {
    let example = "[containment] on a line of its own";
    let section = Section::open(reading, value, "containment", &KEYS, example)?;
    let mut config = ContainmentConfig::default();
    let complaints = reading.complaints.len();
    if section.get("enabled").is_some() {
        config.enabled = section.flag(reading, "enabled")?;
    }
    if section.get("recover").is_some() {
        config.recover = section.flag(reading, "recover")?;
    }
    if section.get("max_freezes").is_some() {
        config.max_freezes = section.number(reading, "max_freezes", 0..=MAX_FREEZES)?.value;
    }
    if section.get("delay_percent").is_some() {
        let percent = section.number(reading, "delay_percent", 0..=100)?.value;
        config.delay_percent = u8::try_from(percent).ok()?;
    }
    let mut duration = |key, range, into: &mut Duration| {
        if let Some(read) = read_duration(reading, &section, key, range) {
            *into = read;
        }
    };
    duration("window", WINDOWS, &mut config.window);
    duration("call_timeout", PATIENCE, &mut config.call_timeout);
    duration("orphan_after", PATIENCE, &mut config.orphan_after);
    (reading.complaints.len() == complaints).then_some(config)
}

fn read_duration(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    key: &'static str,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let text = section.text(reading, key, "60s")?;
    let duration = parse_duration(text.value).ok().filter(|duration| range.contains(duration));
    if duration.is_none() {
        let message = format!("`{}` is no time for `{key}`", text.value);
        let [least, most] = [range.start(), range.end()].map(|end| format!("{end:?}"));
        reading.complain(text.span, message, format!("write a duration from \"{least}\" to \"{most}\""));
    }
    duration
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    fn parse(containment: &str) -> Result<ContainmentConfig, String> {
        let slot = "[[slot]]\nname = \"disk0\"\naddress = \"01:00.0\"\ndevice = { model = \"nvme\" }\n\
                    backing = { kind = \"memory\", size = \"1MiB\" }\n";
        let parsed = Config::parse(Path::new("lab.toml"), &format!("{containment}\n{slot}"));
        parsed.map(|config| config.containment).map_err(|complaints| complaints.to_string())
    }

    #[test]
    fn without_the_table_errors_are_recovered_from_five_times_an_hour_eeh_10() {
        let config = parse("").unwrap();
        assert_eq!(config, ContainmentConfig::default());
        assert_eq!(parse("[containment]").unwrap(), config);
        assert!(config.enabled && config.recover);
        assert_eq!((config.max_freezes, config.window), (5, Duration::from_secs(3600)));
    }

    #[test]
    fn every_key_is_read() {
        let text = "[containment]\nenabled = false\nrecover = false\nmax_freezes = 2\nwindow = \"60s\"\ndelay_percent = 100\n\
                    call_timeout = \"250ms\"\norphan_after = \"5s\"";
        let read = ContainmentConfig {
            enabled: false,
            recover: false,
            max_freezes: 2,
            window: Duration::from_secs(60),
            delay_percent: 100,
            call_timeout: Duration::from_millis(250),
            orphan_after: Duration::from_secs(5),
        };
        assert_eq!(parse(text), Ok(read));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place_and_its_fix() {
        let wrong = [
            ("enabled = 1", "write enabled = true"),
            ("max_freezes = -1", "choose a value from 0 to 1000000"),
            ("delay_percent = 101", "choose a value from 0 to 100"),
            ("window = \"0s\"", "write a duration from \"1s\" to \"86400s\""),
            ("call_timeout = \"never\"", "write a duration from \"10ms\" to \"3600s\""),
            ("orphan_after = 3", "write orphan_after = \"60s\""),
            ("max_freeze = 3", "did you mean `max_freezes`?"),
        ];
        for (line, fix) in wrong {
            let text = parse(&format!("[containment]\n{line}")).unwrap_err();
            assert!(text.starts_with("lab.toml:2:") && text.contains(fix), "{line}: {text}");
        }
    }
}

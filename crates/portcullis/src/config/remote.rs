//! `device = { model = "remote", ... }`: a function whose device is another vfio-user server.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use models::nvme::{DoorbellStyle, InterruptStyle};
use remote::config::{Mode, RemoteConfig, RestartCommand};
use toml::Spanned;
use toml::de::DeValue;

use super::document::{Taken, claim};
use super::section::{Placed, Reading, Section};
use super::size::parse_duration;

pub(super) const REMOTE_EXAMPLE: &str = r#"device = { model = "remote", upstream = "/run/spdk/disk0" }"#;

const KEYS: [&str; 15] = [
    "model",
    "upstream",
    "mode",
    "connect_timeout",
    "hang_limit",
    "give_up_after",
    "max_losses",
    "window",
    "restart",
    "kill_hung",
    "accept_late_writes",
    "accept_unsealed",
    "queues",
    "interrupts",
    "doorbells",
];
/// What only the controller of `replay` has.
const OF_REPLAY: [&str; 4] = ["accept_late_writes", "queues", "interrupts", "doorbells"];
/// What the first connection may be given.
const CONNECT_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// Most losses of a back end that can be configured to be put up with in a window.
const MAX_LOSSES: u32 = 1_000_000;
/// In which losses are counted.
const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
/// Words of the longest restart command.
const MAX_WORDS: usize = 64;

/// Reads a remote device. Its socket is nobody else's.
pub(super) fn read_remote(
    reading: &mut Reading<'_>,
    base: &Path,
    value: &Spanned<DeValue<'_>>,
    taken: &mut Taken,
) -> Option<RemoteConfig> {
    let section = Section::open(reading, value, "device", &KEYS, REMOTE_EXAMPLE)?;
    let complaints = reading.complaints.len();
    let upstream = section.required_text(reading, "upstream", "/run/spdk/disk0")?;
    let path = base.join(upstream.value);
    claim(reading, &mut taken.upstreams, path.clone(), &upstream.span, "upstream");
    let mut config = RemoteConfig::new(path);
    if section.get("mode").is_some() {
        config.mode = section.choice(reading, "mode", &Mode::CHOICES)?;
    }
    for key in OF_REPLAY.into_iter().filter(|_| config.mode != Mode::Replay) {
        if let Some(value) = section.get(key) {
            let message = format!("`{key}` has no meaning in mode `{}`", config.mode.name());
            reading.complain(value.span(), message, "remove it, or set mode = \"replay\"");
        }
    }
    let mut time = |key, range: RangeInclusive<Duration>, into: &mut Duration| {
        if let Some(read) = read_time(reading, &section, key, &range) {
            *into = read;
        }
    };
    time("connect_timeout", CONNECT_TIMEOUTS, &mut config.connect_timeout);
    time("hang_limit", RemoteConfig::HANG_LIMITS, &mut config.hang_limit);
    time("give_up_after", RemoteConfig::GIVE_UP, &mut config.give_up_after);
    time("window", WINDOWS, &mut config.budget.window);
    if section.get("max_losses").is_some() {
        config.budget.max_freezes = section.number(reading, "max_losses", 0..=MAX_LOSSES)?.value;
    }
    if section.get("queues").is_some() {
        let queues = section.number(reading, "queues", RemoteConfig::QUEUES)?.value;
        config.queues = u16::try_from(queues).ok()?;
    }
    let mut flag = |key, into: &mut bool| {
        if section.get(key).is_some() {
            *into |= section.flag(reading, key).unwrap_or_default();
        }
    };
    flag("kill_hung", &mut config.kill_hung);
    flag("accept_late_writes", &mut config.accept_late_writes);
    flag("accept_unsealed", &mut config.accept_unsealed);
    config.restart = read_restart(reading, &section);
    let interrupts =
        [("msi", InterruptStyle::Msi), ("msix", InterruptStyle::Msix), ("intx", InterruptStyle::Intx)];
    let doorbells = [("trapped", DoorbellStyle::Trapped), ("mapped", DoorbellStyle::Mapped)];
    config.nvme.interrupts = section.choice(reading, "interrupts", &interrupts).unwrap_or_default();
    config.nvme.doorbells = section.choice(reading, "doorbells", &doorbells).unwrap_or_default();
    (reading.complaints.len() == complaints).then_some(config)
}

fn read_time(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    key: &'static str,
    range: &RangeInclusive<Duration>,
) -> Option<Duration> {
    let text = section.text(reading, key, "2s")?;
    let duration = parse_duration(text.value).ok().filter(|duration| range.contains(duration));
    if duration.is_none() {
        let message = format!("`{}` is no time for `{key}`", text.value);
        let [least, most] = [range.start(), range.end()].map(|end| format!("{end:?}"));
        reading.complain(text.span, message, format!("write a duration from \"{least}\" to \"{most}\""));
    }
    duration
}

/// The program and its arguments, as a list: no shell takes them apart.
fn read_restart(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<RestartCommand> {
    let value = section.get("restart")?;
    let words = value.get_ref().as_array().and_then(|array| {
        let words = array.iter().map(|word| word.get_ref().as_str().map(str::to_owned));
        words.collect::<Option<Vec<_>>>()
    });
    match words.map(|words| restart_command(words.into_iter().map(Into::into).collect())) {
        Some(Some(command)) => Some(command),
        _ => {
            let message = format!("`restart` must be a list of 1 to {MAX_WORDS} strings");
            let fix = "write restart = [\"systemctl\", \"restart\", \"spdk\"]; for a shell, [\"sh\", \"-c\", \"...\"]";
            reading.complain(value.span(), message, fix);
            None
        }
    }
}

/// A command in words; `None` without any, or with too many.
pub fn restart_command(words: Vec<std::ffi::OsString>) -> Option<RestartCommand> {
    let mut words = (1..=MAX_WORDS).contains(&words.len()).then_some(words)?.into_iter();
    let program = words.next().filter(|program| !program.is_empty())?;
    Some(RestartCommand { program, arguments: words.collect() })
}

/// `socket = PATH` of a slot: where its clients connect instead of the run directory.
pub(super) fn read_socket(
    reading: &mut Reading<'_>,
    base: &Path,
    text: &Placed<&str>,
    taken: &mut Taken,
) -> Option<PathBuf> {
    let path = base.join(text.value);
    if text.value.is_empty() || text.value.ends_with('/') {
        let fix = "write the path of a file that is to be made, such as \"/run/vm1/disk0.sock\"";
        reading.complain(text.span.clone(), "this cannot name a socket", fix);
        return None;
    }
    claim(reading, &mut taken.sockets, path.clone(), &text.span, "socket");
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, DeviceConfig};

    fn parse(keys: &str) -> Result<RemoteConfig, String> {
        let text = format!(
            "[[slot]]\nname = \"disk0\"\naddress = \"01:00.0\"\ndevice = {{ model = \"remote\"{keys} }}\n"
        );
        let config = Config::parse(Path::new("/etc/lab.toml"), &text).map_err(|all| all.to_string())?;
        match config.slots.into_iter().next().and_then(|slot| slot.device) {
            Some(DeviceConfig::Remote { remote }) => Ok(*remote),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn without_more_than_its_socket_a_back_end_is_replayed() {
        let config = parse(", upstream = \"disk0\"").unwrap();
        assert_eq!(config, RemoteConfig::new(PathBuf::from("/etc/disk0")));
        assert_eq!((config.mode, config.restart), (Mode::Replay, None));
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            ", upstream = \"/run/spdk\", mode = \"replay\", connect_timeout = \"9s\", hang_limit = \"250ms\", \
             give_up_after = \"2m\", max_losses = 3, window = \"60s\", restart = [\"sh\", \"-c\", \"x\"], kill_hung = true, \
             accept_late_writes = true, accept_unsealed = true, queues = 4, interrupts = \"msix\", doorbells = \"mapped\"",
        )
        .unwrap();
        assert_eq!(config.connect_timeout, Duration::from_secs(9));
        assert_eq!(
            (config.hang_limit, config.give_up_after),
            (Duration::from_millis(250), Duration::from_secs(120))
        );
        assert_eq!((config.budget.max_freezes, config.budget.window), (3, Duration::from_secs(60)));
        assert_eq!(config.restart, restart_command(["sh", "-c", "x"].map(Into::into).into()));
        assert!(config.kill_hung && config.accept_late_writes && config.accept_unsealed);
        assert_eq!((config.queues, config.nvme.interrupts), (4, InterruptStyle::Msix));
        assert_eq!(config.nvme.doorbells, DoorbellStyle::Mapped);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place_and_its_fix() {
        let wrong = [
            ("", "add upstream ="),
            (", upstream = \"x\", mode = \"replai\"", "did you mean `replay`?"),
            (", upstream = \"x\", hang_limit = \"5s\"", "from \"10ms\" to \"4s\""),
            (", upstream = \"x\", restart = \"systemctl\"", "write restart = ["),
            (", upstream = \"x\", restart = []", "write restart = ["),
            (", upstream = \"x\", restart = [1]", "write restart = ["),
            (", upstream = \"x\", queues = 0", "choose a value from 1 to 16"),
            (", upstream = \"x\", mode = \"passthrough\", queues = 2", "remove it, or set mode = \"replay\""),
            (", upstream = \"x\", serial = \"y\"", "unknown key `serial`"),
        ];
        for (keys, fix) in wrong {
            let text = parse(keys).unwrap_err();
            assert!(text.starts_with("/etc/lab.toml:4:") && text.contains(fix), "{keys}: {text}");
        }
    }

    #[test]
    fn two_slots_cannot_have_one_back_end_or_one_socket() {
        let slot = |n, more: &str| {
            format!(
                "[[slot]]\nname = \"d{n}\"\naddress = \"0{n}:00.0\"\ndevice = {{ model = \"remote\", upstream = {more}\n"
            )
        };
        let same = slot(1, "\"x\" }") + &slot(2, "\"x\" }");
        let text = Config::parse(Path::new("lab.toml"), &same).unwrap_err().to_string();
        assert!(text.contains("this upstream is already taken by the slot at line 4"), "{text}");
        let same = slot(1, "\"x\" }\nsocket = \"s\"") + &slot(2, "\"y\" }\nsocket = \"s\"");
        let text = Config::parse(Path::new("lab.toml"), &same).unwrap_err().to_string();
        assert!(text.contains("this socket is already taken by the slot at line 5"), "{text}");
    }
}

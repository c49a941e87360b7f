//! From the TOML document to [`Config`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pci_spec::Bdf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::containment::{ContainmentConfig, OnError, read_containment};
use super::device::{DEVICE_EXAMPLE, read_device};
use super::diagnostic::{Diagnostic, Diagnostics, Source};
use super::remote::read_socket;
use super::section::{Placed, Reading, Section};
use super::size::parse_duration;
use super::watchdog::read_watchdog;
use super::zpci::{ZpciConfig, read_zpci};
use super::{
    Config, DEFAULT_DRAIN_DEADLINE_S, DaemonConfig, DeviceConfig, MAX_DRAIN_DEADLINE_S, MAX_NAME_LEN,
    MAX_SLOTS, PortConfig, SlotConfig, WatchdogConfig,
};

const SLOT_EXAMPLE: &str = "[[slot]] with name, address, device and backing";

pub(super) fn parse(file: &Path, text: &str) -> Result<Config, Diagnostics> {
    let mut reading = Reading { source: Source::new(file, text), complaints: Vec::new() };
    let config = match DeTable::parse(text) {
        Ok(document) => read_document(&mut reading, file, document.get_ref(), document.span()),
        Err(error) => {
            let message = format!("not valid TOML: {}", error.message().lines().next().unwrap_or_default());
            let fix = "correct the line; strings need quotes, and each key stands once in a table";
            reading.complain(error.span().unwrap_or(0..0), message, fix);
            None
        }
    };
    let mut complaints = reading.complaints;
    match config {
        Some(config) if complaints.is_empty() => Ok(config),
        _ => {
            complaints.sort_by_key(|c| c.position.as_ref().map(|at| (at.line, at.column)));
            Err(Diagnostics(complaints))
        }
    }
}

fn read_document(
    reading: &mut Reading<'_>,
    file: &Path,
    table: &DeTable<'_>,
    span: Range<usize>,
) -> Option<Config> {
    let root =
        Section::over(reading, table, span, "the file", &["daemon", "watchdog", "containment", "slot"]);
    // What a relative path in the file is relative to.
    let base = file.parent().unwrap_or(Path::new(""));
    let daemon = match root.get("daemon") {
        Some(value) => read_daemon(reading, base, value)?,
        None => DaemonConfig::default(),
    };
    let watchdog = match root.get("watchdog") {
        Some(value) => read_watchdog(reading, value)?,
        None => WatchdogConfig::default(),
    };
    let containment = match root.get("containment") {
        Some(value) => read_containment(reading, value)?,
        None => ContainmentConfig::default(),
    };
    let Some(slots) = root.get("slot") else {
        reading.complain(
            0..0,
            "no slot is configured, so nothing would be served",
            format!("add {SLOT_EXAMPLE}"),
        );
        return None;
    };
    let Some(array) = slots.get_ref().as_array() else {
        let message = format!("`slot` must be an array of tables, not a {}", slots.get_ref().type_str());
        reading.complain(slots.span(), message, "write [[slot]] with two brackets, once for each slot");
        return None;
    };
    if array.len() > MAX_SLOTS {
        let message = format!("{} slots are more than one daemon serves", array.len());
        reading.complain(slots.span(), message, format!("keep at most {MAX_SLOTS}"));
        return None;
    }
    let mut taken = Taken::default();
    let slots: Vec<_> =
        array.iter().filter_map(|value| read_slot(reading, base, value, &mut taken)).collect();
    Some(Config { daemon, watchdog, containment, slots })
}

fn read_daemon(reading: &mut Reading<'_>, base: &Path, value: &Spanned<DeValue<'_>>) -> Option<DaemonConfig> {
    let keys = ["run_dir", "log", "drain_deadline"];
    let section = Section::open(reading, value, "daemon", &keys, "[daemon] on a line of its own")?;
    let run_dir = section.text(reading, "run_dir", "/run/portcullis").map(|dir| base.join(dir.value));
    let log = section.text(reading, "log", "info").map(|log| log.value.to_owned());
    let drain_deadline = section
        .text(reading, "drain_deadline", "10s")
        .and_then(|text| read_drain_deadline(reading, &text))
        .unwrap_or(Duration::from_secs(DEFAULT_DRAIN_DEADLINE_S));
    Some(DaemonConfig { run_dir, log, drain_deadline })
}

fn read_drain_deadline(reading: &mut Reading<'_>, text: &Placed<&str>) -> Option<Duration> {
    let fix = format!("write a duration such as \"10s\", at most \"{MAX_DRAIN_DEADLINE_S}s\"");
    let longest = Duration::from_secs(MAX_DRAIN_DEADLINE_S);
    match parse_duration(text.value) {
        Ok(duration) if duration <= longest => Some(duration),
        Ok(_) => {
            reading.complain(text.span.clone(), "`drain_deadline` is too long", fix);
            None
        }
        Err(error) => {
            let message = format!("`{}` is not a duration: {error}", text.value);
            reading.complain(text.span.clone(), message, fix);
            None
        }
    }
}

/// What no two slots may have, as far as it was seen, with the line of each.
#[derive(Default)]
pub(super) struct Taken {
    names: BTreeMap<String, usize>,
    addresses: BTreeMap<Bdf, usize>,
    pub(super) images: BTreeMap<PathBuf, usize>,
    pub(super) fids: BTreeMap<u32, usize>,
    pub(super) uids: BTreeMap<u32, usize>,
    /// Names of networks, and numbers there.
    pub(super) gids: BTreeMap<(String, u32), usize>,
    pub(super) upstreams: BTreeMap<PathBuf, usize>,
    pub(super) sockets: BTreeMap<PathBuf, usize>,
}

/// Enters `key`; complains with the earlier line if it is there already.
pub(super) fn claim<K: Ord>(
    reading: &mut Reading<'_>,
    taken: &mut BTreeMap<K, usize>,
    key: K,
    span: &Range<usize>,
    what: &str,
) {
    let line = reading.source.position(span.clone()).line;
    if let Some(first) = taken.get(&key) {
        let message = format!("this {what} is already taken by the slot at line {first}");
        reading.complain(span.clone(), message, format!("choose another {what}"));
    } else {
        taken.insert(key, line);
    }
}

fn read_slot(
    reading: &mut Reading<'_>,
    base: &Path,
    value: &Spanned<DeValue<'_>>,
    taken: &mut Taken,
) -> Option<SlotConfig> {
    let keys = [
        "name",
        "address",
        "socket",
        "device",
        "backing",
        "attention_button",
        "latch",
        "zpci",
        "on_error",
        "inject",
    ];
    let section = Section::open(reading, value, "slot", &keys, SLOT_EXAMPLE)?;
    let name = section.required_text(reading, "name", "disk0").and_then(|text| {
        claim(reading, &mut taken.names, text.value.to_owned(), &text.span, "name");
        check_name(reading, &text)
    });
    let address = section.required_text(reading, "address", "0000:01:00.0").and_then(|text| {
        let address = read_address(reading, &text)?;
        claim(reading, &mut taken.addresses, address, &text.span, "address");
        Some(address)
    });
    let socket = match section.text(reading, "socket", "/run/vm1/disk0.sock") {
        Some(text) => Some(read_socket(reading, base, &text, taken)?),
        None => None,
    };
    let inject = match section.get("inject") {
        Some(value) => read_inject(reading, value),
        None => Some(Vec::new()),
    };
    let device = match section.get("device") {
        Some(value) => Some(read_device(reading, base, &section, value, taken)),
        None => {
            if let Some(backing) = section.get("backing") {
                let message = "an empty slot has no `backing`";
                reading.complain(backing.span(), message, format!("remove it, or add {DEVICE_EXAMPLE}"));
            }
            None
        }
    };
    let port = read_port(reading, &section);
    let zpci = match section.get("zpci") {
        Some(value) => read_zpci(reading, value, taken),
        None => Some(ZpciConfig::default()),
    };
    let on_error = match section.get("on_error") {
        Some(_) => section.choice(reading, "on_error", &OnError::CHOICES),
        None => Some(OnError::default()),
    };
    let position = Some(reading.source.position(section.span.clone()));
    let backing_position = section.get("backing").map(|value| reading.source.position(value.span()));
    // A device that is wrong has been complained of.
    let device = device.map_or(Some(None), |read| read.map(Some));
    let (name, address, device, port, zpci, on_error) = (name?, address?, device?, port?, zpci?, on_error?);
    let inject = inject?;
    if address.bus() == 0 && port != PortConfig::default() {
        let message = "a slot on the root bus has no port, and so neither `attention_button` nor `latch`";
        reading.complain(section.span.clone(), message, "remove them, or choose another bus");
    }
    Some(SlotConfig {
        name,
        address,
        socket,
        device,
        inject,
        port,
        zpci,
        on_error,
        position,
        backing_position,
    })
}

/// Faults that are injected from the start on, as `portcullis inject` takes them.
fn read_inject(reading: &mut Reading<'_>, value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    let example = "write inject = [\"read-slow:delay=5ms,count=100\"]";
    let Some(array) = value.get_ref().as_array() else {
        let message = format!("`inject` must be a list of strings, not a {}", value.get_ref().type_str());
        reading.complain(value.span(), message, example);
        return None;
    };
    let mut rules = Vec::new();
    for word in array {
        let Some(text) = word.get_ref().as_str() else {
            reading.complain(word.span(), "a fault to inject must be a string", example);
            return None;
        };
        if let Err(error) = text.parse::<::remote::inject::Rule>() {
            reading.complain(word.span(), format!("`{text}` cannot be injected: {error}"), example);
            return None;
        }
        rules.push(text.to_owned());
    }
    Some(rules)
}

fn read_port(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<PortConfig> {
    let mut flag = |key| section.get(key).map_or(Some(false), |_| section.flag(reading, key));
    Some(PortConfig { attention_button: flag("attention_button")?, latch: flag("latch")? })
}

/// See [`Config::parse_card`].
pub(super) fn parse_card(
    base: &Path,
    device: &str,
    backing: Option<&str>,
) -> Result<DeviceConfig, Diagnostics> {
    // As a slot of a file, so that everything is read, and complained of, in one way.
    let backing = backing.map(|backing| format!("backing = {backing}\n")).unwrap_or_default();
    let text = format!("[[slot]]\nname = \"card\"\naddress = \"01:00.0\"\ndevice = {device}\n{backing}");
    let config = parse(&base.join("--device"), &text)?;
    let mut slots = config.slots;
    match (slots.pop().and_then(|slot| slot.device), slots.is_empty()) {
        (Some(device), true) if config.daemon == DaemonConfig::default() => Ok(device),
        _ => Err(Diagnostics::one(Diagnostic::new(
            None,
            "this is more than one device",
            format!("write {DEVICE_EXAMPLE} without the part before the `{{`"),
        ))),
    }
}

pub(super) fn required_table<'t, 'i>(
    reading: &mut Reading<'_>,
    section: &Section<'t, 'i>,
    key: &str,
    example: &str,
) -> Option<&'t Spanned<DeValue<'i>>> {
    let value = section.get(key);
    if value.is_none() {
        let message = format!("{} has no `{key}`", section.name);
        reading.complain(section.span.clone(), message, format!("add {example}"));
    }
    value
}

/// A name becomes a directory and part of a socket path, so it may not leave the run directory.
fn check_name(reading: &mut Reading<'_>, text: &Placed<&str>) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let sound = (1..=MAX_NAME_LEN).contains(&text.value.len()) && text.value.bytes().all(allowed);
    if sound {
        return Some(text.value.to_owned());
    }
    let fix = format!("use 1 to {MAX_NAME_LEN} letters, digits, `-` and `_`");
    reading.complain(text.span.clone(), "this name cannot name a directory and a socket", fix);
    None
}

fn read_address(reading: &mut Reading<'_>, text: &Placed<&str>) -> Option<Bdf> {
    match text.value.parse() {
        Ok(address) => Some(address),
        Err(error) => {
            let message = format!("`{}` is not an address", text.value);
            reading.complain(text.span.clone(), message, format!("{error}"));
            None
        }
    }
}

impl Diagnostics {
    /// One complaint.
    pub fn one(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

//! From the TOML document to [`Config`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use models::nvme::{BlockSize, DoorbellStyle, InterruptStyle, Polling};
use pci_spec::Bdf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Diagnostics, Source};
use super::section::{Placed, Reading, Section};
use super::size::{parse_duration, parse_size};
use super::{
    BackingConfig, Config, DEFAULT_DRAIN_DEADLINE_S, DaemonConfig, DeviceConfig, MAX_DRAIN_DEADLINE_S,
    MAX_NAME_LEN, MAX_SLOTS, SlotConfig,
};

const DEVICE_EXAMPLE: &str = r#"device = { model = "nvme" }"#;
const BACKING_EXAMPLE: &str = r#"backing = { kind = "file", path = "disk0.img", size = "1GiB" }"#;
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
    let root = Section::over(reading, table, span, "the file", &["daemon", "slot"]);
    // What a relative path in the file is relative to.
    let base = file.parent().unwrap_or(Path::new(""));
    let daemon = match root.get("daemon") {
        Some(value) => read_daemon(reading, base, value)?,
        None => DaemonConfig::default(),
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
    Some(Config { daemon, slots })
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

/// Names and addresses seen so far, with the line of each.
#[derive(Default)]
struct Taken {
    names: BTreeMap<String, usize>,
    addresses: BTreeMap<Bdf, usize>,
    images: BTreeMap<PathBuf, usize>,
}

/// Enters `key`; complains with the earlier line if it is there already.
fn claim<K: Ord>(
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
    let keys = ["name", "address", "device", "backing"];
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
    let backing = required_table(reading, &section, "backing", BACKING_EXAMPLE)
        .and_then(|value| read_backing(reading, base, value, taken));
    let device = required_table(reading, &section, "device", DEVICE_EXAMPLE)
        .and_then(|value| read_device(reading, value, backing.as_ref().map_or(BlockSize::B512, |b| b.1)));
    let position = Some(reading.source.position(section.span.clone()));
    let backing_position = section.get("backing").map(|value| reading.source.position(value.span()));
    let (name, address, device, backing) = (name?, address?, device?, backing?.0);
    Some(SlotConfig { name, address, device, backing, position, backing_position })
}

fn required_table<'t, 'i>(
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

fn read_device(
    reading: &mut Reading<'_>,
    value: &Spanned<DeValue<'_>>,
    block_size: BlockSize,
) -> Option<DeviceConfig> {
    let keys = ["model", "interrupts", "doorbells", "serial", "idle_period"];
    let section = Section::open(reading, value, "device", &keys, DEVICE_EXAMPLE)?;
    if section.get("model").is_none() {
        reading.complain(section.span.clone(), "device has no `model`", "add model = \"nvme\"");
        return None;
    }
    section.choice(reading, "model", &[("nvme", ())])?;
    let interrupts =
        [("msi", InterruptStyle::Msi), ("msix", InterruptStyle::Msix), ("intx", InterruptStyle::Intx)];
    let doorbells = [("trapped", DoorbellStyle::Trapped), ("mapped", DoorbellStyle::Mapped)];
    let serial = section.text(reading, "serial", "PC0001");
    let mut config = models::nvme::Config {
        interrupts: section.choice(reading, "interrupts", &interrupts).unwrap_or_default(),
        doorbells: section.choice(reading, "doorbells", &doorbells).unwrap_or_default(),
        block_size,
        serial: serial.as_ref().map(|s| s.value.to_owned()),
        ..models::nvme::Config::default()
    };
    if let Err(error) = config.check() {
        // Only the serial number comes from the file; the other fields that `check` looks at are its defaults.
        let span = serial.map_or(section.span.clone(), |s| s.span);
        reading.complain(span, error.to_string(), "shorten it, or leave it out for one made from the name");
    }
    if let Some(text) = section.text(reading, "idle_period", "1ms") {
        config.polling = read_idle_period(reading, &text, config.doorbells);
    }
    Some(DeviceConfig::Nvme(config))
}

fn read_idle_period(
    reading: &mut Reading<'_>,
    text: &Placed<&str>,
    doorbells: DoorbellStyle,
) -> Option<Polling> {
    if doorbells != DoorbellStyle::Mapped {
        let message = "`idle_period` has no meaning with trapped doorbells, which cost nothing when idle";
        reading.complain(text.span.clone(), message, "remove it, or set doorbells = \"mapped\"");
        return None;
    }
    let mut polling = Polling::for_style(doorbells);
    let range = polling.shortest_sleep..=Duration::from_millis(100);
    match parse_duration(text.value) {
        Ok(period) if range.contains(&period) => {
            polling.longest_sleep = period;
            Some(polling)
        }
        _ => {
            let message = format!("`{}` is not an idle period", text.value);
            reading.complain(text.span.clone(), message, "write a duration from \"10us\" to \"100ms\"");
            None
        }
    }
}

#[derive(Clone, Copy)]
enum BackingKind {
    File,
    Memory,
}

fn read_backing(
    reading: &mut Reading<'_>,
    base: &Path,
    value: &Spanned<DeValue<'_>>,
    taken: &mut Taken,
) -> Option<(BackingConfig, BlockSize)> {
    let keys = ["kind", "path", "size", "block_size"];
    let section = Section::open(reading, value, "backing", &keys, BACKING_EXAMPLE)?;
    if section.get("kind").is_none() {
        reading.complain(section.span.clone(), "backing has no `kind`", "add kind = \"file\" or \"memory\"");
        return None;
    }
    let kind =
        section.choice(reading, "kind", &[("file", BackingKind::File), ("memory", BackingKind::Memory)])?;
    let block_size = read_block_size(reading, &section)?;
    let size = match section.text(reading, "size", "1GiB") {
        Some(text) => Some(read_size(reading, &text, block_size)?),
        None => None,
    };
    let backing = match kind {
        BackingKind::File => {
            let path = section.required_text(reading, "path", "disk0.img")?;
            let image = base.join(path.value);
            claim(reading, &mut taken.images, image.clone(), &path.span, "path");
            BackingConfig::File { path: image, size }
        }
        BackingKind::Memory => {
            if let Some(path) = section.get("path") {
                let fix = "remove it, or set kind = \"file\"";
                reading.complain(path.span(), "a memory backing has no `path`", fix);
            }
            if size.is_none() && section.get("size").is_none() {
                reading.complain(section.span.clone(), "backing has no `size`", "add size = \"1GiB\"");
            }
            BackingConfig::Memory { size: size? }
        }
    };
    Some((backing, block_size))
}

fn read_block_size(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<BlockSize> {
    if section.get("block_size").is_none() {
        return Some(BlockSize::B512);
    }
    let number = section.number(reading, "block_size", 512..=4096)?;
    match number.value {
        512 => Some(BlockSize::B512),
        4096 => Some(BlockSize::B4096),
        _ => {
            reading.complain(number.span, "this block size does not exist", "choose 512 or 4096");
            None
        }
    }
}

fn read_size(reading: &mut Reading<'_>, text: &Placed<&str>, block_size: BlockSize) -> Option<u64> {
    let fix = "write a number and one of B, KiB, MiB, GiB, TiB, such as \"1GiB\"";
    let size = match parse_size(text.value) {
        Ok(size) => size,
        Err(error) => {
            let message = format!("`{}` is not a size: {error}", text.value);
            reading.complain(text.span.clone(), message, fix);
            return None;
        }
    };
    let block = u64::from(block_size.bytes());
    if size == 0 || !size.is_multiple_of(block) {
        let message = format!("`{}` is not a number of whole blocks of {block} bytes", text.value);
        reading.complain(text.span.clone(), message, format!("choose a multiple of {block} bytes"));
        return None;
    }
    Some(size)
}

impl Diagnostics {
    /// One complaint.
    pub fn one(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

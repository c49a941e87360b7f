//! `device = { model = "endpoint-test", ... }`.

use std::path::{Path, PathBuf};

use models::endpoint;
use toml::Spanned;
use toml::de::DeValue;

use super::device::DEVICE_EXAMPLE;
use super::section::{Placed, Reading, Section};
use super::size::{format_size, parse_size};

/// Reads an endpoint-test device, and the path of its ROM image if it has one.
pub(super) fn read_endpoint(
    reading: &mut Reading<'_>,
    base: &Path,
    value: &Spanned<DeValue<'_>>,
) -> Option<(endpoint::Config, Option<PathBuf>)> {
    let keys = ["model", "vfs", "memory", "mapped", "rom"];
    let section = Section::open(reading, value, "device", &keys, DEVICE_EXAMPLE)?;
    let mut config = endpoint::Config::default();
    if section.get("vfs").is_some() {
        let most = u32::from(endpoint::MAX_VFS);
        config.vfs = u16::try_from(section.number(reading, "vfs", 0..=most)?.value).ok()?;
    }
    if section.get("memory").is_some() {
        let text = section.text(reading, "memory", "64KiB")?;
        config.memory = read_memory(reading, &text)?;
    }
    if section.get("mapped").is_some() {
        config.mapped = section.flag(reading, "mapped")?;
    }
    let rom = match section.get("rom") {
        Some(_) => Some(base.join(section.text(reading, "rom", "option.rom")?.value)),
        None => None,
    };
    Some((config, rom))
}

/// The size of a BAR: a power of two, at least a page so that it can be mapped.
fn read_memory(reading: &mut Reading<'_>, text: &Placed<&str>) -> Option<u64> {
    let sizes = endpoint::MEMORY_SIZES;
    match parse_size(text.value) {
        Ok(size) if size.is_power_of_two() && sizes.contains(&size) => Some(size),
        parsed => {
            let why = parsed.err().map_or(String::from("it is no power of two in range"), |e| e.to_string());
            let message = format!("`{}` is not the size of a memory BAR: {why}", text.value);
            let (least, most) = (format_size(*sizes.start()), format_size(*sizes.end()));
            let fix = format!("write a power of two from \"{least}\" to \"{most}\", such as \"1MiB\"");
            reading.complain(text.span.clone(), message, fix);
            None
        }
    }
}

//! `backing = { kind = ... }`: what holds a disk's data.

use std::path::Path;

use models::nvme::BlockSize;
use toml::Spanned;
use toml::de::DeValue;

use super::BackingConfig;
use super::document::{Taken, claim};
use super::section::{Placed, Reading, Section};
use super::size::parse_size;

pub(super) const BACKING_EXAMPLE: &str = r#"backing = { kind = "file", path = "disk0.img", size = "1GiB" }"#;

#[derive(Clone, Copy)]
enum BackingKind {
    File,
    Memory,
}

pub(super) fn read_backing(
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

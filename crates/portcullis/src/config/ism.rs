//! `device = { model = "ism", ... }`.

use models::ism;
use toml::Spanned;
use toml::de::DeValue;

use super::document::{Taken, claim};
use super::section::{Reading, Section};

const EXAMPLE: &str = r#"device = { model = "ism", network = "lab", gid = 1 }"#;
/// Longest name of a network, in bytes.
const MAX_NETWORK: usize = 32;

/// Reads an ISM-like device.
pub(super) fn read_ism(
    reading: &mut Reading<'_>,
    value: &Spanned<DeValue<'_>>,
    taken: &mut Taken,
) -> Option<ism::Config> {
    let section = Section::open(reading, value, "device", &["model", "network", "gid"], EXAMPLE)?;
    let network = section.required_text(reading, "network", "lab").and_then(|text| {
        if (1..=MAX_NETWORK).contains(&text.value.len()) {
            return Some(text.value.to_owned());
        }
        let fix = format!("choose a name of 1 to {MAX_NETWORK} bytes");
        reading.complain(text.span, "this cannot name a network", fix);
        None
    });
    if section.get("gid").is_none() {
        let fix = "add gid = 1, another number for each function of the network";
        reading.complain(section.span.clone(), "device has no `gid`", fix);
    }
    let gid = section.number(reading, "gid", 1..=u32::MAX);
    let (network, gid) = (network?, gid?);
    claim(reading, &mut taken.gids, (network.clone(), gid.value), &gid.span, "gid");
    Some(ism::Config { network, gid: gid.value.into(), multi_function: false })
}

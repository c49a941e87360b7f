//! `device = { model = ... }`: what is plugged into a slot.

use std::path::Path;
use std::time::Duration;

use models::nvme::{BlockSize, DoorbellStyle, InterruptStyle, Polling};
use toml::Spanned;
use toml::de::DeValue;

use super::DeviceConfig;
use super::backing::{BACKING_EXAMPLE, read_backing};
use super::document::{Taken, required_table};
use super::endpoint::read_endpoint;
use super::ism::read_ism;
use super::remote::read_remote;
use super::section::{Placed, Reading, Section};
use super::size::parse_duration;

pub(super) const DEVICE_EXAMPLE: &str = r#"device = { model = "nvme" }"#;

#[derive(Clone, Copy)]
enum Model {
    Nvme,
    EndpointTest,
    Ism,
    Remote,
}

/// Reads the device of `slot`, with the backing if the model has one.
pub(super) fn read_device(
    reading: &mut Reading<'_>,
    base: &Path,
    slot: &Section<'_, '_>,
    value: &Spanned<DeValue<'_>>,
    taken: &mut Taken,
) -> Option<DeviceConfig> {
    match model_of(reading, value)? {
        Model::Nvme => {
            let backing = required_table(reading, slot, "backing", BACKING_EXAMPLE)
                .and_then(|value| read_backing(reading, base, value, taken));
            let block_size = backing.as_ref().map_or(BlockSize::B512, |backing| backing.1);
            let controller = read_nvme(reading, value, block_size)?;
            Some(DeviceConfig::Nvme { controller, backing: backing?.0 })
        }
        Model::EndpointTest => {
            refuse_backing(reading, slot, "an endpoint-test device");
            let (endpoint, rom) = read_endpoint(reading, base, value)?;
            Some(DeviceConfig::EndpointTest { endpoint, rom })
        }
        Model::Ism => {
            refuse_backing(reading, slot, "an ism device");
            Some(DeviceConfig::Ism { ism: read_ism(reading, value, taken)? })
        }
        Model::Remote => {
            refuse_backing(reading, slot, "a remote device");
            let remote = read_remote(reading, base, value, taken)?;
            Some(DeviceConfig::Remote { remote: Box::new(remote) })
        }
    }
}

fn refuse_backing(reading: &mut Reading<'_>, slot: &Section<'_, '_>, device: &str) {
    if let Some(backing) = slot.get("backing") {
        let message = format!("{device} keeps nothing, so it has no `backing`");
        reading.complain(backing.span(), message, "remove it, or set model = \"nvme\"");
    }
}

/// Which keys a device may have depends on its model, so that is read first.
fn model_of(reading: &mut Reading<'_>, value: &Spanned<DeValue<'_>>) -> Option<Model> {
    let section = Section::open_any(reading, value, "device", DEVICE_EXAMPLE)?;
    if section.get("model").is_none() {
        reading.complain(section.span.clone(), "device has no `model`", "add model = \"nvme\"");
        return None;
    }
    let models = [
        ("nvme", Model::Nvme),
        ("endpoint-test", Model::EndpointTest),
        ("ism", Model::Ism),
        ("remote", Model::Remote),
    ];
    section.choice(reading, "model", &models)
}

fn read_nvme(
    reading: &mut Reading<'_>,
    value: &Spanned<DeValue<'_>>,
    block_size: BlockSize,
) -> Option<models::nvme::Config> {
    let keys = ["model", "interrupts", "doorbells", "serial", "idle_period"];
    let section = Section::open(reading, value, "device", &keys, DEVICE_EXAMPLE)?;
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
    Some(config)
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

//! From what a configuration says of a device to the device.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use assign::{Assignment, EventSink};
use gate::{Gate, ThreadToken};
use models::nvme::backing::{DirectIo, FileOptions};
use models::nvme::{self, Backing, BackingError};
use models::{endpoint, ism};
use pci_core::Function;
use remote::Remote;
use remote::config::Mode;

use super::back_end::Overseer;
use super::image;
use crate::config::size::format_size;
use crate::config::{BackingConfig, DeviceConfig};

/// Why a device could not be built.
#[derive(Debug)]
pub(super) struct BuildComplaint {
    pub(super) message: String,
    pub(super) fix: String,
    /// It is about the backing.
    pub(super) backing: bool,
}

impl std::fmt::Display for BuildComplaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; fix: {}", self.message, self.fix)
    }
}

/// A device that was built.
pub(super) struct Device {
    pub(super) assignment: Arc<Assignment>,
    /// Size of the backing, in bytes; 0 without one.
    pub(super) size: u64,
    /// The life of its back end, if it has one.
    pub(super) remote: Option<Arc<Remote>>,
}

impl Device {
    fn of(assignment: Arc<Assignment>) -> Device {
        Device { assignment, size: 0, remote: None }
    }
}

/// Opens the backing, or connects to the back end, of which `watch` is told; and builds the device, behind `gate`.
pub(super) fn build(
    token: &mut ThreadToken,
    device: &DeviceConfig,
    gate: Gate,
    events: Arc<dyn EventSink>,
    watch: impl FnOnce(Mode) -> Arc<Overseer>,
    placed: impl FnOnce(Function) -> Function,
) -> Result<Device, BuildComplaint> {
    let unfit = |error: &dyn std::fmt::Display| {
        complaint(format!("the device cannot be built: {error}"), "correct the device")
    };
    match device {
        DeviceConfig::Nvme { controller, backing } => {
            let (backing, size) = open_backing(token, backing).map_err(|error| backing_complaint(&error))?;
            let built = nvme::build_with(gate, controller, backing, events, placed);
            let assignment = built.map_err(|error| unfit(&error))?;
            Ok(Device { assignment, size, remote: None })
        }
        DeviceConfig::EndpointTest { endpoint, rom } => {
            let mut endpoint = endpoint.clone();
            endpoint.rom = rom.as_deref().map(read_rom).transpose()?;
            let built = endpoint::build_with(gate, &endpoint, events, placed);
            Ok(Device::of(built.map_err(|error| unfit(&error))?))
        }
        DeviceConfig::Ism { ism } => {
            let built = ism::build_with(gate, ism, events, placed);
            Ok(Device::of(built.map_err(|error| unfit(&error))?))
        }
        DeviceConfig::Remote { remote } => {
            let watch = watch(remote.mode);
            let opened = Remote::open(token, remote, gate, events, Arc::clone(&watch) as _, placed);
            let (assignment, remote) = opened
                .map_err(|error| complaint(format!("its back end cannot be used: {error}"), error.fix()))?;
            watch.belongs_to(&assignment);
            Ok(Device { remote: Some(remote), ..Device::of(assignment) })
        }
    }
}

fn open_backing(token: &mut ThreadToken, config: &BackingConfig) -> Result<(Backing, u64), BackingError> {
    match config {
        BackingConfig::Memory { size } => Ok((Backing::memory(*size)?, *size)),
        BackingConfig::File { path, size } => {
            let options = FileOptions { size: *size, direct: DirectIo::WherePossible };
            let backing = image::open(token, path, &options)?;
            let size = backing.size();
            Ok((backing, size))
        }
    }
}

/// The image of an expansion ROM.
fn read_rom(path: &Path) -> Result<Arc<[u8]>, BuildComplaint> {
    let shown = path.display();
    let unread = |error: std::io::Error| {
        complaint(format!("the ROM {shown} cannot be read: {error}"), "check the path of `rom`")
    };
    // Opening a pipe would wait for whoever writes to it.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unread)?;
    if !file.metadata().map_err(unread)?.is_file() {
        return Err(complaint(format!("the ROM {shown} is no regular file"), "name an image"));
    }
    // What it has, not what it is said to have: it may grow meanwhile.
    let mut image = Vec::new();
    file.take(endpoint::MAX_ROM + 1).read_to_end(&mut image).map_err(unread)?;
    let size = image.len() as u64;
    if size == 0 || size > endpoint::MAX_ROM {
        let most = format_size(endpoint::MAX_ROM);
        let has = if size == 0 { String::from("is empty") } else { format!("has more than {most}") };
        let fix = format!("name an image of 1B to {most}");
        return Err(complaint(format!("the ROM {shown} {has}"), fix));
    }
    Ok(image.into())
}

fn complaint(message: impl Into<String>, fix: impl Into<String>) -> BuildComplaint {
    BuildComplaint { message: message.into(), fix: fix.into(), backing: false }
}

fn backing_complaint(error: &BackingError) -> BuildComplaint {
    let fix = match error {
        BackingError::Size(_) => String::from("choose a size of 4KiB or more"),
        BackingError::SizeDiffers { found, .. } => {
            format!("write size = \"{}\", or leave size out, or move the file away", format_size(*found))
        }
        BackingError::InUse(_) => String::from("stop the other server, or name another path"),
        BackingError::Kind(_) => String::from("name a regular file or a block device"),
        BackingError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            String::from("make its directory, and give a size to have the file made")
        }
        _ => String::from("check the path, its permissions, and the space that is left"),
    };
    BuildComplaint { backing: true, ..complaint(error.to_string(), fix) }
}

//! One slot: its backing opened, its device built, its socket bound.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assign::Assignment;
use models::endpoint;
use models::nvme::backing::{DirectIo, FileOptions};
use models::nvme::{self, Backing, BackingError};
use vfio_user::server::{BindError, Server, ServerOptions};

use super::machine::Machine;
use crate::config::size::format_size;
use crate::config::{BackingConfig, DeviceConfig, Diagnostic, SlotConfig};
use crate::events::Journal;
use crate::run_dir::RunDir;

/// A function that is plugged.
pub struct Slot {
    /// How it was configured.
    pub config: SlotConfig,
    /// Size of its backing, in bytes; 0 without one.
    pub size: u64,
    /// Its vfio-user socket.
    pub socket: PathBuf,
    /// The function, for consumers and for the operator.
    pub assignment: Arc<Assignment>,
}

impl Slot {
    /// Opens, builds and binds. Clients can connect from here on, and are served once the server runs.
    ///
    /// # Errors
    /// What is wrong, at its place in the configuration.
    pub(super) fn plug(
        config: SlotConfig,
        machine: &mut Machine,
        run_dir: &RunDir,
        journal: &Arc<Journal>,
    ) -> Result<(Self, Server), Diagnostic> {
        let (assignment, size) = build(&config, machine, journal)?;
        machine.plug(Arc::clone(assignment.function()), config.address).map_err(|error| {
            let message = format!("it cannot be put at {}: {error}", config.address);
            complaint(&config, message, "choose another address")
        })?;
        let socket = run_dir.slot_socket(&config.name).map_err(|error| {
            // The error brings its own fix on a line of its own.
            let text = error.to_string();
            let (message, fix) = text.split_once("\nfix: ").unwrap_or((&text, "name another run_dir"));
            complaint(&config, message, fix)
        })?;
        let server = Server::bind(&socket, Arc::clone(&assignment), ServerOptions::default())
            .map_err(|error| bind_complaint(&config, &error))?;
        Ok((Self { config, size, socket, assignment }, server))
    }
}

/// Builds the device, and says how much data it holds, in bytes.
fn build(
    config: &SlotConfig,
    machine: &Machine,
    journal: &Arc<Journal>,
) -> Result<(Arc<Assignment>, u64), Diagnostic> {
    let events = Arc::clone(journal);
    let placed = |function| machine.place(function, config.address);
    let unfit = |error: &dyn std::fmt::Display| {
        complaint(config, format!("the device cannot be built: {error}"), "correct the device")
    };
    match &config.device {
        DeviceConfig::Nvme { controller, backing } => {
            let (backing, size) = open_backing(backing).map_err(|error| backing_complaint(config, &error))?;
            let built = nvme::build_with(&config.name, controller, backing, events, placed);
            Ok((built.map_err(|error| unfit(&error))?, size))
        }
        DeviceConfig::EndpointTest { endpoint, rom } => {
            let mut endpoint = endpoint.clone();
            endpoint.rom = rom.as_deref().map(|path| read_rom(config, path)).transpose()?;
            let built = endpoint::build_with(&config.name, &endpoint, events, placed);
            Ok((built.map_err(|error| unfit(&error))?, 0))
        }
    }
}

fn open_backing(config: &BackingConfig) -> Result<(Backing, u64), BackingError> {
    match config {
        BackingConfig::Memory { size } => Ok((Backing::memory(*size)?, *size)),
        BackingConfig::File { path, size } => {
            let options = FileOptions { size: *size, direct: DirectIo::WherePossible };
            let backing = Backing::file(path, &options)?;
            let size = backing.size();
            Ok((backing, size))
        }
    }
}

/// The image of an expansion ROM.
fn read_rom(config: &SlotConfig, path: &Path) -> Result<Arc<[u8]>, Diagnostic> {
    let shown = path.display();
    let unread = |error: std::io::Error| {
        complaint(config, format!("the ROM {shown} cannot be read: {error}"), "check the path of `rom`")
    };
    // Opening a pipe would wait for whoever writes to it.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unread)?;
    if !file.metadata().map_err(unread)?.is_file() {
        return Err(complaint(config, format!("the ROM {shown} is no regular file"), "name an image"));
    }
    // What it has, not what it is said to have: it may grow meanwhile.
    let mut image = Vec::new();
    file.take(endpoint::MAX_ROM + 1).read_to_end(&mut image).map_err(unread)?;
    let size = image.len() as u64;
    if size == 0 || size > endpoint::MAX_ROM {
        let most = format_size(endpoint::MAX_ROM);
        let has = if size == 0 { String::from("is empty") } else { format!("has more than {most}") };
        let fix = format!("name an image of 1B to {most}");
        return Err(complaint(config, format!("the ROM {shown} {has}"), fix));
    }
    Ok(image.into())
}

fn complaint(config: &SlotConfig, message: impl Into<String>, fix: impl Into<String>) -> Diagnostic {
    let message = format!("slot `{}`: {}", config.name, message.into());
    Diagnostic::new(config.position.clone(), message, fix)
}

fn backing_complaint(config: &SlotConfig, error: &BackingError) -> Diagnostic {
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
    Diagnostic { position: config.backing_position.clone(), ..complaint(config, error.to_string(), fix) }
}

fn bind_complaint(config: &SlotConfig, error: &BindError) -> Diagnostic {
    let fix = match error {
        BindError::InUse { .. } => "stop that server, or name another run_dir",
        BindError::NotASocket { .. } => "remove that file, or rename the slot",
        BindError::TooLong { .. } => "name a shorter run_dir, or shorten the slot's name",
        BindError::System { .. } => "check the run_dir and its permissions",
    };
    complaint(config, format!("its socket cannot be made: {error}"), fix)
}

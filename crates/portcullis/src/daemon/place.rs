//! The place of one function: its address, its socket, and what is plugged in there.
//!
//! Lock: `place` (rank 63, a leaf): what stands here is exchanged by whoever plugs and by whoever drives the slot, and read by
//! operators. Held for a copy or a move; a device is built and dropped outside.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use assign::Assignment;
use gate::Gate;
use gate::lock::Leaf;
use pci_spec::Bdf;
use topology::fabric::PlugId;
use vfio_user::server::{BindError, Server, ServerOptions, Visits};
use zpci::region::IoRegion;
use zpci::{View, Watched, Zdev};

use super::build::{BuildComplaint, build};
use super::machine::Machine;
use super::zpci::MAX_STORE;
use crate::config::{DeviceConfig, Diagnostic, OnError, SlotConfig};
use crate::events::Journal;
use crate::ranks;
use crate::run_dir::RunDir;

/// Most devices that are remembered as being in use after they left.
const MAX_LEFT: usize = 64;

/// See the module's head.
pub struct Place {
    /// Its name, as configured.
    pub name: String,
    /// Where its function stands.
    pub address: Bdf,
    /// Its vfio-user socket.
    pub socket: PathBuf,
    pub(super) server: Arc<Server>,
    /// What it is in the s390 view.
    pub(super) zdev: Arc<Zdev>,
    /// What happens to its function when it fails.
    pub(super) on_error: OnError,
    /// Whether consumers get the zPCI I/O region, whatever the device.
    io_region: Option<bool>,
    /// Functions of one device say that there are others.
    beside_others: bool,
    /// Rank: 63, place; a leaf. What stands here changes as a whole.
    standing: Leaf<ranks::Place, Standing>,
}

/// What stands at a place.
struct Standing {
    /// What is on the card here, or was on the card that was here last.
    device: Option<DeviceConfig>,
    /// Built already, for the next time the slot is switched on.
    prepared: Option<Built>,
    plugged: Option<Plugged>,
    /// The gate of the latest device; that of the next one succeeds it.
    gate: Option<Gate>,
    /// Devices that left and were still in use then, the latest.
    left: Vec<Weak<Assignment>>,
}

/// A device that is in the hardware.
struct Plugged {
    assignment: Arc<Assignment>,
    size: u64,
    id: PlugId,
}

/// A device that nobody has seen yet.
pub(super) struct Built {
    pub(super) assignment: Arc<Assignment>,
    /// What it is in the s390 view, once it is brought in there.
    pub(super) view: Arc<View>,
    /// Size of its backing, in bytes; 0 without one.
    size: u64,
}

impl Place {
    /// Makes the socket. Clients can connect from here on, and are refused until something is plugged in.
    ///
    /// # Errors
    /// What is wrong, at its place in the configuration.
    pub(super) fn bind(
        config: &SlotConfig,
        beside_others: bool,
        zdev: Arc<Zdev>,
        visits: Arc<dyn Visits>,
        run_dir: &RunDir,
    ) -> Result<Place, Diagnostic> {
        let socket = run_dir.slot_socket(&config.name).map_err(|error| {
            // The error brings its own fix on a line of its own.
            let text = error.to_string();
            let (message, fix) = text.split_once("\nfix: ").unwrap_or((&text, "name another run_dir"));
            complaint(config, message, fix)
        })?;
        let server = Server::bind_empty(&socket, ServerOptions::default());
        let server = server.map_err(|error| bind_complaint(config, &error))?.watched_by(visits);
        let standing = Standing {
            device: config.device.clone(),
            prepared: None,
            plugged: None,
            gate: None,
            left: Vec::new(),
        };
        Ok(Place {
            name: config.name.clone(),
            address: config.address,
            socket,
            server: Arc::new(server),
            zdev,
            on_error: config.on_error,
            io_region: config.zpci.io_region,
            beside_others,
            standing: Leaf::new(standing),
        })
    }

    /// What is on the card here, or was on the last one.
    pub fn device(&self) -> Option<DeviceConfig> {
        self.standing.lock().device.clone()
    }

    /// Name of the model; empty if there never was a device here.
    pub fn model(&self) -> &'static str {
        self.standing.lock().device.as_ref().map_or("", DeviceConfig::model)
    }

    /// The function that stands here now.
    pub fn assignment(&self) -> Option<Arc<Assignment>> {
        self.standing.lock().plugged.as_ref().map(|plugged| Arc::clone(&plugged.assignment))
    }

    /// Size of what holds its data, in bytes; 0 without, and while nothing is plugged in.
    pub fn size(&self) -> u64 {
        self.standing.lock().plugged.as_ref().map_or(0, |plugged| plugged.size)
    }

    /// Builds what is to be plugged in, so that what is wrong with it is known before anything happens. `None`: what was here
    /// last, if anything was.
    pub(super) fn prepare(
        &self,
        device: Option<&DeviceConfig>,
        machine: &Machine,
        journal: &Arc<Journal>,
    ) -> Result<(), BuildComplaint> {
        let last = self.device();
        let Some(device) = device.or(last.as_ref()) else { return Ok(()) };
        let built = self.build(device, machine, journal)?;
        let before = {
            let mut standing = self.standing.lock();
            standing.device = Some(device.clone());
            standing.prepared.replace(built)
        };
        // Not under the lock: it ends a device.
        drop(before);
        Ok(())
    }

    /// What was prepared, or else is built now; `None` if nothing is to stand here.
    pub(super) fn take_built(
        &self,
        machine: &Machine,
        journal: &Arc<Journal>,
    ) -> Result<Option<Built>, BuildComplaint> {
        let (prepared, device) = {
            let mut standing = self.standing.lock();
            (standing.prepared.take(), standing.device.clone())
        };
        match (prepared, device) {
            (Some(built), _) => Ok(Some(built)),
            (None, Some(device)) => self.build(&device, machine, journal).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn build(
        &self,
        device: &DeviceConfig,
        machine: &Machine,
        journal: &Arc<Journal>,
    ) -> Result<Built, BuildComplaint> {
        let last = self.standing.lock().gate.clone();
        let gate = last.map_or_else(|| Gate::new(&*self.name), |last| last.successor());
        // Two who build at once have the same number, and only one of them plugs: a slot is off while a card is prepared.
        self.standing.lock().gate = Some(gate.clone());
        let mut device = device.clone();
        if self.beside_others {
            device.stands_beside_others();
        }
        let events = Watched::new(Arc::clone(journal) as _);
        let placed = |function| machine.place(function, self.address);
        let (assignment, size) = build(&device, gate, Arc::clone(&events) as _, placed)?;
        let view = View::new(&self.zdev, &assignment, MAX_STORE);
        events.belongs_to(&view);
        if self.on_error == OnError::Notify {
            assignment.port().interrupts().offer_errors();
        }
        if self.io_region.unwrap_or(device.needs_io_region()) {
            // Nobody has it yet, and it has no other.
            let _ = assignment.add_region(IoRegion::new(Arc::clone(&view)));
        }
        Ok(Built { assignment, view, size })
    }

    /// What was prepared is not plugged in after all.
    pub(super) fn discard_prepared(&self) {
        let prepared = self.standing.lock().prepared.take();
        drop(prepared);
    }

    /// It is in the hardware.
    pub(super) fn is_plugged(&self, built: Built, id: PlugId) {
        let plugged = Plugged { assignment: built.assignment, size: built.size, id };
        self.standing.lock().plugged = Some(plugged);
    }

    /// It leaves the hardware: by which number it is known there.
    pub(super) fn take_plugged(&self) -> Option<(Arc<Assignment>, PlugId)> {
        let plugged = self.standing.lock().plugged.take()?;
        Some((plugged.assignment, plugged.id))
    }
}

impl Place {
    /// A device has left, and somebody may have it still.
    pub(super) fn has_left(&self, device: Weak<Assignment>) {
        let left = &mut self.standing.lock().left;
        left.retain(|device| device.strong_count() > 0);
        if device.strong_count() > 0 && left.len() < MAX_LEFT {
            left.push(device);
        }
    }

    /// Devices that left, and are still in use.
    pub(super) fn left(&self) -> Vec<Weak<Assignment>> {
        let left = self.standing.lock().left.clone();
        left.into_iter().filter(|device| device.strong_count() > 0).collect()
    }
}

pub(super) fn complaint(
    config: &SlotConfig,
    message: impl Into<String>,
    fix: impl Into<String>,
) -> Diagnostic {
    let message = format!("slot `{}`: {}", config.name, message.into());
    Diagnostic::new(config.position.clone(), message, fix)
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

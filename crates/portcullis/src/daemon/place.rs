//! The place of one function: its address, its socket, and what is plugged in there.
//!
//! Lock: `place` (rank 63, a leaf): what stands here is exchanged by whoever plugs and by whoever drives the slot, and read by
//! operators. Held for a copy or a move; a device is built and dropped outside.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use ::slot::Controller;
use assign::Assignment;
use gate::lock::Leaf;
use gate::{Gate, ThreadToken};
use pci_spec::Bdf;
use remote::Remote;
use remote::inject::{AddError, Injections, Rule, RuleId};
use topology::fabric::PlugId;
use vfio_user::server::{BindError, Server, ServerOptions, Visits};
use zpci::region::IoRegion;
use zpci::{View, Watched, Zdev};

use super::back_end::{Overseer, Owner};
use super::build::{BuildComplaint, Device, build};
use super::containment::Contained;
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
    /// Faults that every device here is given from its start on.
    inject: Vec<Rule>,
    /// Who owns what stands here; set once, when the slot is made.
    owner: Arc<OnceLock<Owner>>,
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
    remote: Option<Arc<Remote>>,
    injections: Arc<Injections>,
}

/// A device that nobody has seen yet.
pub(super) struct Built {
    pub(super) assignment: Arc<Assignment>,
    /// What it is in the s390 view, once it is brought in there.
    pub(super) view: Arc<View>,
    /// Size of its backing, in bytes; 0 without one.
    size: u64,
    /// The life of its back end, if it has one.
    remote: Option<Arc<Remote>>,
    /// What it is given of faults.
    injections: Arc<Injections>,
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
        let socket = match &config.socket {
            Some(socket) => socket.clone(),
            None => run_dir.slot_socket(&config.name).map_err(|error| {
                // The error brings its own fix on a line of its own.
                let text = error.to_string();
                let (message, fix) = text.split_once("\nfix: ").unwrap_or((&text, "name another run_dir"));
                complaint(config, message, fix)
            })?,
        };
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
            // Read from the file as rules.
            inject: config.inject.iter().filter_map(|rule| rule.parse().ok()).collect(),
            owner: Arc::default(),
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

    /// The life of the back end of what stands here, if it has one.
    pub(super) fn remote(&self) -> Option<Arc<Remote>> {
        self.standing.lock().plugged.as_ref().and_then(|plugged| plugged.remote.clone())
    }

    /// The faults that what stands here is given.
    pub(super) fn injections(&self) -> Option<Arc<Injections>> {
        self.standing.lock().plugged.as_ref().map(|plugged| Arc::clone(&plugged.injections))
    }

    /// Gives what stands here a fault; why not, in words.
    pub(super) fn inject(&self, token: &mut ThreadToken, rule: Rule) -> Result<RuleId, String> {
        let standing = {
            let standing = self.standing.lock();
            let plugged = standing.plugged.as_ref();
            plugged.map(|it| (Arc::clone(&it.injections), Arc::clone(&it.assignment)))
        };
        let (injections, assignment) = standing.ok_or("nothing is plugged in any more")?;
        inject(token, &injections, &assignment, rule).map_err(|error| error.to_string())
    }

    /// The slot is made.
    pub(super) fn belongs_to(&self, controller: &Arc<Controller>, contained: &Arc<Contained>) {
        let owner = Owner { controller: Arc::downgrade(controller), contained: Arc::downgrade(contained) };
        // Made once.
        let _ = self.owner.set(owner);
    }

    /// Size of what holds its data, in bytes; 0 without, and while nothing is plugged in.
    pub fn size(&self) -> u64 {
        self.standing.lock().plugged.as_ref().map_or(0, |plugged| plugged.size)
    }

    /// Builds what is to be plugged in, so that what is wrong with it is known before anything happens. `None`: what was here
    /// last, if anything was.
    pub(super) fn prepare(
        &self,
        token: &mut ThreadToken,
        device: Option<&DeviceConfig>,
        machine: &Machine,
        journal: &Arc<Journal>,
    ) -> Result<(), BuildComplaint> {
        let last = self.device();
        let Some(device) = device.or(last.as_ref()) else { return Ok(()) };
        let built = self.build(token, device, machine, journal)?;
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
        token: &mut ThreadToken,
        machine: &Machine,
        journal: &Arc<Journal>,
    ) -> Result<Option<Built>, BuildComplaint> {
        let (prepared, device) = {
            let mut standing = self.standing.lock();
            (standing.prepared.take(), standing.device.clone())
        };
        match (prepared, device) {
            (Some(built), _) => Ok(Some(built)),
            (None, Some(device)) => self.build(token, &device, machine, journal).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn build(
        &self,
        token: &mut ThreadToken,
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
        let watch = |mode| {
            Arc::new(Overseer {
                name: self.name.clone(),
                address: self.address,
                mode,
                journal: Arc::clone(journal),
                owner: Arc::clone(&self.owner),
                assignment: OnceLock::new(),
            })
        };
        let built = build(token, &device, gate, Arc::clone(&events) as _, watch, placed)?;
        let Device { assignment, size, remote } = built;
        let injections = self.injections_of(token, &assignment, remote.as_ref());
        let view = View::new(&self.zdev, &assignment, MAX_STORE);
        events.belongs_to(&view);
        if self.on_error == OnError::Notify {
            assignment.port().interrupts().offer_errors();
        }
        if self.io_region.unwrap_or(device.needs_io_region()) {
            // Nobody has it yet, and it has no other.
            let _ = assignment.add_region(IoRegion::new(Arc::clone(&view)));
        }
        Ok(Built { assignment, view, size, remote, injections })
    }

    /// The faults that a device is given, with those that all here are.
    fn injections_of(
        &self,
        token: &mut ThreadToken,
        assignment: &Assignment,
        remote: Option<&Arc<Remote>>,
    ) -> Arc<Injections> {
        let injections = Injections::new(&self.name, rand_seed());
        if let Some(remote) = remote {
            injections.set_back_end(Some(Arc::downgrade(remote) as _));
        }
        for rule in &self.inject {
            if let Err(error) = inject(token, &injections, assignment, *rule) {
                tracing::warn!(function = self.name, "{rule} is not injected: {error}");
            }
        }
        injections
    }

    /// What was prepared is not plugged in after all.
    pub(super) fn discard_prepared(&self) {
        let prepared = self.standing.lock().prepared.take();
        drop(prepared);
    }

    /// It is in the hardware.
    pub(super) fn is_plugged(&self, built: Built, id: PlugId) {
        let Built { assignment, view: _, size, remote, injections } = built;
        let plugged = Plugged { assignment, size, id, remote, injections };
        self.standing.lock().plugged = Some(plugged);
    }

    /// It leaves the hardware: by which number it is known there.
    pub(super) fn take_plugged(
        &self,
        token: &mut ThreadToken,
    ) -> Option<(Arc<Assignment>, PlugId, Option<Arc<Remote>>)> {
        let Plugged { assignment, id, remote, injections, size: _ } = self.standing.lock().plugged.take()?;
        injections.clear(token);
        Some((assignment, id, remote))
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

/// A function pays for what can be injected from the first rule on.
fn inject(
    token: &mut ThreadToken,
    injections: &Arc<Injections>,
    assignment: &Assignment,
    rule: Rule,
) -> Result<RuleId, AddError> {
    // False: it is attached already.
    let _ = injections.attach(assignment.function(), assignment.port());
    injections.add(token, rule)
}

/// Where the draws of a device's faults begin; `portcullis inject --rules` could not repeat them anyway.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
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

//! The start: machine, places and slots from the configuration, and every card brought up.
//!
//! Either all of it is there, or nothing is left and all complaints are returned.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::slot::{Consumer, Threads};
use ::zpci::{Description, Fid, Settings, Subscription, Uid, Zdev, Zpci};
use assign::EventSink;
use gate::{Deadline, ThreadToken};
use pci_spec::Bdf;

use super::consumer::{Client, Doorman};
use super::containment::Contained;
use super::machine::{Machine, MachineError};
use super::operations::Operations;
use super::place::{Place, complaint};
use super::slot::{Slot, Surroundings};
use super::vms::Vms;
use super::zpci::{Teller, fid_of};
use super::{TAKE_DOWN, system};
use crate::config::{ContainmentConfig, Diagnostic, Diagnostics, SlotConfig};
use crate::events::Journal;
use crate::run_dir::RunDir;

/// How long the cards may take to come up; emulated hardware is there at once.
const BRING_UP: std::time::Duration = std::time::Duration::from_secs(20);

/// What there is after the start.
pub(super) struct Started {
    pub(super) machine: Arc<Machine>,
    pub(super) contained: Arc<Contained>,
    pub(super) zpci: Arc<Zpci>,
    pub(super) listening: Subscription,
    pub(super) slots: Arc<[Slot]>,
    pub(super) vms: Arc<Vms>,
    pub(super) crew: Arc<Threads>,
}

/// See the module's head.
pub(super) fn slots(
    token: &mut ThreadToken,
    configured: Vec<SlotConfig>,
    containment: &ContainmentConfig,
    run_dir: &RunDir,
    journal: &Arc<Journal>,
) -> Result<Started, Diagnostics> {
    let addresses: Vec<Bdf> = configured.iter().map(|slot| slot.address).collect();
    let events: Arc<dyn EventSink> = Arc::clone(journal) as _;
    let machine = Arc::new(Machine::new(token, &addresses, &events).map_err(|error| unfit(&error))?);
    let vms = Arc::new(Vms::new(Arc::clone(journal)));
    let crew = Threads::new();
    let contained = Contained::new(containment, &machine, &crew, journal);
    let contained = contained.map_err(|error| system("cannot make an event", &error))?;
    let zpci = Zpci::new(Settings::default());
    let listening = zpci.listen(Teller::new(&zpci, journal));
    let surroundings = Surroundings {
        machine: Arc::clone(&machine),
        zpci: Arc::clone(&zpci),
        journal: Arc::clone(journal),
        crew: Arc::clone(&crew) as _,
    };
    let mut complaints = Vec::new();
    let mut slots = Vec::new();
    for group in groups(configured) {
        match make(token, &group, run_dir, &surroundings, &vms, &contained) {
            Ok(slot) => slots.push((slot, group)),
            Err(more) => complaints.extend(more),
        }
    }
    if complaints.is_empty() {
        complaints = bring_up(token, &slots);
    }
    let slots: Arc<[Slot]> = slots.into_iter().map(|(slot, _)| slot).collect();
    contained.belongs_to(&slots);
    if complaints.is_empty() {
        contained.follow(token);
        return Ok(Started { machine, contained, zpci, listening, slots, vms, crew });
    }
    let deadline = Deadline::after(TAKE_DOWN);
    for slot in &*slots {
        // What is left over is of a start that has failed.
        let _ = slot.end(token, deadline);
    }
    let _ = crew.stop(token, deadline);
    machine.take_down(token, deadline);
    Err(Diagnostics(complaints))
}

/// The functions of one device are one slot, in ascending order.
fn groups(configured: Vec<SlotConfig>) -> Vec<Vec<SlotConfig>> {
    let mut order = Vec::new();
    let mut groups: BTreeMap<(u16, u8, u8), Vec<SlotConfig>> = BTreeMap::new();
    for config in configured {
        let at = (config.address.segment(), config.address.bus(), config.address.device());
        if !groups.contains_key(&at) {
            order.push(at);
        }
        groups.entry(at).or_default().push(config);
    }
    let sorted = |mut group: Vec<SlotConfig>| {
        group.sort_by_key(|config| config.address);
        group
    };
    order.into_iter().filter_map(|at| groups.remove(&at)).map(sorted).collect()
}

/// Makes one slot, its sockets bound and its devices built; nothing is plugged in yet.
fn make(
    token: &mut ThreadToken,
    group: &[SlotConfig],
    run_dir: &RunDir,
    surroundings: &Surroundings,
    vms: &Arc<Vms>,
    contained: &Arc<Contained>,
) -> Result<Slot, Vec<Diagnostic>> {
    let mut complaints = Vec::new();
    let mut places = Vec::new();
    let mut doormen = Vec::new();
    for config in group {
        let doorman = Arc::new(Doorman::default());
        let place = introduce(config, &surroundings.zpci)
            .and_then(|zdev| Place::bind(config, group.len() > 1, zdev, Arc::clone(&doorman) as _, run_dir));
        match place {
            Ok(place) => {
                let place = Arc::new(place);
                match place.prepare(token, None, &surroundings.machine, &surroundings.journal) {
                    Ok(()) => {}
                    Err(error) => {
                        let position =
                            if error.backing { &config.backing_position } else { &config.position };
                        let said = complaint(config, error.message, error.fix);
                        complaints.push(Diagnostic { position: position.clone(), ..said });
                    }
                }
                places.push(place);
                doormen.push(doorman);
            }
            Err(complaint) => complaints.push(complaint),
        }
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let first = group.first().map(|config| (config.address, config.port));
    let port = first.filter(|(at, _)| surroundings.machine.port(*at).is_some() && at.device() == 0);
    let slot = Slot::new(places.into(), port.map(|(_, port)| port), surroundings);
    for (place, doorman) in slot.places.iter().zip(doormen) {
        doorman.belongs_to(&slot.controller);
        place.belongs_to(&slot.controller, contained);
        let client: Arc<dyn Consumer> = Arc::new(Client::of(Arc::clone(place), Arc::clone(vms)));
        slot.controller.add_consumer(client);
    }
    Ok(slot)
}

/// Makes the function of a place known in the s390 view.
fn introduce(config: &SlotConfig, zpci: &Zpci) -> Result<Arc<Zdev>, Diagnostic> {
    let fid = config.zpci.fid.map_or_else(|| fid_of(config.address), Fid);
    let description = Description { utility: config.name.clone(), ..Description::default() };
    let added = zpci.add(fid, Uid(config.zpci.uid), description);
    let fix = "choose another `fid` or `uid` in the `zpci` of this slot, or of the other";
    added.map_err(|error| complaint(config, error.to_string(), fix))
}

/// Brings up the cards of all slots, at the same time, and says which did not come.
fn bring_up(token: &mut ThreadToken, slots: &[(Slot, Vec<SlotConfig>)]) -> Vec<Diagnostic> {
    let deadline = Deadline::after(BRING_UP);
    let operations = Operations::default();
    let mut waited = Vec::new();
    for (slot, group) in slots {
        if group.iter().all(|config| config.device.is_none()) {
            continue;
        }
        // No slot has more than one: the list is new.
        let Some(operation) = operations.begin(slot.name(), "plug", "comes up") else { continue };
        slot.switch_on_at_start(Arc::clone(&operation));
        waited.push((operation, group));
    }
    let mut complaints = Vec::new();
    for (operation, group) in waited {
        operations.wait(&operation, token, deadline);
        let standing = operation.standing();
        if let (Some(config), true) = (group.first(), standing.finished != Some("done")) {
            let fix = "change the addresses of the slots: each device needs a function 0";
            complaints.push(complaint(config, standing.detail, fix));
        }
    }
    complaints
}

fn unfit(error: &MachineError) -> Diagnostics {
    let fix = "change the addresses of the slots: each device needs a function 0";
    Diagnostics::one(Diagnostic::new(None, error.to_string(), fix))
}

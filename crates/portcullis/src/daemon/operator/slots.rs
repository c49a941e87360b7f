//! Cards that come and go, as an operator asks for it.

use std::sync::Arc;
use std::time::Duration;

use ::slot::{DEFAULT_UNPLUG_TIMEOUT, Event, Request as SlotRequest, State};
use gate::{Deadline, ThreadToken};
use pci_spec::Bdf;

use super::DaemonOperator;
use super::operations::too_many;
use crate::config::{BackingConfig, Config, DeviceConfig, Diagnostics};
use crate::control::protocol::{Card, Refusal, RefusalCode, Touch};
use crate::control::report::{OperationReport, SlotReport, SlotSummary};
use crate::daemon::operations::{Operation, Outcome};
use crate::daemon::slot_words::{state_detail, state_name};
use crate::daemon::{Place, Slot, consumer};

/// Longest time that consumers can be asked for.
const MAX_UNPLUG_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long a scan may take.
const SCAN: Duration = Duration::from_secs(10);

impl DaemonOperator {
    /// The slot with this name, or the one with a function of this name or address.
    pub(super) fn slot(&self, target: &str) -> Result<&Slot, Refusal> {
        let address: Option<Bdf> = target.parse().ok();
        let is_it = |place: &Arc<Place>| place.name == target || Some(place.address) == address;
        self.slots.iter().find(|slot| slot.places.iter().any(is_it)).ok_or_else(|| {
            let shown: String = target.chars().filter(|c| !c.is_control()).take(64).collect();
            let message = format!("there is no slot `{shown}`; `portcullis slot list` lists them");
            Refusal::new(RefusalCode::NotFound, message)
        })
    }

    pub(super) fn slot_list(&self) -> Vec<SlotSummary> {
        let places = self.slots.iter().flat_map(|slot| slot.places.iter().map(move |place| (slot, place)));
        places.map(|(slot, place)| self.summary_of(slot, place)).collect()
    }

    fn summary_of(&self, slot: &Slot, place: &Place) -> SlotSummary {
        let device = place.device();
        let (backing, path) = match &device {
            Some(DeviceConfig::Nvme { backing: BackingConfig::Memory { .. }, .. }) => ("memory", None),
            Some(DeviceConfig::Nvme { backing: BackingConfig::File { path, .. }, .. }) => {
                // For a reader who stands in another directory than the daemon.
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                ("file", Some(path.display().to_string()))
            }
            Some(DeviceConfig::Remote { remote }) => ("remote", Some(remote.upstream.display().to_string())),
            Some(DeviceConfig::EndpointTest { .. } | DeviceConfig::Ism { .. }) | None => ("none", None),
        };
        SlotSummary {
            slot: place.name.clone(),
            address: place.address.to_string(),
            state: state_name(slot.controller.report().state).to_owned(),
            model: place.model().to_owned(),
            backing: backing.to_owned(),
            path,
            size: place.size(),
            consumer: consumer::describe(place, &self.vms),
            socket: place.socket.display().to_string(),
        }
    }

    pub(super) fn slot_report(&self, slot: &Slot) -> SlotReport {
        let report = slot.controller.report();
        let (power_lamp, attention_lamp) = slot.port.lamps();
        let mut consumers: Vec<String> = Vec::new();
        for place in &*slot.places {
            let user = consumer::describe(place, &self.vms);
            if !user.is_empty() {
                consumers.push(format!("{}: {user}", place.name));
            }
        }
        consumers
            .extend(report.drivers.iter().map(|(driver, function)| format!("{function}: driver {driver}")));
        let of_slot = |operation: &Arc<Operation>| operation.slot == slot.name() && !operation.has_ended();
        let operations = self.operations.all();
        SlotReport {
            slot: slot.name().to_owned(),
            state: state_name(report.state).to_owned(),
            detail: state_detail(&report, slot.controller.now()),
            card: report.sight.card,
            link: report.sight.link,
            latch_open: report.features.latch.then_some(report.sight.latch_open),
            attention_button: report.features.attention_button,
            power_fault: report.sight.power_fault,
            power_lamp: power_lamp.to_owned(),
            attention_lamp: attention_lamp.to_owned(),
            functions: slot.places.iter().map(|place| self.summary_of(slot, place)).collect(),
            consumers,
            tombstones: slot.places.iter().map(|place| place.server.tombstones().len()).sum(),
            operations: operations
                .iter()
                .filter(|it| of_slot(it))
                .map(|it| self.operation_report(it))
                .collect(),
            abandoned: report.left_behind.len(),
        }
    }

    /// Puts a card into an empty slot.
    pub(super) fn plug(
        &self,
        token: &mut ThreadToken,
        slot: &Slot,
        card: Option<Card>,
    ) -> Result<OperationReport, Refusal> {
        let Some(mut plug_in) = slot.plug_in() else {
            let message = "somebody puts a card into the slot, or takes one out, right now; try again";
            return Err(Refusal::new(RefusalCode::Busy, message));
        };
        let report = slot.controller.report();
        if report.sight.card || report.state != State::Off {
            let name = slot.name();
            let message = if !report.sight.card {
                format!("the slot is not off yet ({}); try again then", slot.does())
            } else if report.state == State::Off {
                format!(
                    "a card is in the slot; `portcullis slot power {name} on` brings it up, `portcullis unplug {name}` \
                     takes it out"
                )
            } else {
                format!("a card is in the slot ({}); `portcullis unplug {name}` takes it out", slot.does())
            };
            return Err(Refusal::new(RefusalCode::Busy, message));
        }
        let card = card.map(|card| Config::parse_card(&card.base, &card.device, card.backing.as_deref()));
        let card =
            card.transpose().map_err(|error| Refusal::new(RefusalCode::BadRequest, on_one_line(&error)))?;
        if card.is_some() && slot.places.len() > 1 {
            let message =
                "the card of this slot has several functions; what they are is in the configuration file";
            return Err(Refusal::new(RefusalCode::Failed, message));
        }
        if card.is_none() && slot.places.iter().all(|place| place.device().is_none()) {
            let message = "there never was a card in this slot; say what to plug in with --device";
            return Err(Refusal::new(RefusalCode::Failed, message));
        }
        let built = plug_in.build(token, card.as_ref(), &self.machine, &self.journal);
        built.map_err(|why| Refusal::new(RefusalCode::Failed, why))?;
        let operation = self.begin(slot.name(), "plug")?;
        plug_in.put_in(Arc::clone(&operation));
        Ok(self.operation_report(&operation))
    }

    /// Takes the card out, by the ladder if it is in use.
    pub(super) fn unplug(&self, slot: &Slot, timeout_ms: Option<u64>) -> Result<OperationReport, Refusal> {
        let report = slot.controller.report();
        if report.state == State::Off && !report.sight.card {
            return Err(Refusal::new(RefusalCode::Busy, "there is no card in the slot"));
        }
        if report.state == State::Off {
            let operation = self.begin(slot.name(), "unplug")?;
            let outcome = Outcome::new("done", "it had no power; the card is out");
            slot.take_out(Some((Arc::clone(&operation), outcome)));
            return Ok(self.operation_report(&operation));
        }
        let timeout = self.patience(slot, timeout_ms)?;
        let operation = self.begin(slot.name(), "unplug")?;
        slot.ask(SlotRequest::Disable { timeout }, Arc::clone(&operation), true);
        Ok(self.operation_report(&operation))
    }

    pub(super) fn switch(
        &self,
        slot: &Slot,
        on: bool,
        timeout_ms: Option<u64>,
    ) -> Result<OperationReport, Refusal> {
        let (request, what) = if on {
            (SlotRequest::Enable, "power on")
        } else {
            (SlotRequest::Disable { timeout: self.patience(slot, timeout_ms)? }, "power off")
        };
        let operation = self.begin(slot.name(), what)?;
        slot.ask(request, Arc::clone(&operation), false);
        Ok(self.operation_report(&operation))
    }

    /// How long the consumers of a slot are asked. Those of a virtual machine that would not survive it are not.
    fn patience(&self, slot: &Slot, timeout_ms: Option<u64>) -> Result<Duration, Refusal> {
        let timeout = timeout_ms.map_or(DEFAULT_UNPLUG_TIMEOUT, Duration::from_millis);
        let in_vm = slot.places.iter().find(|place| self.vms.must_not_delete(place));
        match in_vm {
            Some(place) if !timeout.is_zero() => Err(refuse_msix(place)),
            _ => Ok(timeout.min(MAX_UNPLUG_TIMEOUT)),
        }
    }

    pub(super) fn cancel(&self, slot: &Slot) -> Result<OperationReport, Refusal> {
        let operation = self.operations.begin_to_cancel(slot.name()).ok_or_else(too_many)?;
        slot.ask(SlotRequest::Cancel, Arc::clone(&operation), false);
        Ok(self.operation_report(&operation))
    }

    /// What is done to a slot by hand.
    pub(super) fn touch(&self, slot: &Slot, touch: Touch) -> Result<SlotReport, Refusal> {
        let lacks = |what: &str, key: &str| {
            let message = format!("the slot has no {what}; {key} = true in its [[slot]] gives it one");
            Refusal::new(RefusalCode::Failed, message)
        };
        let event = match touch {
            Touch::Button if !slot.features.attention_button => {
                return Err(lacks("attention button", "attention_button"));
            }
            Touch::OpenLatch | Touch::CloseLatch if !slot.features.latch => {
                return Err(lacks("latch", "latch"));
            }
            Touch::Eject if slot.take_out(None) => return Ok(self.slot_report(slot)),
            Touch::Eject => return Err(Refusal::new(RefusalCode::Busy, "there is no card in the slot")),
            Touch::Button => Event::Button,
            Touch::OpenLatch => Event::Latch(true),
            Touch::CloseLatch => Event::Latch(false),
        };
        slot.controller.post(event);
        Ok(self.slot_report(slot))
    }

    /// Looks at everything, and brings up the cards of slots that are off and wait for nobody.
    pub(super) fn rescan(&self, token: &mut ThreadToken) -> Result<Vec<OperationReport>, Refusal> {
        let scanned = self.machine.rescan(token, Deadline::after(SCAN));
        scanned.map_err(|error| Refusal::new(RefusalCode::Failed, error.to_string()))?;
        let mut begun = Vec::new();
        for slot in &*self.slots {
            let report = slot.controller.report();
            if report.state == State::Off && report.sight.card && !report.features.attention_button {
                begun.push(self.switch(slot, true, None)?);
            }
        }
        Ok(begun)
    }
}

/// Complaints without their places: what is wrong is on the operator's own command line.
fn on_one_line(complaints: &Diagnostics) -> String {
    let words = complaints.0.iter().map(|complaint| format!("{}; fix: {}", complaint.message, complaint.fix));
    words.collect::<Vec<_>>().join("; ")
}

/// Why a function is not unplugged from a virtual machine.
pub(super) fn refuse_msix(place: &Place) -> Refusal {
    let name = &place.name;
    let message = format!(
        "{name} is in a virtual machine and has MSI-X: QEMU aborts when such a vfio-user device is removed; --force takes \
         it from the guest without removing it there, and a device with interrupts = \"msi\" can be removed"
    );
    Refusal::new(RefusalCode::Busy, message)
}

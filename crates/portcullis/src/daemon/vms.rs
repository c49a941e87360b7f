//! The virtual machines that operators have made known, and which of our functions are in them.
//!
//! A function is plugged and unplugged by the machine's monitor, on a thread of its own that ends by its deadline, or when the
//! daemon does. A guest that does not let go in time loses the function: that is the slot's affair, by the ladder of every unplug.
//!
//! MSI-X: QEMU 11.1.3 aborts when a vfio-user device with MSI-X is deleted (its table and pending bits are still part of the
//! BAR then). So such a device is never deleted by us.
//!
//! Lock: `vms` (rank 67, a leaf): a list that is looked through and let go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gate::lock::Leaf;
use gate::{Canceller, Deadline, ThreadToken};
use qmp::{Device, DeviceId, Pace, Step, UnplugError, Vm};

use super::operations::{Operation, Outcome};
use super::place::Place;
use crate::control::stream::Severity;
use crate::events::Journal;
use crate::events::kinds::vm as kinds;
use crate::ranks;

/// Most virtual machines that are known at a time.
const MAX_VMS: usize = 256;
/// How long a machine's monitor may take to say how it is.
const LOOK: Duration = Duration::from_secs(2);
/// How long all monitors together may take for a list.
const LIST: Duration = Duration::from_secs(10);
/// How long QEMU may take to close the connection of a device that is gone, and how often that is looked for.
const FAREWELL: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long a machine may take to take a device: it exchanges some messages with us first.
const PLUG: Duration = Duration::from_secs(30);

/// See the module's head.
pub(super) struct Vms {
    /// Rank: 67, vms; a leaf. Names and what belongs to them change together.
    known: Leaf<ranks::Vms, BTreeMap<String, Known>>,
    /// Rank: 68, vm jobs; a leaf. Who is to be told that the daemon ends.
    jobs: Leaf<ranks::VmJobs, Jobs>,
    journal: Arc<Journal>,
}

struct Known {
    vm: Arc<Vm>,
    /// By the name of the place.
    devices: BTreeMap<String, Inside>,
}

/// A function of ours in a machine: QEMU has its device until it is deleted there, whatever became of the function.
#[derive(Clone)]
struct Inside {
    id: DeviceId,
    /// QEMU would not survive it if the device was deleted.
    msix: bool,
}

#[derive(Default)]
struct Jobs {
    ending: bool,
    running: BTreeMap<u64, Canceller>,
}

/// Why a virtual machine is not made known, or not found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum VmError {
    #[error("there is a virtual machine `{0}` already; `portcullis vm remove {0}` forgets it")]
    NameTaken(String),
    #[error("a name has 1 to 32 letters, digits, `-` and `_`")]
    BadName,
    #[error("{MAX_VMS} virtual machines are known already")]
    TooMany,
    #[error("there is no virtual machine `{0}`; `portcullis vm list` lists them")]
    Unknown(String),
}

/// A virtual machine, as it was found.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) qmp: PathBuf,
    pub(super) state: String,
    pub(super) places: Vec<String>,
}

impl Vms {
    pub(super) fn new(journal: Arc<Journal>) -> Vms {
        Vms { known: Leaf::default(), jobs: Leaf::default(), journal }
    }

    /// Makes a machine known. What we plugged into it before, also before a restart, is recognised.
    pub(super) fn add(
        &self,
        token: &mut ThreadToken,
        name: &str,
        qmp: PathBuf,
        places: &[Arc<Place>],
    ) -> Result<(), VmError> {
        let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(sound) {
            return Err(VmError::BadName);
        }
        let vm = Arc::new(Vm::new(name, qmp));
        let there = vm.devices(token, Deadline::after(LOOK)).unwrap_or_default();
        let ours = there.into_iter().filter(|device| device.over_vfio_user);
        let recognised = |device: qmp::Plugged| {
            let place = places.iter().find(|place| Some(&*place.name) == device.id.slot())?;
            Some((place.name.clone(), Inside { id: device.id, msix: has_msix(place) }))
        };
        let devices = ours.filter_map(recognised).collect();
        let mut known = self.known.lock();
        if known.contains_key(name) {
            return Err(VmError::NameTaken(name.to_owned()));
        }
        if known.len() >= MAX_VMS {
            return Err(VmError::TooMany);
        }
        known.insert(name.to_owned(), Known { vm, devices });
        drop(known);
        self.journal.vm(name, kinds::ADDED, Severity::Info, String::from("it was made known"));
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), VmError> {
        let removed = self.known.lock().remove(name);
        removed.map(drop).ok_or_else(|| VmError::Unknown(name.to_owned()))?;
        self.journal.vm(name, kinds::FORGOTTEN, Severity::Info, String::from("it was forgotten"));
        Ok(())
    }

    /// All machines, with what their monitors say of them now.
    pub(super) fn list(&self, token: &mut ThreadToken) -> Vec<Found> {
        let known: Vec<_> = {
            let known = self.known.lock();
            known
                .values()
                .map(|known| (Arc::clone(&known.vm), known.devices.keys().cloned().collect()))
                .collect()
        };
        // However many are dead, the list is there in time.
        let all = Deadline::after(LIST);
        let each = LOOK / 4;
        let look = |(vm, places): (Arc<Vm>, Vec<String>)| {
            let state = vm.status(token, Deadline::after(each).min(all));
            Found {
                name: vm.name().to_owned(),
                qmp: vm.qmp().to_owned(),
                state: state.map_or_else(|_| String::from("unreachable"), |status| status.state),
                places,
            }
        };
        known.into_iter().map(look).collect()
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<Vm>, VmError> {
        let known = self.known.lock();
        known.get(name).map(|known| Arc::clone(&known.vm)).ok_or_else(|| VmError::Unknown(name.to_owned()))
    }

    /// The machine that a place's function was plugged into, by name.
    pub(super) fn of(&self, place: &Place) -> Option<String> {
        Some(self.holder(place)?.0.name().to_owned())
    }

    /// As [`Vms::of`], and asked of the machine: a guest that a slot's own unplug has asked lets go without a word to us.
    pub(super) fn still_in(&self, token: &mut ThreadToken, place: &Place) -> Option<String> {
        let (vm, inside) = self.holder(place)?;
        let lost = match vm.is_plugged(token, &inside.id, Deadline::after(LOOK)) {
            Ok(there) => !there,
            Err(error) => error.is_absence(),
        };
        if lost {
            self.has_lost(place);
        }
        (!lost).then(|| vm.name().to_owned())
    }

    fn holder(&self, place: &Place) -> Option<(Arc<Vm>, Inside)> {
        let known = self.known.lock();
        known
            .values()
            .find_map(|known| Some((Arc::clone(&known.vm), known.devices.get(&place.name)?.clone())))
    }

    /// Whether QEMU would abort if what it has of a place was deleted.
    pub(super) fn must_not_delete(&self, place: &Place) -> bool {
        self.holder(place).is_some_and(|(_, inside)| inside.msix)
    }

    fn has(&self, vm: &str, place: &str, inside: Inside) {
        if let Some(known) = self.known.lock().get_mut(vm) {
            known.devices.insert(place.to_owned(), inside);
        }
    }

    /// No machine has a place's function any more.
    pub(super) fn has_lost(&self, place: &Place) {
        for known in self.known.lock().values_mut() {
            known.devices.remove(&place.name);
        }
    }

    /// Asks the guest once to let a place's function go, if it is in a machine and may be deleted there.
    pub(super) fn ask(&self, token: &mut ThreadToken, place: &Place) {
        let Some((vm, inside)) = self.holder(place).filter(|(_, inside)| !inside.msix) else { return };
        if let Err(error) = vm.ask_to_let_go(token, &inside.id, Deadline::after(LOOK)) {
            self.journal.vm(
                vm.name(),
                kinds::UNREACHABLE,
                Severity::Warning,
                format!("{}: {error}", place.name),
            );
        }
    }

    /// Plugs a place's function into a machine; `operation` ends with it.
    pub(super) fn attach(
        self: &Arc<Self>,
        place: &Arc<Place>,
        vm: Arc<Vm>,
        bus: Option<String>,
        operation: Arc<Operation>,
    ) {
        let (vms, place) = (Arc::clone(self), Arc::clone(place));
        let job = {
            let operation = Arc::clone(&operation);
            move |token: &mut ThreadToken| {
                let outcome = vms.plug(token, &place, &vm, bus.as_deref());
                operation.end(outcome);
            }
        };
        self.start("vm-attach", operation, job);
    }

    fn plug(&self, token: &mut ThreadToken, place: &Place, vm: &Vm, bus: Option<&str>) -> Outcome {
        let Ok(id) = DeviceId::of_slot(&place.name) else {
            return Outcome::new("failed", "the slot's name cannot be an id in QEMU");
        };
        let msix = has_msix(place);
        let device = Device { id: &id, socket: &place.socket, bus };
        match vm.plug(token, &device, Deadline::after(PLUG)) {
            Ok(_) => {
                self.has(vm.name(), &place.name, Inside { id, msix });
                let text = format!("{} was plugged in", place.name);
                self.journal.vm(vm.name(), kinds::DEVICE_PLUGGED, Severity::Info, text);
                Outcome::new("done", format!("it is in {}", vm.name()))
            }
            Err(error) => {
                let text = format!("{} was not plugged in: {error}", place.name);
                self.journal.vm(vm.name(), kinds::DEVICE_NOT_PLUGGED, Severity::Warning, text);
                Outcome::new("failed", error.to_string())
            }
        }
    }

    /// Has the guest let a place's function go until `timeout`; `operation` ends with it, unless time is up: then `escalate`
    /// takes it over.
    pub(super) fn detach(
        self: &Arc<Self>,
        place: &Arc<Place>,
        timeout: Duration,
        operation: Arc<Operation>,
        escalate: impl FnOnce(Arc<Operation>) + Send + 'static,
    ) {
        let (vms, place) = (Arc::clone(self), Arc::clone(place));
        let job = {
            let operation = Arc::clone(&operation);
            move |token: &mut ThreadToken| match vms.unplug(token, &place, timeout, &operation) {
                Some(outcome) => operation.end(outcome),
                None => escalate(operation),
            }
        };
        self.start("vm-detach", operation, job);
    }

    /// `None`: time is up.
    fn unplug(
        &self,
        token: &mut ThreadToken,
        place: &Place,
        timeout: Duration,
        operation: &Operation,
    ) -> Option<Outcome> {
        let Some((vm, Inside { id, .. })) = self.holder(place) else {
            return Some(Outcome::new("done", "it is in no virtual machine"));
        };
        let mut told = |step: Step| {
            let words = step_words(&step);
            operation.does(words.as_str());
            let (kind, severity) = match step {
                Step::GuestRefused => (kinds::GUEST_REFUSED, Severity::Warning),
                _ => (kinds::DEVICE_ASKED, Severity::Info),
            };
            self.journal.vm(vm.name(), kind, severity, format!("{}: {words}", place.name));
        };
        match vm.unplug(token, &id, Pace::default(), Deadline::after(timeout), &mut told) {
            Ok(unplugged) => {
                wait_for_farewell(token, place, operation);
                self.has_lost(place);
                let text = format!("{} is out of it, after {} requests", place.name, unplugged.asked);
                self.journal.vm(vm.name(), kinds::DEVICE_UNPLUGGED, Severity::Info, text);
                Some(Outcome::new("done", format!("it is out of {}", vm.name())))
            }
            Err(error) => {
                let text = format!("{}: {error}", place.name);
                self.journal.vm(vm.name(), kinds::DEVICE_NOT_UNPLUGGED, Severity::Warning, text);
                match error {
                    // Time is up. A function that is gone already cannot be taken from anybody.
                    UnplugError::TimedOut(_) | UnplugError::Refused { .. }
                        if place.assignment().is_some() =>
                    {
                        None
                    }
                    UnplugError::Cancelled { .. } => Some(Outcome::new("cancelled", error.to_string())),
                    _ => Some(Outcome::new("failed", error.to_string())),
                }
            }
        }
    }

    /// Carries out `job` on a thread of its own, which ends early when the daemon does.
    fn start(
        self: &Arc<Self>,
        name: &str,
        operation: Arc<Operation>,
        job: impl FnOnce(&mut ThreadToken) + Send + 'static,
    ) {
        let vms = Arc::clone(self);
        let id = operation.id;
        let run = move || {
            let mut token = ThreadToken::at_thread_entry();
            let canceller = token.canceller();
            {
                let mut jobs = vms.jobs.lock();
                if jobs.ending {
                    canceller.cancel();
                }
                jobs.running.insert(id, canceller);
            }
            job(&mut token);
            let canceller = vms.jobs.lock().running.remove(&id);
            drop(canceller);
        };
        if std::thread::Builder::new().name(name.to_owned()).spawn(run).is_err() {
            operation.end(Outcome::new("failed", "the system has no thread left for it"));
        }
    }

    /// The daemon ends: whoever waits for a machine does so no longer.
    pub(super) fn end(&self) {
        let running: Vec<Canceller> = {
            let mut jobs = self.jobs.lock();
            jobs.ending = true;
            jobs.running.values().cloned().collect()
        };
        running.iter().for_each(Canceller::cancel);
    }
}

/// QEMU tells that a device is gone a moment before it closes the device's connection, and until then nobody else can attach.
/// There is nothing that tells us; so this looks now and then. The operation does not end meanwhile: to wait for that lets
/// time pass, and ends early when the daemon does.
fn wait_for_farewell(token: &mut ThreadToken, place: &Place, operation: &Operation) {
    let until = Deadline::after(FAREWELL);
    let is_connected = || place.server.client().is_some() || !place.server.tombstones().is_empty();
    while is_connected() && until.remaining().is_some() && !token.is_cancelled() {
        operation.wait_for_end(token, Deadline::after(LOOK_AGAIN).min(until));
    }
}

/// Whether the function that stands at a place has MSI-X.
fn has_msix(place: &Place) -> bool {
    let function = place.assignment().map(|assignment| Arc::clone(assignment.function()));
    function.is_some_and(|function| function.config().layout().interrupts().msix.is_some())
}

fn step_words(step: &Step) -> String {
    match step {
        Step::Asked(1) => String::from("the guest was asked to let it go"),
        Step::Asked(nth) => format!("the guest was asked to let it go, the {nth}th time"),
        Step::Pending => String::from("the guest has not answered an earlier request"),
        Step::NotNow(refusal) => format!("QEMU cannot ask the guest right now: {refusal}"),
        Step::GuestRefused => String::from("the guest said no"),
        Step::Lost => String::from("the connection to the monitor was lost"),
        Step::NotRunning(state) => format!("the machine is {state}, so no guest can answer"),
    }
}

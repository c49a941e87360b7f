//! Who uses the function of a place: the client at its socket, and the virtual machine that it was plugged into.

use std::sync::{Arc, OnceLock, Weak};

use ::slot::{Consumer, Controller, Event};
use gate::{AccessKind, Deadline, ThreadToken};
use vfio_user::server::{Visit, Visits};

use super::place::Place;
use super::vms::Vms;

/// How long telling the client may take.
const TELL: std::time::Duration = std::time::Duration::from_millis(100);

/// The consumers of one place, as the slot sees them.
pub(super) struct Client {
    place: Arc<Place>,
    vms: Arc<Vms>,
}

impl Client {
    pub(super) fn of(place: Arc<Place>, vms: Arc<Vms>) -> Client {
        Client { place, vms }
    }
}

impl Consumer for Client {
    fn describe(&self) -> String {
        format!("client of {}", self.place.name)
    }

    /// By VFIO's own way (VF-35), which some clients have, and by the monitor of its virtual machine.
    fn request(&self, token: &mut ThreadToken, _nth: u32) {
        if let Some(assignment) = self.place.server.function() {
            let handle = assignment.function().handle();
            if let Ok(pass) = handle.enter(token, AccessKind::Interrupt, Deadline::after(TELL)) {
                assignment.port().interrupts().request_release(&pass);
            }
        }
        self.vms.ask(token, &self.place);
    }

    fn revoke(&self, token: &mut ThreadToken, deadline: Deadline) -> Vec<String> {
        self.place.server.revoke(token, deadline).orphans
    }

    fn holds(&self) -> bool {
        self.place.server.holds()
    }
}

/// Tells the slot when a client lets go. Made before the slot is.
#[derive(Default)]
pub(super) struct Doorman {
    controller: OnceLock<Weak<Controller>>,
}

impl Doorman {
    pub(super) fn belongs_to(&self, controller: &Arc<Controller>) {
        // Set once: a slot is made once.
        let _ = self.controller.set(Arc::downgrade(controller));
    }
}

impl Visits for Doorman {
    fn visit(&self, visit: Visit) {
        if let (Visit::Released(_), Some(controller)) = (visit, self.controller.get().and_then(Weak::upgrade))
        {
            controller.post(Event::Released);
        }
    }
}

/// In words, who has the function of a place; empty if nobody has.
pub(super) fn describe(place: &Place, vms: &Vms) -> String {
    let Some(client) = place.server.client() else { return String::new() };
    let process = client.pid.map(|pid| format!("process {pid}")).unwrap_or_else(|| String::from("a client"));
    let vm = vms.of(place).map(|vm| format!("{vm}, ")).unwrap_or_default();
    format!("{vm}{process} for {}", age(client.since.elapsed()))
}

fn age(age: std::time::Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

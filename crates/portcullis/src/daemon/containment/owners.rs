//! Who has a function, and which slot takes it out.

use std::sync::{Arc, OnceLock, Weak};

use ::slot::Controller;
use assign::Assignment;
use contain::party::{Consumer, Nobody, Parties, Party};
use contain::plan::Policy;
use contain::platform::Slots;
use contain::tree::PeFunction;
use gate::ThreadToken;
use pci_core::Function;
use pci_spec::Bdf;

use crate::config::OnError;
use crate::daemon::Place;
use crate::daemon::slot::Slot;

/// See the module's head. There are no drivers in this process: who does not have a function through its socket does not have it.
#[derive(Default)]
pub(super) struct Owners {
    /// Set once, when they are made. They have the machine, which rings the bell of containment, which has this.
    slots: OnceLock<Weak<[Slot]>>,
}

impl Owners {
    pub(super) fn are(&self, slots: &Arc<[Slot]>) {
        // Set once: the slots are made once.
        let _ = self.slots.set(Arc::downgrade(slots));
    }

    fn slots(&self) -> Option<Arc<[Slot]>> {
        self.slots.get().and_then(Weak::upgrade)
    }

    /// All places of all slots.
    pub(super) fn places(&self) -> Vec<Arc<Place>> {
        let slots = self.slots();
        slots.iter().flat_map(|slots| slots.iter()).flat_map(|slot| slot.places.iter().cloned()).collect()
    }

    /// The name of the place at an address.
    pub(super) fn name_of(&self, at: Bdf) -> Option<String> {
        let places = self.places();
        places.iter().find(|place| place.address == at).map(|place| place.name.clone())
    }

    fn standing(&self, function: &Arc<Function>) -> Option<(Arc<Place>, Arc<Assignment>)> {
        self.places().into_iter().find_map(|place| {
            let assignment = place.assignment()?;
            Arc::ptr_eq(assignment.function(), function).then_some((place, assignment))
        })
    }
}

impl Parties for Owners {
    fn of(&self, _token: &mut ThreadToken, function: &Arc<PeFunction>) -> Arc<dyn Party> {
        let standing = self.standing(&function.function);
        let Some((place, assignment)) = standing.filter(|(_, assignment)| assignment.is_attached()) else {
            return Arc::new(Nobody);
        };
        let policy = match place.on_error {
            OnError::Restore if function.function.device().preserve().is_some() => Policy::SaveAndRestore,
            // One that cannot be told is treated as able to go on, and is as it was after the thaw.
            OnError::Restore | OnError::Notify => Policy::Notify,
            OnError::Contain => Policy::ContainUntilTold,
        };
        let (told, used, held) = (Arc::clone(&assignment), Arc::clone(&assignment), assignment);
        let consumer = Consumer::new(format!("client of {}", place.name), policy)
            .telling(Box::new(move |token, _channel| {
                // One that has not asked for it is not told.
                let _ = told.port().interrupts().signal_error(token);
            }))
            .draining(Box::new(move |token, deadline| used.port().dma().wait_for_orphans(token, deadline)))
            .holding(Box::new(move |token, on, _deadline| {
                let interrupts = held.port().interrupts();
                if on { interrupts.hold() } else { interrupts.release(token) }
            }));
        Arc::new(consumer)
    }
}

impl Slots for Owners {
    fn slot_of(&self, function: &PeFunction) -> Option<Arc<Controller>> {
        let slots = self.slots()?;
        let has = |slot: &&Slot| {
            let mut here = slot.places.iter().filter_map(|place| place.assignment());
            here.any(|assignment| Arc::ptr_eq(assignment.function(), &function.function))
        };
        slots.iter().find(has).map(|slot| Arc::clone(&slot.controller))
    }
}

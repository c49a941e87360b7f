//! Putting a card into a slot.

use std::sync::Arc;

use ::slot::Event;
use gate::ThreadToken;

use super::machine::Machine;
use super::operations::Operation;
use super::slot::Slot;
use crate::config::DeviceConfig;
use crate::events::Journal;

/// The right to put a card into a slot, which only one has at a time. Dropped without a card, nothing of it stays.
pub(super) struct PlugIn<'a> {
    slot: &'a Slot,
    /// Something was built for it, and is not put in yet.
    built: bool,
    put_in: bool,
}

impl PlugIn<'_> {
    /// `None` while somebody else puts a card in, or takes one out.
    pub(super) fn of(slot: &Slot) -> Option<PlugIn<'_>> {
        // Not made otherwise: one that is dropped gives the right back.
        slot.requests.prepares().then(|| PlugIn { slot, built: false, put_in: false })
    }

    /// Builds what is on the card; `None`: what was on the last one.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn build(
        &mut self,
        token: &mut ThreadToken,
        card: Option<&DeviceConfig>,
        machine: &Machine,
        journal: &Arc<Journal>,
    ) -> Result<(), String> {
        self.built = true;
        for place in &*self.slot.places {
            place
                .prepare(token, card, machine, journal)
                .map_err(|complaint| format!("{}: {complaint}", place.name))?;
        }
        Ok(())
    }

    /// The card is in the slot now; `operation` ends when it is up, or is not, or waits for somebody.
    pub(super) fn put_in(mut self, operation: Arc<Operation>) {
        self.put_in = true;
        let Slot { controller, features, requests, .. } = self.slot;
        requests.puts_in(operation);
        controller.post(Event::Card(true));
        if !features.power_controller {
            controller.post(Event::Link(true));
        }
    }
}

impl Drop for PlugIn<'_> {
    fn drop(&mut self) {
        if self.built && !self.put_in {
            self.slot.places.iter().for_each(|place| place.discard_prepared());
        }
        if !self.put_in {
            self.slot.requests.stays_empty();
        }
    }
}

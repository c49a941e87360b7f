//! The hot-plug slot of one function, as a user of `/sys/bus/pci/slots` knows it (ZP-09).

use super::unit::Unit;
use crate::state::Configuration;
use crate::zdev::Zdev;
use slot::Controller;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// The most functions that a card has.
const MOST: usize = 8;

/// Why there are no slots for a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a card has 1 to 8 functions, not {0}")]
pub struct CardError(pub usize);

/// The hot-plug slot of one function. Clones are the same slot.
///
/// On this platform every function has a slot, also each of those that share a card. The card has one owner, its
/// [`Controller`], so switching one of its slots switches all.
///
/// # Concurrency
/// From any thread. Nothing is kept here: states are the function's ([`Zdev`]) and the card's.
#[derive(Clone)]
pub struct HotplugSlot {
    zdev: Arc<Zdev>,
    card: Arc<Card>,
    /// A virtual function: it is no function of the card.
    is_virtual: bool,
}

/// What the slots of one card share.
struct Card {
    zdevs: Vec<Arc<Zdev>>,
    controller: Arc<Controller>,
    unit: Arc<dyn Unit>,
    /// How long consumers are asked when the platform wants a function back.
    unplug_timeout: Duration,
}

impl HotplugSlot {
    /// The slots of a card's functions, in the same order. `unplug_timeout`: how long consumers are asked to let go when the platform
    /// wants a function back ([`Availability::DeconfigureRequested`](crate::Availability::DeconfigureRequested)).
    ///
    /// # Errors
    /// [`CardError`]: no function, or more than 8.
    pub fn of_card(
        zdevs: &[Arc<Zdev>],
        controller: Arc<Controller>,
        unit: Arc<dyn Unit>,
        unplug_timeout: Duration,
    ) -> Result<Vec<HotplugSlot>, CardError> {
        if zdevs.is_empty() || zdevs.len() > MOST {
            return Err(CardError(zdevs.len()));
        }
        let card = Arc::new(Card { zdevs: zdevs.to_vec(), controller, unit, unplug_timeout });
        let slot = |zdev: &Arc<Zdev>| HotplugSlot {
            zdev: Arc::clone(zdev),
            card: Arc::clone(&card),
            is_virtual: false,
        };
        Ok(zdevs.iter().map(slot).collect())
    }

    /// For a virtual function of this one: it is recovered, reset and reported like any other, and has no power of its own.
    #[must_use]
    pub fn of_virtual(&self, zdev: Arc<Zdev>) -> HotplugSlot {
        HotplugSlot { zdev, card: Arc::clone(&self.card), is_virtual: true }
    }

    /// Eight hexadecimal digits: the function's identifier.
    #[must_use]
    pub fn name(&self) -> String {
        self.zdev.fid().to_string()
    }

    /// `power`: whether the function is configured.
    #[must_use]
    pub fn power_status(&self) -> bool {
        self.zdev.configuration() == Configuration::Configured
    }

    /// `adapter`: there is always one. A slot of this platform exists because of its function.
    #[must_use]
    pub fn adapter_status(&self) -> bool {
        true
    }

    /// The function.
    #[must_use]
    pub fn zdev(&self) -> &Arc<Zdev> {
        &self.zdev
    }

    /// The owner of the card.
    #[must_use]
    pub fn controller(&self) -> &Arc<Controller> {
        &self.card.controller
    }

    pub(super) fn unit(&self) -> &dyn Unit {
        &*self.card.unit
    }

    pub(super) fn is_virtual(&self) -> bool {
        self.is_virtual
    }

    /// Of all functions of the card.
    pub(super) fn card(&self) -> &[Arc<Zdev>] {
        &self.card.zdevs
    }

    pub(super) fn unplug_timeout(&self) -> Duration {
        self.card.unplug_timeout
    }
}

impl std::fmt::Debug for HotplugSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HotplugSlot({})", self.name())
    }
}

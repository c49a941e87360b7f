//! The reset of everything below a bridge, and the wait until it may be touched again.
//!
//! PCIe 6.0 s7.5.1.3.13 *Bridge Control Register*, s6.6.1 *Conventional Reset*.

use crate::facts::Facts;
use crate::hold::Hold;
use crate::link::Link;
use crate::ready::Bus;
use pci_spec::bridge::{BRIDGE_CONTROL, BridgeControl};
use pci_spec::capability::express;
use pci_spec::capability::express::port::{SlotControl, SlotStatus};
use pci_spec::{Bdf, delay};
use power::ready::{LinkKind, NotReady, wait_for_secondary_bus};
use std::time::Duration;

/// How long the reset stays asserted: twice what the specification asks for (RST-09).
const ASSERTED: Duration = delay::SECONDARY_BUS_RESET_ASSERTED.saturating_mul(2);
const ASSERT: u16 = BridgeControl::SECONDARY_BUS_RESET.bits();

/// How long the reset of a bus is held, and how long all that is on it is left alone before it is looked at; beside what
/// the specification asks for, of which nothing is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusTimes {
    /// How long it stays asserted, 2 ms at least.
    pub hold: Duration,
    /// How long nothing is looked at afterwards.
    pub settle: Duration,
}

/// A bus to reset: the bridge above it and the functions right on it.
#[derive(Clone, Copy)]
pub(crate) struct Secondary<'a> {
    pub(crate) bridge: Bdf,
    pub(crate) facts: &'a Facts,
    pub(crate) children: &'a [Bdf],
    /// What messages call it.
    pub(crate) after: &'static str,
    pub(crate) times: BusTimes,
}

impl Secondary<'_> {
    /// Resets the bus and waits until all that is on it answers (RST-09). Functions that are removed meanwhile are
    /// not waited for.
    ///
    /// # Errors
    /// [`NotReady`]: the link did not come up or a function did not answer in time; or the bridge was removed.
    pub(crate) fn reset(&self, hold: &mut dyn Hold) -> Result<(), NotReady> {
        self.reset_and(hold, |_| {})
    }

    /// As [`Secondary::reset`], with something done while the reset is asserted.
    ///
    /// # Errors
    /// As [`Secondary::reset`].
    pub(crate) fn reset_and(
        &self,
        hold: &mut dyn Hold,
        during: impl FnOnce(&mut dyn Hold),
    ) -> Result<(), NotReady> {
        let control = hold.read_word(self.bridge, BRIDGE_CONTROL);
        hold.write_word(self.bridge, BRIDGE_CONTROL, control | ASSERT);
        during(hold);
        let asserted = hold.pass(self.bridge, self.times.hold.max(ASSERTED));
        // On every exit: a bus that stays in reset is lost to everybody on it. To a removed bridge this goes nowhere.
        hold.write_word(self.bridge, BRIDGE_CONTROL, control & !ASSERT);
        asserted?;
        if !self.times.settle.is_zero() {
            hold.pass(self.bridge, self.times.settle)?;
        }
        self.wait(hold)
    }

    /// Resets the bus below a hot-plug slot: the slot shall not take the link that goes down, or the card that seems
    /// to have gone, for a removal (HP-16).
    ///
    /// # Errors
    /// As [`Secondary::reset`].
    pub(crate) fn reset_slot(&self, hold: &mut dyn Hold) -> Result<(), NotReady> {
        self.reset_slot_and(hold, |_| {})
    }

    /// As [`Secondary::reset_slot`], with something done while the reset is asserted.
    ///
    /// # Errors
    /// As [`Secondary::reset`].
    pub(crate) fn reset_slot_and(
        &self,
        hold: &mut dyn Hold,
        during: impl FnOnce(&mut dyn Hold),
    ) -> Result<(), NotReady> {
        let Some(express) = self.facts.express() else { return self.reset_and(hold, during) };
        let told = SlotControl::PRESENCE_ENABLE | SlotControl::LINK_STATE_ENABLE;
        let noted = SlotStatus::PRESENCE_CHANGED | SlotStatus::LINK_STATE_CHANGED;
        let control = express + express::SLOT_CONTROL;
        let before = hold.read_word(self.bridge, control);
        hold.write_word(self.bridge, control, before & !told.bits());
        let reset = self.reset_and(hold, during);
        hold.write_word(self.bridge, express + express::SLOT_STATUS, noted.bits());
        hold.write_word(self.bridge, control, before);
        reset
    }

    /// Waits until what is right below the bridge may be touched (PWR-08).
    ///
    /// # Errors
    /// As [`Secondary::reset`].
    pub(crate) fn wait(&self, hold: &mut dyn Hold) -> Result<(), NotReady> {
        if self.children.is_empty() {
            return Ok(());
        }
        let link = Link::below(hold, self.bridge, self.facts);
        let kind = match link {
            Some(link) => link.kind(),
            // Inside a switch there is no link to look at.
            None if self.facts.express().is_some() => LinkKind::Slow { reports_active: false },
            None => LinkKind::Conventional,
        };
        let Secondary { bridge, children, .. } = *self;
        let mut bus = Bus { hold, bridge, children, link };
        wait_for_secondary_bus(&mut bus, kind, delay::CONVENTIONAL_RESET, true, self.after)
    }
}

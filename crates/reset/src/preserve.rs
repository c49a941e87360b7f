//! Keeps over D3 what is kept over a reset.
//!
//! A function without `No_Soft_Reset` loses its state on the way from D3hot to D0, and every function does in D3cold
//! (PWR-05). Power changes save and restore the header by themselves; with [`Preserved`] they do it for all of RST-18.

use crate::facts::Facts;
use crate::hold::{Hold, Reader};
use crate::method::Method;
use crate::ranks;
use crate::saved::SavedState;
use gate::lock::Lock;
use gate::{Epoch, Gone, Quiesced};
use pci_core::{Errno, Function, FunctionEvent, PowerDelays, ResetKind, ResetStep, Width};
use pci_spec::Bdf;
use power::Preserve;
use std::collections::BTreeMap;
use std::time::Duration;

/// Saves and restores the state of functions for [`power::Power::preserving`].
#[derive(Debug, Default)]
pub struct Preserved {
    /// By the function's name, with the epoch that it is of: the next device in the same place gets nothing of this one
    /// (law 5). Rank 47. An insertion or a removal for each power change; no atomic, as the map grows.
    states: Lock<ranks::Preserved, BTreeMap<String, (Epoch, Kept)>>,
}

/// What was saved, and what it takes to restore it.
#[derive(Debug)]
struct Kept {
    facts: Facts,
    state: SavedState,
}

/// The [`Hold`] has one function, whatever its address.
const HERE: Bdf = Bdf::from_routing_id(0, 0);

impl Preserve for Preserved {
    fn save(&self, function: &Function, quiesced: &Quiesced<'_>) {
        let mut under = Under { function, quiesced };
        let Some(facts) = Facts::read(&mut under, HERE) else { return };
        let state = SavedState::save(&mut under, HERE, &facts);
        let kept = (function.handle().epoch(), Kept { facts, state });
        let _old = self.states.lock_inside(quiesced).insert(function.name().to_owned(), kept);
    }

    fn restore(&self, function: &Function, quiesced: &Quiesced<'_>) {
        let kept = self.states.lock_inside(quiesced).remove(function.name());
        let Some((_, kept)) = kept.filter(|(epoch, _)| *epoch == function.handle().epoch()) else { return };
        let mut under = Under { function, quiesced };
        // A function that does not answer has nothing to restore; the power change reports that it does not.
        if crate::ready::answers(&mut under, HERE)
            && kept.state.restore(&mut under, HERE, &kept.facts).is_ok()
        {
            let _told = kept.state.verify(&mut under, HERE);
        }
    }
}

/// One function under its proof. No time passes: whoever changes the power has waited before.
struct Under<'q, 't> {
    function: &'q Function,
    quiesced: &'q Quiesced<'t>,
}

impl Reader for Under<'_, '_> {
    fn read(&mut self, _: Bdf, register: u16, width: Width) -> u32 {
        self.function.config_read(self.quiesced, register, width).unwrap_or(width.all_ones())
    }
}

impl Hold for Under<'_, '_> {
    fn write(&mut self, _: Bdf, register: u16, width: Width, value: u32) {
        // A write that nobody took is lost, as on the bus.
        let _effects = self.function.config_write_quiesced(self.quiesced, register, width, value);
    }

    fn pass(&mut self, _: Bdf, _: Duration) -> Result<(), Gone> {
        if self.is_gone(HERE) { Err(Gone) } else { Ok(()) }
    }

    fn is_gone(&self, _: Bdf) -> bool {
        self.function.handle().is_gone()
    }

    fn delays(&self, _: Bdf) -> PowerDelays {
        self.function.power_delays()
    }

    fn take_bridge(&mut self, _: Bdf) -> Option<Bdf> {
        None
    }

    fn run(&mut self, _: Bdf, _: Method) -> Result<Duration, Errno> {
        Err(Errno::ENOTTY)
    }

    fn reset_emulated(&mut self, _: Bdf, _: ResetKind) {}

    fn tell(&mut self, _: Bdf, step: ResetStep) {
        self.function.tell(&FunctionEvent::ResetStep(step));
    }
}

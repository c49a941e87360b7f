//! Virtual functions as the platform knows them: each has an identifier for as long as it is there.

use super::{S390, fid_of};
use crate::machine::function_at;
use crate::world::World;
use gate::ThreadToken;
use pci_core::Function;
use std::sync::Arc;
use zpci::hotplug::HotplugSlot;
use zpci::{Fid, Uid, View};

/// Identifiers of virtual functions come after those of a slot's places.
const FIRST: u8 = 0x10;

/// One that is there.
#[derive(Clone)]
pub(crate) struct Virtual {
    pub(super) slot: usize,
    pub(super) hotplug: HotplugSlot,
    pub(super) view: Arc<View>,
}

impl S390 {
    /// Brings the identifiers of a slot's virtual functions in line with what is in the topology: what has gone goes first.
    pub(crate) fn follow(&self, world: &World, token: &mut ThreadToken, slot: usize) {
        let snapshot = world.machine.snapshot(token);
        let shown = snapshot.virtual_functions(function_at(slot, 0));
        let is_shown =
            |function: &Arc<Function>| shown.iter().any(|node| Arc::ptr_eq(&node.function, function));
        let gone: Vec<Virtual> = self.virtual_functions.with(|all| {
            let ours = all.iter().filter(|known| known.slot == slot);
            ours.filter(|known| !is_shown(known.view.function())).cloned().collect()
        });
        for known in gone {
            self.remove(token, &known);
        }
        for (nth, node) in (1..).zip(&shown) {
            let known = self
                .virtual_functions
                .with(|all| all.iter().any(|known| Arc::ptr_eq(known.view.function(), &node.function)));
            if !known {
                self.add(token, slot, nth, &node.function);
            }
        }
    }

    fn add(&self, token: &mut ThreadToken, slot: usize, nth: u8, function: &Arc<Function>) {
        let Some(physical) = self.slot(slot, 0) else { return };
        let fid = fid_of(slot, FIRST + nth);
        let uid = if physical.zdev().uid().is_given() { uid(fid) } else { Uid::NONE };
        let Ok(zdev) = self.zpci.add_virtual(physical.zdev(), u16::from(nth), fid, uid) else { return };
        let view = View::of_function(&zdev, function.clone(), self.max_store);
        zdev.bring_in(token, view.clone());
        let known = Virtual { slot, hotplug: physical.of_virtual(zdev), view };
        self.virtual_functions.with(|all| all.push(known));
    }

    fn remove(&self, token: &mut ThreadToken, known: &Virtual) {
        let fid = known.view.fid();
        let kept = self.virtual_functions.with(|all| {
            let at = all.iter().position(|other| Arc::ptr_eq(&other.view, &known.view));
            at.map(|at| all.swap_remove(at))
        });
        drop(kept);
        let removed = self.zpci.remove(token, fid);
        drop(removed);
        self.keep(known.view.clone());
    }
}

/// What a user calls a function.
pub(super) fn uid(fid: Fid) -> Uid {
    Uid(u16::try_from(fid.0 + 1).unwrap_or(0))
}

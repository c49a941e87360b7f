//! Moments at which nobody does anything: everything ends, every card is pulled, and what is left is counted.

use crate::actions;
use crate::invariants::Invariant;
use crate::machine::port_at;
use crate::wire::MEMORY;
use crate::world::World;
use gate::ThreadToken;
use pci_core::DeviceState;
use slot::{Event, Lamp, Request, State};
use std::fs;
use std::time::Duration;

/// Steps that it may take until nothing is due any more.
const PATIENCE: usize = 20_000;

impl World {
    /// Brings everything to rest, checks that nothing is left over, and lets everybody go on.
    pub(crate) fn come_to_rest(&self, token: &mut ThreadToken) {
        self.trace(|| "everybody stops".into());
        self.calm.set(true);
        self.settle(token);
        self.check_configurations();
        // Nobody clings to anything any more.
        let (holds, stale) = self
            .tenancy
            .with(|tenancy| (std::mem::take(&mut tenancy.holds), std::mem::take(&mut tenancy.stale)));
        drop((holds, stale));
        for slot in 0..self.bays.len() {
            actions::set_power(self, token, port_at(slot), DeviceState::D0);
            self.guests[slot].leave(token);
            actions::ask(self, slot, Request::Disable { timeout: Duration::ZERO });
        }
        self.settle(token);
        self.check_configurations();
        for slot in 0..self.bays.len() {
            let pulled = actions::pull_card(self, slot);
            if !pulled && self.s390.is_some() {
                // The platform may have told of a card that is not there.
                self.bays[slot].controller().post(Event::Card(false));
            }
        }
        self.settle(token);
        for slot in 0..self.bays.len() {
            self.guests[slot].leave(token);
        }
        self.settle(token);
        let stale = self.tenancy.with(|tenancy| std::mem::take(&mut tenancy.stale));
        drop(stale);
        if let Some(s390) = &self.s390 {
            s390.forget();
        }
        if !self.is_violated() {
            self.check_rest(token);
        }
        self.calm.set(false);
        self.trace(|| "everybody goes on".into());
    }

    /// Lets time pass until nothing is due any more.
    fn settle(&self, token: &mut ThreadToken) {
        for _ in 0..PATIENCE {
            if self.is_violated() || !self.one_thing(token) {
                return;
            }
            self.check(token);
        }
        self.violated(Invariant::ComesToRest, None, format!("something is due after {PATIENCE} steps"));
    }

    fn check_rest(&self, token: &mut ThreadToken) {
        for bay in &self.bays {
            let lamp = bay.physical.with(|physical| physical.power_lamp);
            if lamp.is_some_and(|lamp| lamp != Lamp::Off) {
                self.violated(Invariant::Lamps, Some(bay.index), format!("shows {lamp:?} at rest"));
            }
            let report = bay.controller().report();
            let rest = (report.state, report.functions.len(), report.drivers.len(), report.left_behind.len());
            if rest != (State::Off, 0, 0, 0) || report.calling.is_some() {
                let detail = format!("at rest it is {report:?}");
                self.violated(Invariant::ComesToRest, Some(bay.index), detail);
            }
        }
        let open = self.ledger.with(|ledger| ledger.open());
        if open > 0 {
            self.violated(Invariant::EndsOnce, None, format!("{open} operations never end"));
        }
        let bound = self.ledger.with(|ledger| ledger.bound);
        if bound > 0 {
            self.violated(Invariant::LastCall, None, format!("{bound} drivers had no last call"));
        }
        let shown = self.machine.snapshot(token).len();
        if shown != self.bays.len() {
            self.violated(Invariant::VisibleLast, None, format!("{shown} functions are in the topology"));
        }
        self.check_platform_at_rest(token);
        let devices = self.machine.census().live();
        if devices > 0 {
            self.violated(Invariant::NothingLeft, None, format!("{devices} devices are left"));
        }
        let holders = gate::waits::snapshot();
        if self.counts_process && !holders.is_empty() {
            self.violated(Invariant::NothingLeft, None, format!("{holders:?}"));
        }
        if self.counts_process {
            self.check_process();
        }
    }

    /// What the kernel keeps for us.
    fn check_process(&self) {
        let now = Process::look();
        let before = self.process.with(|process| *process.get_or_insert(now));
        if now != before {
            self.violated(Invariant::NothingLeft, None, format!("{now:?}, and there were {before:?}"));
        }
    }
}

/// What a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    descriptors: usize,
    /// Mappings of memory that clients have brought.
    mappings: usize,
    threads: usize,
}

impl Process {
    pub(crate) fn look() -> Process {
        let count = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Process {
            descriptors: count("/proc/self/fd"),
            mappings: maps.lines().filter(|line| line.contains(MEMORY)).count(),
            threads: count("/proc/self/task"),
        }
    }
}

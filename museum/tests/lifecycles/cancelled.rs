//! Every wait can be ended from outside (law 4): by a cancel, by a deadline that has passed, by a removal.

use super::{bus_reset, consumer, flr, injector, pm_reset, power_cycle, remover, sleep};
use crate::machine::tally::{explore_with, note};
use crate::machine::time::Standing;
use crate::machine::{DISK, Machine, PF, ROOT, ahead, at_once, linger};
use crate::{Work, together, work};
use gate::{Canceller, ThreadToken};
use power::State;
use shuttle::sync::Mutex;
use std::sync::Arc;

/// Those whose waits somebody may end.
#[derive(Default)]
struct Victims(Mutex<Vec<Canceller>>);

impl Victims {
    /// As `on`, on a thread whose waits are among the victims.
    fn victim(self: &Arc<Self>, machine: &Arc<Machine>, on: fn(&Machine, &mut ThreadToken)) -> Work {
        let victims = self.clone();
        work(machine, move |machine: &Machine, token: &mut ThreadToken| {
            let canceller = token.canceller();
            victims.0.lock().unwrap().push(canceller);
            on(machine, token);
        })
    }

    fn canceller(self: &Arc<Self>) -> Work {
        let victims = self.clone();
        Box::new(move |_token| {
            for _ in 0..4 {
                linger();
                let all = victims.0.lock().unwrap().clone();
                all.iter().for_each(Canceller::cancel);
            }
        })
    }
}

fn cancel(works: &[fn(&Machine, &mut ThreadToken)]) {
    let (machine, victims) = (Machine::new(), Arc::new(Victims::default()));
    let mut all: Vec<Work> = works.iter().map(|on| victims.victim(&machine, *on)).collect();
    all.push(victims.canceller());
    together(all);
    super::wake_all(&machine);
    machine.assert_at_rest();
}

#[test]
fn resets_and_accesses_are_cancelled_at_any_moment() {
    explore_with(&["read", "FLR", "PM reset", "bus reset"], || cancel(&[consumer, flr, pm_reset, bus_reset]));
}

#[test]
fn power_changes_and_exchanges_of_operations_are_cancelled_at_any_moment() {
    explore_with(&["read", "D3hot", "D3cold", "injection"], || {
        cancel(&[consumer, sleep, power_cycle, injector]);
    });
}

/// Everything with a deadline that has passed: it is done at once or not at all.
fn impatient(machine: &Machine, token: &mut ThreadToken) {
    linger();
    let snapshot = machine.snapshot(token);
    let (resets, power) = (&machine.resets, &machine.power);
    note("impatient reset", &resets.reset_function(token, &snapshot, DISK, at_once()));
    note("impatient bus reset", &resets.reset_bus(token, &snapshot, ROOT, at_once()));
    note("impatient sleep", &power.set_state(&snapshot, DISK, State::D3Hot, token, at_once()));
    note("impatient VFs", &machine.topology.set_num_vfs(token, PF, 2, at_once()));
    let _awake = power.set_state(&snapshot, DISK, State::D0, token, ahead());
    let _none = machine.topology.set_num_vfs(token, PF, 0, ahead());
}

#[test]
fn what_does_not_wait_is_done_at_once_or_not_at_all() {
    let wanted = ["impatient reset", "impatient bus reset", "impatient sleep", "impatient VFs"];
    explore_with(&wanted, || super::run(&[impatient, consumer, flr, bus_reset]));
}

/// On a machine whose delays never end by themselves.
fn removed_in_the_delay(works: &[fn(&Machine, &mut ThreadToken)]) {
    let machine = Machine::with(Arc::new(Standing));
    let all = works.iter().chain(&[remover as fn(&Machine, &mut ThreadToken)]);
    together(all.map(|on| work(&machine, *on)).collect());
    machine.assert_at_rest();
}

#[test]
fn the_removal_of_a_function_ends_the_delay_of_its_reset() {
    explore_with(&["removal"], || removed_in_the_delay(&[pm_reset, consumer]));
}

#[test]
fn the_removal_of_a_function_ends_the_delay_of_its_power_change() {
    explore_with(&["removal"], || removed_in_the_delay(&[sleep, consumer]));
}

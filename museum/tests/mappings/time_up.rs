//! Accesses that have waited for too long fail, and what is poisoned for that is not left behind.
//!
//! No clock runs under shuttle: a thread says that the time is up.

use super::slot::{Slot, consumer, run};
use super::taken_away::{flr_and_enable, nap, toggler};
use crate::{Work, work};
use gate::ThreadToken;
use mapping::OnDisabled;
use shuttle::thread;
use std::time::{Duration, Instant};

/// For whoever waits at that moment, and whoever comes within a second, the time is up.
fn clock(slot: &Slot, _token: &mut ThreadToken) {
    for _ in 0..3 {
        for window in slot.windows.all() {
            if let Some(deadline) = window.deadline() {
                window.expire(deadline.instant().max(Instant::now()));
            }
        }
        thread::yield_now();
    }
}

/// Two consumers that wait, under `actors` and the clock.
fn under(on_disabled: OnDisabled, actors: &[fn(&Slot, &mut ThreadToken)]) {
    let slot = Slot::new();
    let mapped = slot.try_map(on_disabled).unwrap();
    let actors: Vec<Work> = actors.iter().map(|actor| work(&slot, *actor)).collect();
    run(&slot, vec![consumer(&mapped, 1), consumer(&mapped, 1)], actors);
}

#[test]
fn who_waits_for_memory_to_be_enabled_fails_in_the_end() {
    super::explore(&["value", "bus error"], &["all-ones", "nothing"], || {
        under(OnDisabled::Wait(Duration::from_secs(60)), &[clock, toggler]);
    });
}

#[test]
fn who_waits_for_a_closed_gate_fails_in_the_end() {
    super::explore(&["value", "bus error"], &["all-ones", "nothing"], || {
        under(OnDisabled::Wait(Duration::from_secs(60)), &[clock, flr_and_enable, nap]);
    });
}

//! Report D in the real handler: many threads fault at once, and faults that fail.

use super::kernel::{Met, PAGE, PAGES};
use super::slot::{Mapped, Slot, consumer, run};
use crate::machine::tally::note;
use crate::{Work, ahead, work};
use gate::{Reason, ThreadToken};
use mapping::{MappingState, Memory};
use shuttle::thread;
use std::sync::Arc;

/// One access to one page, which has to succeed.
fn touch(mapped: &Arc<Mapped>, page: usize) -> Work {
    let mapped = mapped.clone();
    Box::new(move |_token| {
        let met = mapped.touch(page);
        assert!(matches!(met, Met::Value(_)), "{met:?}");
    })
}

#[test]
fn report_d_threads_that_see_an_empty_mapping_all_get_in() {
    // MM-I1: the same page twice, and another one of the same mapping.
    super::explore(&["value"], &["bus error", "all-ones", "nothing"], || {
        let slot = Slot::new();
        let mapped = slot.map();
        run(&slot, vec![touch(&mapped, 0), touch(&mapped, 1), touch(&mapped, 1)], vec![]);
        assert_eq!(mapped.range.pages(), (PAGES, 0));
        let report = slot.function.mappings().report();
        assert_eq!((report.len(), report[0].state), (1, MappingState::Live), "one mapping");
    });
}

#[test]
fn threads_that_touch_two_mappings_of_one_memory_all_get_in() {
    super::explore(&["value"], &["bus error", "all-ones", "nothing"], || {
        let slot = Slot::new();
        let (one, other) = (slot.map(), slot.map());
        run(&slot, vec![touch(&one, 0), touch(&other, 1), touch(&one, 1)], vec![]);
        assert_eq!(slot.function.mappings().report().len(), 2);
    });
}

/// Has the gate closed for a moment, as whoever takes mappings away does.
fn closer(slot: &Slot, token: &mut ThreadToken) {
    drop(slot.gate.close_short(token, Reason::Remap, ahead()).unwrap());
}

#[test]
fn who_faults_when_the_gate_reopens_is_not_left_waiting() {
    super::explore(&["value"], &["bus error", "all-ones", "nothing"], || {
        let slot = Slot::new();
        let mapped = slot.map();
        run(&slot, vec![touch(&mapped, 0)], vec![work(&slot, closer)]);
    });
}

#[test]
fn who_faults_on_large_memory_when_the_gate_reopens_is_not_left_waiting() {
    // One that gets in makes nothing present for the other.
    super::explore(&["value"], &["bus error", "all-ones", "nothing"], || {
        let slot = Slot::large();
        let mapped = slot.map();
        run(&slot, vec![touch(&mapped, 0), touch(&mapped, 1)], vec![work(&slot, closer)]);
    });
}

#[test]
fn report_d_two_first_users_of_a_memory_set_it_up_once() {
    // MM-I6; the files are real.
    let open = open_files();
    super::explore(&["set-up"], &[], || {
        let memory = Memory::new("bar", PAGE);
        let same = memory.clone();
        let user = |memory: &Memory| {
            note("set-up", &memory.set_up());
            memory.file(0).unwrap()
        };
        let other = thread::spawn(move || user(&same));
        let ours = user(&memory);
        assert!(Arc::ptr_eq(&ours, &other.join().unwrap()), "set up twice");
    });
    assert_eq!(open_files(), open, "a file is left open");
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn report_d_a_fault_that_fails_leaves_nothing_behind() {
    // MM-I4: the kernel has memory for one page, and for all once the memory is enabled again.
    super::explore(&["value", "bus error"], &["all-ones", "nothing"], || {
        let slot = Slot::new();
        let mapped = slot.map();
        mapped.range.set_room(1);
        let consumers = vec![consumer(&mapped, 1), consumer(&mapped, 1)];
        let more = mapped.clone();
        let actor = work(&slot, move |slot: &Slot, token: &mut ThreadToken| {
            super::taken_away::disable(slot, token);
            more.range.set_room(usize::MAX);
            slot.enable(token);
        });
        run(&slot, consumers, vec![actor]);
        run_again(&slot, &mapped);
    });
}

/// Everybody gets in now.
fn run_again(slot: &Arc<Slot>, mapped: &Arc<Mapped>) {
    slot.faults.open();
    run(slot, vec![touch(mapped, 0), touch(mapped, 1)], vec![]);
}

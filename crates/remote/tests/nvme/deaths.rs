//! Back ends that die at every step of every command, and are replaced.

use models::nvme::elsewhere::{Elsewhere, Reaped};
use models::nvme::host::commands::{identify, set_feature};
use models::nvme::{Config, DoorbellStyle, InterruptStyle};
use nvme_spec::feature::FeatureId;
use nvme_spec::identify::Cns;
use nvme_spec::{NvmOpcode, Status, SubmissionEntry};
use remote::fence::{Fenced, How};

use super::back_end::config;
use super::guest::Guest;
use super::hostile::completions;

/// Blocks that are written and read.
const BLOCKS: u16 = 10;

/// Writes blocks from two queues, flushes, asks who the controller is, and reads everything back: with a back end that dies after
/// each number of uses of its connection in turn. Gives the uses that a life without death has.
fn script(mut guest: Guest, mut lives: Vec<i64>) -> u64 {
    for tag in 0..BLOCKS {
        guest.fill(tag, 0x40 + tag as u8);
        let entry = guest.entry(tag, NvmOpcode::Write, tag.into());
        submit(&mut guest, 1 + tag % 2, tag, entry, &mut lives);
        if tag == 4 {
            guest.round();
        }
    }
    guest.run(&mut lives);
    let entry = guest.entry(20, NvmOpcode::Flush, 0);
    submit(&mut guest, 1, 20, entry, &mut lives);
    submit(&mut guest, 0, 21, identify(Cns::Controller, 0, 21 * 4096), &mut lives);
    guest.run(&mut lives);
    for tag in 30..30 + BLOCKS {
        let entry = guest.entry(tag, NvmOpcode::Read, u64::from(tag - 30));
        submit(&mut guest, 2 + tag % 3, tag, entry, &mut lives);
    }
    guest.run(&mut lives);
    for tag in (0..BLOCKS).chain([20, 21]).chain(30..30 + BLOCKS) {
        assert_eq!(guest.answer(tag), Status::SUCCESS, "command {tag}");
    }
    for tag in 0..BLOCKS {
        assert!(guest.block(30 + tag).iter().all(|byte| *byte == 0x40 + tag as u8), "block {tag}");
    }
    assert!(guest.block(21)[4..].starts_with(b"SERIAL"), "data of Identify");
    guest.wire.used()
}

fn submit(guest: &mut Guest, queue: u16, tag: u16, entry: SubmissionEntry, lives: &mut Vec<i64>) {
    while !guest.driver.submit(queue, tag, &entry) {
        guest.round();
        if guest.driver.submit(queue, tag, &entry) {
            return;
        }
        if !guest.wait() {
            guest.replace(lives);
        }
    }
}

#[test]
fn every_command_is_answered_once_and_rightly_whenever_its_back_end_dies() {
    let uses = script(Guest::new(&config(), -1), Vec::new());
    assert!(uses > 4, "there is something to die at: {uses}");
    for life in 0..=uses.cast_signed() {
        script(Guest::new(&config(), life), Vec::new());
    }
}

/// A bring-up uses its connection about a hundred times, some of them while it waits.
#[test]
fn a_back_end_that_dies_at_any_step_of_its_bring_up_is_replaced_again() {
    for life in 0..120 {
        script(Guest::new(&config(), life % 4), vec![life]);
    }
    script(Guest::new(&config(), 3), (0..120).step_by(7).collect());
}

#[test]
fn every_kind_of_interrupt_and_doorbell_survives() {
    for interrupts in [InterruptStyle::Intx, InterruptStyle::Msi, InterruptStyle::Msix] {
        for doorbells in [DoorbellStyle::Trapped, DoorbellStyle::Mapped] {
            let config = Config { interrupts, doorbells, ..config() };
            let uses = script(Guest::new(&config, -1), Vec::new());
            let silent = doorbells == DoorbellStyle::Mapped && interrupts != InterruptStyle::Intx;
            assert_eq!(uses == 0, silent, "mapped doorbells need no message: {uses}, {interrupts:?}");
            script(Guest::new(&config, 2), vec![50]);
            let mut guest = Guest::new(&config, -1);
            for life in 0..3 {
                let entry = guest.entry(life, NvmOpcode::Write, 0);
                submit(&mut guest, 1, life, entry, &mut Vec::new());
                guest.replace(&mut Vec::new());
            }
            guest.run(&mut Vec::new());
            assert!((0..3).all(|tag| guest.answer(tag).is_success()));
        }
    }
}

/// More commands than the queues hold, over many rounds of the rings.
#[test]
fn a_full_queue_says_so_and_has_room_again() {
    let mut guest = Guest::new(&config(), -1);
    for round in 0..20_u16 {
        let mut full = false;
        for tag in 0..40_u16 {
            let entry = guest.entry(tag, NvmOpcode::Read, 0);
            if !guest.driver.submit(1, tag, &entry) {
                full = true;
                submit(&mut guest, 1, tag, entry, &mut Vec::new());
            }
        }
        guest.run(&mut Vec::new());
        assert!(full && guest.answers.len() == 40, "round {round}");
        guest.answers.clear();
        if round % 5 == 4 {
            guest.replace(&mut Vec::new());
        }
    }
}

/// The guest hears of the temperature from each back end that it has asked for that, once for each time that it looks.
#[test]
fn events_are_passed_on_and_asked_for_again_at_the_next_back_end() {
    const TEMPERATURE: u32 = 0x0002_0101;
    let mut guest = Guest::new(&config(), -1);
    for (tag, set) in [
        set_feature(FeatureId::AsyncEventConfiguration, 1 << 1),
        set_feature(FeatureId::TemperatureThreshold, 100),
    ]
    .iter()
    .enumerate()
    {
        submit(&mut guest, 0, tag.try_into().unwrap(), *set, &mut Vec::new());
        guest.run(&mut Vec::new());
    }
    guest.run_until(&mut Vec::new(), |guest| guest.events == [TEMPERATURE]);
    guest.replace(&mut Vec::new());
    guest.run_until(&mut Vec::new(), |guest| guest.events == [TEMPERATURE; 2]);
}

/// Killed with commands in its queues that it was never told of.
#[test]
fn commands_that_were_not_rung_are_executed_by_the_next_back_end() {
    let mut guest = Guest::new(&config(), -1);
    for tag in 0..6 {
        guest.fill(tag, 0x11);
        let entry = guest.entry(tag, NvmOpcode::Write, tag.into());
        assert!(guest.driver.submit(1, tag, &entry));
    }
    guest.kill();
    let refused = guest.entry(9, NvmOpcode::Read, 0);
    assert!(!guest.driver.is_up() && !guest.driver.submit(1, 9, &refused), "away");
    let back_end = guest.home.start(&config());
    guest.serve(back_end);
    let replayed = guest.bring_up(-1, Fenced::Over(How::Server)).unwrap();
    assert_eq!((replayed.re_executed, replayed.refused), (6, 0));
    guest.run(&mut Vec::new());
    assert!((0..6).all(|tag| guest.answer(tag).is_success()));
}

/// Executed and completed, but nobody had looked when the back end died: that counts, and nothing is executed twice.
#[test]
fn what_a_dead_back_end_had_completed_is_not_executed_again() {
    let mut guest = Guest::new(&config(), -1);
    let entry = guest.entry(0, NvmOpcode::Write, 0);
    assert!(guest.driver.submit(1, 0, &entry));
    guest.driver.ring(&mut guest.token);
    // Its phase tag, in the last dword.
    guest.wire.wait_for(completions(1) + 12, |dword| dword >> 16 & 1 != 0);
    guest.kill();
    let back_end = guest.home.start(&config());
    guest.serve(back_end);
    let replayed = guest.bring_up(-1, Fenced::Over(How::Server)).unwrap();
    assert_eq!(replayed.re_executed, 0);
    guest.round();
    assert_eq!(guest.answer(0), Status::SUCCESS);
}

#[test]
fn writes_are_refused_when_nobody_knows_whether_the_old_back_end_is_over() {
    let mut guest = Guest::new(&config(), -1);
    let (write, read) = (guest.entry(0, NvmOpcode::Write, 0), guest.entry(1, NvmOpcode::Read, 0));
    assert!(guest.driver.submit(1, 0, &write) && guest.driver.submit(1, 1, &read));
    guest.kill();
    let back_end = guest.home.start(&config());
    guest.serve(back_end);
    let replayed = guest.bring_up(-1, Fenced::Unknown).unwrap();
    assert_eq!((replayed.re_executed, replayed.refused), (1, 1));
    guest.run_until(&mut Vec::new(), |guest| guest.answers.len() == 2);
    assert_eq!(guest.answer(0), Status::WRITE_FAULT.with_dnr(true));
    assert_eq!(guest.answer(1), Status::SUCCESS);
}

#[test]
fn features_that_the_guest_has_set_are_set_at_the_next_back_end() {
    let mut guest = Guest::new(&config(), -1);
    let set = set_feature(FeatureId::TemperatureThreshold, 0x0150);
    assert!(guest.driver.submit(0, 0, &set));
    guest.run_until(&mut Vec::new(), |guest| guest.answers.contains_key(&0));
    guest.replace(&mut Vec::new());
    let mut get = set_feature(FeatureId::TemperatureThreshold, 0);
    get.opcode = nvme_spec::AdminOpcode::GetFeatures.code();
    assert!(guest.driver.submit(0, 1, &get));
    let mut value = None;
    while value.is_none() {
        guest.driver.ring(&mut guest.token);
        let mut reaped = Vec::new();
        guest.driver.reap(&mut reaped);
        value = reaped.pop();
        if value.is_none() {
            assert!(guest.wait());
        }
    }
    assert_eq!(value, Some(Reaped::Finished { tag: 1, dw0: 0x0150, status: Status::SUCCESS }));
}

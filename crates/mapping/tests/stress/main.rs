//! Real threads, real page faults: eight consumers touch mapped memory without a pause while an operator disables, enables,
//! resets, freezes, thaws and removes the function.
//!
//! What is shown, in words:
//! * An access gets what the device has written for the present, or an error that the mapping's policy and the function's
//!   state allow. While the state does not change it gets the one answer that is right (`consumer`).
//! * Nothing is stale: while the function cannot be reached its memory carries a mark that nobody may ever read, and each time
//!   it comes back a later generation, and nobody finds an earlier one than was published before the access (MM-I3).
//! * No store reaches the device once it is disabled, frozen or removed (`operator`).
//! * Nobody is stuck (`watch`), and no descriptor, thread or mapping is left in the end (`possessions`).
//!
//! Where this process may not answer page faults it fails: a stress test that has stressed nothing has not passed.
//!
//! Each of eight threads makes 1,000 rounds through a BAR of 16 MiB and touches a few pages in each, wherever. With
//! `MAPPING_STRESS=full` in the environment it touches all pages in each round, which takes a minute or two.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens"
)]

mod consumer;
mod device;
mod operator;
mod period;
mod possessions;
mod random;
mod warnings;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use consumer::{By, Consumer, FOR_EVER};
use device::{Device, PAGES};
use gate::Gate;
use mapping::{Mapping, OnDisabled};
use operator::Operator;
use possessions::Possessions;
use watch::{Tally, Watch};

/// Devices that come and go in one slot.
const LIVES: u64 = 20;
/// Rounds of each consumer, in all lives together.
const ROUNDS: u64 = 1_000;
/// Pages that a consumer touches in a round, unless it touches all.
const FEW: u64 = 24;

/// Who maps, under which policy, how they access it, and how many threads share the mapping: two threads with one took a kernel down (report D,
/// MM-I1).
const CONSUMERS: [(&str, OnDisabled, By, usize); 5] = [
    ("several", OnDisabled::Fail, By::Call, 3),
    ("alone", OnDisabled::Fail, By::Call, 1),
    ("impatient", OnDisabled::Wait(Duration::from_millis(1)), By::Call, 1),
    ("patient", OnDisabled::Wait(FOR_EVER), By::Call, 1),
    ("by pointer", OnDisabled::Wait(FOR_EVER), By::Pointer, 2),
];

#[test]
fn whatever_happens_to_the_function_every_access_gets_a_right_answer_and_nobody_is_stuck() {
    warnings::print();
    let before = Possessions::now();
    let full = std::env::var("MAPPING_STRESS").is_ok_and(|scale| scale == "full");
    let pages = if full { PAGES } else { FEW };
    let gate = Gate::new("stressed");
    let mut tally = Tally::default();
    let mut stale = None;
    for life in 0..LIVES {
        assert!(life == 0 || gate.renew().is_some(), "the slot is free for the next device");
        stale = live(&gate, life, pages, stale, &mut tally);
    }
    drop((stale, gate));
    println!("{tally:?}");
    let happened =
        ["disable", "enable", "reset", "freeze", "thaw", "thaw disabled", "reset and thaw", "remove"];
    let answers = ["answered", "disabled", "timed out", "frozen", "gone"];
    for what in happened.iter().chain(&answers) {
        assert!(tally.of(what) >= LIVES, "{what:?} was hardly ever seen: {tally:?}");
    }
    before.assert_back();
}

/// One device from its arrival to its removal; gives a mapping of it that has outlived it.
fn live(
    gate: &Gate,
    life: u64,
    pages: u64,
    stale: Option<Arc<Mapping>>,
    tally: &mut Tally,
) -> Option<Arc<Mapping>> {
    let device = Arc::new(Device::new(gate));
    let mut watch = Watch::new();
    let operator = watch.expect();
    let mut consumers = Vec::new();
    let mut left_over = None;
    for (owner, on_disabled, by, threads) in CONSUMERS {
        let mapping = Arc::new(device.map(owner, on_disabled));
        assert!(
            !mapping.is_trapped(),
            "mappings have no page faults here, so there is nothing to test: the warning above says why, and what to do"
        );
        for nth in 0..threads {
            let consumer = Consumer::new(&device, &mapping, on_disabled, by, consumers.len());
            let (own, operator) = (watch.expect(), Arc::clone(&operator));
            consumers.push(Arc::clone(&own));
            let name = format!("{owner} {nth} of life {life}");
            watch.start(name, own, move |own| consumer.run(pages, &operator, own));
        }
        left_over = Some(mapping);
    }
    watch.start(format!("operator of life {life}"), operator, move |own| {
        Operator::new(device).run(&consumers, ROUNDS / LIVES, life, stale.as_deref(), own)
    });
    tally.add(watch.wait_for_all());
    left_over
}

//! Which rule hits when, in a time that the tests make up.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use super::error::AddError;
use super::fields::Place;
use super::kind::{Kind, Target};
use super::plan::{Access, MAX_RULES, Plan, RuleState};

const SEED: u64 = 7;

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn plan(rules: &[&str]) -> Plan {
    let mut plan = Plan::new(SEED);
    for rule in rules {
        plan.add(at(0), rule.parse().unwrap()).unwrap();
    }
    plan
}

fn access(place: Place, offset: u64, len: u64) -> Access {
    Access { place, offset, len }
}

const BAR0: Place = Place::Bar(0);

/// What a read of 4 bytes comes to.
fn reads(plan: &mut Plan, now: Duration, place: Place, offset: u64) -> Option<Kind> {
    plan.read(now, access(place, offset, 4)).answer.map(|hit| hit.kind)
}

#[test]
fn a_rule_hits_only_in_its_window() {
    let mut plan = plan(&["read-ones:after=10ms,for=5ms"]);
    let hits = (0..30).filter(|ms| reads(&mut plan, at(*ms), BAR0, 0).is_some());
    assert_eq!(hits.collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
    let states = [0, 10, 14, 15].map(|ms| plan.list(at(ms))[0].state);
    assert_eq!(states, [RuleState::Pending, RuleState::Active, RuleState::Active, RuleState::Spent]);
}

#[test]
fn a_window_counts_from_when_the_rule_was_added() {
    let mut plan = Plan::new(SEED);
    plan.add(at(100), "read-ones:after=10ms".parse().unwrap()).unwrap();
    assert_eq!(reads(&mut plan, at(109), BAR0, 0), None);
    assert_eq!(reads(&mut plan, at(110), BAR0, 0), Some(Kind::ReadOnes));
}

#[test]
fn a_rule_hits_as_often_as_it_may_and_then_concerns_nobody() {
    let mut plan = plan(&["write-drop:count=3"]);
    assert_eq!(plan.targets(at(0)), Target::Write.bit());
    let hits = (0..10).filter(|_| plan.write(at(0), access(BAR0, 0, 4)).answer.is_some()).count();
    assert_eq!((hits, plan.list(at(0))[0].hits), (3, 3));
    assert_eq!(plan.list(at(0))[0].state, RuleState::Spent);
    assert_eq!(plan.targets(at(0)), 0);
}

#[test]
fn an_access_is_hit_if_a_byte_of_it_is_in_the_range_of_that_place() {
    let mut plan = plan(&["read-fail:bar=0,range=0x10-0x13"]);
    let cases = [(0xc, false), (0xd, true), (0x10, true), (0x13, true), (0x14, false), (u64::MAX, false)];
    for (offset, hit) in cases {
        assert_eq!(reads(&mut plan, at(0), BAR0, offset).is_some(), hit, "{offset:#x}");
        assert_eq!(reads(&mut plan, at(0), Place::Bar(1), offset), None);
        assert_eq!(reads(&mut plan, at(0), Place::Config, offset), None);
        assert_eq!(reads(&mut plan, at(0), Place::Own(0), offset), None);
    }
    assert!(plan.read(at(0), access(BAR0, 0x10, 0)).answer.is_none(), "no byte is in no range");
    assert!(plan.write(at(0), access(BAR0, 0x10, 4)).answer.is_none(), "a write is no read");
}

#[test]
fn without_a_place_every_region_is_meant() {
    let mut plan = plan(&["read-ones"]);
    for place in [Place::Config, Place::Bar(0), Place::Bar(6), Place::Own(3)] {
        assert_eq!(reads(&mut plan, at(0), place, 0), Some(Kind::ReadOnes));
    }
}

#[test]
fn the_first_rule_that_hits_decides_and_the_next_is_not_asked() {
    let mut plan = plan(&["read-ones:count=1", "read-fail", "read-slow:delay=1ms", "read-slow:delay=9ms"]);
    let first = plan.read(at(0), access(BAR0, 0, 4));
    assert_eq!(first.answer.unwrap().kind, Kind::ReadOnes);
    assert_eq!(first.slow.unwrap().delay, at(1), "slow, and all-ones");
    assert_eq!(plan.read(at(0), access(BAR0, 0, 4)).answer.unwrap().kind, Kind::ReadFail);
    let hits: Vec<_> = plan.list(at(0)).iter().map(|rule| rule.hits).collect();
    assert_eq!(hits, [1, 1, 2, 0]);
}

#[test]
fn a_probability_is_kept_in_the_long_run() {
    let mut plan =
        plan(&["irq-drop:probability=0.25", "read-ones:probability=0", "write-drop:probability=1"]);
    let dropped = (0..10_000).filter(|_| plan.interrupt(at(0), 0).is_some()).count();
    assert!((2_300..2_700).contains(&dropped), "{dropped} of 10000");
    for _ in 0..1000 {
        assert_eq!(reads(&mut plan, at(0), BAR0, 0), None);
        assert!(plan.write(at(0), access(BAR0, 0, 4)).answer.is_some());
    }
}

/// The same seed hits the same occasions, whatever other rules are behind; another seed hits others.
#[test]
fn a_seed_says_which_occasions_are_hit() {
    let drops = |mut plan: Plan| (0..256).map(|_| plan.interrupt(at(0), 0).is_some()).collect::<Vec<_>>();
    let alone = drops(plan(&["irq-drop:probability=0.5"]));
    let mut beside = plan(&["irq-drop:probability=0.5", "dma-error:probability=0.5"]);
    beside.dma(at(0), 0, 1);
    assert_eq!(drops(beside), alone);
    let mut other = Plan::new(SEED + 1);
    other.add(at(0), "irq-drop:probability=0.5".parse().unwrap()).unwrap();
    assert_ne!(drops(other), alone);
    // Two rules of one plan have different sequences.
    let mut two = plan(&["irq-drop:probability=0.5,vector=0", "irq-drop:probability=0.5,vector=1"]);
    let pairs = (0..64).map(|_| (two.interrupt(at(0), 0).is_some(), two.interrupt(at(0), 1).is_some()));
    assert!(pairs.collect::<Vec<_>>().iter().any(|(first, second)| first != second));
}

#[test]
fn an_interrupt_rule_may_be_about_one_vector() {
    let mut plan = plan(&["irq-delay:delay=3ms,vector=2"]);
    assert_eq!(plan.interrupt(at(0), 1), None);
    let hit = plan.interrupt(at(0), 2).unwrap();
    assert_eq!((hit.kind, hit.delay), (Kind::IrqDelay, at(3)));
}

#[test]
fn memory_fails_where_the_range_says() {
    let mut plan = plan(&["dma-error:range=0x1000-0x1fff"]);
    let cases =
        [(0, 0x1000, false), (0, 0x1001, true), (0x1fff, 1, true), (0x2000, 1, false), (u64::MAX, 2, false)];
    for (address, len, fails) in cases {
        assert_eq!(plan.dma(at(0), address, len), fails, "{address:#x} {len:#x}");
    }
}

#[test]
fn a_fault_of_the_back_end_without_a_place_happens_once_by_time() {
    let mut plan = plan(&["kill:after=5ms"]);
    assert_eq!(plan.next_look(at(0)), Some(at(5)));
    assert_eq!(plan.due(at(4)), None);
    assert_eq!(plan.due(at(7)).unwrap().kind, Kind::Kill);
    assert_eq!((plan.due(at(8)), plan.next_look(at(8))), (None, None));
    assert_eq!(plan.list(at(8))[0].state, RuleState::Spent);
    assert_eq!(plan.targets(at(8)), 0);
}

#[test]
fn a_fault_of_the_back_end_at_a_place_happens_at_accesses_only() {
    let mut plan = plan(&["hang:bar=0,range=0x14-0x17,count=1"]);
    assert_eq!((plan.due(at(9)), plan.next_look(at(9))), (None, None));
    assert_eq!(plan.read(at(0), access(BAR0, 0, 4)).back_end, None);
    assert_eq!(plan.write(at(0), access(BAR0, 0x14, 4)).back_end.unwrap().kind, Kind::Hang);
    assert_eq!(plan.read(at(0), access(BAR0, 0x14, 4)).back_end, None, "only once");
}

#[test]
fn a_fault_by_time_happens_again_as_long_as_it_may() {
    let times = |rule: &str| {
        let mut plan = plan(&[rule]);
        (0..100).filter(|ms| plan.due(at(*ms)).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(times("kill:every=20ms,count=3"), [0, 20, 40]);
    assert_eq!(times("kill:after=10ms,every=20ms,for=50ms"), [10, 30, 50]);
    assert_eq!(times("kill:every=30ms"), [0, 30, 60, 90]);
}

/// Whoever looks late finds one occasion, and those that it has missed are over.
#[test]
fn missed_occasions_are_not_made_up_for() {
    let mut plan = plan(&["kill:every=10ms"]);
    assert!(plan.due(at(35)).is_some());
    assert_eq!((plan.due(at(35)), plan.next_look(at(35))), (None, Some(at(40))));
    // However long that was.
    assert!(plan.due(Duration::from_secs(u64::MAX / 2)).is_some());
    assert!(plan.due(Duration::from_secs(u64::MAX / 2)).is_none_or(|_| true));
}

#[test]
fn a_thread_is_needed_only_for_rules_that_have_something_to_come() {
    assert_eq!(plan(&["read-slow:delay=1s", "irq-drop", "kill:bar=0"]).next_look(at(0)), None);
    let mut delays = plan(&["irq-delay:delay=1ms,count=1"]);
    assert!(delays.next_look(at(0)).is_some());
    assert!(delays.interrupt(at(0), 0).is_some());
    assert_eq!(delays.next_look(at(0)), None);
    assert_eq!(plan(&["irq-delay:delay=1ms,for=5ms"]).next_look(at(1)), Some(at(5)));
}

#[test]
fn there_are_only_so_many_rules() {
    let mut plan = Plan::new(SEED);
    for _ in 0..MAX_RULES {
        plan.add(at(0), "irq-drop".parse().unwrap()).unwrap();
    }
    let refused = plan.add(at(0), "irq-drop".parse().unwrap());
    assert_eq!(refused, Err(AddError::Full { limit: MAX_RULES }));
    let first = plan.list(at(0))[0].id;
    assert!(plan.remove(first) && !plan.remove(first) && !plan.has(first));
    let next = plan.add(at(0), "irq-drop".parse().unwrap()).unwrap();
    assert!(plan.list(at(0)).iter().filter(|rule| rule.id == next).count() == 1, "a name is not used again");
    assert_eq!(plan.clear(), MAX_RULES);
}

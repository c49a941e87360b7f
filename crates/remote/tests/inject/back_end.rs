//! Faults of a back end: what is asked of it, when, and what is told if it cannot be done.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use remote::inject::{AddError, BackEnd, BackEndError, Kind, RuleState};

use super::bench::{Bench, SIZE, STATUS, eventually, has_thread};

/// A back end that counts.
#[derive(Default)]
struct Counted {
    desyncs: AtomicU32,
    hangs: AtomicU32,
    kills: AtomicU32,
    is_away: AtomicBool,
}

impl Counted {
    fn count(&self, what: &AtomicU32) -> Result<(), BackEndError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(BackEndError::Away);
        }
        what.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn counts(&self) -> [u32; 3] {
        [&self.desyncs, &self.hangs, &self.kills].map(|count| count.load(Ordering::SeqCst))
    }
}

impl BackEnd for Counted {
    fn desync(&self) -> Result<(), BackEndError> {
        self.count(&self.desyncs)
    }

    fn hang(&self) -> Result<(), BackEndError> {
        self.count(&self.hangs)
    }

    fn kill(&self) -> Result<(), BackEndError> {
        self.count(&self.kills)
    }
}

fn with_back_end() -> (Bench, Arc<Counted>) {
    let (bench, back_end) = (Bench::new(), Arc::new(Counted::default()));
    let weak: Weak<Counted> = Arc::downgrade(&back_end);
    bench.injections.set_back_end(Some(weak));
    (bench, back_end)
}

#[test]
fn a_function_without_a_back_end_has_no_such_faults() {
    let mut bench = Bench::new();
    for kind in [Kind::Desync, Kind::Hang, Kind::Kill] {
        let refused = bench.injections.add(&mut bench.token, kind.name().parse().unwrap());
        assert_eq!(refused, Err(AddError::NoBackEnd { kind }));
    }
    assert!(bench.injections.list().is_empty());
}

#[test]
fn each_fault_does_its_own_at_the_access_that_it_is_about() {
    let (mut bench, back_end) = with_back_end();
    bench.inject("desync:bar=0,range=0x1c,count=1");
    bench.inject("hang:bar=0,range=0x1c,count=1");
    bench.inject("kill:bar=0,range=0x1c,count=1");
    bench.get(STATUS);
    assert_eq!(back_end.counts(), [0, 0, 0]);
    bench.get(SIZE);
    assert_eq!(back_end.counts(), [1, 0, 0]);
    bench.set(SIZE, 1);
    assert_eq!(back_end.counts(), [1, 1, 0]);
    bench.get(SIZE);
    bench.get(SIZE);
    assert_eq!(back_end.counts(), [1, 1, 1]);
}

#[test]
fn without_a_place_it_happens_at_once_or_later_by_itself() {
    let (mut bench, back_end) = with_back_end();
    let start = Instant::now();
    let now = bench.inject("kill");
    let later = bench.inject("hang:after=30ms");
    eventually("the kill", || back_end.counts()[2] == 1);
    eventually("the hang", || back_end.counts()[1] == 1);
    assert!(start.elapsed() >= Duration::from_millis(30));
    for rule in [now, later] {
        assert_eq!((bench.rule(rule).hits, bench.rule(rule).state), (1, RuleState::Spent));
    }
}

#[test]
fn it_happens_again_as_often_as_a_rule_says() {
    let (mut bench, back_end) = with_back_end();
    let rule = bench.inject("kill:every=10ms,count=3");
    eventually("three kills", || back_end.counts()[2] == 3);
    assert_eq!(bench.rule(rule).state, RuleState::Spent);
}

#[test]
fn what_cannot_be_done_is_told_with_the_rule() {
    let (mut bench, back_end) = with_back_end();
    back_end.is_away.store(true, Ordering::SeqCst);
    let rule = bench.inject("kill:bar=0");
    bench.get(SIZE);
    assert_eq!(bench.rule(rule).refused, Some(BackEndError::Away));
    back_end.is_away.store(false, Ordering::SeqCst);
    bench.get(SIZE);
    assert_eq!(bench.rule(rule).refused, None);
    drop(back_end);
    bench.get(SIZE);
    assert_eq!(bench.rule(rule).refused, Some(BackEndError::Away), "nobody is there any more");
}

#[test]
fn the_thread_is_there_only_while_something_is_to_come() {
    // A name of its own among the threads of the other tests.
    let mut bench = Bench::named("lives");
    bench.inject("irq-drop");
    assert!(!has_thread("inject-lives"));
    let rule = bench.inject("irq-delay:delay=1s");
    eventually("the thread", || has_thread("inject-lives"));
    assert!(bench.injections.remove(&mut bench.token, rule));
    eventually("its end", || !has_thread("inject-lives"));
    bench.inject("irq-delay:delay=1s");
    eventually("the next one", || has_thread("inject-lives"));
    drop(bench);
    eventually("its end with everything", || !has_thread("inject-lives"));
}

//! Interrupts.

use std::time::{Duration, Instant};

use super::bench::{
    Bench, COMMAND, INTERRUPT_NUMBER, INTERRUPT_TYPE, RAISE_INTX, RAISE_MSI, STATUS, eventually, has_thread,
};

/// Raises MSI vector `vector`.
fn raise(bench: &mut Bench, vector: u32) {
    bench.set(INTERRUPT_TYPE, 1);
    bench.set(INTERRUPT_NUMBER, vector + 1);
    bench.set(COMMAND, RAISE_MSI);
}

#[test]
fn an_interrupt_is_lost_as_often_as_a_rule_says_and_only_its_vector() {
    let mut bench = Bench::new();
    let counters = bench.wire(1, 2);
    bench.inject("irq-drop:vector=1,count=2");
    for _ in 0..3 {
        raise(&mut bench, 0);
        raise(&mut bench, 1);
    }
    assert_eq!((counters[0].take(), counters[1].take()), (3, 1));
}

#[test]
fn an_interrupt_comes_twice() {
    let mut bench = Bench::new();
    let counters = bench.wire(1, 1);
    bench.inject("irq-duplicate:count=1");
    raise(&mut bench, 0);
    assert_eq!(counters[0].take(), 2);
    raise(&mut bench, 0);
    assert_eq!(counters[0].take(), 1);
}

#[test]
fn an_interrupt_comes_later_and_only_once() {
    let mut bench = Bench::new();
    let counters = bench.wire(1, 1);
    let rule = bench.inject("irq-delay:delay=40ms");
    let start = Instant::now();
    raise(&mut bench, 0);
    let mut came = 0;
    eventually("the interrupt", || {
        came += counters[0].take();
        came > 0
    });
    assert!(start.elapsed() >= Duration::from_millis(40));
    assert_eq!((came, bench.rule(rule).hits), (1, 1), "what comes late is not put off again");
}

#[test]
fn interrupts_of_different_delays_keep_their_own_times() {
    let mut bench = Bench::new();
    let counters = bench.wire(1, 2);
    bench.inject("irq-delay:delay=30s,vector=0");
    bench.inject("irq-delay:delay=1ms,vector=1");
    raise(&mut bench, 0);
    raise(&mut bench, 1);
    eventually("the shorter one", || counters[1].take() == 1);
    assert_eq!(counters[0].take(), 0);
}

#[test]
fn intx_that_was_lost_comes_with_the_next_unmask() {
    let mut bench = Bench::new();
    let counters = bench.wire(0, 1);
    bench.inject("irq-drop:vector=0,count=1");
    bench.set(INTERRUPT_TYPE, 0);
    bench.set(COMMAND, RAISE_INTX);
    assert_eq!(counters[0].take(), 0);
    bench.unmask_intx();
    assert_eq!(counters[0].take(), 1, "the line is a level");
}

#[test]
fn intx_comes_later_if_it_is_still_asserted() {
    let mut bench = Bench::new();
    let counters = bench.wire(0, 1);
    bench.inject("irq-delay:delay=5ms,count=1");
    bench.set(INTERRUPT_TYPE, 0);
    bench.set(COMMAND, RAISE_INTX);
    assert_eq!(counters[0].take(), 0);
    eventually("INTx", || counters[0].take() == 1);
    bench.get(STATUS);
    bench.unmask_intx();
}

#[test]
fn intx_that_was_served_before_it_comes_does_not_come() {
    // A name of its own among the threads of the other tests.
    let mut bench = Bench::named("intx");
    let counters = bench.wire(0, 1);
    bench.inject("irq-delay:delay=2s,count=1");
    bench.set(INTERRUPT_TYPE, 0);
    bench.set(COMMAND, RAISE_INTX);
    bench.get(STATUS);
    eventually("nothing is on its way", || !has_thread("inject-intx"));
    assert_eq!(counters[0].take(), 0);
}

/// A storm of interrupts that are all put off is bounded: those beyond come at once.
#[test]
fn only_so_many_interrupts_are_on_their_way() {
    let mut bench = Bench::new();
    let counters = bench.wire(1, 1);
    bench.inject("irq-delay:delay=60s");
    for _ in 0..1024 + 5 {
        raise(&mut bench, 0);
    }
    assert_eq!(counters[0].take(), 5);
}

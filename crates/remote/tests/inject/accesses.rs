//! Reads and writes.

use std::time::{Duration, Instant};

use assign::Errno;

use super::bench::{
    Bench, COMMAND, CONFIG_REGION, HISTORY, INTERRUPT_TYPE, LONG, RAISE_MSI, SIZE, STATUS, eventually,
};

#[test]
fn a_read_gives_all_ones_where_a_rule_says_and_as_often() {
    let mut bench = Bench::new();
    bench.set(SIZE, 77);
    let rule = bench.inject("read-ones:bar=0,range=0x1c-0x1f,count=2");
    assert_eq!(bench.get(STATUS), 0, "outside of the range");
    assert_eq!([bench.get(SIZE), bench.get(SIZE), bench.get(SIZE)], [u32::MAX, u32::MAX, 77]);
    assert_eq!(bench.rule(rule).hits, 2);
}

#[test]
fn a_read_fails_with_an_error_and_the_device_is_not_asked() {
    let mut bench = Bench::new();
    bench.set(INTERRUPT_TYPE, 0);
    bench.set(COMMAND, 1);
    let asserted = |bench: &mut Bench| bench.read(CONFIG_REGION, 4) >> 19 & 1 == 1;
    assert!(asserted(&mut bench), "INTx");
    bench.inject("read-fail:bar=0,range=0x8-0xb,count=1");
    assert_eq!(bench.try_read(0, STATUS).unwrap_err().errno, Errno::EIO);
    assert!(asserted(&mut bench), "the read that deasserts has not reached the device");
    assert_ne!(bench.get(STATUS), 0);
    assert!(!asserted(&mut bench));
}

#[test]
fn each_kind_of_region_can_be_meant() {
    let mut bench = Bench::new();
    let id = bench.read(CONFIG_REGION, 0);
    bench.write(HISTORY, 0x2000, &[7, 0, 0, 0]);
    let rules = ["read-ones:config,range=0-3", "read-ones:own=0,range=0x2000", "read-ones:bar=2"];
    for rule in rules {
        assert_eq!((bench.read(CONFIG_REGION, 0), bench.read(HISTORY, 0x2000), bench.read(2, 0)), (id, 7, 0));
        let rule = bench.inject(rule);
        let found = (bench.read(CONFIG_REGION, 0), bench.read(HISTORY, 0x2000), bench.read(2, 0));
        let ones = [found.0, found.1, found.2].iter().filter(|value| **value == u32::MAX).count();
        assert_eq!((ones, bench.rule(rule).hits), (1, 1), "{found:x?}");
        assert!(bench.injections.remove(&mut bench.token, rule));
    }
}

#[test]
fn a_slow_read_takes_its_time_and_then_reads() {
    let mut bench = Bench::new();
    bench.set(SIZE, 77);
    bench.inject("read-slow:delay=50ms,bar=0,range=0x1c");
    let start = Instant::now();
    assert_eq!(bench.get(SIZE), 77);
    assert!(start.elapsed() >= Duration::from_millis(50));
    let start = Instant::now();
    bench.get(STATUS);
    assert!(start.elapsed() < Duration::from_millis(50), "another register");
}

#[test]
fn a_slow_read_holds_nothing_that_anybody_else_waits_for() {
    let mut bench = Bench::new();
    bench.inject("read-slow:delay=60s,bar=0,range=0x1c");
    let start = Instant::now();
    let Bench { assignment, attached, injections, mut token } = bench;
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let mut token = gate::ThreadToken::at_thread_entry();
            let mut data = [0; 4];
            // Memory is off after the reset.
            let _ = attached.region_read(&mut token, 0, SIZE, &mut data);
        });
        eventually("the read begins", || injections.list()[0].hits == 1);
        // A reset needs everybody out.
        assignment
            .function()
            .reset(&mut token, pci_core::ResetKind::FunctionLevel, gate::Deadline::after(LONG))
            .unwrap();
        assert!(!slow.is_finished());
        let id = injections.list()[0].id;
        assert!(injections.remove(&mut token, id), "and removing the rule ends it");
        eventually("the read ends", || slow.is_finished());
    });
    assert!(start.elapsed() < Duration::from_secs(50));
}

#[test]
fn a_slow_read_ends_when_the_function_is_removed() {
    let mut bench = Bench::new();
    bench.inject("read-slow:delay=60s,bar=0,range=0x1c");
    let start = Instant::now();
    let Bench { assignment, attached, injections, mut token } = bench;
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let mut token = gate::ThreadToken::at_thread_entry();
            let mut data = [0; 4];
            let _ = attached.region_read(&mut token, 0, SIZE, &mut data);
            data
        });
        eventually("the read begins", || injections.list()[0].hits == 1);
        let retired = assignment.function().gate().retire(&mut token, gate::Deadline::after(LONG));
        drop(retired);
        eventually("the read ends", || slow.is_finished());
        assert_eq!(slow.join().unwrap(), [0xff; 4]);
    });
    assert!(start.elapsed() < Duration::from_secs(50));
}

#[test]
fn a_write_is_lost_and_nobody_is_told() {
    let mut bench = Bench::new();
    bench.inject("write-drop:bar=0,range=0x1c,count=1");
    bench.set(SIZE, 5);
    assert_eq!(bench.get(SIZE), 0);
    bench.set(SIZE, 5);
    assert_eq!(bench.get(SIZE), 5);
}

#[test]
fn a_write_that_comes_twice_does_twice_what_it_does() {
    let mut bench = Bench::new();
    bench.set(INTERRUPT_TYPE, 1);
    bench.set(COMMAND, RAISE_MSI);
    assert_eq!(bench.read(HISTORY, 0), 1, "commands so far");
    bench.inject("write-duplicate:bar=0,range=0x4,count=1");
    bench.set(COMMAND, RAISE_MSI);
    assert_eq!(bench.read(HISTORY, 0), 3);
    bench.set(COMMAND, RAISE_MSI);
    assert_eq!(bench.read(HISTORY, 0), 4);
}

#[test]
fn a_probability_of_a_half_spares_about_half_of_the_reads() {
    let mut bench = Bench::new();
    bench.set(SIZE, 77);
    let rule = bench.inject("read-ones:bar=0,range=0x1c,probability=0.5");
    let ones = (0..1000).filter(|_| bench.get(SIZE) == u32::MAX).count() as u64;
    assert!((400..600).contains(&ones), "{ones}");
    assert_eq!(bench.rule(rule).hits, ones);
}

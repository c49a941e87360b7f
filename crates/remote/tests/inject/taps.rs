//! How faults come between a function and everybody else, and leave again.

use remote::inject::{AddError, Injections, MAX_RULES};

use super::bench::{Bench, SIZE};

#[test]
fn a_function_has_one_of_them() {
    let bench = Bench::new();
    let second = Injections::new("second", 1);
    assert!(!second.attach(bench.assignment.function(), bench.assignment.port()));
}

#[test]
fn nothing_is_injected_into_nothing() {
    let mut bench = Bench::without_faults();
    let refused = bench.injections.add(&mut bench.token, "read-ones".parse().unwrap());
    assert_eq!(refused, Err(AddError::NotAttached));
}

#[test]
fn a_rule_too_many_is_refused_until_one_goes() {
    let mut bench = Bench::new();
    let ids: Vec<_> = (0..MAX_RULES).map(|_| bench.inject("dma-error:count=1")).collect();
    let more = |bench: &mut Bench| bench.injections.add(&mut bench.token, "irq-drop".parse().unwrap());
    assert_eq!(more(&mut bench), Err(AddError::Full { limit: MAX_RULES }));
    assert!(bench.injections.remove(&mut bench.token, ids[7]));
    assert!(more(&mut bench).is_ok());
    assert_eq!(bench.injections.clear(&mut bench.token), MAX_RULES);
    assert!(bench.injections.list().is_empty());
}

#[test]
fn a_function_that_is_gone_has_no_faults_of_its_device() {
    let mut bench = Bench::new();
    let retired = bench
        .assignment
        .function()
        .gate()
        .retire(&mut bench.token, gate::Deadline::after(super::bench::LONG));
    drop(retired);
    let refused = bench.injections.add(&mut bench.token, "dma-error".parse().unwrap());
    assert_eq!(refused, Err(AddError::Gone));
    assert!(bench.injections.list().is_empty(), "what was refused is not there");
}

#[test]
fn who_drops_them_ends_them() {
    let mut bench = Bench::new();
    bench.set(SIZE, 77);
    bench.inject("read-ones");
    assert_eq!(bench.get(SIZE), u32::MAX);
    bench.injections = Injections::new("other", 1);
    assert_eq!(bench.get(SIZE), 77);
}

#[test]
fn several_operators_at_once_leave_what_the_last_of_them_wants() {
    let mut bench = Bench::new();
    let injections = &bench.injections;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut token = gate::ThreadToken::at_thread_entry();
                for _ in 0..50 {
                    let rule = injections.add(&mut token, "dma-error:range=0".parse().unwrap()).unwrap();
                    assert!(injections.remove(&mut token, rule));
                }
            });
        }
    });
    assert!(injections.list().is_empty());
    let rule = bench.inject("dma-error:count=1");
    bench.write(0, super::bench::DESTINATION, &super::bench::MEMORY_AT.to_le_bytes());
    bench.set(SIZE, 4);
    bench.run(super::bench::WRITE);
    assert_eq!(bench.rule(rule).hits, 1);
}

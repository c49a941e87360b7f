//! The device's accesses to memory.

use super::bench::{Bench, DESTINATION, MEMORY_AT, SIZE, WRITE};

const WRITE_SUCCESS: u32 = 1 << 2;
const WRITE_FAIL: u32 = 1 << 3;

fn write(bench: &mut Bench, at: u64) -> u32 {
    bench.write(0, DESTINATION, &(MEMORY_AT + at).to_le_bytes());
    bench.set(SIZE, 64);
    bench.run(WRITE) & (WRITE_SUCCESS | WRITE_FAIL)
}

#[test]
fn memory_fails_where_and_as_often_as_a_rule_says() {
    let mut bench = Bench::new();
    assert_eq!(write(&mut bench, 0x1000), WRITE_SUCCESS);
    let rule = bench.inject("dma-error:range=0x101000-0x101fff,count=1");
    assert_eq!(write(&mut bench, 0x3000), WRITE_SUCCESS, "elsewhere");
    assert_eq!(write(&mut bench, 0x1000), WRITE_FAIL);
    assert_eq!(write(&mut bench, 0x1000), WRITE_SUCCESS, "it was once");
    assert_eq!(bench.rule(rule).hits, 1);
}

#[test]
fn without_its_rule_memory_works_again() {
    let mut bench = Bench::new();
    let rule = bench.inject("dma-error");
    assert_eq!(write(&mut bench, 0), WRITE_FAIL);
    assert!(bench.injections.remove(&mut bench.token, rule));
    assert_eq!(write(&mut bench, 0), WRITE_SUCCESS);
}

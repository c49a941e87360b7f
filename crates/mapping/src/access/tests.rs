//! Loads and stores of memory that has gone.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Value, entries, load, store};
use crate::sigbus::{self, tests::Lost};

const PAGE: usize = Lost::PAGE;

/// Whether a load and a store of this width go through at `at`.
fn reached<V: Value>(at: *mut u8) -> (bool, bool) {
    // SAFETY: the tests' mappings are readable and writable, and outlive this call; all offsets are aligned.
    unsafe { (load(at.cast::<V>()).is_some(), store(at.cast::<V>(), V::ALL_ONES)) }
}

#[test]
fn each_width_moves_its_own_bytes_only() {
    let mut words = [0x1716_1514_1312_1110u64, 0x2726_2524_2322_2120, 0x3736_3534_3332_3130];
    let at = words.as_mut_ptr().wrapping_add(1);
    // SAFETY: in the array, aligned.
    unsafe {
        assert_eq!(load(at), Some(0x2726_2524_2322_2120));
        assert_eq!(load(at.cast::<u32>().add(1)), Some(0x2726_2524));
        assert_eq!(load(at.cast::<u16>().add(1)), Some(0x2322));
        assert_eq!(load(at.cast::<u8>().add(7)), Some(0x27));
        // Wide before narrow: a store that is too wide would spoil what is there already.
        assert!(store(at, 0xd7d6_d5d4_d3d2_d1d0));
        assert!(store(at.cast::<u32>(), 0xc3c2_c1c0));
        assert!(store(at.cast::<u16>(), 0xb1b0));
        assert!(store(at.cast::<u8>(), 0xa0));
        assert_eq!(load(at), Some(0xd7d6_d5d4_c3c2_b1a0));
    }
    assert_eq!((words[0], words[2]), (0x1716_1514_1312_1110, 0x3736_3534_3332_3130), "nothing beside it");
}

#[test]
fn a_value_of_all_ones_is_no_failure() {
    let mut word = u64::MAX;
    // SAFETY: a word of our own.
    unsafe {
        assert_eq!(load(&raw const word), Some(u64::MAX));
        assert_eq!(load((&raw const word).cast::<u8>()), Some(u8::MAX));
        assert!(store(&raw mut word, 0));
        assert_eq!(load(&raw const word), Some(0));
    }
}

#[test]
fn an_access_of_memory_that_has_gone_fails_in_every_width_and_no_other_does() {
    let lost = Lost::after(1, 2);
    let gone = lost.at(PAGE);
    for _ in 0..3 {
        // Also the last value that is there: an access that is too wide would reach beyond it.
        assert_eq!((reached::<u8>(gone), reached::<u8>(lost.at(PAGE - 1))), ((false, false), (true, true)));
        assert_eq!((reached::<u16>(gone), reached::<u16>(lost.at(PAGE - 2))), ((false, false), (true, true)));
        assert_eq!((reached::<u32>(gone), reached::<u32>(lost.at(PAGE - 4))), ((false, false), (true, true)));
        assert_eq!((reached::<u64>(gone), reached::<u64>(lost.at(PAGE - 8))), ((false, false), (true, true)));
    }
}

#[test]
fn threads_that_fault_at_once_each_lose_their_own_access_only() {
    let lost = Lost::after(1, 2);
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for nth in 0..4 {
            let (lost, start) = (&lost, &start);
            scope.spawn(move || {
                let (kept, gone) = (lost.at(nth * 8).cast::<u64>(), lost.at(PAGE + nth * 8).cast::<u64>());
                start.wait();
                for round in 0..2_000u64 {
                    // SAFETY: in the mapping, aligned.
                    unsafe {
                        assert!(store(kept, round));
                        assert!(!store(gone, round), "thread {nth}, round {round}");
                        assert_eq!(load(gone.cast_const()), None, "thread {nth}, round {round}");
                        assert_eq!(load(kept.cast_const()), Some(round));
                    }
                }
            });
        }
    });
}

#[test]
fn memory_that_goes_while_it_is_accessed_is_a_value_or_a_failure_and_comes_back() {
    let lost = Lost::after(2, 2);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = [0u32; 2];
                    // Ends when both have been met, or with the changes.
                    while !ended.load(Ordering::Relaxed) && seen.contains(&0) {
                        // SAFETY: in the mapping, aligned.
                        match unsafe { load(lost.at(PAGE).cast::<u32>().cast_const()) } {
                            Some(value) => {
                                assert_eq!(value, 0, "a hole of a file");
                                seen[0] += 1;
                            }
                            None => seen[1] += 1,
                        }
                    }
                    seen
                })
            })
            .collect();
        for _ in 0..20_000 {
            lost.resize(1);
            lost.resize(2);
            if readers.iter().all(|reader| reader.is_finished()) {
                break;
            }
        }
        ended.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(!reader.join().unwrap().contains(&0), "one of the two was never met");
        }
    });
}

#[test]
fn the_table_has_an_entry_for_each_width_and_direction() {
    assert!(entries::all().len() >= 8, "{}", entries::all().len());
    assert_eq!(entries::resume_after(0), None);
    assert_eq!(entries::resume_after(entries::resume_after as fn(_) -> _ as usize), None);
}

#[test]
fn the_handler_is_installed_by_whoever_needs_it_first() {
    sigbus::install();
    sigbus::install();
    let lost = Lost::after(0, 1);
    assert_eq!(reached::<u8>(lost.at(0)), (false, false));
}

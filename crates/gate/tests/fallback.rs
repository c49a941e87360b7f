//! The gate without membarrier: a process of its own, since the choice is made once.
#![cfg(not(any(loom, shuttle)))]

use gate::{AccessKind, Deadline, Gate, GateCell, Reason, ThreadToken, barrier};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn readers_never_see_half_a_replacement_with_fences_in_place_of_membarrier() {
    assert!(barrier::choose(barrier::Strategy::Fences));
    assert_eq!(barrier::strategy(), barrier::Strategy::Fences);
    let gate = Gate::new("f");
    let cell = GateCell::new(&gate, [0_u64; 32]);
    let stop = AtomicBool::new(false);
    let rounds = if cfg!(miri) { 10 } else { 2000 };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (handle, token) = (gate.handle(), ThreadToken::at_thread_entry());
                while !stop.load(Ordering::Relaxed) {
                    let Ok(pass) = handle.try_enter(&token, AccessKind::Dma) else { continue };
                    let value = cell.get(&pass);
                    assert!(value.iter().all(|word| *word == value[0]), "torn: {value:?}");
                }
            });
        }
        let mut token = ThreadToken::at_thread_entry();
        for round in 1..=rounds {
            let deadline = Deadline::after(Duration::from_secs(30));
            let mut quiesced = gate.close(&mut token, Reason::DmaUnmap, deadline).unwrap();
            cell.replace(&mut quiesced, [round; 32]);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Of a word in a process without membarrier; see the gate's `word`.
const MARK: u64 = 1 << 8;

/// A word with the mark never equals what a handle hopes for, so no reader stays on the way without a fence.
#[test]
fn every_word_carries_the_mark_that_sends_readers_to_the_fences() {
    assert!(barrier::choose(barrier::Strategy::Fences));
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    let word = || {
        let shown = format!("{gate:?}");
        let number = shown.split("Word(").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
        number.parse::<u64>().unwrap()
    };
    assert_eq!(word() & MARK, MARK, "open");
    let deadline = Deadline::after(Duration::from_secs(30));
    let quiesced = gate.close(&mut token, Reason::Reset, deadline).unwrap();
    assert_eq!(word() & MARK, MARK, "blocked");
    drop(quiesced);
    gate.freeze();
    assert_eq!(word() & MARK, MARK, "frozen");
    gate.thaw();
    assert!(gate.handle().try_enter(&token, AccessKind::Dma).is_ok());
}

#[test]
fn the_choice_cannot_be_changed_later() {
    assert!(barrier::choose(barrier::Strategy::Fences));
    assert!(!barrier::choose(barrier::Strategy::Membarrier));
}

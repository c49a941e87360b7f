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

#[test]
fn the_choice_cannot_be_changed_later() {
    assert!(barrier::choose(barrier::Strategy::Fences));
    assert!(!barrier::choose(barrier::Strategy::Membarrier));
}

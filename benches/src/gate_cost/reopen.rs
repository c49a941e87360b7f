//! What a closer costs when nobody is inside: close and reopen, while two readers that have been there are idle.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use gate::{AccessKind, Deadline, Gate, Reason, ThreadToken, barrier};

use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

const TURNS: u32 = 20_000;

pub(super) fn figure(rounds: usize) -> Figure {
    let gate = Gate::new("bench");
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        // Readers with records that a closer looks at, asleep until the end of the measurement.
        let (ready, wait) = mpsc::channel();
        let mut ends = Vec::new();
        for _ in 0..2 {
            let (end, ended) = mpsc::channel::<()>();
            let (handle, ready) = (gate.handle(), ready.clone());
            ends.push(end);
            scope.spawn(move || {
                let token = ThreadToken::at_thread_entry();
                drop(handle.try_enter(&token, AccessKind::Bar));
                let _ = ready.send(());
                // Ends with an error, when the sender is dropped.
                let _ = ended.recv();
            });
        }
        let _ = (wait.recv(), wait.recv());
        let closer = scope.spawn(|| {
            let _ = pin::to_cpu(0);
            let mut token = ThreadToken::at_thread_entry();
            for _ in 0..rounds {
                floor.push(per_turn(barrier::heavy));
                ours.push(per_turn(|| {
                    let deadline = Deadline::after(Duration::from_secs(60));
                    drop(gate.close(&mut token, Reason::Reset, deadline));
                }));
            }
        });
        let _ = closer.join();
        drop(ends);
    });
    let (ours, floor) = (median(&mut ours), median(&mut floor));
    Figure {
        figure: "close_reopen_ns",
        value: ours,
        unit: "ns",
        limit: 1000.0,
        better: Better::Lower,
        ours,
        floor,
        peer: None,
        raw_unit: "ns",
        peer_is: None,
    }
}

fn per_turn(mut turn: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..TURNS).for_each(|_| turn());
    start.elapsed().as_nanos() as f64 / f64::from(TURNS)
}

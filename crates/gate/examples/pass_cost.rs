//! Prints what a pass costs: nanoseconds per enter + leave over an empty loop, per long pass, per read of a published
//! value, and per close. A quick look, not the
//! official figure: `cargo run --release -p gate --example pass_cost`.
#![allow(clippy::print_stdout)] // Its purpose.

#[cfg(not(any(loom, shuttle)))]
fn main() {
    use gate::{AccessKind, Gate, Published, Reason, ThreadToken};
    use std::hint::black_box;
    use std::sync::Barrier;
    use std::time::Instant;

    const ROUNDS: u32 = 20_000_000;
    let measure = |threads: usize, rounds: u32, what: &(dyn Fn(&Gate, &ThreadToken, u32) + Sync)| {
        let (gate, start) = (Gate::new("f"), Barrier::new(threads));
        let each = || {
            let token = ThreadToken::at_thread_entry();
            start.wait();
            let begin = Instant::now();
            what(&gate, &token, rounds);
            begin.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
        };
        let mut best = f64::MAX;
        for _ in 0..5 {
            let slowest = std::thread::scope(|scope| {
                let running: Vec<_> = (0..threads).map(|_| scope.spawn(each)).collect();
                running.into_iter().filter_map(|thread| thread.join().ok()).fold(0.0, f64::max)
            });
            best = best.min(slowest);
        }
        best
    };
    let attempt = measure(1, ROUNDS / 100, &|gate, token, rounds| {
        for _ in 0..rounds {
            drop(black_box(gate.try_close(token, Reason::Reset).ok()));
        }
    });
    println!("try_close and reopen: {attempt:.0} ns");
    println!("barrier: {:?}", gate::barrier::strategy());
    for threads in [1, 2] {
        let empty = measure(threads, ROUNDS, &|_, _, rounds| {
            for at in 0..rounds {
                black_box(at);
            }
        });
        let pass = measure(threads, ROUNDS, &|gate, token, rounds| {
            let handle = gate.handle();
            for at in 0..rounds {
                if let Ok(pass) = handle.try_enter(token, AccessKind::Bar) {
                    black_box(at);
                    drop(pass);
                }
            }
        });
        let nested = measure(threads, ROUNDS / 4, &|gate, token, rounds| {
            let handle = gate.handle();
            let outer = handle.try_enter(token, AccessKind::Bar);
            for at in 0..rounds {
                if let Ok(pass) = handle.try_enter(token, AccessKind::Dma) {
                    black_box(at);
                    drop(pass);
                }
            }
            drop(outer);
        });
        let long = measure(threads, ROUNDS / 10, &|gate, token, rounds| {
            let handle = gate.handle();
            for _ in 0..rounds {
                if let Ok(pass) = handle.try_enter(token, AccessKind::Bar) {
                    drop(black_box(pass.long(AccessKind::Dma, "read")));
                }
            }
        });
        let value = Published::new(1_u32);
        let read = measure(threads, ROUNDS, &|_, token, rounds| {
            for _ in 0..rounds {
                black_box(*value.read(token));
            }
        });
        println!("{threads} thread(s): read of a published value {:.2} ns over nothing;", read - empty);
        println!(
            "{threads} thread(s): nothing {empty:.2} ns, pass {pass:.2} ns (over nothing: {:.2}), nested pass {nested:.2} ns, pass + long pass {long:.1} ns",
            pass - empty
        );
    }
}

#[cfg(any(loom, shuttle))]
fn main() {}

//! Writers of COMMAND, resets, freezes and a removal at once, on real threads: whatever their order, and whether a zap met
//! its deadline or is owed still, a consumer ends with what COMMAND says. The order in which pages and device are touched
//! is the subject of `mappings`; all schedules of a few of these are the museum's.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod mapped;
mod support;

use gate::{AccessKind, Deadline, Gate, ThreadToken};
use mapped::{Consumer, Lines, Meets, Stop, Told};
use pci_core::{AccessError, Function, ResetError, ResetKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::full;

const COMMAND: u16 = 0x04;
const ROUNDS: u8 = 200;

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn passed() -> Deadline {
    Deadline::at(Instant::now())
}

struct World {
    function: Arc<Function>,
    consumer: Consumer,
    /// Writes whose zap missed its deadline.
    late: AtomicUsize,
}

impl World {
    fn new() -> World {
        let config = Arc::new(full().build().unwrap());
        let function = Arc::new(Function::new("f", Gate::new("f"), config, Arc::new(Told::default())));
        let consumer = Consumer::of(&function, 0, &Lines::default());
        World { function, consumer, late: AtomicUsize::new(0) }
    }

    /// Switches memory on and off, every other time without patience.
    fn toggle(&self, token: &mut ThreadToken) {
        for round in 0..ROUNDS {
            let deadline = if round % 4 < 2 { passed() } else { patient() };
            match self.function.write_config(token, COMMAND, &[(round % 2) << 1], deadline) {
                Err(AccessError::StillMapped(_)) => {
                    self.late.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) | Err(AccessError::Refused(_)) => {}
                Err(AccessError::Config(status)) => assert!(self.function.handle().is_gone(), "{status}"),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn reset(&self, token: &mut ThreadToken) {
        for _ in 0..ROUNDS {
            let done = self.function.reset(token, ResetKind::DeviceReset, patient());
            assert!(matches!(done, Ok(()) | Err(ResetError::NotQuiesced { .. })), "{done:?}");
        }
    }

    /// Somebody is inside nearly all the time.
    fn stay_inside(&self, token: &ThreadToken, until: &Stop) {
        while !until.is_set() {
            let pass = self.function.handle().try_enter(token, AccessKind::Bar);
            std::thread::yield_now();
            drop(pass);
        }
    }

    fn touch(&self, token: &mut ThreadToken, until: &Stop) {
        while !until.is_set() {
            self.consumer.touch(token);
        }
    }

    /// Runs `others` beside writers, a reset, somebody inside and the consumer, to their end.
    fn run(&self, other: impl FnOnce(&mut ThreadToken) + Send) {
        let stop = Stop::default();
        std::thread::scope(|scope| {
            scope.spawn(|| self.touch(&mut ThreadToken::at_thread_entry(), &stop));
            scope.spawn(|| self.stay_inside(&ThreadToken::at_thread_entry(), &stop));
            let at_the_end = stop.at_the_end();
            let works = [
                scope.spawn(|| self.toggle(&mut ThreadToken::at_thread_entry())),
                scope.spawn(|| self.toggle(&mut ThreadToken::at_thread_entry())),
                scope.spawn(|| self.reset(&mut ThreadToken::at_thread_entry())),
                scope.spawn(|| other(&mut ThreadToken::at_thread_entry())),
            ];
            for work in works {
                work.join().unwrap();
            }
            drop(at_the_end);
        });
    }
}

#[test]
fn mm_i2_mm_i3_a_consumer_ends_with_what_command_says_also_after_zaps_that_were_late() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    // Until it has happened: it depends on who is inside.
    for _ in 0..100 {
        world.run(|token| {
            for _ in 0..ROUNDS {
                world.function.freeze("test");
                std::thread::yield_now();
                world.function.thaw();
                world.consumer.touch(token);
            }
        });
        // What is owed is paid by a thread of its own.
        world.function.mappings().settle(token, patient()).unwrap();
        let on = world.function.config().command().bits() & 2 != 0;
        // A range that was thawed while memory is off stays covered until it is on.
        let met = world.consumer.touch(token);
        assert!(
            if on { met == Meets::Device } else { matches!(met, Meets::Failure | Meets::AllOnes) },
            "{met:?}"
        );
        for (command, meets) in [(2, Meets::Device), (0, Meets::Failure)] {
            world.function.write_config(token, COMMAND, &[command], patient()).unwrap();
            assert_eq!(world.consumer.touch(token), meets);
        }
        if world.late.load(Ordering::Relaxed) > 0 {
            return;
        }
    }
    panic!("no zap was ever late");
}

#[test]
fn a_removal_among_writers_and_resets_shows_all_ones_from_when_it_returns() {
    for _ in 0..10 {
        let world = World::new();
        world.run(|token| {
            world.consumer.touch(token);
            assert!(world.function.disconnect(token, patient()).orphans.is_empty());
            assert_eq!(world.consumer.script.look(), Meets::AllOnes);
        });
        let token = &mut ThreadToken::at_thread_entry();
        assert_eq!(world.consumer.touch(token), Meets::AllOnes);
        world.function.gate().renew().unwrap();
        world.function.mappings().settle(token, patient()).unwrap();
        assert_eq!(world.consumer.touch(token), Meets::AllOnes, "also when another one is in its place");
    }
}

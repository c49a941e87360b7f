//! How long a cycle of plug and unplug takes, by hand, with an idle driver: told, and bounded far above what is measured.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod world;

use gate::ThreadToken;
use slot::{Event, Request, State};
use std::time::{Duration, Instant};
use world::*;

#[test]
fn a_cycle_of_plug_and_unplug_takes_microseconds() {
    const CYCLES: u32 = 2_000;
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    let _driver = world.driver("driver", true);
    world.slot.post(Event::Link(true));
    let begun = Instant::now();
    for _ in 0..CYCLES {
        world.slot.post(Event::Card(true));
        world.slot.drive(token);
        let operation = world.slot.ask(Request::Disable { timeout: Duration::from_secs(60) });
        world.slot.drive(token);
        assert!(operation.finished().is_some());
        world.slot.post(Event::Card(false));
        world.slot.drive(token);
        world.slot.post(Event::Link(true));
    }
    let each = begun.elapsed() / CYCLES;
    println!("{each:?} a cycle");
    assert!(each < Duration::from_millis(5), "{each:?} a cycle");
    assert_eq!(world.state(), State::Off);
}

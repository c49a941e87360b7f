//! Time comes at any moment, also just when whoever drives has looked at the clock.

use super::crew::Crew;
use crate::machine::time::Jumping;
use crate::random::explore_a_part;
use assign::Assignment;
use gate::{Deadline, ThreadToken};
use shuttle::thread;
use slot::{Controller, Drivers, Event, Features, Hardware, Lamp, Parts, Removal, Settings, State};
use std::sync::Arc;

/// A port that has power and finds nothing.
struct Bare;

impl Hardware for Bare {
    fn apply_power(&self, _token: &mut ThreadToken, _deadline: Deadline) -> bool {
        true
    }

    fn cut_power(&self, _token: &mut ThreadToken, _deadline: Deadline) {}

    fn power_lamp(&self, _lamp: Lamp) {}

    fn attention_lamp(&self, _lamp: Lamp) {}

    fn configure(
        &self,
        _token: &mut ThreadToken,
        _deadline: Deadline,
    ) -> Result<Vec<Arc<Assignment>>, String> {
        Err("nothing".to_owned())
    }

    fn unconfigure(
        &self,
        _token: &mut ThreadToken,
        _functions: &[Arc<Assignment>],
        _removal: Removal,
        _deadline: Deadline,
    ) {
    }
}

#[test]
fn no_timer_is_lost_while_a_slot_is_kept_busy() {
    // HP-09, HP-17
    explore_a_part(1, || {
        let time = Arc::new(Jumping::default());
        let crew = Crew::new(time.clone());
        let (hardware, drivers, watch) = (Arc::new(Bare), Drivers::new(), Arc::new(()));
        let parts = Parts { hardware, drivers, time, crew: crew.clone(), watch };
        let slot = Controller::new("s", Features::default(), Settings::default(), parts);
        slot.post(Event::Card(true));
        slot.post(Event::Link(true));
        crew.rest();
        let same = crew.clone();
        let clock = thread::spawn(move || same.tick());
        // Means nothing, and keeps whoever drives busy.
        slot.post(Event::Replaced);
        clock.join().unwrap();
        crew.settle(&[&slot]);
        assert_eq!(slot.report().state, State::Off);
    });
}

//! Calls of drivers from outside, and what comes of them.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

use super::world::*;
use assign::Assignment;
use gate::ThreadToken;
use parking_lot::Mutex;
use pci_core::Function;
use pci_core::recovery::{Channel, Handlers};
use slot::{DriverAnswer, DriverCall};
use std::sync::Arc;

pub(crate) const DETECTED: DriverCall = DriverCall::ErrorDetected(Channel::Frozen);

/// What came of one call.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<DriverAnswer>>>);

impl Answers {
    /// The one that there was, if there was one yet.
    pub(crate) fn one(&self) -> Option<DriverAnswer> {
        let all = self.0.lock();
        assert!(all.len() <= 1, "answered {} times: {all:?}", all.len());
        all.first().copied()
    }
}

impl World {
    /// A driver that handles everything.
    pub(crate) fn aware(&self, name: &'static str, lets_go: bool) -> Arc<Driven> {
        let driver = self.driver(name, lets_go);
        *driver.handlers.lock() = Handlers::all();
        driver
    }

    /// Has the driver of `function` called; nobody drives yet.
    pub(crate) fn call_at(&self, function: &Arc<Function>, call: DriverCall) -> Answers {
        let answers = Answers::default();
        let (tell, slot) = (answers.clone(), Arc::downgrade(&self.slot));
        self.slot.call_driver(
            function,
            call,
            Box::new(move |answer| {
                // Nothing is held: this takes the slot's lock.
                let _free = slot.upgrade().map(|slot| slot.report());
                tell.0.lock().push(answer);
            }),
        );
        answers
    }

    /// The same at a function of the card that is in the slot.
    pub(crate) fn call(&self, nth: usize, call: DriverCall) -> Answers {
        self.call_at(self.function(nth).function(), call)
    }

    /// The same, until nothing is due.
    pub(crate) fn called(&self, token: &mut ThreadToken, call: DriverCall) -> Option<DriverAnswer> {
        let answers = self.call(0, call);
        self.drive(token);
        answers.one()
    }
}

/// Whether registers of its device are reached.
pub(crate) fn works(function: &Assignment, token: &mut ThreadToken) -> bool {
    let mut data = [0; 1];
    function.region_read(token, 0, 0, &mut data).is_ok() && data == [0x5a]
}

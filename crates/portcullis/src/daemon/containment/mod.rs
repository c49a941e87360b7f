//! Containment in the daemon: its PEs follow the machine, one thread takes its events up, and what it does is in the journal.
//!
//! * this file: what it is made of, and its thread;
//! * `owners`: who has a function, and which slot takes it out;
//! * `words`: what is told, for the journal.
//!
//! # Concurrency
//! Errors are noticed on any thread and only ring a bell; the thread freezes and begins recoveries, which the crew of the slots
//! carries out. The machine is followed when it says that it has changed, and looked at now and then, since a guest that
//! switches its virtual functions says nothing.

mod owners;
mod words;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::slot::Threads;
use contain::budget::FreezeBudget;
use contain::containment::{Containment, Parts};
use contain::detect::{Alarm, Bell};
use contain::pe::Holder;
use contain::platform::Machine as Platform;
use contain::settings::Settings;
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};

use super::machine::{Follower, Machine};
use super::slot::Slot;
use crate::config::ContainmentConfig;
use crate::events::Journal;
use owners::Owners;
use words::Teller;
pub(super) use words::outcome;

/// How often the machine is looked at without having said anything.
const LOOK: Duration = Duration::from_secs(1);
/// How long following it may wait for who follows it at the same time.
const FOLLOW: Duration = Duration::from_secs(5);

/// Containment, and what the daemon gives it; shared by its thread and by operators.
pub(super) struct Contained {
    pub(super) containment: Arc<Containment>,
    machine: Arc<Machine>,
    owners: Arc<Owners>,
    bell: Arc<Bell>,
    /// As configured.
    pub(super) delay_percent: u8,
    end: AtomicBool,
}

impl Contained {
    /// Containment of `machine`, without a thread and without slots.
    ///
    /// # Errors
    /// No descriptor left.
    pub(super) fn new(
        config: &ContainmentConfig,
        machine: &Arc<Machine>,
        crew: &Arc<Threads>,
        journal: &Arc<Journal>,
    ) -> std::io::Result<Arc<Contained>> {
        let owners = Arc::new(Owners::default());
        let bell = Bell::new()?;
        let platform = Platform::new(Arc::clone(&machine.topology), Arc::clone(&machine.resets));
        let platform = platform.with_slots(Arc::clone(&owners) as _);
        let parts = Parts {
            time: Arc::clone(&machine.time),
            platform: Arc::new(platform),
            parties: Arc::clone(&owners) as _,
            crew: Arc::clone(crew) as _,
            alarm: Arc::clone(&bell) as _,
            watch: Arc::new(Teller::new(&owners, journal)),
            settings: settings(config),
        };
        let containment = Containment::new(parts);
        let (own, delay_percent) = (Arc::clone(machine), config.delay_percent);
        let end = AtomicBool::new(false);
        let contained = Arc::new(Contained { containment, machine: own, owners, bell, delay_percent, end });
        let follower: Weak<Contained> = Arc::downgrade(&contained);
        machine.tells(follower);
        Ok(contained)
    }

    /// The slots are made.
    pub(super) fn belongs_to(&self, slots: &Arc<[Slot]>) {
        self.owners.are(slots);
    }

    /// Makes the PEs like the machine is now.
    pub(super) fn follow(&self, token: &mut ThreadToken) {
        let topology = &self.machine.topology;
        match self.containment.keep_up(token, topology, Deadline::after(FOLLOW)) {
            Ok(followed) if followed.added == 0 => return,
            Ok(_) => {}
            // Some may have been added all the same.
            Err(error) => tracing::warn!("the PEs do not follow the machine: {error}"),
        }
        for place in self.owners.places() {
            let Some(assignment) = place.assignment() else { continue };
            let found = self.containment.tree().of_function(token, place.address, Holder::Operator);
            // Of what came since, the next look takes care.
            if let Some((_, function)) =
                found.filter(|(_, it)| Arc::ptr_eq(&it.function, assignment.function()))
            {
                assignment.watch_errors(self.containment.sentinel(&function));
            }
        }
    }

    fn run(&self, token: &mut ThreadToken) {
        while !self.end.load(Ordering::Acquire) {
            self.bell.wait(token, Deadline::after(LOOK));
            self.follow(token);
            while self.containment.turn(token) {}
        }
    }
}

impl Follower for Contained {
    fn changed(&self) {
        self.bell.raise();
    }

    fn left(&self, token: &mut ThreadToken) {
        self.follow(token);
    }
}

/// The thread of containment. Ended by [`Keeper::stop`], or when this is dropped.
pub(super) struct Keeper {
    contained: Arc<Contained>,
    ended: Receiver<()>,
}

impl Keeper {
    /// # Errors
    /// No thread left.
    pub(super) fn start(contained: &Arc<Contained>) -> std::io::Result<Keeper> {
        let (ends, ended) = channel();
        let own = Arc::clone(contained);
        std::thread::Builder::new().name("containment".into()).spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            own.run(&mut token);
            drop((own, token));
            // Nobody listens if nobody waits for it.
            let _ = ends.send(());
        })?;
        Ok(Keeper { contained: Arc::clone(contained), ended })
    }

    /// Ends recoveries and the thread; false if they have not ended by the deadline.
    pub(super) fn stop(self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        let stopped = self.contained.containment.stop(token, deadline);
        self.contained.end.store(true, Ordering::Release);
        self.contained.bell.raise();
        let _shown = Waiting::new(token, "stop", None, "the thread of containment to end");
        let ended = deadline.remaining().is_some_and(|left| self.ended.recv_timeout(left).is_ok());
        stopped && ended
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.contained.end.store(true, Ordering::Release);
        self.contained.bell.raise();
    }
}

fn settings(config: &ContainmentConfig) -> Settings {
    Settings {
        budget: FreezeBudget { max_freezes: config.max_freezes, window: config.window },
        time_scale: f64::from(config.delay_percent) / 100.0,
        call_timeout: config.call_timeout,
        orphan_threshold: config.orphan_after,
        enabled: config.enabled,
        recover: config.recover,
        ..Settings::default()
    }
}

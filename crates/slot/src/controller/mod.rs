//! The owner of one slot (law 2): carries out what the [life](crate::Slot) of the slot asks for, and tells it what happened.
//!
//! Whoever has something for a slot leaves it in the slot's inbox ([`Controller::post`], [`Controller::ask`]) and goes on. One thread
//! at a time [drives](Controller::drive): it takes one event after the other, steps the life, and carries out the effects as a
//! queue of [pieces of work](work), each with at most one call of foreign code.
//!
//! # A call that does not return
//! Before each piece of work the driving thread writes down what it calls and until when. When that time is over,
//! [`Controller::overdue`] takes the slot away from it: the piece counts as failed, and another thread drives on with the next
//! one. The thread that was left behind finds its ticket stale when the call returns. It then ends what came out of the call (a driver
//! that was bound late is removed, functions that were found late are taken out again), crosses itself out of the list of
//! those left behind, and touches nothing else of the slot.
//!
//! # Calls from outside
//! Whoever recovers a function has its driver called here ([`Controller::call_driver`]), as an [errand]: when nothing else is due, one
//! at a time. So it never meets a probe, a request or a removal of the same driver; whatever happens to the slot goes first, and a card that
//! is torn out, has failed or is taken by force does not wait for the call either: the call is left behind at once. An orderly
//! unplug begins when the call has returned, or is past its time.
//!
//! What this module does **not** do: it has no threads (see [`Crew`]), and decides nothing about the life of a slot.
//!
//! # Concurrency
//! Everything that changes is behind one leaf, the *desk*, which is held for a look or a change; nothing is called and nothing foreign
//! dropped under it. Slots know nothing of each other.

mod bring_up;
mod call;
mod desk;
mod drive;
mod effects;
mod end;
mod errand;
mod inbox;
mod late;
mod report;
mod take_away;
mod work;

use crate::consumer::Consumer;
use crate::crew::{Crew, Driven};
use crate::driver::Drivers;
use crate::effect::Finished;
use crate::event::{Event, Request};
use crate::hardware::Hardware;
use crate::operation::Operation;
use crate::ranks;
use crate::settings::Settings;
use crate::sight::Features;
use crate::watch::Watch;
use desk::Desk;
use gate::ThreadToken;
use gate::lock::{Condvar, Leaf, LeafGuard};
use pci_core::{Function, Time};
use std::sync::{Arc, Weak};
use std::time::Duration;

pub use errand::MAX_DRIVER_CALLS;
pub use report::{LeftBehind, Report};

/// What a slot works with.
#[derive(Clone)]
pub struct Parts {
    /// Its port and its place.
    pub hardware: Arc<dyn Hardware>,
    /// To whom its functions are offered.
    pub drivers: Arc<Drivers>,
    /// Its clock.
    pub time: Arc<dyn Time>,
    /// Who drives it.
    pub crew: Arc<dyn Crew>,
    /// Who is told.
    pub watch: Arc<dyn Watch>,
}

/// The owner of one slot; see the module's head.
pub struct Controller {
    name: Arc<str>,
    /// What threads that drive it are called.
    thread: String,
    settings: Settings,
    parts: Parts,
    me: Weak<Controller>,
    /// Rank: 87, slot desk; a leaf: events are posted from anywhere, also under passes and by destructors.
    desk: Leaf<ranks::Desk, Desk>,
    /// That everything has ended.
    ended: Condvar,
}

impl Controller {
    /// An empty slot without power.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        features: Features,
        settings: Settings,
        parts: Parts,
    ) -> Arc<Controller> {
        let desk = Desk::new(features, settings);
        let name = name.into();
        Arc::new_cyclic(|me| Controller {
            thread: format!("slot {name}"),
            name,
            settings,
            parts,
            me: me.clone(),
            desk: Leaf::new(desk),
            ended: Condvar::new(),
        })
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Now, by the slot's clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.parts.time.now()
    }

    /// Something happened. Waits for nothing and may be called anywhere. What the slot itself reports to its life
    /// ([`Event::Powered`] and the like) is ignored, and so is everything once the slot was shut down.
    ///
    /// Card, link and latch are levels: of any number of changes that nobody has seen yet, the last is kept, and that there
    /// were some. If the card or the link is lost, nothing reaches the functions from here on (HP-12).
    pub fn post(&self, event: Event) {
        // Not about a function: nobody knows of which card it would be.
        if event != Event::Failed {
            self.put(self.desk.lock(), event);
        }
    }

    /// `function` does not work any more, and nothing will make it: its card is taken away from everybody at once, as if it had been torn
    /// out, and the slot stays off until it is switched on again or another card is put in (EEH-17). False, and nothing happens,
    /// if the function is on no card of this slot, or not any more. Waits for nothing and may be called anywhere.
    pub fn fail(&self, function: &Function) -> bool {
        let mut desk = self.desk.lock();
        let here = desk.card.position(function).is_some() && !desk.is_closing();
        if here {
            desk.card.failed = true;
            self.put(desk, Event::Failed);
        }
        here
    }

    fn put(&self, mut desk: LeafGuard<'_, ranks::Desk, Desk>, event: Event) {
        if desk.is_closing() || !desk.inbox.push(event) {
            return;
        }
        let lost = matches!(event, Event::Card(false) | Event::Link(false) | Event::Replaced | Event::Failed);
        let functions = lost.then(|| desk.card.functions.clone());
        if lost {
            desk.give_way();
        }
        self.wake(desk);
        // Retiring them is for who drives, who has a token; a freeze refuses as much.
        for function in functions.iter().flat_map(|functions| functions.iter()) {
            function.function().handle().freeze();
        }
    }

    /// Asks for something; the answer says how it ends, which it does in bounded time. Waits for nothing and may be called anywhere.
    pub fn ask(&self, request: Request) -> Arc<Operation> {
        let mut desk = self.desk.lock();
        let id = desk.next_operation();
        let refused = match () {
            () if desk.is_closing() => Some(Finished::ShutDown),
            () if desk.inbox.is_full_for(request) => Some(Finished::TooMany),
            () => None,
        };
        let operation = Arc::new(Operation::new(id, request, refused));
        if refused.is_none() {
            desk.inbox.push(Event::Asked(id, request));
            desk.operations.push(Arc::clone(&operation));
            if (request == Request::Disable { timeout: Duration::ZERO }) {
                desk.give_way();
            }
            self.wake(desk);
        }
        operation
    }

    /// Has `consumer` asked and revoked from now on.
    pub fn add_consumer(&self, consumer: Arc<dyn Consumer>) {
        let name: Arc<str> = consumer.describe().into();
        self.desk.lock().add_consumer(consumer, name);
    }

    /// Asks `consumer` no more. It holds nothing of this slot any more, or what it holds is its own affair.
    pub fn remove_consumer(&self, consumer: &Arc<dyn Consumer>) {
        let removed = self.desk.lock().remove_consumer(consumer);
        // Not under the lock: it may be the last reference.
        drop(removed);
        // It may have been the last that was waited for.
        self.post(Event::Released);
    }

    /// Has somebody drive, unless somebody does, or will.
    fn wake(&self, mut desk: LeafGuard<'_, ranks::Desk, Desk>) {
        let needed = desk.driving.is_none() && !std::mem::replace(&mut desk.woken, true);
        drop(desk);
        if needed && let Some(me) = self.me.upgrade() {
            self.parts.crew.wake(&(me as Arc<dyn Driven>));
        }
    }

    /// Has the crew come back at that time.
    fn wake_at(&self, when: Duration) {
        let me: Weak<dyn Driven> = self.me.clone();
        self.parts.crew.wake_at(&me, when);
    }
}

impl Driven for Controller {
    fn name(&self) -> &str {
        &self.thread
    }

    fn now(&self) -> Duration {
        Controller::now(self)
    }

    fn drive(&self, token: &mut ThreadToken) -> Option<Duration> {
        Controller::drive(self, token)
    }

    fn overdue(&self, now: Duration) -> Option<Duration> {
        Controller::overdue(self, now)
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("name", &self.name).finish_non_exhaustive()
    }
}

//! What a slot's owner does: tasks, which wait in the desk, and work, which is a task with everything that it needs.

use super::Controller;
use super::call::contained;
use super::desk::{Bond, Card, Desk};
use crate::binding::Binding;
use crate::consumer::Consumer;
use crate::driver::{Bound, ProbeError, Registered};
use crate::driver_call::{Answering, DriverAnswer, DriverCall};
use crate::effect::{Finished, Lamp, Removal};
use crate::event::Event;
use crate::operation::Operation;
use crate::watch::{Failure, Told};
use assign::Assignment;
use gate::{Deadline, ThreadToken};
use pci_core::recovery::Handlers;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indicator {
    Power,
    Attention,
}

/// The `function`th function of a card, and the `driver`th driver that it is offered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) function: usize,
    pub(super) driver: usize,
    /// An errand: no further function is offered.
    pub(super) only: bool,
}

/// Something to be done. Seats and bonds are named by their numbers; those that are not there any more are passed over.
pub(super) enum Task {
    Tell(Told),
    Lamp(Indicator, Lamp),
    ApplyPower,
    CutPower,
    Configure,
    /// Offers a function to a driver, and then to those after it.
    Offer(At),
    Probe {
        bond: u64,
        at: At,
    },
    /// Calls a driver on an errand.
    Call {
        bond: u64,
        call: DriverCall,
    },
    /// Ends a driver at a function that stays.
    Unbind {
        bond: u64,
    },
    /// What came of an errand.
    Reply(Answering, DriverAnswer),
    Request {
        bond: u64,
        nth: u32,
    },
    Keep {
        bond: u64,
    },
    Remove {
        bond: u64,
        removal: Removal,
    },
    Shutdown {
        bond: u64,
    },
    /// Ends the driver's hold.
    LetGo {
        bond: u64,
    },
    Ask {
        seat: u64,
        nth: u32,
    },
    Stay {
        seat: u64,
    },
    Revoke {
        from: u64,
    },
    /// Whether nobody holds anything any more: looks at the seats from this number on.
    Check {
        from: u64,
    },
    /// The last accesses to hardware that is still there (HP-13).
    Quiet,
    /// From here on nothing enters any gate of the card. Waits for nothing (HP-12).
    Disconnect,
    /// Waits for what is inside.
    Drain,
    Unconfigure(Removal),
    Finish(Arc<Operation>, Finished),
    /// Something for the life to know.
    Answer(Event),
    /// The end of the end.
    Closed,
}

/// A driver's function, while the driver is being called.
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) driver: Arc<str>,
    pub(super) binding: Arc<Binding>,
}

/// A seat, while the consumer is being called.
pub(super) struct Seated {
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) consumer: Arc<dyn Consumer>,
}

pub(super) type Functions = Arc<[Arc<Assignment>]>;

/// A task with everything that it needs, for doing it without the lock: at most one call of foreign code.
pub(super) enum Work {
    Tell(Told),
    Lamp(Indicator, Lamp),
    ApplyPower,
    CutPower,
    Configure,
    Offer { function: Arc<Assignment>, driver: Registered, at: At },
    Probe { held: Held, driver: Registered, at: At },
    Call { held: Held, bound: Box<dyn Bound>, call: DriverCall, has_handler: bool },
    Unbind { held: Held, bound: Box<dyn Bound> },
    Reply(Answering, DriverAnswer),
    Request { held: Held, bound: Box<dyn Bound>, nth: u32 },
    Keep { held: Held, bound: Box<dyn Bound> },
    Remove { driver: Arc<str>, bound: Box<dyn Bound>, removal: Removal },
    Shutdown { driver: Arc<str>, bound: Box<dyn Bound> },
    LetGo(Bond),
    Ask { seat: Seated, nth: u32 },
    Stay(Seated),
    Revoke(Seated),
    Check(Seated),
    Quiet(Functions),
    Disconnect(Functions),
    Drain(Functions),
    Unconfigure { card: Card, removal: Removal },
    Finish { operation: Arc<Operation>, how: Finished, told: bool },
    Closed,
}

/// What a piece of work was for: what is left of it at the desk while it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Nothing,
    ApplyPower,
    Configure,
    Offer(At),
    Probe { bond: u64, at: At },
    Bond(u64),
    Call { bond: u64 },
    Unbind { bond: u64 },
    LetGo,
    Check { seat: u64 },
}

impl Purpose {
    /// Whose driver is being called, of those that have a bond.
    pub(super) fn bond(self) -> Option<u64> {
        match self {
            Purpose::Bond(bond)
            | Purpose::Probe { bond, .. }
            | Purpose::Call { bond }
            | Purpose::Unbind { bond } => Some(bond),
            _ => None,
        }
    }
}

/// What came out of a piece of work.
pub(super) enum Done {
    /// Nothing that anybody needs; or it failed.
    Nothing,
    Power(bool),
    Configured(Result<Functions, String>, Arc<[Registered]>),
    NotOffered,
    /// The driver is for the function, which was attached for it.
    Attached(Arc<str>, Arc<Binding>),
    NotAttached(String),
    Probed(Arc<Binding>, Result<(Box<dyn Bound>, Handlers), ProbeError>),
    /// The driver's callback has returned.
    Back(Arc<Binding>, Box<dyn Bound>),
    /// The same, with what came of it.
    Answered(Arc<Binding>, Box<dyn Bound>, DriverAnswer),
    /// The driver has ended, and has its hold still.
    Unbound(Arc<Binding>),
    Holds(bool),
    Orphans(Vec<String>),
}

/// The end of a piece of work.
pub(super) struct Ended {
    pub(super) done: Done,
    pub(super) failure: Option<Failure>,
}

impl Ended {
    fn of(done: Result<Done, Failure>) -> Ended {
        match done {
            Ok(done) => Ended { done, failure: None },
            Err(failure) => Ended { done: Done::Nothing, failure: Some(failure) },
        }
    }
}

impl From<Done> for Ended {
    fn from(done: Done) -> Ended {
        Ended { done, failure: None }
    }
}

impl Work {
    pub(super) fn purpose(&self) -> Purpose {
        match self {
            Work::ApplyPower => Purpose::ApplyPower,
            Work::Configure => Purpose::Configure,
            Work::Offer { at, .. } => Purpose::Offer(*at),
            Work::Probe { held, at, .. } => Purpose::Probe { bond: held.id, at: *at },
            Work::Call { held, .. } => Purpose::Call { bond: held.id },
            Work::Unbind { held, .. } => Purpose::Unbind { bond: held.id },
            Work::LetGo(_) => Purpose::LetGo,
            Work::Request { held, .. } | Work::Keep { held, .. } => Purpose::Bond(held.id),
            Work::Check(seat) => Purpose::Check { seat: seat.id },
            _ => Purpose::Nothing,
        }
    }

    /// It concerns those who watch, or wait for an answer, only.
    pub(super) fn is_told(&self) -> bool {
        matches!(self, Work::Tell(_) | Work::Finish { .. } | Work::Reply(..) | Work::Closed)
    }

    /// It may take all the time that there is for its effect.
    pub(super) fn is_hardware(&self) -> bool {
        matches!(self, Work::ApplyPower | Work::CutPower | Work::Configure | Work::Unconfigure { .. })
    }

    /// Does it, within the deadline as far as it is ours.
    pub(super) fn run(self, slot: &Controller, token: &mut ThreadToken, deadline: Deadline) -> Ended {
        let parts = &slot.parts;
        let hardware = &parts.hardware;
        let nothing = |()| Done::Nothing;
        Ended::of(match self {
            Work::Tell(told) => contained(|| parts.watch.notice(&slot.name, &told)).map(nothing),
            Work::Lamp(Indicator::Power, lamp) => contained(|| hardware.power_lamp(lamp)).map(nothing),
            Work::Lamp(Indicator::Attention, lamp) => {
                contained(|| hardware.attention_lamp(lamp)).map(nothing)
            }
            Work::ApplyPower => contained(|| hardware.apply_power(token, deadline)).map(Done::Power),
            Work::CutPower => contained(|| hardware.cut_power(token, deadline)).map(nothing),
            Work::Configure => slot.configure(token, deadline),
            Work::Offer { function, driver, .. } => slot.attach_for(token, &function, driver),
            Work::Probe { held, driver, .. } => return super::bring_up::probe(held, &driver, token),
            Work::Call { held, bound, call, has_handler } => {
                return super::errand::call(held, bound, (call, has_handler), token);
            }
            Work::Unbind { held, bound } => {
                let failure = contained(|| bound.remove(token, Removal::Orderly)).err();
                return Ended { done: Done::Unbound(held.binding), failure };
            }
            Work::Reply(answering, answer) => contained(|| answering.give(answer)).map(nothing),
            Work::Request { held, mut bound, nth } => {
                let failure = contained(|| bound.request(token, nth)).err();
                return Ended { done: Done::Back(held.binding, bound), failure };
            }
            Work::Keep { held, mut bound } => {
                let failure = contained(|| bound.keep(token)).err();
                return Ended { done: Done::Back(held.binding, bound), failure };
            }
            Work::Remove { bound, removal, .. } => contained(|| bound.remove(token, removal)).map(nothing),
            Work::Shutdown { mut bound, .. } => contained(move || bound.shutdown(token)).map(nothing),
            Work::LetGo(bond) => {
                bond.binding.take_away(token);
                Ok(Done::Nothing)
            }
            Work::Ask { seat, nth } => contained(|| seat.consumer.request(token, nth)).map(nothing),
            Work::Stay(seat) => contained(|| seat.consumer.keep(token)).map(nothing),
            Work::Revoke(seat) => contained(|| seat.consumer.revoke(token, deadline)).map(Done::Orphans),
            Work::Check(seat) => contained(|| seat.consumer.holds()).map(Done::Holds),
            Work::Quiet(functions) => super::take_away::quiet(&functions, token).map(nothing),
            Work::Disconnect(functions) => {
                super::take_away::disconnect(&functions, token);
                Ok(Done::Nothing)
            }
            Work::Drain(functions) => Ok(Done::Orphans(super::take_away::drain(&functions, token, deadline))),
            Work::Unconfigure { card, removal } => {
                let functions = card.functions.to_vec();
                let mut done = contained(|| hardware.unconfigure(token, &functions, removal, deadline));
                done = done.and(contained(move || drop(card)));
                // Each by itself: a model of a device that panics as it is dropped while another panic unwinds ends the process.
                for function in functions {
                    done = done.and(contained(move || drop(function)));
                }
                done.map(nothing)
            }
            Work::Finish { operation, how, told } => {
                operation.finish(how);
                let end = Told::Operation(operation.id(), operation.request(), Some(how));
                if told {
                    contained(|| parts.watch.notice(&slot.name, &end)).map(nothing)
                } else {
                    Ok(Done::Nothing)
                }
            }
            Work::Closed => {
                slot.ended.notify_all();
                Ok(Done::Nothing)
            }
        })
    }
}

impl Desk {
    /// Whose method a piece of work calls, and which.
    pub(super) fn callee(&self, work: &Work) -> (Arc<str>, &'static str) {
        let (who, name) = match work {
            Work::Tell(_) | Work::Finish { .. } => (&self.watch, "notice"),
            Work::Lamp(Indicator::Power, _) => (&self.hardware, "power_lamp"),
            Work::Lamp(Indicator::Attention, _) => (&self.hardware, "attention_lamp"),
            Work::ApplyPower => (&self.hardware, "apply_power"),
            Work::CutPower => (&self.hardware, "cut_power"),
            Work::Configure => (&self.hardware, "configure"),
            Work::Unconfigure { .. } => (&self.hardware, "unconfigure"),
            Work::Offer { driver, .. } => (&driver.name, "matches"),
            Work::Probe { driver, .. } => (&driver.name, "probe"),
            Work::Call { held, call, .. } => (&held.driver, call.method()),
            Work::Unbind { held, .. } => (&held.driver, "remove"),
            Work::Reply(..) => (&self.own, "answer"),
            Work::Request { held, .. } => (&held.driver, "request"),
            Work::Keep { held, .. } => (&held.driver, "keep"),
            Work::Remove { driver, .. } => (driver, "remove"),
            Work::Shutdown { driver, .. } => (driver, "shutdown"),
            Work::Ask { seat, .. } => (&seat.name, "request"),
            Work::Stay(seat) => (&seat.name, "keep"),
            Work::Revoke(seat) => (&seat.name, "revoke"),
            Work::Check(seat) => (&seat.name, "holds"),
            Work::LetGo(_) => (&self.own, "detach"),
            Work::Quiet(_) => (&self.own, "quiet"),
            Work::Disconnect(_) => (&self.own, "disconnect"),
            Work::Drain(_) => (&self.own, "drain"),
            Work::Closed => (&self.own, "end"),
        };
        (Arc::clone(who), name)
    }
}

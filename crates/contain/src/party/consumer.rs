//! Consumers that are no drivers here, such as virtual machines.

use super::{Party, Reply};
use crate::plan::{Answer, Call, Channel, Policy, Role};
use gate::{Deadline, ThreadToken};

/// How a consumer is told of errors.
pub type Notifier = Box<dyn Fn(&mut ThreadToken, Channel) + Send + Sync>;

/// How a consumer's interrupts are held back (true) or let through (false).
pub type Holder = Box<dyn Fn(&mut ThreadToken, bool, Deadline) + Send + Sync>;

/// How it is waited for until no I/O has memory any more that was taken away from a consumer.
pub type Drainer = Box<dyn Fn(&mut ThreadToken, Deadline) -> bool + Send + Sync>;

/// A consumer that is no driver here. Its model is quiesced, saved, restored and resumed by the recovery itself, if that is its
/// policy.
pub struct Consumer {
    name: String,
    policy: Policy,
    notifier: Option<Notifier>,
    interrupts: Option<Holder>,
    drainer: Option<Drainer>,
}

impl Consumer {
    /// A consumer that is not notified and has no interrupts.
    #[must_use]
    pub fn new(name: impl Into<String>, policy: Policy) -> Consumer {
        Consumer { name: name.into(), policy, notifier: None, interrupts: None, drainer: None }
    }

    /// Has `notifier` called with its error notifications. Only for who asked for them: some consumers stop at the first one.
    #[must_use]
    pub fn telling(self, notifier: Notifier) -> Consumer {
        Consumer { notifier: Some(notifier), ..self }
    }

    /// Has `holder` hold its interrupts back (true) or let them through (false).
    #[must_use]
    pub fn holding(self, holder: Holder) -> Consumer {
        Consumer { interrupts: Some(holder), ..self }
    }

    /// Has `drainer` wait for its I/O in flight.
    #[must_use]
    pub fn draining(self, drainer: Drainer) -> Consumer {
        Consumer { drainer: Some(drainer), ..self }
    }
}

impl Party for Consumer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn role(&self) -> Role {
        Role::Consumer(self.policy)
    }

    fn call(&self, _token: &mut ThreadToken, _call: Call, reply: Reply) {
        // It is never called: the recovery deals with its model. Who calls all the same is not left waiting.
        reply.answer(Answer::Done);
    }

    fn notify(&self, token: &mut ThreadToken, channel: Channel) {
        if let Some(notifier) = &self.notifier {
            notifier(token, channel);
        }
    }

    fn drained(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        self.drainer.as_ref().is_none_or(|drained| drained(token, deadline))
    }

    fn hold_interrupts(&self, token: &mut ThreadToken, held: bool, deadline: Deadline) {
        if let Some(hold) = &self.interrupts {
            hold(token, held, deadline);
        }
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

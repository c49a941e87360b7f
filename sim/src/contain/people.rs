//! Drivers and consumers, as bad as they come: they answer anything, late or never, panic, and do not return.

use super::check::Rule;
use super::scene::Scene;
use crate::driver::Planned;
use contain::merge::Vote;
use contain::party::{Nobody, Parties, Party, Reply};
use contain::plan::{Answer, Call, Channel, Role};
use contain::tree::PeFunction;
use gate::{Deadline, ThreadToken};
use pci_core::Function;
use pci_spec::Bdf;
use std::panic::resume_unwind;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// An answer that is on its way.
pub(crate) struct Late {
    pub(crate) when: Duration,
    pub(crate) reply: Reply,
    pub(crate) answer: Answer,
}

/// Who knows who has which function.
pub(crate) struct People(pub(crate) Weak<Scene>);

impl Parties for People {
    fn of(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) -> Arc<dyn Party> {
        let Some(scene) = self.0.upgrade() else { return Arc::new(Nobody) };
        scene.called(token, "who has a function");
        scene.misbehave(token);
        let role = scene.forest.with(|forest| {
            let card = forest.card(function.address)?;
            Arc::ptr_eq(&card.node.function, &function.function).then_some(card.role)
        });
        let Some(role) = role else { return Arc::new(Nobody) };
        let hand = Hand { scene: self.0.clone(), at: function.address, of: function.function.clone(), role };
        Arc::new(hand)
    }
}

struct Hand {
    scene: Weak<Scene>,
    at: Bdf,
    of: Arc<Function>,
    role: Role,
}

impl Party for Hand {
    fn name(&self) -> String {
        self.at.to_string()
    }

    fn role(&self) -> Role {
        self.role
    }

    fn needs_fundamental_reset(&self) -> bool {
        self.at.function() == 7
    }

    fn call(&self, token: &mut ThreadToken, call: Call, reply: Reply) {
        let Some(scene) = self.scene.upgrade() else { return };
        scene.called(token, "a driver");
        if self.of.gate().status().owner.is_some() {
            scene.wrong(Rule::NothingHeld, format!("{call:?} of {} while its gate is closed", self.at));
        }
        if scene.calm.get() {
            return reply.answer(good(call));
        }
        let faults = scene.plan.faults;
        let dice = |times: u32| scene.random.with(|random| random.chance(times, 1000));
        let answer = if dice(faults.odd) { odd(&scene, call) } else { good(call) };
        if dice(faults.silent) {
            return drop(reply);
        }
        if dice(faults.late) {
            let most = u64::try_from(scene.plan.settings.call_timeout.as_millis() * 2).unwrap_or(u64::MAX);
            let when = scene.now() + scene.random.with(|random| random.ms(0, most));
            return scene.late.with(|late| late.push(Late { when, reply, answer }));
        }
        if dice(faults.hangs) && dice(500) {
            reply.answer(answer);
            return scene.misbehave(token);
        }
        scene.misbehave(token);
        reply.answer(answer);
    }

    fn notify(&self, token: &mut ThreadToken, _channel: Channel) {
        let Some(scene) = self.scene.upgrade() else { return };
        scene.called(token, "a consumer");
        scene.misbehave(token);
    }

    fn hold_interrupts(&self, token: &mut ThreadToken, _held: bool, _deadline: Deadline) {
        let Some(scene) = self.scene.upgrade() else { return };
        scene.called(token, "interrupts");
        scene.misbehave(token);
    }
}

impl Scene {
    /// EEH-I4: whoever calls foreign code holds nothing.
    pub(crate) fn called(&self, token: &mut ThreadToken, what: &str) {
        self.calls.with(|calls| *calls += 1);
        self.trace(|| format!("calls: {what}"));
        // In builds with debug assertions; it also sees locks.
        token.assert_holds_nothing();
    }

    /// Hangs, or panics, or neither.
    pub(crate) fn misbehave(&self, token: &mut ThreadToken) {
        if self.calm.get() {
            return;
        }
        let faults = self.plan.faults;
        if self.random.with(|random| random.chance(faults.hangs, 1000)) {
            let most = u64::try_from(self.plan.settings.call_timeout.as_millis() * 2).unwrap_or(u64::MAX);
            let time = self.random.with(|random| random.ms(0, most));
            self.linger(token, time);
        }
        if self.random.with(|random| random.chance(faults.panics, 1000)) {
            self.trace(|| "somebody panics".into());
            resume_unwind(Box::new(Planned));
        }
    }
}

fn good(call: Call) -> Answer {
    match call {
        Call::ErrorDetected(Channel::PermFailure) => Answer::Vote(Vote::Disconnect),
        Call::ErrorDetected(_) => Answer::Vote(Vote::CanRecover),
        Call::MmioEnabled | Call::SlotReset => Answer::Vote(Vote::Recovered),
        _ => Answer::Done,
    }
}

fn odd(scene: &Scene, call: Call) -> Answer {
    scene.random.with(|random| match random.below(8) {
        0 => Answer::Failed,
        1 => Answer::Done,
        2..=4 if matches!(call, Call::ErrorDetected(_)) => Answer::Vote(Vote::NeedReset),
        _ => Answer::Vote(random.pick(&Vote::ALL).copied().unwrap_or(Vote::None)),
    })
}

//! One step: what is due, or what somebody does.

use super::plan::Act;
use super::scene::Scene;
use super::{acts, check};
use contain::containment::Containment;
use gate::ThreadToken;
use std::time::Duration;

impl Scene {
    /// Does the next thing, and looks whether everything is as it has to be.
    pub(crate) fn step_once(&self, containment: &Containment, token: &mut ThreadToken) {
        let act = self.next_act();
        self.count(act);
        match act {
            Act::Turn => self.take_turn(containment, token),
            Act::Drive => self.drive_one(token),
            Act::Answer => self.answer_one(),
            Act::Time => self.let_time_pass(),
            act => acts::carry_out(self, containment, token, act),
        }
        check::after_step(self, containment, token);
    }

    fn next_act(&self) -> Act {
        let due: Vec<(Act, u32)> = [
            (Act::Turn, self.alarmed.get()),
            (Act::Drive, self.hands.is_woken()),
            (Act::Answer, self.late.with(|late| !late.is_empty())),
        ]
        .into_iter()
        .filter(|(_, is_due)| *is_due)
        .map(|(act, _)| (act, if act == Act::Answer { 1 } else { 4 }))
        .collect();
        self.random.with(|random| {
            let hasty = random.chance(self.plan.haste, 100);
            let act = if hasty { random.weighted(&self.plan.acts) } else { None };
            act.or_else(|| random.weighted(&due)).unwrap_or(Act::Time)
        })
    }

    pub(crate) fn take_turn(&self, containment: &Containment, token: &mut ThreadToken) {
        self.alarmed.set(false);
        containment.turn(token);
    }

    pub(crate) fn drive_one(&self, token: &mut ThreadToken) {
        let taken = self.hands.take(|of| self.random.with(|random| random.below(of)));
        let Some(driven) = taken else { return };
        self.hands.push(&driven);
        let _next = driven.drive(token);
        self.hands.pop();
    }

    /// Answers whose time has come, or any one: nobody says that they come in time.
    pub(crate) fn answer_one(&self) {
        let taken = self.late.with(|late| {
            let nth = self.random.with(|random| random.below(late.len()));
            (nth < late.len()).then(|| late.swap_remove(nth))
        });
        if let Some(late) = taken {
            self.trace(|| format!("somebody answers {:?}", late.answer));
            late.reply.answer(late.answer);
        }
    }

    /// To the next thing that is due, or for any time.
    pub(crate) fn let_time_pass(&self) {
        let now = self.now();
        let answer = self.late.with(|late| late.iter().map(|late| late.when).min());
        let next = [self.hands.next_timer(), answer].into_iter().flatten().min();
        let time = match next {
            Some(next) if self.calm.get() || self.random.with(|random| random.chance(4, 5)) => {
                next.saturating_sub(now)
            }
            _ => self.random.with(|random| random.ms(1, 20_000)),
        };
        self.pass(time.max(Duration::from_nanos(1)));
    }
}

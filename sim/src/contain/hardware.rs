//! The hardware of recoveries: it does not know, does not thaw, fails resets, and takes its time.

use super::check::Rule;
use super::device::Mood;
use super::scene::Scene;
use contain::pe::{Pe, PeState};
use contain::plan::{PlatformState, Queried, Thaw, Traffic};
use contain::platform::{ClosedFunctions, Platform, ResetRequest};
use contain::report::Log;
use contain::tree::PeFunction;
use gate::{Deadline, ThreadToken};
use pci_core::ResetKind;
use std::sync::{Arc, Weak};
use std::time::Duration;

pub(crate) struct Hardware(pub(crate) Weak<Scene>);

impl Hardware {
    /// Whether it works this time; with whatever else happens meanwhile.
    fn works(&self, token: &mut ThreadToken, what: &str, hangs: bool) -> bool {
        let Some(scene) = self.0.upgrade() else { return false };
        scene.called(token, what);
        if scene.calm.get() {
            return true;
        }
        if hangs {
            scene.misbehave(token);
        }
        let times = scene.plan.faults.platform;
        let fails = scene.random.with(|random| random.chance(times, 1000));
        if fails {
            scene.trace(|| format!("the platform fails: {what}"));
        }
        !fails
    }

    /// Its time passes, and whatever else happens in it. Never longer than it has: a reset that does not return keeps gates closed
    /// that the next one waits for in real time, and nobody here can open them meanwhile.
    fn lasts(&self, token: &mut ThreadToken, time: Duration) {
        let Some(scene) = self.0.upgrade() else { return };
        let interesting = scene.random.with(|random| random.chance(1, 8));
        if interesting && !scene.calm.get() {
            scene.linger(token, time);
        } else {
            scene.pass(time);
        }
    }
}

impl Platform for Hardware {
    fn is_present(&self, token: &mut ThreadToken, _functions: &[Arc<PeFunction>]) -> bool {
        self.works(token, "is anything there", true)
    }

    fn state(&self, token: &mut ThreadToken, _pe: &Pe, _functions: &[Arc<PeFunction>]) -> Queried {
        if self.works(token, "in which state", true) {
            return Queried::Is(PlatformState::MMIO_ACTIVE | PlatformState::DMA_ACTIVE);
        }
        let Some(scene) = self.0.upgrade() else { return Queried::Failed };
        scene.random.with(|random| match random.below(5) {
            0 => Queried::Failed,
            1 => Queried::Is(PlatformState::NOT_SUPPORTED),
            2 => Queried::Is(PlatformState::empty()),
            _ => Queried::AskAgain(random.ms(0, 400_000)),
        })
    }

    fn thaw(&self, token: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>], _traffic: Traffic) -> Thaw {
        if self.works(token, "thaw", true) {
            return Thaw::Done;
        }
        let Some(scene) = self.0.upgrade() else { return Thaw::Failed };
        if scene.random.with(|random| random.coin()) { Thaw::NeedsReset } else { Thaw::Failed }
    }

    fn reset(
        &self,
        token: &mut ThreadToken,
        request: &ResetRequest<'_>,
        closed: &mut ClosedFunctions,
        _deadline: Deadline,
    ) -> bool {
        let Some(scene) = self.0.upgrade() else { return false };
        let works = self.works(token, "reset", false);
        for function in request.functions {
            if !function.function.handle().is_gone() && !closed.is_closed(function.id) {
                scene.wrong(Rule::ResetClosed, format!("{} is reset while it is open", function.address));
            }
        }
        if !request.pe.state().contains(PeState::RESET | PeState::CFG_BLOCKED) {
            scene.wrong(Rule::ResetClosed, format!("{} is reset, and does not say so", request.pe.address()));
        }
        if let contain::plan::Reset::Hot { hold, settle } = request.how {
            self.lasts(token, hold + settle);
        }
        for function in request.functions {
            let kind = ResetKind::FunctionLevel;
            let _reset = closed.with(token, function.id, |it, quiesced| it.reset_quiesced(quiesced, kind));
            scene.forest.with(|forest| {
                if let Some(card) = forest.card(function.address).filter(|_| works) {
                    card.model.mood.set(Mood::Well);
                }
            });
        }
        closed.forget_gone();
        works
    }

    fn restore_config(
        &self,
        token: &mut ThreadToken,
        _pe: &Pe,
        _functions: &[Arc<PeFunction>],
        closed: &mut ClosedFunctions,
        _deadline: Deadline,
    ) -> bool {
        let works = self.works(token, "restore the configuration", false);
        closed.forget_gone();
        works
    }

    fn unfreeze(&self, token: &mut ThreadToken, _pe: &Pe, _functions: &[Arc<PeFunction>]) -> bool {
        self.works(token, "unfreeze", true)
    }

    fn clear_error_status(&self, token: &mut ThreadToken, _pe: &Pe, _functions: &[Arc<PeFunction>]) {
        let _cleared = self.works(token, "clear error status", true);
    }

    fn remove(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) {
        let Some(scene) = self.0.upgrade() else { return };
        scene.called(token, "remove");
        let is_there = scene.forest.with(|forest| {
            let card = forest.card(function.address);
            card.is_some_and(|card| Arc::ptr_eq(&card.node.function, &function.function))
        });
        if is_there {
            scene.pull(token, function.address);
        }
    }

    fn log(&self, token: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>], log: Log) -> String {
        let _written = self.works(token, "log", true);
        format!("{log:?}")
    }
}

//! The platform and the parties of recoveries: what they answer, and that they are called as they should be.

use super::ledger::Ledger;
use super::{CARD, DISK};
use contain::containment::RecoveryId;
use contain::merge::Vote;
use contain::party::{Nobody, Parties, Party, Reply};
use contain::pe::{Pe, PeState};
use contain::plan::{Answer, Call, Channel, Handlers, PlatformState, Policy, Queried, Role, Thaw, Traffic};
use contain::platform::{ClosedFunctions, Platform, ResetRequest};
use contain::report::Log;
use contain::tree::{PeFunction, PeTree};
use gate::{Deadline, ThreadToken};
use museum::unplug::held::Held;
use pci_core::ResetKind;
use shuttle::rand::Rng;
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

/// What the driver of the card does when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// It answers, at once.
    Good,
    /// Now and then it does not answer.
    Forgetful,
    /// It does not come back from the first error that it is told of, until [`Hardware::stuck`] is let go.
    Hangs,
}

/// See the module's head.
pub(crate) struct Hardware {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) manners: Manners,
    /// Now and then a reset brings nobody back.
    pub(crate) is_broken: bool,
    pub(crate) stuck: Held,
}

impl Hardware {
    pub(crate) fn seen_by(self: &Arc<Self>, id: RecoveryId, tree: &Arc<PeTree>) -> Seen {
        Seen { id, tree: tree.clone(), hardware: self.clone() }
    }
}

fn one_in(many: u32) -> bool {
    shuttle::rand::thread_rng().gen_range(0..many) == 0
}

/// As one recovery has it.
pub(crate) struct Seen {
    id: RecoveryId,
    tree: Arc<PeTree>,
    hardware: Arc<Hardware>,
}

impl Seen {
    fn during<T>(
        &self,
        token: &mut ThreadToken,
        functions: &[Arc<PeFunction>],
        act: impl FnOnce(&mut ThreadToken) -> T,
    ) -> T {
        self.hardware.ledger.during(self.id, token, functions, act)
    }

    fn at<T>(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>], done: T) -> T {
        self.hardware.ledger.assert_kept(&self.tree, pe);
        self.during(token, functions, |_| done)
    }
}

impl Platform for Seen {
    fn is_present(&self, token: &mut ThreadToken, functions: &[Arc<PeFunction>]) -> bool {
        self.during(token, functions, |_| {
            functions.iter().any(|function| !function.function.handle().is_gone())
        })
    }

    fn state(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>]) -> Queried {
        let active = PlatformState::MMIO_ACTIVE | PlatformState::DMA_ACTIVE;
        self.at(token, pe, functions, Queried::Is(active))
    }

    fn thaw(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>], _: Traffic) -> Thaw {
        self.at(token, pe, functions, Thaw::Done)
    }

    fn reset(
        &self,
        token: &mut ThreadToken,
        request: &ResetRequest<'_>,
        closed: &mut ClosedFunctions,
        _: Deadline,
    ) -> bool {
        self.hardware.ledger.assert_kept(&self.tree, request.pe);
        let blocked = request.pe.state().contains(PeState::RESET | PeState::CFG_BLOCKED);
        self.hardware.ledger.demand(blocked, || "reset, and its state does not say so".to_owned());
        self.during(token, request.functions, |token| {
            for function in request.functions {
                self.hardware.ledger.assert_frozen(&self.tree, token, function, "reset");
                let gone = function.function.handle().is_gone();
                let shut = gone || closed.is_closed(function.id);
                self.hardware.ledger.demand(shut, || format!("{} is reset, and open", function.address));
                let kind = ResetKind::FunctionLevel;
                let _done = closed.with(token, function.id, |it, quiesced| it.reset_quiesced(quiesced, kind));
            }
            closed.forget_gone();
            !self.hardware.is_broken || !one_in(2)
        })
    }

    fn restore_config(
        &self,
        token: &mut ThreadToken,
        pe: &Pe,
        functions: &[Arc<PeFunction>],
        _: &mut ClosedFunctions,
        _: Deadline,
    ) -> bool {
        self.at(token, pe, functions, true)
    }

    fn unfreeze(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>]) -> bool {
        self.at(token, pe, functions, true)
    }

    fn clear_error_status(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>]) {
        self.at(token, pe, functions, ());
    }

    fn remove(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) {
        self.during(token, std::slice::from_ref(function), |token| {
            let _retired = function.function.disconnect(token, Deadline::after(Duration::ZERO));
        });
    }

    fn log(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>], _: Log) -> String {
        self.at(token, pe, functions, String::new())
    }
}

impl Parties for Seen {
    fn of(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) -> Arc<dyn Party> {
        self.hardware.ledger.assert_free(token);
        let role = match function.address {
            CARD => Role::Aware(Handlers::all()),
            DISK => Role::Consumer(Policy::SaveAndRestore),
            _ => return Arc::new(Nobody),
        };
        let (id, tree, hardware) = (self.id, self.tree.clone(), self.hardware.clone());
        Arc::new(Hand { id, role, function: function.clone(), tree, hardware })
    }
}

/// Who has a function.
struct Hand {
    id: RecoveryId,
    role: Role,
    function: Arc<PeFunction>,
    tree: Arc<PeTree>,
    hardware: Arc<Hardware>,
}

impl Party for Hand {
    fn name(&self) -> String {
        self.function.address.to_string()
    }

    fn role(&self) -> Role {
        self.role
    }

    fn call(&self, token: &mut ThreadToken, call: Call, reply: Reply) {
        let Hardware { ledger, manners, stuck, .. } = &*self.hardware;
        let owner = self.function.function.gate().status().owner;
        // Its driver may look at its function while it is called.
        let open = owner.is_none_or(|owner| !owner.parked);
        ledger.demand(open, || format!("{call:?} with the gate closed (EEH-I4)"));
        if call == Call::ErrorDetected(Channel::Frozen) {
            ledger.assert_frozen(&self.tree, token, &self.function, "error_detected");
        }
        let hangs = *manners == Manners::Hangs && matches!(call, Call::ErrorDetected(Channel::Frozen));
        if hangs {
            ledger.assert_free(token);
            stuck.ask();
            stuck.wait_until_free();
            return reply.answer(Answer::Vote(Vote::CanRecover));
        }
        let functions = std::slice::from_ref(&self.function);
        ledger.during(self.id, token, functions, |_| thread::yield_now());
        if *manners == Manners::Forgetful && one_in(6) {
            return drop(reply);
        }
        ledger.told(self.function.id, call);
        reply.answer(answer(call));
    }
}

fn answer(call: Call) -> Answer {
    match call {
        Call::ErrorDetected(Channel::PermFailure) => Answer::Vote(Vote::Disconnect),
        Call::ErrorDetected(_) if one_in(2) => Answer::Vote(Vote::NeedReset),
        Call::ErrorDetected(_) => Answer::Vote(Vote::CanRecover),
        Call::MmioEnabled | Call::SlotReset => Answer::Vote(Vote::Recovered),
        _ => Answer::Done,
    }
}

//! What operators, the platform and the rest of the house ask for.

use super::case::{Case, Cause, Stage};
use super::{Containment, Ended, Frozen, News, RecoveryId, Statistics};
use crate::detect::{Check, Sign};
use crate::pe::{Held, Holder, PeAddress, PeState};
use crate::plan::{Flavour, Response, SpecialEvent};
use crate::report::{Doom, Outcome};
use crate::watch::Told;
use gate::{Deadline, ThreadToken};
use pci_core::ErrorSign;
use pci_spec::Bdf;
use slot::patience::is_over;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// What is to happen to a PE that somebody freezes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is recovered, if anything is at present.
    Recover,
    /// It is recovered, also if nothing is at present.
    RecoverNow,
    /// It stays frozen until it is thawed or recovered.
    Stay,
}

/// Why something was not done. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RefusedError {
    /// Nothing is there.
    #[error("there is no PE {0}")]
    NoPe(PeAddress),
    /// The function is in no PE.
    #[error("function {0} is in no PE")]
    NoFunction(Bdf),
    /// It is not frozen by itself.
    #[error("PE {0} is not frozen, or only with one above it")]
    NotFrozen(PeAddress),
    /// A recovery has it, or is going to.
    #[error("PE {0} is being recovered; it is thawed when that has ended")]
    Recovering(PeAddress),
}

impl Containment {
    /// An error of a function, noticed by whoever says so. Any context: takes no lock, allocates nothing, waits for nobody.
    pub fn notice(&self, token: &ThreadToken, at: Bdf, sign: ErrorSign) -> Check {
        self.detector.notice(token, at, |_| true, sign)
    }

    /// An error that AER reports for a function, or the platform in AER's words. One that freezes isolates the PE at once; another one is
    /// forgotten if the PE is being recovered by then. Any context, as [`Containment::notice`].
    ///
    /// # Errors
    /// [`RefusedError::NoFunction`]
    pub fn report(
        &self,
        token: &ThreadToken,
        at: Bdf,
        flavour: Flavour,
        sign: ErrorSign,
    ) -> Result<(), RefusedError> {
        let found = self.tree.look(token, |snapshot| {
            let (pe, function) = snapshot.of_function(at, Holder::Event)?;
            let isolated = |pe: &crate::pe::Pe| pe.state().contains(PeState::ISOLATED);
            // Whoever is isolated has the worse error already.
            let known = snapshot.up(pe.address()).any(isolated) || (flavour.is_frozen() && !pe.isolate());
            let function = Some((function.id, function.address));
            Some((!known).then_some(Sign { pe, function, sign: Some(sign), flavour }))
        });
        if let Some(sign) = found.ok_or(RefusedError::NoFunction(at))? {
            self.detector.push(sign);
            self.detector.raise();
        }
        Ok(())
    }

    /// Freezes a PE with all that is below it, at once. While it is being recovered, this is another error.
    ///
    /// # Errors
    /// [`RefusedError::NoPe`], and [`RefusedError::Recovering`] if it is to stay frozen.
    pub fn freeze(
        &self,
        token: &mut ThreadToken,
        address: PeAddress,
        why: &'static str,
        then: Then,
    ) -> Result<(), RefusedError> {
        let pe = self.find(token, address)?;
        let cause = forced(why);
        let (_recovery, new) = self.open(token, &pe, cause, then, None);
        if !new && then == Then::Stay {
            return Err(RefusedError::Recovering(address));
        }
        // It may be thawed by now, and the recovery at its end.
        if !new && pe.isolate() {
            let Cause { sign, function, flavour } = cause;
            self.detector.push(Sign { pe, function, sign, flavour });
            self.detector.raise();
        }
        self.turn(token);
        Ok(())
    }

    /// Thaws a PE that stays frozen, as an operator or its consumer says (EEH-21). What is frozen with a PE above stays so.
    ///
    /// # Errors
    /// [`RefusedError`]
    pub fn thaw(&self, token: &mut ThreadToken, address: PeAddress) -> Result<(), RefusedError> {
        let pe = self.find(token, address)?;
        let case = {
            let mut cases = self.cases.lock();
            match cases.of.get(&pe.id()).map(|case| &case.stage) {
                None => return Err(RefusedError::NotFrozen(address)),
                Some(Stage::Left(_)) => cases.of.remove(&pe.id()),
                Some(_) => return Err(RefusedError::Recovering(address)),
            }
        };
        if let Some(case) = case {
            self.thawed(&case);
        }
        Ok(())
    }

    /// Recovers a PE, whatever its state (EEH-27). If it is being recovered, that recovery is the one.
    ///
    /// # Errors
    /// [`RefusedError::NoPe`]
    pub fn recover(&self, token: &mut ThreadToken, address: PeAddress) -> Result<RecoveryId, RefusedError> {
        let pe = self.find(token, address)?;
        let why = forced("a recovery was asked for");
        let (id, _new) = self.open(token, &pe, why, Then::RecoverNow, None);
        self.turn(token);
        Ok(id)
    }

    /// An error of a whole segment, as the platform reports it (EEH-22). What was noticed in the segment before is part of it.
    ///
    /// # Errors
    /// [`RefusedError::NoPe`]
    pub fn special(
        &self,
        token: &mut ThreadToken,
        segment: u16,
        event: SpecialEvent,
    ) -> Result<Response, RefusedError> {
        let response = event.response();
        let root = PeAddress::phb(segment);
        match response {
            Response::Ignore => {}
            Response::Log => self.parts.watch.tell(&Told::Special { segment, event }),
            Response::Recover | Response::RecoverHostBridge => {
                let pe = self.find(token, root)?;
                let _recovery =
                    self.open(token, &pe, forced("its host bridge is frozen"), Then::Recover, None);
            }
            Response::GiveUpHostBridge(doom) => {
                let pe = self.find(token, root)?;
                self.give_up(token, &pe, doom);
            }
            Response::GiveUpAll(doom) => {
                for (pe, above) in self.tree.snapshot(token).every(Holder::Event) {
                    if above.is_none() {
                        self.give_up(token, &pe, doom);
                    }
                }
            }
        }
        self.turn(token);
        Ok(response)
    }

    /// There is no way back for a PE, nor for what is below it.
    fn give_up(&self, token: &mut ThreadToken, pe: &Held, doom: Doom) {
        let _recovery = self.open(token, pe, forced("it is dead"), Then::RecoverNow, Some(doom));
        let snapshot = self.tree.snapshot(token);
        let mut running = Vec::new();
        {
            let mut cases = self.cases.lock();
            for visit in snapshot.walk(pe.address()) {
                if let Some(case) = cases.of.get_mut(&visit.pe().id()) {
                    case.doom.get_or_insert(doom);
                    running.extend(case.running());
                }
            }
        }
        for running in running {
            running.post(News::Doomed(doom));
        }
    }

    /// Whether a recovery has the PE, or is about to.
    #[must_use]
    pub fn is_being_recovered(&self, pe: &Held) -> bool {
        let stays = |case: &Case| matches!(case.stage, Stage::Left(_));
        self.cases.lock().of.get(&pe.id()).is_some_and(|case| !stays(case))
    }

    /// Waits until a recovery has ended and its PE is as it is to be; `None` at the deadline, or if it is not remembered any more.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn wait_for(&self, token: &mut ThreadToken, id: RecoveryId, deadline: Deadline) -> Option<Outcome> {
        self.history.wait_for(token, id, deadline)
    }

    /// The freeze of a PE, if it has one of its own.
    #[must_use]
    pub fn frozen(&self, pe: &Held) -> Option<Arc<Frozen>> {
        self.cases.lock().of.get(&pe.id()).and_then(|case| case.frozen.clone())
    }

    /// Recoveries that have ended, the latest first.
    #[must_use]
    pub fn history(&self) -> Vec<Ended> {
        self.history.list()
    }

    /// What has happened since the start.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.counts.read(self.detector.counted.read())
    }

    /// Takes no more errors, and waits until no recovery is under way; then forgets all PEs. False at the deadline: recoveries go
    /// on, and nothing is forgotten. What is frozen stays so.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn stop(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        self.set_enabled(false);
        self.set_recover(false);
        loop {
            self.turn(token);
            let underway = {
                let cases = self.cases.lock();
                cases.of.values().find(|case| !matches!(case.stage, Stage::Left(_))).map(|case| case.id)
            };
            let Some(id) = underway else { break };
            if is_over(token, deadline) {
                return false;
            }
            // A turn is what ends a wait, so there is one now and then.
            let look = deadline.instant().min(Deadline::after(LOOK).instant());
            let _ended_or_not = self.wait_for(token, id, Deadline::at(look));
        }
        for (pe, above) in self.tree.snapshot(token).every(Holder::Operator) {
            if above.is_none() {
                let _removed_or_later = self.tree.remove(token, pe.address(), deadline);
            }
        }
        true
    }

    fn find(&self, token: &ThreadToken, address: PeAddress) -> Result<Held, RefusedError> {
        self.tree.find(token, address, Holder::Operator).ok_or(RefusedError::NoPe(address))
    }

    /// The incidents at a PE and above it, the nearest first.
    pub(super) fn with_cases_above<R>(
        &self,
        pes: &[Held],
        mut look: impl FnMut(&Case) -> Option<R>,
    ) -> Vec<R> {
        let cases = self.cases.lock();
        pes.iter().filter_map(|pe| cases.of.get(&pe.id())).filter_map(&mut look).collect()
    }
}

/// How often [`Containment::stop`] takes a turn.
const LOOK: Duration = Duration::from_millis(20);

fn forced(why: &'static str) -> Cause {
    Cause { sign: Some(ErrorSign::Forced(why)), function: None, flavour: Flavour::Eeh }
}

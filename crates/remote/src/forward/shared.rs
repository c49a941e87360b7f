//! Which back end there is, and what it is still to be told.
//!
//! A reset, and changes of the registers in [`told`](super::told), come under a pass or a proof, where nobody may wait for a
//! socket. So they are owed: the next access pays before it goes on itself, which keeps the order in which the consumer did things,
//! and a thread pays if no access comes. Only one pays at a time; who finds somebody paying waits for the end of it.

use std::sync::Arc;
use std::time::Duration;

use gate::lock::{Condvar, Leaf, LeafGuard};
use gate::{AccessKind, Deadline, Handle, Refusal, ThreadToken, Wake};
use pci_core::{ConfigSpace, NoAnswer};

use super::memory::Passed;
use super::reset::Reset;
use super::told::{Places, Values};
use super::{AWAY, failed};
use crate::link::LinkError;
use crate::picture::Upstream;
use crate::ranks;

/// How long the thread waits for a gate that is closed before it looks whether it is still needed.
const GATE_PATIENCE: Duration = Duration::from_secs(1);
/// It waits for news in pieces; `Deadline` has no "never".
const NO_NEWS: Duration = Duration::from_secs(3600);

pub(super) struct Shared {
    handle: Handle,
    config: Arc<ConfigSpace>,
    places: Places,
    how: Reset,
    /// Rank 107, a leaf: which back end there is and what it was told change together. A look or a change of a few words; never
    /// while the back end is used or waited for.
    state: Leaf<ranks::Forwarded, State>,
    /// Somebody has paid, or something is owed.
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    upstream: Option<Arc<dyn Upstream>>,
    /// Which of all that were attached.
    nth: u64,
    pub(super) passed: Vec<Passed>,
    pub(super) left_out: Vec<String>,
    owes_reset: bool,
    /// What the back end was told last; nothing since it was attached or reset.
    told: Option<Values>,
    paying: bool,
    /// Something may be owed that no access has paid yet, and the thread has not looked.
    stirred: bool,
    over: bool,
}

impl State {
    pub(super) fn is_attached(&self) -> bool {
        self.upstream.is_some()
    }
}

/// What is done for whoever pays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Debts {
    /// Who is inside reads the registers: no reset is half done.
    All,
    /// Who is not inside.
    Reset,
}

impl Shared {
    pub(super) fn new(handle: Handle, config: Arc<ConfigSpace>, places: Places, how: Reset) -> Shared {
        Shared { handle, config, places, how, state: Leaf::default(), changed: Condvar::new() }
    }

    pub(super) fn state(&self) -> LeafGuard<'_, ranks::Forwarded, State> {
        self.state.lock()
    }

    /// Another back end, which is to be reset and told everything; or none.
    pub(super) fn exchange(
        &self,
        upstream: Option<Arc<dyn Upstream>>,
        memory: Option<(Vec<Passed>, Vec<String>)>,
    ) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.upstream, upstream);
        state.nth += 1;
        (state.owes_reset, state.told, state.stirred) = (true, None, true);
        let memory = memory.map(|(passed, left_out)| {
            (std::mem::replace(&mut state.passed, passed), std::mem::replace(&mut state.left_out, left_out))
        });
        drop(state);
        self.changed.notify_all();
        // Foreign destructors: outside.
        drop((before, memory));
    }

    /// The device was reset. Waits for nothing.
    pub(super) fn owe_reset(&self) {
        let mut state = self.state.lock();
        (state.owes_reset, state.told, state.stirred) = (true, None, true);
        drop(state);
        self.changed.notify_all();
    }

    /// A register may have changed. Waits for nothing.
    pub(super) fn stir(&self) {
        self.state.lock().stirred = true;
        self.changed.notify_all();
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.state.lock().over = true;
        self.changed.notify_all();
    }

    /// The back end, once it has been told all that the consumer did before. The caller is inside.
    pub(super) fn settled(
        &self,
        token: &mut ThreadToken,
        until: Deadline,
    ) -> Result<Arc<dyn Upstream>, NoAnswer> {
        self.pay(token, until, Debts::All)
    }

    fn pay(
        &self,
        token: &mut ThreadToken,
        until: Deadline,
        debts: Debts,
    ) -> Result<Arc<dyn Upstream>, NoAnswer> {
        let mut state = self.state.lock();
        let (upstream, paying) = loop {
            let Some(upstream) = state.upstream.clone() else { return Err(NoAnswer::Away(AWAY)) };
            if !state.paying {
                let now = self.places.look(&self.config);
                let levels = debts == Debts::All && state.told != Some(now);
                if !state.owes_reset && !levels {
                    return Ok(upstream);
                }
                state.paying = true;
                let paying = Paying {
                    of: self,
                    nth: state.nth,
                    reset: std::mem::take(&mut state.owes_reset),
                    told: state.told,
                    now: levels.then_some(now),
                    done: false,
                };
                break (upstream, paying);
            }
            let (again, expired) = self.changed.wait(state, token, until);
            if expired {
                return Err(NoAnswer::Failed("the back end does not take what it is told"));
            }
            state = again;
        };
        drop(state);
        match paying.pay(token, &*upstream) {
            Ok(()) => Ok(upstream),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Pays what no access has paid, until the function is no more.
    pub(super) fn run(&self) {
        let mut token = ThreadToken::at_thread_entry();
        while self.wait_for_debts(&mut token) {
            let soon = || Deadline::after(GATE_PATIENCE);
            // What is done to a dead back end its owner hears of by other ways.
            let _reset = self.pay(&mut token, soon(), Debts::Reset);
            let inside = self.handle.enter_long(&mut token, AccessKind::Config, WHAT, soon());
            match inside {
                Ok(_inside) => drop(self.pay(&mut token, soon(), Debts::All)),
                Err(Refusal::Blocked(_)) => self.stir(),
                // The gate's news come when that changes.
                Err(Refusal::Frozen) => {}
                Err(Refusal::Gone | Refusal::StaleEpoch { .. }) => break,
            }
        }
    }

    /// False: there will be none any more.
    fn wait_for_debts(&self, token: &mut ThreadToken) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.over {
                return false;
            }
            if std::mem::take(&mut state.stirred) && state.upstream.is_some() {
                return true;
            }
            (state, _) = self.changed.wait(state, token, Deadline::after(NO_NEWS));
        }
    }
}

const WHAT: &str = "telling the back end what has changed";

impl Wake for Shared {
    /// The gate has news: what was written while it was closed is to be told.
    fn wake(&self) {
        self.stir();
    }
}

/// Who pays. The turn ends with it, however that comes about.
struct Paying<'a> {
    of: &'a Shared,
    nth: u64,
    reset: bool,
    told: Option<Values>,
    now: Option<Values>,
    done: bool,
}

impl Paying<'_> {
    fn pay(mut self, token: &mut ThreadToken, upstream: &dyn Upstream) -> Result<(), LinkError> {
        let mut before = self.told;
        if self.reset {
            self.of.how.post(token, upstream)?;
            before = None;
        }
        if let Some(now) = self.now {
            self.of.places.tell(token, upstream, (before, now))?;
        }
        self.done = true;
        Ok(())
    }
}

impl Drop for Paying<'_> {
    fn drop(&mut self) {
        let mut state = self.of.state.lock();
        state.paying = false;
        // A reset that came meanwhile has taken all back; another back end knows of nothing.
        if state.nth == self.nth && !state.owes_reset {
            state.told = if self.done { self.now.or(self.told.filter(|_| !self.reset)) } else { None };
            state.owes_reset = self.reset && !self.done;
        }
        drop(state);
        self.of.changed.notify_all();
    }
}

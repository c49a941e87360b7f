//! The faults of one function, as its operator sets them.

use std::sync::{Arc, Weak};

use assign::Port;
use gate::{CloseError, ThreadToken};
use pci_core::Function;

use super::accesses::Accesses;
use super::back_end::BackEnd;
use super::error::AddError;
use super::plan::{Listed, Plan, RuleId};
use super::shared::Shared;
use super::{Rule, taps};

/// The faults that are injected into one function: rules that come and go while it works.
///
/// Dropping it ends its thread. A read that is being made slow goes on when its rule is removed, when the function is removed, or when
/// its time is over, whichever comes first.
pub struct Injections {
    shared: Arc<Shared>,
}

impl Injections {
    /// Without any rule. `name` is the function's, for its thread; with the same `seed` the same rules hit the same of their
    /// occasions.
    #[must_use]
    pub fn new(name: &str, seed: u64) -> Arc<Injections> {
        Arc::new(Injections { shared: Arc::new(Shared::new(name, seed)) })
    }

    /// Sits down between a function and everybody else, for as long as it lives. False: somebody sits there already, or these have
    /// a function; then nothing has changed, or only what was free is taken.
    pub fn attach(&self, function: &Function, port: &Arc<Port>) -> bool {
        self.shared.port.set(Arc::downgrade(port)).is_ok()
            && function.tap(Arc::new(Accesses(Arc::clone(&self.shared))))
    }

    /// Says what is behind the function, for the faults of a back end. Without, they are not taken.
    pub fn set_back_end(&self, back_end: Option<Weak<dyn BackEnd>>) {
        self.shared.set_back_end(back_end);
    }

    /// Adds a rule behind those that there are. Its time begins now. May close the function's gate for short passes for a moment,
    /// and waits for that.
    ///
    /// # Errors
    /// [`AddError`]: there is no such rule.
    pub fn add(&self, token: &mut ThreadToken, rule: Rule) -> Result<RuleId, AddError> {
        let id = self.shared.add(rule)?;
        if let Err(error) = taps::settle(&self.shared, token) {
            self.remove(token, id);
            return Err(match error {
                CloseError::Gone => AddError::Gone,
                _ => AddError::Busy { kind: rule.kind() },
            });
        }
        Ok(id)
    }

    /// Takes a rule out; waits as [`Injections::add`] does. False: there is none of that name. An interrupt that it has put off comes
    /// nevertheless.
    pub fn remove(&self, token: &mut ThreadToken, id: RuleId) -> bool {
        self.take_out(token, |plan| plan.remove(id))
    }

    /// Takes all rules out, as [`Injections::remove`]; how many those were.
    pub fn clear(&self, token: &mut ThreadToken) -> usize {
        self.take_out(token, Plan::clear)
    }

    fn take_out<T>(&self, token: &mut ThreadToken, take: impl FnOnce(&mut Plan) -> T) -> T {
        let taken = self.shared.ask(|state, _| take(&mut state.plan));
        self.shared.changed.notify_all();
        // A tap that could not be taken away has no rules, so it only costs a look; the next change takes it away.
        let _ = taps::settle(&self.shared, token);
        taken
    }

    /// All rules in the order in which they are asked.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        self.shared.ask(|state, now| state.plan.list(now))
    }

    /// Where the chances come from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.shared.state.lock().plan.seed()
    }
}

impl Drop for Injections {
    fn drop(&mut self) {
        self.shared.ask(|state, _| state.end());
        self.shared.changed.notify_all();
    }
}

impl std::fmt::Debug for Injections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Injections").field("function", &self.shared.name).finish_non_exhaustive()
    }
}

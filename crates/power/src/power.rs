//! Power changes as their owner asks for them: closes the gates, runs the change, reopens.

use crate::facts::Quirks;
use crate::platform::Platform;
use crate::pme;
use crate::session::{Header, Member, Preserve, Session};
use crate::tree::change_subtree;
use crate::{PowerError, State};
use gate::{Deadline, ThreadToken};
use pci_core::Time;
use pci_spec::Bdf;
use std::sync::Arc;
use topology::{Node, Snapshot};

/// Changes power states in a topology. Cheap to clone; keeps nothing between two changes but what it was made of.
#[derive(Clone)]
pub struct Power {
    time: Arc<dyn Time>,
    platform: Option<Arc<dyn Platform>>,
    preserve: Arc<dyn Preserve>,
    quirks: Option<Arc<dyn Fn(Bdf) -> Quirks + Send + Sync>>,
}

impl Power {
    /// Power changes by PMCSR alone, whose delays pass on `time`.
    #[must_use]
    pub fn new(time: Arc<dyn Time>) -> Power {
        Power { time, platform: None, preserve: Arc::new(Header), quirks: None }
    }

    /// With firmware and slot power, which D3cold needs.
    #[must_use]
    pub fn on(self, platform: Arc<dyn Platform>) -> Power {
        Power { platform: Some(platform), ..self }
    }

    /// With somebody else to save and restore what functions lose in D3.
    #[must_use]
    pub fn preserving(self, preserve: Arc<dyn Preserve>) -> Power {
        Power { preserve, ..self }
    }

    /// With what functions are kept from.
    #[must_use]
    pub fn with_quirks(self, quirks: impl Fn(Bdf) -> Quirks + Send + Sync + 'static) -> Power {
        Power { quirks: Some(Arc::new(quirks)), ..self }
    }

    /// The clock.
    #[must_use]
    pub fn time(&self) -> &Arc<dyn Time> {
        &self.time
    }

    /// Firmware and slot power, if there are any.
    #[must_use]
    pub fn platform(&self) -> Option<&Arc<dyn Platform>> {
        self.platform.as_ref()
    }

    /// The state that a function is known to be in; nothing without a function.
    #[must_use]
    pub fn state(&self, snapshot: &Snapshot, at: Bdf) -> Option<State> {
        snapshot.function(at).map(|node| node.function.device_state())
    }

    /// Takes a function to a state, and answers the one it is in then: another one if it refused (PWR-06).
    ///
    /// On the way to D0 the bridges above are taken there first. A bridge in D3cold has everything below it there too
    /// (PWR-07), and on its way back brings that to D0. The deadline is for closing the gates; the time that the hardware
    /// needs comes on top, with the gates closed (CFG-I10), and a removal ends it at once.
    ///
    /// # Errors
    /// [`PowerError`]; where its description does not say that nothing was done, the function is in the state that
    /// [`Power::state`] tells.
    pub fn set_state(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        to: State,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<State, PowerError> {
        self.change(snapshot, at, to, token, Some(deadline))
    }

    /// As [`Power::set_state`], but if anything is in flight or somebody else has a gate nothing is done, and nobody is
    /// kept waiting by the attempt. The bridges above a function that is woken are counted one by one.
    ///
    /// # Errors
    /// [`PowerError::InUse`] then; otherwise as [`Power::set_state`].
    pub fn try_set_state(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        to: State,
        token: &mut ThreadToken,
    ) -> Result<State, PowerError> {
        self.change(snapshot, at, to, token, None)
    }

    /// Makes a function reachable for an access to its configuration space: wakes the bridges above it, and the function
    /// itself if it has no power (CFG-15). A function in D3hot stays there, for it answers.
    ///
    /// # Errors
    /// As [`Power::set_state`].
    pub fn wake_for_config(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<(), PowerError> {
        self.wake_above(snapshot, at, token, Some(deadline))?;
        if self.state(snapshot, at).ok_or(PowerError::NoFunction)? == State::D3Cold {
            self.set_state(snapshot, at, State::D0, token, deadline)?;
        }
        Ok(())
    }

    /// Lets a function signal PME from now on, or keeps it from it (PWR-10). False if it is in use, or does not answer.
    pub fn arm_pme(&self, snapshot: &Snapshot, at: Bdf, enabled: bool, token: &mut ThreadToken) -> bool {
        self.with_one(snapshot, at, token, |session| pme::arm(session, at, enabled))
    }

    /// Whether a function has signalled PME since it was armed; it has to be armed again then. Without waiting: false if it
    /// is in use, and behind a bridge without power, where nothing can be looked at.
    pub fn take_pme(&self, snapshot: &Snapshot, at: Bdf, token: &mut ThreadToken) -> bool {
        let dark = above(snapshot, at).iter().any(|bridge| bridge.function.device_state() == State::D3Cold);
        !dark && self.with_one(snapshot, at, token, |session| pme::take(session, at))
    }

    fn with_one(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        token: &mut ThreadToken,
        work: impl FnOnce(&mut Session<'_>) -> bool,
    ) -> bool {
        let Some(node) = snapshot.function(at) else { return false };
        let member = Member { node: node.clone(), quirks: Quirks::default() };
        match Session::close(token, &*self.time, &*self.preserve, [member], None) {
            Ok(mut session) => work(&mut session),
            Err(_) => false,
        }
    }

    fn change(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        to: State,
        token: &mut ThreadToken,
        deadline: Option<Deadline>,
    ) -> Result<State, PowerError> {
        if snapshot.function(at).is_none() {
            return Err(PowerError::NoFunction);
        }
        if to == State::D0 {
            self.wake_above(snapshot, at, token, deadline)?;
        }
        self.change_one(snapshot, at, to, token, deadline)
    }

    /// Parents first.
    fn wake_above(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        token: &mut ThreadToken,
        deadline: Option<Deadline>,
    ) -> Result<(), PowerError> {
        for bridge in above(snapshot, at).into_iter().rev() {
            if bridge.function.device_state() != State::D0 {
                self.change_one(snapshot, bridge.address, State::D0, token, deadline)?;
            }
        }
        Ok(())
    }

    fn change_one(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        to: State,
        token: &mut ThreadToken,
        deadline: Option<Deadline>,
    ) -> Result<State, PowerError> {
        let node = snapshot.function(at).ok_or(PowerError::NoFunction)?;
        let below = snapshot.below(node);
        let loses_power = to == State::D3Cold;
        let sleepers = || std::iter::once(node).chain(below.iter().filter(|_| loses_power));
        let loses_virtual_functions = to == State::D3Hot || loses_power;
        if loses_virtual_functions {
            refuse_with_virtual_functions(snapshot, sleepers())?;
        }
        let members = std::iter::once(node)
            .chain(&below)
            .map(|node| Member { node: node.clone(), quirks: self.quirks_of(snapshot, node.address) });
        let mut session = Session::close(token, &*self.time, &*self.preserve, members, deadline)?;
        if loses_virtual_functions {
            refuse_with_enabled_ones(sleepers())?;
            session.zap();
        }
        let outcome = change_subtree(&mut session, self.platform.as_deref(), snapshot, node, to)?;
        session.disconnect(&outcome.disconnected);
        Ok(outcome.state)
    }

    /// What a function is kept from; D1 and D2 also by the bridges above it (PWR-02).
    fn quirks_of(&self, snapshot: &Snapshot, at: Bdf) -> Quirks {
        let Some(quirks) = &self.quirks else { return Quirks::default() };
        let own = quirks(at);
        let above = above(snapshot, at);
        Quirks { no_d1_d2: own.no_d1_d2 || above.iter().any(|bridge| quirks(bridge.address).no_d1_d2), ..own }
    }
}

impl std::fmt::Debug for Power {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Power { time, platform, preserve, quirks: _ } = self;
        let mut debug = f.debug_struct("Power");
        debug.field("time", time).field("platform", platform).field("preserve", preserve);
        debug.finish_non_exhaustive()
    }
}

/// The bridges above a function, nearest first. Bounded by the number of buses, whatever the bridges claim.
pub(crate) fn above(snapshot: &Snapshot, at: Bdf) -> Vec<Arc<Node>> {
    const BUSES: usize = 256;
    let first = snapshot.parent(at).cloned();
    std::iter::successors(first, |bridge| snapshot.parent(bridge.address).cloned()).take(BUSES).collect()
}

/// VF-48.
fn refuse_with_virtual_functions<'a>(
    snapshot: &Snapshot,
    affected: impl Iterator<Item = &'a Arc<Node>>,
) -> Result<(), PowerError> {
    for node in affected {
        let count = snapshot.virtual_functions(node.address).len();
        if count > 0 {
            return Err(PowerError::HasVirtualFunctions(count));
        }
    }
    Ok(())
}

/// The same by the registers, once the gates are closed: some may have come since the caller looked.
fn refuse_with_enabled_ones<'a>(affected: impl Iterator<Item = &'a Arc<Node>>) -> Result<(), PowerError> {
    for node in affected {
        if let Some(state) = node.function.config().sr_iov().filter(|state| state.enabled) {
            return Err(PowerError::HasVirtualFunctions(state.num_vfs.into()));
        }
    }
    Ok(())
}

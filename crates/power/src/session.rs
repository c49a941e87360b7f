//! The gates of a function, or of a bridge and everything below it, closed for a power change.
//!
//! All gates are closed together or none is. Between two accesses the gates are parked: nobody gets in, and the thread may
//! wait. A function that is removed meanwhile drops out and the others go on; a wait for that very function ends at once.

use crate::facts::{Facts, Quirks};
use crate::hold::Hold;
use crate::{PowerError, State};
use gate::{ClosedSet, Deadline, Gate, Gone, Quiesced, Reason, ThreadToken, close_all, try_close_all};
use pci_core::{Change, ConfigStatus, Function, FunctionEvent, PowerStep, Time, Width};
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use topology::Node;

/// Saves what a function loses in D3 and puts it back. The crate of the resets has a richer one than [`Header`].
pub trait Preserve: Send + Sync + Debug {
    /// Saves; replaces what was saved before.
    fn save(&self, function: &Function, quiesced: &Quiesced<'_>);

    /// Puts back what was saved last, if anything was, and forgets it.
    fn restore(&self, function: &Function, quiesced: &Quiesced<'_>);
}

/// Preserves the header: BARs, bus numbers and windows, COMMAND.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header;

impl Preserve for Header {
    fn save(&self, function: &Function, quiesced: &Quiesced<'_>) {
        function.save_header(quiesced);
    }

    fn restore(&self, function: &Function, quiesced: &Quiesced<'_>) {
        let _was_saved = function.restore_header(quiesced);
    }
}

/// A function of a session.
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    pub(crate) quirks: Quirks,
}

/// Closed functions; see the module's head. Dropping it reopens them.
pub(crate) struct Session<'t> {
    token: &'t mut ThreadToken,
    time: &'t dyn Time,
    preserve: &'t dyn Preserve,
    members: BTreeMap<Bdf, Member>,
    /// Only ever `None` while a proof is in use.
    closed: Option<ClosedSet>,
}

impl<'t> Session<'t> {
    /// Closes the gates of `members`, up to the deadline, or without waiting if there is none.
    pub(crate) fn close(
        token: &'t mut ThreadToken,
        time: &'t dyn Time,
        preserve: &'t dyn Preserve,
        members: impl IntoIterator<Item = Member>,
        deadline: Option<Deadline>,
    ) -> Result<Session<'t>, PowerError> {
        let members: BTreeMap<Bdf, Member> =
            members.into_iter().map(|member| (member.node.address, member)).collect();
        let gates: Vec<Gate> = members.values().map(|member| member.node.function.gate().clone()).collect();
        let closed = match deadline {
            Some(deadline) => close_all(&gates, token, Reason::PowerChange, deadline)
                .map_err(|error| refused(matches!(error.cause, gate::CloseError::Gone), &error))?
                .park(),
            None => try_close_all(&gates, token, Reason::PowerChange)
                .map_err(|error| refused(matches!(error.cause, gate::Busy::Gone), &error))?
                .park(),
        };
        Ok(Session { token, time, preserve, members, closed: Some(closed) })
    }

    /// Marks functions as disconnected: nobody gets in any more, from this moment on.
    pub(crate) fn disconnect(&mut self, functions: &[Bdf]) {
        for member in functions.iter().filter_map(|at| self.members.get(at)) {
            // What is still inside is this session, which ends right after.
            let _inside = member.node.function.disconnect(self.token, Deadline::after(Duration::ZERO));
        }
    }

    /// Takes away what consumers have mapped, before firmware or the slot touches anything (VF-20). With the gates closed
    /// nothing comes back.
    pub(crate) fn zap(&mut self) {
        let held: Vec<Bdf> = self.members.keys().copied().collect();
        for at in held {
            self.with(at, |function, quiesced| function.zap(quiesced));
        }
    }

    fn function(&self, at: Bdf) -> Option<&Arc<Node>> {
        self.members.get(&at).map(|member| &member.node)
    }

    /// Does `work` under the proof of the function at `at`; nothing if it was removed.
    fn with<R>(&mut self, at: Bdf, work: impl FnOnce(&Function, &Quiesced<'_>) -> R) -> Option<R> {
        let node = self.function(at)?.clone();
        let mut closed = self.closed.take()?;
        closed.forget_gone();
        let Ok(set) = closed.resume(self.token) else { return None };
        // The gate may be open for another device by now, which is none of ours.
        let proof = set.proof(node.function.gate()).filter(|_| !node.function.handle().is_gone());
        let done = proof.map(|proof| work(&node.function, proof));
        self.closed = Some(set.park());
        done
    }

    fn tell_event(&self, at: Bdf, event: &FunctionEvent<'_>) {
        if let Some(node) = self.function(at) {
            node.function.tell(event);
        }
    }
}

fn refused(gone: bool, error: &dyn std::error::Error) -> PowerError {
    if gone { PowerError::Gone } else { PowerError::InUse(error.to_string()) }
}

impl Hold for Session<'_> {
    fn facts(&self, at: Bdf) -> Facts {
        match self.members.get(&at) {
            Some(member) => Facts { quirks: member.quirks, ..Facts::of(&member.node.function) },
            None => Facts::none(),
        }
    }

    fn state(&self, at: Bdf) -> State {
        self.function(at).map_or(State::Unknown, |node| node.function.device_state())
    }

    fn note(&mut self, at: Bdf, state: State) {
        self.with(at, |function, quiesced| function.note_state(quiesced, state));
    }

    fn read(&mut self, at: Bdf, register: u16, width: Width) -> Result<u32, ConfigStatus> {
        self.with(at, |function, quiesced| function.config_read(quiesced, register, width))
            .unwrap_or(Err(ConfigStatus::DeviceNotFound))
    }

    fn write(&mut self, at: Bdf, register: u16, width: Width, value: u32) -> Result<(), ConfigStatus> {
        self.with(at, |function, quiesced| {
            function.config_write_quiesced(quiesced, register, width, value).map(|_effects| ())
        })
        .unwrap_or(Err(ConfigStatus::DeviceNotFound))
    }

    fn pass(&mut self, at: Bdf, duration: Duration) -> Result<(), Gone> {
        let end = self.time.now() + duration;
        let node = self.function(at).cloned().ok_or(Gone)?;
        // Ends: each round lets go of at least one gate, or is the last.
        loop {
            let Some(closed) = &mut self.closed else { return Err(Gone) };
            let left = end.saturating_sub(self.time.now());
            if node.function.handle().is_gone() {
                return Err(Gone);
            }
            match self.time.pass(self.token, closed, left) {
                Ok(()) => return Ok(()),
                Err(Gone) => closed.forget_gone(),
            };
        }
    }

    fn is_disconnected(&self, at: Bdf) -> bool {
        self.function(at).is_none_or(|node| node.function.handle().is_gone())
    }

    fn save(&mut self, at: Bdf) {
        let preserve = self.preserve;
        self.with(at, |function, quiesced| preserve.save(function, quiesced));
    }

    fn restore(&mut self, at: Bdf) {
        let preserve = self.preserve;
        self.with(at, |function, quiesced| preserve.restore(function, quiesced));
    }

    fn lose_power(&mut self, at: Bdf) {
        self.with(at, Function::lose_power);
    }

    fn regain_power(&mut self, at: Bdf) {
        self.with(at, Function::regain_power);
    }

    fn tell(&mut self, at: Bdf, step: PowerStep) {
        self.tell_event(at, &FunctionEvent::Power(step));
    }

    fn changed(&mut self, at: Bdf, change: Change<State>) {
        self.tell_event(at, &FunctionEvent::PowerChanged(change));
    }
}

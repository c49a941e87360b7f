//! The power states of a function: as configuration writes ask for them, and as its owner carries them out.
//!
//! A change that a consumer's write asks for keeps the gate closed from the write to the end of the time that the
//! hardware needs (CFG-I10, PWR-04). Only this function is blocked meanwhile; its removal ends the wait at once (law 4).
//! What the owner does (`power`, `reset`) goes through the methods that take a proof; those let no time pass.
//!
//! Concurrency: no locks. What is kept here changes under a proof only.

use super::Function;
use super::header::SavedHeader;
use crate::config::{Change, ResetKind};
use crate::error::AccessError;
use crate::observe::FunctionEvent;
use crate::power::{DeviceState, PowerDelays};
use crate::power_step::PowerStep;
use crate::time::{RealTime, Time};
use gate::{AccessKind, CloseError, Deadline, Quiesced, Reason, Refusal, ThreadToken, Until};
use pci_spec::capability::pm::PowerState;
use std::sync::Arc;

/// What a function keeps for its power changes.
pub(super) struct FunctionPower {
    pub(super) time: Arc<dyn Time>,
    pub(super) delays: PowerDelays,
    pub(super) header: SavedHeader,
}

impl Default for FunctionPower {
    fn default() -> FunctionPower {
        FunctionPower {
            time: Arc::new(RealTime::default()),
            delays: PowerDelays::default(),
            header: SavedHeader::default(),
        }
    }
}

impl Function {
    /// Has the delays of power changes pass on `time`; without, on the system's monotonic clock.
    #[must_use]
    pub fn timed_by(mut self, time: Arc<dyn Time>) -> Function {
        self.power.time = time;
        self
    }

    /// Gives the function times of its own, for a device that needs more than the specification asks for.
    #[must_use]
    pub fn delayed_by(mut self, delays: PowerDelays) -> Function {
        self.power.delays = delays;
        self
    }

    /// The times that this function needs.
    #[must_use]
    pub fn power_delays(&self) -> PowerDelays {
        self.power.delays
    }

    /// The power state that the function is known to be in (PWR-01).
    #[must_use]
    pub fn device_state(&self) -> DeviceState {
        self.config.device_state()
    }

    /// Notes what was found out of the state: one that no register can tell (D3cold, unknown, and any state of a function
    /// without power management) stays until something else is noted; any other means that the register tells it
    /// (PWR-03). Takes away what consumers have mapped, if the function is awake now and was not, or the other way round.
    pub fn note_state(&self, quiesced: &Quiesced<'_>, state: DeviceState) {
        let was_awake = self.is_awake();
        self.config.note_state(state);
        if self.is_awake() != was_awake {
            self.zap(quiesced);
        }
    }

    fn is_awake(&self) -> bool {
        self.device_state() < DeviceState::D3Hot
    }

    /// The function was reset: where it has power, its register tells the state again.
    pub(super) fn forget_state(&self) {
        if self.config.is_powered() {
            self.config.forget_state();
        }
    }

    /// The power goes: device and configuration space lose their state, what auxiliary power keeps apart, and answer
    /// nothing more. The state is D3cold from now on.
    pub fn lose_power(&self, quiesced: &Quiesced<'_>) {
        // First: consumers are off it before the device is touched.
        self.note_state(quiesced, DeviceState::D3Cold);
        let _lost_whatever_it_says =
            self.call(quiesced, |device| device.reset(quiesced, ResetKind::PowerCycle));
        self.config.lose_power();
    }

    /// The power is back: device and configuration space are as after power-on. The caller gives the function its time
    /// before it touches it ([`PowerDelays::d3cold`]).
    pub fn regain_power(&self, quiesced: &Quiesced<'_>) {
        self.config.regain_power();
        self.note_state(quiesced, DeviceState::D0);
    }

    /// Enters a power state that the device has, which may cost it its state; answers the change. What consumers have
    /// mapped is taken away on the way into D3 and out of it (VF-20, VF-48). No delay passes here.
    ///
    /// On the way to D3hot the header is saved; [`Function::restore_header`] is the caller's, once the function may be
    /// touched again.
    pub fn enter_power_state(
        &self,
        quiesced: &Quiesced<'_>,
        state: PowerState,
    ) -> Option<Change<PowerState>> {
        if state == PowerState::D3Hot && self.config.power_state() != state {
            self.save_header(quiesced);
        }
        let was_awake = self.is_awake();
        let change = self.config.set_power_state(state)?;
        if self.is_awake() != was_awake {
            self.zap(quiesced);
        }
        if self.config.wakes_to_reset(change) {
            self.reset_quiesced(quiesced, ResetKind::PowerUp);
        } else {
            // The register has changed; that the device panicked has been noticed.
            let _told = self.call(quiesced, |device| device.power_changed(quiesced, change));
        }
        Some(change)
    }

    /// The device wants to wake the system: sets PME status if it can signal PME in its present state, and tells the
    /// observer if PME is enabled. Waits to `until` while the function is blocked, so that no wake-up is lost to a power
    /// change that is under way. True if the observer was told.
    ///
    /// # Errors
    /// [`Refusal`]: frozen, gone, or blocked to the end.
    pub fn signal_pme(&self, token: &mut ThreadToken, until: impl Until) -> Result<bool, Refusal> {
        let pass = self.handle.enter(token, AccessKind::Interrupt, until)?;
        let signalled = self.config.signal_pme();
        drop(pass);
        if signalled {
            self.tell(&FunctionEvent::Power(PowerStep::WakeUp));
        }
        Ok(signalled)
    }

    /// The time between the write that makes `change` and the next access.
    pub(super) fn delay_of(&self, change: Change<PowerState>) -> std::time::Duration {
        let ready = self.config.layout().immediate_readiness_on_d0();
        self.power.delays.between(change.old.into(), change.new.into(), ready)
    }

    pub(super) fn change_power(
        &self,
        token: &mut ThreadToken,
        state: PowerState,
        deadline: Deadline,
    ) -> Result<(), AccessError> {
        match self.try_change_power(token, state, deadline) {
            Ok(Changed::Nothing) => Ok(()),
            Ok(Changed::Done(change)) => {
                let (old, new) = (change.old.into(), change.new.into());
                self.tell(&FunctionEvent::PowerChanged(Change { old, new }));
                Ok(())
            }
            Ok(Changed::Needed) => {
                let (from, to) = (self.device_state(), state.into());
                self.tell(&FunctionEvent::Power(PowerStep::Refused { from, to }));
                Err(AccessError::NeededByVirtualFunctions)
            }
            // The state was entered, and then nobody was left to answer.
            Ok(Changed::Gone) => Err(AccessError::Refused(Refusal::Gone)),
            Err(error) => {
                self.tell(&FunctionEvent::PowerNotChanged { error: &error });
                Err(AccessError::PowerNotChanged(error))
            }
        }
    }

    /// Another writer may have been first, so the change is worked out anew once nothing else is inside.
    fn try_change_power(
        &self,
        token: &mut ThreadToken,
        state: PowerState,
        deadline: Deadline,
    ) -> Result<Changed, CloseError> {
        let quiesced = self.quiesce(token, Reason::PowerChange, deadline)?;
        if state == PowerState::D3Hot && self.config.sr_iov().is_some_and(|vfs| vfs.enabled) {
            return Ok(Changed::Needed);
        }
        let setup = self.config.sr_iov_setup();
        let Some(change) = self.enter_power_state(&quiesced, state) else {
            return Ok(Changed::Nothing);
        };
        if let Some(setup) = setup.filter(|_| self.config.wakes_to_reset(change)) {
            // Off as they were, but their addresses are not the consumer's to give again.
            self.config.restore_sr_iov(&setup);
        }
        let closed = quiesced.park();
        let settled = self.power.time.pass(token, &closed, self.delay_of(change)).and_then(|()| {
            let quiesced = closed.resume(token)?;
            if self.config.wakes_to_reset(change) {
                // VF-48: the consumer finds its configuration again.
                self.restore_header(&quiesced);
            }
            Ok(Changed::Done(change))
        });
        Ok(settled.unwrap_or(Changed::Gone))
    }
}

/// What came of a change that a consumer asked for.
enum Changed {
    /// Somebody else was first, or the state is not there from where the function is now.
    Nothing,
    /// Virtual functions depend on the function (VF-48).
    Needed,
    /// Entered, and the time that it takes has passed.
    Done(Change<PowerState>),
    /// Entered, and then the function was removed.
    Gone,
}

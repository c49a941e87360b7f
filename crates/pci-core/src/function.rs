//! A function: a configuration space and a device behind one gate.
//!
//! Every access enters the gate (law 3) and leaves it before anything waits. What a configuration write asks for - a
//! reset, a power state - is carried out after the write has left, with the gate closed. Deadlines are the caller's.
//!
//! Concurrency: no locks. Accesses run side by side; resets and power changes exclude them and each other by the
//! gate, in the order in which they arrive.

use crate::config::{BarIndex, CONFIG_SIZE, Change, ConfigEffects, ConfigSpace, ResetKind};
use crate::device::Device;
use crate::dropped::{DropCounters, Dropped};
use crate::error::{AccessError, ResetError};
use crate::observe::{FunctionEvent, Observer};
use gate::{AccessKind, CloseError, Deadline, Gate, Handle, Pass, Quiesced, Reason, ThreadToken, Until};
use pci_spec::capability::pm::PowerState;
use std::sync::Arc;

/// A function in one epoch of its gate; see the module's head.
pub struct Function {
    name: String,
    gate: Gate,
    /// Of the epoch in which the function was made: a stale function reaches nothing (law 5).
    handle: Handle,
    config: Arc<ConfigSpace>,
    device: Arc<dyn Device>,
    observer: Option<Arc<dyn Observer>>,
    dropped: DropCounters,
}

impl Function {
    /// A function in the gate's current epoch.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        gate: Gate,
        config: Arc<ConfigSpace>,
        device: Arc<dyn Device>,
    ) -> Function {
        let handle = gate.handle();
        let dropped = DropCounters::default();
        Function { name: name.into(), gate, handle, config, device, observer: None, dropped }
    }

    /// Has `observer` told of resets, power changes and freezes.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Function {
        Function { observer: Some(observer), ..self }
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The owner's side of the gate.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The consumer's side of the gate, in this function's epoch.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The configuration space. Whoever touches it directly holds a pass.
    #[must_use]
    pub fn config(&self) -> &Arc<ConfigSpace> {
        &self.config
    }

    /// The device model. Whoever calls it directly holds a pass.
    #[must_use]
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// How many accesses did not reach the function.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped.snapshot()
    }

    /// Reads configuration space; waits to `until` while the function is blocked (CFG-09).
    ///
    /// # Errors
    /// [`AccessError::Refused`] or [`AccessError::OutOfRange`]; `data` is then all-ones (CFG-03).
    pub fn read_config(
        &self,
        token: &mut ThreadToken,
        offset: u16,
        data: &mut [u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        let read = self.enter_config(token, offset, data.len(), until);
        match read {
            Ok(_pass) => {
                self.config.read(offset, data);
                Ok(())
            }
            Err(error) => {
                data.fill(0xff);
                self.dropped.config_reads.add();
                Err(error)
            }
        }
    }

    /// Writes configuration space and carries out what the write asks for; waits to the deadline while the function is
    /// blocked (CFG-09), and for a reset or a power change until what is in flight has ended.
    ///
    /// The answer tells what was asked for; a reset or a power change in it has been done.
    ///
    /// # Errors
    /// [`AccessError::Refused`] or [`AccessError::OutOfRange`]: the write was dropped. [`AccessError::NotReset`] or
    /// [`AccessError::PowerNotChanged`]: it was stored, and the function is otherwise as it was.
    pub fn write_config(
        &self,
        token: &mut ThreadToken,
        offset: u16,
        data: &[u8],
        deadline: Deadline,
    ) -> Result<ConfigEffects, AccessError> {
        let effects = match self.enter_config(token, offset, data.len(), deadline) {
            Ok(pass) => self.store(&pass, offset, data),
            Err(error) => {
                self.dropped.config_writes.add();
                return Err(error);
            }
        };
        if let Some(change) = effects.power {
            self.change_power(token, change.new, deadline)?;
        }
        if effects.flr {
            self.reset(token, ResetKind::FunctionLevel, deadline)?;
        }
        Ok(effects)
    }

    /// Reads a BAR or the ROM; waits to `until` while the function is blocked.
    ///
    /// # Errors
    /// [`AccessError`] says why it was not read; `data` is then all-ones (CFG-03).
    pub fn read_bar(
        &self,
        token: &mut ThreadToken,
        bar: BarIndex,
        offset: u64,
        data: &mut [u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        match self.enter_bar(token, bar, offset, data.len(), until) {
            Ok(pass) => {
                self.device.read_bar(&pass, bar, offset, data);
                Ok(())
            }
            Err(error) => {
                data.fill(0xff);
                self.dropped.bar_reads.add();
                Err(error)
            }
        }
    }

    /// Writes a BAR; waits to `until` while the function is blocked.
    ///
    /// # Errors
    /// [`AccessError`] says why the write was dropped.
    pub fn write_bar(
        &self,
        token: &mut ThreadToken,
        bar: BarIndex,
        offset: u64,
        data: &[u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        let entered = if bar == BarIndex::ROM && self.config.window_size(bar).is_some() {
            Err(AccessError::ReadOnly)
        } else {
            self.enter_bar(token, bar, offset, data.len(), until)
        };
        match entered {
            Ok(pass) => {
                self.device.write_bar(&pass, bar, offset, data);
                Ok(())
            }
            Err(error) => {
                self.dropped.bar_writes.add();
                Err(error)
            }
        }
    }

    /// Resets the device, then the configuration space, once what is in flight has ended; then thaws a frozen function.
    ///
    /// # Errors
    /// [`ResetError`]; nothing was reset, and the function is as it was.
    pub fn reset(
        &self,
        token: &mut ThreadToken,
        kind: ResetKind,
        deadline: Deadline,
    ) -> Result<(), ResetError> {
        let done = self.try_reset(token, kind, deadline);
        self.tell(&match &done {
            Ok(()) => FunctionEvent::Reset { kind },
            Err(error) => FunctionEvent::ResetFailed { kind, error },
        });
        done
    }

    /// Freezes the function at once, waiting for nothing, so this may be called with passes held. False if it was
    /// frozen already, or is gone.
    pub fn freeze(&self, why: &str) -> bool {
        let frozen = self.is_current() && self.gate.freeze();
        if frozen {
            self.tell(&FunctionEvent::Frozen { why });
        }
        frozen
    }

    fn enter_config<'t>(
        &'t self,
        token: &'t mut ThreadToken,
        offset: u16,
        length: usize,
        until: impl Until,
    ) -> Result<Pass<'t>, AccessError> {
        if length > CONFIG_SIZE.saturating_sub(usize::from(offset)) {
            return Err(AccessError::OutOfRange);
        }
        Ok(self.handle.enter(token, AccessKind::Config, until)?)
    }

    fn enter_bar<'t>(
        &'t self,
        token: &'t mut ThreadToken,
        bar: BarIndex,
        offset: u64,
        length: usize,
        until: impl Until,
    ) -> Result<Pass<'t>, AccessError> {
        let size = self.config.window_size(bar).ok_or(AccessError::NoWindow(bar))?;
        let room = size.checked_sub(offset).ok_or(AccessError::OutOfRange)?;
        if u64::try_from(length).map_or(true, |length| length > room) {
            return Err(AccessError::OutOfRange);
        }
        let pass = self.handle.enter(token, AccessKind::Bar, until)?;
        // Looked at inside: a reset that was waited for has cleared COMMAND.
        if self.config.decodes(bar) { Ok(pass) } else { Err(AccessError::MemoryDisabled(bar)) }
    }

    fn store(&self, pass: &Pass<'_>, offset: u16, data: &[u8]) -> ConfigEffects {
        let effects = self.config.write(offset, data);
        if let Some(change) = effects.command {
            self.device.command_changed(pass, change.old, change.new);
        }
        effects
    }

    fn try_reset(
        &self,
        token: &mut ThreadToken,
        kind: ResetKind,
        deadline: Deadline,
    ) -> Result<(), ResetError> {
        if kind == ResetKind::FunctionLevel && !self.config.layout().has_flr() {
            return Err(ResetError::Unsupported(kind));
        }
        let quiesced = self
            .quiesce(token, Reason::Reset, deadline)
            .map_err(|cause| ResetError::NotQuiesced { kind, cause })?;
        self.device.reset(&quiesced, kind);
        self.config.reset(kind);
        // Whoever froze or removed the function meanwhile has the last word; the reset was done all the same.
        let _reopened = quiesced.thaw();
        Ok(())
    }

    fn change_power(
        &self,
        token: &mut ThreadToken,
        state: PowerState,
        deadline: Deadline,
    ) -> Result<(), AccessError> {
        match self.try_change_power(token, state, deadline) {
            Ok(change) => {
                if let Some(change) = change {
                    self.tell(&FunctionEvent::PowerChanged(change));
                }
                Ok(())
            }
            Err(error) => {
                self.tell(&FunctionEvent::PowerNotChanged { error: &error });
                Err(AccessError::PowerNotChanged(error))
            }
        }
    }

    /// Another writer may have been first, so the change is worked out anew once nothing else is inside. No delay
    /// follows (PWR-04): the state is entered when this returns, and nobody has had an access in between (CFG-I10).
    fn try_change_power(
        &self,
        token: &mut ThreadToken,
        state: PowerState,
        deadline: Deadline,
    ) -> Result<Option<Change<PowerState>>, CloseError> {
        let quiesced = self.quiesce(token, Reason::PowerChange, deadline)?;
        let change = self.config.set_power_state(state);
        if let Some(change) = change {
            if self.config.wakes_to_reset(change) {
                self.device.reset(&quiesced, ResetKind::PowerUp);
                self.config.reset(ResetKind::PowerUp);
            } else {
                self.device.power_changed(&quiesced, change);
            }
        }
        Ok(change)
    }

    fn quiesce<'t>(
        &'t self,
        token: &'t mut ThreadToken,
        reason: Reason,
        deadline: Deadline,
    ) -> Result<Quiesced<'t>, CloseError> {
        let quiesced = self.gate.close(token, reason, deadline)?;
        // The gate outlives the function: it may be open for the next one by now, which this one must not touch.
        if self.is_current() { Ok(quiesced) } else { Err(CloseError::Gone) }
    }

    fn is_current(&self) -> bool {
        self.gate.handle().epoch() == self.handle.epoch()
    }

    fn tell(&self, event: &FunctionEvent<'_>) {
        if let Some(observer) = &self.observer {
            observer.event(&self.name, event);
        }
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Function { name, gate, handle: _, config, device: _, observer: _, dropped } = self;
        let mut debug = f.debug_struct("Function");
        debug.field("name", name).field("gate", gate).field("command", &config.command());
        debug.field("dropped", &dropped.snapshot()).finish_non_exhaustive()
    }
}

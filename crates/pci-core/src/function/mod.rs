//! A function: a configuration space and a device behind one gate.
//!
//! Every access enters the gate (law 3) and leaves it before anything waits. What a configuration write asks for - a
//! reset, a power state - is carried out after the write has left, with the gate closed. Deadlines are the caller's.
//!
//! Concurrency: accesses run side by side; resets and power changes exclude them and each other by the gate, in the order
//! in which they arrive. Reads take no lock; writes to registers take one of the function's own (`registers`).

mod claims;
mod errors;
mod express;
mod header;
mod inside;
mod internal;
mod intx;
mod io_state;
mod leaves_with;
mod mappings;
mod pending;
mod power;
mod preserve;
mod regions;
mod registers;
mod tapped;
mod user;
mod waiting;
mod way;
mod within;
mod written;

pub use errors::READS_WHILE_FROZEN;
pub use inside::Inside;
pub use io_state::IoState;
pub use pending::PENDING_POLLS;
pub use written::Written;

use crate::config::{BarIndex, ConfigSpace, ResetKind};
use crate::device::Device;
use crate::dropped::{DropCounters, Dropped};
use crate::error::{AccessError, ResetError};
use crate::observe::{FunctionEvent, Observer};
use crate::ranks;
use crate::tap::Tap;
use claims::Claims;
use errors::Errors;
pub(crate) use errors::Panicked;
use express::ExpressPlace;
use gate::lock::Lock;
use gate::{
    AccessKind, CloseError, Deadline, Gate, Handle, Pass, Quiesced, Reason, Refusal, ThreadToken, Until,
};
use leaves_with::LeavesWith;
use mapping::{MappingLimits, Mappings};
use registers::{Route, Writes};
use std::sync::{Arc, OnceLock};
use way::Way;

/// A function in one epoch of its gate; see the module's head.
///
/// What every access reads comes first, in one cache line: with thousands of functions under load the time of an access
/// is that of the lines it touches.
#[repr(C, align(64))]
pub struct Function {
    /// Of the epoch in which the function was made: a stale function reaches nothing (law 5).
    handle: Handle,
    /// The way to the registers, if it leads through a host bridge.
    route: Option<Route>,
    config: Arc<ConfigSpace>,
    device: Arc<dyn Device>,
    way: Way,
    /// Rank 57. A read-modify-write of a register is a read and a write of the bridge: an atomic cannot cover both.
    registers: Lock<ranks::Registers, Writes>,
    gate: Gate,
    mappings: Mappings,
    name: String,
    observer: Option<Arc<dyn Observer>>,
    dropped: DropCounters,
    power: power::FunctionPower,
    express: OnceLock<ExpressPlace>,
    claims: Claims,
    errors: Errors,
    tap: OnceLock<Arc<dyn Tap>>,
    intx_masking_broken: bool,
    /// Of a virtual function.
    leaves_with: Option<LeavesWith>,
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
        let power = power::FunctionPower::default();
        let mappings = mappings::of(&gate, &config, MappingLimits::default());
        Function {
            name: name.into(),
            gate,
            mappings,
            handle,
            config,
            way: Way::to(&*device),
            device,
            observer: None,
            dropped,
            power,
            route: None,
            registers: Lock::new(Writes::default()),
            express: OnceLock::new(),
            claims: Claims::default(),
            errors: Errors::default(),
            tap: OnceLock::new(),
            intx_masking_broken: false,
            leaves_with: None,
        }
    }

    /// Makes this a virtual function of `physical`: its memory is decoded only while `physical` says so too (VF-18), and from the
    /// moment at which `physical` is gone nothing gets in any more, until it is retired in its turn (HP-12).
    #[must_use]
    pub fn depending_on(self, physical: &Function) -> Function {
        let _one_physical_function_in_its_life = self.config.depend_on(physical.config.clone());
        let leaves_with = LeavesWith::new(&physical.handle, &self.handle);
        Function { leaves_with: Some(leaves_with), ..self }
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
        let read = if self.way.is_plain() {
            self.access_bar(token, bar, (offset, data.len()), until, |pass| {
                self.read_device(pass, bar, offset, data)
            })
        } else {
            self.read_bar_specially(token, bar, offset, data, until)
        };
        if read.is_err() {
            self.read_was_refused(AccessKind::Bar, data);
        }
        read
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
        let written = if bar == BarIndex::ROM && self.config.window_size(bar).is_some() {
            Err(AccessError::ReadOnly)
        } else if self.way.is_plain() {
            self.access_bar(token, bar, (offset, data.len()), until, |pass| {
                self.call(pass, |device| device.write_bar(pass, bar, offset, data))
            })
        } else {
            self.write_bar_specially(token, bar, offset, data, until)
        };
        if let Err(error) = &written {
            self.write_was_refused(AccessKind::Bar);
            if matches!(error, AccessError::Refused(Refusal::Frozen)) {
                self.missed_write(bar, offset, data);
            }
        }
        written
    }

    /// Resets the device, then the configuration space, once what is in flight has ended; then thaws a frozen function.
    /// Virtual functions stay set up (RST-19).
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

    /// Does `access` inside, unless something refuses it. The pass is used where it is made: handed on in a result that may
    /// be an error it would go through memory, which costs more than the gate.
    #[inline]
    fn access_bar<E: Into<AccessError>>(
        &self,
        token: &mut ThreadToken,
        bar: BarIndex,
        (offset, length): (u64, usize),
        until: impl Until,
        access: impl FnOnce(&Pass<'_>) -> Result<(), E>,
    ) -> Result<(), AccessError> {
        self.check_inside(bar, offset, length)?;
        let pass = self.handle.enter(token, AccessKind::Bar, until)?;
        // Looked at inside: a reset that was waited for has cleared COMMAND.
        self.check_decoded(bar)?;
        match access(&pass) {
            Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the device, and looks at what it gave.
    #[inline]
    fn read_device(
        &self,
        pass: &Pass<'_>,
        bar: BarIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), Panicked> {
        self.call(pass, |device| device.read_bar(pass, bar, offset, data))?;
        self.look_at_bar(pass.token(), bar, offset, data);
        Ok(())
    }

    fn try_reset(
        &self,
        token: &mut ThreadToken,
        kind: ResetKind,
        deadline: Deadline,
    ) -> Result<(), ResetError> {
        let layout = self.config.layout();
        if kind == ResetKind::FunctionLevel && !(layout.has_flr() || layout.has_af_flr()) {
            return Err(ResetError::Unsupported(kind));
        }
        let quiesced = self
            .quiesce(token, Reason::Reset, deadline)
            .map_err(|cause| ResetError::NotQuiesced { kind, cause })?;
        // A consumer resets what it was given. The virtual functions are others', and stay set up (RST-19).
        if !self.reset_both(&quiesced, kind, ConfigSpace::reset_but_virtual_functions) {
            return Err(ResetError::DevicePanicked(kind));
        }
        // Whoever froze or removed the function meanwhile has the last word; the reset was done all the same.
        let _reopened = self.thaw_quiesced(quiesced);
        Ok(())
    }

    /// Takes away what consumers have mapped, and resets the device and its configuration space; nothing is saved,
    /// restored or waited for. Virtual functions are off afterwards, so whoever has some has closed and [zapped] them before.
    /// False if the device panicked over it: then the function is frozen too.
    ///
    /// [zapped]: Function::zap
    pub fn reset_quiesced(&self, quiesced: &Quiesced<'_>, kind: ResetKind) -> bool {
        self.reset_both(quiesced, kind, ConfigSpace::reset)
    }

    /// The registers are reset even if the device panics over its part, so that it no longer masters the bus.
    fn reset_both(
        &self,
        quiesced: &Quiesced<'_>,
        kind: ResetKind,
        config: fn(&ConfigSpace, ResetKind),
    ) -> bool {
        self.zap(quiesced);
        let done = self.call(quiesced, |device| device.reset(quiesced, kind));
        config(&self.config, kind);
        self.forget_state();
        done.is_ok()
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
        !self.handle.is_gone()
    }

    /// Tells the observer. For those who act on a function as its owner and see what it does not.
    pub fn tell(&self, event: &FunctionEvent<'_>) {
        if let Some(observer) = &self.observer {
            observer.event(&self.name, event);
        }
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Function { name, gate, config, dropped, route, .. } = self;
        let mut debug = f.debug_struct("Function");
        debug
            .field("name", name)
            .field("gate", gate)
            .field("route", route)
            .field("command", &config.command());
        debug.field("dropped", &dropped.snapshot()).finish_non_exhaustive()
    }
}

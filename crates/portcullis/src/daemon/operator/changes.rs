//! Resets, power states, virtual functions and registers, as an operator asks for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use assign::{Event, EventSink};
use gate::{AccessKind, Deadline, ThreadToken};
use pci_core::access::RegisterSpec;
use pci_core::{AccessError, DeviceState, Errno};
use pci_spec::capability::{af, express};
use reset::Method;

use super::guard::{self, Places, Write};
use super::{DaemonOperator, Target};
use crate::control::protocol::{Refusal, RefusalCode, ResetChoice};
use crate::control::report::{
    PowerReport, RegisterReport, ResetDone, ResetMethodReport, ResetMethods, VirtualFunctions,
};
use crate::daemon::zpci::follow_virtual_functions;

/// How long a change may wait for what is in flight. What the hardware needs comes on top.
const TIMEOUT: Duration = Duration::from_secs(5);

impl DaemonOperator {
    pub(super) fn reset(
        &self,
        token: &mut ThreadToken,
        target: &Target<'_>,
        how: &ResetChoice,
    ) -> Result<ResetDone, Refusal> {
        let start = Instant::now();
        let resets = &self.machine.resets;
        let (snapshot, at) = (&*target.snapshot, target.address());
        let done = match how {
            ResetChoice::Usual { attempt: false } => {
                resets.reset_function(token, snapshot, at, Deadline::after(TIMEOUT))
            }
            ResetChoice::Usual { attempt: true } => resets.try_reset_function(token, snapshot, at),
            ResetChoice::Method { method } => {
                let method = Method::of_name(method).ok_or_else(|| unknown_method(method))?;
                resets.reset_function_by(token, snapshot, at, method, Deadline::after(TIMEOUT))
            }
            ResetChoice::Subordinate { attempt } => self.reset_below(token, target, *attempt)?,
        };
        let done = done.map_err(|error| reset_refused(target, how, &error))?;
        let method = done.method.map_or("bus", Method::name);
        let below = if done.method.is_none() { "everything below was " } else { "" };
        self.tell(target, format!("{below}reset by {method}"));
        self.follow_virtual_functions(token, target);
        Ok(ResetDone {
            address: at.to_string(),
            method: method.to_owned(),
            not_restored: done.not_restored,
            took_us: micros(start),
        })
    }

    /// Resets what is below a bridge. One without power gets it first: it could not reset anything.
    fn reset_below(
        &self,
        token: &mut ThreadToken,
        target: &Target<'_>,
        attempt: bool,
    ) -> Result<Result<reset::Done, reset::Error>, Refusal> {
        let (snapshot, at) = (&*target.snapshot, target.address());
        if !target.node.function.config().is_bridge() {
            let message =
                format!("{at} is no bridge, so nothing is below it; `portcullis reset {at}` resets it");
            return Err(refuse(Errno::ENOTTY, &message));
        }
        let (power, resets) = (&self.machine.power, &self.machine.resets);
        let deadline = Deadline::after(TIMEOUT);
        if target.node.function.device_state() != DeviceState::D0 {
            let woken = if attempt {
                power.try_set_state(snapshot, at, DeviceState::D0, token)
            } else {
                power.set_state(snapshot, at, DeviceState::D0, token, deadline)
            };
            woken.map_err(|error| refuse(error.errno(), &error))?;
        }
        Ok(if attempt {
            resets.try_reset_bus(token, snapshot, at)
        } else {
            resets.reset_bus(token, snapshot, at, deadline)
        })
    }

    pub(super) fn reset_methods(
        &self,
        token: &mut ThreadToken,
        target: &Target<'_>,
        list: Option<&str>,
    ) -> Result<ResetMethods, Refusal> {
        let resets = &self.machine.resets;
        let (snapshot, at) = (&*target.snapshot, target.address());
        let failed = |error: reset::Error| refuse(error.errno(), &error);
        let deadline = Deadline::after(TIMEOUT);
        let mut warning = None;
        if let Some(list) = list {
            let list = list.replace(',', " ");
            let set = resets.set_methods(token, snapshot, at, &list, deadline).map_err(failed)?;
            let told = set.map_err(|error| refuse(Errno::EINVAL, &error))?;
            warning = told.map(|warning| warning.to_string());
            let shown = if list.trim().is_empty() { "none" } else { list.trim() };
            self.tell(target, format!("reset methods were set to {shown}"));
        }
        let in_use = resets.methods(token, snapshot, at, deadline).map_err(failed)?;
        let probed = resets.probe(token, snapshot, at, deadline).map_err(failed)?;
        let report = |(method, has): reset::Probed| ResetMethodReport {
            method: method.name().to_owned(),
            unsupported: has.err().map(|lack| lack.to_string()),
        };
        Ok(ResetMethods {
            address: at.to_string(),
            in_use: in_use.iter().map(|method| method.name().to_owned()).collect(),
            methods: probed.into_iter().map(report).collect(),
            warning,
        })
    }

    pub(super) fn power(
        &self,
        token: &mut ThreadToken,
        target: &Target<'_>,
        state: Option<&str>,
    ) -> Result<PowerReport, Refusal> {
        let (snapshot, at) = (&*target.snapshot, target.address());
        let power = &self.machine.power;
        let Some(name) = state else {
            let state = target.node.function.device_state();
            return Ok(PowerReport { address: at.to_string(), state: state.to_string(), took_us: None });
        };
        let wanted = state_of(name)?;
        let start = Instant::now();
        let reached = power.set_state(snapshot, at, wanted, token, Deadline::after(TIMEOUT));
        let reached = reached.map_err(|error| refuse(error.errno(), &error))?;
        if reached != wanted {
            let message = format!("refused to change power state from {reached} to {wanted}");
            return Err(refuse(Errno::EIO, &message));
        }
        self.tell(target, format!("power state {reached} was asked for"));
        Ok(PowerReport { address: at.to_string(), state: reached.to_string(), took_us: Some(micros(start)) })
    }

    pub(super) fn virtual_functions(
        &self,
        token: &mut ThreadToken,
        target: &Target<'_>,
        count: Option<u16>,
    ) -> Result<VirtualFunctions, Refusal> {
        let at = target.address();
        if let Some(count) = count {
            if count > 0 && target.node.function.config().sr_iov_layout().is_some() {
                self.wake(token, target)?;
            }
            let set = self.machine.topology.set_num_vfs(token, at, count, Deadline::after(TIMEOUT));
            let change = set.map_err(|error| refuse(error.errno(), &error))?;
            for (name, what) in change.removed.orphans {
                tracing::warn!(
                    function = name,
                    "{what:?} is still inside a virtual function that was removed"
                );
            }
            self.tell(target, format!("virtual functions were set to {count}"));
            self.follow_virtual_functions(token, target);
        }
        let layout = target.node.function.config().sr_iov_layout();
        let total = layout.map(|layout| layout.total_vfs).ok_or_else(|| {
            let message = format!("{at}: the function has no SR-IOV");
            refuse(Errno::ENOENT, &message)
        })?;
        let functions = self.machine.snapshot(token).virtual_functions(at);
        let functions = functions.iter().map(|node| node.address.to_string()).collect();
        Ok(VirtualFunctions { address: at.to_string(), total, functions })
    }

    /// Which virtual functions there are may have changed, of one function or of those below a bridge.
    fn follow_virtual_functions(&self, token: &mut ThreadToken, target: &Target<'_>) {
        for place in self.places().filter(|place| target.place.is_none_or(|it| Arc::ptr_eq(it, place))) {
            follow_virtual_functions(&self.zpci, &self.machine, &place.zdev, place.address, token);
        }
    }

    /// The access waits like everybody's, and wakes what is above the function (CFG-15).
    pub(super) fn register(
        &self,
        token: &mut ThreadToken,
        target: &Target<'_>,
        text: &str,
    ) -> Result<RegisterReport, Refusal> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let invalid = |error: &dyn std::fmt::Display| refuse(Errno::EINVAL, error);
        let spec: RegisterSpec = name.parse().map_err(|error| invalid(&error))?;
        let value =
            value.map(|value| spec.parse_value(value)).transpose().map_err(|error| invalid(&error))?;
        let (snapshot, at, function) = (&*target.snapshot, target.address(), &target.node.function);
        let deadline = Deadline::after(TIMEOUT);
        let woken = self.machine.power.wake_for_config(snapshot, at, token, deadline);
        woken.map_err(|error| refuse(error.errno(), &error))?;
        let (offset, places) = {
            let pass = function.handle().enter(token, AccessKind::Config, deadline);
            let pass = pass.map_err(|refusal| access_refused(&refusal.into()))?;
            let offset = spec.locate(function, &pass).map_err(|error| invalid(&error))?;
            let find = |id| function.find_capability(&pass, id).ok().flatten();
            (offset, Places { express: find(express::ID), af: find(af::ID) })
        };
        let width = spec.width();
        if let Some(value) = value {
            if let Some(why) = guard::objection(function, at, places, Write { offset, width, value }) {
                return Err(refuse(Errno::EPERM, &format!("nothing was written: {why}")));
            }
            let written = function.write_register(token, offset, width, value, deadline);
            written.map_err(|error| access_refused(&error))?;
            let digits = 2 * usize::from(width.bytes());
            self.tell(target, format!("{value:0digits$x} was written to register {offset:#05x}"));
        }
        let read =
            function.read_register(token, offset, width, deadline).map_err(|error| access_refused(&error))?;
        let digits = 2 * usize::from(width.bytes());
        let hexadecimal = |value: u32| format!("{value:0digits$x}");
        Ok(RegisterReport {
            address: at.to_string(),
            offset: format!("{offset:#05x}"),
            width: width.bytes(),
            value: hexadecimal(read),
            written: value.map(hexadecimal),
        })
    }

    /// To D0: virtual functions do not come up without their physical function.
    fn wake(&self, token: &mut ThreadToken, target: &Target<'_>) -> Result<(), Refusal> {
        if target.node.function.device_state() == DeviceState::D0 {
            return Ok(());
        }
        let deadline = Deadline::after(TIMEOUT);
        let at = target.address();
        let woken = self.machine.power.set_state(&target.snapshot, at, DeviceState::D0, token, deadline);
        woken.map(drop).map_err(|error| refuse(error.errno(), &error))
    }

    /// Notes in the history of a function what an operator did to it.
    pub(super) fn tell(&self, target: &Target<'_>, detail: String) {
        self.journal.event(target.node.function.name(), Event::Operator { detail });
    }
}

/// Why nothing was reset, and where to look.
fn reset_refused(target: &Target<'_>, how: &ResetChoice, error: &reset::Error) -> Refusal {
    let at = target.address();
    let look = format!("`portcullis reset-method {at}` says why");
    let message = match (error, how) {
        (reset::Error::NoMethod, ResetChoice::Method { method }) => {
            format!("the function cannot be reset by {method}, or did not answer after it; {look}")
        }
        (reset::Error::NoMethod, _) if target.node.function.config().is_bridge() => {
            format!(
                "a bridge is not reset by itself; `portcullis reset {at} --subordinate` resets what is below it"
            )
        }
        (reset::Error::NoMethod, _) => format!("no reset method is left to try; {look}"),
        _ => error.to_string(),
    };
    refuse(error.errno(), &message)
}

fn unknown_method(name: &str) -> Refusal {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(32).collect();
    let known: Vec<&str> = Method::ALL.into_iter().map(Method::name).collect();
    let message = format!("`{shown}` is no reset method; there is {}", known.join(", "));
    refuse(Errno::EINVAL, &message)
}

fn state_of(name: &str) -> Result<DeviceState, Refusal> {
    let states = [DeviceState::D0, DeviceState::D1, DeviceState::D2, DeviceState::D3Hot, DeviceState::D3Cold];
    let state = states.into_iter().find(|state| state.to_string().eq_ignore_ascii_case(name));
    state.ok_or_else(|| {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(32).collect();
        refuse(Errno::EINVAL, &format!("`{shown}` is no power state; there is D0, D1, D2, D3hot, D3cold"))
    })
}

fn access_refused(error: &AccessError) -> Refusal {
    refuse(error.errno(), error)
}

/// A refusal with the error number that an interface of the operating system would give.
pub(super) fn refuse(errno: Errno, error: &dyn std::fmt::Display) -> Refusal {
    let code = match errno {
        Errno::EAGAIN | Errno::EBUSY | Errno::ETIMEDOUT => RefusalCode::Busy,
        Errno::ENODEV => RefusalCode::Gone,
        _ => RefusalCode::Failed,
    };
    Refusal::new(code, error.to_string()).with_errno(errno)
}

pub(super) fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

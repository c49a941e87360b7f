//! Resets, power states, virtual functions and registers, as an operator asks for them.

use std::time::{Duration, Instant};

use gate::{AccessKind, Deadline, ThreadToken};
use pci_core::access::RegisterSpec;
use pci_core::{AccessError, DeviceState, Errno};
use reset::Method;

use super::{DaemonOperator, Target};
use crate::control::protocol::{Refusal, RefusalCode, ResetChoice};
use crate::control::report::{
    PowerReport, RegisterReport, ResetDone, ResetMethodReport, ResetMethods, VirtualFunctions,
};

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
            ResetChoice::Subordinate { attempt: false } => {
                resets.reset_bus(token, snapshot, at, Deadline::after(TIMEOUT))
            }
            ResetChoice::Subordinate { attempt: true } => resets.try_reset_bus(token, snapshot, at),
        };
        let done = done.map_err(|error| refuse(error.errno(), &error))?;
        Ok(ResetDone {
            address: at.to_string(),
            method: done.method.map_or("bus", Method::name).to_owned(),
            not_restored: done.not_restored,
            took_us: micros(start),
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
            let set = self.machine.topology.set_num_vfs(token, at, count, Deadline::after(TIMEOUT));
            let change = set.map_err(|error| refuse(error.errno(), &error))?;
            for (name, what) in change.removed.orphans {
                tracing::warn!(
                    function = name,
                    "{what:?} is still inside a virtual function that was removed"
                );
            }
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
        let offset = {
            let pass = function.handle().enter(token, AccessKind::Config, deadline);
            let pass = pass.map_err(|refusal| access_refused(&refusal.into()))?;
            spec.locate(function, &pass).map_err(|error| invalid(&error))?
        };
        let width = spec.width();
        if let Some(value) = value {
            let written = function.write_register(token, offset, width, value, deadline);
            written.map_err(|error| access_refused(&error))?;
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
fn refuse(errno: Errno, error: &dyn std::fmt::Display) -> Refusal {
    let code = match errno {
        Errno::EAGAIN | Errno::EBUSY | Errno::ETIMEDOUT => RefusalCode::Busy,
        Errno::ENODEV => RefusalCode::Gone,
        _ => RefusalCode::Failed,
    };
    Refusal::new(code, error.to_string()).with_errno(errno)
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

//! The reset of one function, step by step, with its gate closed (RST-11).
//!
//! [`prepare`] → [`attempt`] → [`finish`]; the module's head of the crate has the graph.

use crate::act::{self, MethodError};
use crate::facts::Facts;
use crate::hold::Hold;
use crate::method::Method;
use crate::methods::MethodList;
use crate::probe::{CxlPort, Surroundings, probe};
use crate::quirks::Quirks;
use crate::ready::wait_ready;
use crate::saved::SavedState;
use crate::secondary::{BusTimes, Secondary};
use gate::Gone;
use pci_core::{DeviceState, Errno, PowerState, ResetStep};
use pci_spec::capability::pm;
use pci_spec::extended::cxl_port;
use pci_spec::{Bdf, Command, config};
use std::time::Duration;

/// How often, and how long apart, a busy bridge is asked for when the methods that need none have failed. It is not
/// waited for in its queue: whoever is ahead there may be waiting for the function that is held.
const BRIDGE_TRIES: u32 = 100;
const BRIDGE_AGAIN: Duration = Duration::from_millis(10);

/// A function to be reset.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) at: Bdf,
    /// `None` if it has never answered.
    pub(crate) facts: Option<&'a Facts>,
    pub(crate) quirks: Quirks,
    pub(crate) around: Surroundings,
}

/// Tells whoever drives the function, wakes it, saves its state, and stops its DMA and INTx.
///
/// # Errors
/// [`Gone`]: the function was removed.
pub(crate) fn prepare(hold: &mut dyn Hold, at: Bdf, facts: Option<&Facts>) -> Result<SavedState, Gone> {
    let saved = keep(hold, at, facts)?;
    if !saved.is_empty() {
        quiet(hold, at);
    }
    Ok(saved)
}

/// Tells whoever drives the function, wakes it, and saves its state.
///
/// # Errors
/// [`Gone`]: the function was removed.
pub(crate) fn keep(hold: &mut dyn Hold, at: Bdf, facts: Option<&Facts>) -> Result<SavedState, Gone> {
    hold.tell(at, ResetStep::Prepare);
    let Some(facts) = facts else { return Ok(SavedState::default()) };
    wake(hold, at, facts)?;
    Ok(SavedState::save(hold, at, facts))
}

/// Stops a function's DMA and INTx.
pub(crate) fn quiet(hold: &mut dyn Hold, at: Bdf) {
    hold.write_word(at, config::COMMAND, Command::INTERRUPT_DISABLE.bits());
}

/// To D0. What the function loses on the way is put back: it is the state that the reset shall keep (PWR-05).
fn wake(hold: &mut dyn Hold, at: Bdf, facts: &Facts) -> Result<(), Gone> {
    let Some(power) = facts.power() else { return Ok(()) };
    let control = hold.read_word(at, power + pm::CONTROL_STATUS);
    let state = PowerState::decode(control);
    if control == u16::MAX || state == PowerState::D0 {
        return Ok(());
    }
    let loses = state == PowerState::D3Hot && !facts.no_soft_reset;
    let before = if loses { SavedState::save(hold, at, facts) } else { SavedState::default() };
    hold.write_word(at, power + pm::CONTROL_STATUS, act::with_state(control, PowerState::D0));
    let delay = hold.delays(at).between(DeviceState::from(state), DeviceState::D0, false);
    hold.pass(at, delay)?;
    if loses && wait_ready(hold, at, "wake-up").is_err() && hold.is_gone(at) {
        return Err(Gone);
    }
    before.restore(hold, at, facts)
}

/// Tries the methods in order until one has reset the function (RST-02); answers which.
///
/// # Errors
/// [`MethodError`]: none has.
pub(crate) fn attempt(
    hold: &mut dyn Hold,
    subject: Subject<'_>,
    methods: MethodList,
) -> Result<Method, MethodError> {
    for method in methods.iter() {
        match run(hold, subject, method) {
            Ok(()) => return Ok(method),
            Err(MethodError::Next) => {}
            Err(error) => return Err(error),
        }
    }
    Err(MethodError::Next)
}

fn run(hold: &mut dyn Hold, subject: Subject<'_>, method: Method) -> Result<(), MethodError> {
    let Subject { at, facts, quirks, around } = subject;
    // A CXL port's mask is looked at when the port is held.
    let possible = Surroundings { cxl: around.cxl.unmasked_if(method), ..around };
    probe(method, facts, quirks, possible).map_err(|_lack| MethodError::Next)?;
    match (method, facts) {
        (Method::DeviceSpecific, _) if around.procedure => procedure(hold, at, method),
        (Method::Acpi, _) => procedure(hold, at, method),
        (Method::Bus | Method::CxlBus, _) => bus(hold, subject, method),
        (Method::DeviceSpecific, Some(facts)) => {
            let special = quirks.special_flr.unwrap_or_default();
            act::flr(hold, at, facts, method, special.extra)
        }
        (Method::Flr, Some(facts)) => act::flr(hold, at, facts, method, Duration::ZERO),
        (Method::AfFlr, Some(facts)) => act::af_flr(hold, at, facts),
        (Method::Pm, Some(facts)) => act::pm(hold, at, facts),
        (Method::DeviceSpecific | Method::Flr | Method::AfFlr | Method::Pm, None) => Err(MethodError::Next),
    }
}

fn procedure(hold: &mut dyn Hold, at: Bdf, method: Method) -> Result<(), MethodError> {
    match hold.run(at, method) {
        Ok(needs) => {
            hold.pass(at, needs)?;
            Ok(wait_ready(hold, at, method.title())?)
        }
        Err(Errno::ENOTTY) => Err(MethodError::Next),
        Err(errno) => Err(MethodError::Stop(errno)),
    }
}

/// The slot first, then the bus (RST-08); below a CXL port that masks the reset only with the mask lifted (RST-17).
fn bus(hold: &mut dyn Hold, subject: Subject<'_>, method: Method) -> Result<(), MethodError> {
    let bridge = take_bridge(hold, subject.at)?;
    let facts = Facts::read(hold, bridge).ok_or(MethodError::Next)?;
    let children = [subject.at];
    let after = method.title();
    let secondary =
        Secondary { bridge, facts: &facts, children: &children, after, times: BusTimes::default() };
    let multi_function = subject.facts.is_some_and(|facts| facts.multi_function);
    let slot = subject.around.slot && !multi_function;
    let port = CxlPort::read(hold, bridge, &facts);
    match (method, facts.cxl_port, port) {
        (Method::CxlBus, Some(extension), _) => {
            unmasked(hold, bridge, extension, |hold| slot_or_bus(hold, &secondary, slot))
        }
        (Method::CxlBus, None, _) | (_, _, CxlPort::Masked) => Err(MethodError::Next),
        _ => slot_or_bus(hold, &secondary, slot),
    }?;
    // The bridge's wait does not end with the function; the function's own removal shows here.
    if hold.is_gone(subject.at) { Err(MethodError::Gone) } else { Ok(()) }
}

fn slot_or_bus(hold: &mut dyn Hold, secondary: &Secondary<'_>, slot: bool) -> Result<(), MethodError> {
    if slot {
        match secondary.reset_slot(hold).map_err(MethodError::from) {
            Err(MethodError::Next) => {}
            done => return done,
        }
    }
    Ok(secondary.reset(hold)?)
}

/// Does `reset` with the port's "unmask" bit set, and puts the bit back on every exit (RST-17).
pub(crate) fn unmasked<T>(
    hold: &mut dyn Hold,
    bridge: Bdf,
    extension: u16,
    reset: impl FnOnce(&mut dyn Hold) -> Result<T, MethodError>,
) -> Result<T, MethodError> {
    let control = extension + cxl_port::CONTROL;
    let before = hold.read_word(bridge, control);
    if before == u16::MAX {
        return Err(MethodError::Next);
    }
    let during = before | cxl_port::UNMASK_SECONDARY_BUS_RESET;
    if during != before {
        hold.write_word(bridge, control, during);
    }
    let done = reset(hold);
    if during != before {
        hold.write_word(bridge, control, before);
    }
    done
}

pub(crate) fn take_bridge(hold: &mut dyn Hold, at: Bdf) -> Result<Bdf, MethodError> {
    for _ in 0..BRIDGE_TRIES {
        if let Some(bridge) = hold.take_bridge(at) {
            return Ok(bridge);
        }
        hold.pass(at, BRIDGE_AGAIN)?;
    }
    Err(MethodError::Stop(Errno::EAGAIN))
}

/// Restores what was saved, looks whether it is there, and tells; answers how many registers have another value.
///
/// # Errors
/// [`Gone`]: the function was removed.
pub(crate) fn finish(
    hold: &mut dyn Hold,
    at: Bdf,
    facts: Option<&Facts>,
    saved: &SavedState,
    reset: bool,
) -> Result<usize, Gone> {
    let Some(facts) = facts else {
        hold.tell(at, ResetStep::Done { reset });
        return Ok(0);
    };
    // Also after a reset that failed: the function may be back by now, and its COMMAND was taken away.
    let mut different = 0;
    // What answers in its place and is something else gets nothing of it (law 5).
    if crate::ready::answers(hold, at) && saved.is_of(hold, at) {
        saved.restore(hold, at, facts)?;
        different = saved.verify(hold, at);
    }
    if hold.is_gone(at) {
        return Err(Gone);
    }
    hold.tell(at, ResetStep::Done { reset });
    Ok(different)
}

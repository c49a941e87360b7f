//! Looking at functions beneath their gates, as firmware does: what is contained lets nobody in, and is to be looked at all the
//! same. Nothing is written here.

use crate::report::Log;
use crate::tree::PeFunction;
use gate::ThreadToken;
use pci_core::mechanism::HostBridge;
use pci_core::{ConfigAddress, ConfigStatus, DeviceState, Presence, Width};
use pci_spec::config;
use std::fmt::Write;
use std::sync::Arc;
use topology::{Segment, Topology};

/// How many functions are written down each by itself.
const LINES: usize = 64;

/// What a look at a function says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It answers.
    Answers,
    /// It does not.
    Silent,
    /// It has no power, and so does not answer.
    Asleep,
    /// It was removed.
    Gone,
}

pub(super) fn look(topology: &Topology, token: &ThreadToken, function: &PeFunction) -> Seen {
    if function.function.handle().is_gone() {
        return Seen::Gone;
    }
    if function.function.device_state() == DeviceState::D3Cold {
        return Seen::Asleep;
    }
    let segment = topology.segment(token, function.address.segment());
    match segment.filter(|segment| answers(token, segment.bridge(), function)) {
        Some(_) => Seen::Answers,
        None => Seen::Silent,
    }
}

/// A virtual function has no Vendor ID (CAP-04): its COMMAND is looked at.
fn answers(token: &ThreadToken, bridge: &HostBridge, function: &PeFunction) -> bool {
    match bridge.presence(token, function.address) {
        Presence::Present { .. } => true,
        Presence::NotReady => false,
        Presence::Absent => {
            let command = read(token, bridge, function, config::COMMAND, Width::Word);
            command.is_ok_and(|command| command != Width::Word.all_ones())
        }
    }
}

fn read(
    token: &ThreadToken,
    bridge: &HostBridge,
    function: &PeFunction,
    register: u16,
    width: Width,
) -> Result<u32, ConfigStatus> {
    bridge.read(token, ConfigAddress::new(function.address, register), width)
}

/// A line for each function, up to a bound.
pub(super) fn describe(
    topology: &Topology,
    token: &ThreadToken,
    functions: &[Arc<PeFunction>],
    log: Log,
) -> String {
    let mut text = String::from(match log {
        Log::Temporary => "an error, from which there may be a way back",
        Log::Permanent => "an error, from which there is none",
    });
    for function in functions.iter().take(LINES) {
        let segment = topology.segment(token, function.address.segment());
        let state = match (look(topology, token, function), segment) {
            (Seen::Answers, Some(segment)) => registers(token, &segment, function),
            (Seen::Asleep, _) => "has no power".to_owned(),
            (Seen::Gone, _) => "was removed".to_owned(),
            (Seen::Silent | Seen::Answers, _) => "does not answer".to_owned(),
        };
        // Writing to a string does not fail.
        let _written = write!(text, "\n{} {}: {state}", function.address, function.function.name());
    }
    if let Some(more) = functions.len().checked_sub(LINES).filter(|more| *more > 0) {
        let _written = write!(text, "\nand {more} more");
    }
    text
}

fn registers(token: &ThreadToken, segment: &Segment, function: &PeFunction) -> String {
    let dword = |register| {
        let value = read(token, segment.bridge(), function, register, Width::Dword);
        value.unwrap_or(Width::Dword.all_ones())
    };
    let ids = dword(config::VENDOR_ID);
    let command = dword(config::COMMAND);
    format!(
        "{:04x}:{:04x} command {:04x} status {:04x}",
        ids & 0xffff,
        ids >> 16,
        command & 0xffff,
        command >> 16
    )
}

//! Where a recovery is, for people.

use super::desk::Desk;
use crate::plan::{Call, Plan, State};

pub(super) fn of(desk: &Desk) -> String {
    let mut text = match &desk.ended {
        Some(end) => format!("ended: {:?}", end.outcome),
        None => desk.plan.as_ref().map_or_else(|| String::from("finding out who has the functions"), phase),
    };
    for out in desk.calls.iter().take(MOST) {
        text.push_str(&format!("; waits for function {} ({})", out.function.0, name(out.call)));
    }
    for work in desk.left_behind.iter().take(MOST) {
        text.push_str(&format!("; {:?} has not come back from {}", work.who, work.name));
    }
    text
}

/// How many are named of each kind.
const MOST: usize = 8;

fn phase(plan: &Plan) -> String {
    match plan.state() {
        State::New => String::from("new"),
        State::Calling(phase) => format!("calling: {phase:?}"),
        State::Querying { .. } | State::Pausing { .. } => String::from("asking for the PE's state"),
        State::Thawing(traffic) => format!("thawing {traffic:?}"),
        State::Resetting => String::from("resetting"),
        State::Restoring => String::from("restoring configuration"),
        State::Unfreezing { .. } => String::from("unfreezing"),
        State::Settling => String::from("settling"),
        State::Ended(outcome) => format!("ended: {outcome:?}"),
    }
}

fn name(call: Call) -> &'static str {
    match call {
        Call::ErrorDetected(_) => "error_detected",
        Call::MmioEnabled => "mmio_enabled",
        Call::SlotReset => "slot_reset",
        Call::Resume => "resume",
        Call::CorErrorDetected => "cor_error_detected",
        Call::Unbind => "unbind",
        Call::Probe => "probe",
        Call::Quiesce => "quiesce",
        Call::Save => "save",
        Call::Restore => "restore",
    }
}

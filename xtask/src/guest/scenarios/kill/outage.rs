//! An outage of the back end: how it ends, and what the daemon tells of it.

use crate::guest::GuestError;
use crate::guest::daemon::SLOT;
use crate::guest::deadline::{Deadline, GUEST};
use crate::guest::operator::Operator;
use crate::guest::scenarios::stage::stream::Expected;
use crate::guest::scenarios::stage::{COMMAND, Stage};
use serde_json::Value;
use std::time::Duration;

pub(super) const LOST: &str = "back-end-lost";
pub(super) const RETURNED: &str = "back-end-returned";
pub(super) const DIFFERS: &str = "back-end-differs";
pub(super) const FAILED: &str = "back-end-failed";

/// What the daemon says of an outage that the guest sees as a pause.
pub(super) const PAUSE: &[Expected] = &[(LOST, ""), (RETURNED, "it was away for")];

/// What it says when something else comes back.
pub(super) const REFUSED: &[Expected] = &[(LOST, ""), (DIFFERS, ""), (FAILED, "")];

/// What becomes of the card then.
pub(super) const TAKEN_OUT: &[Expected] = &[(FAILED, ""), ("revoked", ""), ("off", "")];

/// What the controller says of itself while a guest that has enabled it waits for its back end.
const WAITS: &str = "waits for the back end";

/// So many attempts to reach a back end that is not there take longer than all that is in flight by then.
const ATTEMPTS: u64 = 6;

/// How long a back end may take to be there again, on a busy machine and with the writes of the last one still on their way.
const OUTAGE: Duration = Duration::from_secs(120);

/// The end of an outage, as the daemon tells it.
#[derive(Debug, PartialEq)]
pub(super) struct Returned {
    pub(super) pause_ms: f64,
    pub(super) executed_again: u64,
}

/// Starts the back end again, on the image that it had.
///
/// # Errors
/// As [`crate::guest::back_end::BackEnd::run_on`].
pub(super) fn start_again(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let image = stage.rig.image();
    stage.rig.back_end()?.run_on(image)
}

/// Waits until the daemon has tried for a while to reach its back end, and all that the guest can have in flight waits.
///
/// # Errors
/// [`GuestError::TimedOut`], or what running a command can give.
pub(super) fn last(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let deadline = Deadline::after(OUTAGE);
    loop {
        let now = stage.operator.run(&["backend", "show", SLOT], COMMAND)?.answer;
        if now["attempts"].as_u64().is_some_and(|attempts| attempts >= ATTEMPTS) {
            return Ok(());
        }
        deadline.left(&|| format!("{ATTEMPTS} attempts to reach the back end; there is {now}"))?;
        std::thread::sleep(COMMAND / 600);
    }
}

/// Waits for an event of the kind, and gives all that came up to it and with it. Meanwhile the back end is kept up.
///
/// # Errors
/// [`GuestError::TimedOut`] with what came, or what the stream gives.
pub(super) fn wait_for(stage: &mut Stage<'_, '_>, kind: &str) -> Result<Vec<Value>, GuestError> {
    let deadline = Deadline::after(OUTAGE);
    let mut all = Vec::new();
    loop {
        all.extend(stage.events()?);
        if all.iter().any(|event| event["kind"] == kind) {
            return Ok(all);
        }
        stage.rig.back_end()?.keep_up()?;
        deadline.left(&|| format!("the event {kind}; there was {}", Value::from(all.clone())))?;
    }
}

/// Waits until the guest has enabled its controller, and waits for that itself.
///
/// # Errors
/// [`GuestError::TimedOut`] with what the controller says instead, or as [`Control::device_fact`](crate::guest::control::Control::device_fact).
pub(super) fn wait_until_guest_waits(stage: &Stage<'_, '_>) -> Result<(), GuestError> {
    let no_daemon = || GuestError::Check("there is no daemon".into());
    let mut control = stage.rig.control()?.ok_or_else(no_daemon)?;
    let deadline = Deadline::after(GUEST);
    loop {
        let now = control.device_fact(SLOT, "controller")?;
        if now == WAITS {
            return Ok(());
        }
        deadline.left(&|| format!("the guest to wait for its disk; the controller is: {now}"))?;
        std::thread::sleep(COMMAND / 600);
    }
}

/// Waits until the daemon holds nothing of a machine that has left, which must not take until there is a back end again.
///
/// # Errors
/// [`GuestError::TimedOut`] with what the slot is like instead, or what running a command can give.
pub(super) fn wait_until_left(operator: &Operator) -> Result<(), GuestError> {
    let deadline = Deadline::after(COMMAND);
    loop {
        let slot = operator.run(&["slot", "show", SLOT], COMMAND)?.answer;
        if slot["consumers"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        deadline.left(&|| format!("the machine's end to be noticed: {slot}"))?;
        std::thread::sleep(COMMAND / 600);
    }
}

/// The text of the last event of the kind; empty if there is none.
pub(super) fn text_of(events: &[Value], kind: &str) -> String {
    let last = events.iter().rev().find(|event| event["kind"] == kind);
    last.and_then(|event| event["text"].as_str()).unwrap_or_default().to_owned()
}

/// What the last event of a return says; that a command was answered with an error is a fault.
///
/// # Errors
/// [`GuestError::Check`].
pub(super) fn returned(events: &[Value]) -> Result<Returned, GuestError> {
    let text = text_of(events, RETURNED);
    let fault = || GuestError::Check(format!("a return that is none: {text}"));
    if text.contains("answered with an error") {
        return Err(fault());
    }
    let number_before = |word: &str| {
        let before = text.split(word).next().filter(|before| before.len() < text.len())?;
        before.rsplit(' ').next().map(str::to_owned)
    };
    let pause_ms = number_before(" ms;").and_then(|number| number.parse().ok()).ok_or_else(fault)?;
    let again = number_before(" commands executed again").and_then(|number| number.parse().ok());
    Ok(Returned { pause_ms, executed_again: again.ok_or_else(fault)? })
}

/// Puts the card back in, for which its back end must be there: as often as it takes.
///
/// # Errors
/// What the last attempt gave.
pub(super) fn plug_card(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let deadline = Deadline::after(OUTAGE);
    loop {
        stage.rig.back_end()?.keep_up()?;
        match stage.plug_card() {
            Err(error) if deadline.left(&String::new).is_err() => return Err(error),
            Err(_) => std::thread::sleep(COMMAND / 200),
            Ok(()) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, text: &str) -> Value {
        json!({"sequence": 1, "slot": "slot0", "kind": kind, "severity": "info", "text": text})
    }

    #[test]
    fn a_pause_and_what_was_executed_again_are_read_from_the_last_return() {
        let text = "the back end is back: it was away for 12.3 ms; 4 commands executed again";
        let events = [event(RETURNED, "older"), event(LOST, ""), event(RETURNED, text)];
        assert_eq!(returned(&events).unwrap(), Returned { pause_ms: 12.3, executed_again: 4 });
    }

    #[test]
    fn a_command_that_was_refused_and_a_return_without_a_number_are_faults() {
        let refused = "the back end is back: it was away for 1.0 ms; 4 commands executed again, 1 answered with an error, as they could not be";
        assert!(returned(&[event(RETURNED, refused)]).is_err());
        assert!(returned(&[event(RETURNED, "the back end is back")]).is_err());
        assert!(returned(&[event(LOST, "it was away for 1.0 ms; 4 commands executed again")]).is_err());
    }
}

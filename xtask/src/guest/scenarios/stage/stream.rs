//! What the daemon's stream of events says of a plug or an unplug: each step, in its order, and with its reason.

use super::COMMAND;
use crate::guest::GuestError;
use crate::guest::operator::Operator;
use serde_json::Value;

/// One event that must come: its kind, and words of its text.
pub(in crate::guest::scenarios) type Expected = (&'static str, &'static str);

/// A place in the stream.
#[derive(Debug, Default)]
pub(in crate::guest::scenarios) struct Stream {
    /// The number of the last event that was read.
    read: u64,
}

impl Stream {
    /// The events since the last call.
    ///
    /// # Errors
    /// [`GuestError::Check`] when the numbers have a hole, or what running a command can give.
    pub(in crate::guest::scenarios) fn take(
        &mut self,
        operator: &Operator,
    ) -> Result<Vec<Value>, GuestError> {
        let outcome = operator.run(&["events", "--since", &self.read.to_string()], COMMAND)?;
        let events = outcome.answer.as_array().cloned().unwrap_or_default();
        self.read = follow(&events, self.read)?;
        Ok(events)
    }
}

/// The number of the last one of `events`, which follow number `read` without a hole.
fn follow(events: &[Value], mut read: u64) -> Result<u64, GuestError> {
    for event in events {
        read += 1;
        if event["sequence"].as_u64() != Some(read) {
            return Err(GuestError::Check(format!(
                "the stream of events goes on after {} with {event}",
                read - 1
            )));
        }
    }
    Ok(read)
}

/// Fails unless `expected` came in that order, whatever came between.
///
/// # Errors
/// [`GuestError::Check`] with what came instead.
pub(in crate::guest::scenarios) fn expect_in_order(
    events: &[Value],
    expected: &[Expected],
) -> Result<(), GuestError> {
    let mut left = expected.iter();
    let mut awaited = left.next();
    for event in events {
        if awaited.is_some_and(|expected| is(event, expected)) {
            awaited = left.next();
        }
    }
    let Some((kind, words)) = awaited else { return Ok(()) };
    Err(GuestError::Check(format!(
        "the event {kind} ({words}) did not come, or not in its order:\n{}",
        listed(events)
    )))
}

/// Fails if there is a warning among the events.
///
/// # Errors
/// [`GuestError::Check`] with the events.
pub(in crate::guest::scenarios) fn expect_no_warning(events: &[Value]) -> Result<(), GuestError> {
    if events.iter().all(|event| event["severity"] == "info") {
        return Ok(());
    }
    Err(GuestError::Check(format!("all went well, and there is a warning:\n{}", listed(events))))
}

fn is(event: &Value, (kind, words): &Expected) -> bool {
    event["kind"] == *kind && event["text"].as_str().is_some_and(|text| text.contains(words))
}

fn listed(events: &[Value]) -> String {
    events.iter().map(|event| format!("  {event}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn events() -> Vec<Value> {
        let event = |sequence: u64, kind: &str, text: &str| json!({"sequence": sequence, "slot": "slot0", "kind": kind, "severity": "info", "text": text});
        vec![
            event(8, "card", "taken out"),
            event(9, "revoking", "the card was torn out"),
            event(10, "off", "it is off"),
        ]
    }

    #[test]
    fn steps_count_only_in_their_order_and_with_their_reason() {
        let check = |expected: &[Expected]| expect_in_order(&events(), expected);
        check(&[("card", ""), ("off", "")]).unwrap();
        check(&[("revoking", "torn out")]).unwrap();
        assert!(check(&[("off", ""), ("card", "")]).is_err());
        assert!(check(&[("revoking", "in time")]).is_err());
        assert!(check(&[("off", ""), ("off", "")]).is_err(), "one event is not two");
    }

    #[test]
    fn a_hole_in_the_numbers_is_a_fault() {
        assert_eq!(follow(&events(), 7).unwrap(), 10);
        assert!(follow(&events(), 6).is_err());
        let gap = json!({"gap": {"missed": 2, "next": 10}});
        assert!(follow(&[gap], 7).is_err());
    }

    #[test]
    fn a_warning_is_found() {
        let mut events = events();
        expect_no_warning(&events).unwrap();
        events[1]["severity"] = json!("warning");
        assert!(expect_no_warning(&events).is_err());
    }
}

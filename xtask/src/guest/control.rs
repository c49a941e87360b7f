//! The daemon's control socket: what it says about the disk while a guest uses it.
//!
//! One request and one answer a line, in the form that docs/operations.md documents under *Control protocol*.

use super::deadline::Deadline;
use super::lines::Lines;
use super::{During, GuestError};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An answer waits for nothing longer than a reset of the function.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to the control socket.
#[derive(Debug)]
pub(super) struct Control {
    lines: Lines,
}

/// Something that the daemon says has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostEvent {
    /// Rises from event to event.
    pub(super) sequence: u64,
    /// The kind, for programs.
    pub(super) kind: String,
    /// The event in words.
    pub(super) text: String,
}

impl Control {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// An I/O error.
    pub(super) fn connect(path: &Path) -> Result<Self, GuestError> {
        let stream = UnixStream::connect(path).during(|| format!("connect to {}", path.display()))?;
        Ok(Self { lines: Lines::new(stream, "portcullis") })
    }

    /// The power state that the function's configuration space shows: `D0` to `D3hot`.
    ///
    /// # Errors
    /// As [`Control::ask`], or [`GuestError::Daemon`] when the answer shows none.
    pub(super) fn power_state(&mut self, target: &str) -> Result<String, GuestError> {
        let answer = self.ask("function show", target)?;
        let state = answer["config"]["power"].as_str();
        state.map(str::to_owned).ok_or_else(|| GuestError::Daemon(format!("no power state in {answer}")))
    }

    /// The events of a function that the daemon still remembers, oldest first.
    ///
    /// # Errors
    /// As [`Control::ask`].
    pub(super) fn events(&mut self, target: &str) -> Result<Vec<HostEvent>, GuestError> {
        let answer = self.ask("event list", target)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = answer.as_array().into_iter().flatten();
        let event = |entry: &Value| HostEvent {
            sequence: entry["sequence"].as_u64().unwrap_or_default(),
            kind: text(&entry["kind"]),
            text: text(&entry["text"]),
        };
        Ok(entries.map(event).collect())
    }

    /// Sends one request and gives what stands under `ok` in the answer.
    ///
    /// # Errors
    /// [`GuestError::Daemon`] for a refusal or an answer that is none, [`GuestError::TimedOut`],
    /// [`GuestError::Ended`].
    fn ask(&mut self, request: &str, target: &str) -> Result<Value, GuestError> {
        self.lines.send(&format!("{}\n", json!({"request": request, "target": target})))?;
        let line = self.lines.next(&Deadline::after(ANSWER), &|| format!("the answer to `{request}`"))?;
        let mut answer: Value = serde_json::from_str(&line)
            .map_err(|error| GuestError::Daemon(format!("`{request}`: {error} in {line}")))?;
        answer
            .get_mut("ok")
            .map(Value::take)
            .ok_or_else(|| GuestError::Daemon(format!("`{request}` is refused: {line}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn control(answer: &str) -> (Control, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(answer.as_bytes()).unwrap();
        (Control { lines: Lines::new(ours, "portcullis") }, theirs)
    }

    #[test]
    fn the_power_state_is_the_configuration_spaces() {
        let (mut control, _daemon) = control("{\"ok\":{\"config\":{\"power\":\"D3hot\"}}}\n");
        assert_eq!(control.power_state("disk0").unwrap(), "D3hot");
    }

    #[test]
    fn a_refusal_and_an_answer_without_a_power_state_are_errors() {
        let (mut control, _daemon) = control("{\"error\":{\"code\":\"busy\"}}\n{\"ok\":{}}\n");
        for _ in 0..2 {
            assert!(matches!(control.power_state("disk0"), Err(GuestError::Daemon(_))));
        }
    }

    #[test]
    fn events_keep_their_order_and_their_words() {
        let (mut control, _daemon) =
            control("{\"ok\":[{\"sequence\":7,\"kind\":\"reset\",\"text\":\"reset: x\"}]}\n");
        let expected = HostEvent { sequence: 7, kind: "reset".into(), text: "reset: x".into() };
        assert_eq!(control.events("disk0").unwrap(), [expected]);
    }
}

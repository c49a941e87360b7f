//! The daemon's control socket: what it says about the device while a guest uses it, and what an operator does to it.
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

/// What an operator can do to a function that somebody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Reads give all-ones, writes are lost, until it is thawed.
    Freeze,
    /// As before the freeze.
    Thaw,
    /// It is gone for good.
    Revoke,
}

/// A part of a region that the client has been given to map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// Region, numbered as vfio numbers them.
    pub(super) region: u64,
    /// Bytes.
    pub(super) size: u64,
    /// What it shows: `live`, `frozen`, `gone`.
    pub(super) state: String,
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

    /// Freezes, thaws or revokes a function, which then includes what its client has mapped.
    ///
    /// # Errors
    /// As [`Control::ask`], or [`GuestError::Daemon`] when the mappings had not followed when the answer came.
    pub(super) fn admit(&mut self, admission: Admission, target: &str) -> Result<(), GuestError> {
        let request = match admission {
            Admission::Freeze => "pe freeze",
            Admission::Thaw => "pe thaw",
            Admission::Revoke => "function revoke",
        };
        let answer = self.ask(request, target)?;
        if answer["changed"] == true && answer["mappings_followed"] == true {
            return Ok(());
        }
        Err(GuestError::Daemon(format!("`{request}` is answered with {answer}")))
    }

    /// What other processes have been given to map of a function.
    ///
    /// # Errors
    /// As [`Control::ask`].
    pub(super) fn shared(&mut self, target: &str) -> Result<Vec<Shared>, GuestError> {
        let answer = self.ask("function show", target)?;
        let lines = answer["mappings"].as_array().into_iter().flatten();
        let shared = |line: &Value| Shared {
            region: line["region"].as_u64().unwrap_or(u64::MAX),
            size: line["size"].as_u64().unwrap_or_default(),
            state: line["state"].as_str().unwrap_or_default().to_owned(),
        };
        Ok(lines.filter(|line| line["shared"] == true).map(shared).collect())
    }

    /// What the device itself says under `name`.
    ///
    /// # Errors
    /// As [`Control::ask`], or [`GuestError::Daemon`] when it says nothing of the kind.
    pub(super) fn device_fact(&mut self, target: &str, name: &str) -> Result<String, GuestError> {
        let answer = self.ask("function show", target)?;
        let mut facts = answer["device"].as_array().into_iter().flatten();
        let found = facts.find(|fact| fact[0] == name).and_then(|fact| fact[1].as_str());
        found.map(str::to_owned).ok_or_else(|| GuestError::Daemon(format!("no {name} in {answer}")))
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
        assert_eq!(control.power_state("slot0").unwrap(), "D3hot");
    }

    #[test]
    fn a_refusal_and_an_answer_without_a_power_state_are_errors() {
        let (mut control, _daemon) = control("{\"error\":{\"code\":\"busy\"}}\n{\"ok\":{}}\n");
        for _ in 0..2 {
            assert!(matches!(control.power_state("slot0"), Err(GuestError::Daemon(_))));
        }
    }

    #[test]
    fn a_change_that_the_mappings_have_not_followed_is_an_error() {
        let done = "{\"ok\":{\"state\":\"frozen\",\"changed\":true,\"mappings_followed\":true}}\n";
        let (mut control, _daemon) = control(&[done, &done.replace("d\":true}", "d\":false}")].concat());
        control.admit(Admission::Freeze, "slot0").unwrap();
        assert!(matches!(control.admit(Admission::Freeze, "slot0"), Err(GuestError::Daemon(_))));
    }

    #[test]
    fn only_what_other_processes_have_counts_as_shared() {
        let line = |shared, state| json!({"shared": shared, "region": 2, "size": 4096, "state": state});
        let answer = json!({"ok": {"mappings": [line(false, "live"), line(true, "frozen")]}});
        let (mut control, _daemon) = control(&format!("{answer}\n"));
        let expected = Shared { region: 2, size: 4096, state: "frozen".into() };
        assert_eq!(control.shared("slot0").unwrap(), [expected]);
    }

    #[test]
    fn a_fact_of_the_device_is_found_by_its_name() {
        let answer = "{\"ok\":{\"device\":[[\"status\",\"0x0\"],[\"memory\",\"00ff\"]]}}\n";
        let (mut control, _daemon) = control(&answer.repeat(2));
        assert_eq!(control.device_fact("slot0", "memory").unwrap(), "00ff");
        assert!(matches!(control.device_fact("slot0", "checksum"), Err(GuestError::Daemon(_))));
    }

    #[test]
    fn events_keep_their_order_and_their_words() {
        let (mut control, _daemon) =
            control("{\"ok\":[{\"sequence\":7,\"kind\":\"reset\",\"text\":\"reset: x\"}]}\n");
        let expected = HostEvent { sequence: 7, kind: "reset".into(), text: "reset: x".into() };
        assert_eq!(control.events("slot0").unwrap(), [expected]);
    }
}

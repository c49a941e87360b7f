//! A client of the QEMU Machine Protocol, as far as the scenarios need it: commands, their answers, and events.
//!
//! Events that arrive while a command is answered are kept in their order until somebody waits for them.

use super::GuestError;
use super::deadline::Deadline;
use super::lines::Lines;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// QEMU answers from its main loop, which a vfio-user server may hold up for 5 s a message.
const ANSWER: Duration = Duration::from_secs(60);

/// A negotiated connection.
#[derive(Debug)]
pub(super) struct Qmp {
    lines: Lines,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Takes over a connected socket and leaves negotiation mode.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub(super) fn negotiate(stream: UnixStream) -> Result<Self, GuestError> {
        let mut qmp = Self { lines: Lines::new(stream, "QEMU"), events: VecDeque::new() };
        let greeting = qmp.receive(&Deadline::after(ANSWER), "greeting")?;
        if greeting.get("QMP").is_none() {
            return Err(refused("greeting", greeting.to_string()));
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and gives its return value.
    ///
    /// # Errors
    /// [`GuestError::Qmp`] with QEMU's reason, [`GuestError::TimedOut`], [`GuestError::Ended`].
    pub(super) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, GuestError> {
        self.lines.send(&format!("{}\n", json!({"execute": command, "arguments": arguments})))?;
        let deadline = Deadline::after(ANSWER);
        loop {
            let mut message = self.receive(&deadline, command)?;
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = message.get("error") {
                let reason = error["desc"].as_str().map_or_else(|| error.to_string(), str::to_owned);
                return Err(refused(command, reason));
            }
            self.events.push_back(message);
        }
    }

    /// Waits for an event by its name and gives its data; earlier events are forgotten.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], [`GuestError::Ended`].
    pub(super) fn wait_event(&mut self, name: &str, deadline: &Deadline) -> Result<Value, GuestError> {
        loop {
            let mut message = match self.events.pop_front() {
                Some(event) => event,
                None => self.receive(deadline, &format!("event {name}"))?,
            };
            if message["event"] == name {
                return Ok(message["data"].take());
            }
        }
    }

    fn receive(&mut self, deadline: &Deadline, what: &str) -> Result<Value, GuestError> {
        let line = self.lines.next(deadline, &|| format!("QMP {what}"))?;
        serde_json::from_str(&line).map_err(|error| refused(what, format!("{error} in {line}")))
    }
}

fn refused(command: &str, message: String) -> GuestError {
    GuestError::Qmp { command: command.into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// All that QEMU will say, written before the client asks.
    fn qmp(script: &str) -> (Result<Qmp, GuestError>, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(script.as_bytes()).unwrap();
        (Qmp::negotiate(ours), theirs)
    }

    #[test]
    fn an_event_between_a_command_and_its_answer_is_kept_for_who_waits_for_it() {
        let script = "{\"QMP\":{}}\n{\"return\":{}}\n{\"event\":\"RESET\",\"data\":{\"guest\":true}}\n{\"return\":7}\n";
        let (qmp, _peer) = qmp(script);
        let mut qmp = qmp.unwrap();
        assert_eq!(qmp.execute("stop", json!({})).unwrap(), 7);
        let data = qmp.wait_event("RESET", &Deadline::after(Duration::from_secs(10))).unwrap();
        assert_eq!(data["guest"], true);
    }

    #[test]
    fn a_refused_command_carries_the_reason() {
        let (qmp, _peer) = qmp("{\"QMP\":{}}\n{\"return\":{}}\n{\"error\":{\"desc\":\"no such device\"}}\n");
        let error = qmp.unwrap().execute("device_del", json!({})).unwrap_err();
        assert_eq!(error.to_string(), "QMP device_del: no such device");
    }
}

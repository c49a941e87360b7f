//! One line of QMP: the greeting, the answer to a command, or an event.

use crate::error::{Offence, Refusal, printable};
use serde_json::{Map, Value};

/// Something that QEMU says has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The kind, such as `DEVICE_DELETED`; at most 400 bytes.
    pub name: String,
    /// What belongs to it; null for an event without.
    pub data: Value,
}

impl Event {
    /// The id of the device that the event is about, if it is about one that has an id.
    pub fn device(&self) -> Option<&str> {
        self.data.get("device")?.as_str()
    }
}

/// A line, understood.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// What QEMU begins with: its version.
    Greeting(Value),
    /// The answer to the command with that number; none when QEMU could not read one from what it was sent.
    Answer { id: Option<u64>, result: Result<Value, Refusal> },
    /// An event.
    Event(Event),
}

impl Message {
    /// Understands a line. A line of white space alone is none.
    ///
    /// # Errors
    /// [`Offence::NotAnObject`] (also for what nests deeper than the parser goes), [`Offence::NotAMessage`].
    pub(crate) fn parse(line: &[u8]) -> Result<Option<Message>, Offence> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let mut object: Map<String, Value> =
            serde_json::from_slice(line).map_err(|_| Offence::NotAnObject)?;
        let id = object.get("id").and_then(Value::as_u64);
        if let Some(result) = object.remove("return") {
            return Ok(Some(Message::Answer { id, result: Ok(result) }));
        }
        if let Some(error) = object.get("error") {
            let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or("no reason given");
            let refusal = Refusal::new(text("class"), text("desc"));
            return Ok(Some(Message::Answer { id, result: Err(refusal) }));
        }
        if let Some(name) = object.get("event").and_then(Value::as_str).map(printable) {
            let data = object.remove("data").unwrap_or_default();
            return Ok(Some(Message::Event(Event { name, data })));
        }
        let greeting = object.remove("QMP").map(Message::Greeting);
        greeting.map(Some).ok_or(Offence::NotAMessage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_deeper_than_the_parser_goes_is_an_offence_and_no_overflow() {
        let deep = format!("{{\"return\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Message::parse(deep.as_bytes()), Err(Offence::NotAnObject));
    }

    #[test]
    fn a_line_that_is_no_message_is_an_offence() {
        for line in ["[]", "7", "{", "\u{0}", "{}}", "nonsense"] {
            assert_eq!(Message::parse(line.as_bytes()), Err(Offence::NotAnObject), "{line}");
        }
        for line in ["{}", "{\"event\":7}", "{\"id\":1}"] {
            assert_eq!(Message::parse(line.as_bytes()), Err(Offence::NotAMessage), "{line}");
        }
        assert_eq!(Message::parse(&[b'{', 0xff, b'}']), Err(Offence::NotAnObject));
    }

    #[test]
    fn an_error_without_its_parts_is_still_a_refusal() {
        let answer = Message::parse(b"{\"error\":7,\"id\":3}\r").unwrap();
        assert!(matches!(answer, Some(Message::Answer { id: Some(3), result: Err(_) })));
    }

    #[test]
    fn an_id_that_is_not_ours_is_none() {
        let answer = Message::parse(b"{\"return\":{},\"id\":\"x\"}").unwrap();
        assert_eq!(answer, Some(Message::Answer { id: None, result: Ok(Value::Object(Map::new())) }));
        assert_eq!(Message::parse(b" \r"), Ok(None));
    }
}

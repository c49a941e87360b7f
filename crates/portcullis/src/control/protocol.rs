//! The forms of requests and replies.

use serde::{Deserialize, Serialize};

/// Longest request, in bytes with its line feed.
pub const MAX_REQUEST_LEN: usize = 4096;
/// Longest reply, in bytes with its line feed.
pub const MAX_REPLY_LEN: usize = 4 << 20;

/// What a client may ask, named as on the command line: `{"request":"function show","target":"0000:01:00.0"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", deny_unknown_fields)]
pub enum Request {
    /// All functions: an array of [`super::report::FunctionSummary`].
    #[serde(rename = "function list")]
    FunctionList {},
    /// One function: a [`super::report::FunctionReport`].
    #[serde(rename = "function show")]
    FunctionShow {
        /// Address or slot name.
        target: String,
    },
    /// One function's configuration space: a [`super::report::Dump`].
    #[serde(rename = "function dump")]
    FunctionDump {
        /// Address or slot name.
        target: String,
    },
    /// Resets one function: a [`super::report::ResetDone`].
    #[serde(rename = "function reset")]
    FunctionReset {
        /// Address or slot name.
        target: String,
    },
    /// All slots: an array of [`super::report::SlotSummary`].
    #[serde(rename = "slot list")]
    SlotList {},
    /// What happened lately: an array of [`super::report::EventEntry`].
    #[serde(rename = "event list")]
    EventList {
        /// Address or slot name; all if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
}

/// `{"ok": ...}` or `{"error": {"code": ..., "message": ...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// Done; what was asked for.
    Ok(serde_json::Value),
    /// Not done, and nothing changed unless the message says so.
    Error(Refusal),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what is wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with `message`.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Kinds of refusal. New ones may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// Not a request of this protocol.
    BadRequest,
    /// No such function or slot.
    NotFound,
    /// In use, or not ready before the deadline.
    Busy,
    /// Too many clients.
    TooManyClients,
    /// The function is gone.
    Gone,
    /// Anything else.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_as_documented() {
        let show = Request::FunctionShow { target: String::from("0000:01:00.0") };
        let text = r#"{"request":"function show","target":"0000:01:00.0"}"#;
        assert_eq!(serde_json::to_string(&show).unwrap(), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), show);
        let list = r#"{"request":"function list"}"#;
        assert_eq!(serde_json::from_str::<Request>(list).unwrap(), Request::FunctionList {});
    }

    #[test]
    fn what_is_not_a_request_is_refused() {
        for text in [
            "",
            "3",
            "[]",
            r#"{"request":"function explode"}"#,
            r#"{"request":"function list","target":"x"}"#,
            r#"{"request":"function show"}"#,
            r#"{"request":"function show","target":3}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}

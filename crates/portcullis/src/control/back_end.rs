//! What is told of back ends, and of what is injected.

use serde::{Deserialize, Serialize};

/// `portcullis backend`: one remote function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackEndReport {
    /// `0000:01:00.0`.
    pub address: String,
    /// The slot.
    pub slot: String,
    /// Socket of the back end.
    pub upstream: String,
    /// `replay`, `passthrough` or `reset`.
    pub mode: String,
    /// `connected`, or what is done to come back, or `failed`.
    pub state: String,
    /// How long it has been so, in milliseconds.
    pub for_ms: u64,
    /// Process of the back end, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Attempts to reconnect since it was lost; 0 while it is there.
    pub attempts: u64,
    /// How often it was lost.
    pub losses: u64,
    /// Why it was lost last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_loss: String,
    /// How long it was away last, until everything was in flight again, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pause_us: Option<u64>,
    /// Commands that were executed again, of all losses.
    pub replayed: u64,
    /// Commands that could not be, and were answered with an error.
    pub refused: u64,
    /// Of its capabilities, those that consumers do not find.
    pub left_out: Vec<String>,
}

/// `portcullis inject BDF --rules`: a fault that is injected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectionEntry {
    /// Its number.
    pub id: String,
    /// As `inject` takes it.
    pub rule: String,
    /// How often it has struck.
    pub hits: u64,
    /// `pending`, `active` or `spent`.
    pub state: String,
    /// Why it could not be carried out, if so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
}

/// `portcullis inject BDF --clear`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectionsCleared {
    /// `0000:01:00.0`.
    pub target: String,
    /// How many are gone.
    pub cleared: usize,
}

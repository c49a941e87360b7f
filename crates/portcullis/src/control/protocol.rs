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
        /// In which way.
        #[serde(default)]
        how: ResetChoice,
    },
    /// Shows or chooses the methods of resetting one function: a [`super::report::ResetMethods`].
    #[serde(rename = "function reset-method")]
    FunctionResetMethod {
        /// Address or slot name.
        target: String,
        /// Names separated by spaces or commas; "default"; or "" for none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        list: Option<String>,
    },
    /// Shows or changes the power state of one function: a [`super::report::PowerReport`].
    #[serde(rename = "function power")]
    FunctionPower {
        /// Address or slot name.
        target: String,
        /// `D0` to `D3cold`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<String>,
    },
    /// Shows or changes the number of virtual functions: a [`super::report::VirtualFunctions`].
    #[serde(rename = "function numvfs")]
    FunctionNumVfs {
        /// Address or slot name of the physical function.
        target: String,
        /// How many there shall be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u16>,
    },
    /// Reads or writes one configuration register: a [`super::report::RegisterReport`].
    #[serde(rename = "function config")]
    FunctionConfig {
        /// Address or slot name.
        target: String,
        /// `COMMAND`, `CAP_PM+4.w`, `COMMAND=0006`.
        register: String,
    },
    /// All PEs: an array of [`super::containment::PeSummary`].
    #[serde(rename = "pe list")]
    PeList {},
    /// One PE: a [`super::containment::PeReport`].
    #[serde(rename = "pe show")]
    PeShow {
        /// PE, or address or slot name of a function in it.
        target: String,
    },
    /// Freezes a PE with all that is below it: a [`super::containment::PeChange`].
    #[serde(rename = "pe freeze")]
    PeFreeze {
        /// PE, or address or slot name of a function in it.
        target: String,
    },
    /// Ends the freeze of a PE, with its devices as they are: a [`super::containment::PeChange`].
    #[serde(rename = "pe thaw")]
    PeThaw {
        /// PE, or address or slot name of a function in it.
        target: String,
    },
    /// Recovers a PE as after an error: a [`super::containment::Recovered`].
    #[serde(rename = "pe recover")]
    PeRecover {
        /// PE, or address or slot name of a function in it.
        target: String,
    },
    /// The faults that one function can be given: an array of [`super::containment::FaultEntry`].
    #[serde(rename = "pe faults")]
    PeFaults {
        /// Address or slot name.
        target: String,
    },
    /// Gives a function or a PE a fault: an [`super::containment::Injected`].
    #[serde(rename = "pe inject")]
    PeInject {
        /// PE, address or slot name.
        target: String,
        /// Name of a fault, `TYPE:FUNCTION:ADDRESS:MASK`, `aer:` and the name of an error, or a rule such as
        /// `read-slow:delay=5ms`.
        fault: String,
    },
    /// The rules that one function is given faults by: an array of [`super::back_end::InjectionEntry`].
    #[serde(rename = "inject rules")]
    InjectRules {
        /// Address or slot name.
        target: String,
    },
    /// Ends one such rule, or all: a [`super::back_end::InjectionsCleared`].
    #[serde(rename = "inject clear")]
    InjectClear {
        /// Address or slot name.
        target: String,
        /// Which; all if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// All remote functions: an array of [`super::back_end::BackEndReport`].
    #[serde(rename = "backend list")]
    BackEndList {},
    /// One remote function: a [`super::back_end::BackEndReport`].
    #[serde(rename = "backend show")]
    BackEndShow {
        /// Address or slot name.
        target: String,
    },
    /// Tries to reconnect at once: a [`super::back_end::BackEndReport`].
    #[serde(rename = "backend retry")]
    BackEndRetry {
        /// Address or slot name.
        target: String,
    },
    /// Counters, budget and history of containment: a [`super::containment::EehReport`].
    #[serde(rename = "eeh show")]
    EehShow {},
    /// What was removed and is still held: an array of [`super::containment::OrphanEntry`].
    #[serde(rename = "orphan list")]
    OrphanList {},
    /// The errors of one function: an [`super::containment::AerReport`].
    #[serde(rename = "function aer")]
    FunctionAer {
        /// Address or slot name.
        target: String,
    },
    /// Takes one function away for good: a [`super::report::AdmissionChange`].
    #[serde(rename = "function revoke")]
    FunctionRevoke {
        /// Address or slot name.
        target: String,
    },
    /// The s390 view of all functions: an array of [`super::zpci::ZpciSummary`].
    #[serde(rename = "zpci list")]
    ZpciList {},
    /// The s390 view of one function: a [`super::zpci::ZpciReport`].
    #[serde(rename = "zpci show")]
    ZpciShow {
        /// Function ID: hexadecimal digits.
        fid: String,
    },
    /// Brings up the card of a function: a [`super::report::OperationReport`].
    #[serde(rename = "zpci configure")]
    ZpciConfigure {
        /// Function ID: hexadecimal digits.
        fid: String,
    },
    /// Takes the card of a function away from its consumers: a [`super::report::OperationReport`].
    #[serde(rename = "zpci deconfigure")]
    ZpciDeconfigure {
        /// Function ID: hexadecimal digits.
        fid: String,
        /// As of `slot unplug`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Disables one function, resets and thaws it in place, and enables it under another handle: a
    /// [`super::zpci::RecoverDone`].
    #[serde(rename = "zpci recover")]
    ZpciRecover {
        /// Function ID: hexadecimal digits.
        fid: String,
    },
    /// Resets one function that nobody else resets or recovers: a [`super::zpci::RecoverDone`].
    #[serde(rename = "zpci reset")]
    ZpciReset {
        /// Function ID: hexadecimal digits.
        fid: String,
    },
    /// Reports an error of an adapter: a [`super::zpci::ErrorReported`].
    #[serde(rename = "zpci report-error")]
    ZpciReportError {
        /// Function ID: hexadecimal digits.
        fid: String,
        /// 0 asks for a reset of the adapter, 1 for its repair, 2 is for information.
        action: u8,
        /// What is known of the error.
        #[serde(default)]
        data: String,
    },
    /// All slots: an array of [`super::report::SlotSummary`].
    #[serde(rename = "slot list")]
    SlotList {},
    /// One slot: a [`super::report::SlotReport`].
    #[serde(rename = "slot show")]
    SlotShow {
        /// Name, or address of one of its functions.
        slot: String,
    },
    /// Puts a card into a slot: a [`super::report::OperationReport`].
    #[serde(rename = "slot plug")]
    SlotPlug {
        /// Name, or address of one of its functions.
        slot: String,
        /// The card; the one that was in the slot last if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        card: Option<Card>,
    },
    /// Takes the card away from its consumers, and out of the slot: a [`super::report::OperationReport`].
    #[serde(rename = "slot unplug")]
    SlotUnplug {
        /// Name, or address of one of its functions.
        slot: String,
        /// How long the consumers are asked before everything is taken from them, in milliseconds; 0: not at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Switches the power of a slot, the card stays in it: a [`super::report::OperationReport`].
    #[serde(rename = "slot power")]
    SlotPower {
        /// Name, or address of one of its functions.
        slot: String,
        /// Bring the card up, or take it away from its consumers.
        on: bool,
        /// As of `slot unplug`; only for off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Something that is done to a slot by hand: a [`super::report::SlotReport`] of afterwards.
    #[serde(rename = "slot touch")]
    SlotTouch {
        /// Name, or address of one of its functions.
        slot: String,
        /// What is done.
        touch: Touch,
    },
    /// Calls off what was begun and can be called off: a [`super::report::OperationReport`].
    #[serde(rename = "slot cancel")]
    SlotCancel {
        /// Name, or address of one of its functions.
        slot: String,
    },
    /// Finds what has appeared and gone, and brings up the cards of slots that are off: an array of
    /// [`super::report::OperationReport`].
    #[serde(rename = "rescan")]
    Rescan {},
    /// Operations under way, and the latest that have ended: an array of [`super::report::OperationReport`].
    #[serde(rename = "operation list")]
    OperationList {},
    /// One operation, once it has ended or the time is over: a [`super::report::OperationReport`].
    #[serde(rename = "operation wait")]
    OperationWait {
        /// Its number.
        id: u64,
        /// At most so long, at most ten seconds; 0 only looks.
        #[serde(default)]
        timeout_ms: u64,
    },
    /// Makes a virtual machine known: a [`super::report::VmReport`].
    #[serde(rename = "vm add")]
    VmAdd {
        /// Its name, of our choice.
        name: String,
        /// Path of the socket of its monitor (QMP).
        qmp: std::path::PathBuf,
    },
    /// The virtual machines that are known: an array of [`super::report::VmReport`].
    #[serde(rename = "vm list")]
    VmList {},
    /// Forgets a virtual machine: a [`super::report::VmReport`].
    #[serde(rename = "vm remove")]
    VmRemove {
        /// Its name.
        name: String,
    },
    /// Plugs a slot's function into a virtual machine: a [`super::report::OperationReport`].
    #[serde(rename = "vm attach")]
    VmAttach {
        /// The function: name of its slot, or its address.
        target: String,
        /// The virtual machine.
        vm: String,
        /// The bus of the virtual machine that it is plugged into; a PCIe root port to be unplugged again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bus: Option<String>,
    },
    /// Takes a function out of its virtual machine: a [`super::report::OperationReport`].
    #[serde(rename = "vm detach")]
    VmDetach {
        /// The function: name of its slot, or its address.
        target: String,
        /// How long the guest is asked, in milliseconds, before the function is taken from it; 0: not at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Who holds what and waits for what: an array of [`super::report::LockEntry`].
    #[serde(rename = "locks")]
    Locks {},
    /// What happened lately: an array of [`super::stream::EventEntry`].
    #[serde(rename = "event list")]
    EventList {
        /// Address or slot name; all if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// What happened since, waiting for it if need be: a [`super::stream::EventPage`].
    #[serde(rename = "event wait")]
    EventWait {
        /// Function, slot or virtual machine; all if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
        /// Only these kinds; all if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kinds: Vec<String>,
        /// Only events with higher numbers; only those that come from now on if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        /// The stream that `after` is a number of, as the last answer said; the daemon's if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<String>,
        /// Most events to answer, at most 512.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u16>,
        /// How long to wait if there is none, at most ten seconds; 0 only looks.
        #[serde(default)]
        timeout_ms: u64,
    },
}

/// What is put into a slot, as a configuration file would say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// `{ model = "nvme" }`.
    pub device: String,
    /// `{ kind = "memory", size = "1GiB" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<String>,
    /// Where relative paths begin; absolute.
    pub base: std::path::PathBuf,
}

/// What is done to a slot by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// The attention button is pressed.
    Button,
    /// The card is pulled out, with nobody asked.
    Eject,
    /// The latch is opened.
    OpenLatch,
    /// The latch is closed.
    CloseLatch,
}

/// Which reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ResetChoice {
    /// By the methods that are in use, in their order.
    Usual {
        /// Refuse instead of waiting for what is in flight.
        #[serde(default, rename = "try")]
        attempt: bool,
    },
    /// By this method alone, in use or not.
    Method {
        /// Its name.
        method: String,
    },
    /// Not the function, which is a bridge, but everything below it.
    Subordinate {
        /// Refuse instead of waiting for what is in flight.
        #[serde(default, rename = "try")]
        attempt: bool,
    },
}

impl Default for ResetChoice {
    fn default() -> Self {
        Self::Usual { attempt: false }
    }
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
#[error("{message}{}", .errno.as_deref().map(|name| format!(" ({name})")).unwrap_or_default())]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// The error number that the operating system's interface for the same would give, such as `ENOTTY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
}

/// Longest message of a refusal, in characters: it may repeat what the client has written.
const MAX_MESSAGE: usize = 600;

impl Refusal {
    /// A refusal with `message`. Whatever of it a client has written is harmless on a terminal: control characters are
    /// escaped, and it is cut at a bound.
    pub fn new(code: RefusalCode, message: impl AsRef<str>) -> Self {
        let message = message.as_ref();
        let mut shown = String::with_capacity(message.len().min(MAX_MESSAGE));
        for letter in message.chars().take(MAX_MESSAGE) {
            if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
        }
        if message.chars().nth(MAX_MESSAGE).is_some() {
            shown.push_str(" ...");
        }
        Self { code, message: shown, errno: None }
    }

    /// The same with an error number.
    #[must_use]
    pub fn with_errno(self, errno: pci_core::Errno) -> Self {
        Self { errno: errno.name().map(str::to_owned), ..self }
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
    fn a_message_that_repeats_a_client_is_short_and_harmless() {
        let message = format!("\u{1b}[31mred\r\n\u{9b}{}", "é".repeat(5000));
        let refusal = Refusal::new(RefusalCode::Failed, message);
        assert!(refusal.message.starts_with("\\u{1b}[31mred\\r\\n\\u{9b}é"), "{refusal}");
        assert!(refusal.message.ends_with(" ...") && refusal.message.chars().count() < 640);
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

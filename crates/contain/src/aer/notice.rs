//! What is made of an error that a function reports.
//!
//! PCIe 6.0 s6.2.4 *Error Signaling and Logging*: the function records it, the message goes up to the root port, and a port on the way
//! may contain it. All of this is done here for the hardware, and what is to be recovered comes out.

use super::ledger::{Entry, Ledger};
use super::ports::Ports;
use super::record::AerRecord;
use super::{AerError, ReportError};
use crate::pe::Holder;
use crate::plan::Severity;
use crate::tree::{PeFunction, Snapshot};
use pci_core::ConfigSpace;
use pci_spec::Bdf;
use pci_spec::aer::{Message, Uncorrectable};
use pci_spec::extended::dpc::{Reason, TriggerEnable};
use std::sync::Arc;
use std::time::Duration;

/// What came of an error that was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It is no error: the card of a hot-plug port was pulled, which is the business of its slot (AER-08).
    CardPulled,
    /// It is recorded in the function and masked there: nobody hears of it.
    Masked,
    /// It is counted.
    Error {
        /// How bad it is, and so by which rules is recovered.
        severity: Severity,
        /// The function whose PE is to be recovered; `None` if nothing is below the port that reported it.
        recover: Option<Bdf>,
        /// As it is remembered.
        record: AerRecord,
    },
}

/// Takes an error that the function at `at` reports at `now`: records, counts, contains. Any number of threads at once, also
/// while the function is frozen or being reset: what is recorded are bits that survive both.
///
/// # Errors
/// [`ReportError`]; nothing was recorded.
pub fn notice(
    snapshot: &Snapshot,
    ledger: &Ledger,
    at: Bdf,
    error: &AerError,
    now: Duration,
) -> Result<Reported, ReportError> {
    let found = snapshot.of_function(at, Holder::Lookup).map(|(_, function)| function);
    let function =
        found.filter(|function| !function.function.handle().is_gone()).ok_or(ReportError::NoFunction(at))?;
    let mut error = *error;
    if has_hot_plug(function.function.config()) && error.uncorrectable.contains(Uncorrectable::SURPRISE_DOWN)
    {
        error.uncorrectable.remove(Uncorrectable::SURPRISE_DOWN);
        if error.uncorrectable.is_empty() && error.correctable.is_empty() {
            return Ok(Reported::CardPulled);
        }
    }
    let ports = Ports::above(snapshot, at);
    let Some(entry) = record(&function, &error, &ports, now) else { return Ok(Reported::Masked) };
    ledger.enter(function.id, &entry);
    if let Some(root) = &ports.root {
        ledger.hear(root.id, &entry);
        for message in entry.messages() {
            let _kept_by_root_ports_alone = root.function.config().record_message(message, at.routing_id());
        }
    }
    let severity = contain(&function, &ports, entry.record.message);
    let recover = recover_at(snapshot, &function, &ports, severity);
    Ok(Reported::Error { severity, recover, record: entry.record })
}

/// Writes the error into the function's registers. What is left of it if masked errors are not counted.
fn record(function: &Arc<PeFunction>, error: &AerError, ports: &Ports, now: Duration) -> Option<Entry> {
    let config = function.function.config();
    let correctable = config.record_correctable(error.correctable);
    let (mut non_fatal, mut fatal) = (Uncorrectable::empty(), Uncorrectable::empty());
    for each in error.each_uncorrectable() {
        match config.record_uncorrectable(each, error.header) {
            Some(Message::Fatal) => fatal |= each,
            Some(_) => non_fatal |= each,
            None => {}
        }
    }
    let message = match (fatal.is_empty(), non_fatal.is_empty(), correctable.is_empty()) {
        (false, _, _) => Message::Fatal,
        (true, false, _) => Message::NonFatal,
        (true, true, false) => Message::Correctable,
        (true, true, true) => return None,
    };
    let root_port = ports.root.as_ref().map(|port| port.address);
    let (at, uncorrectable, header) = (function.address, non_fatal | fatal, error.header);
    let record = AerRecord { when: now, at, root_port, message, correctable, uncorrectable, header };
    Some(Entry { record, non_fatal, fatal, correctable })
}

/// The port whose link the error concerns contains it, if it is set up for that.
fn contain(function: &Arc<PeFunction>, ports: &Ports, message: Message) -> Severity {
    let (port, reason, source) = match (leads_down(function), message) {
        (_, Message::Correctable) => return Severity::Correctable,
        (true, _) => (Some(function), Reason::Uncorrectable, 0),
        (false, Message::NonFatal) => {
            (ports.above.as_ref(), Reason::NonFatalMessage, function.address.routing_id())
        }
        (false, Message::Fatal) => {
            (ports.above.as_ref(), Reason::FatalMessage, function.address.routing_id())
        }
    };
    let uncontained = if message == Message::Fatal { Severity::Fatal } else { Severity::NonFatal };
    let Some(config) = port.map(|port| port.function.config()) else { return uncontained };
    let Some(containment) = config.port_containment() else { return uncontained };
    let triggers = match containment.enable {
        TriggerEnable::Off => false,
        TriggerEnable::Fatal => message == Message::Fatal,
        TriggerEnable::FatalAndNonFatal => true,
    };
    if triggers {
        let _first = config.trigger_containment(reason, source);
        return Severity::ContainedByPort;
    }
    uncontained
}

/// Whose PE is recovered: what is below the port whose link is lost, the function's own otherwise. Of a port always what is
/// below, but for errors that were corrected.
fn recover_at(
    snapshot: &Snapshot,
    function: &Arc<PeFunction>,
    ports: &Ports,
    severity: Severity,
) -> Option<Bdf> {
    let own = Some(function.address);
    match severity {
        Severity::Correctable => own,
        _ if leads_down(function) => first_below(snapshot, function),
        Severity::NonFatal => own,
        Severity::Fatal | Severity::ContainedByPort => {
            ports.above.as_ref().and_then(|port| first_below(snapshot, port)).or(own)
        }
    }
}

/// A function on the bus right below a port; all of them are in one PE, but virtual ones.
fn first_below(snapshot: &Snapshot, port: &Arc<PeFunction>) -> Option<Bdf> {
    let bus = port.function.config().bus_numbers()?.secondary;
    let first = u16::from(bus) << 8;
    (first..=first | 0xff)
        .filter_map(|id| {
            snapshot.of_function(Bdf::from_routing_id(port.address.segment(), id), Holder::Lookup)
        })
        .map(|(_, function)| function)
        .find(|function| !function.function.config().is_virtual())
        .map(|function| function.address)
}

/// A root port, or a port of a switch whose link leads down.
fn leads_down(function: &Arc<PeFunction>) -> bool {
    function.function.config().layout().port_type().is_some_and(|port| port.is_downstream())
}

fn has_hot_plug(config: &ConfigSpace) -> bool {
    config.layout().slot().is_some_and(|slot| slot.hot_plug)
}

//! What the control socket can ask for.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assign::{Event, EventSink};
use gate::{CloseError, Deadline, ThreadToken};
use pci_core::{ResetError, ResetKind};
use pci_spec::Bdf;
use serde::Serialize;

use super::Slot;
use crate::config::BackingConfig;
use crate::control::protocol::{Refusal, RefusalCode, Request};
use crate::control::report::{Dump, FunctionReport, FunctionSummary, ResetDone, SlotSummary};
use crate::control::server::Operator;
use crate::events::Journal;
use crate::inspect;

/// How long a reset may wait for what is in flight.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// Carries out control requests on the slots of a daemon.
pub(super) struct DaemonOperator {
    slots: Arc<[Slot]>,
    journal: Arc<Journal>,
}

impl DaemonOperator {
    pub(super) fn new(slots: Arc<[Slot]>, journal: Arc<Journal>) -> Self {
        Self { slots, journal }
    }

    /// The slot with this name, or the one with this address.
    fn find(&self, target: &str) -> Result<&Slot, Refusal> {
        let address = target.parse::<Bdf>().ok();
        let wanted = |slot: &&Slot| slot.config.name == target || Some(slot.config.address) == address;
        self.slots.iter().find(wanted).ok_or_else(|| {
            let shown: String = target.chars().filter(|c| !c.is_control()).take(64).collect();
            let message = format!("there is no function or slot `{shown}`; `portcullis ls` lists them");
            Refusal::new(RefusalCode::NotFound, message)
        })
    }

    fn reset(&self, token: &mut ThreadToken, slot: &Slot) -> Result<ResetDone, Refusal> {
        let start = Instant::now();
        let function = slot.assignment.function();
        function.reset(token, ResetKind::DeviceReset, Deadline::after(RESET_TIMEOUT)).map_err(|error| {
            let code = match &error {
                ResetError::NotQuiesced { cause: CloseError::Gone, .. } => RefusalCode::Gone,
                ResetError::NotQuiesced { .. } => RefusalCode::Busy,
                ResetError::Unsupported(_) => RefusalCode::Failed,
            };
            Refusal::new(code, error.to_string())
        })?;
        self.journal.event(&slot.config.name, Event::Reset { reason: "the operator asked for it" });
        let took_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(ResetDone { address: slot.config.address.to_string(), took_us })
    }
}

impl Operator for DaemonOperator {
    fn execute(&self, token: &mut ThreadToken, request: Request) -> Result<serde_json::Value, Refusal> {
        match request {
            Request::FunctionList {} => {
                let mut list: Vec<_> = self.slots.iter().collect();
                list.sort_by_key(|slot| slot.config.address);
                value(list.into_iter().map(summary).collect::<Vec<_>>())
            }
            Request::FunctionShow { target } => value(show(token, self.find(&target)?)),
            Request::FunctionDump { target } => value(dump(token, self.find(&target)?)?),
            Request::FunctionReset { target } => value(self.reset(token, self.find(&target)?)?),
            Request::SlotList {} => value(self.slots.iter().map(slot_summary).collect::<Vec<_>>()),
            Request::EventList { target } => {
                let slot = target.map(|target| self.find(&target)).transpose()?;
                value(self.journal.entries(slot.map(|slot| slot.config.name.as_str())))
            }
        }
    }
}

fn value(report: impl Serialize) -> Result<serde_json::Value, Refusal> {
    serde_json::to_value(report)
        .map_err(|error| Refusal::new(RefusalCode::Failed, format!("the answer cannot be written: {error}")))
}

fn summary(slot: &Slot) -> FunctionSummary {
    let function = slot.assignment.function();
    let mut class = [0; 3];
    function.config().read(pci_spec::config::CLASS_CODE, &mut class);
    let [interface, sub, base] = class;
    FunctionSummary {
        address: slot.config.address.to_string(),
        slot: slot.config.name.clone(),
        model: slot.config.device.model().to_owned(),
        class: pci_spec::ClassCode { base, sub, interface }.name().to_owned(),
        state: inspect::state_name(function.gate().status().state).to_owned(),
        attached: slot.assignment.is_attached(),
        socket: slot.socket.display().to_string(),
    }
}

fn slot_summary(slot: &Slot) -> SlotSummary {
    let (backing, path) = match &slot.config.backing {
        BackingConfig::Memory { .. } => ("memory", None),
        BackingConfig::File { path, .. } => ("file", Some(path.display().to_string())),
    };
    SlotSummary {
        slot: slot.config.name.clone(),
        address: slot.config.address.to_string(),
        model: slot.config.device.model().to_owned(),
        backing: backing.to_owned(),
        path,
        size: slot.size,
        socket: slot.socket.display().to_string(),
    }
}

fn show(token: &mut ThreadToken, slot: &Slot) -> FunctionReport {
    let function = slot.assignment.function();
    let config = inspect::read_config(token, &slot.assignment);
    FunctionReport {
        summary: summary(slot),
        config: config.map(|bytes| inspect::config(&bytes, function.config().bars())),
        gate: inspect::gate(&function.gate().status()),
        dma: inspect::dma(&slot.assignment),
        interrupts: inspect::interrupts(&slot.assignment),
        device: function.device().describe(),
    }
}

fn dump(token: &mut ThreadToken, slot: &Slot) -> Result<Dump, Refusal> {
    let bytes = inspect::read_config(token, &slot.assignment).ok_or_else(|| {
        let message = "its gate does not let the read in (`portcullis show` says why)";
        Refusal::new(RefusalCode::Busy, message)
    })?;
    let class = inspect::class(&bytes);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes.iter() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    let title = format!("{}: Portcullis {} ({})", class.name(), slot.config.device.model(), slot.config.name);
    Ok(Dump { address: slot.config.address.to_string(), title, bytes: text })
}

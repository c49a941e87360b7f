//! What is told of functions and slots.

use std::fmt::Write;

use gate::ThreadToken;
use topology::NodeKind;

use super::{DaemonOperator, Target};
use crate::config::{BackingConfig, DeviceConfig};
use crate::control::protocol::{Refusal, RefusalCode};
use crate::control::report::{Dump, FunctionReport, FunctionSummary, SlotSummary};
use crate::daemon::Slot;
use crate::inspect;

impl DaemonOperator {
    /// Every function there is, in ascending order of address.
    pub(super) fn list(&self, token: &ThreadToken) -> Vec<FunctionSummary> {
        let snapshot = self.machine.snapshot(token);
        let slot_at = |at| self.slots.iter().find(|slot| slot.config.address == at);
        let target = |node: &std::sync::Arc<topology::Node>| Target {
            snapshot: snapshot.clone(),
            node: node.clone(),
            slot: slot_at(node.address),
        };
        snapshot.iter().map(|node| summary(&target(node))).collect()
    }

    pub(super) fn show(&self, token: &mut ThreadToken, target: &Target<'_>) -> FunctionReport {
        let function = &target.node.function;
        let config = inspect::read_config(token, function);
        FunctionReport {
            summary: summary(target),
            config: config.and_then(|bytes| inspect::config(&bytes, function.config().bars())),
            gate: inspect::gate(&function.gate().status()),
            dma: target.slot.map(|slot| inspect::dma(token, &slot.assignment)),
            mappings: inspect::mappings(function),
            interrupts: target.slot.map(|slot| inspect::interrupts(&slot.assignment)),
            device: function.device().describe(),
        }
    }

    pub(super) fn dump(&self, token: &mut ThreadToken, target: &Target<'_>) -> Result<Dump, Refusal> {
        let bytes = inspect::read_config(token, &target.node.function).ok_or_else(|| {
            let message = "its gate does not let the read in (`portcullis show` says why)";
            Refusal::new(RefusalCode::Busy, message)
        })?;
        let powered = target.node.function.config().is_powered();
        let class = if powered { inspect::class(&bytes).name() } else { "Without power" };
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes.iter() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        let name = target.slot.map(|slot| format!(" ({})", slot.config.name)).unwrap_or_default();
        let title = format!("{class}: Portcullis {}{name}", model(target));
        Ok(Dump { address: target.address().to_string(), title, bytes: text })
    }
}

fn summary(target: &Target<'_>) -> FunctionSummary {
    let function = &target.node.function;
    let mut class = [0; 3];
    function.config().read(pci_spec::config::CLASS_CODE, &mut class);
    let [interface, sub, base] = class;
    let class = pci_spec::ClassCode { base, sub, interface }.name();
    FunctionSummary {
        address: target.address().to_string(),
        slot: target.slot.map(|slot| slot.config.name.clone()).unwrap_or_default(),
        model: model(target).to_owned(),
        class: if function.config().is_powered() { class.to_owned() } else { String::new() },
        state: inspect::state_name(function.gate().status().state).to_owned(),
        power: function.device_state().to_string(),
        attached: target.slot.is_some_and(|slot| slot.assignment.is_attached()),
        socket: target.slot.map(|slot| slot.socket.display().to_string()).unwrap_or_default(),
    }
}

fn model(target: &Target<'_>) -> &'static str {
    match (target.slot, target.node.kind) {
        (Some(slot), _) => slot.config.device.model(),
        (None, NodeKind::Bridge { .. }) => {
            let port = target.node.function.config().layout().port_type();
            if port.is_some_and(|port| port.is_downstream()) { "root-port" } else { "bridge" }
        }
        (None, NodeKind::Virtual { .. }) => "virtual-function",
        (None, NodeKind::Endpoint) => "endpoint",
    }
}

pub(super) fn slot_summary(slot: &Slot) -> SlotSummary {
    let (backing, path) = match &slot.config.device {
        DeviceConfig::Nvme { backing: BackingConfig::Memory { .. }, .. } => ("memory", None),
        DeviceConfig::Nvme { backing: BackingConfig::File { path, .. }, .. } => {
            // For a reader who stands in another directory than the daemon.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            ("file", Some(path.display().to_string()))
        }
        DeviceConfig::EndpointTest { .. } => ("none", None),
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

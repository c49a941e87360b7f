//! What is told of functions and slots.

use std::fmt::Write;

use gate::ThreadToken;
use topology::NodeKind;

use super::{DaemonOperator, Target};
use crate::control::protocol::{Refusal, RefusalCode};
use crate::control::report::{Dump, FunctionReport, FunctionSummary};
use crate::inspect;

impl DaemonOperator {
    /// Every function there is, in ascending order of address.
    pub(super) fn list(&self, token: &ThreadToken) -> Vec<FunctionSummary> {
        let snapshot = self.machine.snapshot(token);
        let target = |node: &std::sync::Arc<topology::Node>| Target {
            snapshot: snapshot.clone(),
            node: node.clone(),
            place: self.places().find(|place| place.address == node.address),
        };
        snapshot.iter().map(|node| summary(&target(node))).collect()
    }

    pub(super) fn show(&self, token: &mut ThreadToken, target: &Target<'_>) -> FunctionReport {
        let function = &target.node.function;
        let config = inspect::read_config(token, function);
        let assignment = target.place.and_then(|place| place.assignment());
        FunctionReport {
            summary: summary(target),
            config: config.and_then(|bytes| inspect::config(&bytes, function.config().bars())),
            gate: inspect::gate(&function.gate().status()),
            dma: assignment.as_ref().map(|assignment| inspect::dma(token, assignment)),
            mappings: inspect::mappings(function),
            interrupts: assignment.as_ref().map(|assignment| inspect::interrupts(assignment)),
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
        let name = target.place.map(|place| format!(" ({})", place.name)).unwrap_or_default();
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
        slot: target.place.map(|place| place.name.clone()).unwrap_or_default(),
        model: model(target).to_owned(),
        class: if function.config().is_powered() { class.to_owned() } else { String::new() },
        state: inspect::state_name(function.gate().status().state).to_owned(),
        power: function.device_state().to_string(),
        attached: target.place.and_then(|place| place.assignment()).is_some_and(|it| it.is_attached()),
        socket: target.place.map(|place| place.socket.display().to_string()).unwrap_or_default(),
    }
}

fn model(target: &Target<'_>) -> &'static str {
    match (target.place, target.node.kind) {
        (Some(place), _) => place.model(),
        (None, NodeKind::Bridge { .. }) => {
            let port = target.node.function.config().layout().port_type();
            if port.is_some_and(|port| port.is_downstream()) { "root-port" } else { "bridge" }
        }
        (None, NodeKind::Virtual { .. }) => "virtual-function",
        (None, NodeKind::Endpoint) => "endpoint",
    }
}

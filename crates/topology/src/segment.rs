//! A segment: a host bridge, who knows the functions behind it, and the addresses they were given.

use crate::enumerate::{Assignments, Functions, Windows};
use crate::fabric::Fabric;
use gate::{Gate, GateCell};
use pci_core::mechanism::HostBridge;
use std::sync::Arc;

/// A segment of the topology.
pub struct Segment {
    pub(crate) bridge: Arc<HostBridge>,
    pub(crate) functions: Arc<dyn Functions>,
    pub(crate) windows: Windows,
    /// Who scans has this gate closed; no access passes it. Retired with the segment, which ends a scan.
    pub(crate) turn: Gate,
    /// What scans have given out.
    pub(crate) assigned: GateCell<Assignments>,
}

impl Segment {
    /// The segment behind `bridge`, whose functions `functions` knows.
    #[must_use]
    pub fn new(bridge: Arc<HostBridge>, functions: Arc<dyn Functions>, windows: Windows) -> Segment {
        let turn = Gate::new(format!("segment {:04x}: scan", bridge.segment()));
        let assigned = GateCell::new(&turn, Assignments::default());
        Segment { bridge, functions, windows, turn, assigned }
    }

    /// A segment of emulated hardware, reached through memory-mapped configuration space.
    #[must_use]
    pub fn emulated(fabric: &Arc<Fabric>) -> Segment {
        let bridge = fabric.host_bridge(format!("segment {:04x}", fabric.segment()));
        Segment::new(Arc::new(bridge), fabric.clone(), Windows::default())
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.bridge.segment()
    }

    /// The way to it.
    #[must_use]
    pub fn bridge(&self) -> &Arc<HostBridge> {
        &self.bridge
    }
}

//! A segment: a host bridge, who knows the functions behind it, and the addresses they were given.

use crate::enumerate::{Functions, Reserve, Windows};
use crate::fabric::Fabric;
use crate::scans::Scans;
use pci_core::mechanism::HostBridge;
use std::sync::Arc;

/// A segment of the topology.
pub struct Segment {
    pub(crate) bridge: Arc<HostBridge>,
    pub(crate) functions: Arc<dyn Functions>,
    pub(crate) windows: Windows,
    pub(crate) reserve: Reserve,
    /// Who scans what, and what scans have given out. Ended with the segment.
    pub(crate) scans: Scans,
}

impl Segment {
    /// The segment behind `bridge`, whose functions `functions` knows.
    #[must_use]
    pub fn new(bridge: Arc<HostBridge>, functions: Arc<dyn Functions>, windows: Windows) -> Segment {
        let scans = Scans::new(bridge.segment());
        Segment { bridge, functions, windows, reserve: Reserve::default(), scans }
    }

    /// Gives bridges whose devices come and go another reserve than the default.
    #[must_use]
    pub fn reserving(self, reserve: Reserve) -> Segment {
        Segment { reserve, ..self }
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

//! The device model's side of an assignment.

use std::sync::Arc;

use gate::{Gate, Handle};
use pci_core::ConfigSpace;

use crate::budget::Budget;
use crate::dma::DmaMap;
use crate::event::{Event, EventSink};
use crate::interrupts::Interrupts;

/// What a device model uses: its gate's handle, the consumer's memory, interrupts. Made before the device; without
/// a consumer the map is empty and interrupts go nowhere.
pub struct Port {
    gate: Gate,
    handle: Handle,
    config: Arc<ConfigSpace>,
    dma: DmaMap,
    interrupts: Interrupts,
    events: Arc<dyn EventSink>,
}

impl Port {
    /// A port of the function behind `gate`, for the gate's present epoch.
    pub fn new(gate: &Gate, config: Arc<ConfigSpace>, events: Arc<dyn EventSink>) -> Arc<Port> {
        Arc::new(Port {
            handle: gate.handle(),
            dma: DmaMap::new(gate, Arc::clone(&config), &Budget::of_process()),
            interrupts: Interrupts::new(gate, gate.handle(), Arc::clone(&config)),
            gate: gate.clone(),
            config,
            events,
        })
    }

    /// Where passes come from.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The consumer's memory.
    pub fn dma(&self) -> &DmaMap {
        &self.dma
    }

    /// The function's interrupts.
    pub fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// The function's configuration space.
    pub fn config(&self) -> &ConfigSpace {
        &self.config
    }

    /// Tells the operator. Never call it under a pass or a lock: the sink is somebody else's code (law 1).
    pub fn report(&self, event: Event) {
        self.events.event(self.gate.name(), event);
    }

    /// Freezes the function and tells the operator, once.
    pub fn freeze(&self, reason: &'static str) {
        if self.gate.freeze() {
            self.report(Event::Frozen { reason });
        }
    }
}

//! The device model's side of an assignment.

use std::sync::{Arc, OnceLock};

use gate::{Gate, Handle, ThreadToken};
use pci_core::{ConfigSpace, ErrorSign, Sentinel};

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
    sentinel: OnceLock<Arc<dyn Sentinel>>,
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
            sentinel: OnceLock::new(),
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

    /// The device has failed, or a thread of it. Passed on to whoever watches for errors, and nothing more: without, nothing
    /// happens. Allowed in any context: under a pass, under locks, however often.
    pub fn fault(&self, token: &ThreadToken, sign: ErrorSign) {
        if let Some(sentinel) = self.sentinel.get() {
            sentinel.noticed(token, sign);
        }
    }

    /// Freezes the function at once, and tells the operator, once. As [`Port::report`].
    pub fn freeze(&self, reason: &'static str) {
        if self.gate.freeze() {
            self.report(Event::Frozen { reason });
        }
    }

    /// The same for a failure, of which whoever watches for errors is told too.
    pub fn freeze_for(&self, token: &ThreadToken, reason: &'static str, sign: ErrorSign) {
        self.freeze(reason);
        self.fault(token, sign);
    }

    /// False if somebody watches already.
    pub(crate) fn watch_errors(&self, sentinel: Arc<dyn Sentinel>) -> bool {
        self.sentinel.set(sentinel).is_ok()
    }
}

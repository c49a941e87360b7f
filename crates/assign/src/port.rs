//! The device model's side of an assignment.

use std::sync::{Arc, OnceLock};

use gate::{CloseError, Deadline, Gate, Handle, ThreadToken};
use pci_core::{ConfigSpace, ErrorSign, Sentinel};

use crate::budget::Budget;
use crate::dma::DmaMap;
use crate::event::{Event, EventSink};
use crate::interrupts::Interrupts;
use crate::relay::{DmaRelay, InterruptRelay};
use crate::tap::{DmaTap, InterruptTap};

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

    /// Has `relay` follow the consumer's memory. One, and before there is a consumer: false if there is one already.
    pub fn relay_dma(&self, relay: Arc<dyn DmaRelay>) -> bool {
        self.dma.set_relay(relay)
    }

    /// Has `relay` follow what the consumer does with interrupts. As [`Port::relay_dma`].
    pub fn relay_interrupts(&self, relay: Arc<dyn InterruptRelay>) -> bool {
        self.interrupts.set_relay(relay)
    }

    /// Has `tap` decide about the device's accesses to memory from now on, or nobody. The old one is asked no more.
    ///
    /// # Errors
    /// The gate could not be closed for short passes: from the next change of the map on the tap is asked.
    pub fn tap_dma(
        &self,
        token: &mut ThreadToken,
        tap: Option<Arc<dyn DmaTap>>,
        deadline: Deadline,
    ) -> Result<(), CloseError> {
        self.dma.tap(token, tap, deadline)
    }

    /// Has `tap` decide about interrupts from now on, or nobody. The old one is asked no more.
    ///
    /// # Errors
    /// As [`Port::tap_dma`], with the consumer's wiring in place of its map.
    pub fn tap_interrupts(
        &self,
        token: &mut ThreadToken,
        tap: Option<Arc<dyn InterruptTap>>,
        deadline: Deadline,
    ) -> Result<(), CloseError> {
        self.interrupts.tap(token, tap, deadline)
    }

    /// False if somebody watches already.
    pub(crate) fn watch_errors(&self, sentinel: Arc<dyn Sentinel>) -> bool {
        self.sentinel.set(sentinel).is_ok()
    }
}

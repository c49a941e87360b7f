//! Slots whose card has one function, on machines of any size: hot-plug root ports on bus 0 of each segment, the card's function
//! on the bus below, and a [`Controller`] for each that is driven by hand.
//!
//! The hardware is the real emulated fabric and the real topology, and a plugged function has all that one of the daemon has:
//! configuration space behind the host bridge, gate, DMA map, interrupts. Only the device behind it is nobody. Power and
//! link come at once, and time that a slot lets pass is virtual: what is measured is work.

#![allow(clippy::disallowed_types, reason = "what a benchmark protects with a lock is its own")]

use std::error::Error;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use assign::{Assignment, EventSink, Limits, Port};
use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use parking_lot::Mutex;
use pci_core::mechanism::HostBridge;
use pci_core::{
    BarIndex, BarKind, ConfigSpace, Device, Express, Function, Identity, Layout, Msi, Pm, ResetKind, Slot,
    VirtualTime,
};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode};
use slot::{
    ByHand, Controller, Drivers, Event, Features, Finished, Hardware, Lamp, Parts, Removal, Request,
    Settings, State,
};
use topology::fabric::{self, Fabric, Place, PlugId};
use topology::{Segment, Topology};

/// Bytes of BAR 0.
const BAR_BYTES: u64 = 16 << 10;
const FEATURES: Features = Features { power_controller: true, attention_button: false, latch: false };

/// A device that nobody is behind.
struct Nobody;

impl Device for Nobody {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// What all functions of a machine share.
struct Make {
    port: Arc<Layout>,
    disk: Arc<Layout>,
    device: Arc<Nobody>,
    events: Arc<dyn EventSink>,
    time: Arc<VirtualTime>,
}

impl Make {
    fn new(time: &Arc<VirtualTime>) -> Result<Make, Box<dyn Error>> {
        let slot = Slot { number: 1, hot_plug: true, surprise: true, present: true };
        let port = ConfigSpace::bridge_builder(Identity::new(0x1b36, 0x000c, ClassCode::PCI_BRIDGE))
            .multi_function()
            .capability(Pm { no_soft_reset: true, ..Pm::default() })
            .capability(Express { slot: Some(slot), ..Express::port(PortType::RootPort) });
        let bar = BarIndex::new(0).ok_or("no BAR 0")?;
        let disk = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME))
            .bar(bar, BarKind::Memory64, BAR_BYTES)
            .capability(Pm::default())
            .capability(Msi::new(4))
            .capability(Express::default())
            .aer();
        Ok(Make {
            port: port.layout()?,
            disk: disk.layout()?,
            device: Arc::new(Nobody),
            events: Arc::new(()),
            time: time.clone(),
        })
    }

    fn port(&self, at: Bdf) -> Arc<Function> {
        let config = Arc::new(ConfigSpace::new(self.port.clone()));
        Arc::new(Function::new(at.to_string(), Gate::new(at.to_string()), config, Arc::new(fabric::Port)))
    }

    fn disk(&self, gate: Gate, host: &Arc<HostBridge>, at: Bdf) -> Arc<Assignment> {
        let config = Arc::new(ConfigSpace::new(self.disk.clone()));
        let port = Port::new(&gate, config.clone(), self.events.clone());
        let function = Function::new(gate.name().to_owned(), gate, config, self.device.clone())
            .behind(host.clone(), at)
            .timed_by(self.time.clone());
        Assignment::new(Arc::new(function), port, Limits::default())
    }
}

/// What is in a bay.
struct Inside {
    /// Of the last function; the next one's is its successor (law 5).
    gate: Gate,
    plugged: Option<PlugId>,
}

/// The hardware of one slot.
struct Bay {
    make: Arc<Make>,
    topology: Arc<Topology>,
    fabric: Arc<Fabric>,
    host: Arc<HostBridge>,
    port: PlugId,
    /// Where the port is.
    bridge: Bdf,
    /// Where the card's function is.
    below: Bdf,
    inside: Mutex<Inside>,
    slot: OnceLock<Weak<Controller>>,
}

impl Bay {
    fn link(&self, up: bool) {
        if let Some(slot) = self.slot.get().and_then(Weak::upgrade) {
            slot.post(Event::Link(up));
        }
    }

    fn put(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Arc<Assignment>, Box<dyn Error>> {
        let gate = self.inside.lock().gate.successor();
        let disk = self.make.disk(gate.clone(), &self.host, self.below);
        let plugged = self.fabric.plug(Place::Below(self.port, 0), disk.function().clone())?;
        *self.inside.lock() = Inside { gate, plugged: Some(plugged) };
        let scanned = self.topology.rescan_below(token, self.bridge, deadline)?;
        let [found] = &scanned.added[..] else { return Err("the function was not found".into()) };
        if Arc::ptr_eq(&found.function, disk.function()) { Ok(disk) } else { Err("another was found".into()) }
    }

    fn take(&self, token: &mut ThreadToken, deadline: Deadline) {
        // Were it not in the picture any more, the next scan would not find one that is new.
        let _removed = self.topology.remove(token, self.below, deadline);
        let plugged = self.inside.lock().plugged.take();
        plugged.into_iter().for_each(|plugged| drop(self.fabric.unplug(plugged)));
    }
}

impl Hardware for Bay {
    fn apply_power(&self, _token: &mut ThreadToken, _deadline: Deadline) -> bool {
        self.link(true);
        true
    }

    fn cut_power(&self, _token: &mut ThreadToken, _deadline: Deadline) {
        self.link(false);
    }

    fn power_lamp(&self, _lamp: Lamp) {}

    fn attention_lamp(&self, _lamp: Lamp) {}

    fn configure(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Vec<Arc<Assignment>>, String> {
        Ok(vec![self.put(token, deadline).map_err(|error| error.to_string())?])
    }

    fn unconfigure(
        &self,
        token: &mut ThreadToken,
        _functions: &[Arc<Assignment>],
        _removal: Removal,
        deadline: Deadline,
    ) {
        self.take(token, deadline);
    }
}

/// A slot that begins empty.
pub(super) struct Socket {
    bay: Arc<Bay>,
    time: Arc<VirtualTime>,
    controller: Arc<Controller>,
}

impl Socket {
    fn new(bay: Arc<Bay>, drivers: &Arc<Drivers>) -> Socket {
        let time = bay.make.time.clone();
        let parts = Parts {
            hardware: bay.clone(),
            drivers: drivers.clone(),
            time: time.clone(),
            crew: Arc::new(ByHand),
            watch: Arc::new(()),
        };
        let controller = Controller::new(bay.below.to_string(), FEATURES, Settings::default(), parts);
        let _the_one_controller = bay.slot.set(Arc::downgrade(&controller));
        Socket { bay, time, controller }
    }

    /// Puts the card in, which brings it up the first time.
    ///
    /// # Errors
    /// It has not come up.
    pub(super) fn insert(&self, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
        self.controller.post(Event::Card(true));
        self.controller.drive(token);
        match self.controller.report().state {
            State::On => Ok(()),
            other => Err(format!("with its card in, the slot is {other:?}").into()),
        }
    }

    /// Brings the card up that was taken away before.
    ///
    /// # Errors
    /// It ended otherwise than done.
    pub(super) fn plug(&self, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
        self.ask(token, Request::Enable)
    }

    /// Takes the card away by the ladder: `timeout` for its driver to let go.
    ///
    /// # Errors
    /// It ended otherwise than done.
    pub(super) fn unplug(&self, token: &mut ThreadToken, timeout: Duration) -> Result<(), Box<dyn Error>> {
        self.ask(token, Request::Disable { timeout })
    }

    fn ask(&self, token: &mut ThreadToken, request: Request) -> Result<(), Box<dyn Error>> {
        let operation = self.controller.ask(request);
        // Every timer that is waited for ends a state, and none comes twice.
        while let Some(wait) = self.controller.drive(token).filter(|_| operation.finished().is_none()) {
            self.time.advance(wait);
        }
        match operation.finished() {
            Some(Finished::Done) => Ok(()),
            other => Err(format!("{request:?} ended as {other:?}").into()),
        }
    }

    /// The same function without a slot: built, plugged in, found, retired, taken out. The slot is off meanwhile.
    ///
    /// # Errors
    /// It cannot be plugged in, or is not found.
    pub(super) fn cycle_without_controller(&self, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
        let disk = self.bay.put(token, soon())?;
        let _nobody_is_inside = disk.function().disconnect(token, soon());
        self.bay.take(token, soon());
        Ok(())
    }
}

/// Longer than anything takes.
pub(super) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// A machine of `segments` with `ports` (at most 255) root ports each, and an empty slot at every one of them.
///
/// # Errors
/// Something cannot be made, plugged in or found.
pub(super) fn machine(
    token: &mut ThreadToken,
    segments: u16,
    ports: u8,
    drivers: &Arc<Drivers>,
) -> Result<Vec<Socket>, Box<dyn Error>> {
    let time = Arc::new(VirtualTime::default());
    let (make, topology) = (Arc::new(Make::new(&time)?), Arc::new(Topology::new(time)));
    let mut sockets = Vec::new();
    for number in 0..segments {
        let fabric = Arc::new(Fabric::new(number));
        let segment = Segment::emulated(&fabric);
        let host = segment.bridge().clone();
        for devfn in 0..ports {
            let bridge = Bdf::from_routing_id(number, u16::from(devfn));
            // Buses are given in the order of the ports.
            let below = Bdf::from_routing_id(number, (u16::from(devfn) + 1) << 8);
            let bay = Bay {
                make: make.clone(),
                topology: topology.clone(),
                fabric: fabric.clone(),
                host: host.clone(),
                port: fabric.plug(Place::Root(devfn), make.port(bridge))?,
                bridge,
                below,
                inside: Mutex::new(Inside { gate: Gate::new(below.to_string()), plugged: None }),
                slot: OnceLock::new(),
            };
            sockets.push(Socket::new(Arc::new(bay), drivers));
        }
        topology.add_segment(token, segment, soon())?;
        let scanned = topology.rescan(token, number, soon())?;
        if let Some(problem) = scanned.problems.first() {
            return Err(problem.to_string().into());
        }
    }
    Ok(sockets)
}

//! The machine around the slots: segments, root ports, and what resets and switches their functions.
//!
//! A slot at bus 0 stands on the root bus; every other bus gets a root port of its own (or a conventional bridge, if more
//! than device 0 is on it), whose bus numbers are set here as firmware would set them, so that a function is found at the
//! address its slot was configured with.
//!
//! What it does **not** do: nothing here knows of clients, sockets or backings.
//!
//! Concurrency: built by one thread; used by any, and what they may wait for takes their token.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use assign::{EventSink, Reporter};
use gate::{AccessKind, Deadline, Gate, ThreadToken};
use pci_core::mechanism::HostBridge;
use pci_core::{
    ConfigSpace, ConfigSpaceBuilder, DeviceState, Express, ExtendedCapability, Function, Identity,
    LayoutError, Pm, RealTime, Slot as HotPlugSlot, Time,
};
use pci_spec::bridge::PRIMARY_BUS;
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode};
use power::{Emulated, Platform, Power};
use reset::{Preserved, Resets};
use topology::fabric::{Fabric, Place, PlugError, PlugId, Port};
use topology::{Segment, Snapshot, Topology, TopologyError};

/// How long a scan at the start may take; emulated hardware answers at once.
const SCAN_TIMEOUT: Duration = Duration::from_secs(10);
/// Vendor ID of the root ports: unregistered, as for the other built-in models.
const VENDOR: u16 = 0x1234;
/// Device ID of the root ports: "RP".
const DEVICE: u16 = 0x5250;

/// Why a machine cannot be built, or a slot's function not be put into it.
#[derive(Debug, thiserror::Error)]
pub(super) enum MachineError {
    #[error("segment {segment:04x} has slots on more buses than there are places for root ports")]
    TooManyBuses { segment: u16 },
    #[error("a root port cannot be made: {0}")]
    Port(#[from] LayoutError),
    #[error("{0}")]
    Plug(#[from] PlugError),
    #[error("{0}")]
    Scan(#[from] TopologyError),
    #[error("the port of the slot is not reached: {0}")]
    Unreachable(#[from] gate::Refusal),
    #[error("{0} does not answer at its address: function 0 of its device is missing")]
    NotFound(Bdf),
}

/// See the module's head.
pub(super) struct Machine {
    pub(super) topology: Arc<Topology>,
    pub(super) resets: Arc<Resets>,
    pub(super) power: Power,
    /// The clock of delays and of slots.
    pub(super) time: Arc<dyn Time>,
    platform: Arc<Emulated>,
    segments: BTreeMap<u16, Wiring>,
    /// Who follows what comes and goes; set once.
    follower: OnceLock<Weak<dyn Follower>>,
}

/// Who follows what comes and goes in a machine.
pub(super) trait Follower: Send + Sync {
    /// Something has come, or may have. Waits for nothing.
    fn changed(&self);

    /// A function has left: nothing of it is kept when this returns.
    fn left(&self, token: &mut ThreadToken);
}

/// The hardware of one segment.
struct Wiring {
    fabric: Arc<Fabric>,
    bridge: Arc<HostBridge>,
    /// By the bus below: a root port or bridge, and where it is.
    ports: BTreeMap<u8, (PlugId, Bdf)>,
}

impl Machine {
    /// A machine with a place for each of `addresses`, and nothing there yet.
    pub(super) fn new(
        token: &mut ThreadToken,
        addresses: &[Bdf],
        events: &Arc<dyn EventSink>,
    ) -> Result<Machine, MachineError> {
        let time: Arc<dyn Time> = Arc::new(RealTime::default());
        let topology = Arc::new(Topology::new(Arc::clone(&time)));
        let mut segments = BTreeMap::new();
        let mut managed: Vec<Bdf> = addresses.to_vec();
        for number in addresses.iter().map(|at| at.segment()).collect::<BTreeSet<_>>() {
            let fabric = Arc::new(Fabric::new(number));
            let segment = Segment::emulated(&fabric);
            let bridge = Arc::clone(segment.bridge());
            topology.add_segment(token, segment, Deadline::after(SCAN_TIMEOUT))?;
            let mut wiring = Wiring { fabric, bridge, ports: BTreeMap::new() };
            managed.extend(wiring.add_ports(number, addresses, events)?);
            segments.insert(number, wiring);
        }
        let platform = Arc::new(Emulated::managing(managed));
        let power = Power::new(Arc::clone(&time));
        let power = power.on(Arc::clone(&platform) as _).preserving(Arc::new(Preserved::default()));
        let resets = Resets::new(Arc::clone(&time));
        let resets = Arc::new(resets.with_power(power.clone()).with_topology(Arc::clone(&topology)));
        let follower = OnceLock::new();
        let machine = Machine { topology, resets, power, time, platform, segments, follower };
        machine.rescan(token, Deadline::after(SCAN_TIMEOUT))?;
        Ok(machine)
    }

    /// Has `follower` told of what comes and goes from now on.
    pub(super) fn tells(&self, follower: Weak<dyn Follower>) {
        // Set once: a machine is followed by one containment.
        let _ = self.follower.set(follower);
    }

    /// Something has come or gone, or may have.
    pub(super) fn changed(&self) {
        if let Some(follower) = self.follower.get().and_then(Weak::upgrade) {
            follower.changed();
        }
    }

    /// Puts a function that is being built behind the host bridge of its address.
    pub(super) fn place(&self, function: Function, at: Bdf) -> Function {
        match self.segments.get(&at.segment()) {
            Some(wiring) => function.behind(Arc::clone(&wiring.bridge), at),
            None => function,
        }
    }

    /// Puts a function into the hardware at its address; [`Machine::find`] brings it into the topology.
    pub(super) fn plug(&self, function: Arc<Function>, at: Bdf) -> Result<PlugId, MachineError> {
        let wiring = self.segments.get(&at.segment()).ok_or(MachineError::NotFound(at))?;
        let [bus, devfn] = at.routing_id().to_be_bytes();
        let place = match wiring.ports.get(&bus) {
            Some((port, _)) => Place::Below(*port, devfn),
            None => Place::Root(devfn),
        };
        Ok(wiring.fabric.plug(place, function)?)
    }

    /// Finds what was plugged in beside `at`, in its slot; nothing else is looked at.
    pub(super) fn find(
        &self,
        token: &mut ThreadToken,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<Arc<Snapshot>, MachineError> {
        let scanned = match self.port(at) {
            Some(port) => {
                // Keeps resets of the port's bus away, during which nobody answers (HP-16).
                let bridge = self.snapshot(token).function(port).map(|node| node.function.handle().clone());
                let bridge = bridge.ok_or(MachineError::NotFound(port))?;
                let _no_reset = bridge.enter_long(token, AccessKind::Config, "scan of a slot", deadline)?;
                self.topology.rescan_below(token, port, deadline)?
            }
            None => self.topology.rescan_device(token, at.segment(), at.bus(), at.device(), deadline)?,
        };
        for problem in scanned.problems {
            tracing::warn!("{problem}");
        }
        self.changed();
        Ok(self.snapshot(token))
    }

    /// Finds everything that has appeared or gone, in all segments.
    pub(super) fn rescan(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), MachineError> {
        for number in self.segments.keys() {
            let scanned = self.topology.rescan(token, *number, deadline)?;
            for problem in scanned.problems {
                tracing::warn!("{problem}");
            }
        }
        self.changed();
        Ok(())
    }

    /// The root port or bridge that leads to the bus of an address; none on the root bus.
    pub(super) fn port(&self, at: Bdf) -> Option<Bdf> {
        let wiring = self.segments.get(&at.segment())?;
        wiring.ports.get(&at.bus()).map(|(_, port)| *port)
    }

    /// The next device at an address has power, whatever the last one was left in.
    pub(super) fn give_power(&self, at: Bdf) {
        // The platform manages all addresses of slots.
        let _ = self.platform.set_state(at, DeviceState::D0);
    }

    /// What there is now.
    pub(super) fn snapshot(&self, token: &ThreadToken) -> Arc<Snapshot> {
        self.topology.snapshot(token)
    }

    /// Takes a function out of the topology and of the hardware. A function refers to its host bridge, and the hardware
    /// behind that to its functions; this is where the circle is broken, so that the device ends when its last user lets go.
    pub(super) fn unplug(&self, token: &mut ThreadToken, at: Bdf, id: PlugId, deadline: Deadline) {
        // Out of the hardware first: a scan in between would show the function again.
        if let Some(wiring) = self.segments.get(&at.segment()) {
            drop(wiring.fabric.unplug(id));
        }
        match self.topology.remove(token, at, deadline) {
            // It was never shown, or a scan has seen already that it is not there.
            Ok(_) | Err(TopologyError::NoFunction(_)) => {}
            Err(error) => tracing::warn!("{at} is still shown: {error}"),
        }
        if let Some(follower) = self.follower.get().and_then(Weak::upgrade) {
            follower.left(token);
        }
    }

    /// Takes out what is left, the root ports.
    pub(super) fn take_down(&self, token: &mut ThreadToken, deadline: Deadline) {
        for (number, wiring) in &self.segments {
            for (id, _) in wiring.ports.values() {
                drop(wiring.fabric.unplug(*id));
            }
            if let Err(error) = self.topology.remove_segment(token, *number, deadline) {
                tracing::warn!("{error}");
            }
        }
    }
}

impl Wiring {
    /// A root port for each bus that has slots; answers where the ports are.
    fn add_ports(
        &mut self,
        segment: u16,
        addresses: &[Bdf],
        events: &Arc<dyn EventSink>,
    ) -> Result<Vec<Bdf>, MachineError> {
        let here = || addresses.iter().filter(|at| at.segment() == segment);
        let taken: BTreeSet<u8> = here().filter(|at| at.bus() == 0).map(|at| at.device()).collect();
        let buses: BTreeSet<u8> = here().map(|at| at.bus()).filter(|bus| *bus != 0).collect();
        let devices = (1..32_u8).filter(|device| !taken.contains(device));
        let devices: Vec<u8> = devices.collect();
        let mut places =
            (0..8_u8).flat_map(|function| devices.iter().map(move |device| device << 3 | function));
        let mut made = Vec::new();
        for bus in buses {
            let devfn = places.next().ok_or(MachineError::TooManyBuses { segment })?;
            let at = Bdf::from_routing_id(segment, u16::from(devfn));
            // A link leads to device 0 alone; more devices beside each other are on a conventional bus.
            let link = here().all(|at| at.bus() != bus || at.device() == 0);
            let port = if link { root_port(bus)? } else { conventional_bridge(bus)? };
            let port = Function::new(at.to_string(), Gate::new(at.to_string()), port, Arc::new(Port));
            let port = port.observed_by(Reporter::new(Arc::clone(events)));
            let port = Arc::new(port.behind(Arc::clone(&self.bridge), at));
            let id = self.fabric.plug(Place::Root(devfn), port)?;
            self.ports.insert(bus, (id, at));
            made.push(at);
        }
        Ok(made)
    }
}

/// A root port that leads to `bus` alone, with a slot.
fn root_port(bus: u8) -> Result<Arc<ConfigSpace>, LayoutError> {
    let slot = HotPlugSlot { number: u16::from(bus), hot_plug: true, surprise: true, present: true };
    let express = Express { slot: Some(slot), ..Express::port(PortType::RootPort) };
    // Errors from below end here, and may be contained here.
    let port = bridge().capability(express).extended_capability(ExtendedCapability::PortAer);
    programmed(port.extended_capability(ExtendedCapability::Dpc), bus)
}

/// A bridge to `bus` that is no link, so that it has room for 32 devices.
fn conventional_bridge(bus: u8) -> Result<Arc<ConfigSpace>, LayoutError> {
    programmed(bridge(), bus)
}

/// Any device of the root bus may have more bridges beside this one.
fn bridge() -> ConfigSpaceBuilder {
    ConfigSpace::bridge_builder(Identity::new(VENDOR, DEVICE, ClassCode::PCI_BRIDGE))
        .multi_function()
        .immediate_readiness()
        .capability(Pm { no_soft_reset: true, immediate_readiness: true, ..Pm::default() })
}

/// With the bus numbers that firmware would leave there.
fn programmed(bridge: ConfigSpaceBuilder, bus: u8) -> Result<Arc<ConfigSpace>, LayoutError> {
    let config = bridge.build()?;
    // Nothing is asked for while the bridge is nobody's function.
    let _none = config.write(PRIMARY_BUS, &[0, bus, bus]);
    Ok(Arc::new(config))
}

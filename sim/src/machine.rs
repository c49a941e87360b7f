//! The machine around the slots: a segment with a root port for each slot, and what resets and switches functions.
//!
//! It is the real thing (`topology`, `reset`, `power`), on the world's clock. No deadline here is later than now: on one
//! thread nobody can let go of what is waited for, so whoever would wait finds that his time is up.

use crate::card::{Card, Census, MOST_FUNCTIONS, Maker};
use crate::clock::Clock;
use assign::Assignment;
use gate::{Deadline, Gate, ThreadToken};
use pci_core::mechanism::HostBridge;
use pci_core::{ConfigSpace, Express, Function, Identity, LayoutError, Pm, Presence, Slot, Time};
use pci_spec::bridge::PRIMARY_BUS;
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode};
use power::{Emulated, Power};
use reset::{Preserved, Resets};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use topology::fabric::{Fabric, Place, PlugError, PlugId, Port};
use topology::{Segment, Snapshot, Topology, TopologyError};
use zpci::{View, Watched};

/// The most slots of a world: each has a device number of the root bus.
pub const MOST_SLOTS: usize = 30;

/// Why there is no machine.
#[derive(Debug, Error)]
pub enum MachineError {
    /// A configuration space of the simulator's own does not fit together.
    #[error("a function cannot be made: {0}")]
    Layout(#[from] LayoutError),
    /// A port has no place.
    #[error("a port cannot be plugged in: {0}")]
    Plug(#[from] PlugError),
    /// The first scan failed.
    #[error("the machine cannot be scanned: {0}")]
    Topology(#[from] TopologyError),
    /// Each slot needs a device number.
    #[error("a world has 1 to {MOST_SLOTS} slots")]
    Slots,
}

/// The time of whoever cannot wait.
#[must_use]
pub(crate) fn at_once() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// A function as a slot has it.
#[derive(Clone)]
pub(crate) struct Plugged {
    pub(crate) at: Bdf,
    pub(crate) id: PlugId,
    pub(crate) assignment: Arc<Assignment>,
    /// Who is told what its device does.
    pub(crate) watched: Arc<Watched>,
    /// The s390 view of it, if the machine has one.
    pub(crate) view: Option<Arc<View>>,
}

/// See the module's head.
pub(crate) struct Machine {
    pub(crate) topology: Arc<Topology>,
    pub(crate) resets: Resets,
    pub(crate) power: Power,
    fabric: Arc<Fabric>,
    maker: Maker,
    ports: Vec<PlugId>,
}

/// Where the port of a slot is.
#[must_use]
pub(crate) fn port_at(slot: usize) -> Bdf {
    let device = u16::try_from(slot % MOST_SLOTS).unwrap_or(0) + 1;
    Bdf::from_routing_id(0, device << 3)
}

/// Where a function of a slot's card is.
#[must_use]
pub(crate) fn function_at(slot: usize, function: u8) -> Bdf {
    Bdf::from_routing_id(0, u16::from(bus_of(slot)) << 8 | u16::from(function))
}

fn bus_of(slot: usize) -> u8 {
    u8::try_from(slot % MOST_SLOTS).unwrap_or(0) + 1
}

impl Machine {
    /// A machine with `slots` empty slots.
    ///
    /// # Errors
    /// [`MachineError`].
    pub(crate) fn new(
        token: &mut ThreadToken,
        clock: &Arc<Clock>,
        slots: usize,
    ) -> Result<Machine, MachineError> {
        if !(1..=MOST_SLOTS).contains(&slots) {
            return Err(MachineError::Slots);
        }
        let time: Arc<dyn Time> = clock.clone();
        let topology = Arc::new(Topology::new(time.clone()));
        let fabric = Arc::new(Fabric::new(0));
        let segment = Segment::emulated(&fabric);
        let host = segment.bridge().clone();
        topology.add_segment(token, segment, at_once())?;
        let mut ports = Vec::new();
        for slot in 0..slots {
            let at = port_at(slot);
            let [_, devfn] = at.routing_id().to_be_bytes();
            ports.push(fabric.plug(Place::Root(devfn), port(slot, &host, &time)?)?);
        }
        topology.rescan(token, 0, at_once())?;
        let managed = (0..slots).flat_map(|slot| {
            (0..MOST_FUNCTIONS).map(move |function| function_at(slot, function)).chain([port_at(slot)])
        });
        let platform = Arc::new(Emulated::managing(managed));
        let power = Power::new(time.clone()).on(platform).preserving(Arc::new(Preserved::default()));
        let resets = Resets::new(time.clone()).with_power(power.clone()).with_topology(topology.clone());
        let maker = Maker::new(host, time)?;
        Ok(Machine { topology, resets, power, fabric, maker, ports })
    }

    /// What all devices count themselves in.
    #[must_use]
    pub(crate) fn census(&self) -> &Arc<Census> {
        self.maker.census()
    }

    /// The picture as it is now.
    #[must_use]
    pub(crate) fn snapshot(&self, token: &ThreadToken) -> Arc<Snapshot> {
        self.topology.snapshot(token)
    }

    /// Puts the functions of a card behind a slot's port. Hardware only: nobody can reach them yet.
    pub(crate) fn insert(&self, slot: usize, card: Card) -> Result<Vec<Plugged>, PlugError> {
        let mut plugged = Vec::new();
        for number in 0..card.functions.clamp(1, MOST_FUNCTIONS) {
            let at = function_at(slot, number);
            let watched = Watched::new(Arc::new(()));
            let assignment = self.maker.function(card, at, watched.clone());
            match self.fabric.plug(Place::Below(self.ports[slot], number), assignment.function().clone()) {
                Ok(id) => plugged.push(Plugged { at, id, assignment, watched, view: None }),
                Err(error) => {
                    plugged.iter().for_each(|function| self.extract(function));
                    return Err(error);
                }
            }
        }
        Ok(plugged)
    }

    /// Takes a function out of the hardware, with its virtual functions.
    pub(crate) fn extract(&self, plugged: &Plugged) {
        drop(self.fabric.unplug(plugged.id));
    }

    /// Shows what is in a slot. False if it was not found.
    pub(crate) fn show(&self, token: &mut ThreadToken, slot: usize, plugged: &[Plugged]) -> bool {
        let scanned = self.topology.rescan_below(token, port_at(slot), at_once());
        let snapshot = self.snapshot(token);
        let shown = |function: &Plugged| {
            let node = snapshot.function(function.at);
            node.is_some_and(|node| Arc::ptr_eq(&node.function, function.assignment.function()))
        };
        scanned.is_ok() && plugged.iter().all(shown)
    }

    /// Takes a function out of the picture, with its virtual functions, which are closed for good.
    pub(crate) fn hide(&self, token: &mut ThreadToken, plugged: &Plugged) {
        let snapshot = self.snapshot(token);
        let shown = snapshot.function(plugged.at);
        if shown.is_some_and(|node| Arc::ptr_eq(&node.function, plugged.assignment.function())) {
            // Only virtual functions are waited for, and nobody is.
            let _removed = self.topology.remove(token, plugged.at, at_once());
        }
    }

    /// Whether what is behind a function answers.
    pub(crate) fn answers(&self, token: &ThreadToken, at: Bdf) -> bool {
        let segment = self.topology.segment(token, 0);
        segment.is_some_and(|segment| segment.bridge().presence(token, at) != Presence::Absent)
    }

    /// Looks for changes everywhere, as an operator may at any time.
    pub(crate) fn rescan(&self, token: &mut ThreadToken) -> Result<usize, TopologyError> {
        let scanned = self.topology.rescan(token, 0, at_once())?;
        Ok(scanned.added.len() + scanned.removed.nodes.len())
    }

    /// Takes everything apart.
    pub(crate) fn take_down(&self, token: &mut ThreadToken) {
        for port in &self.ports {
            drop(self.fabric.unplug(*port));
        }
        let _removed = self.topology.remove_segment(token, 0, at_once());
    }
}

/// A root port that leads to the bus of its slot, numbered as firmware would.
fn port(slot: usize, host: &Arc<HostBridge>, time: &Arc<dyn Time>) -> Result<Arc<Function>, LayoutError> {
    let at = port_at(slot);
    let bus = bus_of(slot);
    let below = Slot { number: bus.into(), hot_plug: true, surprise: true, present: true };
    let config = ConfigSpace::bridge_builder(Identity::new(0x1234, 0x5250, ClassCode::PCI_BRIDGE))
        .capability(Pm { no_soft_reset: true, ..Pm::default() })
        .capability(Express { slot: Some(below), ..Express::port(PortType::RootPort) })
        .build()?;
    // Nothing is asked for while the bridge is nobody's function.
    let _none = config.write(PRIMARY_BUS, &[0, bus, bus]);
    let name = at.to_string();
    let function = Function::new(name.clone(), Gate::new(name), Arc::new(config), Arc::new(Port));
    Ok(Arc::new(function.behind(host.clone(), at).timed_by(time.clone())))
}

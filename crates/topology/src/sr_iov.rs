//! Virtual functions: switched on and off as one, behind their physical function.
//!
//! The physical function is closed for all accesses meanwhile, over the delays that hardware asks for. Switching on makes
//! every VF and has it answer before the picture shows it; switching off takes the VFs out of the picture, closes them
//! for good, and only then takes them away (law 8). Whatever fails on the way puts everything back (law 9).
//!
//! PCIe 6.0 s9.3.3.3.1 *VF Enable*, s9.2.1.2 *VF Discovery*; HP-18.

use crate::topology::retire_virtual;
use crate::{Node, NodeKind, NumVfsError, Removed, Segment, Topology, TopologyError};
use gate::{Closed, Deadline, Gate, Gone, Quiesced, Reason, ThreadToken};
use pci_core::{ConfigAddress, DeviceState, Function, SrIovLayout, VirtualFunction, Width};
use pci_spec::extended::sr_iov::{self, Control};
use pci_spec::{Bdf, config, delay};
use std::sync::Arc;

/// What a change of the number of virtual functions did.
#[derive(Debug, Default)]
pub struct VirtualFunctions {
    /// Those that came.
    pub added: Vec<Arc<Node>>,
    /// Those that went, and what was still inside them at the deadline.
    pub removed: Removed,
}

/// The physical function of a change, and the way to it.
struct Physical {
    segment: Arc<Segment>,
    node: Arc<Node>,
    layout: SrIovLayout,
    /// The last bus that leads below the bridge above it.
    last_bus: u8,
    /// That bridge forwards to functions above 7.
    ari: bool,
    /// It has a link below, on which only device 0 is without that.
    link: bool,
}

impl Topology {
    /// Sets how many virtual functions the function at `at` has: all of them or none, from none or all. Asking for what is
    /// there already changes nothing (HP-18). Other accesses to the function wait meanwhile; other functions are not
    /// held up. The delays of the hardware (100 ms, 1 s) are not part of the deadline.
    ///
    /// # Errors
    /// [`NumVfsError`]; there are as many as before, or none if it was they that failed.
    pub fn set_num_vfs(
        &self,
        token: &mut ThreadToken,
        at: Bdf,
        count: u16,
        deadline: Deadline,
    ) -> Result<VirtualFunctions, NumVfsError> {
        let physical = self.physical(token, at)?;
        let total = physical.layout.total_vfs;
        if count > total {
            return Err(NumVfsError::TooMany { asked: count, total });
        }
        let function = physical.node.function.clone();
        let closed = function.gate().close(token, Reason::OpsSwap, deadline)?.park();
        // Looked at inside: nobody else changes it now. A reset of the function switches them off behind the picture's
        // back; what it still shows of them then goes first.
        let state = function.config().sr_iov().unwrap_or_default();
        let present = if state.enabled { state.num_vfs } else { 0 };
        let power = function.device_state();
        if count > 0 && power != DeviceState::D0 {
            return Err(NumVfsError::Asleep(power));
        }
        let shown = self.snapshot(token).virtual_functions(at).len();
        match (present, count) {
            (0, 0) if shown != 0 => self.disable(token, &physical, closed, deadline),
            // On but not shown: switched on behind the picture's back. They are switched off first, as any number is.
            (present, asked) if present == asked && shown == usize::from(asked) => {
                Ok(VirtualFunctions::default())
            }
            (0, count) => self.enable(token, &physical, closed, count, deadline),
            (_, 0) => self.disable(token, &physical, closed, deadline),
            (present, asked) => Err(NumVfsError::Enabled { asked, present }),
        }
    }

    fn physical(&self, token: &ThreadToken, at: Bdf) -> Result<Physical, NumVfsError> {
        let snapshot = self.snapshot(token);
        let node = snapshot.function(at).ok_or(NumVfsError::NoFunction(at))?.clone();
        let layout = node.function.config().sr_iov_layout().ok_or(NumVfsError::Unsupported(at))?.clone();
        let segment = self.segment(token, at.segment()).ok_or(TopologyError::NoSegment(at.segment()))?;
        let above = snapshot.parent(at);
        let last_bus = match above.map(|bridge| bridge.kind) {
            Some(NodeKind::Bridge { subordinate, .. }) => subordinate,
            _ => segment.bridge.buses().last,
        };
        let ari = above.is_some_and(|bridge| bridge.function.config().ari_forwarding());
        let port = above.and_then(|bridge| bridge.function.config().layout().port_type());
        let link = port.is_some_and(|port| port.is_downstream());
        Ok(Physical { segment, node, layout, last_bus, ari, link })
    }

    fn enable(
        &self,
        token: &mut ThreadToken,
        physical: &Physical,
        closed: Closed,
        count: u16,
        deadline: Deadline,
    ) -> Result<VirtualFunctions, NumVfsError> {
        let places = physical.places(count)?;
        if !physical.has_addresses() {
            return Err(NumVfsError::NoSpace);
        }
        let shown = self.snapshot(token).virtual_functions(physical.at());
        let nodes = physical.make(&places)?;
        // What is shown was switched off behind the picture's back. It goes first: switched on again, the memory of these
        // would be decoded too.
        let mut removed = retire_virtual(token, shown, deadline);
        let mut closed = Some(closed);
        let done = self.bring_up(token, physical, &mut closed, &nodes, deadline);
        match done {
            Ok(()) => {
                drop(closed);
                removed.nodes.retain(|old| !nodes.iter().any(|new| new.address == old.address));
                Ok(VirtualFunctions { added: nodes, removed })
            }
            Err(error) => {
                if let Some(Ok(quiesced)) = closed.take().map(|closed| closed.resume(token)) {
                    physical.set_control(&quiesced, Control::empty(), 0);
                }
                physical.put(Vec::new());
                retire_virtual(token, nodes, deadline);
                Err(error)
            }
        }
    }

    /// Switches the virtual functions on and shows them. On an error they may be on still; `closed` is then what is left of
    /// the ownership of the physical function.
    fn bring_up(
        &self,
        token: &mut ThreadToken,
        physical: &Physical,
        closed: &mut Option<Closed>,
        nodes: &[Arc<Node>],
        deadline: Deadline,
    ) -> Result<(), NumVfsError> {
        let functions: Vec<_> = nodes.iter().map(|node| node.function.clone()).collect();
        let count = u16::try_from(functions.len()).unwrap_or(u16::MAX);
        if !physical.put(functions) {
            return Err(NumVfsError::Gone);
        }
        let mut control = Control::VF_ENABLE | Control::VF_MEMORY_SPACE;
        control.set(Control::ARI_HIERARCHY, physical.ari);
        let quiesced =
            closed.take().ok_or(NumVfsError::Gone)?.resume(token).map_err(|Gone| NumVfsError::Gone)?;
        let written = physical.set_control(&quiesced, control, count);
        let parked = closed.insert(quiesced.park());
        if !written {
            return Err(NumVfsError::NotMade(0));
        }
        self.time.pass(token, parked, delay::VF_ENABLE).map_err(|Gone| NumVfsError::Gone)?;
        for (index, node) in (0..).zip(nodes) {
            if !physical.answers(token, node.address) {
                return Err(NumVfsError::NotMade(index));
            }
        }
        let (shown, _) = self.publish(token, deadline, |old| {
            let there = old.function(physical.at());
            if there.is_some_and(|node| Arc::ptr_eq(&node.function, &physical.node.function)) {
                let stale = old.virtual_functions(physical.at());
                let without = old.without(stale.iter().map(|node| node.address));
                (without.with(nodes.iter().cloned()), true)
            } else {
                (old.clone(), false)
            }
        })?;
        if shown { Ok(()) } else { Err(NumVfsError::Gone) }
    }

    fn disable(
        &self,
        token: &mut ThreadToken,
        physical: &Physical,
        closed: Closed,
        deadline: Deadline,
    ) -> Result<VirtualFunctions, NumVfsError> {
        let (nodes, _) = self.publish(token, deadline, |old| {
            let nodes = old.virtual_functions(physical.at());
            (old.without(nodes.iter().map(|node| node.address)), nodes)
        })?;
        let removed = retire_virtual(token, nodes, deadline);
        // A physical function that is removed meanwhile takes them along; there is nothing left to switch off then.
        if let Ok(quiesced) = closed.resume(token) {
            physical.set_control(&quiesced, Control::empty(), 0);
            let parked = quiesced.park();
            let _removed_meanwhile = self.time.pass(token, &parked, delay::VF_DISABLE);
            physical.put(Vec::new());
        } else {
            physical.put(Vec::new());
        }
        Ok(VirtualFunctions { added: Vec::new(), removed })
    }
}

impl Physical {
    fn at(&self) -> Bdf {
        self.node.address
    }

    /// Where the virtual functions are.
    fn places(&self, count: u16) -> Result<Vec<Bdf>, NumVfsError> {
        let at = self.at();
        let place = |index| {
            let (first, stride) = (self.layout.first_offset, self.layout.stride);
            let id = sr_iov::routing_id(at.routing_id(), first, stride, index);
            let place = id.map(|id| Bdf::from_routing_id(at.segment(), id));
            let on_link =
                |place: &Bdf| self.ari || !self.link || place.bus() != at.bus() || place.device() == 0;
            place.filter(|place| place.bus() <= self.last_bus).filter(on_link)
        };
        let beyond = |index| NumVfsError::NoBus { index, last: self.last_bus };
        (0..count).map(|index| place(index).ok_or(beyond(index))).collect()
    }

    /// Whether the registers hold addresses for all BARs of the virtual functions.
    fn has_addresses(&self) -> bool {
        self.layout.bars.iter().all(|bar| {
            let register = self.layout.at + sr_iov::VF_BAR0 + 4 * u16::from(bar.index.get());
            let mut bytes = [0; 8];
            let length = if bar.kind.is_64bit() { 8 } else { 4 };
            self.node.function.config().read(register, &mut bytes[..length]);
            u64::from_le_bytes(bytes) & !(bar.size - 1) != 0
        })
    }

    /// Makes the virtual functions, each with a gate of its own.
    fn make(&self, places: &[Bdf]) -> Result<Vec<Arc<Node>>, NumVfsError> {
        let physical = self.at();
        let make = |(index, address): (u16, &Bdf)| {
            let gate = Gate::new(address.to_string());
            let made = self.node.function.device().virtual_function(index, &gate);
            let VirtualFunction { config, device } =
                made.filter(|made| made.config.is_virtual()).ok_or(NumVfsError::NotMade(index))?;
            let function = Function::new(address.to_string(), gate, config, device);
            let function = Arc::new(function.depending_on(&self.node.function));
            Ok(Arc::new(Node { address: *address, function, kind: NodeKind::Virtual { physical } }))
        };
        (0..).zip(places).map(make).collect()
    }

    fn put(&self, functions: Vec<Arc<Function>>) -> bool {
        self.segment.functions.set_virtual_functions(&self.node.function, functions)
    }

    /// Writes how many there are to be, and switches them on or off; the number is not to be changed while they are on.
    /// False if the registers could not be written.
    fn set_control(&self, quiesced: &Quiesced<'_>, control: Control, count: u16) -> bool {
        let number = (sr_iov::NUM_VFS, count);
        let control_word = (sr_iov::CONTROL, control.bits());
        let order = if control.is_empty() { [control_word, number] } else { [number, control_word] };
        order.into_iter().all(|(register, value)| {
            let function = &self.node.function;
            let value = u32::from(value);
            function.config_write_quiesced(quiesced, self.layout.at + register, Width::Word, value).is_ok()
        })
    }

    /// Whether a virtual function is there: its identifiers read all-ones, its COMMAND does not (PWR-09, CAP-04).
    fn answers(&self, token: &ThreadToken, at: Bdf) -> bool {
        let command = ConfigAddress::new(at, config::COMMAND);
        self.segment.bridge.read(token, command, Width::Word).is_ok_and(|read| read != Width::Word.all_ones())
    }
}

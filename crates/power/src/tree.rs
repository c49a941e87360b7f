//! A bridge and what is below it: the subtree loses power with the bridge, and gets it back, parents first.
//!
//! Everything here runs with the gates of the bridge and of everything below it closed, so nobody can touch a function
//! whose power comes or goes (PWR-07).

use crate::State;
use crate::change::{One, change};
use crate::error::PowerError;
use crate::hold::Hold;
use crate::platform::Platform;
use crate::ready::{self, Answer, LinkKind, NotReady, Probe, SecondaryBus, Watched};
use gate::Gone;
use pci_core::{Change, PowerStep, Progress, Width};
use pci_spec::capability::express::{self, LinkSpeed, PortType, port};
use pci_spec::{Bdf, capability};
use std::collections::BTreeSet;
use std::time::Duration;
use topology::{Node, NodeKind, Snapshot};

/// What operators read of a wait for a secondary bus.
const WHAT: &str = "resume";

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The state that the function is in now.
    pub state: State,
    /// Functions that did not answer after their bridge had power again, in ascending order. They count as disconnected
    /// (PWR-08): the caller retires their gates.
    pub disconnected: Vec<Bdf>,
}

/// Takes a function to a state, and with a bridge what is below it.
///
/// # Errors
/// [`PowerError`]; the states are then where [`Hold::state`] says.
pub fn change_subtree(
    hold: &mut dyn Hold,
    platform: Option<&dyn Platform>,
    snapshot: &Snapshot,
    node: &Node,
    to: State,
) -> Result<Outcome, PowerError> {
    let below = snapshot.below(node);
    let from = hold.state(node.address);
    if to == State::D3Cold && from != State::D3Cold {
        // What is deepest goes to sleep first.
        for node in below.iter().rev() {
            if hold.state(node.address) != State::D3Cold {
                hold.save(node.address);
            }
        }
    }
    let changed = change(hold, platform, node.address, to);
    let now = hold.state(node.address);
    if now == State::D3Cold && from != State::D3Cold {
        darken(hold, &below, changed.is_ok());
    }
    let state = changed?;
    let mut disconnected = BTreeSet::new();
    if from == State::D3Cold && now != State::D3Cold {
        light_up(hold, platform, snapshot, node, &mut disconnected);
    }
    Ok(Outcome { state, disconnected: disconnected.into_iter().collect() })
}

/// PWR-07: the power below is gone as well, or at least nothing gets there any more.
fn darken(hold: &mut dyn Hold, below: &[std::sync::Arc<Node>], without_power: bool) {
    for node in below {
        let old = hold.state(node.address);
        if old == State::D3Cold {
            continue;
        }
        if without_power {
            hold.lose_power(node.address);
        } else {
            hold.note(node.address, State::D3Cold);
        }
        hold.changed(node.address, Change { old, new: State::D3Cold });
    }
}

/// Gives everything below a bridge its power back that no platform keeps without, and restores it, parents first.
fn light_up(
    hold: &mut dyn Hold,
    platform: Option<&dyn Platform>,
    snapshot: &Snapshot,
    bridge: &Node,
    disconnected: &mut BTreeSet<Bdf>,
) {
    let below = snapshot.below(bridge);
    let mut dark = BTreeSet::new();
    for node in &below {
        let at = node.address;
        let kept_off = platform.is_some_and(|platform| platform.manages(at) && !platform.is_powered(at));
        if kept_off || snapshot.parent(at).is_some_and(|parent| dark.contains(&parent.address)) {
            dark.insert(at);
        } else {
            hold.regain_power(at);
        }
    }
    let bridges = below.iter().map(|node| &**node).filter(|node| is_bridge(node));
    for bridge in std::iter::once(bridge).chain(bridges) {
        if dark.contains(&bridge.address) || disconnected.contains(&bridge.address) {
            continue;
        }
        let children: Vec<Bdf> = children(snapshot, bridge).filter(|child| !dark.contains(child)).collect();
        match wait_below(hold, bridge.address, &children) {
            Ok(()) => resume(hold, &children),
            Err(_) => {
                hold.tell(bridge.address, PowerStep::Disconnected);
                disconnected.extend(snapshot.below(bridge).iter().map(|node| node.address));
            }
        }
    }
    for at in disconnected.iter() {
        hold.note(*at, State::Unknown);
    }
}

fn resume(hold: &mut dyn Hold, children: &[Bdf]) {
    for child in children {
        hold.restore(*child);
        let new = hold.state(*child);
        hold.changed(*child, Change { old: State::D3Cold, new });
    }
}

/// Waits for what is right below a bridge (PWR-08): its first function answers for all.
fn wait_below(hold: &mut dyn Hold, bridge: Bdf, children: &[Bdf]) -> Result<(), NotReady> {
    let Some(first) = children.first() else { return Ok(()) };
    let delay = children.iter().map(|child| hold.facts(*child));
    let delay = delay.filter(|facts| !facts.ready_after_power).map(|facts| facts.delays.d3cold).max();
    let Some(port) = Port::of(hold, bridge) else { return Ok(()) };
    let probe = Probe::of(hold.facts(*first).is_virtual, true);
    let link = port.link;
    let mut bus = Below { one: One { hold, at: *first, probe }, bridge, port };
    ready::wait_for_secondary_bus(&mut bus, link, delay.unwrap_or(Duration::ZERO), false, WHAT)
}

fn is_bridge(node: &Node) -> bool {
    matches!(node.kind, NodeKind::Bridge { .. })
}

fn children<'a>(snapshot: &'a Snapshot, bridge: &Node) -> impl Iterator<Item = Bdf> + 'a {
    let secondary = match bridge.kind {
        NodeKind::Bridge { secondary, .. } => Some(secondary).filter(|bus| *bus != 0),
        NodeKind::Endpoint | NodeKind::Virtual { .. } => None,
    };
    let segment = bridge.address.segment();
    secondary.into_iter().flat_map(move |bus| snapshot.bus(segment, bus)).map(|node| node.address)
}

/// The downstream side of a bridge.
#[derive(Clone, Copy)]
struct Port {
    link: LinkKind,
    /// Offset of Link Status.
    link_status: Option<u16>,
}

impl Port {
    /// `None` inside a switch, where there is no link to wait for.
    fn of(hold: &mut dyn Hold, bridge: Bdf) -> Option<Port> {
        let mut read = |register, width| hold.read(bridge, register, width).unwrap_or(u32::MAX);
        let found = capability::id::PCI_EXPRESS;
        let Some(at) = pci_core::config::find_capability(found, |register| read(register, Width::Dword))
        else {
            return Some(Port { link: LinkKind::Conventional, link_status: None });
        };
        let [low, high, ..] = read(at + express::CAPABILITIES, Width::Word).to_le_bytes();
        if !PortType::decode(u16::from_le_bytes([low, high])).is_some_and(PortType::is_downstream) {
            return None;
        }
        let capabilities = read(at + express::LINK_CAPABILITIES, Width::Dword);
        let link = if capabilities & express::LINK_SPEED_MASK > LinkSpeed::Gen2 as u32 {
            LinkKind::Fast
        } else {
            LinkKind::Slow { reports_active: capabilities & port::LINK_ACTIVE_REPORTING != 0 }
        };
        Some(Port { link, link_status: Some(at + express::LINK_STATUS) })
    }
}

/// The first function below a bridge, and the link to it.
struct Below<'a> {
    one: One<'a>,
    bridge: Bdf,
    port: Port,
}

impl Watched for Below<'_> {
    fn look(&mut self) -> Result<Answer, Gone> {
        self.one.look()
    }

    /// The removal of the first function does not end the wait of the others; that of the bridge does.
    fn pass(&mut self, duration: Duration) -> Result<(), Gone> {
        self.one.hold.pass(self.bridge, duration)
    }

    fn tell(&mut self, progress: Progress) {
        self.one.tell(progress);
    }
}

impl SecondaryBus for Below<'_> {
    fn link_active(&mut self) -> Result<bool, Gone> {
        let Some(register) = self.port.link_status else { return Ok(true) };
        let status = self.one.hold.read(self.bridge, register, Width::Word);
        Ok(status.is_ok_and(|status| {
            status != Width::Word.all_ones() && status & u32::from(port::LINK_ACTIVE) != 0
        }))
    }
}

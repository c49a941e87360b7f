//! What is plugged: segments with bridges, endpoints and virtual functions, from one PE to ten thousand.
//!
//! It is what a topology would show. Addresses on a bus are dealt out by kind, so that nothing comes to a place of another kind:
//! endpoints at devices 1 to 4, bridges at 8 to 15, virtual functions from 16 on.

use super::device::Model;
use crate::random::Random;
use contain::plan::{Handlers, Policy, Role};
use gate::Gate;
use pci_core::{BarIndex, BarKind, ConfigSpace, Function, Identity};
use pci_spec::{Bdf, ClassCode};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use topology::{Node, NodeKind, Snapshot};

/// Size of the BAR that each endpoint has.
const BAR: u64 = 0x1000;

const ENDPOINTS: Range<u16> = 0x08..0x28;
const BRIDGES: Range<u16> = 0x40..0x80;
const VIRTUAL: Range<u16> = 0x80..0x100;

/// A function that is plugged.
#[derive(Clone)]
pub(crate) struct Card {
    pub(crate) node: Arc<Node>,
    pub(crate) model: Arc<Model>,
    pub(crate) role: Role,
    /// It was followed once, so its errors are heard.
    pub(crate) watched: bool,
    nth: usize,
}

/// See the module's head.
#[derive(Default)]
pub(crate) struct Forest {
    cards: BTreeMap<Bdf, Card>,
    /// The same, to draw from.
    list: Vec<Bdf>,
    /// The highest bus of each segment that was used.
    buses: Vec<u8>,
    pub(crate) topology: Snapshot,
    next_bar: u64,
}

impl Forest {
    /// A forest of about as many PEs.
    pub(crate) fn grow(random: &mut Random, pes: usize, segments: u16) -> Forest {
        let mut forest = Forest { buses: vec![0], next_bar: 0x1000_0000, ..Forest::default() };
        let mut count = 1;
        // Each round adds a PE, or finds no room, which is so at the end of a crowded one only.
        for _ in 0..pes.saturating_mul(4) {
            if count >= pes {
                break;
            }
            if forest.buses.len() < usize::from(segments) && random.chance(1, 20) {
                forest.buses.push(0);
            }
            count += usize::from(forest.plug(random, pes > 400).is_some());
        }
        forest
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn card(&self, at: Bdf) -> Option<&Card> {
        self.cards.get(&at)
    }

    pub(crate) fn card_mut(&mut self, at: Bdf) -> Option<&mut Card> {
        self.cards.get_mut(&at)
    }

    pub(crate) fn cards(&self) -> impl Iterator<Item = &Card> {
        self.cards.values()
    }

    /// All of them were followed.
    pub(crate) fn all_watched(&mut self) {
        self.cards.values_mut().for_each(|card| card.watched = true);
    }

    pub(crate) fn any(&self, random: &mut Random) -> Option<Card> {
        random.pick(&self.list).and_then(|at| self.card(*at)).cloned()
    }

    /// Something new, where there is room for it.
    pub(crate) fn plug(&mut self, random: &mut Random, large: bool) -> Option<Bdf> {
        let kinds = if large { [1, 1, 10] } else { [2, 3, 2] };
        match random.weighted(&[(0, kinds[0]), (1, kinds[1]), (2, kinds[2])]) {
            Some(0) => self.plug_bridge(random),
            Some(1) => self.plug_endpoint(random),
            _ => self.plug_virtual(random).or_else(|| self.plug_endpoint(random)),
        }
    }

    /// A bus that there is: a root bus, or one below a bridge.
    fn bus(&self, random: &mut Random) -> (u16, u8) {
        let bridge = random.pick(&self.list).and_then(|at| self.card(*at));
        if let Some(card) = bridge.filter(|_| !random.chance(1, 6)) {
            let at = card.node.address;
            return match card.node.kind {
                NodeKind::Bridge { secondary, .. } => (at.segment(), secondary),
                _ => (at.segment(), at.bus()),
            };
        }
        (u16::try_from(random.below(self.buses.len())).unwrap_or(0), 0)
    }

    fn free(&self, random: &mut Random, (segment, bus): (u16, u8), of: Range<u16>) -> Option<Bdf> {
        let begin = u16::try_from(random.below(of.len())).ok()?;
        let first = u16::from(bus) << 8;
        let places = (begin..of.end - of.start).chain(0..begin);
        let mut places = places.map(|nth| Bdf::from_routing_id(segment, first | (of.start + nth)));
        places.find(|at| !self.cards.contains_key(at))
    }

    fn plug_bridge(&mut self, random: &mut Random) -> Option<Bdf> {
        let (segment, bus) = self.bus(random);
        let last = self.buses.get_mut(usize::from(segment))?;
        let secondary = last.checked_add(1)?;
        *last = secondary;
        let at = self.free(random, (segment, bus), BRIDGES)?;
        self.put(random, at, bridge(secondary));
        // A bus without a function is no PE.
        let below = self.free(random, (segment, secondary), ENDPOINTS)?;
        self.put(random, below, NodeKind::Endpoint);
        Some(at)
    }

    fn plug_endpoint(&mut self, random: &mut Random) -> Option<Bdf> {
        let bus = self.bus(random);
        let at = self.free(random, bus, ENDPOINTS)?;
        self.put(random, at, NodeKind::Endpoint);
        Some(at)
    }

    fn plug_virtual(&mut self, random: &mut Random) -> Option<Bdf> {
        let physical = self.any(random)?.node;
        if physical.kind != NodeKind::Endpoint {
            return None;
        }
        let of = physical.address;
        let at = self.free(random, (of.segment(), of.bus()), VIRTUAL)?;
        self.put(random, at, NodeKind::Virtual { physical: of });
        Some(at)
    }

    /// A new function at a free place.
    pub(crate) fn put(&mut self, random: &mut Random, at: Bdf, kind: NodeKind) {
        let model = Arc::new(Model::default());
        let function = new_function(at, &model, self.next_bar);
        self.next_bar += BAR;
        let node = Arc::new(Node { address: at, function, kind });
        self.topology = self.topology.with([node.clone()]);
        let role = role(random, kind);
        self.cards.insert(at, Card { node, model, role, watched: false, nth: self.list.len() });
        self.list.push(at);
    }

    /// Takes a function out, and nothing else.
    pub(crate) fn take(&mut self, at: Bdf) -> Option<Card> {
        let card = self.cards.remove(&at)?;
        self.list.swap_remove(card.nth);
        if let Some(moved) = self.list.get(card.nth).copied()
            && let Some(moved) = self.cards.get_mut(&moved)
        {
            moved.nth = card.nth;
        }
        self.topology = self.topology.without([at]);
        Some(card)
    }

    /// A function and everything below it, it last.
    pub(crate) fn below(&self, at: Bdf) -> Vec<Bdf> {
        let mut found = vec![at];
        let mut looked = 0;
        // Each round looks at another one.
        while let Some(card) = found.get(looked).and_then(|at| self.card(*at)) {
            looked += 1;
            let (segment, bus) = match card.node.kind {
                NodeKind::Bridge { secondary, .. } => (card.node.address.segment(), secondary),
                NodeKind::Endpoint => {
                    let of = NodeKind::Virtual { physical: card.node.address };
                    let on = self.topology.bus(card.node.address.segment(), card.node.address.bus());
                    found.extend(on.filter(|node| node.kind == of).map(|node| node.address));
                    continue;
                }
                NodeKind::Virtual { .. } => continue,
            };
            let on = self.topology.bus(segment, bus);
            let own = on.filter(|node| !matches!(node.kind, NodeKind::Virtual { .. }));
            found.extend(own.map(|node| node.address));
        }
        found.reverse();
        found
    }

    /// Where a bridge could be instead, with the same bus below it.
    pub(crate) fn elsewhere(&self, random: &mut Random, node: &Node) -> Option<Bdf> {
        let NodeKind::Bridge { secondary, .. } = node.kind else { return None };
        let (segment, bus) = self.bus(random);
        // A bus below itself has a higher number, and is no place.
        if segment != node.address.segment() || bus >= secondary || bus == node.address.bus() {
            return None;
        }
        self.free(random, (segment, bus), BRIDGES)
    }

    pub(crate) fn segments(&self) -> u16 {
        u16::try_from(self.buses.len()).unwrap_or(u16::MAX)
    }
}

pub(crate) fn bridge(secondary: u8) -> NodeKind {
    NodeKind::Bridge { secondary, subordinate: secondary, slot: true }
}

fn new_function(at: Bdf, model: &Arc<Model>, bar: u64) -> Arc<Function> {
    let name = at.to_string();
    let identity = Identity::new(0x1b36, 0x0010, ClassCode::NVME);
    let config = ConfigSpace::builder(identity);
    let config = match BarIndex::new(0) {
        Some(index) => config.bar(index, BarKind::Memory64, BAR),
        None => config,
    };
    // A header with one BAR is one that can be.
    #[allow(clippy::expect_used)]
    let config = config.build().expect("a configuration space with one BAR");
    config.enable_at_open();
    let _effects = config.write(0x10, &bar.to_le_bytes());
    Arc::new(Function::new(name.clone(), Gate::new(name), Arc::new(config), model.clone()))
}

pub(crate) fn role(random: &mut Random, kind: NodeKind) -> Role {
    if matches!(kind, NodeKind::Bridge { .. }) {
        return if random.coin() { Role::Unbound } else { Role::Aware(Handlers::all()) };
    }
    match random.below(10) {
        0 => Role::Unbound,
        1 => Role::Unaware,
        2 => Role::Aware(Handlers::ERROR_DETECTED),
        3 => Role::Aware(Handlers::all().difference(Handlers::SLOT_RESET)),
        4..=5 => Role::Aware(Handlers::all()),
        6 => Role::Consumer(Policy::Notify),
        7 => Role::Consumer(Policy::ContainUntilTold),
        _ => Role::Consumer(Policy::SaveAndRestore),
    }
}

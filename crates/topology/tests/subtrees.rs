//! Random cards: a scan of the slot finds what a scan of the whole segment finds, at the same places.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use pci_core::{BarKind, Slot};
use pci_spec::capability::express::PortType;
use proptest::prelude::*;
use std::sync::Arc;
use support::*;
use topology::enumerate::{Reserve, Windows};
use topology::fabric::{Fabric, Place, PlugId, Port};
use topology::{NodeKind, Segment, Topology};

#[derive(Clone, Debug)]
enum Card {
    Plain { others: u8, bars: Vec<(u8, u8)> },
    Ari { functions: u8 },
    Switch(Vec<Card>),
}

fn card() -> impl Strategy<Value = Card> {
    let bars = proptest::collection::vec((1u8..3, 0u8..6), 0..3);
    let plain = (any::<u8>(), bars).prop_map(|(others, bars)| Card::Plain { others: others & 0x2a, bars });
    let leaf = prop_oneof![4 => plain, 1 => (1u8..20).prop_map(|functions| Card::Ari { functions })];
    leaf.prop_recursive(3, 12, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Card::Switch))
}

fn plug(fabric: &Fabric, bridge: PlugId, card: &Card) {
    let below = |devfn, function| fabric.plug(Place::Below(bridge, devfn), function).unwrap();
    match card {
        Card::Plain { others, bars } => {
            for number in (0..8u8).filter(|number| *number == 0 || others >> number & 1 != 0) {
                let mut config = endpoint();
                for (index, (kind, shift)) in (0..).step_by(2).zip(bars) {
                    let kind = if *kind == 1 { BarKind::Memory32 } else { BarKind::Memory64 };
                    config = config.bar(bar(index), kind, 4096 << shift);
                }
                config = if *others == 0 { config } else { config.multi_function() };
                below(number, function("endpoint", &config));
            }
        }
        Card::Ari { functions } => {
            for number in 0..*functions {
                let next = if number + 1 < *functions { (number + 1) * 3 } else { 0 };
                below(number * 3, function("ari", &endpoint().extended_capability(ari(next))));
            }
        }
        Card::Switch(cards) => {
            let upstream = below(0, port("upstream", PortType::UpstreamPort));
            for (card, device) in cards.iter().zip(0u8..) {
                let downstream = port("downstream", PortType::DownstreamPort);
                let id = fabric.plug(Place::Below(upstream, device << 3), downstream).unwrap();
                plug(fabric, id, card);
            }
        }
    }
}

/// A machine with three slots, the middle one empty when it is scanned first; then `scan` has to find what is in it.
fn places(
    first: &Card,
    middle: &Card,
    scan: impl Fn(&Topology, &mut gate::ThreadToken) -> topology::Scanned,
    token: &mut gate::ThreadToken,
) -> (Vec<(String, NodeKind, Vec<u64>)>, usize) {
    let fabric = Arc::new(Fabric::new(0));
    let slot = Slot { number: 1, hot_plug: true, surprise: true, present: true };
    let ports = [0u8, 8, 16].map(|devfn| {
        let port =
            Port::function("p", Port::identity(0x1b36, 0x000c), PortType::RootPort, Some(slot)).unwrap();
        fabric.plug(Place::Root(devfn), Arc::new(port)).unwrap()
    });
    let bridge = Arc::new(fabric.host_bridge("test"));
    let reserve = Reserve { buses: 32, memory: 64 << 20, memory64: 64 << 20, ..Reserve::default() };
    let segment = Segment::new(bridge, fabric.clone(), Windows::default()).reserving(reserve);
    let topology = Topology::new(Arc::new(pci_core::VirtualTime::default()));
    topology.add_segment(token, segment, soon()).unwrap();
    plug(&fabric, ports[0], first);
    assert_eq!(topology.rescan(token, 0, soon()).unwrap().problems, []);
    plug(&fabric, ports[1], middle);
    let scanned = scan(&topology, token);
    assert_eq!(scanned.problems, []);
    assert!(scanned.removed.nodes.is_empty());
    let shown = topology.snapshot(token);
    let of = |node: &Arc<topology::Node>| {
        let config = node.function.config();
        let bars = config.bars().iter().filter_map(|layout| config.bar_address(layout.index)).collect();
        (node.address.to_string(), node.kind, bars)
    };
    (shown.iter().map(of).collect(), scanned.added.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn a_scan_of_a_slot_finds_what_a_whole_scan_finds_at_the_same_places(first in card(), middle in card()) {
        let token = &mut gate::ThreadToken::at_thread_entry();
        let below = places(&first, &middle, |topology, token| {
            topology.rescan_below(token, at("00:01.0"), soon()).unwrap()
        }, token);
        let whole = places(&first, &middle, |topology, token| topology.rescan(token, 0, soon()).unwrap(), token);
        prop_assert_eq!(&below, &whole);
        prop_assert!(below.0.iter().all(|(_, _, bars)| !bars.contains(&0)));
        prop_assert!(below.1 > 0);
    }
}

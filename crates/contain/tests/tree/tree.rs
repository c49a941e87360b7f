//! Functions, addresses, refusals.

use crate::support::*;
use contain::address_cache::{BarRange, Overlap, Space};
use contain::pe::{Holder, PeAddress, PeKind};
use contain::tree::{NewPe, TreeError};
use pci_spec::Bdf;

fn memory(first: u64, last: u64) -> BarRange {
    BarRange { space: Space::Memory, first, last }
}

#[test]
fn the_functions_of_a_pe_come_and_go_without_a_half_done_look_noticing() {
    let (tree, _, mut token) = small();
    for routing_id in [0x400, 0x401, 0x402] {
        assert!(
            tree.add_function(&mut token, pe(4), function(routing_id, Vec::new()), soon())
                .unwrap()
                .is_empty()
        );
    }
    let snapshot = tree.snapshot(&token);
    let mut half = snapshot.functions(pe(4));
    assert_eq!(half.next().unwrap().address.routing_id(), 0x402);
    tree.remove_function(&mut token, Bdf::from_routing_id(0, 0x401), soon()).unwrap();
    let rest: Vec<_> = half.map(|function| function.address.routing_id()).collect();
    assert_eq!(rest, [0x401, 0x400]);
    let now = tree.snapshot(&token);
    let now: Vec<_> = now.functions(pe(4)).map(|function| function.address.routing_id()).collect();
    assert_eq!(now, [0x402, 0x400]);
    let removed = tree.remove(&mut token, pe(2), soon()).unwrap();
    assert_eq!((removed.functions.len(), removed.unlinked), (2, 2));
    assert!(tree.of_function(&token, Bdf::from_routing_id(0, 0x400), Holder::Lookup).is_none());
}

#[test]
fn a_bar_is_found_by_any_of_its_addresses_and_by_no_other_eeh_23() {
    let (tree, _, mut token) = small();
    let io = BarRange { space: Space::Io, first: 0x1000, last: 0x10ff };
    tree.add_function(&mut token, pe(4), function(0x400, vec![memory(0x1000, 0x1fff), io]), soon()).unwrap();
    tree.add_function(&mut token, pe(3), function(0x300, vec![memory(0x3000, u64::MAX)]), soon()).unwrap();
    let of = |space, address| {
        let found = tree.of_bar_address(&token, space, address, Holder::Event);
        found.map(|(pe, function)| (pe.address(), function.address.routing_id()))
    };
    assert_eq!(of(Space::Memory, 0xfff), None);
    assert_eq!(of(Space::Memory, 0x1000), Some((pe(4), 0x400)));
    assert_eq!(of(Space::Memory, 0x1fff), Some((pe(4), 0x400)));
    assert_eq!(of(Space::Memory, 0x2000), None);
    assert_eq!(of(Space::Memory, u64::MAX), Some((pe(3), 0x300)));
    assert_eq!(of(Space::Io, 0x10ff), Some((pe(4), 0x400)));
    assert_eq!(of(Space::Io, 0x1100), None);
    tree.remove_function(&mut token, Bdf::from_routing_id(0, 0x400), soon()).unwrap();
    assert!(tree.of_bar_address(&token, Space::Memory, 0x1000, Holder::Event).is_none());
    assert_eq!(tree.snapshot(&token).address_cache().len(), 1);
}

#[test]
fn a_range_that_another_function_has_is_left_out_and_named_eeh_23() {
    let (tree, _, mut token) = small();
    tree.add_function(&mut token, pe(4), function(0x400, vec![memory(0x1000, 0x1fff)]), soon()).unwrap();
    let two = vec![memory(0x1fff, 0x2fff), memory(0x1000, 0x1000), memory(0x5000, 0x5fff)];
    let overlaps = tree.add_function(&mut token, pe(3), function(0x300, two.clone()), soon()).unwrap();
    let with = Bdf::from_routing_id(0, 0x400);
    assert_eq!(overlaps, two[..2].iter().map(|&range| Overlap { range, with }).collect::<Vec<_>>());
    tree.remove_function(&mut token, Bdf::from_routing_id(0, 0x300), soon()).unwrap();
    assert_eq!(tree.snapshot(&token).address_cache(), [(memory(0x1000, 0x1fff), with)]);
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let (tree, _, mut token) = small();
    let before = walked(&tree, &token, phb());
    let refused = tree.insert(&mut token, [bus(7, pe(1)), bus(8, pe(9))], soon());
    assert!(matches!(refused, Err(TreeError::NoPe(at)) if at == pe(9)));
    let refused = tree.insert(&mut token, [bus(4, pe(1))], soon());
    assert!(matches!(refused, Err(TreeError::PeExists(_))));
    let other = NewPe { address: PeAddress::phb(1), kind: PeKind::Bus, parent: Some(pe(1)) };
    assert!(matches!(tree.insert(&mut token, [other], soon()), Err(TreeError::Misplaced(_))));
    assert!(matches!(tree.move_below(&mut token, pe(1), pe(4), soon()), Err(TreeError::Loop(_))));
    assert!(matches!(tree.move_below(&mut token, pe(1), pe(1), soon()), Err(TreeError::Loop(_))));
    assert!(matches!(tree.remove(&mut token, pe(9), soon()), Err(TreeError::NoPe(_))));
    assert_eq!(walked(&tree, &token, phb()), before);
}

#[test]
fn a_walk_of_a_subtree_stays_within_it() {
    let (tree, _, token) = small();
    assert_eq!(walked(&tree, &token, phb()), [phb(), pe(1), pe(2), pe(4), pe(3)]);
    assert_eq!(walked(&tree, &token, pe(2)), [pe(2), pe(4)]);
    assert_eq!(walked(&tree, &token, pe(4)), [pe(4)]);
    assert!(walked(&tree, &token, pe(9)).is_empty());
    let snapshot = tree.snapshot(&token);
    let depths: Vec<_> = snapshot.walk(phb()).map(|visit| visit.depth).collect();
    assert_eq!(depths, [0, 1, 2, 3, 2]);
}

#[test]
fn siblings_stay_however_the_others_go() {
    let numbers = [5, 6, 7];
    for (first, second) in [(5, 6), (5, 7), (6, 5), (6, 7), (7, 5), (7, 6)] {
        let (tree, _, mut token) = small();
        tree.insert(&mut token, numbers.map(|number| bus(number, pe(4))), soon()).unwrap();
        for number in numbers {
            tree.add_function(&mut token, pe(3), function(number, Vec::new()), soon()).unwrap();
        }
        for gone in [first, second] {
            tree.remove(&mut token, pe(gone), soon()).unwrap();
            tree.remove_function(&mut token, Bdf::from_routing_id(0, gone), soon()).unwrap();
        }
        let left = numbers.into_iter().find(|number| *number != first && *number != second).unwrap();
        assert_eq!(walked(&tree, &token, pe(4)), [pe(4), pe(left)]);
        let snapshot = tree.snapshot(&token);
        let functions: Vec<_> =
            snapshot.functions(pe(3)).map(|function| function.address.routing_id()).collect();
        assert_eq!(functions, [left]);
    }
}

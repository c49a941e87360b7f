//! Virtual functions come and go (HP-18).

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use gate::{AccessKind, Deadline, Reason, Refusal, ThreadToken};
use pci_core::ExtendedCapability::Ltr;
use pci_core::{BarKind, Errno, Pm, ResetKind, SrIov, Time, Width};
use pci_core::{ConfigAddress, mechanism::HostBridge};
use pci_spec::capability::express::PortType;
use pci_spec::capability::pm;
use pci_spec::{Bdf, bridge, config, delay, extended};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use support::*;
use topology::fabric::PlugId;
use topology::{NodeKind, NumVfsError, VirtualFunctions};

const PF: &str = "01:00.0";

/// A root port with a card that can have 200 VFs, on more than one bus.
struct Card {
    machine: Machine,
    pf: Bdf,
    /// The root port, to pull it out.
    slot: PlugId,
    bridge: HostBridge,
}

impl Card {
    fn new() -> Card {
        Card::with(SrIov::new(200, 0x1234).bar(bar(0), BarKind::Memory64, 4096), Plain::default())
    }

    fn with(mut capability: SrIov, device: Plain) -> Card {
        (capability.first_offset, capability.stride) = (0x80, 1);
        let mut machine = Machine::new();
        let slot = machine.root(0, &port("root port", PortType::RootPort));
        let config = endpoint().capability(Pm::default());
        let config = config.extended_capability(ari(0)).extended_capability(sr_iov(capability));
        machine.below(slot, 0, &function_with("pf", &config, device));
        assert_eq!(machine.rescan().problems, []);
        let bridge = machine.fabric.host_bridge("test");
        Card { machine, pf: at(PF), slot, bridge }
    }

    fn set(&mut self, count: u16) -> Result<VirtualFunctions, NumVfsError> {
        self.machine.topology.set_num_vfs(&mut self.machine.token, self.pf, count, soon())
    }

    fn errno(&mut self, count: u16) -> Option<Errno> {
        self.set(count).err().map(|error| error.errno())
    }

    fn shown(&self) -> usize {
        self.machine.topology.snapshot(&self.machine.token).virtual_functions(self.pf).len()
    }

    fn sr_iov(&self) -> u16 {
        self.machine.node(self.pf).unwrap().function.config().sr_iov_layout().unwrap().at
    }

    fn read(&self, at: Bdf, register: u16, width: Width) -> u32 {
        self.bridge.read(&self.machine.token, ConfigAddress::new(at, register), width).unwrap()
    }
}

#[test]
fn the_number_changes_only_between_none_and_some() {
    // HP-18
    let mut card = Card::new();
    assert_eq!(card.errno(201), Some(Errno::ERANGE));
    assert_eq!(card.set(0).unwrap().removed.nodes.len(), 0);
    assert_eq!(card.set(3).unwrap().added.len(), 3);
    assert_eq!(card.errno(4), Some(Errno::EBUSY));
    assert_eq!(card.errno(201), Some(Errno::ERANGE));
    assert_eq!(card.shown(), 3, "a refusal changes nothing");
    let same = card.set(3).unwrap();
    assert_eq!((same.added.len(), same.removed.nodes.len()), (0, 0));
    assert_eq!(card.set(0).unwrap().removed.nodes.len(), 3);
    assert_eq!(card.set(200).unwrap().added.len(), 200);
    assert_eq!(card.shown(), 200);
}

#[test]
fn a_function_without_sr_iov_and_one_that_is_not_there_have_an_errno_each() {
    // HP-18
    let mut card = Card::new();
    card.pf = at("00:00.0");
    assert_eq!(card.errno(1), Some(Errno::ENOENT));
    card.pf = at("01:00.1");
    assert_eq!(card.errno(1), Some(Errno::ENODEV));
    card.pf = at("0007:00:00.0");
    assert_eq!(card.errno(1), Some(Errno::ENODEV));
}

#[test]
fn virtual_functions_stand_at_their_distance_also_on_the_next_bus() {
    let mut card = Card::new();
    let added = card.set(200).unwrap().added;
    let places: Vec<_> = added.iter().map(|node| node.address.routing_id()).collect();
    assert_eq!(places, (0x180..0x180 + 200).collect::<Vec<_>>());
    let snapshot = card.machine.topology.snapshot(&card.machine.token);
    let last = snapshot.function(at("02:08.7")).unwrap();
    assert_eq!(last.kind, NodeKind::Virtual { physical: card.pf });
    assert_eq!(snapshot.parent(last.address).unwrap().address, at("00:00.0"));
    assert_eq!(snapshot.below(snapshot.function(at("00:00.0")).unwrap()).len(), 201);
}

#[test]
fn hardware_answers_the_identifiers_of_a_virtual_function_with_all_ones_and_its_consumer_sees_them() {
    // CAP-04
    let mut card = Card::new();
    let vf = card.set(1).unwrap().added.remove(0);
    assert_eq!(card.read(vf.address, 0, Width::Dword), 0xffff_ffff);
    assert_ne!(card.read(vf.address, 4, Width::Word), 0xffff, "COMMAND is there");
    assert_eq!(card.read(vf.address, 0x10, Width::Dword), 0, "the BARs are the physical function's");
    let mut ids = [0; 4];
    vf.function.read_config(&mut card.machine.token, 0, &mut ids, soon()).unwrap();
    assert_eq!(ids, [0x36, 0x1b, 0xff, 0x00]);
}

#[test]
fn virtual_functions_are_gone_from_hardware_and_picture_when_they_are_switched_off() {
    let mut card = Card::new();
    let vf = card.set(2).unwrap().added.remove(1);
    card.set(0).unwrap();
    assert_eq!(card.shown(), 0);
    assert_eq!(card.read(vf.address, 4, Width::Word), 0xffff);
    let refused = vf.function.handle().try_enter(&card.machine.token, AccessKind::Config);
    assert_eq!(refused.err(), Some(Refusal::Gone), "who still has it is told");
}

#[test]
fn the_delays_of_the_hardware_pass_before_anybody_sees_the_change() {
    let mut card = Card::new();
    card.set(1).unwrap();
    assert_eq!(card.machine.time.now(), delay::VF_ENABLE);
    card.set(0).unwrap();
    assert_eq!(card.machine.time.now(), delay::VF_ENABLE + delay::VF_DISABLE);
}

/// Lets a thread look at the physical function's gate in the middle of the delay.
#[derive(Debug)]
struct Looking {
    gate: gate::Gate,
    blocked: AtomicBool,
}

impl Time for Looking {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        _closed: &dyn pci_core::StaysClosed,
        _duration: Duration,
    ) -> Result<(), gate::Gone> {
        let entered = self.gate.handle().try_enter(token, AccessKind::Config).err();
        self.blocked.store(entered == Some(Refusal::Blocked(Reason::OpsSwap)), Ordering::Release);
        Ok(())
    }
}

#[test]
fn accesses_to_the_physical_function_wait_over_the_whole_change() {
    let mut token = ThreadToken::at_thread_entry();
    let fabric = Arc::new(topology::fabric::Fabric::new(0));
    let config = endpoint().extended_capability(sr_iov(SrIov::new(4, 1)));
    let pf = function("pf", &config);
    fabric.plug(topology::fabric::Place::Root(0), pf.clone()).unwrap();
    let time = Arc::new(Looking { gate: pf.gate().clone(), blocked: AtomicBool::new(false) });
    let topology = topology::Topology::new(time.clone());
    topology.add_segment(&mut token, topology::Segment::emulated(&fabric), soon()).unwrap();
    topology.rescan(&mut token, 0, soon()).unwrap();
    topology.set_num_vfs(&mut token, at("00:00.0"), 4, soon()).unwrap();
    assert!(time.blocked.swap(false, Ordering::AcqRel), "while they are switched on");
    topology.set_num_vfs(&mut token, at("00:00.0"), 0, soon()).unwrap();
    assert!(time.blocked.load(Ordering::Acquire), "while they are switched off");
    assert!(pf.handle().try_enter(&token, AccessKind::Config).is_ok());
}

#[test]
fn a_virtual_function_that_cannot_be_made_leaves_none() {
    let capability = SrIov::new(8, 0x1234);
    let mut card = Card::with(capability, Plain { fails_from: Some(5) });
    assert_eq!(card.errno(6), Some(Errno::EIO));
    assert_eq!(card.shown(), 0);
    assert_eq!(card.read(at("01:10.0"), 4, Width::Word), 0xffff);
    let pf = card.machine.node(card.pf).unwrap();
    assert_eq!(pf.function.config().sr_iov(), Some(Default::default()), "as it was");
    assert_eq!(card.set(5).unwrap().added.len(), 5, "and it can be asked again");
}

/// Removes the physical function in the middle of the first delay.
#[derive(Default)]
struct Removing(OnceLock<Weak<topology::Topology>>);

impl std::fmt::Debug for Removing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Removing")
    }
}

impl Time for Removing {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        _closed: &dyn pci_core::StaysClosed,
        _duration: Duration,
    ) -> Result<(), gate::Gone> {
        let topology = self.0.get().and_then(Weak::upgrade).unwrap();
        topology.remove(token, at("00:00.0"), soon()).unwrap();
        Ok(())
    }
}

#[test]
fn a_physical_function_that_is_removed_meanwhile_gets_no_virtual_ones() {
    let mut token = ThreadToken::at_thread_entry();
    let fabric = Arc::new(topology::fabric::Fabric::new(0));
    let pf = function("pf", &endpoint().extended_capability(sr_iov(SrIov::new(4, 1))));
    fabric.plug(topology::fabric::Place::Root(0), pf.clone()).unwrap();
    let time = Arc::new(Removing::default());
    let topology = Arc::new(topology::Topology::new(time.clone()));
    time.0.set(Arc::downgrade(&topology)).unwrap();
    topology.add_segment(&mut token, topology::Segment::emulated(&fabric), soon()).unwrap();
    topology.rescan(&mut token, 0, soon()).unwrap();
    let refused = topology.set_num_vfs(&mut token, at("00:00.0"), 4, soon()).unwrap_err();
    assert_eq!(refused.errno(), Errno::ENODEV);
    assert!(topology.snapshot(&token).is_empty());
    assert_eq!(pf.config().sr_iov(), Some(Default::default()), "switched off again");
    assert!(fabric.function(at("00:00.1")).is_none());
    assert!(pf.handle().try_enter(&token, AccessKind::Config).is_ok(), "and not left blocked");
}

#[test]
fn the_removal_of_the_physical_function_removes_its_virtual_ones() {
    // HP-18
    for by_scan in [false, true] {
        let mut card = Card::new();
        let vf = card.set(2).unwrap().added.remove(0);
        let long = vf
            .function
            .handle()
            .enter_long(&mut card.machine.token, AccessKind::Dma, "read", soon())
            .unwrap();
        let soon = Deadline::after(Duration::from_millis(1));
        let removed = if by_scan {
            card.machine.fabric.unplug(card.slot);
            card.machine.topology.rescan(&mut card.machine.token, 0, soon).unwrap().removed
        } else {
            card.machine.topology.remove(&mut card.machine.token, card.pf, soon).unwrap()
        };
        assert_eq!(removed.nodes.iter().filter(|node| node.address != at("00:00.0")).count(), 3);
        assert_eq!(removed.orphans.len(), 1, "the access that did not end is named");
        assert_eq!(removed.orphans[0].0, vf.address.to_string());
        let refused = vf.function.handle().try_enter(&card.machine.token, AccessKind::Config);
        assert_eq!(refused.err(), Some(Refusal::Gone));
        drop(long);
    }
}

#[test]
fn a_scan_leaves_virtual_functions_where_they_are() {
    let mut card = Card::new();
    let vf = card.set(3).unwrap().added.remove(2);
    let scanned = card.machine.rescan();
    assert_eq!((scanned.added.len(), scanned.removed.nodes.len(), scanned.problems.len()), (0, 0, 0));
    assert!(Arc::ptr_eq(&card.machine.node(vf.address).unwrap(), &vf));
}

#[test]
fn after_a_reset_of_the_physical_function_what_was_shown_can_be_switched_off_or_on_again() {
    // A function level reset takes the VFs away (PCIe 6.0 s9.3.3.3.1 VF Enable), and nobody has restored them.
    for again in [0, 2] {
        let mut card = Card::with(SrIov::new(8, 0x1234), Plain::default());
        let vf = card.set(2).unwrap().added.remove(0);
        let pf = card.machine.node(card.pf).unwrap();
        let quiesced = pf.function.gate().close(&mut card.machine.token, Reason::Reset, soon()).unwrap();
        pf.function.reset_quiesced(&quiesced, ResetKind::FunctionLevel);
        drop(quiesced);
        assert_eq!(card.read(vf.address, 4, Width::Word), 0xffff);
        card.set(again).unwrap();
        assert_eq!(card.shown(), usize::from(again));
        let refused = vf.function.handle().try_enter(&card.machine.token, AccessKind::Config);
        assert_eq!(refused.err(), Some(Refusal::Gone), "the old one");
        assert_eq!(card.read(vf.address, 4, Width::Word) == 0xffff, again == 0);
    }
}

#[test]
fn virtual_functions_that_no_bus_leads_to_are_refused() {
    let mut machine = Machine::new();
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    // Without ARI only functions 0 to 7 are on the link.
    let mut capability = SrIov::new(16, 1);
    capability.first_offset = 4;
    machine.below(slot, 0, &function("pf", &endpoint().extended_capability(sr_iov(capability))));
    machine.rescan();
    let set = |machine: &mut Machine, count| {
        machine.topology.set_num_vfs(&mut machine.token, at(PF), count, soon())
    };
    assert!(matches!(set(&mut machine, 5), Err(NumVfsError::NoBus { index: 4, .. })));
    assert_eq!(set(&mut machine, 5).unwrap_err().errno(), Errno::ENOMEM);
    assert_eq!(set(&mut machine, 4).unwrap().added.len(), 4);
}

#[test]
fn virtual_functions_whose_bars_have_no_place_are_refused() {
    let huge = SrIov::new(200, 0x1234).bar(bar(0), BarKind::Memory64, 1 << 40);
    let mut machine = Machine::new();
    machine.root(0, &function("pf", &endpoint().extended_capability(sr_iov(huge))));
    assert_eq!(machine.rescan().problems.len(), 1);
    let refused = machine.topology.set_num_vfs(&mut machine.token, at("00:00.0"), 1, soon()).unwrap_err();
    assert_eq!(refused.errno(), Errno::ENOMEM);
}

#[test]
fn an_access_that_does_not_end_keeps_the_number_as_it_is() {
    let mut card = Card::new();
    let pf = card.machine.node(card.pf).unwrap();
    let long =
        pf.function.handle().enter_long(&mut card.machine.token, AccessKind::Dma, "read", soon()).unwrap();
    let at_once = Deadline::after(Duration::from_millis(1));
    let refused = card.machine.topology.set_num_vfs(&mut card.machine.token, card.pf, 2, at_once);
    assert_eq!(refused.unwrap_err().errno(), Errno::EAGAIN);
    assert_eq!(card.shown(), 0);
    drop(long);
    card.set(2).unwrap();
}

#[test]
fn readers_see_all_virtual_functions_or_none_while_they_come_and_go() {
    let mut card = Card::new();
    let (topology, pf) = (&card.machine.topology, card.pf);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let token = ThreadToken::at_thread_entry();
            let mut seen = [0u32; 2];
            while !stop.load(Ordering::Acquire) || seen.contains(&0) {
                let snapshot = topology.snapshot(&token);
                let count = snapshot.virtual_functions(pf).len();
                assert!(count == 0 || count == 50, "{count} of them");
                assert_eq!(snapshot.len(), 2 + count);
                seen[count / 50] += 1;
            }
        });
        for round in 0..100u16 {
            topology.set_num_vfs(&mut card.machine.token, pf, 50 * (round % 2), soon()).unwrap();
        }
        stop.store(true, Ordering::Release);
        // With either state left in place the reader has seen both by now, or sees the other after one more change.
        while !reader.is_finished() {
            for count in [0, 50] {
                topology.set_num_vfs(&mut card.machine.token, pf, count, soon()).unwrap();
            }
        }
    });
}

#[test]
fn a_scan_while_virtual_functions_come_and_go_loses_none() {
    let mut card = Card::new();
    let (topology, pf) = (&card.machine.topology, card.pf);
    std::thread::scope(|scope| {
        let scanner = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            for _ in 0..50 {
                let scanned = topology.rescan(&mut token, 0, soon()).unwrap();
                assert_eq!((scanned.added.len(), scanned.removed.nodes.len()), (0, 0));
            }
        });
        let mut count = 0;
        while !scanner.is_finished() || count == 0 {
            count = 20 - count;
            topology.set_num_vfs(&mut card.machine.token, pf, count, soon()).unwrap();
            let shown = topology.snapshot(&card.machine.token).virtual_functions(pf).len();
            assert_eq!(shown, usize::from(count));
        }
    });
}

#[test]
fn virtual_functions_work_on_when_the_consumer_of_their_physical_function_resets_it() {
    // CAP-11, RST-19: a guest's reset is not to cost other guests their functions.
    for kind in [ResetKind::FunctionLevel, ResetKind::DeviceReset, ResetKind::ClientGone] {
        let mut card = Card::new();
        let vf = card.set(3).unwrap().added.remove(2);
        let pf = card.machine.node(card.pf).unwrap().function.clone();
        pf.reset(&mut card.machine.token, kind, soon()).unwrap();
        assert_eq!(pf.config().command(), Default::default(), "{kind}: it was reset");
        assert_eq!(card.read(vf.address, config::COMMAND, Width::Word), 0, "{kind}: it answers on its bus");
        vf.function.reset(&mut card.machine.token, ResetKind::FunctionLevel, soon()).unwrap();
        assert_eq!(card.set(0).unwrap().removed.nodes.len(), 3);
        assert_eq!(card.set(5).unwrap().added.len(), 5, "{kind}: their BARs still have addresses");
    }
}

#[test]
fn a_consumer_cannot_switch_the_virtual_functions_of_what_it_was_given() {
    // Law 10, HP-18
    let mut card = Card::new();
    let pf = card.machine.node(card.pf).unwrap().function.clone();
    let at = card.sr_iov();
    let enable = [1, 0, 0, 0, 0, 0, 0, 0, 7, 0];
    let asked =
        pf.write_config(&mut card.machine.token, at + extended::sr_iov::CONTROL, &enable, soon()).unwrap();
    assert_eq!((asked.sr_iov, pf.config().sr_iov()), (None, Some(Default::default())));

    let vf = card.set(3).unwrap().added.remove(0);
    for start in [0, 4, 0x0c, at, at + 1, at + extended::sr_iov::CONTROL, at + 0x20, at + 0x3e] {
        for length in [1, 2, 4, 64, 256] {
            pf.write_config(&mut card.machine.token, start, &vec![0; length], soon()).unwrap();
        }
    }
    assert_eq!(card.read(vf.address, config::COMMAND, Width::Word), 0, "it answers");
    assert_eq!(pf.config().sr_iov().map(|vfs| (vfs.enabled, vfs.num_vfs)), Some((true, 3)));
    assert_eq!(card.set(0).unwrap().removed.nodes.len(), 3);
    assert_eq!(card.set(1).unwrap().added.len(), 1, "the addresses are there");
}

#[test]
fn what_stands_beside_the_setup_of_virtual_functions_is_written_by_the_same_write() {
    let config = endpoint().extended_capability(sr_iov(SrIov::new(4, 1))).extended_capability(Ltr);
    let pf = function("pf", &config);
    let token = &mut ThreadToken::at_thread_entry();
    let latency = pf.config().find_extended(extended::id::LTR).unwrap() + extended::ltr::MAX_SNOOP;
    let mut whole = vec![0; usize::from(latency) + 2];
    pf.read_config(token, 0, &mut whole, soon()).unwrap();
    let at = usize::from(pf.config().sr_iov_layout().unwrap().at + extended::sr_iov::CONTROL);
    (whole[4], whole[at]) = (4, 1);
    *whole.last_mut().unwrap() = 3;
    pf.write_config(token, 0, &whole, soon()).unwrap();
    assert!(pf.config().command().contains(pci_core::Command::BUS_MASTER), "before it");
    assert_eq!(pf.config().sr_iov(), Some(Default::default()));
    assert_eq!(read32(pf.config(), latency), 0x0300, "behind it");
}

#[test]
fn addresses_of_virtual_functions_outlive_d3hot() {
    let mut card = Card::with(SrIov::new(4, 0x1234).bar(bar(0), BarKind::Memory64, 4096), Plain::default());
    let pf = card.machine.node(card.pf).unwrap().function.clone();
    let control = pf.config().power_management().unwrap() + pm::CONTROL_STATUS;
    pf.write_config(&mut card.machine.token, control, &[3, 0], soon()).unwrap();
    assert_eq!(card.errno(4), Some(Errno::EIO), "it would forget them on its way back");
    pf.write_config(&mut card.machine.token, control, &[0, 0], soon()).unwrap();
    assert_eq!(card.set(4).unwrap().added.len(), 4);
}

#[test]
fn virtual_functions_that_were_switched_on_behind_the_pictures_back_are_to_be_switched_off_first() {
    let mut card = Card::new();
    let at = card.sr_iov();
    for (register, value) in [(extended::sr_iov::NUM_VFS, 3), (extended::sr_iov::CONTROL, 1)] {
        let register = ConfigAddress::new(card.pf, at + register);
        card.bridge.write(&card.machine.token, register, Width::Word, value).unwrap();
    }
    assert_eq!(card.errno(3), Some(Errno::EBUSY), "three are on, and nobody has them");
    card.set(0).unwrap();
    assert_eq!(card.set(3).unwrap().added.len(), 3);
}

#[test]
fn virtual_functions_of_a_function_that_has_moved_are_switched_off() {
    let mut card = Card::new();
    let vf = card.set(3).unwrap().added.remove(0);
    // Software gives the root port other bus numbers.
    let numbers = ConfigAddress::new(at("00:00.0"), bridge::PRIMARY_BUS);
    card.bridge.write(&card.machine.token, numbers, Width::Dword, 0x0009_0700).unwrap();
    let scanned = card.machine.rescan();
    assert_eq!(scanned.removed.nodes.len(), 1 + 3, "all are at other addresses now");
    card.pf = at("07:00.0");
    assert_eq!(card.shown(), 0);
    let pf = card.machine.node(card.pf).unwrap();
    assert!(!pf.function.config().sr_iov().unwrap().enabled);
    let refused = vf.function.handle().try_enter(&card.machine.token, AccessKind::Config);
    assert_eq!(refused.err(), Some(Refusal::Gone));
    assert_eq!(card.set(2).unwrap().added.len(), 2);
}

#[test]
fn a_function_that_comes_with_virtual_functions_switched_on_has_them_switched_off() {
    let mut card = Card::new();
    card.set(3).unwrap();
    // Software takes the bus away, and gives it again.
    let numbers = ConfigAddress::new(at("00:00.0"), bridge::PRIMARY_BUS);
    let other = ConfigAddress::new(card.pf, card.sr_iov() + extended::sr_iov::CONTROL);
    card.machine.topology.remove(&mut card.machine.token, at("00:00.0"), soon()).unwrap();
    assert_eq!(card.bridge.read(&card.machine.token, other, Width::Word).unwrap() & 1, 1, "left on");
    assert_eq!(card.bridge.read(&card.machine.token, numbers, Width::Dword), Ok(0x0002_0100));
    assert_eq!(card.machine.rescan().added.len(), 2);
    assert_eq!(card.bridge.read(&card.machine.token, other, Width::Word).unwrap() & 1, 0);
    assert_eq!((card.shown(), card.set(3).unwrap().added.len()), (0, 3));
}

#[test]
fn virtual_functions_go_together_where_one_of_them_gives_way_to_a_device() {
    let mut machine = Machine::new();
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    let config = endpoint().multi_function().extended_capability(sr_iov(SrIov::new(3, 1)));
    let pf = function("pf", &config);
    machine.below(slot, 0, &pf);
    machine.rescan();
    machine.topology.set_num_vfs(&mut machine.token, at(PF), 3, soon()).unwrap();
    machine.below(slot, 2, &function("in the way", &endpoint()));
    let scanned = machine.rescan();
    assert_eq!((scanned.added.len(), scanned.removed.nodes.len()), (1, 3));
    assert_eq!(machine.shown(), ["0000:00:00.0", "0000:01:00.0", "0000:01:00.2"]);
    assert!(!pf.config().sr_iov().unwrap().enabled);
}

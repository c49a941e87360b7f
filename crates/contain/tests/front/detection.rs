//! What is noticed, and what comes of it before anybody looks (EEH-06, EEH-07, EEH-08).

use crate::rig::*;
use contain::containment::Then;
use contain::detect::{Alarm, Bell, Check};
use contain::pe::{Holder, PeState};
use contain::settings::Settings;
use gate::{Deadline, ThreadToken};
use pci_core::ErrorSign;
use std::time::Duration;
use topology::NodeKind;

#[test]
fn whoever_notices_first_isolates_the_pe_and_all_others_are_counted_eeh_07() {
    let mut house = House::new();
    assert_eq!(house.notice("01:00.0"), Check::Isolated);
    assert_eq!(house.notice("01:00.0"), Check::Already);
    assert_eq!(house.notice("01:00.1"), Check::Already, "the same PE");
    assert_eq!(house.notice("02:00.0"), Check::Already, "below it");
    house.turn();
    assert_eq!(house.begun().len(), 1, "one event for one freeze");
    let noticed = house.containment.statistics().noticed;
    assert_eq!((noticed.isolated, noticed.already), (1, 3));
}

#[test]
fn a_device_that_fails_for_ever_is_counted_and_nothing_grows() {
    let mut house = House::with(Settings { queue_capacity: 2, ..Settings::default() });
    house.fail_and_turn("02:00.0");
    let told = house.told().len();
    for _ in 0..10_000 {
        house.fail("02:00.0");
        house.turn();
    }
    assert_eq!((house.begun().len(), house.told().len()), (1, told));
    let statistics = house.containment.statistics();
    assert_eq!((statistics.noticed.already, statistics.noticed.overflowed), (10_000, 0));
}

#[test]
fn a_function_without_a_pe_is_ignored_eeh_07() {
    let mut house = House::new();
    assert_eq!(house.containment.notice(&house.token, at("09:00.0"), SIGN), Check::Ignored);
    house.turn();
    assert_eq!(house.containment.statistics().noticed.no_pe, 1);
    assert!(house.begun().is_empty());
}

#[test]
fn nothing_is_detected_while_containment_is_off_eeh_27_eeh_28() {
    let mut house = House::with(Settings { enabled: false, ..Settings::default() });
    assert_eq!(house.notice("02:00.0"), Check::Ignored);
    house.turn();
    assert!(house.frozen().is_empty() && house.begun().is_empty());
    assert_eq!(house.containment.statistics().noticed.ignored, 1);
    house.containment.set_enabled(true);
    assert_eq!(house.notice("02:00.0"), Check::Isolated);
}

/// Report E, defect 7: a detection that meets a function whose device is gone dereferences nothing.
#[test]
fn a_function_that_was_unplugged_tells_nothing_of_the_one_in_its_place() {
    let mut house = House::new();
    let old = house.function("02:00.0");
    house.plug("02:00.0", NodeKind::Endpoint);
    house.follow();
    old.notice(&house.token, SIGN);
    house.turn();
    assert_eq!(house.containment.statistics().noticed.no_pe, 1);
    assert!(!house.state(pe(0x0200)).contains(PeState::ISOLATED));
    house.unplug("02:00.0");
    house.follow();
    old.notice(&house.token, SIGN);
    assert_eq!(house.notice("02:00.0"), Check::Ignored);
    assert!(house.begun().is_empty());
}

/// Report E, defect 1: what detection has found stays alive although it is removed at the same moment.
#[test]
fn a_sign_keeps_its_pe_and_one_of_a_pe_that_was_removed_freezes_nothing_eeh_i8() {
    let mut house = House::new();
    house.fail("02:00.0");
    house.unplug("02:00.0");
    house.follow();
    let orphans = house.containment.orphans();
    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].holders, [(Holder::Event, 1)]);
    house.turn();
    assert!(house.begun().is_empty() && house.frozen().is_empty());
    assert_eq!(house.containment.statistics().no_device, 1);
    assert!(house.containment.orphans().is_empty(), "let go with its sign");
}

#[test]
fn a_function_that_was_torn_out_is_no_error_of_those_that_stay_eeh_07() {
    let mut house = House::new();
    house.fail("01:00.1");
    let _retired = house.function("01:00.1").disconnect(&mut house.token, soon());
    house.turn();
    assert!(house.begun().is_empty() && house.frozen().is_empty());
    assert_eq!(house.containment.statistics().false_positives, 1);
    assert_eq!(house.notice("01:00.0"), Check::Isolated, "the next one counts");
}

#[test]
fn a_register_that_cannot_be_all_ones_isolates_through_the_sentinel_eeh_06() {
    struct Dead;
    impl pci_core::Device for Dead {
        fn read_bar(&self, _: &gate::Pass<'_>, _: pci_core::BarIndex, _: u64, data: &mut [u8]) {
            data.fill(0xff);
        }
        fn write_bar(&self, _: &gate::Pass<'_>, _: pci_core::BarIndex, _: u64, _: &[u8]) {}
        fn reset(&self, _: &gate::Quiesced<'_>, _: pci_core::ResetKind) {}
        fn describe(&self) -> Vec<(String, String)> {
            Vec::new()
        }
        fn never_all_ones(&self, _: pci_core::BarIndex, offset: u64, _: usize) -> bool {
            offset == 0x10
        }
    }
    let mut house = House::new();
    let bar = pci_core::BarIndex::new(0).unwrap();
    let identity = pci_core::Identity::new(0x1b36, 0x0010, pci_spec::ClassCode::NVME);
    let config = pci_core::ConfigSpace::builder(identity);
    let config = config.bar(bar, pci_core::BarKind::Memory64, 0x4000).build().unwrap();
    config.enable_at_open();
    let gate = gate::Gate::new("dead");
    let dead = pci_core::Function::new("dead", gate, std::sync::Arc::new(config), std::sync::Arc::new(Dead));
    let node = topology::Node {
        address: at("02:00.0"),
        function: std::sync::Arc::new(dead),
        kind: NodeKind::Endpoint,
    };
    house.nodes.insert(node.address, node);
    house.follow();
    let dead = house.function("02:00.0");
    let mut data = [0; 4];
    dead.read_bar(&mut house.token, bar, 0x20, &mut data, soon()).unwrap();
    assert!(!house.state(pe(0x0200)).contains(PeState::ISOLATED), "that one may be");
    dead.read_bar(&mut house.token, bar, 0x10, &mut data, soon()).unwrap();
    assert!(house.state(pe(0x0200)).contains(PeState::ISOLATED));
}

#[test]
fn reads_of_what_is_frozen_are_counted_and_told_to_nobody_eeh_08() {
    let mut house = House::new();
    house.containment.freeze(&mut house.token, pe(0x0200), "test", Then::Stay).unwrap();
    let before = house.containment.statistics().noticed;
    let function = house.function("02:00.0");
    let mut data = [0; 4];
    for _ in 0..100 {
        assert!(function.read_config(&mut house.token, 0, &mut data, soon()).is_err());
    }
    assert_eq!(data, [0xff; 4]);
    assert_eq!(function.dropped().config_reads, 100);
    assert_eq!(house.containment.statistics().noticed, before);
}

#[test]
fn what_the_queue_has_no_room_for_is_found_in_the_tree() {
    let mut house = House::with(Settings { queue_capacity: 1, ..Settings::default() });
    house.fail("00:03.0");
    house.fail("02:00.0");
    house.fail("01:10.0");
    house.turn();
    let mut begun: Vec<_> = house.begun().iter().map(|recovery| recovery.pe()).collect();
    begun.sort_unstable();
    assert_eq!(begun, [pe(0x0018), pe(0x0180), pe(0x0200)]);
    let statistics = house.containment.statistics();
    assert_eq!((statistics.noticed.overflowed, statistics.sweeps), (2, 1));
    assert_eq!(house.frozen(), ["00:03.0", "00:03.1", "01:10.0", "02:00.0"]);
}

#[test]
fn a_bell_that_was_raised_before_the_wait_is_heard_and_once() {
    let bell = Bell::new().unwrap();
    let mut token = ThreadToken::at_thread_entry();
    bell.raise();
    bell.raise();
    assert!(bell.wait(&mut token, soon()));
    assert!(!bell.wait(&mut token, Deadline::after(Duration::ZERO)));
}

#[test]
fn a_bell_wakes_who_waits() {
    let bell = Bell::new().unwrap();
    let raised = bell.clone();
    let waiter = std::thread::spawn(move || bell.wait(&mut ThreadToken::at_thread_entry(), soon()));
    raised.raise();
    assert!(waiter.join().unwrap());
}

#[test]
fn an_injected_error_says_what_it_was() {
    let mut house = House::new();
    let sign = ErrorSign::Injected("hang");
    house.containment.notice(&house.token, at("02:00.0"), sign);
    house.turn();
    let report = &house.containment.recoveries()[0];
    assert_eq!((report.pe, report.sign, report.function), (pe(0x0200), Some(sign), Some(at("02:00.0"))));
}

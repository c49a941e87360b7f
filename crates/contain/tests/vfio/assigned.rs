//! The operations on the PE of an assigned function, down to gates and hardware (EEH-21, EEH-24).

use super::house::{ABOVE, House, OURS, function_at};
use contain::aer::{AerError, Reported};
use contain::containment::Then;
use contain::inject::{ErrorInjection, InjectionError, PeInjection};
use contain::pe::{Holder, PeState};
use contain::plan::{Flavour, PlatformState, Queried, Severity, Traffic};
use contain::tree::Marked;
use contain::vfio::{AssignedPe, PeAnswer, PeOp, PeOps};
use pci_core::{Errno, ErrorSign};
use pci_spec::aer::Uncorrectable;

fn open(house: &mut House) -> PeOps<AssignedPe> {
    let opened = AssignedPe::open(&house.containment, &mut house.token, function_at(0x0200));
    PeOps::new(opened.expect("a PE that is not recovered"))
}

fn state(house: &mut House, ops: &PeOps<AssignedPe>) -> Result<u32, Errno> {
    ops.op(&mut house.token, &PeOp::GetState)
}

fn told(answer: PeAnswer) -> Result<u32, Errno> {
    Ok(answer as u32)
}

fn freeze(house: &mut House) {
    house.containment.freeze(&mut house.token, OURS, "a test", Then::Stay).expect("there is a PE");
}

#[test]
fn opening_a_function_without_a_pe_is_enodev_eeh_24() {
    let mut house = House::new();
    let refused = AssignedPe::open(&house.containment, &mut house.token, function_at(0x0900));
    assert_eq!(refused.err(), Some(Errno::ENODEV));
}

#[test]
fn a_pe_is_passed_through_from_open_to_release_and_counts_each_function_eeh_24() {
    let mut house = House::new();
    let first = open(&mut house);
    let second = open(&mut house);
    let pe = first.pe().pe().hold_as(Holder::Lookup);
    assert!(pe.is_passed_through());
    drop(first);
    assert!(pe.is_passed_through(), "another consumer has the other function");
    drop(second);
    assert!(!pe.is_passed_through());
}

#[test]
fn opening_unfreezes_a_pe_that_stays_frozen_eeh_24() {
    let mut house = House::new();
    freeze(&mut house);
    assert!(house.function(0x0200).function.is_contained());
    let ops = open(&mut house);
    assert!(!house.function(0x0200).function.is_contained());
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Normal));
}

#[test]
fn a_pe_that_is_being_recovered_is_not_opened_and_counts_for_nobody() {
    let mut house = House::new();
    house.containment.notice(&house.token, function_at(0x0200), ErrorSign::Forced("a test"));
    house.turn();
    assert_eq!(house.begun.list(), [(OURS, Flavour::Eeh)]);
    let refused = AssignedPe::open(&house.containment, &mut house.token, function_at(0x0200));
    assert_eq!(refused.err(), Some(Errno::EBUSY));
    let pe = house.containment.tree().find(&house.token, OURS, Holder::Lookup).expect("a PE");
    assert!(!pe.is_passed_through());
}

#[test]
fn a_frozen_pe_is_stopped_until_mmio_and_then_dma_are_thawed() {
    let mut house = House::new();
    let ops = open(&mut house);
    freeze(&mut house);
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Stopped));
    assert_eq!(ops.op(&mut house.token, &PeOp::Unfreeze(Traffic::Mmio)), Ok(0));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::StoppedDma));
    let function = house.function(0x0201);
    assert!(!function.function.is_contained() && function.function.config().is_dma_held());
    assert_eq!(ops.op(&mut house.token, &PeOp::Unfreeze(Traffic::Dma)), Ok(0));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Normal));
    assert!(!function.function.config().is_dma_held());
    assert_eq!(house.asked(), ["thaw Mmio", "thaw Dma"]);
}

#[test]
fn dma_that_is_thawed_first_flows_as_soon_as_mmio_does() {
    let mut house = House::new();
    let ops = open(&mut house);
    freeze(&mut house);
    assert_eq!(ops.op(&mut house.token, &PeOp::Unfreeze(Traffic::Dma)), Ok(0));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Stopped), "nothing gets in or out yet");
    assert_eq!(ops.op(&mut house.token, &PeOp::Unfreeze(Traffic::Mmio)), Ok(0));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Normal));
}

#[test]
fn a_thaw_that_the_hardware_refuses_is_eio_and_thaws_nothing() {
    let mut house = House::new();
    let ops = open(&mut house);
    freeze(&mut house);
    *house.hardware.fails_at.lock() = Some("thaw");
    assert_eq!(ops.op(&mut house.token, &PeOp::Unfreeze(Traffic::Mmio)), Err(Errno::EIO));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Stopped));
}

#[test]
fn enable_thaws_everything_and_is_eio_while_errors_do_not_count() {
    let mut house = House::new();
    let ops = open(&mut house);
    freeze(&mut house);
    house.containment.set_enabled(false);
    assert_eq!(ops.op(&mut house.token, &PeOp::Enable), Err(Errno::EIO));
    house.containment.set_enabled(true);
    assert_eq!(ops.op(&mut house.token, &PeOp::Enable), Ok(0));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Normal));
}

#[test]
fn a_reset_freezes_the_pe_and_lasts_until_it_is_ended() {
    let mut house = House::new();
    let ops = open(&mut house);
    assert_eq!(ops.op(&mut house.token, &PeOp::ResetHot), Ok(0));
    assert_eq!(house.asked(), ["reset hot 25ms 180ms"], "its times are scaled");
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Reset));
    assert!(house.function(0x0200).function.is_contained() && house.function(0x0201).function.is_contained());
    assert!(!house.function(0x0100).function.is_contained(), "not what is above");
    assert_eq!(ops.op(&mut house.token, &PeOp::Unfreeze(Traffic::Mmio)), Err(Errno::EIO), "in reset");
    assert_eq!(ops.op(&mut house.token, &PeOp::ResetDeactivate), Ok(0));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Normal));
    assert!(!house.function(0x0200).function.is_contained());
    assert_eq!(ops.op(&mut house.token, &PeOp::Configure), Ok(0));
    assert_eq!(house.asked(), ["unfreeze", "restore"]);
}

#[test]
fn a_fundamental_reset_is_one_and_ending_none_does_nothing() {
    let mut house = House::new();
    let ops = open(&mut house);
    assert_eq!(ops.op(&mut house.token, &PeOp::ResetDeactivate), Ok(0));
    assert_eq!(house.asked(), Vec::<String>::new());
    assert_eq!(ops.op(&mut house.token, &PeOp::ResetFundamental), Ok(0));
    assert_eq!(house.asked(), ["reset fundamental"]);
}

#[test]
fn a_reset_that_fails_is_eio_and_leaves_the_pe_frozen() {
    let mut house = House::new();
    let ops = open(&mut house);
    *house.hardware.fails_at.lock() = Some("reset");
    assert_eq!(ops.op(&mut house.token, &PeOp::ResetHot), Err(Errno::EIO));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Stopped));
    *house.hardware.fails_at.lock() = Some("restore");
    assert_eq!(ops.op(&mut house.token, &PeOp::Configure), Err(Errno::EIO));
}

#[test]
fn an_unfreeze_after_a_reset_that_fails_is_eio_and_leaves_it_in_reset() {
    let mut house = House::new();
    let ops = open(&mut house);
    assert_eq!(ops.op(&mut house.token, &PeOp::ResetHot), Ok(0));
    *house.hardware.fails_at.lock() = Some("unfreeze");
    assert_eq!(ops.op(&mut house.token, &PeOp::ResetDeactivate), Err(Errno::EIO));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Reset));
}

#[test]
fn a_pe_below_one_that_is_isolated_is_unavailable() {
    let mut house = House::new();
    let ops = open(&mut house);
    house.containment.freeze(&mut house.token, ABOVE, "a test", Then::Stay).expect("there is a PE");
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Unavailable));
}

#[test]
fn what_the_platform_cannot_say_is_eio_and_what_is_not_ready_is_unavailable() {
    let mut house = House::new();
    let ops = open(&mut house);
    *house.hardware.queried.lock() = Some(Queried::Failed);
    assert_eq!(state(&mut house, &ops), Err(Errno::EIO));
    *house.hardware.queried.lock() = Some(Queried::Is(PlatformState::UNAVAILABLE));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Unavailable));
}

#[test]
fn operations_on_a_pe_that_was_removed_are_enodev() {
    let mut house = House::new();
    let ops = open(&mut house);
    let soon = gate::Deadline::after(std::time::Duration::from_secs(20));
    let _removed = house.containment.tree().remove(&mut house.token, OURS, soon).expect("there is a PE");
    for op in [PeOp::Disable, PeOp::GetState, PeOp::ResetHot] {
        assert_eq!(ops.op(&mut house.token, &op), Err(Errno::ENODEV));
    }
    assert!(ops.pe().pe().state().contains(PeState::INVALID), "and it is held until the consumer has gone");
}

fn error(function: u32, address: u64, mask: u64) -> ErrorInjection {
    ErrorInjection::from_numbers(0, function, address, mask).expect("valid numbers")
}

#[test]
fn an_injected_error_isolates_the_pe_at_once() {
    let mut house = House::new();
    let ops = open(&mut house);
    let load = error(0, 0x8020_1000, u64::from(u32::MAX));
    assert_eq!(ops.op(&mut house.token, &PeOp::InjectError(load)), Ok(0));
    assert!(ops.pe().pe().state().contains(PeState::ISOLATED));
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Stopped));
}

#[test]
fn what_cannot_be_injected_is_erange_enxio_or_eio() {
    let mut house = House::new();
    let ops = open(&mut house);
    let inject = |house: &mut House, error| ops.op(&mut house.token, &PeOp::InjectError(error));
    assert_eq!(inject(&mut house, error(2, 0, 0)), Err(Errno::ERANGE), "no I/O BAR");
    assert_eq!(inject(&mut house, error(0, 0x1000, u64::MAX)), Err(Errno::EIO), "nobody's address");
    house.containment.set_enabled(false);
    assert_eq!(inject(&mut house, error(0, 0, 0)), Err(Errno::ENXIO));
}

#[test]
fn an_error_is_injected_into_the_pe_of_its_number_and_enodev_without_one_eeh_25() {
    let mut house = House::new();
    let inject = |house: &mut House, text: &str| {
        let injection: PeInjection = text.parse().expect("well-formed");
        house.containment.inject(&mut house.token, 0, &injection)
    };
    assert_eq!(inject(&mut house, "300:0:0:0:0"), Err(InjectionError::NoPe));
    assert_eq!(inject(&mut house, "10200:0:0:0:0"), Err(InjectionError::NoPe), "not cut to 16 bits");
    assert_eq!(inject(&mut house, "200:0:0:80201010:fffff000"), Ok(function_at(0x0201)));
    house.turn();
    assert_eq!(house.begun.list(), [(OURS, Flavour::Eeh)]);
    assert!(house.function(0x0201).function.is_contained());
}

#[test]
fn an_error_that_aer_reports_is_recovered_by_its_rules_and_freezes_only_if_it_is_fatal() {
    let mut house = House::new();
    let report = |house: &mut House, error| {
        let error = AerError::uncorrectable(error, [1; 4]);
        house.containment.report_aer(&mut house.token, function_at(0x0201), &error).expect("a function")
    };
    let reported = report(&mut house, Uncorrectable::POISONED_TLP);
    assert!(matches!(reported, Reported::Error { severity: Severity::NonFatal, .. }), "{reported:?}");
    house.turn();
    assert_eq!(house.begun.list(), [(OURS, Flavour::Aer(Severity::NonFatal))]);
    assert!(!house.function(0x0201).function.is_contained());
    let _reported = report(&mut house, Uncorrectable::MALFORMED_TLP);
    house.turn();
    assert!(house.function(0x0201).function.is_contained());
    let counted = house.containment.aer().counters(house.function(0x0201).id);
    assert_eq!((counted.messages().non_fatal, counted.messages().fatal), (1, 1));
}

#[test]
fn the_errors_of_a_pe_that_is_passed_through_are_not_recovered_by_the_host_eeh_21() {
    let mut house = House::new();
    let ops = open(&mut house);
    house.containment.notice(&house.token, function_at(0x0200), ErrorSign::Forced("a test"));
    house.turn();
    assert!(!house.function(0x0200).function.is_contained(), "the host does not look at it");
    assert_eq!(ops.op(&mut house.token, &PeOp::InjectError(error(0, 0, 0))), Ok(0));
    house.turn();
    assert_eq!(house.begun.list(), [], "its consumer deals with them");
    assert!(house.function(0x0200).function.is_contained());
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Stopped));
    assert_eq!(ops.op(&mut house.token, &PeOp::Unfreeze(Traffic::Mmio)), Ok(0));
    assert!(!house.function(0x0200).function.is_contained());
}

#[test]
fn a_consumer_that_left_in_the_middle_of_a_thaw_leaves_nothing_to_the_next_one_eeh_24() {
    let mut house = House::new();
    let ops = open(&mut house);
    freeze(&mut house);
    assert_eq!(ops.op(&mut house.token, &PeOp::Unfreeze(Traffic::Mmio)), Ok(0));
    assert!(house.function(0x0200).function.config().is_dma_held());
    let second = open(&mut house);
    assert!(house.function(0x0200).function.config().is_dma_held(), "the first one is still there");
    drop((ops, second));
    let ops = open(&mut house);
    assert!(!house.function(0x0200).function.config().is_dma_held());
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Normal));
}

#[test]
fn an_error_that_freezes_a_pe_that_is_passed_through_is_left_to_its_consumer_eeh_21() {
    let mut house = House::new();
    let ops = open(&mut house);
    let fatal = AerError::uncorrectable(Uncorrectable::MALFORMED_TLP, [1; 4]);
    let reported = house.containment.report_aer(&mut house.token, function_at(0x0201), &fatal);
    assert!(matches!(reported, Ok(Reported::Error { severity: Severity::Fatal, .. })), "{reported:?}");
    house.turn();
    assert!(house.function(0x0201).function.is_contained());
    assert_eq!(house.begun.list(), [], "the host recovers nothing");
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Stopped));
    assert_eq!(ops.op(&mut house.token, &PeOp::Unfreeze(Traffic::Mmio)), Ok(0));
    assert!(!house.function(0x0201).function.is_contained());
}

#[test]
fn while_a_recovery_has_the_pe_its_consumer_changes_nothing_and_gets_ebusy_eeh_21() {
    let mut house = House::new();
    let ops = open(&mut house);
    let mut recovered = Marked::new();
    recovered.add(ops.pe().pe()).expect("nobody else has it");
    let operations = [
        PeOp::Enable,
        PeOp::Unfreeze(Traffic::Mmio),
        PeOp::Unfreeze(Traffic::Dma),
        PeOp::ResetHot,
        PeOp::ResetFundamental,
        PeOp::ResetDeactivate,
        PeOp::Configure,
    ];
    for op in operations {
        assert_eq!(ops.op(&mut house.token, &op), Err(Errno::EBUSY), "{op:?}");
    }
    assert_eq!(house.asked(), Vec::<String>::new(), "nothing came to the hardware");
    assert_eq!(state(&mut house, &ops), told(PeAnswer::Unavailable));
    drop(recovered);
    assert_eq!(ops.op(&mut house.token, &PeOp::Configure), Ok(0), "until it has ended");
}

#[test]
fn a_recovery_that_nobody_has_driven_yet_has_the_pe_all_the_same_eeh_21() {
    let mut house = House::new();
    let ops = open(&mut house);
    let address = ops.pe().pe().address();
    house.containment.recover(&mut house.token, address).expect("nothing else has it");
    for op in [PeOp::Unfreeze(Traffic::Dma), PeOp::Configure, PeOp::ResetDeactivate] {
        assert_eq!(ops.op(&mut house.token, &op), Err(Errno::EBUSY), "{op:?}");
    }
}

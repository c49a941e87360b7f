//! `power`, and what a slot shows of itself (ZP-09).
#![allow(clippy::unwrap_used, reason = "test code")]

mod bay;

use bay::*;
use gate::{Deadline, ThreadToken};
use pci_core::Errno;
use slot::{Finished, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use zpci::hotplug::{CardError, HotplugSlot, OperationError, SclpCommand, SclpResponse, errno_of};
use zpci::{Configuration, Fid, Uid, Work};

#[test]
fn a_slot_is_named_by_eight_digits_of_its_function_and_always_has_an_adapter_zp_09() {
    let world = World::empty(PLAIN, 2);
    let names: Vec<_> = world.slots.iter().map(HotplugSlot::name).collect();
    assert_eq!(names, ["00000010", "00000011"]);
    assert!(world.first().adapter_status(), "also without a card");
}

#[test]
fn the_power_status_is_whether_the_function_is_configured_zp_09() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::empty(PLAIN, 1);
    assert!(!world.first().power_status());
    world.put_in(token);
    assert!(world.first().power_status());
    assert_eq!(world.power(token, false), Some(Finished::Done));
    assert!(!world.first().power_status());
    assert_eq!(world.power(token, true), Some(Finished::Done));
    assert!(world.first().power_status());
}

#[test]
fn enabling_what_is_not_in_standby_is_an_error_zp_09() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::empty(PLAIN, 1);
    for state in [Configuration::Reserved, Configuration::Configured] {
        assert_eq!(world.configuration(), state);
        let refused = world.first().power(true, UNPLUG).unwrap_err();
        assert_eq!((refused.errno(), &refused), (Errno::EIO, &OperationError::WrongState(state)));
        assert!(world.slot.report().waiting.is_empty(), "nothing was asked for");
        world.put_in(token);
    }
}

#[test]
fn disabling_what_is_not_configured_is_an_error_zp_09() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::empty(BUTTON, 1);
    for state in [Configuration::Reserved, Configuration::Standby] {
        assert_eq!(world.configuration(), state);
        let refused = world.first().power(false, UNPLUG).unwrap_err();
        assert_eq!((refused.errno(), &refused), (Errno::EIO, &OperationError::WrongState(state)));
        assert!(world.slot.report().waiting.is_empty(), "nothing was asked for");
        world.put_in(token);
    }
}

#[test]
fn disabling_with_virtual_functions_switched_on_is_busy_zp_09() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.virtual_functions.store(2, Ordering::Release);
    let refused = world.first().power(false, UNPLUG).unwrap_err();
    assert_eq!((refused.errno(), &refused), (Errno::EBUSY, &OperationError::VirtualFunctions(2)));
    assert!(world.first().power_status() && world.slot.report().waiting.is_empty());
    world.bench.virtual_functions.store(0, Ordering::Release);
    assert_eq!(world.power(token, false), Some(Finished::Done));
}

#[test]
fn virtual_functions_of_another_function_of_the_card_would_go_too_zp_09() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(3, token);
    world.bench.virtual_functions.store(2, Ordering::Release);
    let refused = world.slots[1].check_power(false).unwrap_err();
    assert_eq!(refused, OperationError::VirtualFunctions(6));
}

#[test]
fn a_unit_that_panics_when_it_is_asked_for_virtual_functions_has_some() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.panics.store(true, Ordering::Release);
    assert_eq!(world.first().check_power(false).unwrap_err().errno(), Errno::EBUSY);
    assert_eq!(world.configuration(), Configuration::Configured);
}

#[test]
fn switching_one_function_of_a_card_switches_all() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(3, token);
    let operation = world.slots[2].power(false, Duration::ZERO).unwrap();
    assert_eq!(world.drive(token, &operation), Some(Finished::Done));
    assert!(world.slots.iter().all(|slot| slot.zdev().configuration() == Configuration::Standby));
}

#[test]
fn power_returns_at_once_and_the_consumer_is_asked_for_as_long_as_was_said() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let attached = world.assignment(0).attach(token).unwrap();
    let operation = world.first().power(false, Duration::from_secs(20)).unwrap();
    assert_eq!(operation.request(), Request::Disable { timeout: Duration::from_secs(20) });
    assert_eq!(operation.finished(), None, "nobody was waited for");
    world.pass(token, Duration::from_secs(19));
    assert_eq!((operation.finished(), world.asked()), (None, 2));
    // ZIO-I1: whatever the consumer needs to let go still works.
    world.assert_works(token);
    assert!(world.zdev().begin(Work::Reset).is_some(), "nothing is held");
    world.pass(token, Duration::from_secs(1));
    assert_eq!(operation.finished(), Some(Finished::Done), "at its deadline, although it did not let go");
    assert_eq!(world.configuration(), Configuration::Standby);
    attached.detach(token);
}

#[test]
fn a_consumer_that_lets_go_ends_the_operation_before_its_deadline() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let attached = world.assignment(0).attach(token).unwrap();
    let operation = world.first().power(false, UNPLUG).unwrap();
    world.pass(token, Duration::from_secs(1));
    assert_eq!(operation.finished(), None);
    attached.detach(token);
    world.slot.post(slot::Event::Released);
    assert_eq!(world.drive(token, &operation), Some(Finished::Done));
}

#[test]
fn a_slot_that_has_changed_meanwhile_refuses_later_with_the_same_number() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    assert_eq!(world.power(token, false), Some(Finished::Done));
    let first = world.first().power(true, UNPLUG).unwrap();
    let second = world.first().power(true, UNPLUG).unwrap();
    assert_eq!(world.drive(token, &first), Some(Finished::Done));
    assert_eq!(second.finished().and_then(errno_of), Some(Errno::EIO), "ZP-09");
}

#[test]
fn every_end_of_a_power_operation_has_its_error_number() {
    let ends = [
        (Finished::Done, None),
        (Finished::Cancelled, Some(Errno::EINTR)),
        (Finished::WrongState, Some(Errno::EIO)),
        (Finished::NoCard, Some(Errno::ENODEV)),
        (Finished::LatchOpen, Some(Errno::ENODEV)),
        (Finished::PowerFault, Some(Errno::EIO)),
        (Finished::NoLink, Some(Errno::EIO)),
        (Finished::NotConfigured, Some(Errno::EIO)),
        (Finished::TooLate, Some(Errno::EBUSY)),
        (Finished::TooMany, Some(Errno::EBUSY)),
        (Finished::Lost, Some(Errno::ENODEV)),
        (Finished::ShutDown, Some(Errno::ENODEV)),
    ];
    for (end, errno) in ends {
        assert_eq!(errno_of(end), errno, "{end:?}");
    }
}

#[test]
fn a_virtual_function_has_no_power_of_its_own() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let zdev = world.zpci.add_virtual(world.zdev(), 1, Fid(0x99), Uid::NONE).unwrap();
    let slot = world.first().of_virtual(zdev);
    assert_eq!((slot.name().as_str(), slot.adapter_status()), ("00000099", true));
    for on in [false, true] {
        let refused = slot.power(on, UNPLUG).unwrap_err();
        assert_eq!((refused.errno(), refused), (Errno::EOPNOTSUPP, OperationError::NoSlot));
    }
}

#[test]
fn a_card_has_one_to_eight_functions() {
    let world = World::empty(PLAIN, 8);
    let zdevs: Vec<_> = world.slots.iter().map(|slot| Arc::clone(slot.zdev())).collect();
    let nine: Vec<_> = zdevs.iter().cloned().chain([Arc::clone(&zdevs[0])]).collect();
    for (zdevs, many) in [(&zdevs[..0], 0), (&nine[..], 9)] {
        let refused = HotplugSlot::of_card(zdevs, Arc::clone(&world.slot), world.bench.clone(), UNPLUG);
        assert_eq!(refused.err(), Some(CardError(many)));
    }
}

#[test]
fn an_operation_ends_when_everything_ends() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let operation = world.first().power(false, UNPLUG).unwrap();
    assert!(world.slot.shutdown(token, Deadline::after(LONG)));
    assert_eq!(operation.finished().and_then(errno_of), Some(Errno::ENODEV));
}

/// As the crew of a daemon does it: whoever asked waits, another thread drives.
fn sclp(world: &World, command: SclpCommand) -> SclpResponse {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            while !over.load(Ordering::Acquire) {
                world.slot.drive(&mut token);
                std::thread::yield_now();
            }
        });
        let response = world.first().sclp(&mut ThreadToken::at_thread_entry(), command, soon());
        over.store(true, Ordering::Release);
        response
    })
}

#[test]
fn configure_and_deconfigure_answer_with_the_codes_of_the_platform_zp_04() {
    let world = World::in_standby(PLAIN, &mut ThreadToken::at_thread_entry());
    let off = SclpCommand::Deconfigure { timeout: Duration::ZERO };
    let codes = [off, SclpCommand::Configure, SclpCommand::Configure, off].map(|command| {
        let response = sclp(&world, command);
        assert_eq!(response.result(), Ok(()), "{response:?}");
        response.code().unwrap()
    });
    assert_eq!(codes, [0x0120, 0x0020, 0x0120, 0x0020]);
    assert_eq!(world.configuration(), Configuration::Standby);
}

#[test]
fn configuring_what_is_not_there_or_has_no_slot_or_is_in_use_is_an_error_zp_04() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::empty(PLAIN, 1);
    let reserved = world.first().sclp(token, SclpCommand::Configure, soon());
    assert_eq!((reserved.code(), reserved.result()), (None, Err(Errno::EIO)), "{reserved:?}");
    world.put_in(token);
    world.bench.virtual_functions.store(1, Ordering::Relaxed);
    let off = SclpCommand::Deconfigure { timeout: Duration::ZERO };
    let busy = world.first().sclp(token, off, soon());
    assert_eq!(busy, SclpResponse::Refused(OperationError::VirtualFunctions(1)));
    assert_eq!(busy.result(), Err(Errno::EIO));
    let of_virtual = world.first().of_virtual(Arc::clone(world.zdev()));
    assert_eq!(of_virtual.sclp(token, off, soon()).result(), Err(Errno::EOPNOTSUPP));
}

#[test]
fn a_deconfiguration_that_takes_longer_than_its_caller_waits_goes_on_zp_04() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let off = SclpCommand::Deconfigure { timeout: Duration::ZERO };
    let late = world.first().sclp(token, off, Deadline::after(Duration::ZERO));
    assert_eq!((&late, late.result()), (&SclpResponse::Unfinished, Err(Errno::EIO)));
    world.pass(token, Duration::from_secs(10));
    assert_eq!(world.configuration(), Configuration::Standby);
}

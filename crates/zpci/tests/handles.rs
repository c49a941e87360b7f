//! Handles, states and claims: a stale handle names nothing, ever (ZIO-I3), and nobody who takes a device away waits for who works on it.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, reason = "test code")]

mod machine;

use gate::ThreadToken;
use machine::{Recorder, assignment, device, machine, machine_of, place};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Weak};
use zpci::{
    AddError, Configuration, Description, Event, Fid, Handle, MAX_FUNCTIONS, RenewError, Settings, Uid, View,
    Watched, Work, Zdev, Zpci,
};

fn token() -> ThreadToken {
    ThreadToken::at_thread_entry()
}

fn is_named(zpci: &Zpci, token: &ThreadToken, handle: Handle, view: &Arc<View>) -> bool {
    zpci.by_handle(token, handle).is_some_and(|found| Arc::ptr_eq(&found, view))
}

#[test]
fn identifiers_are_written_as_slots_are_named() {
    assert_eq!(Fid(0x1f).to_string(), "0000001f");
    assert_eq!(Uid(0x1f).to_string(), "001f");
    assert_eq!(Handle::from_bits(0x8000_1001).to_string(), "0x80001001");
}

/// ZP-01.
#[test]
fn a_function_is_reserved_standby_configured_and_back_with_a_handle_for_each() {
    let (zpci, mut token) = (machine(), token());
    let zdev = zpci.add(Fid(7), Uid(1), Description::default()).unwrap();
    assert_eq!((zdev.configuration(), zdev.handle()), (Configuration::Reserved, Handle::NONE));

    zdev.card(true);
    let standby = zdev.handle();
    assert_eq!(zdev.configuration(), Configuration::Standby);
    assert!(!standby.is_none() && !standby.is_enabled() && zdev.view().is_none());

    let view = device(&zdev, "one");
    assert!(view.handle().is_none() && !view.is_named(Handle::NONE));
    let enabled = zdev.bring_in(&mut token, Arc::clone(&view));
    assert_eq!(zdev.configuration(), Configuration::Configured);
    assert!(enabled.is_enabled() && zdev.handle() == enabled && view.handle() == enabled);
    assert!(Arc::ptr_eq(&zdev.view().unwrap(), &view));

    zdev.take_out(&mut token);
    assert_eq!(zdev.configuration(), Configuration::Standby);
    let again = zdev.handle();
    assert!(!again.is_none() && !again.is_enabled() && again != standby);
    assert!(zdev.view().is_none() && view.handle().is_none() && !view.is_enabled());

    zdev.card(false);
    assert_eq!((zdev.configuration(), zdev.handle()), (Configuration::Reserved, Handle::NONE));
}

#[test]
fn a_handle_names_its_device_from_when_it_is_brought_in_until_it_is_taken_out() {
    let (zpci, mut token) = (machine(), token());
    let (zdev, other) = (place(&zpci, 1), place(&zpci, 2));
    let (view, neighbour) = (device(&zdev, "one"), device(&other, "two"));
    let handle = zdev.bring_in(&mut token, Arc::clone(&view));
    let beside = other.bring_in(&mut token, Arc::clone(&neighbour));

    assert!(is_named(&zpci, &token, handle, &view) && is_named(&zpci, &token, beside, &neighbour));
    assert_eq!(zpci.with_view(&token, handle, |view| view.fid()), Some(Fid(1)));
    assert_eq!(zpci.zdev_by_handle(handle).unwrap().fid(), Fid(1));
    assert!(Arc::ptr_eq(&zpci.by_function(view.function()).unwrap(), &view));

    zdev.take_out(&mut token);
    assert!(zpci.by_handle(&token, handle).is_none());
    assert!(zpci.zdev_by_handle(handle).is_none() && zpci.by_function(view.function()).is_none());
    assert!(is_named(&zpci, &token, beside, &neighbour));
}

#[test]
fn a_stale_handle_never_names_the_next_device_at_its_place() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    let first = zdev.bring_in(&mut token, device(&zdev, "first"));
    zdev.take_out(&mut token);
    let second = device(&zdev, "second");
    let handle = zdev.bring_in(&mut token, Arc::clone(&second));
    assert_ne!(first, handle);
    assert!(zpci.by_handle(&token, first).is_none());
    assert!(is_named(&zpci, &token, handle, &second));
}

#[test]
fn what_names_nothing_finds_nothing() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    let standby = zdev.handle();
    assert!(zpci.by_handle(&token, standby).is_none(), "a function in STANDBY has no device to find");
    assert_eq!(zpci.zdev_by_handle(standby).unwrap().fid(), Fid(1));
    let handle = zdev.bring_in(&mut token, device(&zdev, "one"));
    let flipped = (0..32).map(|bit| handle.bits() ^ (1 << bit));
    for bits in flipped.chain([0, u32::MAX, 1 << 31, standby.bits()]) {
        assert!(zpci.by_handle(&token, Handle::from_bits(bits)).is_none(), "{bits:#x}");
        assert!(zpci.zdev_by_handle(Handle::from_bits(bits)).is_none(), "{bits:#x}");
    }
    assert!(machine().zdev_by_handle(Handle::NONE).is_none());
}

#[test]
fn enabling_and_disabling_gives_another_handle_each_time() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    let view = device(&zdev, "one");
    let mut seen = HashSet::from([zdev.handle(), zdev.bring_in(&mut token, Arc::clone(&view))]);
    for enable in [false, true, true, false, false, true] {
        let old = zdev.handle();
        let claim = zdev.begin(Work::SetFunction).unwrap();
        let new = claim.renew(&mut token, enable).unwrap();
        assert!(seen.insert(new) && new.is_enabled() == enable);
        assert!(zpci.by_handle(&token, old).is_none() && is_named(&zpci, &token, new, &view));
        assert_eq!((zdev.handle(), view.handle(), view.is_enabled()), (new, new, enable));
    }
}

/// With two bits an index has three handles.
#[test]
fn a_guest_uses_up_its_own_handles_only_and_the_owner_gives_it_others() {
    let (zpci, mut token) = (machine_of(2), token());
    let zdev = place(&zpci, 1);
    let view = device(&zdev, "one");
    let second = zdev.bring_in(&mut token, Arc::clone(&view));
    let claim = zdev.begin(Work::SetFunction).unwrap();
    let third = claim.renew_in_place(false).unwrap();
    assert_eq!(claim.renew_in_place(true), Err(RenewError::UsedUp));
    assert_eq!((zdev.handle(), view.handle()), (third, third), "a refusal changes nothing");
    assert!(is_named(&zpci, &token, third, &view));

    let fourth = claim.renew(&mut token, true).unwrap();
    assert!(is_named(&zpci, &token, fourth, &view));
    for stale in [second, third] {
        assert!(zpci.by_handle(&token, stale).is_none());
    }
    assert!(claim.renew_in_place(false).is_ok(), "the guest can go on");
}

#[test]
fn a_function_that_is_configured_with_its_handles_used_up_takes_another_index() {
    let (zpci, mut token) = (machine_of(1), token());
    let zdev = place(&zpci, 1);
    let mut seen = HashSet::from([zdev.handle()]);
    for round in 0..20 {
        let view = device(&zdev, "device");
        let handle = zdev.bring_in(&mut token, Arc::clone(&view));
        assert!(handle.is_enabled() && seen.insert(handle), "round {round}");
        assert!(is_named(&zpci, &token, handle, &view));
        zdev.take_out(&mut token);
        assert!(!zdev.handle().is_none() && seen.insert(zdev.handle()), "round {round}");
        for stale in &seen {
            assert!(zpci.by_handle(&token, *stale).is_none());
        }
    }
}

#[test]
fn a_machine_without_handles_left_gives_none_rather_than_an_old_one() {
    let (zpci, mut token) = (machine_of(1), token());
    let zdev = place(&zpci, 1);
    let mut seen = HashSet::new();
    // Each round needs two handles, and each index has one.
    for _ in 0..MAX_FUNCTIONS {
        let view = device_once(&zdev);
        for handle in [zdev.handle(), zdev.bring_in(&mut token, view)] {
            assert!(handle.is_none() || seen.insert(handle));
        }
        zdev.take_out(&mut token);
    }
    assert_eq!(seen.len(), MAX_FUNCTIONS, "one for each index");
    let view = device_once(&zdev);
    assert_eq!(zdev.bring_in(&mut token, Arc::clone(&view)), Handle::NONE);
    assert_eq!((zdev.configuration(), view.handle()), (Configuration::Configured, Handle::NONE));
    assert!(zpci.by_handle(&token, Handle::NONE).is_none());
    let claim = zdev.begin(Work::Recovery).unwrap();
    assert_eq!(claim.renew(&mut token, true), Err(RenewError::UsedUp));
    assert_eq!(place(&zpci, 2).handle(), Handle::NONE);
}

/// Many views of one function: a function of its own for each would take the most time of the test.
fn device_once(zdev: &Arc<Zdev>) -> Arc<View> {
    thread_local!(static ONE: Arc<assign::Assignment> = assignment("once", Arc::new(())));
    ONE.with(|one| View::new(zdev, one, 128))
}

#[test]
fn one_works_on_a_function_at_a_time_and_every_claim_is_given_back() {
    let zpci = machine();
    let zdev = place(&zpci, 1);
    let claim = zdev.begin(Work::Recovery).unwrap();
    assert_eq!(zdev.work(), Some(Work::Recovery));
    assert!(zdev.begin(Work::Recovery).is_none() && zdev.begin(Work::SetFunction).is_none());
    drop(claim);
    assert_eq!(zdev.work(), None);
    assert!(zdev.begin(Work::Reset).is_some());
    assert_eq!(zdev.work(), None);
}

#[test]
fn a_device_is_taken_out_while_somebody_works_on_it_and_its_handle_is_not_renewed_then() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    zdev.bring_in(&mut token, device(&zdev, "one"));
    let claim = zdev.begin(Work::Recovery).unwrap();
    zdev.take_out(&mut token);
    let standby = zdev.handle();
    assert_eq!(claim.renew(&mut token, true), Err(RenewError::Gone));
    assert_eq!(claim.renew_in_place(true), Err(RenewError::Gone));
    assert_eq!((zdev.handle(), zdev.configuration()), (standby, Configuration::Standby));
}

#[test]
fn a_claim_of_one_device_does_nothing_to_the_next() {
    for used_up in [false, true] {
        let (zpci, mut token) = (machine_of(if used_up { 2 } else { 19 }), token());
        let zdev = place(&zpci, 1);
        zdev.bring_in(&mut token, device(&zdev, "one"));
        let claim = zdev.begin(Work::Recovery).unwrap();
        zdev.take_out(&mut token);
        let next = device(&zdev, "two");
        let handle = zdev.bring_in(&mut token, Arc::clone(&next));
        zdev.fail();
        assert_eq!(claim.renew(&mut token, false), Err(RenewError::Gone));
        claim.clear_failure();
        assert!(next.has_failed() && is_named(&zpci, &token, handle, &next));
    }
}

#[test]
fn a_claim_has_ended_with_its_device_also_when_that_comes_back() {
    for used_up in [false, true] {
        let (zpci, mut token) = (machine_of(if used_up { 2 } else { 19 }), token());
        let zdev = place(&zpci, 1);
        let view = device(&zdev, "one");
        zdev.bring_in(&mut token, Arc::clone(&view));
        let ended = zdev.begin(Work::Recovery).unwrap();
        zdev.take_out(&mut token);
        let handle = zdev.bring_in(&mut token, Arc::clone(&view));
        let claim = zdev.begin(Work::Reset).unwrap();
        assert_eq!(ended.renew(&mut token, false), Err(RenewError::Gone));
        assert_eq!(ended.renew_in_place(false), Err(RenewError::Gone));
        assert!(is_named(&zpci, &token, handle, &view));
        drop(ended);
        assert_eq!(zdev.work(), Some(Work::Reset));
        assert!(claim.renew(&mut token, true).is_ok());
    }
}

#[test]
fn a_card_that_is_pulled_from_a_configured_function_counts_when_the_device_is_taken_out() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    let handle = zdev.bring_in(&mut token, device(&zdev, "one"));
    zdev.card(false);
    assert_eq!((zdev.configuration(), zdev.handle()), (Configuration::Configured, handle));
    zdev.take_out(&mut token);
    assert_eq!((zdev.configuration(), zdev.handle()), (Configuration::Reserved, Handle::NONE));
}

#[test]
fn identifiers_are_unique_in_a_machine() {
    let zpci = machine();
    let parent = zpci.add(Fid(1), Uid(5), Description { group: 3, ..Description::default() }).unwrap();
    assert_eq!(zpci.add(Fid(1), Uid(6), Description::default()).unwrap_err(), AddError::FidTaken(Fid(1)));
    assert_eq!(zpci.add(Fid(2), Uid(5), Description::default()).unwrap_err(), AddError::UidTaken(Uid(5)));
    assert_eq!(zpci.add_virtual(&parent, 1, Fid(1), Uid(7)).unwrap_err(), AddError::FidTaken(Fid(1)));
    let vf = zpci.add_virtual(&parent, 1, Fid(2), Uid(7)).unwrap();
    assert_eq!((vf.parent_vfn(), vf.description().group), (Some((Fid(1), 1)), 3));
    assert_eq!(zpci.list().iter().map(|zdev| zdev.fid()).collect::<Vec<_>>(), [Fid(1), Fid(2)]);
    assert!(zpci.find(Fid(2)).is_some() && zpci.find(Fid(3)).is_none());

    assert!(zpci.uid_checking());
    zpci.add(Fid(3), Uid::NONE, Description::default()).unwrap();
    zpci.add(Fid(4), Uid::NONE, Description::default()).unwrap();
    assert!(!zpci.uid_checking(), "a function without a name of the user's");
}

#[test]
fn a_machine_has_room_for_4096_functions_and_refusals_use_nothing_up() {
    let zpci = machine_of(19);
    for fid in 0..MAX_FUNCTIONS {
        let fid = Fid(u32::try_from(fid).unwrap());
        zpci.add(fid, Uid::NONE, Description::default()).unwrap();
        if fid == Fid(0) {
            for _ in 0..2 * MAX_FUNCTIONS {
                zpci.add(fid, Uid::NONE, Description::default()).unwrap_err();
            }
        }
    }
    assert_eq!(zpci.add(Fid(u32::MAX), Uid::NONE, Description::default()).unwrap_err(), AddError::Full);
}

#[test]
fn a_function_that_is_forgotten_has_no_handle_and_who_comes_after_it_has_others() {
    let (zpci, mut token) = (machine(), token());
    let parent = place(&zpci, 1);
    let mut seen = HashSet::new();
    // More than there are indexes, so they are used again.
    for _ in 0..2 * MAX_FUNCTIONS {
        let vf = zpci.add_virtual(&parent, 1, Fid(2), Uid::NONE).unwrap();
        let view = device_once(&vf);
        let handle = vf.bring_in(&mut token, Arc::clone(&view));
        assert!(seen.insert(handle) && is_named(&zpci, &token, handle, &view));
        let forgotten = zpci.remove(&mut token, Fid(2)).unwrap();
        assert!(zpci.by_handle(&token, handle).is_none() && view.handle().is_none());
        assert_eq!((forgotten.configuration(), forgotten.handle()), (Configuration::Reserved, Handle::NONE));
    }
    assert!(zpci.remove(&mut token, Fid(2)).is_none());
}

#[test]
fn what_others_still_have_of_a_forgotten_function_does_nothing() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    zdev.bring_in(&mut token, device(&zdev, "one"));
    let claim = zdev.begin(Work::Recovery).unwrap();
    zpci.remove(&mut token, Fid(1)).unwrap();
    assert_eq!(claim.renew(&mut token, true), Err(RenewError::Gone));
    zdev.card(true);
    let view = device(&zdev, "two");
    assert_eq!(zdev.bring_in(&mut token, Arc::clone(&view)), Handle::NONE);
    assert_eq!((zdev.configuration(), view.handle()), (Configuration::Reserved, Handle::NONE));
    zdev.take_out(&mut token);
    assert_eq!(zdev.handle(), Handle::NONE);

    // The index is somebody else's by now, who is not disturbed.
    let next = place(&zpci, 2);
    let there = device(&next, "three");
    let handle = next.bring_in(&mut token, Arc::clone(&there));
    zdev.bring_in(&mut token, view);
    assert!(is_named(&zpci, &token, handle, &there));
}

#[test]
fn every_change_of_a_handle_is_told_in_order() {
    let (zpci, mut token) = (machine(), token());
    let zdev = zpci.add(Fid(9), Uid::NONE, Description::default()).unwrap();
    let heard = Arc::new(Recorder::default());
    let listening = zpci.listen(heard.clone());
    let mut handles = vec![zdev.handle()];
    zdev.card(true);
    zdev.card(true);
    handles.push(zdev.handle());
    handles.push(zdev.bring_in(&mut token, device(&zdev, "one")));
    let claim = zdev.begin(Work::Recovery).unwrap();
    handles.push(claim.renew(&mut token, false).unwrap());
    handles.push(claim.renew(&mut token, true).unwrap());
    drop(claim);
    zdev.take_out(&mut token);
    zdev.take_out(&mut token);
    handles.push(zdev.handle());
    zdev.card(false);
    handles.push(Handle::NONE);
    let told: Vec<_> =
        handles.windows(2).map(|pair| Event::Handle { fid: Fid(9), old: pair[0], new: pair[1] }).collect();
    assert_eq!(heard.take(), told);
    drop(listening);
    zdev.card(true);
    assert_eq!(heard.take(), []);
}

/// Views have functions, which have devices, whose events come back here.
#[test]
fn nothing_is_kept_when_machine_and_functions_are_let_go_while_configured() {
    let mut token = token();
    let zpci = machine();
    let zdev = place(&zpci, 1);
    let sink = Watched::new(Arc::new(()));
    let watched = assignment("one", sink.clone());
    let view = View::new(&zdev, &watched, 128);
    sink.belongs_to(&view);
    drop(sink);
    zdev.bring_in(&mut token, Arc::clone(&view));
    let function: Weak<_> = Arc::downgrade(view.function());
    let place: Weak<_> = Arc::downgrade(&zdev);
    drop((zpci, zdev, view, watched));
    assert!(function.upgrade().is_none() && place.upgrade().is_none());
}

/// Law 6: what cannot be reached any more is not kept.
#[test]
fn a_device_that_was_taken_out_forgotten_or_found_under_an_index_before_is_let_go() {
    let mut token = token();
    let zpci = machine();
    let zdev = place(&zpci, 1);
    let view = device(&zdev, "one");
    let gone = Arc::downgrade(&view);
    zdev.bring_in(&mut token, view);
    zdev.take_out(&mut token);
    assert!(gone.upgrade().is_none());

    let zpci = machine_of(1);
    let zdev = place(&zpci, 1);
    let bring_in = |token: &mut ThreadToken| {
        let view = device(&zdev, "one");
        zdev.bring_in(token, Arc::clone(&view));
        Arc::downgrade(&view)
    };
    let view = bring_in(&mut token);
    // One handle for each index, so this is under another one.
    zdev.begin(Work::Recovery).unwrap().renew(&mut token, true).unwrap();
    zdev.take_out(&mut token);
    assert!(view.upgrade().is_none());

    let exchanged = bring_in(&mut token);
    let view = bring_in(&mut token);
    assert!(exchanged.upgrade().is_none() && view.upgrade().is_some());
    zpci.remove(&mut token, Fid(1)).unwrap();
    assert!(view.upgrade().is_none());
    let late = bring_in(&mut token);
    assert!(late.upgrade().is_none());
}

/// Each device is known by its name; a reader notes which name a handle gave, and no handle ever gives two.
#[test]
fn readers_find_the_device_that_the_handle_was_given_for_or_nothing() {
    const ROUNDS: u32 = 400;
    let zpci = machine_of(3);
    let zdev = place(&zpci, 1);
    let (current, expected) = (AtomicU32::new(0), AtomicU32::new(0));
    let (stop, start) = (AtomicBool::new(false), Barrier::new(3));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let token = token();
                start.wait();
                let mut found = 0_u32;
                while !stop.load(Ordering::Acquire) || found == 0 {
                    let before = expected.load(Ordering::Acquire);
                    let handle = Handle::from_bits(current.load(Ordering::Acquire));
                    let name = zpci.with_view(&token, handle, |view| view.function().name().to_owned());
                    if let (Some(name), true) = (name, before == expected.load(Ordering::Acquire)) {
                        assert_eq!(name, before.to_string());
                        found += 1;
                    }
                }
            });
        }
        start.wait();
        let mut token = token();
        for round in 0..ROUNDS {
            let handle = zdev.bring_in(&mut token, device(&zdev, &round.to_string()));
            expected.store(round, Ordering::Release);
            current.store(handle.bits(), Ordering::Release);
            if round % 8 == 0 {
                std::thread::yield_now();
            }
            if round + 1 < ROUNDS {
                zdev.take_out(&mut token);
                assert!(zpci.by_handle(&token, handle).is_none());
            }
        }
        stop.store(true, Ordering::Release);
    });
}

/// A claim's renewal races the removal: whoever loses, the handle that is left is the one of what is there.
#[test]
fn a_renewal_that_races_a_removal_leaves_one_truth() {
    for round in 0..300 {
        let zpci = machine_of(1 + round % 3);
        let zdev = place(&zpci, 1);
        let view = device(&zdev, "one");
        zdev.bring_in(&mut token(), Arc::clone(&view));
        let start = Barrier::new(2);
        let renewed = std::thread::scope(|scope| {
            let renewing = scope.spawn(|| {
                let mut token = token();
                let claim = zdev.begin(Work::Recovery).unwrap();
                start.wait();
                [false, true].map(|enable| claim.renew(&mut token, enable))
            });
            let mut token = token();
            start.wait();
            zdev.take_out(&mut token);
            renewing.join().unwrap()
        });
        let token = token();
        for handle in renewed.into_iter().flatten() {
            assert!(zpci.by_handle(&token, handle).is_none() && zdev.handle() != handle);
        }
        assert_eq!((zdev.configuration(), view.handle()), (Configuration::Standby, Handle::NONE));
        assert!(!zdev.handle().is_enabled() && !zdev.handle().is_none());
        assert_eq!(zdev.work(), None);
    }
}

#[test]
fn the_longest_block_store_is_a_multiple_of_eight_that_the_field_can_say() {
    let zpci = machine();
    let zdev = place(&zpci, 1);
    let assigned = assignment("one", Arc::new(()));
    for (asked, got) in [(0, 0), (7, 0), (128, 128), (130, 128), (8191, 8184), (u16::MAX, 8184)] {
        assert_eq!(View::new(&zdev, &assigned, asked).max_store(), got);
    }
    assert_eq!(Settings::default().groups[0].max_store, 128);
}

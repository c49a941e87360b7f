//! What can be done to a function of this platform: the operations that have to get along with each other, two at a time.

use super::guest::Guest;
use super::{Estate, Work, switch};
use crate::machine::tally::note;
use crate::machine::{ahead, linger};
use crate::slots::board::PORTS;
use gate::ThreadToken;
use pci_core::BarIndex;
use pci_spec::Bdf;
use reset::Method;
use shuttle::rand::Rng;
use std::time::Duration;
use zpci::clp::{self, Clp, SetFunction};
use zpci::hotplug::{Carried, HotplugSlot, Recovered};
use zpci::{AddressSpace, Availability, ErrorCode, Event, Handle, Request};

/// An operation, by the name under which its success is counted.
pub(super) struct Act {
    pub(super) name: &'static str,
    pub(super) act: Work,
}

/// All operations.
pub(super) const ACTS: [Act; 17] = [
    Act { name: "virtual functions", act: virtual_functions },
    Act { name: "FLR", act: flr },
    Act { name: "VF FLR", act: flr_of_virtual },
    Act { name: "bus reset", act: bus_reset },
    Act { name: "recovery", act: recover },
    Act { name: "VF recovery", act: recover_virtual },
    Act { name: "slot reset", act: slot_reset },
    Act { name: "rescan", act: remove_and_rescan },
    Act { name: "attach", act: unbind_and_bind },
    Act { name: "power", act: power },
    Act { name: "configuration", act: configure_off_and_on },
    Act { name: "report", act: report_error },
    Act { name: "availability", act: availability_events },
    Act { name: "error event", act: error_events },
    Act { name: "region", act: region_requests },
    Act { name: "instructions", act: instructions },
    Act { name: "set function", act: set_function },
];

fn virtual_functions(estate: &Estate, token: &mut ThreadToken) {
    for on in [true, false, true] {
        linger();
        let set = estate.places[0].set_virtuals(token, on);
        note("virtual functions", &set.then_some(()).ok_or(()));
    }
}

fn reset_by_flr(estate: &Estate, at: Bdf, token: &mut ThreadToken) -> Result<(), String> {
    let board = &estate.house.board;
    let snapshot = board.snapshot(token);
    let done = board.resets.reset_function_by(token, &snapshot, at, Method::Flr, ahead());
    done.map(drop).map_err(|error| error.to_string())
}

fn flr(estate: &Estate, token: &mut ThreadToken) {
    for _ in 0..2 {
        linger();
        note("FLR", &reset_by_flr(estate, estate.house.bays[0].first(), token));
    }
}

fn flr_of_virtual(estate: &Estate, token: &mut ThreadToken) {
    estate.places[0].set_virtuals(token, true);
    for vfn in [1, 2] {
        linger();
        note("VF FLR", &reset_by_flr(estate, estate.places[0].virtual_address(vfn), token));
    }
}

fn bus_reset(estate: &Estate, token: &mut ThreadToken) {
    for _ in 0..2 {
        linger();
        let board = &estate.house.board;
        let snapshot = board.snapshot(token);
        note("bus reset", &board.resets.reset_bus(token, &snapshot, PORTS[0], ahead()));
    }
}

fn recover_by(slot: &HotplugSlot, name: &'static str, token: &mut ThreadToken) {
    let recovered = slot.recover(token, ahead());
    note(name, &recovered);
    if let Ok(Recovered::Done { handle }) = recovered {
        assert!(handle.is_enabled(), "recovered and not enabled");
    }
}

pub(super) fn recover(estate: &Estate, token: &mut ThreadToken) {
    for _ in 0..2 {
        linger();
        recover_by(&estate.slots[0], "recovery", token);
    }
}

fn recover_virtual(estate: &Estate, token: &mut ThreadToken) {
    estate.places[0].set_virtuals(token, true);
    for vfn in [1, 2] {
        linger();
        if let Some(zdev) = estate.places[0].virtual_zdev(vfn) {
            recover_by(&estate.slots[0].of_virtual(zdev), "VF recovery", token);
        }
    }
}

pub(super) fn slot_reset(estate: &Estate, token: &mut ThreadToken) {
    for _ in 0..2 {
        linger();
        note("slot reset", &estate.slots[0].reset(token, false, ahead()));
    }
}

/// The function is removed, whoever has it, and found again.
fn remove_and_rescan(estate: &Estate, token: &mut ThreadToken) {
    linger();
    estate.house.on(0, slot::Request::Disable { timeout: Duration::ZERO }, token);
    linger();
    note("rescan", &estate.house.board.topology.rescan(token, 0, ahead()));
    estate.house.on(0, slot::Request::Enable, token);
}

/// The user closes its function and opens it again, as drivers for user space are unbound and bound.
fn unbind_and_bind(estate: &Estate, token: &mut ThreadToken) {
    let holder = estate.house.holder(0);
    linger();
    holder.access(token);
    holder.let_go(token);
    linger();
    if let Some(next) = estate.house.attach(0, token) {
        next.access(token);
    }
}

fn power(estate: &Estate, token: &mut ThreadToken) {
    // With virtual functions it is refused.
    estate.places[0].set_virtuals(token, false);
    for on in [false, true] {
        linger();
        switch(estate, on, token);
    }
    note("power", &estate.slots[0].power_status().then_some(()).ok_or(()));
}

/// Carries out what the platform says of a function.
fn availability(estate: &Estate, pec: Availability, token: &mut ThreadToken) {
    let slot = &estate.slots[0];
    let (fid, handle) = (slot.zdev().fid(), slot.zdev().handle());
    let carried = slot.event(token, &Event::Availability { fid, handle, pec }, ahead());
    match carried {
        Carried::Asked(operation) => {
            let _ended = operation.wait(token, ahead()).expect("no deadline fires here");
        }
        Carried::RescanAll => note("rescan", &estate.house.board.topology.rescan(token, 0, ahead())),
        _ => {}
    }
}

/// The platform wants the function back and gives it again.
fn configure_off_and_on(estate: &Estate, token: &mut ThreadToken) {
    for pec in [Availability::DeconfigureRequested, Availability::Configured] {
        linger();
        availability(estate, pec, token);
    }
    note("configuration", &estate.slots[0].power_status().then_some(()).ok_or(()));
}

fn report_error(estate: &Estate, _token: &mut ThreadToken) {
    for report in [[1, 2, 0, 4, 0, 0, 0, 0], [2; 8], [1, 0, 0, 0, 0, 0, 0, 0]] {
        linger();
        note("report", &estate.slots[0].report_error(0, &report));
    }
}

fn availability_events(estate: &Estate, token: &mut ThreadToken) {
    let of_one = [
        Availability::Changed,
        Availability::Deconfigured,
        Availability::Reserved,
        Availability::Standby,
        Availability::Configured,
        Availability::Other(0x0999),
    ];
    for pec in of_one {
        linger();
        availability(estate, pec, token);
    }
    note("availability", &estate.slots[0].power_status().then_some(()).ok_or(()));
}

pub(super) fn error_told(
    estate: &Estate,
    slot: &HotplugSlot,
    handle: Handle,
    pec: ErrorCode,
    token: &mut ThreadToken,
) {
    let fid = slot.zdev().fid();
    let stale = estate.ledger.is_dead(handle);
    let carried = slot.event(token, &Event::Error { fid, handle, pec }, ahead());
    let ignored = matches!(carried, Carried::Ignored);
    estate.house.board.journal.demand(ignored || !stale, || format!("{carried:?} by a stale handle (ZP-06)"));
    note("error event", &(!ignored).then_some(()).ok_or(()));
}

fn error_events(estate: &Estate, token: &mut ThreadToken) {
    let slot = &estate.slots[0];
    let at_first = slot.zdev().handle();
    for pec in [0x002a, 0x003a, 0x003b] {
        linger();
        error_told(estate, slot, slot.zdev().handle(), ErrorCode(pec), token);
        // By now this may be the name of nothing.
        error_told(estate, slot, at_first, ErrorCode(pec), token);
    }
    if let Some(zdev) = estate.places[0].virtual_zdev(1) {
        let of_virtual = slot.of_virtual(zdev);
        error_told(estate, &of_virtual, of_virtual.zdev().handle(), ErrorCode::ERROR, token);
    }
}

/// A program tries every handle that it has seen.
fn instructions(estate: &Estate, token: &mut ThreadToken) {
    let bar = AddressSpace::bar(BarIndex::new(0).unwrap());
    for _ in 0..4 {
        linger();
        for handle in estate.ledger.last(6) {
            let was_dead = estate.ledger.is_dead(handle);
            let loaded = match shuttle::rand::thread_rng().gen_range(0..2) {
                0 => estate.zpci.pcilg(token, Request::new(handle, bar, 8), 0),
                _ => estate.zpci.load(token, Request::new(handle, bar, 8), 0, ahead()),
            };
            note("instructions", &loaded);
            if let Ok(value) = loaded {
                estate.ledger.answered(handle, was_dead, [value.to_le_bytes()[0], 0]);
            }
            note("block store", &estate.zpci.pcistb(token, Request::new(handle, bar, 16), 0, &[0; 16]));
        }
    }
}

/// A guest looks at what there is, disables the function and enables it again.
pub(super) fn set_function(estate: &Estate, token: &mut ThreadToken) {
    for operation in [SetFunction::Disable, SetFunction::Enable, SetFunction::EnableMio, SetFunction::Enable]
    {
        linger();
        let handle = estate.slots[0].zdev().handle();
        let was_dead = estate.ledger.is_dead(handle);
        let listed = estate.zpci.call(token, clp::Request::List { resume: 0 });
        assert!(matches!(listed, Ok(clp::Answer::List(_))), "{listed:?}");
        let set = estate.zpci.call(token, clp::Request::SetFunction { handle, operation, dma_spaces: 1 });
        note("set function", &set);
        let journal = &estate.house.board.journal;
        journal.demand(set.is_err() || !was_dead, || format!("{handle} was set after it was dead"));
    }
}

/// Whoever has the function has operations done by it; whatever happens, there is an answer.
fn region_requests(estate: &Estate, token: &mut ThreadToken) {
    let function = estate.house.holder(0).assignment.clone();
    let guest = Guest::of(&function, token);
    let mut first = None;
    for _ in 0..4 {
        linger();
        note("region", &guest.write(token));
        if let Ok(data) = guest.read(token) {
            let same = *first.get_or_insert(data[0]) == data[0];
            assert!(same, "{data:x?} after {first:x?}: another device (law 5)");
        }
    }
}

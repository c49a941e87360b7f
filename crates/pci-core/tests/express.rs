//! The registers of the PCI Express capability by kind of port.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod board;
mod support;

use board::{OneStep, World, patient};
use gate::{Reason, ThreadToken};
use pci_core::{ConfigEffects, ConfigSpace, ConfigStatus, Width};
use pci_spec::capability::express::{
    DEVICE_CAPABILITIES_2, DEVICE_CONTROL, DEVICE_CONTROL_2, DEVICE_STATUS, DEVICE_STATUS_2,
    LINK_CAPABILITIES, LINK_CAPABILITIES_2, LINK_CONTROL, LINK_CONTROL_2, LINK_STATUS_2, ROOT_CAPABILITIES,
    ROOT_CONTROL, ROOT_STATUS, SLOT_CAPABILITIES, SLOT_CAPABILITIES_2, SLOT_CONTROL, SLOT_STATUS,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use support::{full, identity};

/// Where `full` has the capability.
const EXPRESS: u16 = 0x6c;

/// A function whose capability says what kind of port it is; all registers of it read 0x5a in every byte.
fn port(capabilities: u32) -> (World, mpsc::Receiver<(u16, u32)>) {
    let (send, writes) = mpsc::channel();
    let world = World::hooked(full().build().unwrap(), move |at, value| {
        let inside = (EXPRESS + 4..EXPRESS + 0x3c).contains(&at.register);
        if let Some(value) = value {
            let _ = send.send((at.register, value));
        }
        Ok(match at.register {
            register if register == EXPRESS + 2 => Some(capabilities),
            _ if inside => Some(0x5a5a_5a5a),
            _ => None,
        })
    });
    (world, writes)
}

const V1: u32 = 1;
const V2: u32 = 2;
const SLOT: u32 = 1 << 8;

/// Kind of port and version, then which groups it has: link, slot, root, second version.
const PORTS: &[(u32, [bool; 4])] = &[
    (V2, [true, false, false, true]),
    (V2 | 0x1 << 4, [true, false, false, true]),
    (V2 | 0x4 << 4, [true, false, true, true]),
    (V2 | 0x4 << 4 | SLOT, [true, true, true, true]),
    (V2 | 0x5 << 4, [true, false, false, true]),
    (V2 | 0x5 << 4 | SLOT, [true, false, false, true]),
    (V2 | 0x6 << 4 | SLOT, [true, true, false, true]),
    (V2 | 0x7 << 4, [true, false, false, true]),
    (V2 | 0x8 << 4 | SLOT, [true, true, false, true]),
    (V2 | 0x9 << 4, [false, false, false, true]),
    (V2 | 0xa << 4, [false, false, true, true]),
    (V1, [true, false, false, false]),
    (V1 | 0x9 << 4, [false, false, false, false]),
];

/// Registers with the group they belong to: `None` is in every function, 4 is in none.
const REGISTERS: &[(u16, Option<usize>)] = &[
    (DEVICE_CONTROL, None),
    (DEVICE_STATUS, None),
    (LINK_CAPABILITIES, Some(0)),
    (LINK_CAPABILITIES + 2, Some(0)),
    (LINK_CONTROL, Some(0)),
    (SLOT_CAPABILITIES, Some(1)),
    (SLOT_CONTROL, Some(1)),
    (ROOT_CONTROL, Some(2)),
    (ROOT_CAPABILITIES, Some(2)),
    (ROOT_STATUS, Some(2)),
    (DEVICE_CAPABILITIES_2, Some(3)),
    (DEVICE_CONTROL_2, Some(3)),
    (DEVICE_STATUS_2, Some(4)),
    (SLOT_CAPABILITIES_2, Some(4)),
    (0, Some(4)),
    (0x3c, Some(4)),
];

#[test]
fn a_register_that_the_kind_of_port_lacks_reads_zero_and_ignores_writes() {
    // CFG-06, CFG-07
    let token = &ThreadToken::at_thread_entry();
    for (capabilities, groups) in PORTS {
        let (world, writes) = port(*capabilities);
        let pass = world.pass(token);
        for (offset, group) in REGISTERS {
            let has = group.is_none_or(|group| groups.get(group).copied().unwrap_or(false));
            let what = format!("port {capabilities:#x}, register {offset:#x}");
            let read = world.function.express_read(&pass, *offset, Width::Word);
            assert_eq!(read, Ok(if has { 0x5a5a } else { 0 }), "{what}");
            world.function.express_write(&pass, *offset, Width::Word, 0x1234).unwrap();
            let expected: &[_] = if has { &[(EXPRESS + offset, 0x1234)] } else { &[] };
            assert_eq!(writes.try_iter().collect::<Vec<_>>(), expected, "{what}");
            world.function.express_clear_and_set(&pass, *offset, Width::Word, 0xff, 0x81).unwrap();
            let expected: &[_] = if has { &[(EXPRESS + offset, 0x5a81)] } else { &[] };
            assert_eq!(writes.try_iter().collect::<Vec<_>>(), expected, "{what}");
        }
        for offset in [LINK_CAPABILITIES_2, LINK_CONTROL_2, LINK_STATUS_2] {
            let read = world.function.express_read(&pass, offset, Width::Word);
            assert_eq!(
                read,
                Ok(if groups[0] && groups[3] { 0x5a5a } else { 0 }),
                "{capabilities:#x} {offset:#x}"
            );
        }
    }
}

#[test]
fn a_downstream_port_without_a_slot_always_has_something_behind_it() {
    // CFG-06: PDS
    let token = &ThreadToken::at_thread_entry();
    let table = [(0x4, 0x40), (0x6, 0x40), (0x8, 0x40), (0x0, 0), (0x5, 0), (0x9, 0)];
    for (port_type, status) in table {
        let (world, _writes) = port(V2 | port_type << 4);
        let pass = world.pass(token);
        assert_eq!(
            world.function.express_read(&pass, SLOT_STATUS, Width::Word),
            Ok(status),
            "{port_type:#x}"
        );
        assert_eq!(world.function.express_read(&pass, SLOT_CONTROL, Width::Dword), Ok(0));
    }
    let (world, _writes) = port(V2 | 0x6 << 4 | SLOT);
    assert_eq!(world.function.express_read(&world.pass(token), SLOT_STATUS, Width::Word), Ok(0x5a5a));
}

#[test]
fn a_misaligned_register_of_the_capability_is_refused() {
    // CFG-06
    let world = World::new(full().build().unwrap());
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    for (offset, width) in [(9, Width::Word), (0xa, Width::Dword), (8, Width::Byte)] {
        let bad = Err(ConfigStatus::BadRegisterNumber);
        assert_eq!(world.function.express_read(&pass, offset, width), bad);
        assert_eq!(world.function.express_write(&pass, offset, width, 0).map(drop), bad.map(drop));
        assert_eq!(world.function.express_clear_and_set(&pass, offset, width, 0, 0).map(drop), bad.map(drop));
    }
    assert_eq!(world.board.touched(), 0);
}

#[test]
fn a_failed_read_of_the_capability_has_no_value_and_is_not_remembered() {
    // CFG-06: the value of a failure is 0 here, and never all-ones.
    let world = World::new(full().build().unwrap());
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    world.fail_with(Some(ConfigStatus::DeviceNotFound));
    let read = world.function.express_read(&pass, DEVICE_CONTROL, Width::Word);
    assert_eq!(read, Err(ConfigStatus::DeviceNotFound));
    assert_eq!(read.unwrap_or_default(), 0);
    world.fail_with(None);
    assert_eq!(world.function.express_read(&pass, DEVICE_CONTROL, Width::Word), Ok(0x2810));
}

#[test]
fn what_reads_as_all_ones_is_not_taken_for_a_capability() {
    // And it is not remembered: the function stops and begins to answer in the middle of the look-up.
    let answers = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = answers.clone();
    let world = World::hooked(full().build().unwrap(), move |at, _| {
        let silent = at.register == EXPRESS + 2 && !switch.load(Ordering::SeqCst);
        Ok(silent.then_some(0xffff))
    });
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    assert_eq!(world.function.express_read(&pass, DEVICE_CONTROL, Width::Word), Ok(0));
    answers.store(true, Ordering::SeqCst);
    assert_eq!(world.function.express_read(&pass, DEVICE_CONTROL, Width::Word), Ok(0x2810));
}

#[test]
fn a_function_without_the_capability_reads_zero_and_ignores_writes() {
    // CFG-06, CFG-07
    let world = World::new(ConfigSpace::builder(identity()).build().unwrap());
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    assert_eq!(world.function.express_read(&pass, DEVICE_CONTROL, Width::Word), Ok(0));
    let written = world.function.express_write(&pass, DEVICE_CONTROL, Width::Word, 0xffff);
    assert_eq!(written, Ok(ConfigEffects::default()));
}

#[test]
fn the_place_of_the_capability_is_looked_up_once() {
    let reads = Arc::new(AtomicUsize::new(0));
    let count = reads.clone();
    let world = World::hooked(full().build().unwrap(), move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(None)
    });
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    world.function.express_read(&pass, DEVICE_CONTROL, Width::Word).unwrap();
    let first = reads.swap(0, Ordering::SeqCst);
    world.function.express_read(&pass, DEVICE_CONTROL, Width::Word).unwrap();
    assert!(first > 1 && reads.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_reset_asked_for_through_the_capability_is_done_under_a_proof() {
    let world = World::new(full().build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    let quiesced = world.function.gate().close(token, Reason::Reset, patient()).unwrap();
    let reset = world.function.express_clear_and_set(&quiesced, DEVICE_CONTROL, Width::Word, 0, 0x8000);
    assert!(reset.unwrap().flr);
    assert_eq!(world.heard(), ["function level reset"]);
}

#[test]
fn a_clear_and_set_is_one_step_to_all_writers_of_the_function() {
    // CFG-07, for Link Control and for what a consumer writes to it.
    let steps = Arc::new(OneStep::default());
    let watch = steps.clone();
    let world = &World::hooked(full().build().unwrap(), move |at, value| {
        if at.register == EXPRESS + LINK_CONTROL {
            watch.see(value.is_some());
        }
        Ok(None)
    });
    std::thread::scope(|scope| {
        for bit in [1_u32 << 6, 1 << 7] {
            let steps = &steps;
            scope.spawn(move || {
                let token = &ThreadToken::at_thread_entry();
                for round in 0..1000 {
                    let (clear, set) = if round % 2 == 0 { (0, bit) } else { (bit, 0) };
                    steps.want();
                    let pass = world.pass(token);
                    world
                        .function
                        .express_clear_and_set(&pass, LINK_CONTROL, Width::Word, clear, set)
                        .unwrap();
                }
            });
        }
        let steps = &steps;
        scope.spawn(move || {
            let token = &mut ThreadToken::at_thread_entry();
            for _ in 0..1000 {
                steps.want();
                let register = EXPRESS + LINK_CONTROL;
                world.function.write_register(token, register, Width::Word, 0, patient()).unwrap();
            }
        });
    });
}

//! INTx check and mask, through the accessors that everybody uses.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod board;
mod support;

use board::{World, patient};
use gate::{AccessKind, Reason, Refusal, ThreadToken};
use pci_core::{Command, ConfigStatus, Width};
use pci_spec::Status;
use support::full;

const COMMAND: u16 = 0x04;
const DISABLE: Command = Command::INTERRUPT_DISABLE;

#[test]
fn a_pending_interrupt_is_masked_and_only_that() {
    // CFG-11
    let world = World::new(full().build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    world.function.write_register(token, COMMAND, Width::Word, 6, patient()).unwrap();
    world.config.record_status(Status::SIGNALED_SYSTEM_ERROR);
    world.heard();
    let pass = world.pass(token);
    let f = &world.function;
    assert_eq!(f.check_and_mask_intx(&pass), Ok(false), "not ours");
    assert!(!world.config.command().contains(DISABLE));
    world.config.set_intx_status(true);
    assert_eq!(f.check_and_mask_intx(&pass), Ok(true));
    assert_eq!(world.config.command().bits(), 0x0406);
    assert_eq!(world.heard(), ["command 0x6 to 0x406"], "the device is told as of any write");
    assert!(world.config.status().contains(Status::SIGNALED_SYSTEM_ERROR), "STATUS is not written");
    assert_eq!(f.check_and_mask_intx(&pass), Ok(true), "masked already, and still ours");
    assert!(world.heard().is_empty());
}

#[test]
fn an_interrupt_that_is_still_pending_is_not_unmasked() {
    // CFG-11
    let world = World::new(full().build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    world.config.set_intx_status(true);
    world.function.check_and_mask_intx(&pass).unwrap();
    assert_eq!(world.function.check_and_unmask_intx(&pass), Ok(false));
    assert!(world.config.command().contains(DISABLE));
    world.config.set_intx_status(false);
    assert_eq!(world.function.check_and_unmask_intx(&pass), Ok(true));
    assert!(!world.config.command().contains(DISABLE));
    assert_eq!(world.function.check_and_unmask_intx(&pass), Ok(true), "nothing to do");
}

#[test]
fn command_and_status_are_read_in_one_access() {
    // CFG-11: a status read apart from its command could belong to another moment.
    let (send, accesses) = std::sync::mpsc::channel();
    let world = World::hooked(full().build().unwrap(), move |at, value| {
        let _ = send.send((at.register, value));
        Ok(None)
    });
    world.config.set_intx_status(true);
    let token = &mut ThreadToken::at_thread_entry();
    assert_eq!(world.function.check_and_mask_intx(&world.pass(token)), Ok(true));
    assert_eq!(accesses.try_iter().collect::<Vec<_>>(), [(4, None), (4, Some(0x0400))]);
}

#[test]
fn a_failed_access_masks_nothing_and_says_so() {
    let world = World::new(full().build().unwrap());
    world.config.set_intx_status(true);
    world.fail_with(Some(ConfigStatus::DeviceNotFound));
    let token = &mut ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    assert_eq!(world.function.check_and_mask_intx(&pass), Err(ConfigStatus::DeviceNotFound));
    assert_eq!(world.function.probe_intx_masking(&pass), Err(ConfigStatus::DeviceNotFound));
    assert_eq!(world.config.command(), Command::empty());
}

#[test]
fn masking_goes_through_the_gate_and_not_round_the_back() {
    // CFG-I9: there is no pass while the function is blocked, and without a pass there is no masking.
    let world = World::new(full().build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    world.config.set_intx_status(true);
    let handle = world.function.handle().clone();
    let blocked = world.function.gate().close(token, Reason::Reset, patient()).unwrap();
    let entered = handle.try_enter(blocked.token(), AccessKind::Interrupt).map(drop);
    assert_eq!(entered, Err(Refusal::Blocked(Reason::Reset)));
    assert_eq!(world.board.touched(), 0);
    drop(blocked);
    let pass = handle.try_enter(token, AccessKind::Interrupt).unwrap();
    assert_eq!(world.function.check_and_mask_intx(&pass), Ok(true));
}

/// Other threads run between any two steps.
fn interleaved() -> World {
    let world = World::hooked(full().build().unwrap(), |_, _| {
        std::thread::yield_now();
        Ok(None)
    });
    world.config.set_intx_status(true);
    world
}

const ROUNDS: usize = 3000;

#[test]
fn a_consumers_write_to_command_is_never_undone_by_a_masker() {
    // CFG-I9: the read and the write of the masker are one step to all other writers.
    let world = &interleaved();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let token = &mut ThreadToken::at_thread_entry();
            for round in 0..ROUNDS {
                let wanted = if round % 2 == 0 { Command::BUS_MASTER } else { Command::MEMORY_SPACE };
                let value = u32::from((wanted | DISABLE).bits());
                world.function.write_register(token, COMMAND, Width::Word, value, patient()).unwrap();
                let read = world.function.read_register(token, COMMAND, Width::Word, patient()).unwrap();
                let others = Command::from_bits_truncate(u16::try_from(read).unwrap()) - DISABLE;
                assert_eq!(others, wanted, "a masker put an old COMMAND back");
            }
        });
        scope.spawn(move || {
            let token = &ThreadToken::at_thread_entry();
            for _ in 0..ROUNDS {
                world.config.set_intx_status(false);
                world.function.check_and_unmask_intx(&world.pass(token)).unwrap();
                world.config.set_intx_status(true);
                world.function.check_and_mask_intx(&world.pass(token)).unwrap();
            }
        });
    });
}

#[test]
fn two_maskers_agree_with_the_register_and_with_what_the_device_is_told() {
    // CFG-11: each change of DisINTx is seen by exactly one of the two, whoever makes it.
    let world = &interleaved();
    std::thread::scope(|scope| {
        for pending in [true, false] {
            scope.spawn(move || {
                let token = &ThreadToken::at_thread_entry();
                for _ in 0..ROUNDS {
                    world.config.set_intx_status(pending);
                    let pass = world.pass(token);
                    if pending {
                        world.function.check_and_mask_intx(&pass).unwrap();
                    } else {
                        world.function.check_and_unmask_intx(&pass).unwrap();
                    }
                }
            });
        }
    });
    let told = world.heard();
    let masked = told.iter().filter(|told| *told == "command 0x0 to 0x400").count();
    let unmasked = told.iter().filter(|told| *told == "command 0x400 to 0x0").count();
    assert_eq!(masked + unmasked, told.len());
    assert_eq!(masked - unmasked, usize::from(world.config.command().contains(DISABLE)));
}

#[test]
fn the_probe_toggles_the_bit_and_puts_it_back() {
    // CFG-12
    for command in [0x0006, 0x0406] {
        let world = World::new(full().build().unwrap());
        let token = &mut ThreadToken::at_thread_entry();
        world.function.write_register(token, COMMAND, Width::Word, command, patient()).unwrap();
        world.heard();
        assert_eq!(world.function.probe_intx_masking(&world.pass(token)), Ok(true));
        assert_eq!(u32::from(world.config.command().bits()), command);
        assert_eq!(world.heard().len(), 2, "it was toggled");
    }
}

#[test]
fn a_function_whose_bit_does_not_toggle_cannot_mask() {
    // CFG-12
    let stuck = World::hooked(full().build().unwrap(), |at, _| Ok((at.register == COMMAND).then_some(6)));
    let token = &mut ThreadToken::at_thread_entry();
    assert_eq!(stuck.function.probe_intx_masking(&stuck.pass(token)), Ok(false));
    let other_bits = std::sync::atomic::AtomicU32::new(0);
    let restless = World::hooked(full().build().unwrap(), move |at, value| {
        let next = || other_bits.fetch_add(0x0401, std::sync::atomic::Ordering::SeqCst);
        Ok((at.register == COMMAND && value.is_none()).then(next))
    });
    assert_eq!(
        restless.function.probe_intx_masking(&restless.pass(token)),
        Ok(false),
        "another bit changed too"
    );
}

#[test]
fn a_function_known_to_mask_badly_is_not_even_probed() {
    // CFG-12: the quirk has the last word.
    let world = World::with(full().build().unwrap(), pci_core::Function::without_intx_masking);
    let token = &mut ThreadToken::at_thread_entry();
    assert_eq!(world.function.probe_intx_masking(&world.pass(token)), Ok(false));
    assert_eq!(world.board.touched(), 0);
}

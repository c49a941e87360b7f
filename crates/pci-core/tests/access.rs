//! Internal and user accessors of a function behind a host bridge, and what its states mean to them.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod board;
mod support;

use board::{Board, World, at, bridge, ecam, passed, patient, wait_until};
use gate::{AccessKind, Busy, Deadline, Gate, GateState, Gone, Reason, Refusal, ThreadToken};
use pci_core::{
    AccessError, ConfigSpace, ConfigStatus, Errno, Express, Function, IoState, PENDING_POLLS, PowerState,
    Presence, Time, VirtualTime, Width,
};
use pci_spec::capability::express::{self, DeviceStatus};
use std::sync::Arc;
use std::time::Duration;
use support::{full, identity, read16};

const COMMAND: u16 = 0x04;
const PMCSR: u16 = 0x44;
const DEVICE_CONTROL: u16 = 0x74;
const DEVICE_STATUS: u16 = 0x76;
const FLR: u32 = 0xa810;

fn world() -> World {
    World::new(full().build().unwrap())
}

#[test]
fn a_misaligned_internal_access_is_a_bad_register_number_and_reaches_nothing() {
    // CFG-01
    let world = world();
    let token = &mut ThreadToken::at_thread_entry();
    let bad =
        [(1, Width::Word), (3, Width::Word), (2, Width::Dword), (0xfff, Width::Word), (0x1000, Width::Byte)];
    for (register, width) in bad {
        let pass = world.pass(token);
        let read = world.function.config_read(&pass, register, width);
        let write = world.function.config_write(&pass, register, width, 0);
        assert_eq!(read, Err(ConfigStatus::BadRegisterNumber), "{register:#x}");
        assert_eq!(write.err(), Some(ConfigStatus::BadRegisterNumber), "{register:#x}");
        drop(pass);
        let quiesced = world.function.gate().close(token, Reason::Reset, patient()).unwrap();
        let write = world.function.config_write_quiesced(&quiesced, register, width, 0);
        assert_eq!(write, Err(ConfigStatus::BadRegisterNumber), "{register:#x}");
    }
    assert_eq!((ConfigStatus::BadRegisterNumber.code(), world.board.touched()), (0x87, 0));
    let pass = world.pass(token);
    for (width, value) in [(Width::Byte, 0x36), (Width::Word, 0x1b36), (Width::Dword, 0x0010_1b36)] {
        assert_eq!(world.function.config_read(&pass, 0, width), Ok(value));
    }
}

#[test]
fn each_status_has_its_error_number() {
    // CFG-02
    let table = [
        (0x81, Errno::ENOENT),
        (0x83, Errno::ENOTTY),
        (0x86, Errno::ENODEV),
        (0x87, Errno::EFAULT),
        (0x88, Errno::EIO),
        (0x89, Errno::ENOSPC),
        (0x80, Errno::ERANGE),
        (0xff, Errno::ERANGE),
    ];
    let world = world();
    let token = &mut ThreadToken::at_thread_entry();
    for (code, errno) in table {
        assert_eq!(ConfigStatus::errno_of_code(code), errno, "{code:#x}");
        let Some(status) = ConfigStatus::from_code(code) else { continue };
        assert_eq!((status.code(), status.errno()), (code, errno));
        world.fail_with(Some(status));
        let read = world.function.read_register(token, 0, Width::Dword, patient()).unwrap_err();
        let write = world.function.write_register(token, 4, Width::Word, 0, patient()).unwrap_err();
        assert_eq!((read.errno(), write.errno()), (errno, errno), "{read} {write}");
    }
}

#[test]
fn a_misaligned_user_access_is_an_invalid_argument() {
    // CFG-02
    let world = world();
    let token = &mut ThreadToken::at_thread_entry();
    for (register, width) in [(1, Width::Word), (2, Width::Dword), (7, Width::Dword)] {
        let read = world.function.read_register(token, register, width, patient()).unwrap_err();
        let write = world.function.write_register(token, register, width, 0, patient()).unwrap_err();
        assert!(matches!(read, AccessError::Misaligned) && matches!(write, AccessError::Misaligned));
        assert_eq!((read.errno(), write.errno()), (Errno::EINVAL, Errno::EINVAL));
    }
    let beyond = world.function.read_register(token, 0x1000, Width::Dword, patient()).unwrap_err();
    let write = world.function.write_register(token, 0x1000, Width::Dword, 0, patient()).unwrap_err();
    assert_eq!((beyond.errno(), write.errno()), (Errno::EFAULT, Errno::EFAULT));
    assert_eq!(world.board.touched(), 0);
    assert_eq!(world.function.read_register(token, 2, Width::Word, patient()).unwrap(), 0x0010);
}

#[test]
fn a_failed_read_is_all_ones_in_its_width() {
    // CFG-03
    let world = world();
    let token = &mut ThreadToken::at_thread_entry();
    world.fail_with(Some(ConfigStatus::SetFailed));
    for (width, ones) in [(Width::Byte, 0xff), (Width::Word, 0xffff), (Width::Dword, u32::MAX)] {
        let pass = world.pass(token);
        assert_eq!(world.function.config_read(&pass, 0, width).unwrap_or(width.all_ones()), ones);
    }
    let mut data = [0; 7];
    assert!(world.function.read_config(token, 1, &mut data, patient()).is_err());
    assert_eq!(data, [0xff; 7]);
    assert_eq!(world.function.dropped().config_reads, 1);
}

#[test]
fn only_the_registers_that_fail_are_all_ones() {
    // CFG-03
    let config = full().build().unwrap();
    let fails = |register| if register == 4 { Err(ConfigStatus::DeviceNotFound) } else { Ok(None) };
    let world = World::hooked(config, move |at, _| fails(at.register));
    let token = &mut ThreadToken::at_thread_entry();
    let mut data = [0; 10];
    let read = world.function.read_config(token, 1, &mut data, patient());
    assert!(matches!(read, Err(AccessError::Config(ConfigStatus::DeviceNotFound))), "{read:?}");
    assert_eq!(data, [0x1b, 0x10, 0x00, 0xff, 0xff, 0xff, 0xff, 2, 2, 8]);
}

#[test]
fn any_length_is_split_into_naturally_aligned_pieces() {
    // CFG-13, CAP-03
    let log = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = log.clone();
    let world = World::hooked(full().build().unwrap(), move |at, _| {
        seen.fetch_update(std::sync::atomic::Ordering::SeqCst, std::sync::atomic::Ordering::SeqCst, |log| {
            Some(log << 8 | u64::from(at.register))
        })
        .unwrap();
        Ok(None)
    });
    let token = &mut ThreadToken::at_thread_entry();
    let mut data = [0; 14];
    world.function.read_config(token, 0x0d, &mut data, patient()).unwrap();
    assert_eq!(log.swap(0, std::sync::atomic::Ordering::SeqCst), 0x0d_0e_10_14_18_1a & 0xff_ff_ff_ff_ff_ff);
    let mut direct = [0; 14];
    world.config.read(0x0d, &mut direct);
    assert_eq!(data, direct);
    world.function.write_config(token, 0x3c, &[7], patient()).unwrap();
    world.function.write_config(token, 0x0d, &data, patient()).unwrap();
    assert_eq!(log.load(std::sync::atomic::Ordering::SeqCst), 0x3c_0d_0e_10_14_18_1a);
}

#[test]
fn a_removed_function_is_not_touched_even_by_those_still_inside() {
    // CFG-04, CFG-I4
    let world = world();
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    std::thread::scope(|scope| {
        let remover = || world.function.disconnect(&mut ThreadToken::at_thread_entry(), passed());
        assert_eq!(scope.spawn(remover).join().unwrap().orphans.len(), 1);
    });
    let before = world.board.touched();
    assert_eq!(world.function.config_read(&pass, 0, Width::Dword), Err(ConfigStatus::DeviceNotFound));
    let write = world.function.config_write(&pass, COMMAND, Width::Word, 7);
    assert_eq!(write.err(), Some(ConfigStatus::DeviceNotFound));
    assert_eq!(world.function.check_and_mask_intx(&pass), Err(ConfigStatus::DeviceNotFound));
    drop(pass);
    assert_eq!(world.board.touched(), before);
}

#[test]
fn user_accesses_to_a_removed_function_say_so_and_read_all_ones() {
    // CFG-04 for the user accessors, which Linux forgets.
    let world = world();
    let token = &mut ThreadToken::at_thread_entry();
    assert!(world.function.disconnect(token, patient()).orphans.is_empty());
    let mut data = [0; 4];
    let read = world.function.read_config(token, 0, &mut data, patient()).unwrap_err();
    assert_eq!((read.errno(), data), (Errno::ENODEV, [0xff; 4]));
    let read = world.function.read_register(token, 0, Width::Dword, patient()).unwrap_err();
    let write = world.function.write_register(token, 4, Width::Word, 0, patient()).unwrap_err();
    assert_eq!((read.errno(), write.errno()), (Errno::ENODEV, Errno::ENODEV));
    assert_eq!(world.board.touched(), 0);
}

#[test]
fn a_function_behind_a_bridge_does_what_it_does_alone() {
    let world = world();
    let token = &mut ThreadToken::at_thread_entry();
    world.function.write_register(token, COMMAND, Width::Word, 6, patient()).unwrap();
    assert_eq!(world.heard(), ["command 0x0 to 0x6"], "effects come back through the operations");
    world.function.write_register(token, PMCSR, Width::Word, 3, patient()).unwrap();
    assert_eq!(world.config.power_state(), PowerState::D3Hot);
    world.function.write_register(token, PMCSR, Width::Word, 0, patient()).unwrap();
    let effects = world.function.write_register(token, DEVICE_CONTROL, Width::Word, FLR, patient()).unwrap();
    assert!(effects.flr);
    assert_eq!(world.config.command().bits(), 0, "the reset took place");
    world.heard();

    let quiesced = world.function.gate().close(token, Reason::Reset, patient()).unwrap();
    world.function.config_write_quiesced(&quiesced, DEVICE_CONTROL, Width::Word, FLR).unwrap();
    assert_eq!(world.heard(), ["function level reset"]);
    drop(quiesced);
    let pass = world.pass(token);
    let written = world.function.config_write(&pass, DEVICE_CONTROL, Width::Word, FLR).unwrap();
    assert!(written.effects().flr && world.heard().is_empty(), "under a pass it is only asked for");
    drop(pass);
    written.carry_out(token, patient()).unwrap();
    assert_eq!(world.heard(), ["function level reset"], "and done once that was left");
}

#[test]
fn what_an_earlier_register_asks_for_is_done_although_a_later_one_fails() {
    let config = full().build().unwrap();
    let world = World::hooked(config, |at, value| match value {
        Some(_) if at.register == 0x4c => Err(ConfigStatus::SetFailed),
        _ => Ok(None),
    });
    let token = &mut ThreadToken::at_thread_entry();
    let write = world.function.write_config(token, PMCSR, &[3, 0, 0, 0, 0, 0, 0, 0, 1], patient());
    assert!(matches!(write, Err(AccessError::Config(ConfigStatus::SetFailed))), "{write:?}");
    assert_eq!(world.config.power_state(), PowerState::D3Hot);
    assert_eq!(world.function.dropped().config_writes, 1);
}

#[test]
fn block_and_unblock_are_close_and_drop_and_try_never_waits() {
    // CFG-08, CFG-I5: only who has the proof can unblock, which is dropping it.
    let world = world();
    let gate = world.function.gate().clone();
    let token = &mut ThreadToken::at_thread_entry();
    let other = Gate::new("another function");
    let handle = other.handle();
    let blocked = gate.close(token, Reason::Reset, patient()).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            // As in atomic context: with a pass held, where waiting does not compile.
            let pass = handle.try_enter(token, AccessKind::Config).unwrap();
            assert_eq!(
                gate.try_close(pass.token(), Reason::Reset).map(drop),
                Err(Busy::Closed(Reason::Reset))
            );
            drop(pass);
            gate.close(token, Reason::PowerChange, patient()).map(drop).is_ok()
        });
        wait_until("the second waits", || gate.status().waiting_closers == 1);
        assert_eq!(gate.status().state, GateState::Blocked(Reason::Reset), "nothing of it was undone");
        drop(blocked);
        assert!(second.join().unwrap(), "unblocking woke it");
    });
    assert_eq!(gate.status().state, GateState::Open);
}

#[test]
fn a_blocked_function_holds_up_its_own_users_only() {
    // CFG-09, CFG-I8
    let config = || Arc::new(full().build().unwrap());
    let configs = [config(), config()];
    let board = Board::with([(0x0100, configs[0].clone()), (0x0101, configs[1].clone())]);
    let bridge = bridge(ecam(&board));
    let world = world();
    let make = |name: &str, config: &Arc<ConfigSpace>, id| {
        let function = Function::new(name, Gate::new(name), config.clone(), world.function.device().clone());
        function.behind(bridge.clone(), at(id))
    };
    let (first, second) = (make("first", &configs[0], 0x0100), make("second", &configs[1], 0x0101));
    let token = &mut ThreadToken::at_thread_entry();
    let blocked = first.gate().close(token, Reason::Reset, patient()).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            first.read_register(&mut ThreadToken::at_thread_entry(), 0, Width::Word, patient()).unwrap()
        });
        wait_until("a user waits", || first.gate().status().waiting_accesses == 1);
        let other = scope.spawn(|| {
            second.read_register(&mut ThreadToken::at_thread_entry(), 0, Width::Word, passed()).unwrap()
        });
        assert_eq!(other.join().unwrap(), 0x1b36);
        assert_eq!(board.touched(), 1, "CFG-I6: nothing of the first function was touched");
        drop(blocked);
        assert_eq!(waiter.join().unwrap(), 0x1b36);
    });
    let blocked = first.gate().close(token, Reason::Reset, patient()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let read = first.read_register(&mut ThreadToken::at_thread_entry(), 0, Width::Word, passed());
            assert_eq!(read.unwrap_err().errno(), Errno::ETIMEDOUT);
        });
    });
    drop(blocked);
}

#[test]
fn a_failed_try_of_two_functions_leaves_both_as_they_were() {
    // CFG-10
    let (bridge, function) = (Gate::new("bridge"), Gate::new("function"));
    let token = &ThreadToken::at_thread_entry();
    let handle = function.handle();
    let inside = handle.try_enter(token, AccessKind::Config).unwrap();
    let both = bridge.try_close(token, Reason::Reset).and_then(|first| {
        let second = function.try_close(first.token(), Reason::Reset)?;
        drop(second);
        Ok(())
    });
    assert_eq!(both, Err(Busy::Inside));
    assert_eq!((bridge.status().state, function.status().state), (GateState::Open, GateState::Open));
    drop(inside);
    let first = bridge.try_close(token, Reason::Reset).unwrap();
    assert!(function.try_close(first.token(), Reason::Reset).is_ok());
}

#[test]
fn a_vendor_id_of_one_is_not_ready_and_all_ones_is_absent() {
    // CFG-16
    let table = [
        (0x0010_1b36, Presence::Present { vendor: 0x1b36, device: 0x0010 }),
        (0x0000_1b36, Presence::Present { vendor: 0x1b36, device: 0 }),
        (0xffff_0001, Presence::NotReady),
        (0x1234_0001, Presence::NotReady),
        (0xffff_ffff, Presence::Absent),
        (0x0000_0000, Presence::Absent),
        (0x0000_ffff, Presence::Absent),
        (0xffff_0000, Presence::Absent),
    ];
    for (dword, presence) in table {
        assert_eq!(Presence::decode(dword), presence, "{dword:#010x}");
        let answer = move |register| (register == 0).then_some(dword);
        let world = World::hooked(full().build().unwrap(), move |at, _| Ok(answer(at.register)));
        let token = &mut ThreadToken::at_thread_entry();
        assert_eq!(world.function.presence(&world.pass(token)), Ok(presence));
        assert_eq!(world.function.bridge().unwrap().presence(token, at(0x0100)), presence);
    }
}

/// Device Status shows pending transactions for as many looks as told.
fn pending_for(looks: usize) -> (World, Arc<std::sync::atomic::AtomicUsize>) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (left, count) = (Arc::new(AtomicUsize::new(looks)), Arc::new(AtomicUsize::new(0)));
    let looked = count.clone();
    let world = World::hooked(full().build().unwrap(), move |at, _| {
        if at.register != DEVICE_STATUS {
            return Ok(None);
        }
        looked.fetch_add(1, Ordering::SeqCst);
        let pending =
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        Ok(Some(if pending { u32::from(DeviceStatus::TRANSACTIONS_PENDING.bits()) } else { 0 }))
    });
    (world, count)
}

#[test]
fn pending_transactions_are_waited_for_in_four_looks() {
    // CFG-17
    let token = &mut ThreadToken::at_thread_entry();
    for (looks, waited, idle) in
        [(0, 0, true), (1, 100, true), (2, 300, true), (3, 700, true), (4, 700, false)]
    {
        let (world, count) = pending_for(looks);
        let time = VirtualTime::default();
        let closed = world.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
        let (closed, is_idle) = world.function.wait_for_pending(closed, token, &time).unwrap();
        assert_eq!((time.now(), is_idle), (Duration::from_millis(waited), idle));
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), (looks + 1).min(4));
        assert_eq!(
            world.function.gate().status().state,
            GateState::Blocked(Reason::Reset),
            "held all the time"
        );
        drop(closed);
        assert_eq!(world.function.gate().status().state, GateState::Open);
    }
    assert_eq!(PENDING_POLLS.iter().sum::<Duration>(), Duration::from_millis(700));
}

#[test]
fn a_removal_ends_the_wait_for_pending_transactions() {
    // CFG-17, law 4
    #[derive(Debug)]
    struct Removes(Gate);
    impl Time for Removes {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn pass(
            &self,
            _token: &mut ThreadToken,
            closed: &dyn pci_core::StaysClosed,
            _duration: Duration,
        ) -> Result<(), Gone> {
            std::thread::scope(|scope| {
                scope.spawn(|| self.0.retire(&mut ThreadToken::at_thread_entry(), passed()));
            });
            if closed.is_gone() { Err(Gone) } else { Ok(()) }
        }
    }
    let (world, count) = pending_for(9);
    let token = &mut ThreadToken::at_thread_entry();
    let closed = world.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
    let time = Removes(world.function.gate().clone());
    assert!(world.function.wait_for_pending(closed, token, &time).is_err());
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn a_function_that_does_not_answer_or_is_not_express_has_nothing_pending() {
    // CFG-17
    let token = &mut ThreadToken::at_thread_entry();
    let time = VirtualTime::default();
    let silent =
        World::hooked(full().build().unwrap(), |at, _| Ok((at.register == DEVICE_STATUS).then_some(0xffff)));
    let plain = World::new(ConfigSpace::builder(identity()).build().unwrap());
    for world in [silent, plain] {
        let closed = world.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
        assert!(world.function.wait_for_pending(closed, token, &time).unwrap().1);
    }
    assert_eq!(time.now(), Duration::ZERO);
    assert_eq!(express::DEVICE_STATUS + 0x6c, DEVICE_STATUS);
}

#[test]
fn normal_and_frozen_undo_each_other_and_permanent_failure_is_terminal() {
    // CFG-18
    let world = world();
    let function = &world.function;
    let token = &mut ThreadToken::at_thread_entry();
    assert_eq!(function.io_state(), IoState::Normal);
    assert!(!function.thaw(), "normal already");
    assert!(function.freeze("a test") && !function.freeze("again"));
    assert_eq!(function.io_state(), IoState::Frozen);
    let frozen = function.read_register(token, 0, Width::Dword, patient()).unwrap_err();
    assert!(matches!(frozen, AccessError::Refused(Refusal::Frozen)) && frozen.errno() == Errno::EIO);
    let recovery = function.gate().close(token, Reason::Recovery, patient()).unwrap();
    assert_eq!(function.config_read(&recovery, 0, Width::Word), Ok(0x1b36), "recovery may look");
    assert_eq!(function.io_state(), IoState::Frozen);
    drop(recovery);
    assert!(function.thaw());
    assert_eq!(function.io_state(), IoState::Normal);
    let blocked = function.gate().close(token, Reason::Reset, patient()).unwrap();
    assert_eq!(function.io_state(), IoState::Normal, "blocked for a time");
    drop(blocked);

    function.freeze("a test");
    assert!(function.disconnect(token, Deadline::after(Duration::from_secs(60))).orphans.is_empty());
    assert_eq!(function.io_state(), IoState::PermanentFailure);
    assert!(!function.thaw() && !function.freeze("too late"));
    assert_eq!(function.io_state(), IoState::PermanentFailure);
    // Another device in its place does not bring it back, and is not touched by it.
    let next = function.gate().renew().unwrap();
    assert!(!function.freeze("another's"));
    assert!(function.gate().freeze(), "by the owner of the new device");
    assert!(!function.thaw());
    assert_eq!(function.gate().status().state, GateState::Frozen);
    assert!(function.gate().thaw());
    assert!(function.disconnect(token, patient()).orphans.is_empty());
    assert_eq!(function.io_state(), IoState::PermanentFailure);
    assert!(next.try_enter(token, AccessKind::Config).is_ok());
}

#[test]
fn the_configuration_space_without_a_bridge_is_the_same() {
    let config = Arc::new(ConfigSpace::builder(identity()).capability(Express::default()).build().unwrap());
    let world = world();
    let function = Function::new("f", Gate::new("f"), config.clone(), world.function.device().clone());
    let token = &mut ThreadToken::at_thread_entry();
    assert!(function.bridge().is_none() && function.address().is_none());
    let mut data = [0; 9];
    function.read_config(token, 0, &mut data, patient()).unwrap();
    assert_eq!(data[..4], [0x36, 0x1b, 0x10, 0]);
    function.write_config(token, 0x3b, &[9, 9, 9], patient()).unwrap();
    assert_eq!(read16(&config, 0x3c), 9, "interrupt line");
    assert_eq!(function.read_register(token, 0x3c, Width::Byte, patient()).unwrap(), 9);
    assert_eq!(world.board.touched(), 0);
}

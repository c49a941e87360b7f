//! What takes mappings away, and when: every change of whether a region can be reached ends with a zap under a closed gate
//! (MM-I2, MM-I3, VF-20). By a scripted consumer; `real_mappings` does it with the kernel's page faults.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod mapped;
mod support;

use gate::{AccessKind, CloseError, Deadline, Gate, Reason, ThreadToken};
use mapped::{Consumer, Lines, Meets, Stop, Told};
use pci_core::{
    AccessError, Af, BarIndex, BarKind, ConfigSpace, ConfigSpaceBuilder, DeviceState, Errno, Express,
    ExtendedCapability, Function, Identity, Pm, PowerState, ResetKind, SrIov, VirtualTime, Width,
};
use pci_spec::ClassCode;
use pci_spec::capability::af;
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};
use support::{bar, full, identity};

const COMMAND: u16 = 0x04;
const ROM_BAR: u16 = 0x30;
const PMCSR: u16 = 0x44;
const DEVICE_CONTROL: u16 = 0x74;
const FLR: [u8; 2] = 0xa810_u16.to_le_bytes();

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn passed() -> Deadline {
    Deadline::at(Instant::now())
}

/// A function whose consumer has BAR 0 mapped, memory on and the page present.
struct World {
    function: Arc<Function>,
    consumer: Consumer,
    lines: Lines,
}

impl World {
    fn new(token: &mut ThreadToken) -> World {
        World::with(full().build().unwrap(), 0, token)
    }

    fn with(config: ConfigSpace, region: u32, token: &mut ThreadToken) -> World {
        let device = Arc::new(Told::default());
        let lines = device.lines.clone();
        let function = Function::new("f", Gate::new("f"), Arc::new(config), device);
        let function = Arc::new(function.timed_by(Arc::new(VirtualTime::default())));
        let consumer = Consumer::of(&function, region, &lines);
        let world = World { function, consumer, lines };
        world.write(token, COMMAND, &[0x02]);
        assert_eq!(world.touch(token), Meets::Device);
        world.lines.take();
        world
    }

    fn write(&self, token: &mut ThreadToken, offset: u16, data: &[u8]) {
        self.function.write_config(token, offset, data, patient()).unwrap();
    }

    fn touch(&self, token: &mut ThreadToken) -> Meets {
        self.consumer.touch(token)
    }

    /// Without a fault.
    fn look(&self) -> Meets {
        self.consumer.script.look()
    }

    fn lines(&self) -> Vec<String> {
        self.lines.take()
    }
}

#[test]
fn vf_20_memory_off_takes_the_page_away_before_the_write_returns_and_memory_on_brings_it_back() {
    // MM-I3: by every way in which a user writes COMMAND.
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    world.write(token, COMMAND, &[0x00]);
    assert_eq!((world.look(), world.lines()), (Meets::Waits, vec!["zap".to_owned()]));
    assert_eq!(world.touch(token), Meets::Failure, "MM-I5");
    assert_eq!(world.touch(token), Meets::Failure, "until it is switched on");
    world.function.write_register(token, COMMAND, Width::Word, 0x02, patient()).unwrap();
    assert_eq!((world.look(), world.lines()), (Meets::Waits, vec!["zap".to_owned()]));
    assert_eq!(world.touch(token), Meets::Device);
}

#[test]
fn a_write_that_leaves_memory_as_it_is_takes_nothing_away() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    world.write(token, COMMAND, &[0x06]);
    world.write(token, COMMAND, &[0x02, 0x04]);
    world.write(token, 0x10, &[0, 0, 0, 0xe0]);
    world.write(token, PMCSR, &[1]);
    assert_eq!((world.look(), world.lines()), (Meets::Device, vec!["D0 to D1".to_owned()]));
}

#[test]
fn vf_17_vf_18_the_rom_is_there_with_memory_and_power_whatever_its_own_enable_bit_says() {
    // As in vfio: who reads region 6 finds the image.
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::with(full().build().unwrap(), 6, token);
    for enable in [0x01, 0x00] {
        world.write(token, ROM_BAR, &[enable]);
        assert_eq!((world.look(), world.lines()), (Meets::Device, vec![]), "nothing is taken away");
        world.function.read_bar(token, BarIndex::ROM, 0, &mut [0; 4], patient()).unwrap();
    }
    for (register, asleep) in [(COMMAND, 0x00), (PMCSR, 0x03)] {
        world.write(token, register, &[asleep]);
        assert_eq!(world.touch(token), Meets::Failure);
        let error = world.function.read_bar(token, BarIndex::ROM, 0, &mut [0; 4], patient()).unwrap_err();
        assert_eq!(error.errno(), Errno::EIO);
        world.write(token, PMCSR, &[0x00]);
        world.write(token, COMMAND, &[0x02]);
        assert_eq!(world.touch(token), Meets::Device);
    }
}

#[test]
fn a_region_of_the_devices_own_needs_no_memory_enable_but_an_awake_function() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::with(full().build().unwrap(), 9, token);
    world.write(token, COMMAND, &[0x00]);
    assert_eq!(world.touch(token), Meets::Device);
    world.write(token, PMCSR, &[3]);
    assert_eq!(world.touch(token), Meets::Failure);
}

#[test]
fn a_region_that_the_function_does_not_have_is_never_reached() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    for region in [1, 7, 8] {
        let stray = Consumer::of(&world.function, region, &Lines::default());
        assert_eq!(stray.touch(token), Meets::Failure, "region {region}");
    }
}

#[test]
fn vf_48_d3hot_takes_the_page_away_before_the_device_is_told_and_d0_gives_it_back() {
    let token = &mut ThreadToken::at_thread_entry();
    for no_soft_reset in [false, true] {
        let pm = Pm { no_soft_reset, ..Pm::default() };
        let config = ConfigSpace::builder(identity()).bar(bar(0), BarKind::Memory32, 4096).capability(pm);
        let world = World::with(config.build().unwrap(), 0, token);
        world.write(token, PMCSR, &[3]);
        assert_eq!(world.lines(), ["zap", "D0 to D3Hot"]);
        assert_eq!(world.touch(token), Meets::Failure);
        world.write(token, PMCSR, &[0]);
        let lines = world.lines();
        let device = if no_soft_reset { "D3Hot to D0" } else { "reset on power-up from D3hot" };
        let zapped = lines.iter().position(|line| line == "zap");
        assert!(zapped < lines.iter().position(|line| line == device), "{lines:?}");
        assert_eq!(world.touch(token), Meets::Device, "with COMMAND as it was");
    }
}

#[test]
fn d3cold_and_back_take_the_page_away_before_the_device_is_touched() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let quiesced = world.function.gate().close(token, Reason::PowerChange, patient()).unwrap();
    world.function.lose_power(&quiesced);
    assert_eq!(world.lines(), ["zap", "power cycle"]);
    drop(quiesced);
    assert_eq!(world.touch(token), Meets::Failure);
    let quiesced = world.function.gate().close(token, Reason::PowerChange, patient()).unwrap();
    world.function.regain_power(&quiesced);
    assert_eq!((world.look(), world.lines()), (Meets::Waits, vec!["zap".to_owned()]));
    drop(quiesced);
    assert_eq!(world.touch(token), Meets::Failure, "COMMAND was lost with the power");
    world.write(token, COMMAND, &[0x02]);
    assert_eq!(world.touch(token), Meets::Device);
}

#[test]
fn a_state_that_is_only_noted_takes_the_page_away_as_well() {
    // PWR-03, PWR-07: nothing gets there any more.
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    for (state, meets) in [(DeviceState::Unknown, Meets::Failure), (DeviceState::D0, Meets::Device)] {
        let quiesced = world.function.gate().close(token, Reason::PowerChange, patient()).unwrap();
        world.function.note_state(&quiesced, state);
        assert_eq!(world.look(), Meets::Waits, "{state}");
        drop(quiesced);
        assert_eq!(world.touch(token), meets, "{state}");
    }
}

#[test]
fn every_reset_takes_the_page_away_before_the_device_is_touched() {
    // VF-20, VF-40
    let token = &mut ThreadToken::at_thread_entry();
    let kinds =
        [ResetKind::FunctionLevel, ResetKind::DeviceReset, ResetKind::ClientGone, ResetKind::PowerCycle];
    for kind in kinds {
        let world = World::new(token);
        world.function.reset(token, kind, patient()).unwrap();
        assert_eq!(world.lines(), ["zap".to_owned(), kind.to_string()]);
        assert_eq!(world.touch(token), Meets::Failure, "{kind} has cleared COMMAND");
    }
    let world = World::new(token);
    world.write(token, DEVICE_CONTROL, &FLR);
    assert_eq!(world.lines(), ["zap", "function level reset"]);
    let quiesced = world.function.gate().close(token, Reason::Reset, patient()).unwrap();
    world.function.reset_quiesced(&quiesced, ResetKind::DeviceReset);
    assert_eq!(world.lines(), ["zap", "device reset"]);
}

#[test]
fn an_internal_write_under_quiescence_zaps_in_place() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    for (command, meets) in [(0, Meets::Failure), (2, Meets::Device)] {
        let quiesced = world.function.gate().close(token, Reason::Reset, patient()).unwrap();
        world.function.config_write_quiesced(&quiesced, COMMAND, Width::Word, command).unwrap();
        assert_eq!((world.look(), world.lines()), (Meets::Waits, vec!["zap".to_owned()]));
        drop(quiesced);
        assert_eq!(world.touch(token), meets);
    }
}

#[test]
fn vf_20_a_function_level_reset_by_advanced_features_takes_the_page_away() {
    let token = &mut ThreadToken::at_thread_entry();
    let config = ConfigSpace::builder(identity()).bar(bar(0), BarKind::Memory32, 4096);
    let world = World::with(config.capability(Af::default()).build().unwrap(), 0, token);
    let control = world.function.config().find_capability(af::ID).unwrap() + af::CONTROL;
    world.write(token, control, &[af::INITIATE_FLR]);
    assert_eq!(world.lines(), ["zap", "function level reset"]);
    assert_eq!(world.touch(token), Meets::Failure, "COMMAND is clear");
}

#[test]
fn a_header_that_is_put_back_brings_the_page_back() {
    // PWR-05: with it COMMAND.
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let quiesced = world.function.gate().close(token, Reason::PowerChange, patient()).unwrap();
    world.function.save_header(&quiesced);
    drop(quiesced);
    world.write(token, COMMAND, &[0x00]);
    assert_eq!(world.touch(token), Meets::Failure);
    let quiesced = world.function.gate().close(token, Reason::PowerChange, patient()).unwrap();
    assert!(world.function.restore_header(&quiesced));
    drop(quiesced);
    assert_eq!(world.touch(token), Meets::Device);
}

#[test]
fn an_internal_write_under_a_pass_zaps_when_it_is_carried_out() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let pass = world.function.handle().try_enter(token, AccessKind::Config).unwrap();
    let written = world.function.config_write(&pass, COMMAND, Width::Word, 0).unwrap();
    assert!(written.effects().changes_decoding());
    drop(pass);
    assert_eq!(world.look(), Meets::Device, "a pass zaps nothing");
    written.carry_out(token, patient()).unwrap();
    assert_eq!(world.look(), Meets::Waits);
}

#[test]
fn a_write_under_a_pass_that_nobody_carries_out_zaps_with_the_next_write_or_proof() {
    let token = &mut ThreadToken::at_thread_entry();
    let forget = |world: &World, token: &ThreadToken| {
        let pass = world.function.handle().try_enter(token, AccessKind::Config).unwrap();
        let _forgotten = world.function.config_write(&pass, COMMAND, Width::Word, 0).unwrap();
    };
    let world = World::new(token);
    forget(&world, token);
    world.write(token, 0x3c, &[11]);
    assert_eq!((world.look(), world.lines()), (Meets::Waits, vec!["zap".to_owned()]));
    world.write(token, 0x3c, &[12]);
    assert_eq!(world.lines(), [""; 0], "it is owed once");

    let world = World::new(token);
    forget(&world, token);
    let quiesced = world.function.gate().close(token, Reason::Reset, patient()).unwrap();
    world.function.config_write_quiesced(&quiesced, 0x3c, Width::Byte, 11).unwrap();
    assert_eq!(world.look(), Meets::Waits);
}

/// Disables the region while somebody stays inside for too long: the zap misses its deadline.
fn miss_the_zap(world: &World, token: &mut ThreadToken) {
    let (function, (inside, entered), (leave, left)) =
        (&world.function, mpsc::channel(), mpsc::channel::<()>());
    std::thread::scope(|scope| {
        // Moved in, so that a check that fails lets go of the thread.
        let leave = leave;
        scope.spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let _pass = function.handle().try_enter(&token, AccessKind::Bar).unwrap();
            inside.send(()).unwrap();
            let _left = left.recv();
        });
        entered.recv().unwrap();
        let soon = Deadline::after(Duration::from_millis(1));
        let error = world.function.write_config(token, COMMAND, &[0x00], soon).unwrap_err();
        assert!(matches!(error, AccessError::StillMapped(CloseError::Drain { .. })), "{error}");
        assert_eq!(error.errno(), Errno::EAGAIN);
        assert_eq!(world.function.config().command().bits(), 0, "it was stored");
        assert_eq!((world.look(), world.lines()), (Meets::Device, vec![]), "and says that this is so");
        drop(leave);
    });
}

#[test]
fn a_zap_that_misses_its_deadline_is_an_error_of_the_write_and_is_done_with_the_next_one() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    miss_the_zap(&world, token);
    // The same write again changes no bit.
    world.write(token, COMMAND, &[0x00]);
    assert_eq!(world.look(), Meets::Waits);
    // Somebody else may have been there before.
    let lines = world.lines();
    assert!(!lines.is_empty() && lines.iter().all(|line| line == "zap"), "{lines:?}");
}

#[test]
fn a_zap_that_misses_its_deadline_is_done_later_also_if_nobody_writes_again() {
    // MM-I3
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    miss_the_zap(&world, token);
    world.function.mappings().settle(token, patient()).unwrap();
    assert_eq!((world.look(), world.lines()), (Meets::Waits, vec!["zap".to_owned()]));
}

#[test]
fn a_zap_that_was_done_by_whoever_was_in_the_way_is_no_error() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let pass = world.function.handle().try_enter(token, AccessKind::Config).unwrap();
    let first = world.function.config_write(&pass, COMMAND, Width::Word, 0).unwrap();
    let second = world.function.config_write(&pass, 0x3c, Width::Byte, 11).unwrap();
    drop(pass);
    let closed = world.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
    let error = first.carry_out(token, passed()).unwrap_err();
    assert!(matches!(error, AccessError::StillMapped(CloseError::Contended { .. })), "{error}");
    let quiesced = closed.resume(token).unwrap();
    world.function.reset_quiesced(&quiesced, ResetKind::DeviceReset);
    let _closed = quiesced.park();
    second.carry_out(token, passed()).unwrap();
}

#[test]
fn long_accesses_do_not_hold_a_zap_up() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let long =
        world.function.handle().enter_long(token, AccessKind::Dma, "a disk command", patient()).unwrap();
    world.function.write_config(token, COMMAND, &[0x00], passed()).unwrap();
    assert_eq!(world.look(), Meets::Waits);
    drop(long);
}

#[test]
fn a_freeze_shows_all_ones_and_a_thaw_brings_the_page_back() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    assert!(world.function.freeze("test"));
    assert_eq!(world.touch(token), Meets::AllOnes);
    assert!(world.function.thaw());
    assert_eq!(world.touch(token), Meets::Device);
}

#[test]
fn a_reset_of_a_frozen_function_ends_the_cover() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    assert!(world.function.freeze("test"));
    world.function.reset(token, ResetKind::DeviceReset, patient()).unwrap();
    assert_eq!(world.touch(token), Meets::AllOnes, "memory is off after a reset, and covered until it is on");
    world.write(token, COMMAND, &[0x02]);
    assert_eq!(world.touch(token), Meets::Device);
}

#[test]
fn a_removed_function_shows_all_ones_for_ever() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    assert!(world.function.disconnect(token, patient()).orphans.is_empty());
    assert_eq!(world.touch(token), Meets::AllOnes);
    world.function.gate().renew().unwrap();
    world.function.zap_mappings(token, patient()).unwrap();
    assert_eq!(world.touch(token), Meets::AllOnes, "also when another one is in its place");
}

#[test]
fn who_switched_memory_past_the_function_has_it_zapped() {
    // As a scan does that sizes the BARs.
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let _ = world.function.config().write(COMMAND, &[0x00]);
    world.consumer.script.touch(token);
    let _ = world.function.config().write(COMMAND, &[0x02]);
    world.function.zap_mappings(token, patient()).unwrap();
    assert_eq!((world.look(), world.lines()), (Meets::Waits, vec!["zap".to_owned()]));
}

fn physical() -> ConfigSpaceBuilder {
    let vfs = SrIov::new(2, 0x1234).bar(bar(0), BarKind::Memory64, 4096);
    ConfigSpace::builder(Identity::new(0x1b36, 0x10, ClassCode::NVME))
        .capability(Express::default())
        .extended_capability(ExtendedCapability::SrIov(vfs))
}

#[test]
fn vf_18_the_memory_of_a_virtual_function_needs_the_enable_of_all_of_them() {
    let token = &mut ThreadToken::at_thread_entry();
    let physical =
        Function::new("p", Gate::new("p"), Arc::new(physical().build().unwrap()), Arc::new(Told::default()));
    let control = physical.config().sr_iov_layout().unwrap().at + 8;
    let virtual_config = ConfigSpace::virtual_builder(identity()).bar(bar(0), BarKind::Memory64, 4096);
    let config = Arc::new(virtual_config.build().unwrap());
    let function =
        Function::new("v", Gate::new("v"), config, Arc::new(Told::default())).depending_on(&physical);
    function.write_config(token, COMMAND, &[0x02], patient()).unwrap();
    for (enable, decoded) in [(0x00, false), (0x08, false), (0x01, false), (0x09, true)] {
        let quiesced = physical.gate().close(token, Reason::OpsSwap, patient()).unwrap();
        physical.config_write_quiesced(&quiesced, control, Width::Word, enable).unwrap();
        drop(quiesced);
        assert_eq!(function.config().decodes(bar(0)), decoded, "{enable:#x}");
        let read = function.read_bar(token, bar(0), 0, &mut [0; 4], patient());
        assert_eq!(read.is_ok(), decoded, "{enable:#x}");
    }
    // RST-19: at no moment of the physical function's own reset are they gone.
    physical.reset(token, ResetKind::DeviceReset, patient()).unwrap();
    assert!(function.config().decodes(bar(0)));
    physical.reset(token, ResetKind::PowerCycle, patient()).unwrap();
    assert!(function.config().decodes(bar(0)), "whatever a consumer may ask for");
    let quiesced = physical.gate().close(token, Reason::Reset, patient()).unwrap();
    physical.reset_quiesced(&quiesced, ResetKind::DeviceReset);
    assert!(!function.config().decodes(bar(0)));
}

#[test]
fn nothing_gets_into_a_virtual_function_from_the_moment_at_which_its_physical_function_is_gone_hp_12() {
    let token = &mut ThreadToken::at_thread_entry();
    let physical =
        Function::new("p", Gate::new("p"), Arc::new(physical().build().unwrap()), Arc::new(Told::default()));
    let made = || {
        let config = ConfigSpace::virtual_builder(identity()).bar(bar(0), BarKind::Memory64, 4096);
        let config = Arc::new(config.build().unwrap());
        Function::new("v", Gate::new("v"), config, Arc::new(Told::default())).depending_on(&physical)
    };
    let before = made();
    physical.freeze("a fault");
    assert!(before.handle().try_enter(token, AccessKind::Config).is_ok(), "frozen is not gone");
    let _retired = physical.disconnect(token, patient());
    for function in [before, made()] {
        function.thaw();
        assert!(function.handle().try_enter(token, AccessKind::Config).is_err());
        let mut id = [0; 2];
        let _all_ones = function.read_config(token, 0, &mut id, patient());
        assert_eq!(id, [0xff; 2]);
    }
}

#[test]
fn two_writers_of_command_and_a_consumer_end_with_what_command_says() {
    // MM-I2, MM-I3: whatever the order of the writes, no page and no poison of a former state is left.
    const ROUNDS: u32 = 500;
    let world = World::new(&mut ThreadToken::at_thread_entry());
    for last in [0x00, 0x02] {
        let (start, done) = (Barrier::new(3), Stop::default());
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let token = &mut ThreadToken::at_thread_entry();
                        start.wait();
                        for round in 0..ROUNDS {
                            let command = if round % 2 == 0 { 0x02 - last } else { last };
                            world.write(token, COMMAND, &[command]);
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                let token = &mut ThreadToken::at_thread_entry();
                start.wait();
                while !done.is_set() {
                    world.touch(token);
                }
            });
            let _stop = done.at_the_end();
            for writer in writers {
                writer.join().unwrap();
            }
        });
        let token = &mut ThreadToken::at_thread_entry();
        let on = world.function.config().command().bits() & 2 != 0;
        assert_eq!(on, last == 2, "both have written it last");
        assert_eq!(world.touch(token), if on { Meets::Device } else { Meets::Failure });
    }
}

#[test]
fn no_page_is_there_when_a_write_that_switched_memory_off_returns() {
    // MM-I3, with a consumer that touches all the while.
    let world = World::new(&mut ThreadToken::at_thread_entry());
    let done = Stop::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            while !done.is_set() {
                world.touch(token);
            }
        });
        let _stop = done.at_the_end();
        let token = &mut ThreadToken::at_thread_entry();
        for _ in 0..500 {
            world.write(token, COMMAND, &[0x00]);
            assert_ne!(world.look(), Meets::Device);
            world.write(token, COMMAND, &[0x02]);
            assert_ne!(world.touch(token), Meets::Failure);
        }
    });
}

#[test]
fn the_bar_of_an_awake_function_is_reached_in_every_state_above_d3() {
    let config = full().build().unwrap();
    let _ = config.write(COMMAND, &[0x02]);
    assert!(config.set_power_state(PowerState::D1).is_some());
    assert!(config.decodes(bar(0)) && config.decodes(BarIndex::ROM));
}

//! A device whose memory is mapped with the kernel's page faults: what its consumer reads over everything that can happen
//! to its function. Where the system permits no page faults in user space the tests say so and check nothing.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod mapped;
mod support;

use gate::{Deadline, Gate, Reason, ThreadToken};
use mapped::{Stop, Told, request};
use mapping::{Area, Holds, MapError, Mapping, MappingError, MappingState, Memory, OnDisabled};
use pci_core::{AccessError, Function, ResetKind, VirtualTime};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;
use support::{bar, full};

const COMMAND: u16 = 0x04;
const ROM_BAR: u16 = 0x30;
const PMCSR: u16 = 0x44;
const DEVICE_CONTROL: u16 = 0x74;
const FLR: [u8; 2] = 0xa810_u16.to_le_bytes();
const VALUE: u32 = 0x1234_5678;

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// A function whose consumer has the first page of a region mapped, with memory on.
struct World {
    function: Arc<Function>,
    memory: Arc<Memory>,
    mapping: Mapping,
}

impl World {
    fn new(token: &mut ThreadToken) -> Option<World> {
        World::with(0, OnDisabled::Fail, token)
    }

    fn with(region: u32, on_disabled: OnDisabled, token: &mut ThreadToken) -> Option<World> {
        let config = Arc::new(full().build().unwrap());
        let function = Function::new("f", Gate::new("f"), config, Arc::new(Told::default()));
        let function = Arc::new(function.timed_by(Arc::new(VirtualTime::default())));
        let memory = Memory::new("test", 4096);
        let mapping = function.mappings().map(request(region, &memory, on_disabled)).unwrap();
        if mapping.is_trapped() {
            let _ = writeln!(std::io::stderr(), "userfaultfd is not permitted here: nothing checked");
            return None;
        }
        memory.write(0, &VALUE.to_le_bytes());
        let world = World { function, memory, mapping };
        world.write(token, COMMAND, &[0x02]);
        assert_eq!(world.read(token), Ok(VALUE));
        Some(world)
    }

    fn write(&self, token: &mut ThreadToken, offset: u16, data: &[u8]) {
        self.function.write_config(token, offset, data, patient()).unwrap();
    }

    fn read(&self, token: &mut ThreadToken) -> Result<u32, MappingError> {
        self.mapping.read(token, 0)
    }
}

#[test]
fn vf_20_mm_i5_a_disabled_region_fails_and_one_that_is_enabled_again_shows_the_device() {
    let token = &mut ThreadToken::at_thread_entry();
    let Some(world) = World::new(token) else { return };
    for value in [1_u32, 2, 3] {
        world.write(token, COMMAND, &[0x00]);
        assert_eq!(world.read(token), Err(MappingError::Disabled));
        world.memory.write(0, &value.to_le_bytes());
        world.write(token, COMMAND, &[0x02]);
        assert_eq!(world.read(token), Ok(value));
    }
}

#[test]
fn vf_18_vf_20_each_region_is_reached_as_memory_enable_and_power_say() {
    let token = &mut ThreadToken::at_thread_entry();
    // Region, and whether it needs memory on.
    for (region, memory) in [(0, true), (6, true), (9, false)] {
        let Some(world) = World::with(region, OnDisabled::Fail, token) else { return };
        let read = |token: &mut ThreadToken, reached| {
            let expected = if reached { Ok(VALUE) } else { Err(MappingError::Disabled) };
            assert_eq!(world.read(token), expected, "region {region}");
        };
        for enable in [0x01, 0x00] {
            world.write(token, ROM_BAR, &[enable]);
            read(token, true);
        }
        world.write(token, COMMAND, &[0x00]);
        read(token, !memory);
        world.write(token, COMMAND, &[0x02]);
        read(token, true);
        world.write(token, PMCSR, &[3]);
        read(token, false);
        world.write(token, PMCSR, &[0]);
        read(token, true);
    }
}

#[test]
fn vf_20_resets_and_the_loss_of_power_take_the_page_away() {
    let token = &mut ThreadToken::at_thread_entry();
    let Some(world) = World::new(token) else { return };
    let disabled = |world: &World, token: &mut ThreadToken| {
        assert_eq!(world.read(token), Err(MappingError::Disabled));
        world.write(token, COMMAND, &[0x02]);
        assert_eq!(world.read(token), Ok(VALUE));
    };
    for kind in [ResetKind::DeviceReset, ResetKind::ClientGone, ResetKind::PowerCycle] {
        world.function.reset(token, kind, patient()).unwrap();
        disabled(&world, token);
    }
    world.write(token, DEVICE_CONTROL, &FLR);
    disabled(&world, token);
    let quiesced = world.function.gate().close(token, Reason::PowerChange, patient()).unwrap();
    world.function.lose_power(&quiesced);
    drop(quiesced);
    assert_eq!(world.read(token), Err(MappingError::Disabled));
    let quiesced = world.function.gate().close(token, Reason::PowerChange, patient()).unwrap();
    world.function.regain_power(&quiesced);
    drop(quiesced);
    disabled(&world, token);
}

#[test]
fn a_freeze_shows_all_ones_and_a_thaw_or_a_reset_ends_that() {
    let token = &mut ThreadToken::at_thread_entry();
    let Some(world) = World::new(token) else { return };
    world.function.freeze("test");
    assert_eq!(world.read(token), Err(MappingError::Frozen));
    assert_eq!(world.function.mappings().report()[0].state, MappingState::Frozen);
    world.function.thaw();
    assert_eq!(world.read(token), Ok(VALUE));
    world.function.freeze("test");
    world.function.reset(token, ResetKind::DeviceReset, patient()).unwrap();
    world.write(token, COMMAND, &[0x02]);
    assert_eq!(world.read(token), Ok(VALUE));
}

#[test]
fn a_removed_function_is_gone_for_its_consumer_and_what_that_writes_reaches_nothing() {
    let token = &mut ThreadToken::at_thread_entry();
    let Some(world) = World::new(token) else { return };
    assert!(world.function.disconnect(token, patient()).orphans.is_empty());
    assert_eq!(world.read(token), Err(MappingError::Gone));
    assert_eq!(world.mapping.write(token, 0, 7_u32), Err(MappingError::Gone));
    let mut bytes = [0; 4];
    world.memory.read(0, &mut bytes);
    assert_eq!(u32::from_le_bytes(bytes), VALUE);
    assert!(matches!(
        world.function.mappings().map(request(0, &world.memory, OnDisabled::Fail)),
        Err(MapError::Gone)
    ));
}

#[test]
fn a_patient_consumer_waits_until_memory_is_on_again() {
    let token = &mut ThreadToken::at_thread_entry();
    let policy = OnDisabled::Wait(Duration::from_secs(60));
    let Some(world) = World::with(0, policy, token) else { return };
    world.write(token, COMMAND, &[0x00]);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| world.read(&mut ThreadToken::at_thread_entry()));
        while !world.function.mappings().report()[0].parked {
            assert!(!reader.is_finished(), "it does not wait");
            std::thread::yield_now();
        }
        world.write(token, COMMAND, &[0x02]);
        assert_eq!(reader.join().unwrap(), Ok(VALUE));
    });
}

#[test]
fn vf_19_only_whole_pages_inside_the_memory_are_mapped() {
    let token = &mut ThreadToken::at_thread_entry();
    let Some(world) = World::new(token) else { return };
    for (offset, size) in [(0, 0), (0, 100), (1, 4096), (0, 8192), (4096, 4096), (!0xfff, 4096)] {
        let request = mapping::MapRequest { offset, size, ..request(0, &world.memory, OnDisabled::Fail) };
        let refused = world.function.mappings().map(request);
        assert!(matches!(refused, Err(MapError::Range)), "{offset:#x} {size:#x}");
    }
}

#[test]
fn vf_17_calls_are_refused_where_a_mapping_fails() {
    let token = &mut ThreadToken::at_thread_entry();
    let Some(world) = World::new(token) else { return };
    world.write(token, COMMAND, &[0x00]);
    let mut data = [0; 4];
    let called = world.function.read_bar(token, bar(0), 0, &mut data, patient());
    assert!(matches!(called, Err(AccessError::MemoryDisabled(_))) && data == [0xff; 4]);
    assert_eq!(world.read(token), Err(MappingError::Disabled));
}

#[test]
fn what_a_freeze_hid_from_another_process_is_back_when_a_reset_returns() {
    let token = &mut ThreadToken::at_thread_entry();
    let config = Arc::new(full().build().unwrap());
    let function = Function::new("f", Gate::new("f"), config, Arc::new(Told::default()));
    let memory = Memory::new("test", 4096);
    let area = Area { offset: 0, size: 4096, holds: Holds::Data };
    let shared = function.mappings().share("client".into(), 0, &memory, &[area]).unwrap();
    memory.write(0, &[0x5a]);
    let file = std::fs::File::from(shared.file.try_clone().unwrap());
    let shown = || {
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).unwrap();
        byte[0]
    };
    assert_eq!(shown(), 0x5a);
    function.freeze("test");
    function.mappings().settle(token, patient()).unwrap();
    assert_eq!(shown(), 0xff);
    function.reset(token, ResetKind::DeviceReset, patient()).unwrap();
    assert_eq!(shown(), 0x5a, "before the keeper comes to it");
}

#[test]
fn mm_i2_mm_i3_nobody_sees_an_epoch_that_a_zap_has_ended_while_two_writers_toggle_memory() {
    // The device's value changes only while memory is off, so a consumer never finds an older one than before.
    const ROUNDS: u32 = 300;
    let Some(world) = World::new(&mut ThreadToken::at_thread_entry()) else { return };
    world.memory.write(0, &0_u32.to_le_bytes());
    let done = Stop::default();
    let failed = MappingError::Disabled;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            let mut last = 0;
            while !done.is_set() {
                match world.read(token) {
                    Ok(value) => {
                        assert!(value >= last && value <= ROUNDS, "{value} after {last}");
                        last = value;
                    }
                    Err(error) => assert_eq!(error, failed),
                }
            }
        });
        // Another writer of the same register, which leaves memory alone.
        let other = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            let mut bit = 0;
            while !done.is_set() {
                bit ^= 4;
                world.write(token, COMMAND + 1, &[bit]);
            }
        });
        let stop = done.at_the_end();
        let token = &mut ThreadToken::at_thread_entry();
        for round in 1..=ROUNDS {
            world.write(token, COMMAND, &[0x00]);
            assert_eq!(world.read(token), Err(failed), "MM-I5");
            world.memory.write(0, &round.to_le_bytes());
            world.write(token, COMMAND, &[0x02]);
            assert_eq!(world.read(token), Ok(round));
        }
        drop(stop);
        reader.join().unwrap();
        other.join().unwrap();
    });
    let report = &world.function.mappings().report()[0];
    assert!(report.zaps >= u64::from(2 * ROUNDS) && report.state == MappingState::Live, "{report:?}");
}

#[test]
fn two_writers_that_toggle_memory_leave_what_command_says() {
    const ROUNDS: u32 = 200;
    let Some(world) = World::new(&mut ThreadToken::at_thread_entry()) else { return };
    for last in [0x00, 0x02] {
        let done = Stop::default();
        std::thread::scope(|scope| {
            let toggle = || {
                let token = &mut ThreadToken::at_thread_entry();
                for round in 0..ROUNDS {
                    world.write(token, COMMAND, &[if round % 2 == 0 { 0x02 - last } else { last }]);
                }
            };
            let writers = [scope.spawn(toggle), scope.spawn(toggle)];
            let reader = scope.spawn(|| {
                let token = &mut ThreadToken::at_thread_entry();
                while !done.is_set() {
                    assert!(matches!(world.read(token), Ok(VALUE) | Err(MappingError::Disabled)));
                }
            });
            let stop = done.at_the_end();
            for writer in writers {
                writer.join().unwrap();
            }
            drop(stop);
            reader.join().unwrap();
        });
        let expected = if last == 0x02 { Ok(VALUE) } else { Err(MappingError::Disabled) };
        assert_eq!(world.read(&mut ThreadToken::at_thread_entry()), expected);
    }
}

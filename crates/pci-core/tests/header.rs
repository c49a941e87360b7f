//! The header: identification, COMMAND, STATUS, BAR sizing as a guest does it.

mod support;

use pci_core::{BarIndex, BarKind, Change, Command, ConfigSpace, LayoutError, PowerState, ResetKind};
use pci_spec::Status;
use support::{bar, full, identity, read8, read16, read32};

/// Sizes a BAR as a guest does: saves it, writes all-ones, reads the mask, restores it.
fn size32(config: &ConfigSpace, offset: u16) -> u32 {
    let saved = read32(config, offset);
    let _ = config.write(offset, &[0xff; 4]);
    let mask = read32(config, offset);
    let _ = config.write(offset, &saved.to_le_bytes());
    mask
}

#[test]
fn the_identification_is_where_a_guest_looks_and_cannot_be_written() {
    let config = full().build().unwrap();
    let before: Vec<u32> = [0x00, 0x08, 0x2c].map(|at| read32(&config, at)).to_vec();
    assert_eq!(before, [0x0010_1b36, 0x0108_0202, 0x0010_1b36]);
    assert_eq!((read8(&config, 0x0e), read8(&config, 0x3d), read8(&config, 0x34)), (0, 1, 0x40));
    for at in [0x00, 0x08, 0x2c, 0x34] {
        let effects = config.write(at, &[0xff; 4]);
        assert_eq!(effects, Default::default());
    }
    assert_eq!(before, [0x00, 0x08, 0x2c].map(|at| read32(&config, at)));
    assert_eq!(read8(&full().multi_function().build().unwrap(), 0x0e), 0x80);
}

#[test]
fn sizing_each_bar_finds_its_size_and_type() {
    // CAP-08, CAP-09
    let config = full().build().unwrap();
    assert_eq!(size32(&config, 0x10), 0xffff_c004, "16 KiB, 64-bit");
    assert_eq!(size32(&config, 0x14), 0xffff_ffff, "the upper half is sized on its own");
    assert_eq!(size32(&config, 0x18), 0xffff_ffc1, "64 ports");
    assert_eq!(size32(&config, 0x1c), 0, "no BAR");
    assert_eq!(size32(&config, 0x20), 0x0000_000c, "8 GiB: no address bit in the lower half");
    assert_eq!(size32(&config, 0x24), 0xffff_fffe);
    assert_eq!(size32(&config, 0x30), 0xffff_0001, "64 KiB of ROM and its enable bit");
}

#[test]
fn sizing_gives_the_size_of_every_size_that_is_allowed() {
    for shift in 7..=31 {
        let size = 1u64 << shift;
        let config = ConfigSpace::builder(identity()).bar(bar(5), BarKind::Memory32, size).build().unwrap();
        let mask = size32(&config, 0x24);
        assert_eq!(u64::from(!(mask & !0xf)) + 1, size);
    }
    for shift in 7..=63 {
        let size = 1u64 << shift;
        let config = ConfigSpace::builder(identity()).bar(bar(0), BarKind::Memory64, size).build().unwrap();
        let mask = u64::from(size32(&config, 0x14)) << 32 | u64::from(size32(&config, 0x10) & !0xf);
        assert_eq!(mask, !(size - 1));
    }
}

#[test]
fn an_address_keeps_the_type_bits_and_loses_what_lies_below_the_size() {
    let config = full().build().unwrap();
    let effects = config.write(0x10, &0x0000_0001_febf_1a73_u64.to_le_bytes());
    assert!(effects.bars_moved);
    assert_eq!((read32(&config, 0x10), read32(&config, 0x14)), (0xfebf_0004, 1));
    assert_eq!(config.bar_address(bar(0)), Some(0x1_febf_0000));
    assert!(!config.write(0x10, &0xfebf_0000_u32.to_le_bytes()).bars_moved, "the same address again");
    assert_eq!(config.bar_address(bar(1)), None, "an upper half is no BAR");
}

#[test]
fn bars_of_a_bad_size_or_place_are_refused() {
    let build =
        |index, kind, size| ConfigSpace::builder(identity()).bar(bar(index), kind, size).build().err();
    let bad = |index, size| Some(LayoutError::BarSize { index: bar(index), size });
    assert_eq!(build(0, BarKind::Memory32, 0), bad(0, 0));
    assert_eq!(build(0, BarKind::Memory32, 0x3000), bad(0, 0x3000));
    assert_eq!(build(0, BarKind::Memory32, 64), bad(0, 64));
    assert_eq!(build(0, BarKind::Memory32, 1 << 32), bad(0, 1 << 32));
    assert_eq!(build(0, BarKind::Io, 512), bad(0, 512));
    assert_eq!(build(5, BarKind::Memory64, 0x1000), Some(LayoutError::BarPosition(bar(5))));
    assert_eq!(build(6, BarKind::Memory32, 0x1000), Some(LayoutError::BarPosition(BarIndex::ROM)));
    assert_eq!(build(5, BarKind::Memory32, 0x1000), None);

    let twice = ConfigSpace::builder(identity()).bar(bar(0), BarKind::Memory64, 0x1000);
    let twice = twice.bar(bar(1), BarKind::Io, 16).build();
    assert_eq!(twice.err(), Some(LayoutError::BarTwice(bar(1))));
    for size in [0, 0x400, 0x1801, 32 << 20] {
        let rom = ConfigSpace::builder(identity()).rom(size).build();
        assert_eq!(rom.err(), Some(LayoutError::BarSize { index: BarIndex::ROM, size }));
    }
    assert_eq!(BarIndex::new(7), None);
}

#[test]
fn command_has_a_bit_only_for_what_the_function_has() {
    // CAP-05
    let config = full().build().unwrap();
    let effects = config.write(0x04, &[0xff, 0xff]);
    assert_eq!(read16(&config, 0x04), 0x0547);
    let new = Command::from_bits_retain(0x0547);
    assert_eq!(effects.command, Some(Change { old: Command::empty(), new }));
    assert_eq!(config.command(), new);
    assert_eq!(config.write(0x04, &[0xff, 0xff]).command, None, "no change, no effect");

    let bare = ConfigSpace::builder(identity()).build().unwrap();
    let _ = bare.write(0x04, &[0xff, 0xff]);
    assert_eq!(read16(&bare, 0x04), 0x0144, "no window, no INTx pin");
    assert_eq!(read16(&bare, 0x06) & 0x10, 0, "no capability list");
}

#[test]
fn opening_turns_decoding_on_for_what_there_is_and_the_bus_master_off() {
    // VF-02
    let config = full().build().unwrap();
    let _ = config.write(0x04, &[0x04, 0x04]);
    let change = config.enable_at_open().unwrap();
    let decode = Command::MEMORY_SPACE | Command::IO_SPACE;
    assert_eq!(change.old, Command::BUS_MASTER | Command::INTERRUPT_DISABLE);
    assert_eq!(change.new, decode | Command::INTERRUPT_DISABLE);
    assert_eq!(config.command(), change.new);
    assert_eq!(config.enable_at_open(), None);

    let memory = ConfigSpace::builder(identity()).bar(bar(0), BarKind::Memory32, 0x1000).build().unwrap();
    let _ = memory.enable_at_open();
    assert_eq!(memory.command(), Command::MEMORY_SPACE);
    let bare = ConfigSpace::builder(identity()).build().unwrap();
    assert_eq!(bare.enable_at_open(), None);
}

#[test]
fn status_bits_are_cleared_by_one_and_only_in_the_byte_written() {
    let config = full().build().unwrap();
    config.record_status(
        Status::RECEIVED_MASTER_ABORT | Status::DETECTED_PARITY_ERROR | Status::CAPABILITIES_LIST,
    );
    assert_eq!(read16(&config, 0x06), 0xa010);
    let _ = config.write(0x04, &[0xff, 0xff, 0xff]);
    assert_eq!(read16(&config, 0x06), 0xa010, "a byte write to the other half of the register");
    let _ = config.write(0x07, &[0x20]);
    assert_eq!(read16(&config, 0x06), 0x8010);
    let _ = config.write(0x06, &[0, 0]);
    assert_eq!(read16(&config, 0x06), 0x8010, "zeros clear nothing");
    let _ = config.write(0x06, &[0xff, 0xff]);
    assert_eq!(read16(&config, 0x06), 0x0010, "the capability list bit is read-only");
}

#[test]
fn intx_status_is_the_device_s_and_not_the_guest_s() {
    // CFG-11
    let config = full().build().unwrap();
    config.set_intx_status(true);
    assert!(config.status().contains(Status::INTERRUPT_STATUS));
    let _ = config.write(0x06, &[0xff, 0xff]);
    assert_eq!(read16(&config, 0x06), 0x0018, "a guest cannot clear it");
    config.set_intx_status(false);
    assert_eq!(read16(&config, 0x06), 0x0010);
}

#[test]
fn the_interrupt_line_is_a_free_byte() {
    // CAP-07
    let config = full().build().unwrap();
    let _ = config.write(0x3c, &[0x0b, 0xff, 0xff, 0xff]);
    assert_eq!(read32(&config, 0x3c), 0x0000_010b);
}

#[test]
fn unclaimed_space_reads_zero_and_what_lies_outside_reads_all_ones() {
    let config = full().build().unwrap();
    for at in [0x1c, 0x28, 0xb0, 0xfc, 0x12c, 0x400, 0xffc] {
        let _ = config.write(at, &[0xff; 4]);
        assert_eq!(read32(&config, at), 0, "{at:#x}");
    }
    let mut data = [0x55; 6];
    config.read(0xffe, &mut data);
    assert_eq!(data, [0, 0, 0xff, 0xff, 0xff, 0xff]);
    config.read(0xffff, &mut data);
    assert_eq!(data, [0xff; 6]);
    assert_eq!(config.write(0xffff, &[0xff; 64]), Default::default());
}

#[test]
fn an_access_may_start_and_end_anywhere() {
    // CAP-03
    let config = full().build().unwrap();
    let mut whole = vec![0; 4096];
    config.read(0, &mut whole);
    for start in 0..0x130_u16 {
        for length in 0..=17 {
            let mut piece = vec![0; length];
            config.read(start, &mut piece);
            let start = usize::from(start);
            assert_eq!(piece, whole[start..start + length]);
        }
    }
    let effects = config.write(0x03, &[0xff, 0x06, 0x00, 0xff]);
    assert_eq!(effects.command.map(|change| change.new.bits()), Some(0x0006));
}

#[test]
fn memory_is_decoded_only_while_enabled_and_above_d3() {
    // VF-18
    let config = full().build().unwrap();
    let (memory, io) = (bar(0), bar(2));
    assert!(!config.decodes(memory) && !config.decodes(BarIndex::ROM) && config.decodes(io));
    let _ = config.write(0x04, &[0x02]);
    assert!(
        config.decodes(memory) && config.decodes(BarIndex::ROM),
        "whatever the ROM's own enable bit says"
    );
    assert!(config.set_power_state(PowerState::D1).is_some());
    assert!(config.decodes(memory));
    assert!(config.set_power_state(PowerState::D3Hot).is_some());
    assert!(!config.decodes(memory) && !config.decodes(BarIndex::ROM) && !config.decodes(io));
}

#[test]
fn a_reset_unsets_bars_and_command() {
    let config = full().build().unwrap();
    let mut fresh = vec![0; 4096];
    config.read(0, &mut fresh);
    config.set_intx_status(true);
    let _ = config.write(0, &[0xff; 0x40]);
    config.reset(ResetKind::PowerCycle);
    let mut after = vec![0; 4096];
    config.read(0, &mut after);
    assert_eq!(fresh, after);
}

#[test]
fn writers_to_different_bytes_of_a_dword_both_succeed() {
    let config = full().build().unwrap();
    std::thread::scope(|scope| {
        for at in [0x14_u16, 0x15, 0x16, 0x17] {
            let config = &config;
            scope.spawn(move || {
                for round in 0..=u8::MAX {
                    let _ = config.write(at, &[round]);
                    assert_eq!(read8(config, at), round, "nobody else writes this byte");
                }
            });
        }
    });
}

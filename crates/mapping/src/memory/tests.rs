//! Memory as its device has it, and as another process sees it.
#![allow(clippy::cast_possible_truncation, reason = "patterns of bytes")]

use super::hiding::blank;
use super::*;
use crate::{Area, Holds};
use gate::{Deadline, Gate, Reason, ShortQuiesced, ThreadToken};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

const PAGE: u64 = 4096;
/// Long enough to be moved and filled in several pieces.
const DATA: Area = Area { offset: 0, size: 70 * PAGE, holds: Holds::Data };
const BELLS: Area = Area { offset: 70 * PAGE, size: PAGE, holds: Holds::Doorbells };
/// Neither offered nor hidden.
const OWN: u64 = 72 * PAGE;
const SIZE: u64 = 73 * PAGE;

/// A gate to have proofs of.
struct World {
    gate: Gate,
    token: ThreadToken,
}

impl World {
    fn new() -> World {
        World { gate: Gate::new("test"), token: ThreadToken::at_thread_entry() }
    }

    fn held(&mut self) -> ShortQuiesced<'_> {
        let soon = Deadline::after(Duration::from_secs(5));
        self.gate.close_short(&mut self.token, Reason::Remap, soon).unwrap()
    }
}

/// What another process has.
struct Foreign(File);

impl Foreign {
    fn of(memory: &Memory) -> Foreign {
        Foreign(memory.lend().unwrap().1.into())
    }

    fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.0.read_exact_at(&mut data, offset).unwrap();
        u32::from_ne_bytes(data)
    }

    fn write(&self, offset: u64, value: u32) {
        self.0.write_all_at(&value.to_ne_bytes(), offset).unwrap();
    }

    fn shows_ones(&self, area: Area) -> bool {
        let mut data = vec![0; area.size as usize];
        self.0.read_exact_at(&mut data, area.offset).unwrap();
        data.iter().all(|byte| *byte == 0xff)
    }

    fn allocated(&self) -> u64 {
        self.0.metadata().unwrap().blocks() * 512
    }
}

fn read(memory: &Memory, offset: u64) -> u32 {
    let mut data = [0; 4];
    memory.read(offset, &mut data);
    u32::from_ne_bytes(data)
}

fn write(memory: &Memory, offset: u64, value: u32) {
    memory.write(offset, &value.to_ne_bytes());
}

#[test]
fn memory_keeps_what_is_written_and_nothing_beyond_its_end() {
    let memory = Memory::new("test", 10);
    let mut data = [1; 4];
    memory.read(2, &mut data);
    assert_eq!((data, memory.dword(0).is_none()), ([0; 4], true), "reading sets nothing up");
    memory.write(8, &[1, 2, 3, 4]);
    memory.read(7, &mut data);
    assert_eq!(data, [0, 1, 2, 0]);
    memory.write(3, b"portcul");
    let mut data = [0; 10];
    memory.read(0, &mut data);
    assert_eq!(&data, b"\0\0\0portcul");
    assert_eq!(Foreign::of(&memory).read(8) >> 16, 0, "beyond the end, in the same page");
    memory.clear();
    memory.read(0, &mut data);
    assert_eq!(data, [0; 10]);
}

#[test]
fn no_offset_or_length_that_a_client_may_send_is_a_panic() {
    for size in [0, 1, 4, 4096, 4100, u64::MAX - 5000, u64::MAX] {
        let memory = Memory::new("test", size);
        for offset in [0, 1, 3, 4, 4092, 4095, 4096, 1 << 40, u64::MAX - 8, u64::MAX - 3, u64::MAX] {
            for length in [0, 1, 4, 8, 9] {
                memory.write(offset, &vec![0xaa; length]);
                memory.read(offset, &mut vec![0; length]);
                assert!(memory.dword(offset).is_none_or(|_| offset % 4 == 0 && offset + 4 <= size));
            }
        }
        assert_eq!(memory.set_up().is_ok(), (1..=4100).contains(&size), "{size}");
    }
}

#[test]
fn first_users_that_race_get_one_set_up() {
    for _ in 0..100 {
        let memory = Memory::new("test", SIZE);
        let start = std::sync::Barrier::new(4);
        let user = || {
            start.wait();
            let file = File::from(memory.file(0).unwrap().try_clone().unwrap());
            (file.metadata().unwrap().ino(), injection::taken())
        };
        let found: Vec<(u64, usize)> = std::thread::scope(|scope| {
            let users: Vec<_> = (0..4).map(|_| scope.spawn(user)).collect();
            users.into_iter().map(|user| user.join().unwrap()).collect()
        });
        assert!(found.iter().all(|(inode, _)| *inode == found[0].0), "MM-I6");
        assert_eq!(found.iter().map(|(_, calls)| calls).sum::<usize>(), 2, "one file, one view");
    }
}

#[test]
fn a_failed_set_up_is_told_and_tried_again() {
    let memory = Memory::new("test", SIZE);
    for fails in [0, 1] {
        injection::fail_after(Some(fails));
        assert!(memory.set_up().is_err());
        assert!(memory.dword(0).is_none());
    }
    memory.set_up().unwrap();
    assert!(memory.dword(SIZE - 4).is_some() && memory.dword(SIZE).is_none() && memory.dword(2).is_none());
}

#[test]
fn a_client_can_neither_cut_nor_extend_the_file_nor_forbid_writing() {
    let memory = Memory::new("test", SIZE);
    let file = Foreign::of(&memory);
    assert!(file.0.set_len(0).is_err() && file.0.set_len(2 * SIZE).is_err());
    let seal = rustix::fs::fcntl_add_seals(&file.0, rustix::fs::SealFlags::FUTURE_WRITE);
    assert!(seal.is_err());
    let flags = rustix::io::fcntl_getfd(&*memory.file(0).unwrap()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

/// Of the mapping that has the address of `memory`'s first dword.
fn kernel_flags(memory: &Memory, offset: u64) -> String {
    let address = std::ptr::from_ref(memory.dword(offset).unwrap()).addr();
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut ours = false;
    for line in maps.lines() {
        if let Some((range, _)) = line.split_once(' ')
            && let Some((start, end)) = range.split_once('-')
            && let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
        {
            ours = (start..end).contains(&address);
        }
        if ours && let Some(flags) = line.strip_prefix("VmFlags:") {
            return flags.to_owned();
        }
    }
    panic!("not mapped");
}

#[test]
fn a_child_gets_no_part_of_the_view_whatever_lies_behind_it() {
    let mut world = World::new();
    let memory = Memory::new("test", SIZE);
    write(&memory, 0, 1);
    let not_copied = |memory| kernel_flags(memory, 0).split_whitespace().any(|flag| flag == "dc");
    assert!(not_copied(&memory));
    memory.hide(&world.held(), &[DATA]).unwrap();
    assert!(not_copied(&memory));
    memory.sever().unwrap();
    assert!(not_copied(&memory));
}

#[test]
fn a_big_memory_takes_what_is_touched_and_gives_it_back_when_cleared() {
    let memory = Memory::new("test", 64 << 30);
    memory.set_up().unwrap();
    let file = Foreign::of(&memory);
    assert_eq!(file.allocated(), 0);
    write(&memory, (64 << 30) - 4, 5);
    write(&memory, 1 << 30, 6);
    assert_eq!((read(&memory, (64 << 30) - 4), file.allocated()), (5, 2 * PAGE));
    memory.clear();
    assert_eq!(file.allocated(), 0);
    assert_eq!((read(&memory, (64 << 30) - 4), read(&memory, 1 << 30)), (0, 0));
}

#[test]
fn hidden_data_reads_all_ones_elsewhere_and_comes_back_with_what_the_device_did_meanwhile() {
    let mut world = World::new();
    let memory = Memory::new("test", SIZE);
    let foreign = Foreign::of(&memory);
    foreign.write(8, 1);
    write(&memory, OWN, 2);
    let cell = std::ptr::from_ref(memory.dword(8).unwrap());
    memory.hide(&world.held(), &[DATA, BELLS]).unwrap();
    assert!(foreign.shows_ones(DATA) && memory.is_hidden(&[DATA, BELLS]) && !memory.is_revealed());
    assert_eq!((foreign.read(OWN), foreign.read(BELLS.offset)), (2, 0), "the rest is as it was");
    assert_eq!((read(&memory, 8), read(&memory, PAGE)), (1, 0));
    foreign.write(8, 99);
    foreign.write(BELLS.offset, 3);
    write(&memory, 8, 4);
    assert_eq!((read(&memory, 8), read(&memory, BELLS.offset)), (4, 3), "a doorbell arrives, data does not");
    memory.reveal(&world.held()).unwrap();
    assert!(memory.is_revealed() && !memory.is_hidden(&[DATA]));
    assert_eq!((foreign.read(8), foreign.read(PAGE), foreign.read(BELLS.offset)), (4, 0, 3));
    foreign.write(8, 5);
    assert_eq!(read(&memory, 8), 5, "one memory again");
    assert_eq!(std::ptr::from_ref(memory.dword(8).unwrap()), cell, "the view stays where it is");
}

#[test]
fn hiding_copies_what_is_allocated_and_frees_it_again() {
    let mut world = World::new();
    let memory = Memory::new("test", 1 << 30);
    let area = Area { offset: 0, size: 64 << 20, holds: Holds::Data };
    write(&memory, 4 << 20, 7);
    let foreign = Foreign::of(&memory);
    memory.hide(&world.held(), &[area]).unwrap();
    let private = Foreign(memory.file(4 << 20).unwrap().try_clone().unwrap().into());
    assert_eq!(private.allocated(), PAGE);
    assert_eq!(foreign.allocated(), 64 << 20);
    memory.reveal(&world.held()).unwrap();
    assert_eq!((private.allocated(), foreign.allocated()), (0, PAGE));
    assert_eq!(read(&memory, 4 << 20), 7);
}

#[test]
fn the_file_of_a_byte_is_the_one_that_the_device_sees() {
    let mut world = World::new();
    let memory = Memory::new("test", SIZE);
    write(&memory, 0, 1);
    memory.hide(&world.held(), &[DATA, BELLS]).unwrap();
    for (offset, value) in [(0, 10), (BELLS.offset, 11), (OWN, 12)] {
        let file = Foreign(memory.file(offset).unwrap().try_clone().unwrap().into());
        file.write(offset, value);
        assert_eq!(read(&memory, offset), value);
    }
    memory.renew(&world.held()).unwrap();
    for (offset, value) in [(0, 10), (BELLS.offset, 11), (OWN, 12)] {
        let file = Foreign(memory.file(offset).unwrap().try_clone().unwrap().into());
        assert_eq!((file.read(offset), read(&memory, offset)), (value, value));
    }
}

#[test]
fn memory_that_is_cleared_while_hidden_comes_back_as_zeroes_and_stays_hidden_until_then() {
    let mut world = World::new();
    let memory = Memory::new("test", SIZE);
    let foreign = Foreign::of(&memory);
    for offset in [0, BELLS.offset, OWN] {
        write(&memory, offset, 1);
    }
    memory.hide(&world.held(), &[DATA, BELLS]).unwrap();
    memory.clear();
    assert!(foreign.shows_ones(DATA));
    assert_eq!([0, BELLS.offset, OWN].map(|offset| read(&memory, offset)), [0; 3]);
    memory.reveal(&world.held()).unwrap();
    assert_eq!([0, BELLS.offset, OWN].map(|offset| foreign.read(offset)), [0; 3]);
}

#[test]
fn who_was_left_behind_reaches_nothing_of_the_next_one() {
    let mut world = World::new();
    let memory = Memory::new("test", SIZE);
    write(&memory, 0, 1);
    write(&memory, BELLS.offset, 2);
    write(&memory, OWN, 3);
    let first = Foreign::of(&memory);
    let number = std::os::fd::AsRawFd::as_raw_fd(&*memory.file(0).unwrap());
    memory.renew(&world.held()).unwrap();
    blank(&OwnedFd::from(first.0.try_clone().unwrap()), &[DATA, BELLS]).unwrap();
    let second = Foreign::of(&memory);
    assert!(first.shows_ones(DATA) && first.shows_ones(BELLS));
    assert_eq!([0, BELLS.offset, OWN].map(|offset| second.read(offset)), [1, 2, 3]);
    for offset in [0, BELLS.offset, OWN] {
        first.write(offset, 66);
    }
    assert_eq!([0, BELLS.offset, OWN].map(|offset| read(&memory, offset)), [1, 2, 3]);
    write(&memory, 0, 77);
    assert_eq!((second.read(0), first.read(0)), (77, 66));
    assert_eq!(
        std::os::fd::AsRawFd::as_raw_fd(&*memory.file(0).unwrap()),
        number,
        "windows keep their number"
    );
}

#[test]
fn what_was_severed_reaches_nothing_at_once_and_for_ever() {
    let mut world = World::new();
    let memory = Memory::new("test", SIZE);
    let foreign = Foreign::of(&memory);
    write(&memory, 0, 1);
    memory.hide(&world.held(), &[DATA]).unwrap();
    memory.sever().unwrap();
    foreign.write(BELLS.offset, 3);
    assert_eq!((read(&memory, 0), read(&memory, BELLS.offset)), (0, 0));
    assert!(memory.reveal(&world.held()).is_err() && memory.renew(&world.held()).is_err());
    assert!(foreign.shows_ones(DATA), "whoever brings it back comes too late");
    foreign.write(0, 2);
    write(&memory, 4, 5);
    memory.clear();
    assert_eq!((read(&memory, 4), foreign.read(0)), (0, 2), "cleared for the device alone");

    let unused = Memory::new("test", SIZE);
    unused.sever().unwrap();
    Foreign::of(&unused).write(0, 1);
    assert_eq!(read(&unused, 0), 0, "also if it is set up later");
}

/// Every system call that can fail does so once, at each step of a life. The device has its bytes all the time, and trying
/// again leads to what was asked for.
#[test]
fn whatever_call_fails_the_device_has_its_memory_and_the_next_attempt_succeeds() {
    let mut world = World::new();
    let mut failures = 0;
    for script in
        ["hide reveal", "hide renew", "hide reveal hide", "hide clear reveal", "renew hide", "hide sever"]
    {
        for fails_at in 0.. {
            let memory = Memory::new("test", SIZE);
            let mut expected = [0x11, 0, 0x22, 0x33];
            let offsets = [0, PAGE, BELLS.offset, OWN];
            for (offset, value) in offsets.iter().zip(expected) {
                if value != 0 {
                    write(&memory, *offset, value);
                }
            }
            let foreign = Foreign::of(&memory);
            injection::fail_after(Some(fails_at));
            for step in script.split(' ') {
                for attempt in 0.. {
                    let held = world.held();
                    let done = match step {
                        "hide" => memory.hide(&held, &[DATA, BELLS]),
                        "reveal" => memory.reveal(&held),
                        "renew" => memory.renew(&held),
                        "sever" => memory.sever(),
                        _ => {
                            memory.clear();
                            expected = [0; 4];
                            Ok(())
                        }
                    };
                    drop(held);
                    if step == "sever" && done.is_ok() {
                        expected = [0; 4];
                    }
                    let seen = offsets.map(|offset| read(&memory, offset));
                    assert_eq!(seen, expected, "{script}: {step}, call {fails_at}");
                    if done.is_ok() {
                        break;
                    }
                    failures += 1;
                    // The device goes on with what it has.
                    for (offset, value) in offsets.iter().zip(&mut expected) {
                        *value += 0x100;
                        write(&memory, *offset, *value);
                    }
                    assert!(attempt < 2, "{script}: one failure was planned, {step} fails again");
                }
                match step {
                    "hide" => assert!(memory.is_hidden(&[DATA]), "{script}, call {fails_at}"),
                    "sever" | "clear" => {}
                    _ => assert!(memory.is_revealed(), "{script}, call {fails_at}"),
                }
            }
            write(&memory, OWN + 8, 1);
            let apart = script.contains("renew") || script.contains("sever");
            assert_eq!(foreign.read(OWN + 8) == 1, !apart, "{script}, call {fails_at}");
            if script.ends_with("reveal") {
                write(&memory, 8, 9);
                let shared = (foreign.read(8), foreign.read(PAGE));
                assert_eq!(shared, (9, expected[1]), "{script}, call {fails_at}");
            }
            if injection::fail_after(None) {
                break;
            }
        }
    }
    assert!(failures > 30, "{failures} calls were seen to fail");
}

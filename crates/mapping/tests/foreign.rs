//! Memory in a file of somebody else's: passed on, and left alone.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use gate::{Deadline, Gate, Reason, ThreadToken};
use mapping::{Area, Holds, MapError, MappingLimits, Mappings, Memory, Reach};
use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create, open,
};
use rustix::io::{pread, pwrite};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

const SIZE: u64 = 0x4000;
const DOORBELLS: Area = Area { offset: 0x1000, size: 0x1000, holds: Holds::Doorbells };

struct Always;

impl Reach for Always {
    fn is_reachable(&self, _region: u32) -> bool {
        true
    }
}

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Full of 0x5a.
fn theirs(seal: bool) -> OwnedFd {
    let file = memfd_create("theirs", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, SIZE).unwrap();
    pwrite(&file, &[0x5a; 0x4000], 0).unwrap();
    if seal {
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    }
    file
}

fn foreign(file: &OwnedFd) -> Arc<Memory> {
    Memory::foreign("theirs", file.try_clone().unwrap(), SIZE, false).unwrap()
}

fn is_untouched(file: &OwnedFd) -> bool {
    let mut data = vec![0; 0x4000];
    pread(file, &mut data[..], 0).unwrap();
    data.iter().all(|byte| *byte == 0x5a)
}

#[test]
fn only_a_file_that_stays_as_long_as_it_is_is_taken() {
    let kind = |file: OwnedFd, size, accept| {
        Memory::foreign("theirs", file, size, accept).map(drop).map_err(|error| error.kind())
    };
    assert_eq!(kind(theirs(true), SIZE, false), Ok(()));
    assert_eq!(kind(theirs(false), SIZE, false), Err(ErrorKind::PermissionDenied));
    assert_eq!(kind(theirs(false), SIZE, true), Ok(()));
    assert_eq!(kind(theirs(true), SIZE + 1, false), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(theirs(true), 0, false), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(theirs(true), u64::MAX, false), Err(ErrorKind::InvalidInput));
    let file = theirs(true);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let read_only = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert_eq!(kind(read_only, SIZE, true), Err(ErrorKind::InvalidInput));
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert_eq!(kind(null, SIZE, true), Err(ErrorKind::InvalidInput));
}

#[test]
fn a_device_has_no_view_of_it() {
    let file = theirs(true);
    let memory = foreign(&file);
    assert!(memory.is_foreign());
    let mut data = [1; 4];
    memory.read(0x1000, &mut data);
    assert_eq!(data, [0; 4]);
    memory.write(0x1000, &[7; 4]);
    assert!(memory.dword(0x1000).is_none());
    memory.clear();
    assert!(is_untouched(&file));
}

#[test]
fn nothing_is_done_to_it_while_its_function_is_frozen_left_or_gone() {
    let file = theirs(true);
    let memory = foreign(&file);
    let gate = Gate::new("f");
    let mappings = Mappings::new(&gate, Arc::new(Always), MappingLimits::default());
    let token = &mut ThreadToken::at_thread_entry();
    let inode = |file: &OwnedFd| fstat(file).unwrap().st_ino;

    let shared = mappings.share("one".into(), 0, &memory, &[DOORBELLS]).unwrap();
    assert_eq!(inode(&shared.file), inode(&file), "the very file is passed on");
    gate.freeze();
    mappings.settle(token, patient()).unwrap();
    assert!(is_untouched(&file), "frozen");
    gate.thaw();
    mappings.settle(token, patient()).unwrap();
    drop(shared);
    mappings.settle(token, patient()).unwrap();
    assert!(is_untouched(&file), "left");

    // And the next one is given the same.
    let shared = mappings.share("two".into(), 0, &memory, &[DOORBELLS]).unwrap();
    assert_eq!(inode(&shared.file), inode(&file));
    drop(gate.close(token, Reason::Reset, patient()).unwrap());
    assert!(gate.retire(token, patient()).orphans.is_empty());
    mappings.settle(token, patient()).unwrap();
    drop(shared);
    mappings.settle(token, patient()).unwrap();
    assert!(is_untouched(&file), "gone");
}

#[test]
fn data_in_it_is_refused_because_it_could_not_be_hidden() {
    let memory = foreign(&theirs(true));
    let gate = Gate::new("f");
    let mappings = Mappings::new(&gate, Arc::new(Always), MappingLimits::default());
    let data = Area { holds: Holds::Data, ..DOORBELLS };
    let refused = mappings.share("one".into(), 0, &memory, &[data]).unwrap_err();
    assert!(matches!(refused, MapError::Range), "{refused}");
}

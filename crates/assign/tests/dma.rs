//! Mapping, looking up and unmapping the consumer's memory.

mod world;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use assign::{DmaAccess, DmaError, Event, Limits};
use gate::{AccessKind, GateState, ThreadToken};
use libc::{EACCES, EEXIST, EINVAL, ENODEV, ENOENT, ENOSPC, EPERM, ETIMEDOUT};
use pci_core::Command;
use rustix::fs::SealFlags;
use world::*;

#[test]
fn what_the_client_writes_is_what_the_device_reads_and_the_other_way_round() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let memory = filled(0x3000, 7);
    world.map_at(&mut token, RW, 0x1000, 0x8000, 0x2000, Some(dup(&memory))).unwrap();

    let pass = world.pass(&token);
    let slice = world.port.dma().resolve(&pass, 0x8010, 16, DmaAccess::ReadWrite).unwrap();
    assert_eq!(slice.read_pod::<[u8; 16]>(0), Ok([7; 16]));
    slice.write_from(&[1; 12]).unwrap();
    slice.store_u32_release(12, 0x0102_0304).unwrap();
    assert_eq!(slice.load_u32(12), Ok(0x0102_0304));
    assert_eq!(slice.load_u64(8), Ok(0x0102_0304_0101_0101));

    let mut seen = [0; 16];
    rustix::io::pread(&memory, &mut seen, 0x1010).unwrap();
    assert_eq!(seen, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 3, 2, 1]);

    let half = slice.slice(8, 8).unwrap();
    half.fill(9).unwrap();
    slice.slice(0, 8).unwrap().copy_to(&half).unwrap();
    assert_eq!(slice.read_pod::<[u8; 16]>(0), Ok([1; 16]));
}

#[test]
fn an_access_beyond_its_slice_or_off_its_alignment_is_refused() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
    let pass = world.pass(&token);
    let slice = world.port.dma().resolve(&pass, 2, 14, DmaAccess::ReadWrite).unwrap();
    assert_eq!(slice.len(), 14);
    assert_eq!(slice.read_into(&mut [0; 15]), Err(DmaError::OutOfRange));
    assert_eq!(slice.write_from(&[0; 15]), Err(DmaError::OutOfRange));
    assert_eq!(slice.read_pod::<u64>(7), Err(DmaError::OutOfRange));
    assert_eq!(slice.read_pod::<u64>(usize::MAX), Err(DmaError::OutOfRange));
    assert_eq!(slice.slice(14, 1).err(), Some(DmaError::OutOfRange));
    assert_eq!(slice.load_u32(0), Err(DmaError::Misaligned));
    assert_eq!(slice.load_u32(2), Ok(0));
    assert_eq!(slice.load_u64(2), Err(DmaError::Misaligned));
    assert_eq!(slice.store_u32_release(1, 1), Err(DmaError::Misaligned));
}

#[test]
fn permissions_of_a_mapping_are_respected() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map(&mut token, READ, 0x1000, 0x1000, filled(0x1000, 5)).unwrap();
    world.map(&mut token, WRITE, 0x2000, 0x1000, memory(0x1000)).unwrap();
    let dma = world.port.dma();
    let pass = world.pass(&token);
    let refused = |iova, access| dma.resolve(&pass, iova, 4, access).err();
    assert_eq!(refused(0x1000, DmaAccess::Read), None);
    assert_eq!(refused(0x1000, DmaAccess::Write), Some(DmaError::Denied));
    assert_eq!(refused(0x1000, DmaAccess::ReadWrite), Some(DmaError::Denied));
    assert_eq!(refused(0x2000, DmaAccess::Write), None);
    assert_eq!(refused(0x2000, DmaAccess::Read), Some(DmaError::Denied));
    let slice = dma.resolve(&pass, 0x1000, 4, DmaAccess::Read).unwrap();
    assert_eq!(slice.write_from(&[1]), Err(DmaError::Denied));
    assert_eq!(slice.store_u32_release(0, 1), Err(DmaError::Denied));
    assert_eq!(dma.write(&pass, 0x1000, &[1]), Err(DmaError::Denied));
    // The processor enforces it too: there is no writable page of the client's.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let at = format!("{:x}-", slice.as_ptr() as usize);
    assert!(maps.lines().any(|line| line.starts_with(&at) && line.contains(" r--s ")), "{maps}");
}

#[test]
fn a_file_opened_read_only_serves_a_read_only_mapping() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let memory = filled(0x1000, 5);
    let read_only = reopen(&memory, File::options().read(true));
    world.map(&mut token, READ, 0, 0x1000, dup(&read_only)).unwrap();
    assert_eq!(errno(world.map(&mut token, RW, 0x1000, 0x1000, read_only)), EACCES);
    assert_eq!(world.read_guest(&token, 0, 2), Ok(vec![5, 5]));
}

#[test]
fn a_transfer_may_span_mappings_that_adjoin_but_a_slice_may_not() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0x2000, 0x1000, filled(0x1000, 2)).unwrap();
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 1)).unwrap();
    assert_eq!(world.read_guest(&token, 0x1ffe, 4), Ok(vec![1, 1, 2, 2]));
    assert_eq!(world.read_guest(&token, 0x2ffe, 4), Err(DmaError::NotMapped));
    assert_eq!(world.read_guest(&token, u64::MAX, 4), Err(DmaError::NotMapped));
    let pass = world.pass(&token);
    let dma = world.port.dma();
    dma.write(&pass, 0x1fff, &[8, 9]).unwrap();
    assert_eq!(dma.resolve(&pass, 0x1ffe, 4, DmaAccess::Read).err(), Some(DmaError::NotMapped));
    assert_eq!(dma.resolve(&pass, 0x1000, u64::MAX, DmaAccess::Read).err(), Some(DmaError::NotMapped));
    drop(pass);
    assert_eq!(world.read_guest(&token, 0x1ffe, 4), Ok(vec![1, 8, 9, 2]));
}

#[test]
fn without_bus_mastering_no_memory_is_reached() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
    world.command(&mut token, Command::MEMORY_SPACE);
    let pass = world.pass(&token);
    let dma = world.port.dma();
    assert_eq!(dma.resolve(&pass, 0, 4, DmaAccess::Read).err(), Some(DmaError::BusMasterDisabled));
    assert_eq!(dma.write(&pass, 0, &[1]), Err(DmaError::BusMasterDisabled));
}

#[test]
fn in_d3hot_a_device_reaches_no_memory_and_sends_no_message() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
    let fd = new_eventfd();
    let (eventfd, trigger) = (1 << 2, 1 << 5);
    world.irqs(&mut token, (1, 0, 1), eventfd | trigger, &[], vec![dup(&fd)]).unwrap();
    for (state, reached) in [(3, Err(DmaError::BusMasterDisabled)), (0, Ok(()))] {
        world.power(&mut token, state);
        let pass = world.pass(&token);
        assert_eq!(world.port.dma().write(&pass, 0, &[1]), reached, "D{state}");
        world.port.interrupts().signal(&pass, 0);
        assert_eq!(count(&fd), u64::from(state == 0), "D{state}");
    }
}

#[test]
fn a_mapping_without_a_file_is_known_but_has_no_memory() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map_at(&mut token, RW, 0, 0xc_0000, 1 << 40, None).unwrap();
    assert_eq!(world.port.dma().usage(&mut token), (1, 0));
    assert_eq!(world.read_guest(&token, 0xc_0000, 4), Err(DmaError::NoMemory));
    assert_eq!(errno(world.map(&mut token, RW, 0xc_1000, 0x1000, memory(0x1000))), EEXIST);
    world.assignment.dma_unmap(&mut token, 0xc_0000, 1 << 40).unwrap();
    assert_eq!(world.read_guest(&token, 0xc_0000, 4), Err(DmaError::NotMapped));
}

#[test]
fn a_map_request_that_cannot_be_carried_out_is_refused_with_linux_errnos() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0x4000, 0x2000, memory(0x2000)).unwrap();
    const TOP: u64 = u64::MAX - 0xfff;
    let table = [
        ("size zero", EINVAL, RW, 0, 0, 0),
        ("size unaligned", EINVAL, RW, 0, 0, 0x1001),
        ("address unaligned", EINVAL, RW, 0, 0x800, 0x1000),
        ("offset unaligned", EINVAL, RW, 0x800, 0, 0x1000),
        ("wraps", EINVAL, RW, 0, TOP, 0x2000),
        ("wraps to zero", EINVAL, RW, 0, TOP, 0x1000),
        ("size huge", ENOSPC, RW, 0, 1 << 32, 1 << 50),
        ("beyond the file", EINVAL, RW, 0x1000, 0, 0x2000),
        ("offset beyond the file", EINVAL, RW, TOP, 0, 0x1000),
        ("offset wraps", EINVAL, RW, TOP, 0, 0x2000),
        ("no direction", EINVAL, 0, 0, 0, 0x1000),
        ("unknown flag", EINVAL, RW | 1 << 4, 0, 0, 0x1000),
        ("file I/O only", EINVAL, RW | 1 << 3, 0, 0, 0x1000),
        ("same again", EEXIST, RW, 0, 0x4000, 0x2000),
        ("overlaps below", EEXIST, RW, 0, 0x3000, 0x2000),
        ("overlaps above", EEXIST, RW, 0, 0x5000, 0x1000),
        ("inside", EEXIST, RW, 0, 0x4000, 0x1000),
    ];
    for (what, expected, flags, offset, iova, size) in table {
        let refused = world.map_at(&mut token, flags, offset, iova, size, Some(memory(0x2000)));
        assert_eq!(errno(refused), expected, "{what}");
    }
    assert_eq!(
        errno(world.map_at(&mut token, RW | 1 << 2, 0, 0, 0x1000, None)),
        EINVAL,
        "a mode without a file"
    );
    assert_eq!(world.port.dma().usage(&mut token), (1, 0x2000));
    world.map_at(&mut token, RW | 1 << 2, 0x1000, 0x3000, 0x1000, Some(memory(0x2000))).unwrap();
    world.map_at(&mut token, RW | 3 << 2, 0, 0x6000, 0x1000, Some(memory(0x2000))).unwrap();
}

#[test]
fn a_file_that_cannot_be_mapped_is_refused_with_its_errno() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let directory = OwnedFd::from(File::open("/").unwrap());
    assert_eq!(errno(world.map(&mut token, READ, 0, 0x1000, directory)), ENODEV);
    let (pipe, _writer) = rustix::pipe::pipe().unwrap();
    assert_eq!(errno(world.map(&mut token, READ, 0, 0x1000, pipe)), ENODEV);
    let device = OwnedFd::from(File::open("/dev/zero").unwrap());
    assert_eq!(errno(world.map(&mut token, READ, 0, 0x1000, device)), ENODEV);
    let write_only = reopen(&memory(0x1000), File::options().write(true));
    assert_eq!(errno(world.map(&mut token, WRITE, 0, 0x1000, write_only)), EACCES);
    let sealed = memory(0x1000);
    rustix::fs::fcntl_add_seals(&sealed, SealFlags::WRITE).unwrap();
    assert_eq!(errno(world.map(&mut token, RW, 0, 0x1000, dup(&sealed))), EPERM);
    let foreign = OwnedFd::from(File::open("/proc/self/maps").unwrap());
    assert_eq!(
        errno(world.map(&mut token, READ, 0, 0x1000, foreign)),
        EINVAL,
        "a file system that could block"
    );
    world.map(&mut token, READ, 0, 0x1000, sealed).unwrap();
}

#[test]
fn mappings_and_mapped_bytes_are_bounded_and_the_reason_is_told() {
    let world = World::with(Limits { dma_maps: 3, dma_bytes: 0x3000, ..Limits::default() });
    let mut token = ThreadToken::at_thread_entry();
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x2000, memory(0x2000)).unwrap();
    let error = world.map(&mut token, RW, 0x2000, 0x2000, memory(0x2000)).unwrap_err();
    assert_eq!(error.errno.raw(), ENOSPC);
    assert!(error.to_string().contains("dma_bytes"), "{error}");
    world.map(&mut token, RW, 0x2000, 0x1000, memory(0x1000)).unwrap();
    world.map_at(&mut token, RW, 0, 0x1_0000, 0x10_0000, None).unwrap();
    let error = world.map_at(&mut token, RW, 0, 0x100_0000, 0x1000, None).unwrap_err();
    assert_eq!(error.errno.raw(), ENOSPC);
    assert!(error.to_string().contains("dma_maps"), "{error}");
    world.assignment.dma_unmap(&mut token, 0, 0x2000).unwrap();
    world.map(&mut token, RW, 0x8000, 0x2000, memory(0x2000)).unwrap();
}

#[test]
fn an_unmap_takes_whole_mappings_and_never_splits_one() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    for nth in 1..=4 {
        world.map(&mut token, RW, nth * 0x2000, 0x2000, memory(0x2000)).unwrap();
    }
    let assignment = &world.assignment;
    for (iova, size, expected) in [
        (0x2000, 0x1000, EINVAL),
        (0x3000, 0x1000, EINVAL),
        (0x3000, 0x3000, EINVAL),
        (0x2000, 0x3000, EINVAL),
        (0x2000, 0, EINVAL),
        (0x2001, 0x1000, EINVAL),
        (0x2000, 0x1001, EINVAL),
        (u64::MAX - 0xfff, 0x1000, EINVAL),
        (0x2_0000, 0x1000, ENOENT),
    ] {
        assert_eq!(errno(assignment.dma_unmap(&mut token, iova, size)), expected, "{iova:x} {size:x}");
    }
    assert_eq!(world.port.dma().usage(&mut token).0, 4);
    assignment.dma_unmap(&mut token, 0x4000, 0x2000).unwrap();
    assert_eq!(world.read_guest(&token, 0x4000, 1), Err(DmaError::NotMapped));
    assert_eq!(world.read_guest(&token, 0x3fff, 1), Ok(vec![0]));
    // A range with room before, between and after.
    assignment.dma_unmap(&mut token, 0, 0x9000).unwrap_err();
    assignment.dma_unmap(&mut token, 0, 0x8000).unwrap();
    assert_eq!(world.port.dma().usage(&mut token), (1, 0x2000));
    assignment.dma_unmap_all(&mut token).unwrap();
    assert_eq!(world.port.dma().usage(&mut token), (0, 0));
    assignment.dma_unmap_all(&mut token).unwrap();
    world.map(&mut token, RW, 0x2000, 0x2000, memory(0x2000)).unwrap();
}

#[test]
fn an_unmap_waits_for_the_slices_held_of_its_mapping() {
    // Longer than the test waits: a wake-up that is lost shows.
    let world = World::with(Limits { unmap_timeout: Duration::from_secs(60), ..Limits::default() });
    let mut token = ThreadToken::at_thread_entry();
    let _attached = world.attach(&mut token);
    let memory = memory(0x1000);
    world.map(&mut token, RW, 0, 0x1000, dup(&memory)).unwrap();
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 3)).unwrap();
    let hold = |token: &ThreadToken, iova| {
        let pass = world.pass(token);
        world.port.dma().resolve(&pass, iova, 4, DmaAccess::ReadWrite).unwrap().hold()
    };
    let held = hold(&token, 0);
    let other = hold(&token, 0x1000);
    std::thread::scope(|scope| {
        let (done, result) = mpsc::channel();
        let assignment = &world.assignment;
        scope.spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            done.send(assignment.dma_unmap(&mut token, 0, 0x1000)).unwrap();
        });
        // It is out of the map at once, so that no new DMA begins, but not unmapped.
        while world.read_guest(&token, 0, 1).is_ok() {
            std::thread::yield_now();
        }
        assert!(matches!(result.try_recv(), Err(mpsc::TryRecvError::Empty)));
        held.write_at(0, &[1, 2, 3, 4]).unwrap();
        drop(held);
        assert_eq!(result.recv_timeout(Duration::from_secs(20)).unwrap(), Ok(()));
    });
    let mut seen = [0; 4];
    rustix::io::pread(&memory, &mut seen, 0).unwrap();
    assert_eq!(seen, [1, 2, 3, 4], "the DMA that the unmap waited for reached the client");
    assert_eq!(world.gate.status().state, GateState::Open);
    let mut data = [0; 4];
    other.read_at(0, &mut data).unwrap();
    assert_eq!(data, [3; 4], "a slice of another mapping is not waited for and goes on");
}

#[test]
fn an_unmap_whose_dma_does_not_end_freezes_the_function_and_cuts_the_memory_off() {
    let world = World::with(Limits { unmap_timeout: Duration::from_millis(20), ..Limits::default() });
    let mut token = ThreadToken::at_thread_entry();
    let _attached = world.attach(&mut token);
    let memory = memory(0x1000);
    world.map(&mut token, RW, 0, 0x1000, dup(&memory)).unwrap();
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 3)).unwrap();
    let held = {
        let pass = world.pass(&token);
        world.port.dma().resolve(&pass, 0, 4, DmaAccess::ReadWrite).unwrap().hold()
    };
    assert_eq!(errno(world.assignment.dma_unmap(&mut token, 0, 0x1000)), ETIMEDOUT);
    assert_eq!(world.gate.status().state, GateState::Frozen);
    let events = world.events.all();
    assert!(events.contains(&Event::DmaUnmapTimedOut { iova: 0, size: 0x1000, in_flight: 1 }), "{events:?}");
    assert!(events.contains(&Event::DmaOrphaned { iova: 0, size: 0x1000, held: 1 }), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, Event::Frozen { .. })), "{events:?}");
    // The address stays valid for the I/O, but is no longer the client's memory.
    assert_eq!(held.write_at(0, &[1; 4]), Err(DmaError::Severed));
    let mut seen = [9; 4];
    rustix::io::pread(&memory, &mut seen, 0).unwrap();
    assert_eq!(seen, [0; 4], "a write after the unmap was answered reached the client");
    // The consumer can go on cleaning up, and the range is free.
    world.assignment.dma_unmap(&mut token, 0x1000, 0x1000).unwrap();
    assert_eq!(world.port.dma().usage(&mut token), (0, 0));
    drop(held);
    assert!(world.gate.thaw());
    world.map(&mut token, RW, 0, 0x1000, filled(0x1000, 8)).unwrap();
    assert_eq!(world.read_guest(&token, 0, 1), Ok(vec![8]));
}

#[test]
fn an_unmap_that_a_pass_never_leaves_is_severed_and_the_next_change_mends_the_table() {
    let world = World::with(Limits { unmap_timeout: Duration::from_millis(20), ..Limits::default() });
    let mut token = ThreadToken::at_thread_entry();
    let _attached = world.attach(&mut token);
    let memory = memory(0x1000);
    world.map(&mut token, RW, 0, 0x1000, dup(&memory)).unwrap();
    let (inside, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel();
    std::thread::scope(|scope| {
        let world = &world;
        scope.spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let pass = world.port.handle().try_enter(&token, AccessKind::Dma).unwrap();
            let slice = world.port.dma().resolve(&pass, 0, 4, DmaAccess::ReadWrite).unwrap();
            inside.send(()).unwrap();
            left.recv().unwrap();
            assert_eq!(slice.write_from(&[1; 4]), Err(DmaError::Severed));
        });
        entered.recv().unwrap();
        assert_eq!(errno(world.assignment.dma_unmap(&mut token, 0, 0x1000)), ETIMEDOUT);
        assert_eq!(world.gate.status().state, GateState::Frozen);
        leave.send(()).unwrap();
    });
    let mut seen = [9; 4];
    rustix::io::pread(&memory, &mut seen, 0).unwrap();
    assert_eq!(seen, [0; 4]);
    assert!(world.gate.thaw());
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 8)).unwrap();
    assert_eq!(world.read_guest(&token, 0, 1), Err(DmaError::NotMapped));
    assert_eq!(world.read_guest(&token, 0x1000, 1), Ok(vec![8]));
}

#[allow(clippy::unwrap_used, reason = "test code")]
fn reopen(fd: &OwnedFd, options: &std::fs::OpenOptions) -> OwnedFd {
    use std::os::fd::AsRawFd;
    options.open(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().into()
}

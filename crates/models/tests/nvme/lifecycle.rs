//! Enable, reset, function level reset, shutdown, detach, and I/O in flight through all of them.

use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, Reason};
use models::nvme::backing::{DirectIo, FileOptions};
use models::nvme::{Backing, Config, DoorbellStyle};
use nvme_spec::register::{AQA, ASQ, CC, CSTS, Capabilities, ShutdownStatus};
use nvme_spec::{AdminOpcode, Doorbell, NvmOpcode, VERSION_1_4};

use crate::guest::{ENABLED, Guest, admin, assert_ok, entry, io, pattern};

const SIZE: u64 = 64 << 20;

fn file_disk() -> (tempfile::TempDir, Guest) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let options = FileOptions { size: Some(SIZE), direct: DirectIo::WherePossible };
    let backing = Backing::file(&dir.path().join("disk"), &options).unwrap();
    (dir, Guest::ready(&Config::default(), backing))
}

/// The same with every block written, so that reads go to the disk: holes are read at once.
fn full_disk() -> (tempfile::TempDir, Guest) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let path = dir.path().join("disk");
    std::fs::write(&path, vec![0x11; SIZE as usize]).unwrap();
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
    let guest = Guest::ready(&Config::default(), Backing::file(&path, &FileOptions::default()).unwrap());
    (dir, guest)
}

/// Fills a queue with 64 KiB writes and rings once.
fn keep_busy(guest: &mut Guest, pair: &mut crate::guest::Pair, commands: u64) {
    let buffer = guest.pages(16);
    let list = guest.pages(1);
    let pages: Vec<u8> = (1..16).flat_map(|page: u64| (buffer + page * 4096).to_le_bytes()).collect();
    guest.store(list, &pages);
    for nth in 0..commands {
        let mut write = io(NvmOpcode::Write, nth * 128, 128, buffer);
        (write.prp2, write.cdw12) = (list.into(), (127 | 1 << 30).into());
        guest.put(pair, write);
    }
    guest.ring(Doorbell::SubmissionTail(pair.qid), pair.tail);
}

#[test]
fn the_registers_shake_hands() {
    let mut guest = Guest::new(&Config::default(), Backing::memory(1 << 20).unwrap());
    let cap = Capabilities(u64::from(guest.read32(0)) | u64::from(guest.read32(4)) << 32);
    assert_eq!((cap.mqes(), guest.read32(8)), (4095, VERSION_1_4));
    assert_eq!(guest.read32(CSTS), 0);
    guest.write32(CSTS, 0xffff_ffff);
    guest.write32(0, 0xffff_ffff);
    assert_eq!((guest.read32(CSTS), guest.read32(0)), (0, u32::try_from(cap.0 & 0xffff_ffff).unwrap()));
    guest.enable();
    assert_eq!(guest.read32(CSTS), 1);
    guest.disable();
    assert_eq!(guest.read32(AQA), 31 << 16 | 31, "kept over a controller reset");
}

#[test]
fn a_configuration_that_is_not_offered_is_a_fatal_status_until_the_reset() {
    for (cc, aqa) in [(ENABLED | 1 << 7, 31 << 16 | 31), (ENABLED | 6 << 4, 31 << 16 | 31), (ENABLED, 0)] {
        let mut guest = Guest::new(&Config::default(), Backing::memory(1 << 20).unwrap());
        guest.write32(AQA, aqa);
        guest.write32(CC, cc);
        assert!(guest.status().cfs() && !guest.status().rdy());
        guest.disable();
        assert!(!guest.status().cfs());
        guest.enable();
        assert_ok(&guest.run_admin(admin(AdminOpcode::AsyncEventRequest).clone_with_get_features()));
    }
}

trait Simple {
    fn clone_with_get_features(&self) -> Self;
}

impl Simple for nvme_spec::SubmissionEntry {
    /// Get Features, Arbitration.
    fn clone_with_get_features(&self) -> Self {
        Self { opcode: AdminOpcode::GetFeatures.code(), cdw10: 1.into(), ..*self }
    }
}

#[test]
fn queues_in_memory_that_is_not_mapped_are_a_fatal_status() {
    let mut guest = Guest::new(&Config::default(), Backing::memory(1 << 20).unwrap());
    guest.write32(AQA, 31 << 16 | 31);
    guest.write64(ASQ, 0x1000);
    guest.write32(CC, ENABLED);
    guest.write32(0x1000, 1);
    guest.wait("a fatal status", |guest| guest.status().cfs());
    guest.disable();
    guest.enable();
    assert_ok(&guest.run_admin(admin(AdminOpcode::GetFeatures).clone_with_get_features()));
}

#[test]
fn without_bus_mastering_commands_wait() {
    let mut guest = Guest::memory_disk();
    let mut pair = guest.make_pair(1, 16, 0);
    guest.set_command(0x2);
    guest.submit(&mut pair, entry(NvmOpcode::Flush.code(), 1));
    assert!(guest.peek(&pair).is_none());
    guest.set_command(0x6);
    assert_ok(&guest.complete(&mut pair));
}

/// Starts reads of 1 MiB each and waits for none of them; returns the buffer that they all fill.
fn start_reads(guest: &mut Guest, pair: &mut crate::guest::Pair) -> u64 {
    let buffer = guest.pages(256);
    let list = guest.pages(1);
    let pages: Vec<u8> = (1..256).flat_map(|page: u64| (buffer + page * 4096).to_le_bytes()).collect();
    guest.store(list, &pages);
    for nth in 0..40 {
        let mut read = io(NvmOpcode::Read, nth * 2048, 2048, buffer);
        read.prp2 = list.into();
        guest.put(pair, read);
    }
    guest.ring(Doorbell::SubmissionTail(pair.qid), pair.tail);
    // The first block of the data, or the first answer, is there: they have been taken.
    guest.wait("the first data", |guest| guest.load(buffer, 1) == [0x11] || guest.peek(pair).is_some());
    buffer
}

/// What the host writes to a buffer that it was told is its own again stays there.
#[track_caller]
fn assert_left_alone(guest: &mut Guest, buffer: u64) {
    let mine = vec![0xee; 1 << 20];
    let mut other = guest.make_pair(9, 64, 0);
    // As long as anything could still be in flight: the disk answers in order of arrival, more or less.
    for _ in 0..50 {
        keep_busy(guest, &mut other, 1);
        assert_ok(&guest.complete(&mut other));
    }
    assert!(guest.load(buffer, 1 << 20) == mine, "data arrived late");
}

#[test]
fn a_controller_reset_waits_for_what_is_in_flight() {
    let (_dir, mut guest) = full_disk();
    for _ in 0..5 {
        let mut pair = guest.make_pair(1, 64, 0);
        let buffer = start_reads(&mut guest, &mut pair);
        guest.disable();
        let before = guest.load(pair.completion, 4096);
        guest.store(buffer, &vec![0xee; 1 << 20]);
        guest.enable();
        assert_left_alone(&mut guest, buffer);
        assert!(guest.load(pair.completion, 4096) == before, "an answer arrived late");
    }
}

#[test]
fn a_function_level_reset_under_load_leaves_a_disabled_controller() {
    let (_dir, mut guest) = file_disk();
    let mut express = [0; 256];
    guest.assignment.region_read(&mut guest.token, 7, 0, &mut express).unwrap();
    let mut at = express[0x34];
    while express[usize::from(at)] != 0x10 {
        at = express[usize::from(at) + 1];
        assert_ne!(at, 0, "there is no PCI Express capability");
    }
    for device_reset in [false, true] {
        let mut pair = guest.make_pair(1, 64, 0);
        keep_busy(&mut guest, &mut pair, 60);
        if device_reset {
            guest.assignment.reset(&mut guest.token).unwrap();
        } else {
            let control = 0x8000u16.to_le_bytes();
            guest.assignment.region_write(&mut guest.token, 7, u64::from(at) + 8, &control).unwrap();
            guest.set_command(0x6);
        }
        assert_eq!((guest.read32(CC), guest.read32(CSTS), guest.read32(AQA)), (0, 0, 0));
        guest.enable();
    }
    let page = guest.pages(1);
    let mut log = admin(AdminOpcode::GetLogPage);
    (log.prp1, log.cdw10) = (page.into(), (2 | 127 << 16).into());
    assert_ok(&guest.run_admin(log));
    assert_eq!(guest.load(page + 144, 1), [2], "two unsafe shutdowns");
}

#[test]
fn deleting_a_busy_queue_waits_for_its_commands() {
    let (_dir, mut guest) = full_disk();
    let mut pair = guest.make_pair(1, 64, 0);
    let buffer = start_reads(&mut guest, &mut pair);
    let mut delete = admin(AdminOpcode::DeleteIoSubmissionQueue);
    delete.cdw10 = 1.into();
    assert_ok(&guest.run_admin(delete));
    let before = guest.load(pair.completion, 4096);
    guest.store(buffer, &vec![0xee; 1 << 20]);
    assert_left_alone(&mut guest, buffer);
    assert!(guest.load(pair.completion, 4096) == before, "an answer arrived late");
    let mut delete = admin(AdminOpcode::DeleteIoCompletionQueue);
    delete.cdw10 = 1.into();
    assert_ok(&guest.run_admin(delete));
}

#[test]
fn a_shutdown_completes_and_the_disk_has_everything() {
    for file in [false, true] {
        let (dir, mut guest) = file_disk();
        if !file {
            drop(guest);
            guest = Guest::memory_disk();
        }
        let mut pair = guest.make_pair(1, 64, 0);
        let buffer = guest.pages(1);
        guest.store(buffer, &pattern(4096, 1));
        assert_ok(&guest.run(&mut pair, io(NvmOpcode::Write, 0, 8, buffer)));
        guest.write32(CC, ENABLED | 1 << 14);
        guest.wait("shutdown", |guest| guest.status().shst() == ShutdownStatus::Complete.bits());
        assert!(guest.status().rdy());
        if file {
            assert!(std::fs::read(dir.path().join("disk")).unwrap()[..4096] == pattern(4096, 1));
        }
        guest.disable();
        assert_eq!(guest.status().shst(), 0);
        guest.enable();
        let mut pair = guest.make_pair(1, 64, 0);
        assert_ok(&guest.run(&mut pair, entry(NvmOpcode::Flush.code(), 1)));
    }
}

#[test]
fn a_closed_gate_holds_answers_back_and_lets_them_go() {
    let (_dir, mut guest) = file_disk();
    let mut pair = guest.make_pair(1, 64, 0);
    let assignment = Arc::clone(&guest.assignment);
    let gate = assignment.function().gate();
    for _ in 0..20 {
        keep_busy(&mut guest, &mut pair, 32);
        let seen = {
            // Closing drains the I/O in flight, so nothing reaches the guest while it is closed.
            let deadline = Deadline::after(Duration::from_secs(30));
            let closed = gate.close(&mut guest.token, Reason::Reset, deadline).unwrap();
            let seen = {
                let bytes = std::os::unix::fs::FileExt::read_at(
                    &guest.memory,
                    &mut vec![0; 1024],
                    pair.completion - crate::guest::BASE,
                );
                bytes.unwrap()
            };
            drop(closed);
            seen
        };
        assert_eq!(seen, 1024);
        for _ in 0..32 {
            assert_ok(&guest.complete(&mut pair));
        }
    }
}

#[test]
fn a_client_that_leaves_under_load_leaves_a_disk_for_the_next() {
    let (_dir, mut guest) = file_disk();
    let mut pair = guest.make_pair(1, 64, 0);
    let buffer = guest.pages(1);
    guest.store(buffer, &pattern(4096, 5));
    assert_ok(&guest.run(&mut pair, io(NvmOpcode::Write, 100_000, 8, buffer)));
    keep_busy(&mut guest, &mut pair, 60);
    guest.detach();
    assert_eq!(guest.assignment.port().dma().usage(&mut guest.token), (0, 0));
    guest.attach();
    guest.map();
    guest.assignment.reset(&mut guest.token).unwrap();
    guest.set_command(0x6);
    guest.enable();
    let mut pair = guest.make_pair(1, 64, 0);
    guest.store(buffer, &[0; 4096]);
    assert_ok(&guest.run(&mut pair, io(NvmOpcode::Read, 100_000, 8, buffer)));
    assert!(guest.load(buffer, 4096) == pattern(4096, 5));
}

#[test]
fn unmapping_memory_with_io_in_flight_waits_and_later_commands_fail_alone() {
    let (_dir, mut guest) = file_disk();
    let mut pair = guest.make_pair(1, 64, 0);
    keep_busy(&mut guest, &mut pair, 60);
    guest.assignment.dma_unmap_all(&mut guest.token).unwrap();
    // The queues went with the memory: the controller says so, and a reset helps.
    guest.map();
    guest.assignment.reset(&mut guest.token).unwrap();
    guest.set_command(0x6);
    guest.enable();
    let mut pair = guest.make_pair(1, 64, 0);
    assert_ok(&guest.run(&mut pair, entry(NvmOpcode::Flush.code(), 1)));
}

fn mapped_disk() -> Guest {
    let config = Config { doorbells: DoorbellStyle::Mapped, ..Config::default() };
    Guest::ready(&config, Backing::memory(16 << 20).unwrap())
}

#[test]
fn doorbells_stored_while_the_function_is_frozen_are_all_acted_on_after_the_thaw() {
    let mut guest = mapped_disk();
    let mut pairs: Vec<_> = (1..=4).map(|qid| guest.make_pair(qid, 16, 0)).collect();
    let gate = guest.assignment.function().gate().clone();
    for round in 0..20 {
        assert!(gate.freeze());
        // Whoever was inside when it froze may still act; after this nobody is.
        let drain = |guest: &mut Guest| {
            let soon = Deadline::after(Duration::from_secs(10));
            drop(gate.close(&mut guest.token, Reason::Freeze, soon).unwrap());
        };
        drain(&mut guest);
        for pair in &mut pairs {
            for _ in 0..1 + round % 3 {
                guest.submit(pair, entry(NvmOpcode::Flush.code(), 1));
            }
        }
        drain(&mut guest);
        assert!(pairs.iter().all(|pair| guest.peek(pair).is_none()), "acted on while frozen");
        assert!(gate.thaw());
        for pair in &mut pairs {
            for _ in 0..1 + round % 3 {
                assert_ok(&guest.complete(pair));
            }
        }
    }
}

#[test]
fn no_mapped_doorbell_is_lost_however_often_the_function_freezes() {
    let mut guest = mapped_disk();
    let mut pair = guest.make_pair(1, 16, 0);
    let gate = guest.assignment.function().gate().clone();
    let running = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (theirs, runs) = (gate.clone(), Arc::clone(&running));
    let freezer = std::thread::spawn(move || {
        while runs.load(std::sync::atomic::Ordering::Acquire) {
            theirs.freeze();
            std::thread::yield_now();
            theirs.thaw();
            std::thread::yield_now();
        }
    });
    for _ in 0..1000 {
        assert_ok(&guest.run(&mut pair, entry(NvmOpcode::Flush.code(), 1)));
    }
    running.store(false, std::sync::atomic::Ordering::Release);
    freezer.join().unwrap();
}

#[test]
fn a_client_that_has_left_rings_no_doorbell_of_the_next_one() {
    let mut guest = mapped_disk();
    let old = guest.doorbells.as_ref().unwrap().try_clone().unwrap();
    guest.detach();
    guest.attach();
    guest.map();
    guest.set_command(0x6);
    guest.enable();
    // As many commands as the old doorbell would announce are there.
    let mut pair = guest.admin.clone();
    guest.put(&mut pair, admin(AdminOpcode::GetFeatures).clone_with_get_features());
    std::os::unix::fs::FileExt::write_all_at(&old, &pair.tail.to_le_bytes(), 0x1000).unwrap();
    let mut rung = [1; 4];
    let seen = guest.assignment.function().device().mappable(0).unwrap().memory;
    seen.read(0x1000, &mut rung);
    assert_eq!((rung, guest.peek(&pair)), ([0; 4], None), "what the device sees");
    guest.ring(Doorbell::SubmissionTail(0), pair.tail);
    assert_ok(&guest.complete(&mut pair));
}

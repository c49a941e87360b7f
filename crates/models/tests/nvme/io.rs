//! Read, Write, Flush, Write Zeroes, Dataset Management; memory and file; PRPs good and bad.

use std::os::unix::fs::MetadataExt;

use models::nvme::backing::{DirectIo, FileOptions};
use models::nvme::{Backing, BlockSize, Config, DoorbellStyle};
use nvme_spec::{Doorbell, NSID_ALL, NvmOpcode, Status};

use crate::guest::{BASE, Guest, assert_failed, assert_ok, entry, io, pattern};

const SIZE: u64 = 16 << 20;

/// The same test on a memory disk, and on a file with and without direct I/O, with both block sizes.
fn on_every_disk(test: impl Fn(Guest, u32)) {
    for block_size in [BlockSize::B512, BlockSize::B4096] {
        let config = Config { block_size, ..Config::default() };
        test(Guest::ready(&config, Backing::memory(SIZE).unwrap()), block_size.bytes());
        for direct in [DirectIo::WherePossible, DirectIo::Never] {
            let dir = tempfile::tempdir_in(".").unwrap();
            let options = FileOptions { size: Some(SIZE), direct };
            let backing = Backing::file(&dir.path().join("disk"), &options).unwrap();
            test(Guest::ready(&config, backing), block_size.bytes());
        }
    }
}

#[test]
fn what_is_written_is_read_back_in_every_shape_of_prp() {
    on_every_disk(|mut guest, block| {
        let mut pair = guest.make_pair(1, 64, 0);
        // Bytes in the first page, and length: one entry, two entries, a list, a list with a tail.
        for (offset, len) in
            [(0u64, 4096u64), (0, 8192), (512, 8192), (4, 8192), (0, 65536), (1024, 131_072), (0, 1 << 20)]
        {
            let len_bytes = usize::try_from(len).unwrap();
            let blocks = u32::try_from(len).unwrap() / block;
            let data = pattern(len_bytes, 7);
            let buffer = guest.pages(258);
            let list = guest.pages(1);
            let pages: Vec<u8> =
                (1..=256).flat_map(|page: u64| (buffer + page * 4096).to_le_bytes()).collect();
            let prp2 = if offset + len <= 8192 { buffer + 4096 } else { list };
            guest.store(list, &pages[..4096.min(pages.len())]);
            guest.store(buffer + offset, &data);
            let mut write = io(NvmOpcode::Write, 8, blocks, buffer + offset);
            write.prp2 = prp2.into();
            // The largest transfer with an offset needs more than one list page; it has none here.
            assert_ok(&guest.run(&mut pair, write));
            guest.store(buffer, &vec![0; 258 * 4096]);
            let mut read = io(NvmOpcode::Read, 8, blocks, buffer + offset);
            read.prp2 = prp2.into();
            assert_ok(&guest.run(&mut pair, read));
            assert!(
                guest.load(buffer + offset, len_bytes) == data,
                "offset {offset}, length {len}, block {block}"
            );
            assert_eq!(guest.load(buffer + offset + len, 64), [0; 64], "nothing is written beyond the end");
        }
    });
}

#[test]
fn many_commands_at_once_all_come_back_right() {
    on_every_disk(|mut guest, block| {
        let mut pair = guest.make_pair(1, 128, 0);
        let buffer = guest.pages(100);
        let blocks = 4096 / block;
        for round in [NvmOpcode::Write, NvmOpcode::Read] {
            for page in 0..100u64 {
                let at = buffer + page * 4096;
                let fill = if round == NvmOpcode::Write { pattern(4096, page as u8) } else { vec![0; 4096] };
                guest.store(at, &fill);
                guest.put(&mut pair, io(round, page * u64::from(blocks), blocks, at));
            }
            guest.ring(Doorbell::SubmissionTail(1), pair.tail);
            for _ in 0..100 {
                assert_ok(&guest.complete(&mut pair));
            }
        }
        for page in 0..100u64 {
            assert!(guest.load(buffer + page * 4096, 4096) == pattern(4096, page as u8), "page {page}");
        }
    });
}

#[test]
fn zeroed_and_deallocated_blocks_read_zeros_and_their_neighbours_are_kept() {
    on_every_disk(|mut guest, block| {
        let mut pair = guest.make_pair(1, 64, 0);
        let buffer = guest.pages(256);
        let list = guest.pages(1);
        let entries: Vec<u8> = (1..256).flat_map(|page: u64| (buffer + page * 4096).to_le_bytes()).collect();
        guest.store(list, &entries);
        let blocks = (1 << 20) / block;
        let data = pattern(1 << 20, 3);
        for deallocate in [false, true] {
            guest.store(buffer, &data);
            let mut write = io(NvmOpcode::Write, 0, blocks, buffer);
            write.prp2 = list.into();
            assert_ok(&guest.run(&mut pair, write));
            // Two pieces: blocks 1 and 2, and the second half.
            if deallocate {
                let ranges = guest.pages(1);
                let half = blocks / 2;
                let mut bytes = Vec::new();
                for (length, lba) in [(2u32, 1u64), (0, 0), (half, u64::from(half))] {
                    bytes.extend([0; 4]);
                    bytes.extend(length.to_le_bytes());
                    bytes.extend(lba.to_le_bytes());
                }
                guest.store(ranges, &bytes);
                let mut manage = entry(NvmOpcode::DatasetManagement.code(), 1);
                (manage.cdw10, manage.cdw11, manage.prp1) = (2.into(), 4.into(), ranges.into());
                assert_ok(&guest.run(&mut pair, manage));
            } else {
                assert_ok(&guest.run(&mut pair, io(NvmOpcode::WriteZeroes, 1, 2, 0)));
                let half = u64::from(blocks / 2);
                assert_ok(&guest.run(&mut pair, io(NvmOpcode::WriteZeroes, half, blocks / 2, 0)));
            }
            let mut read = io(NvmOpcode::Read, 0, blocks, buffer);
            read.prp2 = list.into();
            assert_ok(&guest.run(&mut pair, read));
            let mut expected = data.clone();
            let block = block as usize;
            expected[block..3 * block].fill(0);
            expected[1 << 19..].fill(0);
            assert!(guest.load(buffer, 1 << 20) == expected, "deallocate {deallocate}, block {block}");
        }
    });
}

#[test]
fn a_sparse_file_stays_sparse() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let path = dir.path().join("disk");
    let options = FileOptions { size: Some(1 << 30), ..FileOptions::default() };
    let mut guest = Guest::ready(&Config::default(), Backing::file(&path, &options).unwrap());
    let mut pair = guest.make_pair(1, 64, 0);
    for lba in (0..1 << 20).step_by(65536) {
        assert_ok(&guest.run(&mut pair, io(NvmOpcode::WriteZeroes, lba, 65536, 0)));
    }
    let blocks = std::fs::metadata(&path).unwrap().blocks();
    assert!(blocks < 1024, "{blocks} blocks of 512 bytes are taken");
}

#[test]
fn flush_and_fua_are_answered_and_the_data_is_in_the_file() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let path = dir.path().join("disk");
    let options = FileOptions { size: Some(SIZE), ..FileOptions::default() };
    let mut guest = Guest::ready(&Config::default(), Backing::file(&path, &options).unwrap());
    let mut pair = guest.make_pair(1, 64, 0);
    let buffer = guest.pages(1);
    guest.store(buffer, &pattern(4096, 9));
    let mut write = io(NvmOpcode::Write, 16, 8, buffer);
    write.cdw12 = (7 | 1 << 30).into();
    assert_ok(&guest.run(&mut pair, write));
    assert_ok(&guest.run(&mut pair, entry(NvmOpcode::Flush.code(), 1)));
    assert_ok(&guest.run(&mut pair, entry(NvmOpcode::Flush.code(), NSID_ALL)));
    assert!(std::fs::read(&path).unwrap()[8192..12288] == pattern(4096, 9));
}

#[test]
fn a_file_that_shrank_fails_the_command_and_is_not_acknowledged() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let path = dir.path().join("disk");
    let options = FileOptions { size: Some(SIZE), ..FileOptions::default() };
    let mut guest = Guest::ready(&Config::default(), Backing::file(&path, &options).unwrap());
    let mut pair = guest.make_pair(1, 64, 0);
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(SIZE / 2).unwrap();
    let buffer = guest.pages(1);
    let last = SIZE / 512 - 8;
    assert_failed(
        &guest.run(&mut pair, io(NvmOpcode::Read, last, 8, buffer)),
        Status::UNRECOVERED_READ_ERROR,
    );
    assert_ok(&guest.run(&mut pair, io(NvmOpcode::Read, 0, 8, buffer)));
}

#[test]
fn bad_commands_get_their_own_status() {
    on_every_disk(|mut guest, block| {
        let mut pair = guest.make_pair(1, 64, 0);
        let buffer = guest.pages(2);
        let (capacity, four_k) = (SIZE / u64::from(block), 4096 / block);
        let mut check = |command, status| assert_failed(&guest.run(&mut pair, command), status);
        check(entry(0x7f, 1), Status::INVALID_OPCODE);
        check(entry(NvmOpcode::Compare.code(), 1), Status::INVALID_OPCODE);
        for nsid in [0, 2, NSID_ALL] {
            let mut read = io(NvmOpcode::Read, 0, four_k, buffer);
            read.nsid = nsid.into();
            check(read, Status::INVALID_NAMESPACE_OR_FORMAT);
        }
        check(io(NvmOpcode::Read, capacity, 1, buffer), Status::LBA_OUT_OF_RANGE);
        check(io(NvmOpcode::Write, capacity - 1, 2, buffer), Status::LBA_OUT_OF_RANGE);
        check(io(NvmOpcode::Read, u64::MAX, 1, buffer), Status::LBA_OUT_OF_RANGE);
        check(io(NvmOpcode::WriteZeroes, capacity, 1, 0), Status::LBA_OUT_OF_RANGE);
        check(io(NvmOpcode::Read, 0, (1 << 20) / block + 1, buffer), Status::INVALID_FIELD);
        check(io(NvmOpcode::Read, 0, four_k, buffer + 2), Status::PRP_OFFSET_INVALID);
        let mut read = io(NvmOpcode::Read, 0, 2 * four_k, buffer);
        read.prp2 = (buffer + 4100).into();
        check(read, Status::PRP_OFFSET_INVALID);
        check(io(NvmOpcode::Read, 0, four_k, BASE - 4096), Status::DATA_TRANSFER_ERROR);
        check(io(NvmOpcode::Write, 0, four_k, u64::MAX - 4095), Status::DATA_TRANSFER_ERROR);
        let mut read = io(NvmOpcode::Read, 0, 4 * four_k, buffer);
        read.prp2 = 0x1000.into();
        check(read, Status::DATA_TRANSFER_ERROR);
        for flags in [1, 0x40] {
            let mut read = io(NvmOpcode::Read, 0, four_k, buffer);
            read.flags = flags;
            check(read, Status::INVALID_FIELD);
        }
        // And after all that, a good one.
        assert_ok(&guest.run(&mut pair, io(NvmOpcode::Read, 0, four_k, buffer)));
    });
}

#[test]
fn mapped_doorbells_are_seen_without_any_message() {
    let config = Config { doorbells: DoorbellStyle::Mapped, ..Config::default() };
    let mut guest = Guest::ready(&config, Backing::memory(SIZE).unwrap());
    let mut pair = guest.make_pair(1, 16, 0);
    let buffer = guest.pages(1);
    for round in 0..200 {
        guest.store(buffer, &pattern(4096, round));
        assert_ok(&guest.run(&mut pair, io(NvmOpcode::Write, 0, 8, buffer)));
        assert_ok(&guest.run(&mut pair, io(NvmOpcode::Read, 0, 8, buffer)));
        assert!(guest.load(buffer, 4096) == pattern(4096, round));
    }
}

#[test]
fn a_queue_wider_than_its_completion_queue_is_stalled_and_goes_on() {
    let mut guest = Guest::memory_disk();
    let small = guest.make_pair(1, 4, 0);
    let mut wide = guest.make_pair(2, 64, 0);
    // Point a wide submission queue at the small completion queue: commands wait for room, none is lost.
    let mut delete = crate::guest::admin(nvme_spec::AdminOpcode::DeleteIoSubmissionQueue);
    delete.cdw10 = 2.into();
    assert_ok(&guest.run_admin(delete));
    let mut create = crate::guest::admin(nvme_spec::AdminOpcode::CreateIoSubmissionQueue);
    (create.prp1, create.cdw10, create.cdw11) =
        (wide.submission.into(), (2 | 63 << 16).into(), (1 | 1 << 16).into());
    assert_ok(&guest.run_admin(create));
    for _ in 0..40 {
        guest.put(&mut wide, entry(NvmOpcode::Flush.code(), 1));
    }
    guest.ring(Doorbell::SubmissionTail(2), wide.tail);
    let mut answers = small;
    for _ in 0..40 {
        let answer = guest.complete(&mut answers);
        assert_ok(&answer);
        assert_eq!(answer.sqid.get(), 2);
    }
}

#[test]
fn shadow_doorbells_spare_a_busy_guest_its_messages_and_lose_none() {
    let mut guest = Guest::memory_disk();
    let (shadow, events) = (guest.pages(1), guest.pages(1));
    let mut pair = guest.make_pair(1, 64, 0);
    let mut configure = crate::guest::admin(nvme_spec::AdminOpcode::DoorbellBufferConfig);
    (configure.prp1, configure.prp2) = (shadow.into(), events.into());
    assert_ok(&guest.run_admin(configure));
    guest.shadow = Some((shadow, events));
    let mut second = guest.make_pair(2, 64, 0);
    let before = guest.rung;
    let buffer = guest.pages(1);
    let rounds = 3000;
    for _ in 0..rounds {
        // Each round finds the worker spinning, parking or parked; a lost doorbell would wait for ever.
        assert_ok(&guest.run(&mut pair, io(NvmOpcode::Read, 0, 8, buffer)));
        assert_ok(&guest.run(&mut second, io(NvmOpcode::Read, 0, 8, buffer)));
    }
    let rung = guest.rung - before;
    assert!(rung < rounds * 4, "{rung} doorbells were written for {rounds} rounds");
}

//! What is on the disk when the guest is told so: FUA, Flush, the write cache switched off, shutdown.
//!
//! No test can cut the power, so these look at what the engine asks of the file.

use nvme_spec::register::{CC, ShutdownStatus};
use nvme_spec::{AdminOpcode, NvmOpcode, SubmissionEntry};

use super::super::config::DoorbellStyle;
use super::super::transfer::Operation;
use super::by_hand::{Disk, ENABLED, FAILED, FUA, entry, io};

fn write(durable: bool) -> Vec<Operation> {
    vec![Operation::Write { durable }]
}

#[test]
fn a_write_is_durable_before_its_answer_with_fua_or_without_a_write_cache() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    for (flags, cache, durable) in [(0, true, false), (FUA, true, true), (0, false, true), (0, true, false)] {
        let feature = SubmissionEntry {
            cdw10: 6.into(),
            cdw11: u32::from(cache).into(),
            ..entry(AdminOpcode::SetFeatures.code(), 0)
        };
        disk.submit(0, feature);
        assert!(disk.answer(0).unwrap().is_success());
        disk.submit(1, io(NvmOpcode::Write, flags));
        assert_eq!(disk.asked(), write(durable), "flags {flags:#x}, cache {cache}");
        assert_eq!(disk.answer(1), None);
        disk.finish(Ok(()));
        assert!(disk.answer(1).unwrap().is_success());
    }
}

#[test]
fn zeroes_with_fua_are_answered_after_a_sync() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    for flags in [0, FUA] {
        disk.submit(1, io(NvmOpcode::WriteZeroes, flags));
        assert_eq!(disk.answer(1), None);
        disk.finish(Ok(()));
        if flags == FUA {
            assert_eq!((disk.asked(), disk.answer(1)), (vec![Operation::Sync], None));
            disk.finish(Ok(()));
        }
        assert!(disk.answer(1).unwrap().is_success(), "flags {flags:#x}");
    }
}

#[test]
fn a_flush_is_answered_when_the_sync_has_ended_and_as_it_ended() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    for result in [Ok(()), FAILED] {
        disk.submit(1, entry(NvmOpcode::Flush.code(), 1));
        assert_eq!((disk.asked(), disk.answer(1)), (vec![Operation::Sync], None));
        disk.finish(result);
        assert_eq!(disk.answer(1).unwrap().is_success(), result.is_ok());
    }
}

#[test]
fn a_shutdown_is_complete_when_what_was_written_or_zeroed_is_durable() {
    let complete = ShutdownStatus::Complete.bits();
    for opcode in [NvmOpcode::Write, NvmOpcode::WriteZeroes] {
        let mut disk = Disk::new(DoorbellStyle::Trapped);
        disk.submit(1, io(opcode, 0));
        disk.write(CC, ENABLED | 1 << 14);
        disk.turn();
        assert_ne!(disk.shutdown_status(), complete, "a command is in flight");
        disk.finish(Ok(()));
        assert_eq!(disk.asked(), [Operation::Sync], "{opcode:?}");
        assert_ne!(disk.shutdown_status(), complete, "the sync is in flight");
        disk.finish(Ok(()));
        assert_eq!(disk.shutdown_status(), complete);
        // Nothing was written since: the next one needs no sync.
        disk.write(CC, ENABLED);
        disk.write(CC, ENABLED | 1 << 14);
        disk.turn();
        assert_eq!((disk.asked(), disk.shutdown_status()), (vec![], complete));
    }
}

#[test]
fn a_shutdown_whose_sync_fails_is_not_told_as_complete_and_the_next_one_syncs_again() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    disk.dirty();
    disk.write(CC, ENABLED | 1 << 14);
    disk.turn();
    disk.finish(FAILED);
    let status = disk.status();
    assert!(status.cfs() && status.shst() != ShutdownStatus::Complete.bits(), "{:#x}", status.0);
    disk.write(CC, 0);
    disk.turn();
    disk.bring_up();
    disk.write(CC, ENABLED | 1 << 14);
    disk.turn();
    assert_eq!(disk.asked(), [Operation::Sync]);
}

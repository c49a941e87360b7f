//! Enabling, resets and shutdown with a back end that is busy, silent or away.

use nvme_spec::identify::{VWC_FLUSH_ALL, VWC_FLUSH_NOT_ALL};
use nvme_spec::register::{CAP, CC, Capabilities, ShutdownStatus};
use nvme_spec::{NSID_ALL, NvmOpcode, Status};

use super::super::super::by_hand::{ENABLED, io};
use super::{Fake, Front};

/// Guest memory where nothing is to be written any more.
fn queues(front: &Front) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut data = vec![0; 0x4000];
    front.disk.memory.read_exact_at(&mut data, 0).unwrap();
    data
}

impl Front {
    /// The back end has ended what was abandoned.
    fn settle(&mut self) {
        self.back.inner().settled = true;
        self.disk.turn();
    }

    fn abandoned(&self) -> u32 {
        self.back.inner().abandoned
    }

    fn is_ready(&mut self) -> bool {
        self.disk.status().rdy()
    }
}

#[test]
fn a_controller_reset_is_over_when_the_back_end_is_done_with_everything() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let old = front.sent().tag;
    front.back.inner().room = 0;
    front.submit(1, 2, io(NvmOpcode::Write, 0));
    let rings = front.back.inner().rings;
    front.disk.write(CC, 0);
    assert_eq!(front.abandoned(), 1);
    front.disk.turn();
    assert!(front.back.inner().rings > rings, "the back end is told");
    let before = queues(&front);
    // It is silent for long, and then gives back what it was to forget.
    for _ in 0..1000 {
        front.disk.turn();
    }
    assert!(front.is_ready() && front.fact("controller") == "resetting");
    front.finish(old, 0, Status::ABORT_REQUESTED);
    assert!(front.is_ready());
    front.settle();
    assert!(!front.is_ready() && queues(&front) == before && front.fact("stray answers") == "0");
    front.finish(old, 0, Status::SUCCESS);
    assert!(queues(&front) == before && front.fact("stray answers") == "1");
    assert_eq!((front.back.take(), front.abandoned()), (vec![], 1), "what was kept goes nowhere");
    front.back.inner().room = usize::MAX;
    front.disk.bring_up();
    front.works();
}

#[test]
fn a_controller_that_has_sent_nothing_asks_nothing_of_the_back_end_at_a_reset() {
    let mut front = Front::new();
    front.disk.write(CC, 0);
    assert!(!front.is_ready());
    assert_eq!(front.abandoned(), 0);
    // Once it has, the back end forgets the features that were set, though nothing is in flight.
    front.disk.bring_up();
    front.works();
    front.disk.write(CC, 0);
    assert_eq!(front.abandoned(), 1);
    front.settle();
    assert!(!front.is_ready());
}

#[test]
fn an_enable_that_comes_before_the_reset_is_over_is_carried_out_after_it() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    front.disk.write(CC, 0);
    front.disk.forget_queues();
    front.disk.set_enabled();
    front.disk.turn();
    assert!(front.is_ready(), "of the life before");
    front.back.inner().up = false;
    front.settle();
    assert!(!front.is_ready());
    assert_eq!(front.fact("controller"), "waits for the back end");
    front.back.take();
    front.back.inner().up = true;
    front.disk.turn();
    assert!(front.is_ready());
    front.disk.make_queues();
    front.works();
}

#[test]
fn a_controller_that_is_enabled_before_a_back_end_that_is_away_is_ready_when_that_is_back() {
    let back = Fake::usual();
    back.inner().up = false;
    let mut front = Front::disabled(back);
    front.disk.set_enabled();
    for _ in 0..1000 {
        front.disk.turn();
    }
    assert!(!front.is_ready() && !front.disk.status().cfs());
    // The guest gives up, and tries again.
    front.disk.write(CC, 0);
    assert_eq!(front.fact("controller"), "disabled");
    front.back.inner().up = true;
    front.disk.turn();
    assert!(!front.is_ready(), "it is not enabled");
    front.back.inner().up = false;
    front.disk.set_enabled();
    front.back.inner().up = true;
    front.disk.turn();
    assert!(front.is_ready());
    front.disk.make_queues();
    front.works();
}

#[test]
fn a_host_is_told_to_wait_for_as_long_as_can_be_said() {
    let mut front = Front::new();
    let mut data = [0; 8];
    front.disk.assignment.region_read(&mut front.disk.token, 0, CAP, &mut data).unwrap();
    let cap = Capabilities(u64::from_le_bytes(data));
    assert_eq!((cap.to(), cap.mqes(), cap.mpsmin()), (255, 4095, 0));
}

#[test]
fn a_function_level_reset_waits_for_nobody_and_the_next_enable_does() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let old = front.sent().tag;
    front.disk.assignment.reset(&mut front.disk.token).unwrap();
    assert_eq!((front.disk.status().0, front.abandoned()), (0, 1));
    front.disk.forget_queues();
    front.disk.set_enabled();
    let before = queues(&front);
    front.disk.turn();
    assert!(!front.is_ready());
    front.finish(old, 0, Status::SUCCESS);
    assert!(!front.is_ready() && queues(&front) == before, "late, and for nobody");
    front.settle();
    assert!(front.is_ready());
    front.disk.make_queues();
    front.works();
    assert_eq!(front.fact("stray answers"), "0");
}

#[test]
fn resets_upon_resets_of_a_silent_back_end_are_one_for_it() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    for _ in 0..5 {
        front.disk.write(CC, 0);
        front.disk.assignment.reset(&mut front.disk.token).unwrap();
        front.disk.forget_queues();
        front.disk.set_enabled();
        front.disk.turn();
        assert!(!front.is_ready());
    }
    assert_eq!(front.abandoned(), 1);
    front.settle();
    assert!(front.is_ready());
}

#[test]
fn a_shutdown_is_complete_when_the_back_end_has_flushed_all_namespaces() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let tag = front.sent().tag;
    front.disk.write(CC, ENABLED | 1 << 14);
    for _ in 0..1000 {
        front.disk.turn();
    }
    assert_eq!(front.disk.shutdown_status(), ShutdownStatus::Occurring.bits(), "a command is there");
    front.finish(tag, 0, Status::SUCCESS);
    assert!(front.answered(1).status().is_success());
    let flush = front.sent();
    assert_eq!(
        (flush.queue, flush.entry.opcode, flush.entry.nsid.get()),
        (1, NvmOpcode::Flush.code(), NSID_ALL)
    );
    for _ in 0..1000 {
        front.disk.turn();
    }
    assert_eq!(front.disk.shutdown_status(), ShutdownStatus::Occurring.bits());
    front.finish(flush.tag, 0, Status::SUCCESS);
    assert_eq!(front.disk.shutdown_status(), ShutdownStatus::Complete.bits());
    front.silent();
    // Nothing was written since.
    front.disk.write(CC, ENABLED);
    front.disk.write(CC, ENABLED | 1 << 14);
    front.disk.turn();
    assert_eq!((front.back.take(), front.disk.shutdown_status()), (vec![], ShutdownStatus::Complete.bits()));
}

#[test]
fn a_back_end_that_does_not_flush_all_at_once_is_asked_for_each_namespace() {
    // It says so, or it only does so.
    for (flush, refuses) in [(VWC_FLUSH_NOT_ALL, false), (VWC_FLUSH_ALL, true)] {
        let mut front = Front::before(Fake::with_cache(flush));
        front.works();
        front.disk.write(CC, ENABLED | 1 << 14);
        front.disk.turn();
        if refuses {
            let tag = front.sent().tag;
            front.finish(tag, 0, Status::INVALID_NAMESPACE_OR_FORMAT.with_dnr(true));
        }
        // The second is not there.
        for (nsid, status) in
            [(1, Status::SUCCESS), (2, Status::INVALID_NAMESPACE_OR_FORMAT), (3, Status::SUCCESS)]
        {
            assert_eq!(front.disk.shutdown_status(), ShutdownStatus::Occurring.bits());
            let flush = front.sent();
            assert_eq!(flush.entry.nsid.get(), nsid);
            front.finish(flush.tag, 0, status);
        }
        assert_eq!(front.disk.shutdown_status(), ShutdownStatus::Complete.bits());
        assert_eq!(front.back.take(), []);
    }
}

#[test]
fn a_shutdown_whose_flush_fails_is_not_told_as_complete() {
    let mut front = Front::new();
    front.works();
    front.disk.write(CC, ENABLED | 1 << 14);
    front.disk.turn();
    let tag = front.sent().tag;
    front.finish(tag, 0, Status::WRITE_FAULT);
    let status = front.disk.status();
    assert!(status.cfs() && status.shst() == ShutdownStatus::Occurring.bits());
    front.disk.write(CC, 0);
    front.settle();
    front.disk.bring_up();
    front.disk.write(CC, ENABLED | 1 << 14);
    front.disk.turn();
    assert_eq!(front.sent().entry.opcode, NvmOpcode::Flush.code(), "the next one tries again");
}

#[test]
fn a_reset_ends_a_shutdown_that_the_back_end_does_not_end() {
    let mut front = Front::new();
    front.works();
    front.disk.write(CC, ENABLED | 1 << 14);
    front.disk.turn();
    let flush = front.sent().tag;
    front.disk.write(CC, 0);
    front.disk.turn();
    front.finish(flush, 0, Status::SUCCESS);
    assert!(front.is_ready());
    front.settle();
    assert_eq!(front.disk.status().0, 0);
    // What was written is as unsafe as before.
    front.disk.bring_up();
    front.disk.write(CC, ENABLED | 1 << 14);
    front.disk.turn();
    assert_eq!(front.sent().entry.opcode, NvmOpcode::Flush.code());
}

//! Save, reset, restore: the back end is told nothing of it, and each of its commands is answered once.

use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, Reason};
use nvme_spec::event::Event;
use nvme_spec::register::{CC, ShutdownStatus};
use nvme_spec::{AdminOpcode, NvmOpcode, Status};
use pci_core::{PreserveError, ResetKind};

use super::super::super::by_hand::{ENABLED, io};
use super::{Fake, Front, admin};

impl Front {
    pub(super) fn save(&mut self) -> Result<Vec<u8>, PreserveError> {
        let function = Arc::clone(self.disk.assignment.function());
        let deadline = Deadline::after(Duration::from_secs(10));
        let quiesced = function.gate().close(&mut self.disk.token, Reason::Reset, deadline).unwrap();
        function.save_device(&quiesced)
    }

    pub(super) fn reset(&mut self) {
        let function = Arc::clone(self.disk.assignment.function());
        let deadline = Deadline::after(Duration::from_secs(10));
        let quiesced = function.gate().close(&mut self.disk.token, Reason::Reset, deadline).unwrap();
        assert!(function.reset_quiesced(&quiesced, ResetKind::FunctionLevel));
        let _effects = function.config().write(4, &6_u16.to_le_bytes());
    }

    pub(super) fn restore(&mut self, state: &[u8]) -> Result<(), PreserveError> {
        let function = Arc::clone(self.disk.assignment.function());
        let deadline = Deadline::after(Duration::from_secs(10));
        let quiesced = function.gate().close(&mut self.disk.token, Reason::Reset, deadline).unwrap();
        function.restore_device(&quiesced, state)
    }

    /// The worker's look while the gate is closed.
    fn take_in(&mut self) {
        let disk = &mut self.disk;
        if let Some(elsewhere) = &disk.shared.elsewhere {
            elsewhere.reap(&mut disk.out.reaped);
        }
        disk.shared.take_in(&mut disk.token, &mut disk.out);
    }
}

#[test]
fn commands_stay_where_they_are_over_save_reset_and_restore() {
    let mut front = Front::new();
    for cid in 1..=3 {
        front.submit(1, cid, io(NvmOpcode::Write, 0));
    }
    front.submit(0, 9, admin(AdminOpcode::Identify, 2));
    front.submit(0, 10, admin(AdminOpcode::AsyncEventRequest, 0));
    let sent = front.back.take();
    front.back.inner().room = 0;
    front.submit(1, 4, io(NvmOpcode::Write, 0));
    // One comes back before, one between save and reset, one between reset and restore, one after.
    front.back.give(sent[0].tag, 1, Status::SUCCESS);
    front.take_in();
    let state = front.save().unwrap();
    front.back.give(sent[1].tag, 2, Status::SUCCESS);
    front.take_in();
    front.reset();
    front.back.give(sent[2].tag, 3, Status::WRITE_FAULT);
    front.back.tell(Event::NAMESPACE_ATTRIBUTE_CHANGED.to_dword0());
    front.take_in();
    front.silent();
    front.restore(&state).unwrap();
    assert_eq!(front.back.inner().abandoned, 0);
    front.finish(sent[3].tag, 4, Status::SUCCESS);
    let answers: Vec<(u16, u32, bool)> = (0..3)
        .map(|_| front.disk.completion(1).unwrap())
        .map(|answer| (answer.cid.get(), answer.dw0.get(), answer.status().is_success()))
        .collect();
    assert_eq!(answers, [(1, 1, true), (2, 2, true), (3, 3, false)]);
    assert_eq!(front.disk.completion(0).unwrap().cid.get(), 9);
    assert_eq!(front.answered(0).cid.get(), 10, "the event");
    front.silent();
    front.back.inner().room = 1;
    front.disk.turn();
    let kept = front.sent();
    assert_eq!(kept.entry.cid.get(), 4);
    front.finish(kept.tag, 0, Status::SUCCESS);
    assert_eq!(front.answered(1).cid.get(), 4);
    front.back.inner().room = usize::MAX;
    front.works();
    assert_eq!(front.fact("stray answers"), "0");
    // The next reset is one for the back end too.
    front.reset();
    assert_eq!(front.back.inner().abandoned, 1);
}

#[test]
fn a_state_that_is_not_restored_leaves_nothing_to_the_next_life() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let old = front.sent().tag;
    let state = front.save().unwrap();
    front.reset();
    assert_eq!(front.back.inner().abandoned, 0);
    front.disk.forget_queues();
    front.disk.set_enabled();
    assert_eq!(front.back.inner().abandoned, 1);
    assert!(!front.disk.status().rdy());
    front.finish(old, 0, Status::SUCCESS);
    front.silent();
    front.back.inner().settled = true;
    front.disk.turn();
    front.disk.make_queues();
    front.works();
    // And what it was saved with is gone.
    front.reset();
    assert_eq!(
        front.restore(&state),
        Err(PreserveError::NotNow("the commands that are elsewhere are not those of this state"))
    );
}

#[test]
fn a_second_reset_or_one_after_the_controller_went_on_is_told_to_the_back_end() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let state = front.save().unwrap();
    front.reset();
    front.reset();
    assert_eq!(front.back.inner().abandoned, 1);
    assert!(front.restore(&state).is_err());
    drop(front);
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let state = front.save().unwrap();
    front.disk.turn();
    front.reset();
    assert_eq!(front.back.inner().abandoned, 1);
    assert!(front.restore(&state).is_err());
}

#[test]
fn an_older_state_is_refused_while_commands_are_elsewhere() {
    let mut front = Front::new();
    let oldest = front.save().unwrap();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let older = front.save().unwrap();
    front.submit(1, 2, io(NvmOpcode::Write, 0));
    let newer = front.save().unwrap();
    front.reset();
    assert!(front.restore(&older).is_err() && front.restore(&oldest).is_err());
    front.restore(&newer).unwrap();
    assert_eq!(front.fact("commands in flight"), "2");
}

#[test]
fn a_shutdown_goes_on_whether_its_flush_came_back_before_or_after_the_restore() {
    for before in [true, false] {
        let mut front = Front::new();
        front.works();
        front.disk.write(CC, ENABLED | 1 << 14);
        front.disk.turn();
        let flush = front.sent().tag;
        let state = front.save().unwrap();
        front.reset();
        if before {
            front.back.give(flush, 0, Status::SUCCESS);
            front.take_in();
        }
        front.restore(&state).unwrap();
        front.disk.turn();
        assert_eq!(front.disk.shutdown_status(), ShutdownStatus::Occurring.bits());
        // What came back when nobody waited is asked for again.
        let flush = if before { front.sent().tag } else { flush };
        front.finish(flush, 0, Status::SUCCESS);
        assert_eq!(front.disk.shutdown_status(), ShutdownStatus::Complete.bits());
    }
}

#[test]
fn a_controller_that_waits_for_its_back_end_is_saved_and_waits_on() {
    let back = Fake::usual();
    back.inner().up = false;
    let mut front = Front::disabled(back);
    front.disk.set_enabled();
    front.disk.turn();
    let state = front.save().unwrap();
    front.reset();
    front.restore(&state).unwrap();
    front.disk.turn();
    assert!(!front.disk.status().rdy());
    front.back.inner().up = true;
    front.disk.turn();
    assert!(front.disk.status().rdy());
    front.disk.make_queues();
    front.works();
}

#[test]
fn a_state_of_commands_elsewhere_that_was_tampered_with_is_refused() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let state = front.save().unwrap();
    front.reset();
    let body = 20;
    for at in (body..state.len()).step_by(3) {
        let mut other = state.clone();
        other[at] ^= 0x81;
        let sum = crc32fast::hash(&other[body..]).to_le_bytes();
        other[16..20].copy_from_slice(&sum);
        // Whatever is taken can be worked with; nothing here panics.
        if front.restore(&other).is_ok() {
            return;
        }
    }
    front.restore(&state).unwrap();
}

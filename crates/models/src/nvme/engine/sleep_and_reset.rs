//! D3hot and resets, in every phase of the controller: nothing is taken, answered or written while it sleeps, and nothing
//! from before comes through afterwards.

use std::os::unix::fs::FileExt;

use nvme_spec::register::CC;
use nvme_spec::{Doorbell, NvmOpcode};

use super::super::config::DoorbellStyle;
use super::super::transfer::Operation;
use super::by_hand::{Disk, ENABLED, FAILED, QUEUE_BYTES, io};

impl Disk {
    /// Writes the power state to PMCSR, as a guest does.
    fn sleep(&mut self, state: u16) {
        let at = self.assignment.function().config().power_management().unwrap();
        self.assignment.region_write(&mut self.token, 7, u64::from(at) + 4, &state.to_le_bytes()).unwrap();
    }

    fn guest_memory(&self) -> Vec<u8> {
        let mut data = vec![0; QUEUE_BYTES];
        self.memory.read_exact_at(&mut data, 0).unwrap();
        data
    }

    /// As the worker asks before it parks.
    fn has_work(&mut self) -> bool {
        self.shared.has_work(&self.token, &mut self.out, false)
    }

    /// A controller in use: commands go through.
    fn works(&mut self) {
        self.submit(1, io(NvmOpcode::Write, 0));
        assert_eq!(self.asked(), [Operation::Write { durable: false }]);
        self.finish(Ok(()));
        assert!(self.answer(1).unwrap().is_success());
        assert_eq!(self.answer(1), None);
    }
}

#[test]
fn nothing_is_taken_or_answered_in_d3hot_and_no_doorbell_of_then_counts_after_d0() {
    for doorbells in [DoorbellStyle::Mapped, DoorbellStyle::Trapped] {
        let mut disk = Disk::new(doorbells);
        disk.works();
        // One command is at the disk, and its answer comes when the function sleeps.
        disk.submit(1, io(NvmOpcode::Write, 0));
        disk.sleep(3);
        disk.deliver(Ok(()));
        let before = disk.guest_memory();
        disk.turn();
        assert!(disk.guest_memory() == before, "answered in D3hot");
        let state = disk.shared.describe().swap_remove(0);
        assert_eq!(
            state,
            ("controller".into(), "enabled".into()),
            "it waits, and does not fail for want of memory"
        );
        // A store to the mapped page needs nobody's leave.
        disk.shared.board.doorbells.store(Doorbell::SubmissionTail(1), 5);
        disk.shared.board.doorbells.store(Doorbell::SubmissionTail(0), 5);
        assert!(!disk.has_work(), "a worker that spins on a sleeping function");
        disk.turn();
        assert!(disk.asked().is_empty() && disk.guest_memory() == before, "taken in D3hot");
        disk.sleep(0);
        disk.turn();
        assert!(disk.asked().is_empty() && disk.guest_memory() == before, "a reset came with D0 (PWR-05)");
        assert!(!disk.has_work());
        disk.bring_up();
        disk.turn();
        assert!(disk.asked().is_empty(), "a doorbell of the life before counts");
        disk.works();
    }
}

/// Brings a controller that works to one phase.
type Phase = fn(&mut Disk);

#[test]
fn a_reset_in_any_phase_leaves_a_controller_that_can_be_brought_up_again() {
    let phases: [(&str, Phase); 9] = [
        ("disabled", |disk| disk.write(CC, 0)),
        ("enabled", |_| {}),
        ("a command waits in its queue", |disk| {
            disk.shared.board.doorbells.store(Doorbell::SubmissionTail(1), 2);
        }),
        ("a result was not taken in", |disk| {
            disk.submit(1, io(NvmOpcode::Write, 0));
            disk.deliver(Ok(()));
        }),
        ("a failure was not taken in", |disk| {
            disk.submit(1, io(NvmOpcode::Write, 0));
            disk.deliver(FAILED);
        }),
        ("resetting", |disk| {
            disk.submit(1, io(NvmOpcode::Write, 0));
            disk.write(CC, 0);
            assert!(disk.status().rdy());
            disk.deliver(Ok(()));
        }),
        ("failed", |disk| {
            disk.write(CC, 0);
            disk.write(CC, ENABLED | 1 << 7);
            assert!(disk.status().cfs());
        }),
        ("flushing for a shutdown", |disk| {
            disk.write(CC, ENABLED | 1 << 14);
            disk.turn();
            disk.deliver(Ok(()));
        }),
        ("shut down", |disk| {
            disk.write(CC, ENABLED | 1 << 14);
            disk.turn();
            disk.finish(Ok(()));
        }),
    ];
    for (name, phase) in phases {
        let mut disk = Disk::new(DoorbellStyle::Mapped);
        disk.works();
        phase(&mut disk);
        disk.assignment.reset(&mut disk.token).unwrap();
        assert_eq!(disk.status().0, 0, "{name}");
        assert!(!disk.shared.board.doorbells.exists(Doorbell::SubmissionTail(1)), "{name}");
        let before = disk.guest_memory();
        disk.turn();
        assert!(disk.asked().is_empty() && disk.guest_memory() == before, "{name}: something came through");
        assert_eq!(disk.status().0, 0, "{name}");
        disk.bring_up();
        disk.works();
    }
}

#[test]
fn a_trapped_doorbell_that_is_rung_while_the_function_is_frozen_counts_after_the_thaw() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    disk.works();
    let function = disk.assignment.function().clone();
    assert!(function.freeze("a test"));
    let dropped = function.dropped().bar_writes;
    // The client's store is refused, as a store to a frozen function is, and is remembered all the same.
    disk.submit_by_message(1, io(NvmOpcode::Write, 0));
    assert_eq!(function.dropped().bar_writes, dropped + 1, "it was not refused");
    assert!(disk.asked().is_empty(), "served while it is frozen");
    assert!(function.thaw());
    disk.turn();
    assert_eq!(disk.asked(), [Operation::Write { durable: false }]);
    disk.finish(Ok(()));
    assert!(disk.answer(1).unwrap().is_success());
}

//! Save, reset, restore in every phase, with commands in every state; and bytes that are no state.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use assign::{IrqAction, IrqData, SetIrqs};
use gate::{Deadline, Quiesced, Reason};
use nvme_spec::register::{CC, INTMS, ShutdownStatus};
use nvme_spec::{AdminOpcode, Doorbell, NvmOpcode, Status, SubmissionEntry};
use pci_core::{Function, PreserveError, ResetKind};
use proptest::prelude::*;
use rustix::event::{EventfdFlags, eventfd};

use super::super::super::backing::Backing;
use super::super::super::config::{Config, DoorbellStyle, InterruptStyle};
use super::super::super::transfer::Operation;
use super::super::by_hand::{BASE, DATA, Disk, ENABLED, FAILED, FUA, QUEUE_BYTES, QUEUES, entry, io};
use super::super::state::KIND;

impl Disk {
    /// What a worker does that finds the gate closed, and then what an owner does who has drained it.
    pub(super) fn with_gate<R>(&mut self, owner: impl FnOnce(&Function, &Quiesced<'_>) -> R) -> R {
        self.shared.take_in(&mut self.token, &mut self.out);
        let function = Arc::clone(self.assignment.function());
        let deadline = Deadline::after(Duration::from_secs(10));
        let quiesced = function.gate().close(&mut self.token, Reason::Reset, deadline).unwrap();
        owner(&function, &quiesced)
    }

    /// Save, reset, restore, as for a consumer that is not to notice.
    pub(super) fn recover(&mut self) {
        self.with_gate(|function, quiesced| {
            let state = function.save_device(quiesced).unwrap();
            assert!(function.reset_quiesced(quiesced, ResetKind::FunctionLevel));
            restore_command(function);
            function.restore_device(quiesced, &state).unwrap();
        });
    }

    fn save(&mut self) -> Result<Vec<u8>, PreserveError> {
        self.with_gate(|function, quiesced| function.save_device(quiesced))
    }

    fn reset(&mut self) {
        self.with_gate(|function, quiesced| {
            assert!(function.reset_quiesced(quiesced, ResetKind::FunctionLevel));
            restore_command(function);
        });
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), PreserveError> {
        self.with_gate(|function, quiesced| function.restore_device(quiesced, state))
    }

    fn inject(&mut self, fault: &str) {
        let function = Arc::clone(self.assignment.function());
        function.inject(&mut self.token, fault, Deadline::after(Duration::from_secs(10))).unwrap();
    }

    fn fact(&self, name: &str) -> String {
        let facts = self.shared.describe();
        facts.into_iter().find(|(known, _)| known == name).unwrap().1
    }

    /// A controller in use: commands go through, once.
    fn runs(&mut self) {
        self.submit(1, io(NvmOpcode::Write, 0));
        assert_eq!(self.asked(), [Operation::Write { durable: false }]);
        self.finish(Ok(()));
        self.answered(1, Status::SUCCESS);
    }

    /// One answer has come, and no other.
    fn answered(&mut self, queue: usize, status: Status) {
        let found = self.answer(queue).expect("no answer");
        assert!(found.is(status), "{found:?}");
        assert_eq!(self.answer(queue), None, "answered twice");
    }

    /// An eventfd at a vector; says how often it was signalled since it was last asked.
    fn wire(&mut self, index: u32, vector: u32) -> impl Fn() -> u64 + use<> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let theirs = event.try_clone().unwrap();
        let wired = SetIrqs {
            index,
            start: vector,
            count: 1,
            action: IrqAction::Trigger,
            data: IrqData::Eventfd(vec![theirs]),
        };
        self.assignment.set_irqs(&mut self.token, wired).unwrap();
        move || {
            let mut count = [0; 8];
            rustix::io::read(&event, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
        }
    }
}

/// The part of configuration space that matters here, which somebody else restores.
fn restore_command(function: &Function) {
    let _effects = function.config().write(4, &6_u16.to_le_bytes());
}

/// Brings a controller that works to some state, and then looks at how it goes on.
type Part = fn(&mut Disk);

fn delete_queue() -> SubmissionEntry {
    SubmissionEntry { cdw10: 1.into(), ..entry(AdminOpcode::DeleteIoSubmissionQueue.code(), 0) }
}

fn numbered(cid: u16, command: SubmissionEntry) -> SubmissionEntry {
    SubmissionEntry { cid: cid.into(), ..command }
}

#[test]
fn a_driver_goes_on_as_if_nothing_had_happened_whatever_state_its_commands_were_in() {
    let cases: [(&str, Part, Part); 16] = [
        (
            "disabled",
            |disk| disk.write(CC, 0),
            |disk| {
                assert_eq!(disk.status().0, 0);
                disk.bring_up();
            },
        ),
        ("idle", |_| {}, |_| {}),
        (
            "a command waits in its queue",
            |disk| {
                disk.memory
                    .write_all_at(zerocopy::IntoBytes::as_bytes(&io(NvmOpcode::Write, 0)), QUEUES[1].0 + 64)
                    .unwrap();
                disk.tails[1] = 2;
                disk.shared.board.doorbells.store(Doorbell::SubmissionTail(1), 2);
            },
            |disk| {
                disk.turn();
                disk.finish(Ok(()));
                disk.answered(1, Status::SUCCESS);
            },
        ),
        (
            "a result was taken in and not posted",
            |disk| {
                disk.submit(1, io(NvmOpcode::Write, 0));
                disk.deliver(Ok(()));
            },
            |disk| {
                disk.turn();
                disk.answered(1, Status::SUCCESS);
            },
        ),
        (
            "a failure was taken in and not posted",
            |disk| {
                disk.submit(1, io(NvmOpcode::Write, 0));
                disk.deliver(FAILED);
            },
            |disk| {
                disk.turn();
                disk.answered(1, Status::WRITE_FAULT);
                assert_eq!(disk.fact("errors"), "1");
            },
        ),
        (
            "an answer was posted and not read",
            |disk| {
                disk.submit(1, io(NvmOpcode::Write, 0));
                disk.finish(Ok(()));
            },
            |disk| {
                disk.turn();
                disk.answered(1, Status::SUCCESS);
            },
        ),
        (
            "zeroes between two steps",
            |disk| {
                disk.submit(1, io(NvmOpcode::WriteZeroes, FUA));
                disk.deliver(Ok(()));
            },
            |disk| {
                disk.turn();
                assert_eq!(disk.asked(), [Operation::Sync], "it goes on where it was");
                disk.finish(Ok(()));
                disk.answered(1, Status::SUCCESS);
            },
        ),
        (
            "a command that is to be aborted waits in its queue",
            |disk| {
                // Its doorbell is noted, and its turn has not come.
                let waiting = numbered(9, io(NvmOpcode::Write, 0));
                disk.memory.write_all_at(zerocopy::IntoBytes::as_bytes(&waiting), QUEUES[1].0 + 64).unwrap();
                disk.tails[1] = 2;
                disk.shared.with_engine_of_test(&mut disk.token, |engine| {
                    let queue = engine.queues.submission(1).unwrap();
                    queue.ring(2).unwrap();
                    assert!(queue.note_abort(1, 9));
                });
                disk.shared.board.doorbells.store(Doorbell::SubmissionTail(1), 2);
            },
            |disk| {
                disk.turn();
                assert!(disk.asked().is_empty());
                disk.answered(1, Status::ABORT_REQUESTED);
            },
        ),
        (
            "a queue is being deleted, and its last command is not answered",
            |disk| {
                disk.submit(1, io(NvmOpcode::Write, 0));
                disk.submit(0, delete_queue());
                assert_eq!(disk.answer(0), None);
                disk.deliver(Ok(()));
            },
            |disk| {
                disk.turn();
                disk.answered(1, Status::SUCCESS);
                disk.answered(0, Status::SUCCESS);
                assert!(!disk.shared.board.doorbells.exists(Doorbell::SubmissionTail(1)));
                disk.write(CC, 0);
                disk.bring_up();
            },
        ),
        (
            "an event request waits",
            |disk| {
                disk.submit(0, numbered(77, entry(AdminOpcode::AsyncEventRequest.code(), 0)));
                assert_eq!(disk.answer(0), None);
            },
            |disk| {
                disk.write(0x1000 + 40 * 8, 1);
                disk.turn();
                disk.answered(0, Status::SUCCESS);
            },
        ),
        (
            "an event waits for a request",
            |disk| {
                disk.write(0x1000 + 40 * 8, 1);
                disk.turn();
            },
            |disk| {
                disk.submit(0, entry(AdminOpcode::AsyncEventRequest.code(), 0));
                disk.answered(0, Status::SUCCESS);
            },
        ),
        (
            "the write cache is off",
            |disk| {
                disk.submit(
                    0,
                    SubmissionEntry { cdw10: 6.into(), ..entry(AdminOpcode::SetFeatures.code(), 0) },
                );
                disk.answered(0, Status::SUCCESS);
            },
            |disk| {
                disk.submit(1, io(NvmOpcode::Write, 0));
                assert_eq!(disk.asked(), [Operation::Write { durable: true }]);
                disk.finish(Ok(()));
                disk.answered(1, Status::SUCCESS);
                disk.submit(
                    0,
                    SubmissionEntry {
                        cdw10: 6.into(),
                        cdw11: 1.into(),
                        ..entry(AdminOpcode::SetFeatures.code(), 0)
                    },
                );
                disk.answered(0, Status::SUCCESS);
            },
        ),
        (
            "a shutdown waits for a command",
            |disk| {
                disk.submit(1, io(NvmOpcode::Write, 0));
                disk.write(CC, ENABLED | 1 << 14);
                disk.deliver(Ok(()));
            },
            |disk| {
                disk.turn();
                disk.answered(1, Status::SUCCESS);
                assert_eq!(disk.asked(), [Operation::Sync], "what was written before is flushed");
                disk.finish(Ok(()));
                assert_eq!(disk.shutdown_status(), ShutdownStatus::Complete.bits());
                disk.write(CC, 0);
                disk.bring_up();
            },
        ),
        (
            "a shutdown's flush has ended",
            |disk| {
                disk.write(CC, ENABLED | 1 << 14);
                disk.turn();
                disk.deliver(Ok(()));
            },
            |disk| {
                disk.turn();
                assert_eq!(disk.shutdown_status(), ShutdownStatus::Complete.bits());
                disk.write(CC, 0);
                disk.bring_up();
            },
        ),
        (
            "a controller reset waits for a command",
            |disk| {
                disk.submit(1, io(NvmOpcode::Write, 0));
                disk.write(CC, 0);
                assert!(disk.status().rdy());
                disk.deliver(Ok(()));
            },
            |disk| {
                assert_eq!(disk.status().0, 0, "and with its result it is over");
                disk.bring_up();
            },
        ),
        (
            "failed",
            |disk| {
                disk.write(CC, 0);
                disk.write(CC, ENABLED | 1 << 7);
            },
            |disk| {
                assert!(disk.status().cfs());
                disk.write(CC, 0);
                assert_eq!(disk.status().0, 0);
                disk.bring_up();
            },
        ),
    ];
    for doorbells in [DoorbellStyle::Mapped, DoorbellStyle::Trapped] {
        for (name, before, after) in cases {
            println!("{name}, {doorbells:?}");
            let mut disk = Disk::new(doorbells);
            disk.runs();
            before(&mut disk);
            disk.recover();
            // A recovery right after another loses nothing either.
            disk.recover();
            after(&mut disk);
            disk.runs();
        }
    }
}

#[test]
fn registers_come_back_and_another_controller_of_the_same_name_and_disk_takes_up_the_state() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    disk.write(INTMS, 0x10);
    disk.submit(1, io(NvmOpcode::Write, 0));
    disk.deliver(Ok(()));
    let registers = |disk: &Disk| disk.shared.board.registers.values();
    let (before, state) = (registers(&disk), disk.save().unwrap());
    let mut memory = vec![0; QUEUE_BYTES];
    disk.memory.read_exact_at(&mut memory, 0).unwrap();
    let (tails, heads) = (disk.tails, disk.heads);
    drop(disk);
    let mut other = Disk::new(DoorbellStyle::Trapped);
    other.reset();
    other.memory.write_all_at(&memory, 0).unwrap();
    (other.tails, other.heads) = (tails, heads);
    other.restore(&state).unwrap();
    assert_eq!(registers(&other), before);
    other.turn();
    other.answered(1, Status::SUCCESS);
    other.runs();
}

#[test]
fn what_was_counted_and_logged_stays_and_the_reset_is_no_unsafe_shutdown() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    disk.submit(1, io(NvmOpcode::Write, 0));
    disk.finish(FAILED);
    disk.answered(1, Status::WRITE_FAULT);
    let log = |disk: &mut Disk, page: u32| {
        let command = SubmissionEntry {
            prp1: (BASE + DATA).into(),
            cdw10: (page | 127 << 16).into(),
            ..entry(AdminOpcode::GetLogPage.code(), u32::MAX)
        };
        disk.submit(0, command);
        disk.answered(0, Status::SUCCESS);
        let mut data = vec![0; 512];
        disk.memory.read_exact_at(&mut data, DATA).unwrap();
        data
    };
    let before = [log(&mut disk, 1), log(&mut disk, 2)];
    disk.recover();
    assert!(before == [log(&mut disk, 1), log(&mut disk, 2)]);
}

/// Has no data, and is answered at once.
fn get_feature() -> SubmissionEntry {
    SubmissionEntry { cdw10: 1.into(), ..entry(AdminOpcode::GetFeatures.code(), 0) }
}

#[test]
fn what_was_posted_and_not_read_is_signalled_again_and_a_mask_stays() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    let signalled = disk.wire(1, 0);
    disk.write(0x1000 + 4, disk.heads[0]);
    disk.turn();
    disk.recover();
    disk.turn();
    assert_eq!(signalled(), 0, "nothing was posted");
    disk.submit(0, get_feature());
    assert_eq!(signalled(), 1);
    disk.recover();
    assert!(disk.shared.has_work(&disk.token, &mut disk.out, false), "a worker that parks over it");
    disk.turn();
    assert_eq!(signalled(), 1, "it may have been lost");
    disk.turn();
    assert_eq!(signalled(), 0, "once is enough");
    // Masked, it waits for the mask to go.
    disk.write(INTMS, 1);
    disk.submit(0, get_feature());
    disk.recover();
    disk.turn();
    assert_eq!(signalled(), 0);
    disk.write(INTMS + 4, 1);
    assert_eq!(signalled(), 1);
}

#[test]
fn intx_is_high_again_if_it_was_and_low_if_it_was_not() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { interrupts: InterruptStyle::Intx, ..Config::default() };
    let mut disk = Disk::with(&config, Backing::memory(1 << 20).unwrap(), directory);
    let acknowledge = |disk: &mut Disk| disk.write(0x1000 + 4, disk.heads[0]);
    let signalled = disk.wire(0, 0);
    acknowledge(&mut disk);
    assert_eq!(signalled(), 1, "the line was high when somebody began to listen");
    disk.recover();
    disk.turn();
    assert!(!disk.shared.board.line());
    disk.submit(0, get_feature());
    assert!(disk.shared.board.line());
    disk.recover();
    assert!(!disk.shared.board.line(), "nobody is interrupted while the gate is closed");
    disk.turn();
    assert!(disk.shared.board.line());
    disk.answered(0, Status::SUCCESS);
    acknowledge(&mut disk);
    assert!(!disk.shared.board.line());
}

#[test]
fn a_shadow_stays_in_use_and_what_was_stored_there_meanwhile_counts() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    let shadow = SubmissionEntry {
        prp1: BASE.wrapping_add(DATA).into(),
        prp2: (BASE + 0x5000).into(),
        ..entry(AdminOpcode::DoorbellBufferConfig.code(), 0)
    };
    disk.submit(0, shadow);
    disk.answered(0, Status::SUCCESS);
    assert_eq!(disk.fact("shadow doorbells"), "yes");
    let command = io(NvmOpcode::Write, 0);
    disk.memory.write_all_at(zerocopy::IntoBytes::as_bytes(&command), QUEUES[1].0).unwrap();
    let state = disk.save().unwrap();
    disk.memory.write_all_at(&1_u32.to_le_bytes(), DATA + 8).unwrap();
    disk.reset();
    disk.restore(&state).unwrap();
    assert_eq!(disk.fact("shadow doorbells"), "yes");
    disk.turn();
    assert_eq!(disk.asked(), [Operation::Write { durable: false }]);
}

#[test]
fn a_doorbell_that_is_stored_at_any_moment_of_a_recovery_counts() {
    for moment in 0..3 {
        let mut disk = Disk::new(DoorbellStyle::Mapped);
        disk.runs();
        let command = io(NvmOpcode::Write, 0);
        disk.memory.write_all_at(zerocopy::IntoBytes::as_bytes(&command), QUEUES[1].0 + 64).unwrap();
        // As a client stores that has mapped the page.
        let store = |disk: &Disk, now: i32| {
            if moment == now {
                let mappable = disk.assignment.function().device().mappable(0).unwrap();
                mappable.memory.write(0x1008, &2_u32.to_le_bytes());
            }
        };
        let state = disk.save().unwrap();
        store(&disk, 0);
        disk.reset();
        store(&disk, 1);
        disk.restore(&state).unwrap();
        store(&disk, 2);
        disk.turn();
        assert_eq!(disk.asked(), [Operation::Write { durable: false }], "moment {moment}");
    }
}

#[test]
fn a_halted_controller_is_saved_as_it_was_and_every_reset_ends_a_halt() {
    for fault in ["all-ones", "controller-fatal", "dma-fault", "hang", "register-panic"] {
        for restored in [true, false] {
            let mut disk = Disk::new(DoorbellStyle::Trapped);
            disk.runs();
            disk.submit(1, io(NvmOpcode::Write, 0));
            disk.deliver(Ok(()));
            disk.inject(fault);
            if fault != "register-panic" {
                disk.turn();
                assert_eq!(disk.answer(1), None, "{fault}: it goes on");
                assert!(
                    !disk.shared.has_work(&disk.token, &mut disk.out, false),
                    "{fault}: a worker that spins"
                );
            }
            let status = match fault {
                "all-ones" => u32::MAX,
                "controller-fatal" => 3,
                "register-panic" => 1,
                _ => 1,
            };
            if fault != "register-panic" {
                assert_eq!(disk.status().0, status, "{fault}");
            }
            if restored {
                disk.recover();
                disk.turn();
                disk.answered(1, Status::SUCCESS);
            } else {
                disk.reset();
                assert_eq!(disk.status().0, 0, "{fault}");
                disk.bring_up();
            }
            if fault != "register-panic" || restored {
                disk.runs();
            }
        }
    }
}

#[test]
fn a_state_that_a_panic_has_torn_is_not_saved_and_the_reset_mends_the_controller() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    disk.runs();
    let torn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        disk.shared.with_engine_of_test(&mut disk.token, |_| panic!("in the middle of a change"));
    }));
    assert!(torn.is_err());
    assert!(disk.status().cfs());
    assert!(matches!(disk.save(), Err(PreserveError::NotNow(_))));
    disk.turn();
    disk.reset();
    disk.bring_up();
    disk.runs();
}

#[test]
fn what_is_with_the_disk_is_not_saved_and_a_controller_in_use_takes_up_nothing() {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    let state = disk.save().unwrap();
    assert!(matches!(disk.restore(&state), Err(PreserveError::NotNow(_))));
    disk.runs();
    disk.submit(1, io(NvmOpcode::Write, 0));
    assert!(matches!(disk.save(), Err(PreserveError::NotNow(_))));
    disk.finish(Ok(()));
    disk.answered(1, Status::SUCCESS);
    assert!(disk.save().is_ok());
}

#[test]
fn a_state_of_another_disk_size_or_configuration_is_refused() {
    let state = Disk::new(DoorbellStyle::Trapped).save().unwrap();
    let make = |config: Config, size: u64| {
        let mut disk = Disk::with(&config, Backing::memory(size).unwrap(), tempfile::tempdir().unwrap());
        disk.reset();
        disk
    };
    let named = |serial: &str| Config { serial: Some(serial.into()), ..Config::default() };
    let others = [(Config::default(), 1 << 20), (Config::default(), 2 << 20), (named("other"), 1 << 20)];
    for (config, size) in others {
        let mut other = make(config, size);
        assert!(matches!(other.restore(&state), Err(PreserveError::OtherDevice(_))));
        other.bring_up();
        other.submit(1, io(NvmOpcode::Write, 0));
        other.answered(1, Status::SUCCESS);
    }
}

/// A saved state with as much in it as there can be.
fn rich() -> (Disk, Vec<u8>) {
    let mut disk = Disk::new(DoorbellStyle::Trapped);
    disk.submit(0, entry(AdminOpcode::AsyncEventRequest.code(), 0));
    disk.submit(1, io(NvmOpcode::Write, 0));
    disk.finish(FAILED);
    disk.submit(1, io(NvmOpcode::WriteZeroes, FUA));
    disk.deliver(Ok(()));
    let state = disk.save().unwrap();
    (disk, state)
}

/// Restores what may be anything; the controller must be as after the reset, or at least one that the next reset mends.
fn try_bytes(disk: &mut Disk, bytes: &[u8]) {
    disk.reset();
    let state = |disk: &mut Disk| {
        disk.shared.with_engine_of_test(&mut disk.token, |engine| format!("{:?}", engine.state()))
    };
    let before = state(disk);
    match disk.restore(bytes) {
        Err(error) => {
            assert_eq!(state(disk), before, "{error}");
            assert_eq!(disk.status().0, 0);
        }
        Ok(()) => {
            disk.turn();
            disk.out.starts.clear();
            let _ = disk.save();
        }
    }
    disk.reset();
    disk.bring_up();
    disk.runs();
}

#[test]
fn a_state_that_is_cut_off_anywhere_is_refused() {
    let (mut disk, good) = rich();
    disk.reset();
    for cut in 0..good.len() {
        assert!(disk.restore(&good[..cut]).is_err(), "{cut}");
    }
    disk.restore(&good).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_refused_and_leaves_the_controller_as_after_the_reset(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut disk = Disk::new(DoorbellStyle::Trapped);
        try_bytes(&mut disk, &bytes);
        // The same with an envelope that is in order.
        try_bytes(&mut disk, &KIND.seal(|out| out.bytes(&bytes)).unwrap());
    }

    #[test]
    fn a_state_with_changed_fields_is_refused_or_harmless(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (mut disk, good) = rich();
        disk.out.starts.clear();
        let mut body = good[20..].to_vec();
        for (at, value) in &changes {
            let at = at.index(body.len());
            body[at] = *value;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        try_bytes(&mut disk, &KIND.seal(|out| out.bytes(&body)).unwrap());
    }
}

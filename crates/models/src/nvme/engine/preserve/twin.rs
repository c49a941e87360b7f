//! A controller that is saved, reset and restored at any moment, beside a twin that is not. Both get the same commands, and
//! the same answers of the disk in the same order: what they write to guest memory, what they ask of the disk and what their
//! registers say is the same at every step.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;

use gate::AccessKind;
use nvme_spec::register::{CC, INTMS};
use nvme_spec::{AdminOpcode, Doorbell, NvmOpcode, SubmissionEntry};
use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::super::super::backing::{Backing, FileOptions};
use super::super::super::config::{Config, DoorbellStyle};
use super::super::super::ring::Finished;
use super::super::super::transfer::{Operation, Transfer};
use super::super::by_hand::{BASE, BYTES, DATA, Disk, ENABLED, ENTRIES, FAILED, FUA, QUEUES, entry, io};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A command is put into a queue and its doorbell rung, as a store: nobody looks yet.
    Submit(u8, u16),
    /// The worker has one turn.
    Turn,
    /// The disk has done one of the things that it was asked for.
    Disk {
        nth: u8,
        ok: bool,
    },
    /// The host reads what was posted to a queue, and says so.
    Read(bool),
    /// A doorbell that cannot be.
    Stray(bool),
    /// CC is written: a shutdown, a controller reset, or both queues again.
    Shutdown,
    Disable,
    BringUp,
    Mask(u8),
    /// One of the two is saved, reset and restored.
    Recover,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..14_u8, any::<u16>()).prop_map(|(what, cid)| Step::Submit(what, cid)),
        8 => Just(Step::Turn),
        6 => (any::<u8>(), prop::bool::weighted(0.8)).prop_map(|(nth, ok)| Step::Disk { nth, ok }),
        4 => any::<bool>().prop_map(Step::Read),
        1 => any::<bool>().prop_map(Step::Stray),
        1 => Just(Step::Shutdown),
        1 => Just(Step::Disable),
        1 => Just(Step::BringUp),
        1 => any::<u8>().prop_map(Step::Mask),
        4 => Just(Step::Recover),
    ]
}

/// One of the two.
struct Twin {
    disk: Disk,
    /// What was asked of the disk, and not answered.
    asked: VecDeque<(u16, Box<Transfer>)>,
    /// What was ever asked, in order.
    history: Vec<(Operation, u64, u64)>,
}

impl Twin {
    fn new(memory: bool) -> Twin {
        let directory = tempfile::tempdir().unwrap();
        let options = FileOptions { size: Some(64 << 20), ..FileOptions::default() };
        let backing = match memory {
            true => Backing::memory(64 << 20).unwrap(),
            false => Backing::file(&directory.path().join("disk"), &options).unwrap(),
        };
        let config =
            Config { doorbells: DoorbellStyle::Mapped, serial: Some("twin".into()), ..Config::default() };
        Twin { disk: Disk::with(&config, backing, directory), asked: VecDeque::new(), history: Vec::new() }
    }

    fn command(what: u8, cid: u16) -> (usize, SubmissionEntry) {
        let admin = |opcode: AdminOpcode, cdw10: u32| SubmissionEntry {
            cdw10: cdw10.into(),
            ..entry(opcode.code(), 0)
        };
        let (queue, command) = match what {
            0 => (1, io(NvmOpcode::Read, 0)),
            1 => (1, io(NvmOpcode::Write, FUA)),
            2 => (1, io(NvmOpcode::Flush, 0)),
            // 32 MiB: several steps in memory.
            3 => (1, SubmissionEntry { cdw12: 0xffff.into(), ..io(NvmOpcode::WriteZeroes, FUA) }),
            4 => (1, entry(0x55, 1)),
            5 => (0, admin(AdminOpcode::AsyncEventRequest, 0)),
            6 => (0, admin(AdminOpcode::Abort, 1 | u32::from(cid / 2) << 16)),
            7 => (0, admin(AdminOpcode::DeleteIoSubmissionQueue, 1)),
            8 => (
                0,
                SubmissionEntry { cdw11: u32::from(cid & 1).into(), ..admin(AdminOpcode::SetFeatures, 6) },
            ),
            9 => (
                0,
                SubmissionEntry {
                    prp1: (BASE + DATA).into(),
                    ..admin(AdminOpcode::GetLogPage, 2 | 127 << 16)
                },
            ),
            10 => (
                0,
                SubmissionEntry {
                    prp1: (BASE + DATA).into(),
                    ..admin(AdminOpcode::GetLogPage, 1 | 127 << 16)
                },
            ),
            11 => (0, admin(AdminOpcode::GetFeatures, 6)),
            _ => (1, io(NvmOpcode::Write, 0)),
        };
        (queue, SubmissionEntry { cid: cid.into(), ..command })
    }

    fn one_turn(&mut self) -> bool {
        let disk = &mut self.disk;
        let handle = disk.shared.port.handle();
        let pass = handle.try_enter(&disk.token, AccessKind::Dma).unwrap();
        let worked = disk.shared.turn(&pass, &mut disk.out);
        drop(pass);
        self.collect();
        worked
    }

    fn collect(&mut self) {
        for (slot, transfer) in self.disk.out.starts.drain(..) {
            self.history.push((transfer.operation, transfer.offset, transfer.len));
            self.asked.push_back((slot, transfer));
        }
    }

    fn answer(&mut self, nth: usize, ok: bool) {
        if let Some((slot, mut transfer)) = self.asked.remove(nth) {
            transfer.release();
            let result = if ok { Ok(()) } else { FAILED };
            self.disk.out.finished.push(Finished { slot, transfer, result });
        }
    }

    fn play(&mut self, step: Step, recovers: bool) {
        let disk = &mut self.disk;
        match step {
            Step::Submit(what, cid) => {
                let (queue, command) = Self::command(what, cid);
                let next = (disk.tails[queue] + 1) % ENTRIES;
                disk.memory
                    .write_all_at(command.as_bytes(), QUEUES[queue].0 + u64::from(disk.tails[queue]) * 64)
                    .unwrap();
                disk.tails[queue] = next;
                let doorbell = Doorbell::SubmissionTail(u16::try_from(queue).unwrap());
                disk.shared.board.doorbells.ring_unheard(doorbell, next);
            }
            Step::Turn => {
                self.one_turn();
            }
            Step::Disk { nth, ok } => {
                if !self.asked.is_empty() {
                    self.answer(usize::from(nth) % self.asked.len(), ok);
                }
            }
            Step::Read(io) => {
                let queue = usize::from(io);
                while disk.answer(queue).is_some() {
                    disk.heads[queue] %= ENTRIES;
                }
                let doorbell = Doorbell::CompletionHead(u16::try_from(queue).unwrap());
                disk.shared.board.doorbells.ring_unheard(doorbell, disk.heads[queue]);
            }
            Step::Stray(value) => disk.write(if value { 0x1008 } else { 0x1000 + 40 * 8 }, 5000),
            Step::Shutdown => disk.write(CC, ENABLED | 1 << 14),
            Step::Disable => disk.write(CC, 0),
            Step::BringUp => self.bring_up(),
            Step::Mask(value) => disk.write(INTMS + u64::from(value & 1) * 4, u32::from(value >> 1)),
            Step::Recover => {
                // The gate is drained: the disk has done everything, and that was taken in.
                while !self.asked.is_empty() {
                    self.answer(0, true);
                }
                let disk = &mut self.disk;
                disk.shared.take_in(&mut disk.token, &mut disk.out);
                if recovers {
                    disk.recover();
                }
                self.collect();
            }
        }
    }

    fn bring_up(&mut self) {
        self.disk.write(CC, 0);
        while !self.asked.is_empty() {
            self.answer(0, true);
        }
        self.one_turn();
        self.disk.bring_up();
        self.collect();
    }

    fn look(&self) -> (Vec<u8>, String, String) {
        let mut memory = vec![0; usize::try_from(BYTES).unwrap()];
        self.disk.memory.read_exact_at(&mut memory, 0).unwrap();
        let registers = format!("{:x?}", self.disk.shared.board.registers.values());
        let mut facts = self.disk.shared.describe();
        if facts.iter().any(|(_, value)| value.starts_with("failed")) {
            // Its queues wait for nothing, and are not saved.
            facts.retain(|(name, _)| name != "submission queues" && name != "commands in flight");
        }
        (memory, registers, format!("{facts:?} {:?}", self.history))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_guest_sees_no_difference(
        memory in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let play = |recovers: bool| {
            let mut twin = Twin::new(memory);
            let look = |step: &Step| {
                twin.play(*step, recovers);
                twin.look()
            };
            steps.iter().map(look).collect::<Vec<_>>()
        };
        // One after the other: a thread has one token.
        let expected = play(false);
        for (nth, (seen, expected)) in play(true).iter().zip(&expected).enumerate() {
            prop_assert_eq!(&seen.1, &expected.1, "registers after step {}", nth);
            prop_assert_eq!(&seen.2, &expected.2, "what it did after step {}", nth);
            prop_assert!(seen.0 == expected.0, "guest memory after step {}", nth);
        }
    }
}

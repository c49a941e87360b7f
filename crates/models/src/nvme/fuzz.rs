//! An entry that takes arbitrary bytes as a guest's memory, commands, register and doorbell writes, for the fuzz
//! target and for tests of malformed input. Single-threaded and deterministic: turns are given here, not by a worker.
//!
//! Nothing here is for production use.

mod echo;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use assign::{Assignment, DmaMapFlags, DmaMapRequest, Limits};
use gate::{AccessKind, ThreadToken};
use nvme_spec::register::{ACQ, AQA, ASQ, CC, CSTS};
use pci_core::Function;
use rustix::fs::{MemfdFlags, memfd_create};

use super::outbox::Outbox;
use super::{
    Backing, BlockSize, Config, Controller, DoorbellStyle, InterruptStyle, Parts, Shared, assemble,
    assemble_elsewhere,
};
use echo::Echo;

/// Where guest memory starts for the device, and how much there is.
const BASE: u64 = 0x10_0000;
const BYTES: u64 = 256 << 10;
/// Entries of each queue.
const ENTRIES: u32 = 16;
/// Pages of guest memory that the queues take: admin and I/O, submission and completion.
const QUEUES: [u64; 4] = [0, 0x1000, 0x2000, 0x3000];
/// Operations carried out at most.
const OPERATIONS: usize = 512;
/// Turns given after each operation at most.
const TURNS: usize = 64;

/// Plays `bytes`; says how many operations they were. The controller must survive all of them, and still be
/// enabled by a reset afterwards.
///
/// The first byte chooses the configuration. Then each operation is a byte that says what it is, and what it needs.
pub fn commands(token: &mut ThreadToken, bytes: &[u8]) -> usize {
    let Some((choice, rest)) = bytes.split_first() else { return 0 };
    let Some(mut player) = Player::new(token, *choice) else { return 0 };
    player.enable(token);
    player.make_queues(token);
    let mut script = Script(rest);
    let mut count = 0;
    while count < OPERATIONS && player.operate(token, &mut script).is_some() {
        player.turn(token);
        count += 1;
    }
    player.write(token, CC, 0);
    player.turn(token);
    player.enable(token);
    let mut status = [0; 4];
    let read = player.assignment.region_read(token, 0, CSTS, &mut status);
    assert!(read.is_err() || u32::from_le_bytes(status) & 3 == 1, "a reset brings the controller back");
    count
}

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (now, later) = self.0.split_first_chunk()?;
        self.0 = later;
        Some(*now)
    }
}

struct Player {
    assignment: Arc<Assignment>,
    shared: Arc<Shared>,
    out: Outbox,
    memory: File,
    tails: [u32; 2],
    _attached: assign::Attached,
}

impl Player {
    fn new(token: &mut ThreadToken, choice: u8) -> Option<Self> {
        let interrupts = match choice & 3 {
            0 => InterruptStyle::Msi,
            1 => InterruptStyle::Msix,
            _ => InterruptStyle::Intx,
        };
        let doorbells = if choice & 4 == 0 { DoorbellStyle::Trapped } else { DoorbellStyle::Mapped };
        let block_size = if choice & 8 == 0 { BlockSize::B512 } else { BlockSize::B4096 };
        let config = Config { interrupts, doorbells, block_size, ..Config::default() };
        let gate = gate::Gate::new("fuzz");
        let Parts { shared, gate, space } = if choice & 16 == 0 {
            assemble(gate, &config, Backing::memory(1 << 20).ok()?, Arc::new(())).ok()?
        } else {
            assemble_elsewhere(gate, &config, Arc::new(Echo::new()?), Arc::new(())).ok()?
        };
        let port = Arc::clone(&shared.port);
        let device = Arc::new(Controller::without_worker(Arc::clone(&shared), interrupts));
        let function = Arc::new(Function::new("fuzz", gate, space, device));
        let assignment = Assignment::new(function, port, Limits::default());
        let attached = assignment.attach(token).ok()?;
        let memory = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).ok()?);
        memory.set_len(BYTES).ok()?;
        let request = DmaMapRequest {
            flags: DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE),
            offset: 0,
            iova: BASE,
            size: BYTES,
            fd: Some(OwnedFd::from(memory.try_clone().ok()?)),
        };
        assignment.dma_map(token, request).ok()?;
        assignment.region_write(token, 7, 4, &6u16.to_le_bytes()).ok()?;
        Some(Self { assignment, shared, out: Outbox::default(), memory, tails: [0; 2], _attached: attached })
    }

    fn write(&self, token: &mut ThreadToken, offset: u64, value: u32) {
        let _ = self.assignment.region_write(token, 0, offset, &value.to_le_bytes());
    }

    fn enable(&mut self, token: &mut ThreadToken) {
        let command = 6u16.to_le_bytes();
        let _ = self.assignment.region_write(token, 7, 4, &command);
        let [asq, acq, ..] = QUEUES.map(|page| BASE + page);
        self.write(token, AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
        let _ = self.assignment.region_write(token, 0, ASQ, &asq.to_le_bytes());
        let _ = self.assignment.region_write(token, 0, ACQ, &acq.to_le_bytes());
        self.write(token, CC, 0x0046_0001);
        self.tails = [0; 2];
        self.turn(token);
    }

    fn make_queues(&mut self, token: &mut ThreadToken) {
        for (opcode, page, cdw11) in [(5u8, QUEUES[3], 3u32), (1, QUEUES[2], 1 | 1 << 16)] {
            let mut entry = [0; 64];
            entry[0] = opcode;
            entry[24..32].copy_from_slice(&(BASE + page).to_le_bytes());
            entry[40..44].copy_from_slice(&(1 | (ENTRIES - 1) << 16).to_le_bytes());
            entry[44..48].copy_from_slice(&cdw11.to_le_bytes());
            self.submit(token, 0, &entry);
            self.turn(token);
        }
    }

    /// Puts an entry at the tail of queue 0 or 1, rings, and lets the host have read all completions.
    fn submit(&mut self, token: &mut ThreadToken, qid: usize, entry: &[u8; 64]) {
        let tail = self.tails[qid];
        let _ = self.memory.write_all_at(entry, QUEUES[qid * 2] + u64::from(tail) * 64);
        self.tails[qid] = (tail + 1) % ENTRIES;
        self.write(token, 0x1000 + qid as u64 * 8, self.tails[qid]);
        self.turn(token);
        self.write(token, 0x1004 + qid as u64 * 8, self.tails[qid]);
    }

    fn turn(&mut self, token: &mut ThreadToken) {
        for _ in 0..TURNS {
            if let Some(elsewhere) = &self.shared.elsewhere {
                elsewhere.ring(token);
                elsewhere.reap(&mut self.out.reaped);
            }
            let Ok(pass) = self.shared.port.handle().try_enter(token, AccessKind::Dma) else { return };
            if !self.shared.turn(&pass, &mut self.out) {
                drop(pass);
                let _ = self.shared.has_work(token, &mut self.out, false);
                break;
            }
        }
        self.shared.log(&mut self.out);
    }

    /// One operation; `None` at the end of the script.
    fn operate(&mut self, token: &mut ThreadToken, script: &mut Script<'_>) -> Option<()> {
        let [kind] = script.take()?;
        match kind & 7 {
            queue @ (0 | 1) => {
                let entry = script.take::<64>()?;
                self.submit(token, usize::from(queue), &entry);
            }
            2 => {
                let [at, a, b, c, d] = script.take()?;
                self.write(token, u64::from(at % 16) * 4, u32::from_le_bytes([a, b, c, d]));
            }
            3 => {
                let [at, low, high] = script.take()?;
                self.write(token, 0x1000 + u64::from(at) * 4, u32::from(u16::from_le_bytes([low, high])));
            }
            4 => {
                let [low, high] = script.take()?;
                let data = script.take::<16>()?;
                let at = u64::from(u16::from_le_bytes([low, high])) * 16 % (BYTES - 16);
                let _ = self.memory.write_all_at(&data, at);
            }
            5 => {
                let _ = self.assignment.reset(token);
            }
            6 => {
                let [at, length] = script.take()?;
                let mut data = [0; 16];
                let length = usize::from(length % 16) + 1;
                let _ = self.assignment.region_read(token, 0, u64::from(at) * 17, data.get_mut(..length)?);
            }
            _ => {
                self.enable(token);
                self.make_queues(token);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator: the same bytes in every run.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect()
    }

    #[test]
    fn noise_breaks_nothing() {
        let mut token = ThreadToken::at_thread_entry();
        let mut operations = 0;
        for seed in 0..300 {
            operations += commands(&mut token, &noise(seed, 4096));
        }
        assert!(operations > 10_000, "{operations} operations");
    }

    #[test]
    fn valid_opcodes_with_noise_in_every_field_break_nothing() {
        let mut token = ThreadToken::at_thread_entry();
        for seed in 0..300u64 {
            let mut script = noise(seed, 1 + 65 * 60);
            let (opcodes, queues) = (noise(seed + 1000, 60), noise(seed + 2000, 60));
            for (nth, entry) in script[1..].chunks_exact_mut(65).enumerate() {
                let admin = queues[nth] & 1;
                entry[0] = admin;
                let all = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 0x7c];
                entry[1] = all[usize::from(opcodes[nth]) % all.len()];
                entry[2] = 0;
                entry[5..9].copy_from_slice(&[1, 0, 0, 0]);
                // Addresses in and around guest memory, small blocks and counts.
                for pointer in [25, 33] {
                    entry[pointer + 3..pointer + 8].fill(0);
                    entry[pointer + 2] = 0x0f + (entry[pointer + 2] & 7);
                    entry[pointer] &= 0xfc;
                }
                entry[42..49].fill(0);
                entry[50] = 0;
            }
            assert!(commands(&mut token, &script) > 50);
        }
    }

    #[test]
    fn a_back_end_that_answers_anything_breaks_nothing() {
        let mut token = ThreadToken::at_thread_entry();
        let mut operations = 0;
        for seed in 0..300 {
            let mut script = noise(seed, 4096);
            script[0] |= 16;
            operations += commands(&mut token, &script);
        }
        assert!(operations > 10_000, "{operations} operations");
    }

    #[test]
    fn an_empty_script_and_half_an_operation_end_quietly() {
        let mut token = ThreadToken::at_thread_entry();
        assert_eq!(commands(&mut token, &[]), 0);
        assert_eq!(commands(&mut token, &[0]), 0);
        assert_eq!(commands(&mut token, &[0, 0, 1, 2, 3]), 0);
    }
}

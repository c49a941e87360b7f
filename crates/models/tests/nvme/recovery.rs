//! Save, reset, restore under a controller with its thread, under load and under every fault that it can be made to have:
//! the guest gets every answer once, and its data.

#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use assign::Assignment;
use gate::{AccessKind, Deadline, Reason, ThreadToken};
use models::nvme::backing::{DirectIo, FileOptions};
use models::nvme::{Backing, Config, DoorbellStyle};
use nvme_spec::{AdminOpcode, NvmOpcode};
use pci_core::{ErrorSign, InjectError, ResetKind, Sentinel};

use crate::guest::{Guest, Pair, admin, assert_ok, io, pattern};

const SIZE: u64 = 32 << 20;

/// What a watcher of the function was told.
#[derive(Default)]
struct Heard(Mutex<Vec<ErrorSign>>);

impl Sentinel for Heard {
    fn noticed(&self, _token: &ThreadToken, sign: ErrorSign) {
        self.0.lock().unwrap().push(sign);
    }
}

/// Recovers as a consumer that does not notice.
fn recover(token: &mut ThreadToken, assignment: &Assignment) {
    let function = assignment.function();
    let deadline = Deadline::after(Duration::from_secs(30));
    let quiesced = function.gate().close(token, Reason::Reset, deadline).unwrap();
    let state = function.save_device(&quiesced).unwrap();
    let command = function.config().command().bits().to_le_bytes();
    assert!(function.reset_quiesced(&quiesced, ResetKind::FunctionLevel));
    let _effects = function.config().write(4, &command);
    function.restore_device(&quiesced, &state).unwrap();
    // A device that panicked is frozen as well.
    quiesced.thaw();
}

fn inject(guest: &mut Guest, fault: &str) {
    let function = Arc::clone(guest.assignment.function());
    function.inject(&mut guest.token, fault, Deadline::after(Duration::from_secs(10))).unwrap();
}

fn disk(dir: &tempfile::TempDir, doorbells: DoorbellStyle, file: bool) -> Guest {
    let options = FileOptions { size: Some(SIZE), direct: DirectIo::WherePossible };
    let backing =
        if file { Backing::file(&dir.path().join("disk"), &options) } else { Backing::memory(SIZE) };
    Guest::ready(&Config { doorbells, ..Config::default() }, backing.unwrap())
}

/// Writes 16 blocks of 4 KiB, each with a pattern of its own, and waits for none.
fn begin_writes(guest: &mut Guest, pair: &mut Pair, buffer: u64, round: u8) {
    for nth in 0..16_u8 {
        let at = buffer + u64::from(nth) * 4096;
        guest.store(at, &pattern(4096, nth ^ round));
        guest.submit(pair, io(NvmOpcode::Write, u64::from(nth) * 8, 8, at));
    }
}

fn end_writes(guest: &mut Guest, pair: &mut Pair, buffer: u64, round: u8) {
    let mut seen: Vec<u16> = (0..16)
        .map(|_| {
            let answer = guest.complete(pair);
            assert_ok(&answer);
            answer.cid.get()
        })
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), guest.peek(pair).is_some()), (16, false), "each is answered once");
    for nth in 0..16_u8 {
        guest.store(buffer, &[0; 4096]);
        assert_ok(&guest.run(pair, io(NvmOpcode::Read, u64::from(nth) * 8, 8, buffer)));
        assert!(guest.load(buffer, 4096) == pattern(4096, nth ^ round), "block {nth} of round {round}");
    }
}

#[test]
fn a_recovery_under_load_is_a_pause_and_nothing_else() {
    for (doorbells, file) in
        [(DoorbellStyle::Trapped, true), (DoorbellStyle::Mapped, true), (DoorbellStyle::Trapped, false)]
    {
        let dir = tempfile::tempdir_in(".").unwrap();
        let mut guest = disk(&dir, doorbells, file);
        let mut pair = guest.make_pair(1, 64, 1);
        let buffer = guest.pages(16);
        let assignment = Arc::clone(&guest.assignment);
        for round in 0..20 {
            begin_writes(&mut guest, &mut pair, buffer, round);
            recover(&mut guest.token, &assignment);
            end_writes(&mut guest, &mut pair, buffer, round);
        }
    }
}

#[test]
fn a_recovery_while_the_guest_goes_on_loses_no_doorbell() {
    for doorbells in [DoorbellStyle::Trapped, DoorbellStyle::Mapped] {
        let dir = tempfile::tempdir_in(".").unwrap();
        let mut guest = disk(&dir, doorbells, false);
        let mut pair = guest.make_pair(1, 64, 1);
        let buffer = guest.pages(16);
        let assignment = Arc::clone(&guest.assignment);
        let running = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let runs = Arc::clone(&running);
        let recoverer = std::thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let mut count = 0;
            while runs.load(std::sync::atomic::Ordering::Acquire) {
                recover(&mut token, &assignment);
                count += 1;
                std::thread::yield_now();
            }
            count
        });
        for round in 0..50 {
            begin_writes(&mut guest, &mut pair, buffer, round);
            end_writes(&mut guest, &mut pair, buffer, round);
        }
        running.store(false, std::sync::atomic::Ordering::Release);
        assert!(recoverer.join().unwrap() > 0);
    }
}

#[test]
fn every_fault_is_noticed_as_it_should_be_and_a_recovery_loses_nothing() {
    for fault in ["all-ones", "controller-fatal", "register-panic", "worker-panic", "dma-fault", "hang"] {
        for (doorbells, file) in [(DoorbellStyle::Trapped, true), (DoorbellStyle::Mapped, false)] {
            let dir = tempfile::tempdir_in(".").unwrap();
            let mut guest = disk(&dir, doorbells, file);
            let assignment = Arc::clone(&guest.assignment);
            let heard = Arc::new(Heard::default());
            assert!(assignment.watch_errors(Arc::clone(&heard) as _));
            let mut pair = guest.make_pair(1, 64, 1);
            let buffer = guest.pages(16);
            for round in 0..3 {
                begin_writes(&mut guest, &mut pair, buffer, round);
                inject(&mut guest, fault);
                let heard_of = |guest: &mut Guest| {
                    guest.wait("a sign", |_| !heard.0.lock().unwrap().is_empty());
                    std::mem::take(&mut *heard.0.lock().unwrap())[0]
                };
                match fault {
                    "all-ones" => {
                        assert_eq!(guest.read32(0x1c), u32::MAX);
                        assert_eq!(
                            heard_of(&mut guest),
                            ErrorSign::AllOnes { kind: AccessKind::Bar, offset: 0x1c }
                        );
                    }
                    "controller-fatal" => {
                        assert!(guest.status().cfs());
                        assert!(matches!(heard_of(&mut guest), ErrorSign::DeviceFault(_)));
                    }
                    "register-panic" => {
                        let mut data = [0; 4];
                        let read = assignment.region_read(&mut guest.token, 0, 0x1c, &mut data);
                        assert!(read.is_err() || data == [0xff; 4]);
                        assert_eq!(heard_of(&mut guest), ErrorSign::DevicePanicked);
                    }
                    "worker-panic" => {
                        assert_eq!(heard_of(&mut guest), ErrorSign::DevicePanicked);
                        assert!(guest.status().cfs());
                    }
                    "dma-fault" => assert!(matches!(heard_of(&mut guest), ErrorSign::DmaFault { .. })),
                    _ => {}
                }
                recover(&mut guest.token, &assignment);
                end_writes(&mut guest, &mut pair, buffer, round);
            }
            assert!(guest.status().rdy() && !guest.status().cfs());
        }
    }
}

#[test]
fn a_controller_whose_worker_panicked_is_usable_again_after_a_plain_reset() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let mut guest = disk(&dir, DoorbellStyle::Trapped, true);
    for _ in 0..3 {
        inject(&mut guest, "worker-panic");
        guest.wait("a fatal status", |guest| guest.status().cfs());
        guest.assignment.reset(&mut guest.token).unwrap();
        guest.set_command(6);
        guest.enable();
        let mut features = admin(AdminOpcode::GetFeatures);
        features.cdw10 = 1.into();
        assert_ok(&guest.run_admin(features));
    }
}

#[test]
fn a_controller_reset_ends_a_hang_and_a_fatal_state() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let mut guest = disk(&dir, DoorbellStyle::Trapped, true);
    for fault in ["hang", "controller-fatal"] {
        guest.disable();
        guest.enable();
        let mut pair = guest.make_pair(1, 64, 1);
        let buffer = guest.pages(16);
        begin_writes(&mut guest, &mut pair, buffer, 0);
        inject(&mut guest, fault);
        guest.disable();
        guest.enable();
        let mut pair = guest.make_pair(1, 64, 1);
        begin_writes(&mut guest, &mut pair, buffer, 1);
        end_writes(&mut guest, &mut pair, buffer, 1);
    }
}

#[test]
fn faults_are_known_by_name_and_a_thread_that_is_not_there_cannot_panic() {
    let mut guest = Guest::new(&Config::default(), Backing::memory(1 << 20).unwrap());
    let function = Arc::clone(guest.assignment.function());
    let soon = Deadline::after(Duration::from_secs(10));
    let unknown = function.inject(&mut guest.token, "no-such", soon).unwrap_err();
    assert!(matches!(unknown, InjectError::Unknown { known } if known.len() == 6), "{unknown}");
    let early = function.inject(&mut guest.token, "worker-panic", soon);
    assert!(matches!(early, Err(InjectError::NotNow(_))));
    guest.enable();
}

//! The endpoint-test function over a save, a reset and a restore, and under the faults that it can be made to have.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use assign::{Assignment, IrqAction, IrqData, SetIrqs};
use gate::{Deadline, Quiesced, Reason, ThreadToken};
use models::endpoint::{self, Config};
use pci_core::{ErrorSign, Function, InjectError, PreserveError, ResetKind, Sentinel};
use proptest::prelude::*;

const STATUS: u64 = 0x08;
const SIZE: u64 = 0x1c;
const MEMORY: u32 = 2;
const HISTORY: u32 = 9;

fn build(token: &mut ThreadToken, memory: u64) -> (Arc<Assignment>, assign::Attached) {
    let config = Config { memory, ..Config::default() };
    let assignment = endpoint::build("test", &config, Arc::new(())).unwrap();
    let attached = assignment.attach(token).unwrap();
    write(token, &assignment, 7, 4, &6_u16.to_le_bytes());
    (assignment, attached)
}

fn write(token: &mut ThreadToken, assignment: &Assignment, region: u32, offset: u64, data: &[u8]) {
    assignment.region_write(token, region, offset, data).unwrap();
}

fn read<const N: usize>(
    token: &mut ThreadToken,
    assignment: &Assignment,
    region: u32,
    offset: u64,
) -> [u8; N] {
    let mut data = [0x5a; N];
    let _refused_reads_all_ones = assignment.region_read(token, region, offset, &mut data);
    data
}

fn with_gate<R>(
    token: &mut ThreadToken,
    assignment: &Assignment,
    owner: impl FnOnce(&Function, &Quiesced<'_>) -> R,
) -> R {
    let function = assignment.function();
    let deadline = Deadline::after(Duration::from_secs(10));
    let quiesced = function.gate().close(token, Reason::Reset, deadline).unwrap();
    let result = owner(function, &quiesced);
    quiesced.thaw();
    result
}

fn save(token: &mut ThreadToken, assignment: &Assignment) -> Result<Vec<u8>, PreserveError> {
    with_gate(token, assignment, |function, quiesced| function.save_device(quiesced))
}

/// Restores after a reset.
fn restore(token: &mut ThreadToken, assignment: &Assignment, state: &[u8]) -> Result<(), PreserveError> {
    with_gate(token, assignment, |function, quiesced| {
        assert!(function.reset_quiesced(quiesced, ResetKind::FunctionLevel));
        let _effects = function.config().write(4, &6_u16.to_le_bytes());
        function.restore_device(quiesced, state)
    })
}

/// Something everywhere: registers, memory, the history of a command that raises INTx.
fn fill(token: &mut ThreadToken, assignment: &Assignment) {
    write(token, assignment, 0, SIZE, &17_u32.to_le_bytes());
    write(token, assignment, MEMORY, 5, b"in the first page");
    write(token, assignment, MEMORY, 0xfff8, b"the last");
    write(token, assignment, HISTORY, 0x8000, b"scribbled");
    write(token, assignment, 0, 0x04, &1_u32.to_le_bytes());
}

#[test]
fn registers_memory_history_and_the_level_of_intx_are_as_they_were() {
    let mut token = ThreadToken::at_thread_entry();
    let (assignment, _attached) = build(&mut token, 64 << 10);
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
    let data = IrqData::Eventfd(vec![event.try_clone().unwrap()]);
    let wired = SetIrqs { index: 0, start: 0, count: 1, action: IrqAction::Trigger, data };
    assignment.set_irqs(&mut token, wired).unwrap();
    let signalled = || rustix::io::read(&event, &mut [0; 8]).is_ok();
    fill(&mut token, &assignment);
    assert!(signalled());
    let state = save(&mut token, &assignment).unwrap();
    restore(&mut token, &assignment, &state).unwrap();
    assert_eq!(save(&mut token, &assignment).unwrap(), state);
    assert_eq!(read(&mut token, &assignment, MEMORY, 5), *b"in the first page");
    assert_eq!(read(&mut token, &assignment, HISTORY, 0x8000), *b"scribbled");
    assert_eq!(read(&mut token, &assignment, 0, SIZE), 17_u32.to_le_bytes());
    // The line is still high: whoever unmasks it is signalled, until the status has been read.
    let unmask = || SetIrqs { index: 0, start: 0, count: 1, action: IrqAction::Unmask, data: IrqData::None };
    assignment.set_irqs(&mut token, unmask()).unwrap();
    assert!(signalled());
    let _status: [u8; 4] = read(&mut token, &assignment, 0, STATUS);
    assignment.set_irqs(&mut token, unmask()).unwrap();
    assert!(!signalled());
    let state = save(&mut token, &assignment).unwrap();
    restore(&mut token, &assignment, &state).unwrap();
    assert!(!signalled(), "a line that was low");
}

#[test]
fn a_state_of_another_size_is_refused_and_so_is_more_memory_than_can_be_saved() {
    let mut token = ThreadToken::at_thread_entry();
    let (small, _attached) = build(&mut token, 64 << 10);
    fill(&mut token, &small);
    let state = save(&mut token, &small).unwrap();
    let (other, _attached_too) = build(&mut token, 128 << 10);
    assert!(matches!(restore(&mut token, &other, &state), Err(PreserveError::OtherDevice(_))));
    assert_eq!(read(&mut token, &other, 0, SIZE), [0; 4]);
    let (large, _attached_as_well) = build(&mut token, 128 << 20);
    assert!(matches!(save(&mut token, &large), Err(PreserveError::NotNow(_))));
    for cut in 0..64 {
        assert!(restore(&mut token, &small, &state[..cut]).is_err());
    }
}

/// Counts what it hears.
#[derive(Default)]
struct Heard(AtomicU32);

impl Sentinel for Heard {
    fn noticed(&self, _token: &ThreadToken, _sign: ErrorSign) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn each_fault_is_noticed_and_a_recovery_loses_nothing() {
    for fault in ["all-ones", "register-panic", "dma-fault"] {
        let mut token = ThreadToken::at_thread_entry();
        let (assignment, _attached) = build(&mut token, 64 << 10);
        let heard = Arc::new(Heard::default());
        assert!(assignment.watch_errors(Arc::clone(&heard) as _));
        fill(&mut token, &assignment);
        let soon = Deadline::after(Duration::from_secs(10));
        assignment.function().inject(&mut token, fault, soon).unwrap();
        // Beyond the registers, where 0 is read.
        let seen: [u8; 4] = read(&mut token, &assignment, 0, 0x80);
        assert_eq!(seen == [0xff; 4], fault != "dma-fault", "{fault}");
        assert_eq!(heard.0.load(Ordering::Acquire), 1, "{fault}");
        let state = save(&mut token, &assignment).unwrap();
        restore(&mut token, &assignment, &state).unwrap();
        assert_eq!(read(&mut token, &assignment, 0, 0x80), [0; 4], "{fault}");
        assert_eq!(read(&mut token, &assignment, MEMORY, 5), *b"in the first page", "{fault}");
        let unknown = assignment.function().inject(&mut token, "hang", soon);
        assert!(matches!(unknown, Err(InjectError::Unknown { .. })));
    }
}

#[test]
fn what_is_said_never_to_be_all_ones_is_not_whatever_is_written() {
    let mut token = ThreadToken::at_thread_entry();
    let (assignment, _attached) = build(&mut token, 64 << 10);
    let device = assignment.function().device();
    let bar = pci_core::BarIndex::new(0).unwrap();
    for at in (0..0x40).step_by(4) {
        write(&mut token, &assignment, 0, at, &u32::MAX.to_le_bytes());
    }
    for at in (0..0x80).step_by(4) {
        let all_ones = read(&mut token, &assignment, 0, at) == [0xff; 4];
        assert!(!(all_ones && device.never_all_ones(bar, at, 4)), "{at:#x}");
    }
    assert!(device.never_all_ones(bar, 4, 4) && device.never_all_ones(bar, 0x40, 1));
    assert!(!device.never_all_ones(bar, SIZE, 4) && !device.never_all_ones(bar, 4, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_and_changed_states_are_refused(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut token = ThreadToken::at_thread_entry();
        let (assignment, _attached) = build(&mut token, 64 << 10);
        let fresh = save(&mut token, &assignment).unwrap();
        fill(&mut token, &assignment);
        let mut state = save(&mut token, &assignment).unwrap();
        prop_assert!(restore(&mut token, &assignment, &noise).is_err());
        let at = at.index(state.len());
        state[at] ^= flip;
        prop_assert!(restore(&mut token, &assignment, &state).is_err());
        prop_assert!(save(&mut token, &assignment).unwrap() == fresh, "not as after the reset");
    }
}

//! Save, reset, restore: the function's driver and its peers go on with the tokens and channels that they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use gate::{Deadline, Quiesced, Reason, ThreadToken};
use models::ism::{Command, Register, Statistic, window_offset};
use pci_core::{BarIndex, ErrorSign, Function, PreserveError, ResetKind, Sentinel};
use proptest::prelude::*;

use crate::party::{AREA, BASE, Party};

fn with_gate<R>(
    token: &mut ThreadToken,
    party: &Party,
    owner: impl FnOnce(&Function, &Quiesced<'_>) -> R,
) -> R {
    let function = party.function();
    let deadline = Deadline::after(Duration::from_secs(10));
    let quiesced = function.gate().close(token, Reason::Reset, deadline).unwrap();
    let result = owner(function, &quiesced);
    quiesced.thaw();
    result
}

fn reset(function: &Function, quiesced: &Quiesced<'_>) {
    assert!(function.reset_quiesced(quiesced, ResetKind::FunctionLevel));
    let _effects = function.config().write(4, &6_u16.to_le_bytes());
}

fn save(token: &mut ThreadToken, party: &Party) -> Vec<u8> {
    with_gate(token, party, |function, quiesced| function.save_device(quiesced)).unwrap()
}

/// Restores after a reset.
fn restore(token: &mut ThreadToken, party: &Party, state: &[u8]) -> Result<(), PreserveError> {
    with_gate(token, party, |function, quiesced| {
        reset(function, quiesced);
        function.restore_device(quiesced, state)
    })
}

fn recover(token: &mut ThreadToken, party: &Party) {
    let state = save(token, party);
    restore(token, party, &state).unwrap();
}

/// A sender with a channel to a receiver's buffer.
fn connected(token: &mut ThreadToken, network: &str) -> (Party, Party, u64) {
    let (sender, receiver) = (Party::new(token, network, 1), Party::new(token, network, 2));
    receiver.ask(token, Command::SetSignalArea { address: BASE + AREA }).unwrap();
    let buffer = Command::RegisterDmb { address: BASE, length: 8192, sender: 1 };
    let dmb = receiver.ask(token, buffer).unwrap();
    sender.ask(token, Command::OpenChannel { token: dmb }).unwrap();
    (sender, receiver, dmb)
}

#[test]
fn a_driver_and_its_peer_go_on_with_what_they_have() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver, dmb) = connected(&mut token, "recovery-goes-on");
    let moved = |sender: &Party, receiver: &Party, token: &ThreadToken, data: &[u8]| {
        sender.store(token, 2, window_offset(0, 64, true), data).unwrap();
        let mut seen = vec![0; data.len()];
        std::os::unix::fs::FileExt::read_exact_at(&receiver.memory, &mut seen, 64).unwrap();
        assert_eq!(seen, data);
    };
    moved(&sender, &receiver, &token, b"before");
    recover(&mut token, &receiver);
    moved(&sender, &receiver, &token, b"after the receiver's");
    recover(&mut token, &sender);
    moved(&sender, &receiver, &token, b"after the sender's");
    assert_eq!(sender.statistic(&token, Statistic::BlocksSent), 3);
    assert_eq!(receiver.statistic(&token, Statistic::SignalsReceived), 3);
    assert_eq!(receiver.register(&token, Register::SignalArea), BASE + AREA);
    // A buffer that comes later has another token, and the old one is unregistered by its own.
    let buffer = Command::RegisterDmb { address: BASE + 0x4000, length: 4096, sender: 1 };
    assert_ne!(receiver.ask(&token, buffer).unwrap(), dmb);
    receiver.ask(&token, Command::UnregisterDmb { token: dmb }).unwrap();
    assert!(sender.store(&token, 2, window_offset(0, 0, false), b"late").is_err());
    sender.ask(&token, Command::CloseChannel { channel: 0 }).unwrap();
}

#[test]
fn a_state_of_another_function_is_refused() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver, _) = connected(&mut token, "recovery-another");
    let state = save(&mut token, &receiver);
    assert!(matches!(restore(&mut token, &sender, &state), Err(PreserveError::OtherDevice(_))));
    assert_eq!(sender.register(&token, Register::InUse), 0);
    for cut in 0..state.len() {
        assert!(restore(&mut token, &receiver, &state[..cut]).is_err());
    }
    assert_eq!(receiver.register(&token, Register::InUse), 0, "as after the reset");
    restore(&mut token, &receiver, &state).unwrap();
    assert_eq!(receiver.register(&token, Register::InUse), 1);
}

#[derive(Default)]
struct Heard(AtomicBool);

impl Sentinel for Heard {
    fn noticed(&self, _token: &ThreadToken, _sign: ErrorSign) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn each_fault_is_noticed_and_ends_with_the_reset() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver, _) = connected(&mut token, "recovery-faults");
    for (party, fault) in [(&receiver, "all-ones"), (&sender, "dma-fault")] {
        let heard = Arc::new(Heard::default());
        assert!(party.assignment.watch_errors(Arc::clone(&heard) as _));
        party.function().inject(&mut token, fault, Deadline::after(Duration::from_secs(10))).unwrap();
        let identity = party.load(&token, 0, 0, 8);
        assert_eq!(identity == [0xff; 8], fault == "all-ones");
        assert!(heard.0.load(Ordering::Acquire), "{fault}");
        recover(&mut token, party);
        assert_ne!(party.load(&token, 0, 0, 8), [0xff; 8]);
        assert_ne!(party.register(&token, Register::InUse), 0, "what was there is there");
    }
}

#[test]
fn only_registers_that_say_what_the_function_is_are_taken_as_never_all_ones() {
    let mut token = ThreadToken::at_thread_entry();
    let party = Party::new(&mut token, "recovery-ones", 1);
    let device = party.function().device();
    let bar = BarIndex::new(0).unwrap();
    for (register, never) in [
        (Register::Identity, true),
        (Register::Limits, true),
        (Register::Gid, false),
        (Register::SignalArea, false),
    ] {
        assert_eq!(device.never_all_ones(bar, register as u64, 8), never, "{register:?}");
    }
    assert!(!device.never_all_ones(BarIndex::new(2).unwrap(), 0, 8), "the window always is");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_and_changed_states_are_refused(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        static CASES: AtomicU32 = AtomicU32::new(0);
        let mut token = ThreadToken::at_thread_entry();
        let network = format!("recovery-noise-{}", CASES.fetch_add(1, Ordering::Relaxed));
        let (_sender, receiver, _) = connected(&mut token, &network);
        let mut state = save(&mut token, &receiver);
        prop_assert!(restore(&mut token, &receiver, &noise).is_err());
        let at = at.index(state.len());
        state[at] ^= flip;
        prop_assert!(restore(&mut token, &receiver, &state).is_err());
        prop_assert_eq!(receiver.register(&token, Register::InUse), 0);
    }
}

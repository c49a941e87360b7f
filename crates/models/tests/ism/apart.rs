//! Functions that are being reset, frozen or removed while a peer moves into them.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gate::{Deadline, Reason, ThreadToken};
use models::ism::{Command, Outcome, Refused, Statistic};
use pci_core::{AccessError, BlockRefused};

use crate::party::Party;

const LONG: Duration = Duration::from_secs(30);

fn connected(token: &mut ThreadToken, network: &str) -> (Party, Party, u64, u16) {
    let (sender, receiver) = (Party::new(token, network, 1), Party::new(token, network, 2));
    receiver.signal_area(token);
    let buffer = receiver.buffer(token, 0, 0x1000, 1);
    let channel = sender.channel(token, buffer);
    (sender, receiver, buffer, channel)
}

fn untouched(receiver: &Party) {
    assert_eq!(receiver.read(0, 0x1000), [0; 0x1000]);
    assert!(receiver.signalled().is_empty() && !receiver.interrupted());
}

#[test]
fn a_peer_that_is_closed_costs_the_mover_an_error_and_no_time() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver, buffer, channel) = connected(&mut token, "closed");
    let gate = receiver.function().gate().clone();
    let parked = gate.close(&mut token, Reason::Reset, Deadline::after(LONG)).unwrap().park();
    let stored = sender.store(&token, 2, u64::from(channel) << 17, &[1; 8]);
    assert!(matches!(stored, Err(AccessError::Block(BlockRefused::NoResources))), "it may be tried again");
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::PeerBlocked));
    assert_eq!(sender.ask(&token, Command::Signal { channel: channel.into() }), Err(Outcome::Busy));
    assert_eq!(sender.ask(&token, Command::OpenChannel { token: buffer }), Err(Outcome::Busy));
    drop(parked);
    untouched(&receiver);
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Ok(()));
    assert_eq!(sender.counts(&token)[3..], [("refused_peer_blocked", 3)]);
}

#[test]
fn a_frozen_peer_is_not_written() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver, _, channel) = connected(&mut token, "frozen");
    receiver.function().gate().freeze();
    let stored = sender.store(&token, 2, u64::from(channel) << 17, &[1; 8]);
    assert!(matches!(stored, Err(AccessError::Block(BlockRefused::NotAccepted))));
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::PeerFrozen));
    assert_eq!(sender.ask(&token, Command::Signal { channel: channel.into() }), Err(Outcome::PeerFrozen));
    receiver.function().gate().thaw();
    untouched(&receiver);
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Ok(()));
}

#[test]
fn a_peer_that_was_reset_has_no_buffers() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver, buffer, channel) = connected(&mut token, "reset");
    receiver.assignment.reset(&mut token).unwrap();
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::UnknownToken));
    // Even when the same place is taken again.
    let again = receiver.buffer(&token, 0, 0x1000, 1);
    assert_ne!(again, buffer);
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::UnknownToken));
    untouched(&receiver);
    assert_eq!(sender.counts(&token), [("refused_unknown_token", 2)]);
}

#[test]
fn what_is_unregistered_is_not_written_any_more() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver, buffer, channel) = connected(&mut token, "unregistered");
    assert_eq!(
        sender.ask(&token, Command::UnregisterDmb { token: buffer }),
        Err(Outcome::UnknownToken),
        "not its own"
    );
    assert_eq!(receiver.ask(&token, Command::UnregisterDmb { token: buffer }), Ok(0));
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::UnknownToken));
    untouched(&receiver);
}

/// Law 5: gone means gone, and the next device in the place is not the last one.
#[test]
fn a_token_never_reaches_the_device_that_came_in_the_place_of_its_owner() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver, buffer, channel) = connected(&mut token, "successor");
    let gate = receiver.function().gate().clone();
    let _retired = gate.retire(&mut token, Deadline::after(LONG));
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::NoPeer));
    assert_eq!(sender.ask(&token, Command::FindPeer { gid: 2 }), Err(Outcome::NoPeer));
    let next = Party::behind(&mut token, gate.successor(), "successor", 2);
    assert_eq!(sender.ask(&token, Command::FindPeer { gid: 2 }), Ok(0));
    let theirs = next.buffer(&token, 0, 0x1000, 1);
    assert_eq!(theirs & 0xffff, buffer & 0xffff, "the same seat and place");
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::UnknownToken));
    untouched(&receiver);
    untouched(&next);
    let channel = sender.channel(&token, theirs);
    assert_eq!(sender.send(&token, channel, 0, false, &[1; 8]), Ok(()));
    assert_eq!(next.read(0, 8), [1; 8]);
    untouched(&receiver);
}

#[test]
fn a_peer_whose_consumer_has_left_is_not_written() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, mut receiver, _, channel) = connected(&mut token, "left");
    receiver.attached.take().unwrap().detach(&mut token);
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::PeerMemory));
    untouched(&receiver);
}

/// A mover does not stop for the resets of its peer, nor these for the mover, and after a reset nothing of before arrives.
#[test]
fn moves_and_resets_of_the_peer_run_beside_each_other() {
    const ROUNDS: usize = 40;
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = (Party::new(&mut token, "beside", 1), Party::new(&mut token, "beside", 2));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| moves_until(&sender, &ended));
        let _ends = Ends(&ended);
        for _ in 0..ROUNDS {
            let buffer = receiver.buffer(&token, 0, 0x1000, 1);
            let channel = u64::from(sender.channel(&token, buffer));
            arrives(&receiver);
            receiver.assignment.reset(&mut token).unwrap();
            receiver.memory.write_all_at(&[0; 128], 0).unwrap();
            is_refused(&sender, &token);
            assert_eq!(receiver.read(0, 128), [0; 128]);
            sender.ask(&token, Command::CloseChannel { channel }).unwrap();
        }
    });
}

/// Moves on channel 0, whatever comes of it.
fn moves_until(sender: &Party, ended: &AtomicBool) {
    let token = ThreadToken::at_thread_entry();
    while !ended.load(Ordering::Acquire) {
        let sent = sender.send(&token, 0, 0, true, &[1; 128]);
        let allowed = [Refused::NoChannel, Refused::UnknownToken, Refused::PeerBlocked, Refused::PeerMemory];
        assert!(sent.is_ok() || allowed.contains(&sent.unwrap_err()), "{sent:?}");
    }
}

/// Waits until a move has arrived.
fn arrives(receiver: &Party) {
    while receiver.read(0, 128) != [1; 128] {
        std::thread::yield_now();
    }
}

/// Waits until a move that began from now on was refused.
fn is_refused(sender: &Party, token: &ThreadToken) {
    let refused = sender.statistic(token, Statistic::RefusedUnknownToken);
    while sender.statistic(token, Statistic::RefusedUnknownToken) < refused + 2 {
        std::thread::yield_now();
    }
}

/// Ends the other thread, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Law 6: what was unregistered is the receiver's own again, whatever moves are under way.
#[test]
fn nothing_arrives_once_unregistering_has_succeeded() {
    const ROUNDS: usize = 40;
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) =
        (Party::new(&mut token, "arrives once", 1), Party::new(&mut token, "arrives once", 2));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| moves_until(&sender, &ended));
        let _ends = Ends(&ended);
        for _ in 0..ROUNDS {
            let buffer = receiver.buffer(&token, 0, 0x1000, 1);
            let channel = u64::from(sender.channel(&token, buffer));
            arrives(&receiver);
            while receiver.ask(&token, Command::UnregisterDmb { token: buffer }) == Err(Outcome::Busy) {}
            receiver.memory.write_all_at(&[0; 128], 0).unwrap();
            is_refused(&sender, &token);
            assert_eq!(receiver.read(0, 128), [0; 128]);
            sender.ask(&token, Command::CloseChannel { channel }).unwrap();
        }
    });
}

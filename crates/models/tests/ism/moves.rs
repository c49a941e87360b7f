//! Moves that succeed, and what they leave behind.

use gate::ThreadToken;
use models::ism::{Command, MAX_DMB_BYTES, Outcome, Refused, Register};

use crate::party::Party;

fn pair(token: &mut ThreadToken, network: &str) -> (Party, Party) {
    (Party::new(token, network, 1), Party::new(token, network, 2))
}

#[test]
fn a_block_arrives_in_the_peers_buffer_and_nowhere_else() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = pair(&mut token, "arrives");
    let buffer = receiver.buffer(&token, 0x3000, 0x2000, 1);
    let channel = sender.channel(&token, buffer);
    let block: Vec<u8> = (0..128).collect();
    assert_eq!(sender.send(&token, channel, 0x1040, false, &block), Ok(()));
    assert_eq!(receiver.read(0x4040, 128), block);
    let mut rest = receiver.read(0, 1 << 20);
    rest[0x4040..0x40c0].fill(0);
    assert!(rest.iter().all(|byte| *byte == 0), "outside of the block");
    assert!(sender.read(0, 1 << 20).iter().all(|byte| *byte == 0), "the sender's own memory");
    assert!(!receiver.interrupted(), "a plain move signals nobody");
    assert_eq!(sender.counts(&token), [("blocks_sent", 1), ("bytes_sent", 128)]);
    assert_eq!(receiver.counts(&token), [("blocks_received", 1), ("bytes_received", 128)]);
}

#[test]
fn a_move_in_the_second_half_of_a_channel_signals() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = pair(&mut token, "signals");
    receiver.signal_area(&token);
    let _first = receiver.buffer(&token, 0, 0x1000, 1);
    let second = receiver.buffer(&token, 0x1000, 0x1000, 1);
    let channel = sender.channel(&token, second);
    assert_eq!(sender.send(&token, channel, 8, true, &[7; 16]), Ok(()));
    assert_eq!(receiver.read(0x1000, 32), [[0; 8], [7; 8], [7; 8], [0; 8]].concat());
    assert_eq!((receiver.signalled(), receiver.interrupted()), (vec![1], true));
    assert!(!sender.interrupted() && sender.signalled().is_empty());
    let sent = [("blocks_sent", 1), ("bytes_sent", 16), ("signals_sent", 1)];
    assert_eq!(sender.counts(&token), sent);
    let received = [("blocks_received", 1), ("bytes_received", 16), ("signals_received", 1)];
    assert_eq!(receiver.counts(&token), received);
}

#[test]
fn a_signal_alone_moves_nothing_and_needs_no_area() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = pair(&mut token, "alone");
    let buffer = receiver.buffer(&token, 0, 0x1000, 1);
    let channel = u64::from(sender.channel(&token, buffer));
    assert_eq!(sender.ask(&token, Command::Signal { channel }), Ok(0));
    assert!(receiver.interrupted() && receiver.signalled().is_empty());
    receiver.signal_area(&token);
    assert_eq!(sender.ask(&token, Command::Signal { channel }), Ok(0));
    assert_eq!((receiver.signalled(), receiver.interrupted()), (vec![0], true));
    receiver.ask(&token, Command::ClearSignalArea).unwrap();
    assert_eq!(receiver.register(&token, Register::SignalArea), u64::MAX);
    assert_eq!(sender.counts(&token), [("signals_sent", 2)]);
    assert_eq!(receiver.counts(&token), [("signals_received", 2)]);
    assert_eq!(receiver.read(0, 0x1000), [0; 0x1000]);
}

#[test]
fn a_function_reaches_its_own_buffers() {
    let mut token = ThreadToken::at_thread_entry();
    let one = Party::new(&mut token, "loopback", 1);
    one.signal_area(&token);
    let buffer = one.buffer(&token, 0, MAX_DMB_BYTES, 1);
    let channel = one.channel(&token, buffer);
    let last = MAX_DMB_BYTES - 8;
    assert_eq!(one.send(&token, channel, last, true, b"loopback"), Ok(()));
    assert_eq!((one.read(last, 8), one.signalled()), (b"loopback".to_vec(), vec![0]));
    let counts = [
        "blocks_sent",
        "bytes_sent",
        "signals_sent",
        "blocks_received",
        "bytes_received",
        "signals_received",
    ];
    let values = [1, 8, 1, 1, 8, 1];
    assert_eq!(one.counts(&token), counts.into_iter().zip(values).collect::<Vec<_>>());
}

#[test]
fn what_does_not_lie_within_the_buffer_is_refused_whole() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = pair(&mut token, "within");
    receiver.signal_area(&token);
    let buffer = receiver.buffer(&token, 0, 0x1000, 1);
    let channel = sender.channel(&token, buffer);
    assert_eq!(sender.send(&token, channel, 0xff8, false, &[1; 8]), Ok(()));
    for (offset, length) in
        [(0xff8, 16), (0x1000, 8), (0x2000, 128), (MAX_DMB_BYTES - 8, 8), (MAX_DMB_BYTES - 8, 16)]
    {
        for signals in [false, true] {
            // The last one would reach the next part of the window.
            let sent = sender.send(&token, channel, offset, signals, &vec![9; length]);
            assert_eq!(sent, Err(Refused::Outside), "{length} bytes at {offset:#x}");
        }
    }
    assert!(!receiver.read(0, 1 << 20).contains(&9) && receiver.signalled().is_empty());
    assert!(!receiver.interrupted());
    assert_eq!(sender.counts(&token)[2..], [("refused_outside", 10)]);
}

#[test]
fn a_sender_may_be_told_the_length_and_nothing_of_what_is_not_for_it() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = pair(&mut token, "not for it");
    let buffer = receiver.buffer(&token, 0, 0x3000, 1);
    assert_eq!(sender.ask(&token, Command::OpenChannel { token: buffer }), Ok(0x3000 << 32));
    let other = receiver.buffer(&token, 0x3000, 0x1000, 3);
    for unknown in [other, other ^ 1 << 16, other ^ 1, buffer ^ 1, buffer + (1 << 16), 0, 1] {
        let opened = sender.ask(&token, Command::OpenChannel { token: unknown });
        assert_eq!(opened, Err(Outcome::UnknownToken), "{unknown:#x}");
    }
    assert_eq!(sender.register(&token, Register::InUse), 1 << 32);
}

#[test]
fn a_buffer_can_be_on_several_mappings_that_adjoin() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = pair(&mut token, "adjoin");
    for nth in 0..2 {
        let flags = assign::DmaMapFlags(assign::DmaMapFlags::WRITE);
        receiver.map(&mut token, 0x100_0000 + nth * 0x1000, 0x1000, flags);
    }
    let register = Command::RegisterDmb { address: 0x100_0000, length: 0x2000, sender: 1 };
    let buffer = receiver.ask(&token, register).unwrap();
    let channel = sender.channel(&token, buffer);
    for (offset, byte) in [(0xf80, 1), (0x1000, 2)] {
        assert_eq!(sender.send(&token, channel, offset, false, &[byte; 128]), Ok(()));
    }
    assert_eq!((receiver.read(0xf80, 128), receiver.read(0, 128)), (vec![1; 128], vec![2; 128]));
}

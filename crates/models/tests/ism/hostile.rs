//! Consumers that do what they should not.

use assign::DmaMapFlags;
use gate::ThreadToken;
use models::ism::{COMMAND, Command, Outcome, Refused};

use crate::party::{BASE, MEMORY, Party};

#[test]
fn a_peer_that_may_not_master_the_bus_is_not_written_whatever_the_mover_may() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = (Party::new(&mut token, "master", 1), Party::new(&mut token, "master", 2));
    let buffer = receiver.buffer(&token, 0, 0x1000, 1);
    let channel = sender.channel(&token, buffer);
    receiver.command_register(&mut token, 2);
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::PeerMemory));
    receiver.command_register(&mut token, 6);
    sender.command_register(&mut token, 2);
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Ok(()), "the mover's own is not asked");
}

#[test]
fn memory_that_is_not_there_or_read_only_fails_the_move_and_nothing_else() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = (Party::new(&mut token, "memory", 1), Party::new(&mut token, "memory", 2));
    receiver.map(&mut token, 0x100_0000, 0x1000, DmaMapFlags(DmaMapFlags::READ));
    for address in [0x100_0000, 0x200_0000] {
        let register = Command::RegisterDmb { address, length: 0x1000, sender: 1 };
        let buffer = receiver.ask(&token, register).unwrap();
        let channel = sender.channel(&token, buffer);
        assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::PeerMemory));
        assert_eq!(
            receiver.ask(&token, Command::UnregisterDmb { token: buffer }),
            Ok(0),
            "nobody is left inside"
        );
    }
    assert!(!receiver.interrupted());
    assert_eq!(sender.counts(&token), [("refused_peer_memory", 2)]);
}

#[test]
fn a_signal_area_that_cannot_be_written_stops_the_move_before_its_data() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = (Party::new(&mut token, "area", 1), Party::new(&mut token, "area", 2));
    receiver.ask(&token, Command::SetSignalArea { address: 0x200_0000 }).unwrap();
    let buffer = receiver.buffer(&token, 0, 0x1000, 1);
    let channel = sender.channel(&token, buffer);
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::PeerMemory));
    assert_eq!(receiver.read(0, 8), [0; 8]);
    assert!(!receiver.interrupted());
    assert_eq!(sender.ask(&token, Command::Signal { channel: channel.into() }), Err(Outcome::PeerMemory));
    assert_eq!(sender.send(&token, channel, 0, false, &[1; 8]), Ok(()));
}

#[test]
fn a_peer_that_truncates_its_memory_hurts_itself() {
    let mut token = ThreadToken::at_thread_entry();
    let (sender, receiver) = (Party::new(&mut token, "truncates", 1), Party::new(&mut token, "truncates", 2));
    let buffer = receiver.buffer(&token, 0x2000, 0x1000, 1);
    let channel = sender.channel(&token, buffer);
    receiver.memory.set_len(0).unwrap();
    assert_eq!(sender.send(&token, channel, 0, true, &[1; 8]), Err(Refused::PeerMemory));
    assert_eq!(sender.ask(&token, Command::FindPeer { gid: 1 }), Ok(0), "the mover goes on");
}

/// Numbers from a seed (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A command that is nearly right, or noise.
fn block(numbers: &mut Numbers, token: u64) -> [u8; 32] {
    let (a, b) = (numbers.next(), numbers.next());
    let address = BASE + (a % 64) * 0x1000;
    let command = match b % 10 {
        0 => Command::SetSignalArea { address },
        1 => Command::ClearSignalArea,
        2 | 3 => Command::RegisterDmb { address, length: (a % 18) << 12, sender: b >> 8 & 3 },
        4 => Command::UnregisterDmb { token },
        5 => Command::FindPeer { gid: a % 4 },
        6 => Command::OpenChannel { token: token ^ (a % 8 / 7) << (b >> 32 & 63) },
        7 => Command::CloseChannel { channel: a % 18 },
        8 => Command::Signal { channel: a % 18 },
        _ => Command::SetSignalArea { address: a },
    };
    let mut block = command.encode(a as u32);
    if numbers.next().is_multiple_of(8) {
        // Any byte but those of the address, which may lead anywhere in the memory.
        let at = (a % 24) as usize;
        block[if at < 8 { at } else { at + 8 }] = b as u8;
    }
    block
}

/// What both do stays within what each has registered: the upper half of their memory is in nobody's buffer.
#[test]
fn two_consumers_that_store_anything_anywhere_reach_what_is_registered_and_no_more() {
    const STEPS: usize = 60_000;
    let mut token = ThreadToken::at_thread_entry();
    let parties = [Party::new(&mut token, "anything", 1), Party::new(&mut token, "anything", 2)];
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let mut tokens = vec![0];
    let mut moved = 0;
    for _ in 0..STEPS {
        let party = &parties[(numbers.next() % 2) as usize];
        let known = tokens[(numbers.next() as usize) % tokens.len()];
        match numbers.next() % 8 {
            0..4 => {
                let _maybe = party.store(&token, 0, COMMAND, &block(&mut numbers, known));
                // What names a buffer is worth keeping.
                let value = party.register(&token, models::ism::Register::AnswerValue);
                if value >> 16 != 0 {
                    tokens.insert(0, value);
                    tokens.truncate(20);
                }
            }
            4..7 => {
                let offset = numbers.next() % (2 << 20);
                let data = vec![0xee; 8 * (numbers.next() % 16) as usize];
                moved += usize::from(party.store(&token, 2, offset & !0xf07, &data).is_ok());
            }
            _ => {
                let (offset, length) = (numbers.next() % 8192, (numbers.next() % 64) as usize);
                let data = vec![numbers.next() as u8; length];
                let _maybe = party.store(&token, (numbers.next() % 6) as u8, offset, &data);
            }
        }
    }
    assert!(moved > 100, "{moved} moves: the test does not get far enough");
    for party in &parties {
        // 64 places of 4 KiB, and at most 16 pages behind the last.
        let beyond = party.read(80 * 0x1000, (MEMORY - 80 * 0x1000) as usize);
        assert!(beyond.iter().all(|byte| *byte == 0));
    }
}

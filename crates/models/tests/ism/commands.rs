//! Registers, commands and their answers.

use gate::ThreadToken;
use models::ism::{
    self, COMMAND, Command, DMB_ALIGNMENT, JoinError, MAX_CHANNELS, MAX_DMB_BYTES, MAX_DMBS, Outcome,
    Register, SIGNAL_AREA_BYTES,
};
use pci_core::{AccessError, BlockRefused, Errno};
use std::sync::Arc;

use crate::party::{AREA, BASE, Party, config};

#[test]
fn the_registers_tell_what_the_function_is_in_loads_of_any_width() {
    let mut token = ThreadToken::at_thread_entry();
    let party = Party::new(&mut token, "registers", 0x1122_3344_5566_7788);
    assert_eq!(party.load(&token, 0, 0, 4), b"ISMP");
    assert_eq!(party.load(&token, 0, 4, 2), ism::VERSION.to_le_bytes());
    assert_eq!(party.register(&token, Register::Gid), 0x1122_3344_5566_7788);
    assert_eq!(party.load(&token, 0, 9, 1), [0x77]);
    assert_eq!(party.load(&token, 0, 6, 8), [0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33]);
    assert_eq!(party.register(&token, Register::Limits), 64 | 8 << 16 | 65536 << 32);
    assert_eq!(party.register(&token, Register::SignalArea), u64::MAX);
    let all = party.load(&token, 0, 0, 4096);
    assert!(all[COMMAND as usize..ism::STATISTICS as usize].iter().all(|byte| *byte == 0));
    assert_eq!(party.load(&token, 2, 0, 8), [0xff; 8], "peers are written, never read");
}

#[test]
fn plain_accesses_and_single_stores_are_refused() {
    let mut token = ThreadToken::at_thread_entry();
    let party = Party::new(&mut token, "plain", 1);
    let mut data = [0; 8];
    for (region, offset) in [(0, 0), (2, 0)] {
        let read = party.assignment.region_read(&mut token, region, offset, &mut data);
        assert_eq!(read.unwrap_err().errno, Errno::EIO);
        assert_eq!(data, [0xff; 8]);
        let written = party.assignment.region_write(&mut token, region, offset, &data);
        assert_eq!(written.unwrap_err().errno, Errno::EIO);
        let pass = party.function().handle().try_enter(&token, gate::AccessKind::Bar).unwrap();
        let bar = pci_core::BarIndex::new(region as u8).unwrap();
        let stored = party.function().store_bar(&pass, bar, offset, &data);
        assert!(matches!(stored, Err(AccessError::NotPlain(_))));
    }
    assert_eq!(party.counts(&token), []);
}

#[test]
fn a_block_that_is_no_command_is_refused_and_counted() {
    let mut token = ThreadToken::at_thread_entry();
    let party = Party::new(&mut token, "no command", 1);
    let block = Command::ClearSignalArea.encode(1);
    let long = [block, block].concat();
    for (offset, data) in [(COMMAND, &long[..]), (COMMAND, &block[..24]), (0, &block), (COMMAND + 8, &block)]
    {
        let refused = party.store(&token, 0, offset, data);
        assert!(matches!(refused, Err(AccessError::Block(BlockRefused::NotAccepted))), "{offset:#x}");
    }
    assert_eq!(party.register(&token, Register::Answer), 0, "nothing was carried out");
    assert_eq!(party.counts(&token), [("refused_malformed", 4)]);
}

#[test]
fn a_command_with_bad_arguments_changes_nothing() {
    let mut token = ThreadToken::at_thread_entry();
    let party = Party::new(&mut token, "bad", 1);
    let good = (BASE, DMB_ALIGNMENT, 1);
    let bad = [
        (BASE + 8, DMB_ALIGNMENT, 1),
        (BASE, 0, 1),
        (BASE, DMB_ALIGNMENT + 8, 1),
        (BASE, MAX_DMB_BYTES + DMB_ALIGNMENT, 1),
        (BASE, u64::MAX - 0xfff, 1),
        (u64::MAX - 0xfff, DMB_ALIGNMENT, 1),
        (BASE, DMB_ALIGNMENT, 0),
    ];
    for (address, length, sender) in bad {
        let register = Command::RegisterDmb { address, length, sender };
        assert_eq!(party.ask(&token, register), Err(Outcome::Invalid), "{register:?}");
    }
    let (address, length, sender) = good;
    assert!(party.ask(&token, Command::RegisterDmb { address, length, sender }).is_ok());
    for address in [BASE + 4, BASE + AREA + 128, u64::MAX - 255, u64::MAX] {
        assert_eq!(
            party.ask(&token, Command::SetSignalArea { address }),
            Err(Outcome::Invalid),
            "{address:#x}"
        );
    }
    for channel in [0, 16, 1 << 16, 1 << 32, u64::MAX] {
        assert_eq!(party.ask(&token, Command::CloseChannel { channel }), Err(Outcome::NoChannel));
        assert_eq!(party.ask(&token, Command::Signal { channel }), Err(Outcome::NoChannel));
    }
    assert_eq!(party.register(&token, Register::InUse), 1);
    assert_eq!(party.register(&token, Register::SignalArea), u64::MAX);
    assert!(AREA.is_multiple_of(SIGNAL_AREA_BYTES));
}

#[test]
fn buffers_and_channels_are_bounded() {
    let mut token = ThreadToken::at_thread_entry();
    let party = Party::new(&mut token, "bounded", 1);
    let register = Command::RegisterDmb { address: BASE, length: 4096, sender: 1 };
    let buffers: Vec<u64> = (0..MAX_DMBS).map(|_| party.ask(&token, register).unwrap()).collect();
    assert_eq!(party.ask(&token, register), Err(Outcome::NoRoom));
    let open = Command::OpenChannel { token: buffers[0] };
    for channel in 0..MAX_CHANNELS {
        assert_eq!(party.ask(&token, open), Ok(u64::from(channel) | 4096 << 32));
    }
    assert_eq!(party.ask(&token, open), Err(Outcome::NoRoom));
    assert_eq!(party.register(&token, Register::InUse), 64 | 8 << 32);
    assert_eq!(party.ask(&token, Command::UnregisterDmb { token: buffers[9] }), Ok(0));
    let again = party.ask(&token, register).unwrap();
    assert!(!buffers.contains(&again), "a token is not given again");
    assert_eq!(party.ask(&token, Command::UnregisterDmb { token: buffers[9] }), Err(Outcome::UnknownToken));
}

#[test]
fn peers_are_found_by_their_gids() {
    let mut token = ThreadToken::at_thread_entry();
    let one = Party::new(&mut token, "found", 1);
    assert_eq!(one.ask(&token, Command::FindPeer { gid: 2 }), Err(Outcome::NoPeer));
    let mut two = Party::new(&mut token, "found", 2);
    assert_eq!(one.ask(&token, Command::FindPeer { gid: 2 }), Ok(0));
    assert_eq!(one.ask(&token, Command::FindPeer { gid: 1 }), Ok(0));
    // Not by dropping it: another thread would have the function until it has detached.
    two.attached.take().unwrap().detach(&mut token);
    drop(two);
    assert_eq!(one.ask(&token, Command::FindPeer { gid: 2 }), Err(Outcome::NoPeer));
}

#[test]
fn a_gid_belongs_to_one_function_at_a_time() {
    let mut token = ThreadToken::at_thread_entry();
    let one = Party::new(&mut token, "gid", 1);
    let error = ism::build("other", &config("gid", 1), Arc::new(())).err();
    assert_eq!(error, Some(JoinError::Taken(1).into()));
    assert!(error.unwrap().to_string().contains("0x1"));
    assert_eq!(ism::build("other", &config("gid", 0), Arc::new(())).err(), Some(JoinError::Zero.into()));
    assert!(ism::build("elsewhere", &config("another network", 1), Arc::new(())).is_ok());
    // Removed, and somebody still has it: the next device sits down all the same.
    let deadline = gate::Deadline::after(std::time::Duration::from_secs(10));
    let _retired = one.function().gate().retire(&mut token, deadline);
    let next = ism::build("next", &config("gid", 1), Arc::new(())).unwrap();
    assert!(!next.is_gone());
}

#[test]
fn a_reset_forgets_everything_but_who_the_function_is() {
    let mut token = ThreadToken::at_thread_entry();
    let party = Party::new(&mut token, "forgets", 5);
    party.signal_area(&token);
    let buffer = party.buffer(&token, 0, 4096, 5);
    let channel = party.channel(&token, buffer);
    assert!(party.send(&token, channel, 0, true, &[1; 8]).is_ok());
    assert!(party.send(&token, channel, 4096, true, &[1; 8]).is_err());
    party.assignment.reset(&mut token).unwrap();
    for register in [Register::InUse, Register::LastRefused, Register::Answer, Register::AnswerValue] {
        assert_eq!(party.register(&token, register), 0, "{register:?}");
    }
    assert_eq!(party.register(&token, Register::SignalArea), u64::MAX);
    assert_eq!(party.register(&token, Register::Gid), 5);
    assert_eq!(party.counts(&token), []);
    assert_eq!(party.ask(&token, Command::OpenChannel { token: buffer }), Err(Outcome::UnknownToken));
}

#[test]
fn the_operator_is_told_what_is_in_use() {
    let mut token = ThreadToken::at_thread_entry();
    let party = Party::new(&mut token, "told", 5);
    party.buffer(&token, 0, 4096, 5);
    let facts = party.function().device().describe();
    let fact = |name: &str| facts.iter().find(|(fact, _)| fact == name).unwrap().1.clone();
    assert_eq!((fact("network"), fact("gid")), ("told".into(), "0x0000000000000005".into()));
    assert_eq!((fact("buffers"), fact("channels"), fact("commands")), ("1".into(), "0".into(), "1".into()));
}

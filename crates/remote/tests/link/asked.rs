//! What a back end asks of this side, at rest and in the middle of a call.

use std::sync::Arc;
use std::sync::mpsc::channel;

use gate::ThreadToken;
use remote::link::{Commands, LinkError, Loss};
use rustix::io::Errno;
use vfio_user::codec::{Command, DmaAccess};
use zerocopy::IntoBytes;

use crate::rig::sides::BASE;
use crate::rig::{Conversation, LONG, Memory, Plain, Rig, Told};

/// Reads and writes of every kind, good and bad. Nothing: the client has left.
fn accesses(conversation: &mut Conversation) -> Option<()> {
    assert_eq!(conversation.dma_read(BASE + 8, 4)?, Ok(vec![1, 2, 3, 4]));
    assert_eq!(conversation.dma_write(BASE + 0x100, &[9; 5])?, Ok(()));
    assert_eq!(conversation.dma_read(BASE + 0xff, 7)?, Ok(vec![0, 9, 9, 9, 9, 9, 0]));
    assert_eq!(conversation.dma_write(BASE, &vec![1; 1 << 20])?, Ok(()));
    assert_eq!(conversation.dma_read(BASE, 1 << 20)?, Ok(vec![1; 1 << 20]));
    for (address, count, errno) in [
        (0, 4, Errno::FAULT),
        (BASE - 1, 4, Errno::FAULT),
        (BASE + (2 << 20) - 2, 4, Errno::FAULT),
        (BASE, 0, Errno::INVAL),
        (BASE, (1 << 20) + 1, Errno::TOOBIG),
        (BASE, u64::MAX, Errno::TOOBIG),
        (u64::MAX, 2, Errno::INVAL),
        (u64::MAX - 2, 4, Errno::INVAL),
    ] {
        assert_eq!(conversation.dma_read(address, count)?, Err(errno), "{address:#x} {count:#x}");
    }
    assert_eq!(conversation.dma_write(0, &[1; 4])?, Err(Errno::FAULT));
    assert_eq!(conversation.dma_write(u64::MAX, &[1; 4])?, Err(Errno::INVAL));
    for (command, payload, errno) in [
        (Command::DmaRead, vec![0; 15], Errno::INVAL),
        (Command::DmaRead, DmaAccess { address: BASE, count: 4 }.as_bytes().repeat(2), Errno::INVAL),
        (Command::DmaWrite, vec![], Errno::INVAL),
        (Command::DmaWrite, DmaAccess { address: BASE, count: 4 }.as_bytes().to_vec(), Errno::INVAL),
        (Command::RegionRead, vec![0; 16], Errno::OPNOTSUPP),
        (Command::Version, vec![], Errno::OPNOTSUPP),
    ] {
        let bytes = conversation.command(command, &payload);
        conversation.send(&bytes);
        assert_eq!(conversation.answer()?, Err(errno), "{command:?} {payload:?}");
    }
    Some(())
}

#[test]
fn a_link_at_rest_serves_accesses_to_memory() {
    let mut token = ThreadToken::at_thread_entry();
    let (done, wait) = channel();
    let rig = Rig::negotiated(move |conversation| {
        done.send(accesses(conversation)).unwrap();
        conversation.wait_for_the_end();
    });
    let memory = Arc::new(Memory::default());
    memory.fill(BASE + 8, &[1, 2, 3, 4]);
    let told = Arc::new(Told::default());
    let link = rig.link_within(&mut token, LONG, &memory, &told).unwrap();
    assert_eq!(wait.recv_timeout(LONG).unwrap(), Some(()));
    assert_eq!((link.loss(), memory.bytes(BASE, 1)), (None, vec![1]));
}

#[test]
fn a_call_serves_accesses_to_memory_before_its_answer() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::negotiated(|conversation| {
        let mut plain = Plain::default();
        while let Some(request) = conversation.receive() {
            if accesses(conversation).is_none() {
                return;
            }
            let reply = plain.answer(request);
            conversation.send(&reply);
        }
    });
    let memory = Arc::new(Memory::default());
    let link = rig.link_within(&mut token, LONG, &memory, &Arc::new(Told::default())).unwrap();
    for _ in 0..3 {
        memory.fill(BASE, &[0; 0x200]);
        memory.fill(BASE + 8, &[1, 2, 3, 4]);
        link.write(&mut token, 0, 0, &[1; 4]).unwrap();
    }
    assert_eq!(memory.accesses(), (9, 6));
}

#[test]
fn a_posted_access_is_done_and_not_answered() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::negotiated(|conversation| {
        for (address, command) in [(BASE, 12), (0, 12), (BASE, 11)] {
            let access = DmaAccess { address, count: 4 };
            let mut bytes = conversation.command(Command::DmaWrite, &[access.as_bytes(), &[5; 4]].concat());
            (bytes[2], bytes[8]) = (command, 0x10);
            conversation.send(&bytes);
        }
        Plain::default().serve_until(conversation, |request| {
            assert_eq!(request.header.flags & 0xf, 0, "an answer that nobody wants");
            false
        });
    });
    let memory = Arc::new(Memory::default());
    let link = rig.link_within(&mut token, LONG, &memory, &Arc::new(Told::default())).unwrap();
    link.reset(&mut token).unwrap();
    assert_eq!((memory.bytes(BASE, 4), memory.accesses()), (vec![5; 4], (0, 1)));
}

#[test]
fn a_stream_of_accesses_at_rest_keeps_no_caller_out() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::negotiated(|conversation| {
        let mut plain = Plain::default();
        let mut out = 0;
        let access = DmaAccess { address: BASE, count: 4 };
        loop {
            // Always some that are not answered, and never so many that a call takes them for a flood.
            while out < 200 {
                let command = conversation.command(Command::DmaRead, access.as_bytes());
                if !conversation.send(&command) {
                    return;
                }
                out += 1;
            }
            let Some(answer) = conversation.answer() else { return };
            answer.unwrap();
            out -= 1;
            while let Some(request) = conversation.early.pop_front() {
                let reply = plain.answer(request);
                conversation.send(&reply);
            }
        }
    });
    let memory = Arc::new(Memory::default());
    let link = rig.link_within(&mut token, LONG, &memory, &Arc::new(Told::default())).unwrap();
    for _ in 0..50 {
        link.read(&mut token, 0, 0, &mut [0; 4]).unwrap();
    }
    // The keeper goes on with it when nobody calls.
    let before = memory.accesses().0;
    while memory.accesses().0 < before + 1000 {
        std::thread::yield_now();
    }
    assert_eq!(link.loss(), None);
}

#[test]
fn a_back_end_that_waits_for_memory_and_reads_nothing_else_does_not_lock_up_with_posted_writes() {
    let mut token = ThreadToken::at_thread_entry();
    let memory = Arc::new(Memory::default());
    let served = Arc::clone(&memory);
    let (full, is_full) = channel::<()>();
    let rig = Rig::negotiated(move |conversation| {
        is_full.recv().unwrap();
        let access = DmaAccess { address: BASE, count: 4 };
        let command = conversation.command(Command::DmaRead, access.as_bytes());
        conversation.send(&command);
        // The stream is full of posted writes. It looks at none of them before it has its memory.
        while served.accesses().0 == 0 {
            std::thread::yield_now();
        }
        assert_eq!(conversation.answer().unwrap(), Ok([access.as_bytes(), &[0; 4]].concat()));
        Plain::default().serve_until(conversation, |_| false);
    });
    let link = rig.link_within(&mut token, LONG, &memory, &Arc::new(Told::default())).unwrap();
    full.send(()).unwrap();
    for _ in 0..500 {
        link.post(&mut token, 0, 0, &[1; 4096]).unwrap();
    }
    let mut data = [0; 4];
    link.read(&mut token, 0, 0, &mut data).unwrap();
    assert_eq!(data, [1; 4]);
}

#[test]
fn memory_that_is_asked_for_and_not_taken_does_not_pile_up() {
    let mut token = ThreadToken::at_thread_entry();
    let (done, wait) = channel::<()>();
    let rig = Rig::negotiated(move |conversation| {
        // A megabyte each, of which none is read.
        let access = DmaAccess { address: BASE, count: 1 << 20 };
        let command = conversation.command(Command::DmaRead, access.as_bytes());
        conversation.send(&command.repeat(300));
        wait.recv().unwrap();
    });
    let memory = Arc::new(Memory::default());
    let told = Arc::new(Told::default());
    let link = rig.link_within(&mut token, crate::cases::SHORT, &memory, &told).unwrap();
    assert_eq!(told.wait(), Loss::Unread);
    assert!(memory.accesses().0 <= 2, "{:?}", memory.accesses());
    assert_eq!(link.reset(&mut token), Err(LinkError::Lost(Loss::Unread)));
    done.send(()).unwrap();
}

/// Memory that is not what it seems.
struct Broken;

impl Commands for Broken {
    fn dma_read(&self, _: &mut ThreadToken, _: u64, _: &mut [u8]) -> Result<(), Errno> {
        panic!("a defect of this side, which the test wants")
    }

    fn dma_write(&self, _: &mut ThreadToken, _: u64, _: &[u8]) -> Result<(), Errno> {
        Ok(())
    }
}

#[test]
fn a_panic_of_this_side_ends_the_link_and_strands_nobody() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::negotiated(|conversation| {
        let _ = conversation.dma_read(BASE, 4);
        conversation.wait_for_the_end();
    });
    let told = Arc::new(Told::default());
    let options = remote::link::LinkOptions { reply_timeout: LONG, ..Default::default() };
    let link =
        remote::link::Link::connect(&mut token, rig.path(), options, Arc::new(Broken), told.clone()).unwrap();
    let lost = Loss::Cut("a panic on this side");
    assert_eq!(told.wait(), lost);
    assert_eq!(link.reset(&mut token), Err(LinkError::Lost(lost)));
}

//! Back ends that lie.

use std::sync::Arc;

use gate::ThreadToken;
use remote::link::{Link, LinkError, Loss};
use rustix::io::Errno;
use vfio_user::codec::{Command, DmaMap, SetIrqsFlags};

use crate::cases::{SHORT, all, connect, judge, play, versions};
use crate::rig::{LONG, Memory, Plain, Rig, Told};

#[test]
fn a_lie_is_found_out_and_told_once() {
    let mut token = ThreadToken::at_thread_entry();
    for case in all() {
        play(&mut token, &case);
    }
}

#[test]
fn a_link_is_made_only_with_who_speaks_the_protocol() {
    let mut token = ThreadToken::at_thread_entry();
    for (name, act, end) in versions() {
        connect(&mut token, name, act, end);
    }
}

#[test]
fn who_does_not_answer_the_first_message_is_given_up() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::start(|conversation| conversation.wait_for_the_end());
    let told = Arc::new(Told::default());
    let link = rig.link_within(&mut token, SHORT, &Arc::new(Memory::default()), &told);
    let hung = Loss::Hung { command: Command::Version };
    judge("silence", crate::cases::End::Lost(hung), link.map(drop));
    assert_eq!(told.losses(), []);
}

/// Asks for one thing of each kind.
fn everything(token: &mut ThreadToken, link: &Link) -> Result<(), LinkError> {
    link.device_info(token)?;
    link.region_info(token, 0)?;
    link.irq_info(token, 0)?;
    link.read(token, 0, 0, &mut [0; 4])?;
    link.write(token, 0, 0, &[0; 4])?;
    link.post(token, 0, 0, &[0; 4])?;
    link.dma_map_raw(token, DmaMap { argsz: 32, flags: 3, size: 4096, ..DmaMap::default() }, None)?;
    link.dma_unmap(token, 0, 4096)?;
    link.irq_action(token, 0, 0, 1, SetIrqsFlags::ACTION_MASK)?;
    link.disable_irqs(token, 0)?;
    link.post_reset(token)?;
    link.reset(token)
}

#[test]
fn a_back_end_may_leave_at_any_message() {
    let mut token = ThreadToken::at_thread_entry();
    for leaves_at in 0..13 {
        let rig = Rig::negotiated(move |conversation| {
            let mut left = leaves_at;
            Plain::default().serve_until(conversation, |_| {
                left -= 1;
                left < 0
            });
        });
        let told = Arc::new(Told::default());
        let link = rig.link(&mut token, &told);
        let outcome = everything(&mut token, &link);
        if leaves_at == 12 {
            outcome.unwrap();
            drop(link);
            continue;
        }
        assert_eq!(outcome, Err(LinkError::Lost(Loss::Closed)), "at {leaves_at}");
        assert_eq!(told.wait(), Loss::Closed);
        drop(link);
        assert_eq!(told.losses(), [Loss::Closed], "at {leaves_at}");
    }
}

#[test]
fn a_back_end_may_refuse_everything() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::negotiated(|conversation| {
        while let Some(request) = conversation.receive() {
            if !request.header.no_reply() {
                let refusal = request.refusal(Errno::PERM);
                conversation.send(&refusal);
            }
        }
    });
    let told = Arc::new(Told::default());
    let link = rig.link(&mut token, &told);
    for _ in 0..3 {
        assert!(matches!(everything(&mut token, &link), Err(LinkError::Refused { .. })));
        link.post(&mut token, 0, 0, &[0; 4]).unwrap();
        assert!(matches!(link.reset(&mut token), Err(LinkError::Refused { errno: Errno::PERM, .. })));
    }
    // But not a reset that nobody waits for.
    link.post_reset(&mut token).unwrap();
    let refused = Loss::Refused { command: Command::DeviceReset, errno: Errno::PERM };
    assert_eq!(told.wait(), refused);
    assert_eq!(link.reset(&mut token), Err(LinkError::Lost(refused)));
}

#[test]
fn who_does_not_read_is_given_up() {
    let mut token = ThreadToken::at_thread_entry();
    let (leave, stay) = std::sync::mpsc::channel::<()>();
    let rig = Rig::negotiated(move |_| {
        let _ = stay.recv();
    });
    let told = Arc::new(Told::default());
    let memory = Arc::new(Memory::default());
    let link = rig.link_within(&mut token, SHORT, &memory, &told).unwrap();
    let error = (0..100_000).find_map(|_| link.post(&mut token, 0, 0, &[0; 4096]).err());
    assert_eq!(error, Some(LinkError::Lost(Loss::Unread)));
    assert_eq!(told.losses(), [Loss::Unread]);
    leave.send(()).unwrap();
}

#[test]
fn what_nobody_asked_for_ends_the_link_at_rest() {
    let mut token = ThreadToken::at_thread_entry();
    let unasked = Loss::Nonsense("it sent something that nobody asked for");
    let unfinished = Loss::Nonsense("it began a message and did not end it");
    for (bytes, patience, expected) in [
        (vec![1, 0, 9, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], LONG, unasked),
        (vec![1, 0, 9, 0, 16, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0], LONG, unasked),
        (vec![0xff; 64], LONG, unasked),
        (vec![0; 64], LONG, unasked),
        (vec![1, 0, 11, 0, 32, 0, 0], SHORT, unfinished),
        (vec![1, 0, 11, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], SHORT, unfinished),
    ] {
        let rig = Rig::negotiated(move |conversation| {
            conversation.send(&bytes);
            conversation.wait_for_the_end();
        });
        let told = Arc::new(Told::default());
        let memory = Arc::new(Memory::default());
        // It may be found out by the time that somebody has the link.
        let _link = rig.link_within(&mut token, patience, &memory, &told).unwrap();
        assert_eq!(told.wait(), expected);
    }
}

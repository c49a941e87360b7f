//! Many callers at one connection.

use std::sync::Arc;

use gate::ThreadToken;

use crate::rig::{Conversation, Rig, Told};

#[test]
fn callers_at_the_same_time_each_get_their_own_answer() {
    const THREADS: u32 = 6;
    const ROUNDS: u32 = 200;
    let rig = Rig::plain();
    let link = rig.link(&mut ThreadToken::at_thread_entry(), &Arc::new(Told::default()));
    std::thread::scope(|scope| {
        for nth in 0..THREADS {
            let link = &link;
            scope.spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                let offset = u64::from(nth) * 4;
                for round in 0..ROUNDS {
                    let value = (nth << 16 | round).to_le_bytes();
                    if round % 2 == 0 {
                        link.post(&mut token, 0, offset, &value).unwrap();
                    } else {
                        link.write(&mut token, 0, offset, &value).unwrap();
                    }
                    let mut read = [0; 4];
                    link.read(&mut token, 0, offset, &mut read).unwrap();
                    assert_eq!(read, value);
                }
            });
        }
    });
    assert_eq!(link.loss(), None);
}

/// Answers reads with how many commands came before.
fn counting(conversation: &mut Conversation) {
    let mut count = 0_u32;
    while let Some(request) = conversation.receive() {
        if !request.header.no_reply() {
            let answer = match request.payload.is_empty() {
                // A reset.
                true => Vec::new(),
                false => [&request.payload[..16], &count.to_le_bytes()].concat(),
            };
            conversation.send(&request.reply(&answer));
        }
        count += 1;
    }
}

#[test]
fn posted_writes_and_resets_stay_in_order_with_reads() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::negotiated(counting);
    let link = rig.link(&mut token, &Arc::new(Told::default()));
    let mut sent = 0;
    for round in 0..300 {
        for _ in 0..round % 5 {
            link.post(&mut token, 0, 0, &[0; 4]).unwrap();
            sent += 1;
        }
        if round % 7 == 0 {
            link.post_reset(&mut token).unwrap();
            sent += 1;
        }
        let mut before = [0; 4];
        link.read(&mut token, 0, 0, &mut before).unwrap();
        assert_eq!(u32::from_le_bytes(before), sent);
        sent += 1;
    }
}

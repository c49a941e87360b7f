//! How a link ends, from either side.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use gate::ThreadToken;
use remote::link::{LinkError, Loss};
use vfio_user::codec::Command;

use crate::cases::SHORT;
use crate::rig::{LONG, Memory, Plain, Rig, Told};

const CUT: Loss = Loss::Cut("the test wants it");

#[test]
fn a_back_end_that_leaves_while_nobody_calls_is_missed() {
    let mut token = ThreadToken::at_thread_entry();
    for rests in [false, true] {
        let (leave, left) = channel::<()>();
        let rig = Rig::negotiated(move |conversation| {
            Plain::default().serve_until(conversation, |request| request.header.command == 13);
            left.recv().unwrap();
        });
        let told = Arc::new(Told::default());
        let link = rig.link(&mut token, &told);
        if !rests {
            link.read(&mut token, 0, 0, &mut [0; 4]).unwrap();
        }
        link.post_reset(&mut token).unwrap();
        leave.send(()).unwrap();
        assert_eq!(told.wait(), Loss::Closed);
        assert_eq!(link.loss(), Some(Loss::Closed));
        drop(link);
        assert_eq!(told.losses(), [Loss::Closed]);
    }
}

#[test]
fn an_answer_that_came_before_the_end_counts() {
    let mut token = ThreadToken::at_thread_entry();
    for _ in 0..50 {
        let rig = Rig::negotiated(|conversation| {
            let Some(request) = conversation.receive() else { return };
            let reply = Plain::default().answer(request);
            conversation.send(&reply);
        });
        let told = Arc::new(Told::default());
        let link = rig.link(&mut token, &told);
        link.read(&mut token, 0, 0, &mut [0; 4]).unwrap();
        assert_eq!(told.wait(), Loss::Closed);
    }
}

#[test]
fn a_cut_ends_whoever_is_inside_or_in_line() {
    let (asked, is_asked) = channel();
    let rig = Rig::negotiated(move |conversation| {
        conversation.receive();
        asked.send(()).unwrap();
        conversation.wait_for_the_end();
    });
    let told = Arc::new(Told::default());
    let mut token = ThreadToken::at_thread_entry();
    let link = rig.link(&mut token, &told);
    std::thread::scope(|scope| {
        let reset = || link.reset(&mut ThreadToken::at_thread_entry());
        let post = || {
            let mut token = ThreadToken::at_thread_entry();
            (0..).find_map(|_| link.post(&mut token, 0, 0, &[0; 4]).err())
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(reset)).collect();
        is_asked.recv().unwrap();
        let poster = scope.spawn(post);
        let begun = Instant::now();
        link.cut(CUT);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Err(LinkError::Lost(CUT)));
        }
        assert_eq!(poster.join().unwrap(), Some(LinkError::Lost(CUT)));
        assert!(begun.elapsed() < LONG / 2);
    });
    link.cut(Loss::Closed);
    assert_eq!((link.loss(), told.losses()), (Some(CUT), vec![CUT]));
}

#[test]
fn cuts_at_the_same_time_are_one() {
    let rig = Rig::plain();
    let mut token = ThreadToken::at_thread_entry();
    for _ in 0..50 {
        let told = Arc::new(Told::default());
        let link = rig.link(&mut token, &told);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| link.cut(CUT));
            }
            scope.spawn(|| {
                let mut token = ThreadToken::at_thread_entry();
                while link.read(&mut token, 0, 0, &mut [0; 4]).is_ok() {}
            });
        });
        drop(link);
        assert_eq!(told.losses(), [CUT]);
    }
}

#[test]
fn a_link_that_is_let_go_of_tells_nobody_and_the_back_end_sees_it_close() {
    let mut token = ThreadToken::at_thread_entry();
    let (gone, is_gone) = channel();
    let rig = Rig::start(move |conversation| {
        Plain::default().serve(conversation);
        gone.send(()).unwrap();
    });
    let told = Arc::new(Told::default());
    let memory = Arc::new(Memory::default());
    let link = rig.link_within(&mut token, LONG, &memory, &told).unwrap();
    link.read(&mut token, 0, 0, &mut [0; 4]).unwrap();
    drop(link);
    is_gone.recv_timeout(LONG).unwrap();
    assert_eq!(told.losses(), []);
    assert_eq!((Arc::strong_count(&told), Arc::strong_count(&memory)), (1, 1), "both are let go of at once");
}

#[test]
fn a_lost_link_lets_go_of_memory_and_watch() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::plain();
    let (told, memory) = (Arc::new(Told::default()), Arc::new(Memory::default()));
    let link = rig.link_within(&mut token, LONG, &memory, &told).unwrap();
    // The keeper may have the connection at the moment, and gives it back.
    link.cut(CUT);
    while (Arc::strong_count(&told), Arc::strong_count(&memory)) != (1, 1) {
        std::thread::yield_now();
    }
    assert_eq!(link.loss(), Some(CUT));
}

#[test]
fn a_posted_reset_is_answered_to_whoever_reads_next() {
    let mut token = ThreadToken::at_thread_entry();
    let (give, take) = channel();
    let rig = Rig::start(move |conversation| {
        let mut plain = Plain::default();
        plain.serve(conversation);
        give.send(plain.resets).unwrap();
    });
    let told = Arc::new(Told::default());
    let link = rig.link_within(&mut token, LONG, &Arc::new(Memory::default()), &told).unwrap();
    for _ in 0..10 {
        // Several at once, a reader behind some of them; and more than may be out, if nobody took them.
        for _ in 0..5 {
            link.post_reset(&mut token).unwrap();
        }
        link.read(&mut token, 0, 0, &mut [0; 4]).unwrap();
    }
    drop(link);
    assert_eq!((take.recv_timeout(LONG).unwrap(), told.losses()), (50, vec![]));
}

#[test]
fn a_posted_reset_that_is_not_answered_ends_the_link_at_rest() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::negotiated(|conversation| conversation.wait_for_the_end());
    let told = Arc::new(Told::default());
    let link = rig.link_within(&mut token, SHORT, &Arc::new(Memory::default()), &told).unwrap();
    link.post_reset(&mut token).unwrap();
    assert_eq!(told.wait(), Loss::Hung { command: Command::DeviceReset });
}

#[test]
fn a_call_behind_a_reset_that_hangs_says_that_it_was_the_reset() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::negotiated(|conversation| conversation.wait_for_the_end());
    let told = Arc::new(Told::default());
    let link = rig.link_within(&mut token, SHORT, &Arc::new(Memory::default()), &told).unwrap();
    link.post_reset(&mut token).unwrap();
    let hung = Loss::Hung { command: Command::DeviceReset };
    assert_eq!(link.read(&mut token, 0, 0, &mut [0; 4]), Err(LinkError::Lost(hung)));
}

#[test]
fn many_callers_of_a_back_end_that_hangs_are_all_released_within_one_patience() {
    let rig = Rig::negotiated(|conversation| conversation.wait_for_the_end());
    let told = Arc::new(Told::default());
    let mut token = ThreadToken::at_thread_entry();
    let patience = Duration::from_millis(400);
    let link = rig.link_within(&mut token, patience, &Arc::new(Memory::default()), &told).unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let read = || link.read(&mut ThreadToken::at_thread_entry(), 0, 0, &mut [0; 4]);
            scope.spawn(move || assert!(matches!(read(), Err(LinkError::Lost(Loss::Hung { .. })))));
        }
    });
    // One after the other they would take 8 s.
    assert!(begun.elapsed() < patience * 10, "{:?}", begun.elapsed());
    assert_eq!(told.losses().len(), 1);
}

#[test]
fn a_link_that_is_made_to_hang_hangs() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::plain();
    let told = Arc::new(Told::default());
    let link = rig.link_within(&mut token, SHORT, &Arc::new(Memory::default()), &told).unwrap();
    link.read(&mut token, 0, 0, &mut [0; 4]).unwrap();
    link.hang();
    link.post(&mut token, 0, 0, &[1; 4]).unwrap();
    link.post_reset(&mut token).unwrap();
    assert_eq!(told.losses(), []);
    let hung = Loss::Hung { command: Command::RegionRead };
    assert_eq!(link.read(&mut token, 0, 0, &mut [0; 4]), Err(LinkError::Lost(hung)));
    assert_eq!(link.post(&mut token, 0, 0, &[1; 4]), Err(LinkError::Lost(hung)));
    assert_eq!(told.losses(), [hung]);
}

#[test]
fn a_cut_ends_a_call_that_is_made_to_hang() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::plain();
    let link = rig.link(&mut token, &Arc::new(Told::default()));
    link.hang();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| link.reset(&mut ThreadToken::at_thread_entry()));
        link.cut(CUT);
        assert_eq!(call.join().unwrap(), Err(LinkError::Lost(CUT)));
    });
}

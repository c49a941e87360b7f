//! A value that is replaced while it is read.

use super::*;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Fails the model if it is read after, or while, it is dropped or changed.
struct Watched(Arc<Device>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.reset();
    }
}

fn watched() -> Watched {
    Watched(Device::new())
}

fn read_beside_a_replacement<const FENCED: bool>(publish: fn(Watched) -> Published<Watched, FENCED>) {
    two_threads(move || {
        let value = Arc::new(publish(watched()));
        let same = value.clone();
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            same.read(&token).0.access();
        });
        let mut token = ThreadToken::at_thread_entry();
        drop(value.replace(&mut token, watched(), ahead()).unwrap_or_else(|_| panic!("waits")));
        reader.join().unwrap();
    });
}

#[test]
fn a_value_that_is_read_is_not_given_back() {
    read_beside_a_replacement(Published::new);
}

#[test]
fn a_value_whose_readers_pay_for_the_barrier_is_not_given_back_while_it_is_read() {
    read_beside_a_replacement(Published::fenced);
}

/// A value that says when it was dropped, by something at which loom can switch: a `Watched` that is read right after the
/// release of a lock would pass for ordered by that lock.
struct Flagged(std::sync::Arc<loom::sync::atomic::AtomicBool>);

impl Flagged {
    fn new() -> Flagged {
        Flagged(std::sync::Arc::new(loom::sync::atomic::AtomicBool::new(false)))
    }
}

impl Drop for Flagged {
    fn drop(&mut self) {
        self.0.store(true, Release);
    }
}

#[test]
fn a_value_read_inside_a_pass_beyond_the_slots_of_its_thread_is_not_given_back() {
    two_threads(|| {
        let (gate, value) = (Gate::new("f"), Arc::new(Published::new(Flagged::new())));
        let (handle, same) = (gate.handle(), value.clone());
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let pass = handle.try_enter(&token, CONFIG).unwrap();
            let reading = same.read(pass.token());
            let dropped = reading.0.clone();
            assert!(!dropped.load(Acquire), "given back while it is read");
        });
        let mut token = ThreadToken::at_thread_entry();
        drop(value.replace(&mut token, Flagged::new(), ahead()).unwrap_or_else(|_| panic!("waits")));
        reader.join().unwrap();
    });
}

#[test]
fn a_node_that_is_used_again_is_not_mixed_up() {
    two_threads(|| {
        let value = Arc::new(Published::new(watched()));
        let same = value.clone();
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            same.read(&token).0.access();
        });
        let mut token = ThreadToken::at_thread_entry();
        for _ in 0..2 {
            drop(value.replace(&mut token, watched(), ahead()).unwrap_or_else(|_| panic!("waits")));
        }
        reader.join().unwrap();
    });
}

#[test]
fn a_value_whose_readers_outlive_the_deadline_is_dropped_by_the_last_of_them() {
    two_threads(|| {
        let (value, device) = (Arc::new(Published::new(watched())), Device::new());
        let token = ThreadToken::at_thread_entry();
        let first = value.read(&token).0.clone();
        let same = value.clone();
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            same.read(&token).0.access();
        });
        let mut token = token;
        drop(value.replace(&mut token, Watched(device), passed()));
        reader.join().unwrap();
        assert_eq!(first.access(), 1, "dropped exactly once, and not only with the `Published`");
    });
}

#[test]
fn a_replacement_gives_up_when_it_is_cancelled() {
    two_threads(|| {
        let value = Arc::new(Published::new(watched()));
        let mut token = ThreadToken::at_thread_entry();
        let canceller = token.canceller();
        let same = value.clone();
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let reading = same.read(&token);
            canceller.cancel();
            reading.0.access();
        });
        drop(value.replace(&mut token, watched(), ahead()));
        reader.join().unwrap();
    });
}

#[test]
fn a_cancel_is_not_lost_between_a_look_at_the_readers_and_the_wait() {
    two_threads(|| {
        let value = Arc::new(Published::new(1));
        let mut token = ThreadToken::at_thread_entry();
        let canceller = token.canceller();
        let same = value.clone();
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            // A reader that leaves without a word, so that nothing but the cancel ends the wait.
            std::mem::forget(same.read(&token));
            canceller.cancel();
        });
        let _ = value.replace(&mut token, 2, ahead());
        reader.join().unwrap();
    });
}

#[test]
fn two_readers_and_a_replacement_never_overlap() {
    three_threads(|| {
        let value = Arc::new(Published::new(watched()));
        let readers = [value.clone(), value.clone()].map(|same| {
            thread::spawn(move || {
                let token = ThreadToken::at_thread_entry();
                same.read(&token).0.access();
            })
        });
        let mut token = ThreadToken::at_thread_entry();
        drop(value.replace(&mut token, watched(), ahead()).unwrap_or_else(|_| panic!("waits")));
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn two_replacements_each_get_what_they_replaced() {
    three_threads(|| {
        let value = Arc::new(Published::new(1_u32));
        let same = value.clone();
        let second = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            same.replace(&mut token, 3, ahead()).unwrap()
        });
        let same = value.clone();
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            assert!((1..=3).contains(&*same.read(&token)));
        });
        let mut token = ThreadToken::at_thread_entry();
        let mut seen =
            [value.replace(&mut token, 2, ahead()).unwrap(), second.join().unwrap(), *value.read(&token)];
        reader.join().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3]);
    });
}

//! The driver of this process: it uses functions by instructions, and lets them go.

use std::time::Duration;

use gate::{Deadline, ThreadToken};
use models::ism::host::HostError;
use models::ism::{Outcome, Refused};
use slot::{Finished, Request, State};
use zpci::{Fault, Work};

use crate::rig::Rig;

const LONG: Duration = Duration::from_secs(30);

/// Data of which no two places are alike.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn a_message_goes_from_one_function_to_another() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "message", 2);
    assert_eq!(rig.user.told(), ["1 came", "2 came"]);
    let (one, two) = (rig.user.interface(1), rig.user.interface(2));
    one.find_peer(&mut token, 2).unwrap();
    let mut buffer = two.receive(&mut token, 1, 0x4000).unwrap();
    let mut channel = one.connect(&mut token, buffer.token()).unwrap();
    assert_eq!((channel.length(), buffer.length(), buffer.take_signal()), (0x4000, 0x4000, false));
    // Over a page, in blocks of no particular end.
    let data = pattern(5_000);
    channel.send(&mut token, 0xe98, &data, true).unwrap();
    assert!(buffer.take_signal() && !buffer.take_signal());
    let mut read = vec![0xee; 0x4008];
    buffer.read(0, &mut read);
    assert!(read[0xe98..0xe98 + 5_000] == data && read[..0xe98].iter().all(|byte| *byte == 0));
    assert!(read[0xe98 + 5_000..].iter().all(|byte| *byte == 0), "zeroes behind it, and beyond the end");
    let mut signals = [0; 8];
    rustix::io::read(two.event(), &mut signals).unwrap();
    assert_eq!(u64::from_le_bytes(signals), 1, "the last block signals, and no other");
    channel.send(&mut token, 0, &[1; 8], false).unwrap();
    assert!(!buffer.take_signal());
    channel.signal(&mut token).unwrap();
    assert!(buffer.take_signal());
    channel.close(&mut token).unwrap();
    buffer.release(&mut token).unwrap();
    buffer.release(&mut token).unwrap();
    assert_eq!(channel.send(&mut token, 0, &[1; 8], false), Err(HostError::Ended));
}

#[test]
fn a_function_sends_to_itself() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "to itself", 1);
    let one = rig.user.interface(1);
    let mut buffer = one.receive(&mut token, 1, 0x1000).unwrap();
    let mut channel = one.connect(&mut token, buffer.token()).unwrap();
    channel.send(&mut token, 0xf80, &[7; 128], true).unwrap();
    let mut read = [0; 128];
    buffer.read(0xf80, &mut read);
    assert_eq!((read, buffer.take_signal()), ([7; 128], true));
    channel.close(&mut token).unwrap();
    buffer.release(&mut token).unwrap();
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_moved() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "fit", 1);
    let one = rig.user.interface(1);
    let mut buffer = one.receive(&mut token, 1, 0x1000).unwrap();
    let mut channel = one.connect(&mut token, buffer.token()).unwrap();
    for (offset, length) in [(4, 8), (0, 4), (0, 0x1008), (0xff8, 16), (u64::MAX - 7, 8), (0x1000, 8)] {
        let sent = channel.send(&mut token, offset, &vec![9; length], true);
        assert_eq!(sent, Err(HostError::Range), "{length} bytes at {offset:#x}");
    }
    assert!(!buffer.take_signal());
    for length in [0, 8, 0x1_1000] {
        let refused = one.receive(&mut token, 1, length).unwrap_err();
        assert_eq!(refused, HostError::Command(Outcome::Invalid));
    }
    assert_eq!(one.connect(&mut token, 1).unwrap_err(), HostError::Command(Outcome::UnknownToken));
    channel.close(&mut token).unwrap();
    buffer.release(&mut token).unwrap();
    // What was refused is in nobody's use: nothing holds the function.
    assert_eq!(rig.slots[0].unplug(&mut token), Some(Finished::Done));
}

#[test]
fn all_buffers_there_are_can_be_had_and_had_again() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "all", 1);
    let one = rig.user.interface(1);
    for _ in 0..65 {
        assert!(one.receive(&mut token, 1, 8).is_err());
    }
    for _ in 0..2 {
        let mut buffers: Vec<_> = (0..64).map(|_| one.receive(&mut token, 1, 0x1_0000).unwrap()).collect();
        assert_eq!(one.receive(&mut token, 1, 0x1000).unwrap_err(), HostError::NoMemory);
        buffers.iter_mut().for_each(|buffer| buffer.release(&mut token).unwrap());
    }
}

#[test]
fn a_function_that_nobody_uses_is_let_go_at_once() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "nobody", 1);
    let one = rig.user.interface(1);
    rig.user.told();
    assert_eq!(rig.slots[0].unplug(&mut token), Some(Finished::Done));
    assert_eq!(rig.user.told(), ["1 went"], "nobody had to be asked");
    assert_eq!(one.receive(&mut token, 1, 0x1000).unwrap_err(), HostError::Ended);
    assert_eq!(one.find_peer(&mut token, 1), Err(HostError::Ended));
    assert_eq!(one.restart(&mut token), Err(HostError::Ended));
}

/// Report B: the user quiesces by block stores while the host waits for it.
#[test]
fn a_user_that_is_asked_gives_back_while_everything_works() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "gives back", 2);
    rig.connect(&mut token, 1, 2);
    rig.connect(&mut token, 2, 1);
    rig.user.told();
    assert_eq!(rig.slots[0].unplug(&mut token), Some(Finished::Done));
    assert_eq!(rig.user.told(), ["1 asked 1", "1 went"]);
    assert_eq!(rig.slots[0].state(), State::Off);
    let facts = rig.slots[1].function().function().device().describe();
    assert!(
        facts.contains(&("buffers".into(), "0".into())) && facts.contains(&("channels".into(), "0".into()))
    );
}

#[test]
fn a_function_that_is_to_go_works_until_its_last_use_is_given_back() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "works until", 2);
    let (one, two) = (rig.user.interface(1), rig.user.interface(2));
    let mut buffer = two.receive(&mut token, 1, 0x1000).unwrap();
    let mut channel = one.connect(&mut token, buffer.token()).unwrap();
    let mut own = one.receive(&mut token, 2, 0x1000).unwrap();
    rig.user.told();
    let operation = rig.slots[0].ask(&mut token, Request::Disable { timeout: Duration::from_secs(60) });
    assert_eq!(rig.user.told(), ["1 asked 1"]);
    assert_eq!(one.receive(&mut token, 2, 0x1000).unwrap_err(), HostError::Leaving);
    assert_eq!(one.connect(&mut token, buffer.token()).unwrap_err(), HostError::Leaving);
    channel.send(&mut token, 0, &[1; 8], true).unwrap();
    assert!(buffer.take_signal());
    own.release(&mut token).unwrap();
    rig.slots[0].pass(&mut token, Duration::from_secs(20));
    assert!(rig.user.told().contains(&String::from("1 asked 2")), "it is reminded");
    assert_eq!(operation.finished(), None);
    assert!(rig.slots[0].function().is_attached());
    channel.close(&mut token).unwrap();
    assert!(!rig.slots[0].function().is_attached(), "it was let go with the last use");
    rig.slots[0].pass(&mut token, Duration::ZERO);
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert_eq!(rig.user.told(), ["1 went"]);
    buffer.release(&mut token).unwrap();
}

#[test]
fn a_function_that_may_stay_is_used_as_before() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "stay", 1);
    let one = rig.user.interface(1);
    let mut buffer = one.receive(&mut token, 1, 0x1000).unwrap();
    let _operation = rig.slots[0].ask(&mut token, Request::Disable { timeout: Duration::from_secs(60) });
    assert_eq!(one.connect(&mut token, buffer.token()).unwrap_err(), HostError::Leaving);
    rig.slots[0].ask(&mut token, Request::Cancel);
    assert_eq!(rig.user.told(), ["1 came", "1 asked 1", "1 kept"]);
    let mut channel = one.connect(&mut token, buffer.token()).unwrap();
    channel.send(&mut token, 0, &[1; 8], true).unwrap();
    channel.close(&mut token).unwrap();
    buffer.release(&mut token).unwrap();
    assert!(rig.slots[0].function().is_attached() && rig.slots[0].state() == State::On);
}

#[test]
fn a_function_that_is_taken_away_answers_with_errors_and_its_peers_are_told() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "taken away", 2);
    let (one, two) = (rig.user.interface(1), rig.user.interface(2));
    let mut buffer = two.receive(&mut token, 1, 0x1000).unwrap();
    let mut channel = one.connect(&mut token, buffer.token()).unwrap();
    let operation = rig.slots[1].ask(&mut token, Request::Disable { timeout: Duration::from_secs(60) });
    rig.slots[1].pass(&mut token, Duration::from_secs(120));
    assert!(operation.finished().is_some() && rig.slots[1].state() == State::Off, "at the deadline");
    assert_eq!(channel.send(&mut token, 0, &[1; 8], true), Err(HostError::Refused(Refused::NoPeer)));
    assert_eq!(one.find_peer(&mut token, 2), Err(HostError::Command(Outcome::NoPeer)));
    assert!(!buffer.take_signal());
    assert_eq!(two.receive(&mut token, 1, 0x1000).unwrap_err(), HostError::Ended);
    buffer.release(&mut token).unwrap();
    // The next one in the place is another one, for those who knew the last one too.
    rig.slots[1].plug(&mut token);
    assert_eq!(channel.send(&mut token, 0, &[1; 8], true), Err(HostError::Refused(Refused::UnknownToken)));
    channel.close(&mut token).unwrap();
    rig.connect(&mut token, 1, 2);
    rig.user.in_use.lock().unwrap().1[0].send(&mut token, 0, &[1; 8], true).unwrap();
    assert!(rig.user.in_use.lock().unwrap().0[0].take_signal());
    rig.user.give_back(&mut token);
}

#[test]
fn a_function_that_was_recovered_is_begun_anew_and_nothing_old_reaches_it_zio_i3() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "recovered", 2);
    let (one, two) = (rig.user.interface(1), rig.user.interface(2));
    let mut buffer = two.receive(&mut token, 1, 0x1000).unwrap();
    let mut channel = one.connect(&mut token, buffer.token()).unwrap();
    one.restart(&mut token).unwrap();
    channel.send(&mut token, 0, &[1; 8], false).unwrap();
    // As `recover` does it, of both.
    for slot in &rig.slots {
        let transition = slot.zdev.begin(Work::Recovery).unwrap();
        transition.renew(&mut token, false).unwrap();
        slot.function().reset(&mut token).unwrap();
        transition.renew(&mut token, true).unwrap();
    }
    let stale = HostError::Instruction(Fault::InvalidHandle);
    assert_eq!(channel.send(&mut token, 0, &[2; 8], true), Err(stale.clone()));
    assert_eq!(one.find_peer(&mut token, 2), Err(stale.clone()));
    one.restart(&mut token).unwrap();
    two.restart(&mut token).unwrap();
    // The first channel and the first buffer of the new session have the numbers of the old ones.
    let mut next = two.receive(&mut token, 1, 0x1000).unwrap();
    let mut again = one.connect(&mut token, next.token()).unwrap();
    assert_eq!(channel.send(&mut token, 0, &[2; 8], true), Err(stale));
    assert!(!next.take_signal());
    again.send(&mut token, 0, &[3; 8], true).unwrap();
    assert!(next.take_signal());
    let mut read = [0; 8];
    buffer.read(0, &mut read);
    assert_eq!(read, [1; 8], "the old buffer's memory is nobody else's");
    // What is old is given back like anything else, and takes nothing of what is new along.
    channel.close(&mut token).unwrap();
    buffer.release(&mut token).unwrap();
    again.send(&mut token, 0, &[4; 8], true).unwrap();
    again.close(&mut token).unwrap();
    next.release(&mut token).unwrap();
    assert_eq!(rig.slots[0].unplug(&mut token), Some(Finished::Done));
}

#[test]
fn a_function_that_the_machine_does_not_know_is_not_for_this_driver() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::empty("not known", 1);
    rig.slots[0].hide();
    rig.slots[0].plug(&mut token);
    assert!(rig.user.told().is_empty());
    assert!(!rig.slots[0].function().is_attached());
    assert!(rig.zpci.by_function(rig.slots[0].function().function()).is_none());
}

#[test]
fn when_everything_ends_the_users_are_told() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::new(&mut token, "everything", 1);
    rig.connect(&mut token, 1, 1);
    rig.user.told();
    rig.slots[0].controller.shutdown(&mut token, Deadline::after(LONG));
    assert_eq!(rig.user.told(), ["1 went"]);
    rig.user.give_back(&mut token);
}

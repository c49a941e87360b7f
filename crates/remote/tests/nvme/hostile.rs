//! Completion queues that say what cannot be.

use models::nvme::elsewhere::{Elsewhere, Reaped};
use nvme_spec::register::Capabilities;
use nvme_spec::{AdminOpcode, CompletionEntry, NvmOpcode, Status, SubmissionEntry};
use remote::link::Loss;
use remote::nvme::layout::Layout;
use zerocopy::IntoBytes;

use super::back_end::config;
use super::guest::{Guest, options};

/// Offset of a completion queue in the memory that back ends are given.
pub fn completions(queue: u16) -> usize {
    Layout::new(2, options().depth, Capabilities::default().with_mqes(4095)).pair(queue).1.at
}

/// Writes a completion where the next one of a queue is expected, with a command in flight that was not rung.
fn forge(queue: u16, tag: u16, change: impl FnOnce(&mut CompletionEntry)) -> Guest {
    let mut guest = Guest::new(&config(), -1);
    guest.round();
    let entry = guest.entry(0, NvmOpcode::Read, 0);
    assert!(guest.driver.submit(1, 0, &entry));
    let mut completion = CompletionEntry::new(0, 0, queue, tag, Status::SUCCESS, true);
    change(&mut completion);
    guest.wire.scribble(completions(queue), completion.as_bytes());
    guest
}

fn is_found_out(mut guest: Guest) {
    let mut reaped = Vec::new();
    guest.driver.reap(&mut reaped);
    assert!(reaped.is_empty(), "{reaped:?}");
    guest.driver.ring(&mut guest.token);
    assert!(matches!(guest.wire.link().loss(), Some(Loss::Nonsense(_))), "{:?}", guest.wire.link().loss());
    assert!(!guest.wait(), "told of the loss");
    // The command was not answered by it, and is by the next one.
    guest.replace(&mut Vec::new());
    guest.run(&mut Vec::new());
    assert_eq!(guest.answer(0), Status::SUCCESS);
}

#[test]
fn a_completion_of_a_command_that_is_not_in_flight_ends_the_connection() {
    is_found_out(forge(1, 1, |_| ()));
    is_found_out(forge(1, 0xffff, |_| ()));
    is_found_out(forge(1, 0, |entry| entry.sqid = 2.into()));
    is_found_out(forge(1, 0, |entry| entry.sqhd = 9.into()));
}

#[test]
fn a_completion_that_comes_twice_counts_once() {
    let mut guest = forge(1, 0, |_| ());
    let second = guest.entry(1, NvmOpcode::Read, 0);
    assert!(guest.driver.submit(1, 1, &second));
    let again = CompletionEntry::new(0, 0, 1, 0, Status::SUCCESS, true);
    guest.wire.scribble(completions(1) + 16, again.as_bytes());
    let mut reaped = Vec::new();
    guest.driver.reap(&mut reaped);
    assert_eq!(reaped, [Reaped::Finished { tag: 0, dw0: 0, status: Status::SUCCESS }]);
    guest.round();
    assert!(matches!(guest.wire.link().loss(), Some(Loss::Nonsense(_))));
    guest.replace(&mut Vec::new());
    guest.run(&mut Vec::new());
    assert_eq!(guest.answer(1), Status::SUCCESS);
    assert!(!guest.answers.contains_key(&0));
}

/// What an old back end still writes to its own queues is read by nobody.
#[test]
fn an_old_back_end_cannot_reach_the_queues_of_the_next_one() {
    let mut guest = Guest::new(&config(), -1);
    let old = std::sync::Arc::clone(&guest.wire);
    guest.replace(&mut Vec::new());
    let entry = guest.entry(0, NvmOpcode::Read, 0);
    assert!(guest.driver.submit(1, 0, &entry));
    old.scribble(completions(1), CompletionEntry::new(0, 0, 1, 0, Status::SUCCESS, true).as_bytes());
    let mut reaped = Vec::new();
    guest.driver.reap(&mut reaped);
    assert!(reaped.is_empty());
}

/// They name queues and memory that are not the guest's at the back end.
#[test]
fn commands_about_queues_never_reach_the_back_end() {
    let mut guest = Guest::new(&config(), -1);
    for (tag, opcode) in
        [AdminOpcode::CreateIoSubmissionQueue, AdminOpcode::DoorbellBufferConfig].iter().enumerate()
    {
        let tag = u16::try_from(tag).unwrap();
        let entry = SubmissionEntry { opcode: opcode.code(), ..SubmissionEntry::default() };
        assert!(guest.driver.submit(0, tag, &entry));
        guest.round();
        assert!(guest.answer(tag).is(Status::INVALID_OPCODE));
    }
}

//! A controller whose back end answers when the test says so, and at times not at all.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nvme_spec::event::Event;
use nvme_spec::identify::Controller;
use nvme_spec::{AdminOpcode, CompletionEntry, NvmOpcode, Status, SubmissionEntry};
use zerocopy::FromBytes;

use super::super::super::config::{Config, DoorbellStyle};
use super::super::super::elsewhere::Elsewhere;
use super::super::super::elsewhere::fake::{Fake, Sent};
use super::super::by_hand::{BASE, DATA, Disk, entry, io};

mod life;
mod recovery;
mod steps;

/// A controller in front of a fake.
struct Front {
    disk: Disk,
    back: Arc<Fake>,
}

impl Front {
    /// Enabled, with one I/O queue pair.
    fn new() -> Front {
        Front::before(Fake::usual())
    }

    fn before(back: Arc<Fake>) -> Front {
        let mut front = Front::disabled(back);
        front.disk.enable();
        front
    }

    fn disabled(back: Arc<Fake>) -> Front {
        let config = Config { doorbells: DoorbellStyle::Mapped, ..Config::default() };
        let elsewhere = Arc::clone(&back) as Arc<dyn Elsewhere>;
        Front { disk: Disk::elsewhere(&config, elsewhere), back }
    }

    fn submit(&mut self, queue: usize, cid: u16, command: SubmissionEntry) {
        self.disk.submit(queue, SubmissionEntry { cid: cid.into(), ..command });
    }

    /// The one command that went to the back end since the last look.
    #[track_caller]
    fn sent(&self) -> Sent {
        let sent = self.back.take();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent[0]
    }

    /// The back end has done a command.
    fn finish(&mut self, tag: u16, dw0: u32, status: Status) {
        self.back.give(tag, dw0, status);
        self.disk.turn();
    }

    /// The one answer that came to a queue.
    #[track_caller]
    fn answered(&mut self, queue: usize) -> CompletionEntry {
        let found = self.disk.completion(queue).expect("no answer");
        assert_eq!(self.disk.completion(queue), None, "a second answer");
        found
    }

    #[track_caller]
    fn silent(&mut self) {
        assert_eq!((self.disk.completion(0), self.disk.completion(1)), (None, None));
    }

    fn fact(&self, name: &str) -> String {
        self.disk.shared.describe().into_iter().find(|(known, _)| known == name).unwrap().1
    }

    /// Commands go through.
    #[track_caller]
    fn works(&mut self) {
        self.submit(1, 77, io(NvmOpcode::Write, 0));
        let tag = self.sent().tag;
        self.finish(tag, 0, Status::SUCCESS);
        assert!(self.answered(1).status().is_success());
        assert_eq!(self.fact("commands in flight"), "0");
    }
}

fn admin(opcode: AdminOpcode, cdw10: u32) -> SubmissionEntry {
    SubmissionEntry { cdw10: cdw10.into(), ..entry(opcode.code(), 0) }
}

fn abort(sq: u16, cid: u16) -> SubmissionEntry {
    admin(AdminOpcode::Abort, u32::from(sq) | u32::from(cid) << 16)
}

#[test]
fn io_commands_of_every_kind_go_as_they_are_and_come_back_as_they_were_answered() {
    let opcodes: Vec<u8> = (0..=u8::MAX).filter(|opcode| *opcode != super::FABRICS).collect();
    // As many as fit into a completion queue that nobody reads.
    for opcodes in opcodes.chunks(60) {
        let mut front = Front::new();
        for opcode in opcodes.iter().copied() {
            let command = SubmissionEntry {
                flags: if opcode & 1 == 0 { 0x40 } else { 0 },
                cdw2: 1.into(),
                cdw3: 2.into(),
                mptr: 3.into(),
                prp2: 4.into(),
                cdw13: 5.into(),
                cdw14: 6.into(),
                cdw15: 7.into(),
                cid: u16::from(opcode).into(),
                ..entry(opcode, 0x1000 + u32::from(opcode))
            };
            front.submit(1, opcode.into(), command);
            let sent = front.sent();
            assert_eq!((sent.queue, sent.entry), (1, command));
            front.silent();
            let status = Status::from_bits(0xf000 | u16::from(opcode) << 1);
            front.finish(sent.tag, 0xabcd_0000 | u32::from(opcode), status);
            let answer = front.answered(1);
            assert_eq!(
                (answer.cid.get(), answer.dw0.get()),
                (opcode.into(), 0xabcd_0000 | u32::from(opcode))
            );
            assert_eq!((answer.status(), answer.sqid.get()), (status, 1), "{opcode:#04x}");
        }
    }
}

#[test]
fn fused_commands_and_those_of_fabrics_go_nowhere() {
    let mut front = Front::new();
    for (opcode, flags, status) in [
        (NvmOpcode::Read.code(), 1, Status::INVALID_FIELD),
        (NvmOpcode::Read.code(), 2, Status::INVALID_FIELD),
        (super::FABRICS, 0, Status::INVALID_OPCODE),
    ] {
        front.submit(1, 5, SubmissionEntry { flags, ..entry(opcode, 1) });
        let found = front.answered(1).status();
        assert!(found.is(status) && found.dnr() && !found.more(), "{found:?}");
    }
    assert_eq!(front.back.take(), []);
}

#[test]
fn admin_commands_that_are_not_about_the_front_go_as_they_are() {
    let mut front = Front::new();
    for (opcode, cdw10) in [
        (AdminOpcode::Identify, 0),
        (AdminOpcode::Identify, 2),
        (AdminOpcode::GetLogPage, 2),
        (AdminOpcode::SetFeatures, 6),
        (AdminOpcode::SetFeatures, 0x0b),
        (AdminOpcode::GetFeatures, 6),
        (AdminOpcode::FormatNvm, 0),
        (AdminOpcode::NamespaceManagement, 1),
        (AdminOpcode::Sanitize, 1),
    ] {
        let command = SubmissionEntry { prp1: (BASE + DATA).into(), cid: 9.into(), ..admin(opcode, cdw10) };
        front.submit(0, 9, command);
        let sent = front.sent();
        assert_eq!((sent.queue, sent.entry), (0, command));
        front.silent();
        front.finish(sent.tag, 3, Status::INVALID_FORMAT.with_more(true));
        let answer = front.answered(0);
        assert_eq!((answer.dw0.get(), answer.status()), (3, Status::INVALID_FORMAT.with_more(true)));
    }
}

#[test]
fn what_is_about_the_front_is_answered_by_it_while_the_back_end_is_silent() {
    let mut front = Front::new();
    let data = |opcode, cdw10| SubmissionEntry { prp1: (BASE + DATA).into(), ..admin(opcode, cdw10) };
    front.submit(0, 1, data(AdminOpcode::Identify, 1));
    assert!(front.answered(0).status().is_success());
    let mut page = [0; 4096];
    front.disk.memory.read_exact_at(&mut page, DATA).unwrap();
    let page = Controller::read_from_bytes(&page).unwrap();
    assert_eq!((page.mdts, page.nn.get(), page.aerl, page.vwc & 1), (5, 3, 3, 1));
    front.submit(0, 2, admin(AdminOpcode::SetFeatures, 7));
    assert_eq!(front.disk.completion(0).unwrap().status().code(), 0x0c, "there are queues already");
    front.submit(0, 3, admin(AdminOpcode::GetFeatures, 7));
    assert_eq!(front.disk.completion(0).unwrap().dw0.get(), 1 << 16 | 1, "two pairs, less one");
    let queue = |qid: u32| SubmissionEntry {
        cdw11: 1.into(),
        ..data(AdminOpcode::CreateIoCompletionQueue, qid | 7 << 16)
    };
    front.submit(0, 4, queue(3));
    assert!(front.disk.completion(0).unwrap().status().is(Status::INVALID_QUEUE_IDENTIFIER));
    front.submit(0, 5, queue(2));
    assert!(front.disk.completion(0).unwrap().status().is_success());
    front.submit(0, 6, admin(AdminOpcode::KeepAlive, 0));
    assert!(front.disk.completion(0).unwrap().status().is(Status::INVALID_OPCODE));
    assert_eq!(front.back.take(), []);
}

#[test]
fn a_command_without_room_is_kept_and_holds_up_the_io_queues_but_not_the_admin_queue() {
    let mut front = Front::new();
    front.back.inner().room = 1;
    for cid in 0..4 {
        front.submit(1, cid, io(NvmOpcode::Write, 0));
    }
    assert_eq!(front.back.take().len(), 1);
    assert_eq!(front.fact("commands in flight"), "2", "one is kept, and no other was taken");
    front.submit(0, 9, admin(AdminOpcode::Identify, 1));
    assert!(front.disk.answer(0).is_some(), "the front's own");
    front.submit(0, 10, admin(AdminOpcode::Identify, 2));
    front.submit(0, 11, admin(AdminOpcode::Identify, 2));
    assert_eq!((front.back.take(), front.fact("commands in flight")), (vec![], "3".into()));
    assert!(!front.disk.shared.has_work(&front.disk.token, &mut front.disk.out, false), "it would spin");
    // Room for both that are kept, and one more.
    front.back.inner().room = 3;
    front.disk.turn();
    let queues: Vec<(u16, u16)> =
        front.back.take().iter().map(|sent| (sent.queue, sent.entry.cid.get())).collect();
    assert_eq!(queues[..2], [(1, 1), (0, 10)]);
    assert_eq!(queues.len(), 3);
    front.back.inner().room = usize::MAX;
    front.disk.turn();
    assert_eq!(front.back.take().len(), 2);
    assert!(front.fact("commands without room").parse::<u32>().unwrap() > 2);
}

#[test]
fn an_answer_that_nobody_waits_for_is_counted_and_changes_nothing() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let tag = front.sent().tag;
    for stray in [tag + 1, 1023, 1024, u16::MAX] {
        front.finish(stray, 0, Status::SUCCESS);
    }
    front.silent();
    assert_eq!(front.fact("stray answers"), "4");
    front.finish(tag, 0, Status::SUCCESS);
    assert_eq!(front.answered(1).cid.get(), 1);
    front.finish(tag, 0, Status::SUCCESS);
    front.silent();
    assert_eq!(front.fact("stray answers"), "5");
    front.works();
}

#[test]
fn abort_takes_back_what_has_not_been_sent_and_nothing_else() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    front.back.inner().room = 0;
    front.submit(1, 2, io(NvmOpcode::Write, 0));
    front.submit(1, 3, io(NvmOpcode::Write, 0));
    // With the back end, kept, in its queue, and nowhere.
    for (cid, aborted) in [(1, false), (2, true), (3, true), (4, false)] {
        front.submit(0, 100 + cid, abort(1, cid));
        let answer = front.disk.completion(0).unwrap();
        assert_eq!((answer.status(), answer.dw0.get() & 1 == 0), (Status::SUCCESS, aborted), "{cid}");
    }
    front.back.inner().room = usize::MAX;
    front.disk.turn();
    let aborted: Vec<u16> = (0..2)
        .map(|_| {
            let answer = front.disk.completion(1).unwrap();
            assert!(answer.status().is(Status::ABORT_REQUESTED));
            answer.cid.get()
        })
        .collect();
    assert_eq!(aborted, [2, 3]);
    let sent = front.sent();
    assert_eq!(sent.entry.cid.get(), 1);
    front.finish(sent.tag, 0, Status::SUCCESS);
    assert_eq!(front.answered(1).cid.get(), 1);
}

#[test]
fn a_queue_is_deleted_when_its_commands_are_back_and_what_was_not_sent_is_aborted() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let tag = front.sent().tag;
    front.back.inner().room = 0;
    front.submit(1, 2, io(NvmOpcode::Write, 0));
    front.submit(0, 50, admin(AdminOpcode::DeleteIoSubmissionQueue, 1));
    let answer = front.answered(1);
    assert_eq!(answer.cid.get(), 2);
    assert!(answer.status().is(Status::ABORTED_SQ_DELETION));
    for _ in 0..1000 {
        front.disk.turn();
    }
    front.silent();
    // The admin queue is as alive as ever.
    front.submit(0, 51, admin(AdminOpcode::GetFeatures, 7));
    assert_eq!(front.disk.completion(0).unwrap().cid.get(), 51);
    front.finish(tag, 0, Status::SUCCESS);
    assert_eq!(front.answered(1).cid.get(), 1);
    assert_eq!(front.answered(0).cid.get(), 50);
}

#[test]
fn events_of_the_back_end_are_told_once_until_their_log_was_read_there() {
    let mut front = Front::new();
    front.submit(0, 1, admin(AdminOpcode::AsyncEventRequest, 0));
    front.submit(0, 2, admin(AdminOpcode::AsyncEventRequest, 0));
    front.silent();
    let event = Event::NAMESPACE_ATTRIBUTE_CHANGED;
    front.back.tell(event.to_dword0());
    front.disk.turn();
    let answer = front.answered(0);
    assert_eq!((answer.cid.get(), answer.dw0.get()), (1, event.to_dword0()));
    front.back.tell(event.to_dword0());
    // Types that there are none of.
    front.back.tell(3);
    front.disk.turn();
    front.silent();
    assert_eq!(front.fact("odd events"), "1");
    // A log that could not be read, one that retains the event, one that was read.
    for (cdw10, status) in [(4, Status::INTERNAL_ERROR), (4 | 1 << 15, Status::SUCCESS), (4, Status::SUCCESS)]
    {
        front.silent();
        front.submit(0, 3, admin(AdminOpcode::GetLogPage, cdw10));
        let tag = front.sent().tag;
        front.finish(tag, 0, status);
        assert_eq!(front.disk.completion(0).unwrap().cid.get(), 3);
    }
    assert_eq!(front.answered(0).cid.get(), 2);
}

#[test]
fn an_event_for_a_life_that_is_over_is_for_nobody() {
    let mut front = Front::new();
    front.disk.write(nvme_spec::register::CC, 0);
    front.back.tell(Event::NAMESPACE_ATTRIBUTE_CHANGED.to_dword0());
    front.disk.turn();
    front.disk.bring_up();
    front.submit(0, 1, admin(AdminOpcode::AsyncEventRequest, 0));
    front.silent();
}

#[test]
fn answers_wait_in_d3hot_and_without_a_bus_but_for_a_turn() {
    let mut front = Front::new();
    front.submit(1, 1, io(NvmOpcode::Write, 0));
    let tag = front.sent().tag;
    let command = |front: &mut Front, value: u16| {
        let Disk { assignment, token, .. } = &mut front.disk;
        assignment.region_write(token, 7, 4, &value.to_le_bytes()).unwrap();
    };
    command(&mut front, 2);
    front.finish(tag, 0, Status::SUCCESS);
    front.submit(1, 2, io(NvmOpcode::Write, 0));
    front.silent();
    assert_eq!(front.back.take(), []);
    command(&mut front, 6);
    front.disk.turn();
    assert_eq!(front.answered(1).cid.get(), 1);
    assert_eq!(front.sent().entry.cid.get(), 2);
}

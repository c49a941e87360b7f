//! MSI, MSI-X and INTx; masks; asynchronous events.

use std::time::{Duration, Instant};

use models::nvme::{Backing, Config, InterruptStyle};
use nvme_spec::event::Event;
use nvme_spec::register::{INTMC, INTMS};
use nvme_spec::{AdminOpcode, Doorbell, NvmOpcode, Status};

use crate::guest::{Guest, admin, assert_failed, assert_ok, entry, signalled};

fn guest(interrupts: InterruptStyle) -> Guest {
    let config = Config { interrupts, ..Config::default() };
    Guest::ready(&config, Backing::memory(1 << 20).unwrap())
}

#[test]
fn a_completion_signals_its_vector() {
    for (style, index) in [(InterruptStyle::Msi, 1), (InterruptStyle::Msix, 2)] {
        let mut guest = guest(style);
        let event = guest.listen(index);
        let mut pair = guest.make_pair(1, 16, 0);
        let mut silent = guest.make_pair(2, 16, 1);
        guest.wait("the admin queue's interrupts", |_| signalled(&event) == 0);
        assert_ok(&guest.run(&mut silent, entry(NvmOpcode::Flush.code(), 1)));
        guest.run_admin(admin(AdminOpcode::AsyncEventRequest).clone_as_bad());
        guest.wait("an interrupt", |_| signalled(&event) > 0);
        guest.submit(&mut pair, entry(NvmOpcode::Flush.code(), 1));
        guest.wait("an interrupt", |_| signalled(&event) > 0);
        assert_ok(&guest.complete(&mut pair));
    }
}

/// A command that is answered at once.
trait Bad {
    fn clone_as_bad(&self) -> Self;
}

impl Bad for nvme_spec::SubmissionEntry {
    fn clone_as_bad(&self) -> Self {
        Self { opcode: 0xff, ..*self }
    }
}

#[test]
fn a_masked_msi_is_held_back_and_comes_with_the_unmask() {
    let mut guest = guest(InterruptStyle::Msi);
    let event = guest.listen(1);
    let mut pair = guest.make_pair(1, 16, 0);
    guest.wait("quiet", |_| signalled(&event) == 0);
    guest.write32(INTMS, 1);
    assert_eq!(guest.read32(INTMC), 1);
    signalled(&event);
    assert_ok(&guest.run(&mut pair, entry(NvmOpcode::Flush.code(), 1)));
    // A second command: whatever the first one signalled would have been signalled by now.
    assert_ok(&guest.run(&mut pair, entry(NvmOpcode::Flush.code(), 1)));
    assert_eq!(signalled(&event), 0);
    guest.write32(INTMC, 1);
    guest.wait("the held interrupt", |_| signalled(&event) > 0);
}

#[test]
fn intx_is_a_level_that_follows_the_completion_queues_and_the_mask() {
    let mut guest = guest(InterruptStyle::Intx);
    let event = guest.listen(0);
    let mut pair = guest.make_pair(1, 16, 0);
    let asserted = |guest: &mut Guest| {
        let mut status = [0; 2];
        guest.assignment.region_read(&mut guest.token, 7, 6, &mut status).unwrap();
        status[0] & 8 != 0
    };
    assert!(!asserted(&mut guest), "everything so far was acknowledged");
    guest.submit(&mut pair, entry(NvmOpcode::Flush.code(), 1));
    guest.wait("the line", asserted);
    guest.wait("the interrupt", |_| signalled(&event) > 0);
    guest.write32(INTMS, 1);
    assert!(!asserted(&mut guest), "masked");
    guest.write32(INTMC, 1);
    assert!(asserted(&mut guest), "unmasked");
    assert_ok(&guest.complete(&mut pair));
    assert!(!asserted(&mut guest), "acknowledged: the line is down before the doorbell write is over");
}

#[test]
fn a_guest_that_misses_intx_while_it_submits_is_interrupted_again_by_the_worker() {
    // NVMe has no such time; this is the model's own.
    const GRACE: Duration = Duration::from_millis(10);
    let mut guest = guest(InterruptStyle::Intx);
    let event = guest.listen(0);
    let mut pair = guest.make_pair(1, 16, 0);
    // The interrupts of the admin queue are served: the line is low.
    signalled(&event);
    guest.unmask_intx();
    guest.submit(&mut pair, entry(NvmOpcode::Flush.code(), 1));
    guest.wait("the interrupt", |_| signalled(&event) > 0);
    let submitted = Instant::now();
    guest.submit(&mut pair, entry(NvmOpcode::Flush.code(), 1));
    guest.unmask_intx();
    guest.wait("the interrupt again", |_| signalled(&event) > 0);
    let waited = submitted.elapsed();
    assert!(waited >= GRACE, "signalled for nothing after {waited:?}");
    assert!(waited < GRACE * 200, "the worker overslept: {waited:?}");
    assert_ok(&guest.complete(&mut pair));
    assert_ok(&guest.complete(&mut pair));
}

#[test]
fn an_impossible_doorbell_is_an_event_and_hurts_no_other_queue() {
    let mut guest = Guest::memory_disk();
    let mut good = guest.make_pair(1, 16, 0);
    let mut bad = guest.make_pair(2, 16, 0);
    let request = guest.submit_admin(admin(AdminOpcode::AsyncEventRequest));
    guest.ring(Doorbell::SubmissionTail(2), 16);
    let answer = guest.complete_admin();
    assert_eq!(answer.cid.get(), request);
    assert_eq!(Event::from_dword0(answer.dw0.get()), Ok(Event::INVALID_DOORBELL_VALUE));
    assert_ok(&guest.run(&mut good, entry(NvmOpcode::Flush.code(), 1)));
    assert_ok(&guest.run(&mut bad, entry(NvmOpcode::Flush.code(), 1)));

    // Of one type only one event is reported until the log has been read.
    let request = guest.submit_admin(admin(AdminOpcode::AsyncEventRequest));
    guest.ring(Doorbell::CompletionHead(2), 9);
    guest.write32(0x1000 + 8 * 40, 1);
    assert_ok(&guest.run(&mut good, entry(NvmOpcode::Flush.code(), 1)));
    assert!(guest.peek(&guest.admin).is_none());
    let page = guest.pages(1);
    let mut log = admin(AdminOpcode::GetLogPage);
    (log.prp1, log.cdw10) = (page.into(), (1 | 15 << 16).into());
    guest.submit_admin(log);
    let answers = [guest.complete_admin(), guest.complete_admin()];
    let event = answers.iter().find(|answer| answer.cid.get() == request).unwrap();
    let event = Event::from_dword0(event.dw0.get()).unwrap();
    assert!([Event::INVALID_DOORBELL_VALUE, Event::INVALID_DOORBELL_REGISTER].contains(&event));
    assert_ok(&guest.run(&mut good, entry(NvmOpcode::Flush.code(), 1)));
}

#[test]
fn event_requests_are_limited_and_can_be_aborted() {
    let mut guest = Guest::memory_disk();
    let first = guest.submit_admin(admin(AdminOpcode::AsyncEventRequest));
    for _ in 0..3 {
        guest.submit_admin(admin(AdminOpcode::AsyncEventRequest));
    }
    assert_failed(
        &guest.run_admin(admin(AdminOpcode::AsyncEventRequest)),
        Status::ASYNC_EVENT_LIMIT_EXCEEDED,
    );
    let mut abort = admin(AdminOpcode::Abort);
    abort.cdw10 = (u32::from(first) << 16).into();
    let cid = guest.submit_admin(abort);
    let (aborted, answer) = (guest.complete_admin(), guest.complete_admin());
    assert_eq!(aborted.cid.get(), first);
    assert_failed(&aborted, Status::ABORT_REQUESTED);
    assert_eq!((answer.cid.get(), answer.dw0.get()), (cid, 0), "aborted");
    let answer = guest.run_admin(abort);
    assert_eq!(answer.dw0.get() & 1, 1, "not aborted: it does not exist any more");
}

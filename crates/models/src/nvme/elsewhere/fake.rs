//! A back end that does nothing by itself: the test says what comes back, and when there is room.
//! What it has is behind a leaf, as with a real one, so that a call from where no leaf may be taken is found.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use gate::ThreadToken;
use gate::lock::{Leaf, LeafGuard};
use nvme_spec::identify::{Controller, VWC_FLUSH_ALL, VWC_PRESENT};
use nvme_spec::register::{CAP_CSS_NVM, Capabilities};
use nvme_spec::{Status, SubmissionEntry, VERSION_1_4};
use rustix::event::{EventfdFlags, eventfd};
use zerocopy::IntoBytes;

use super::{Elsewhere, Facts, Reaped};
use crate::ranks::IsmNetwork;

/// A command as it was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Sent {
    pub(in super::super) queue: u16,
    pub(in super::super) tag: u16,
    pub(in super::super) entry: SubmissionEntry,
}

/// What the test may look at and change.
#[derive(Debug)]
pub(in super::super) struct Inner {
    /// Commands that there is room for.
    pub(in super::super) room: usize,
    /// What was submitted and has not come back, in order.
    pub(in super::super) sent: Vec<Sent>,
    pub(in super::super) up: bool,
    pub(in super::super) settled: bool,
    pub(in super::super) abandoned: u32,
    pub(in super::super) rings: u32,
    back: Vec<Reaped>,
}

pub(in super::super) struct Fake {
    facts: Facts,
    event: OwnedFd,
    /// Any rank above the engine's will do.
    inner: Leaf<IsmNetwork, Inner>,
}

impl Fake {
    pub(in super::super) fn new(facts: Facts) -> Arc<Fake> {
        let inner = Inner {
            room: usize::MAX,
            sent: Vec::new(),
            up: true,
            settled: true,
            abandoned: 0,
            rings: 0,
            back: Vec::new(),
        };
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        Arc::new(Fake { facts, event, inner: Leaf::new(inner) })
    }

    /// A back end with a write cache, several namespaces, and this answer to who flushes them (Identify VWC bits 2:1).
    pub(in super::super) fn with_cache(flush: u8) -> Arc<Fake> {
        let page = Controller { vwc: VWC_PRESENT | flush, nn: 3.into(), mdts: 5, ..Controller::default() };
        let mut identify = [0; 4096];
        identify.copy_from_slice(page.as_bytes());
        let capabilities = Capabilities::default().with_css(CAP_CSS_NVM).0;
        Fake::new(Facts { identify, capabilities, version: VERSION_1_4, max_queues: 2 })
    }

    pub(in super::super) fn usual() -> Arc<Fake> {
        Fake::with_cache(VWC_FLUSH_ALL)
    }

    pub(in super::super) fn inner(&self) -> LeafGuard<'_, IsmNetwork, Inner> {
        self.inner.lock()
    }

    /// What was submitted since the last call, and is to come back by [`Fake::give`].
    pub(in super::super) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.inner().sent)
    }

    pub(in super::super) fn give(&self, tag: u16, dw0: u32, status: Status) {
        self.inner().back.push(Reaped::Finished { tag, dw0, status });
        self.wake();
    }

    pub(in super::super) fn tell(&self, dw0: u32) {
        self.inner().back.push(Reaped::Event { dw0 });
        self.wake();
    }

    pub(in super::super) fn wake(&self) {
        rustix::io::write(&self.event, &1_u64.to_ne_bytes()).unwrap();
    }
}

impl Elsewhere for Fake {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn submit(&self, queue: u16, tag: u16, entry: &SubmissionEntry) -> bool {
        let mut inner = self.inner();
        let room = inner.room > 0;
        if room {
            inner.room -= 1;
            inner.sent.push(Sent { queue, tag, entry: *entry });
        }
        room
    }

    fn ring(&self, _token: &mut ThreadToken) {
        self.inner().rings += 1;
    }

    fn reap(&self, reaped: &mut Vec<Reaped>) {
        reaped.append(&mut self.inner().back);
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn clear(&self) {
        let _count = rustix::io::read(&self.event, &mut [0; 8]);
    }

    fn abandon(&self) {
        let mut inner = self.inner();
        inner.abandoned += 1;
        inner.settled = false;
    }

    fn is_settled(&self) -> bool {
        self.inner().settled
    }

    fn is_up(&self) -> bool {
        self.inner().up
    }
}

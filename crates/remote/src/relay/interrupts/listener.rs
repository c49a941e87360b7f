//! The thread that hears a back end's interrupts and passes them on.
//!
//! The eventfds are ours and outlive every back end. One read takes whatever has been counted and is passed on as one interrupt,
//! so a back end that signals without end costs this thread's time and the consumer no more than a device that does the same.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use assign::{IrqMode, Port, drain, kick};
use gate::{AccessKind, Deadline, Refusal, ThreadToken};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;

/// What epoll says of the bell.
const BELL: u64 = u64::MAX;

/// How many vectors are looked at at once.
const BATCH: usize = 32;

/// How long an interrupt waits for a closed gate before the thread looks whether it is to end.
const LOOK: Duration = Duration::from_secs(1);

/// What the thread and its owner share.
pub(super) struct Listener {
    port: Weak<Port>,
    epoll: OwnedFd,
    bell: OwnedFd,
    ends: AtomicBool,
}

impl Listener {
    pub(super) fn new(port: &Arc<Port>) -> Result<Listener, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = new_eventfd()?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Listener { port: Arc::downgrade(port), epoll, bell, ends: AtomicBool::new(false) })
    }

    /// Another vector to listen to. Whoever has the descriptor signals it.
    pub(super) fn add(&self, vector: u64) -> Result<Arc<OwnedFd>, Errno> {
        let fd = new_eventfd()?;
        epoll::add(&self.epoll, &fd, epoll::EventData::new_u64(vector), epoll::EventFlags::IN)?;
        Ok(Arc::new(fd))
    }

    /// The thread ends soon.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Release);
        ring(&self.bell);
    }

    /// Listens until the end. `fd_of` finds the descriptor of a vector.
    pub(super) fn listen(&self, token: &mut ThreadToken, fd_of: impl Fn(u64) -> Option<Arc<OwnedFd>>) {
        let mut events = Vec::with_capacity(BATCH);
        while !self.ends.load(Ordering::Acquire) {
            token.assert_holds_nothing();
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "interrupts of a back end are not heard any more");
                    return;
                }
            }
            for event in &events {
                let vector = event.data.u64();
                let Some(fd) = fd_of(vector).filter(|_| vector != BELL) else { continue };
                // Nothing there: somebody at the other end has read it, which is its own affair.
                if drain(fd.as_fd()) && !self.pass_on(token, vector) {
                    // Counted again, so that it is not lost: the gate opens some time.
                    ring(&fd);
                }
            }
        }
    }

    /// Passes an interrupt on. False: the gate stayed closed.
    fn pass_on(&self, token: &mut ThreadToken, vector: u64) -> bool {
        let Some(port) = self.port.upgrade() else { return true };
        let interrupts = port.interrupts();
        match port.handle().enter(token, AccessKind::Interrupt, Deadline::after(LOOK)) {
            Ok(pass) => match (interrupts.mode(), u16::try_from(vector)) {
                (Some(IrqMode::Intx), _) => interrupts.set_intx(&pass, true),
                (_, Ok(vector)) => interrupts.signal(&pass, vector),
                (_, Err(_)) => {}
            },
            Err(Refusal::Blocked(_)) => return false,
            // A frozen function interrupts nobody, and what recovers it resets it.
            Err(Refusal::Frozen | Refusal::Gone | Refusal::StaleEpoch { .. }) => {}
        }
        true
    }
}

/// Counts one signal. The back end shares the open file, and with it O_NONBLOCK: a plain write could block.
pub(super) fn ring(fd: &impl AsFd) {
    kick(fd.as_fd());
}

fn new_eventfd() -> Result<OwnedFd, Errno> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

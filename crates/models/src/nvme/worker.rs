//! The thread that does a controller's work: started when the controller is first enabled, ended with it.
//!
//! One round: collect what the ring, or who executes commands elsewhere, has finished, enter the gate, give the engine a turn, start what it decided,
//! leave. A closed gate is never waited for inside: the worker takes in what is done (which lets memory and long
//! passes go) and parks until the gate has changed. Nor does it spin on one.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use assign::Event;
use gate::{AccessKind, Subscription, ThreadToken};
use pci_core::ErrorSign;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::config::DoorbellStyle;
use super::elsewhere::Elsewhere;
use super::engine::Halt;
use super::limits::WORKER_END_MS;
use super::outbox::Outbox;
use super::ring::Ring;
use super::shared::{Order, Shared};

/// The longest park. Every wake-up has a waker; this only bounds the harm if one is ever lost (law 4).
const LONGEST_PARK: Duration = Duration::from_secs(10);
/// How soon to try again to give the kernel what it would not take.
const RETRY: Duration = Duration::from_millis(1);
/// Stack of the thread: nothing here recurses.
const STACK_BYTES: usize = 256 * 1024;

/// A running worker.
#[derive(Debug)]
pub(super) struct Worker {
    thread: JoinHandle<()>,
    /// Hangs up when the thread has ended.
    ended: OwnedFd,
}

impl Worker {
    /// # Errors
    /// No thread or no descriptor left.
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let (ended, running) = pipe_with(PipeFlags::CLOEXEC)?;
        let shared = Arc::clone(shared);
        // Thread names are cut to 15 bytes.
        let name = format!("nvme-{}", shared.name);
        let thread = std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || {
            let _running = running;
            run(&shared);
        })?;
        Ok(Self { thread, ended })
    }

    /// Waits until the thread has ended, for a bounded time. It was told to.
    pub(super) fn join(self) {
        let deadline = Timespec { tv_sec: (WORKER_END_MS / 1000).cast_signed(), tv_nsec: 0 };
        // Without a token: this is called when the last owner of the controller drops it, whose pass or proof would be
        // of this very function, and keep it alive.
        let ended = poll(&mut [PollFd::new(&self.ended, PollFlags::IN)], Some(&deadline));
        if matches!(ended, Ok(count) if count > 0) {
            let _ = self.thread.join();
        } else {
            tracing::error!("an NVMe worker did not end in time: file I/O is stuck; it is left behind");
        }
    }
}

/// How a round went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Worked,
    Idle,
    /// The gate is closed.
    Refused,
}

struct Loop<'a> {
    shared: &'a Shared,
    ring: Option<Ring>,
    out: Outbox,
    /// When there was last any work.
    last_work: Instant,
}

fn run(shared: &Shared) {
    let mut token = ThreadToken::at_thread_entry();
    // Sleeps of a few microseconds are meant as such. Failing costs latency only.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let _subscription: Subscription = shared.port.handle().subscribe(Arc::clone(&shared.waker) as _);
    let mut this = Loop { shared, ring: None, out: Outbox::default(), last_work: Instant::now() };
    loop {
        let orders = shared.orders();
        if orders == Order::End {
            break;
        }
        // The loop outlives a panic, and with it the ring and everything that is on its way: what was changed under the
        // engine's lock meanwhile is known to be half done, and the rest is moved in one step.
        if catch_unwind(AssertUnwindSafe(|| this.step(&mut token, orders))).is_err() {
            this.has_panicked(&mut token);
        }
    }
    this.end(&mut token);
}

impl Loop<'_> {
    fn step(&mut self, token: &mut ThreadToken, orders: Order) {
        if orders == Order::Panic {
            self.shared.take_panic();
            injected_panic();
        }
        if self.ring.is_none() && !self.make_ring(token) {
            return self.wait(token, false);
        }
        match self.round(token) {
            Round::Worked => self.last_work = Instant::now(),
            Round::Idle => self.wait(token, false),
            Round::Refused => self.wait(token, true),
        }
    }

    /// Makes the ring that a file needs. False: there is none, and the controller has come to a halt over it; its next reset
    /// tries again.
    fn make_ring(&mut self, token: &mut ThreadToken) -> bool {
        let Some(file) = &self.shared.file else { return true };
        if self.shared.is_halted(token) {
            return false;
        }
        match Ring::new(Arc::clone(file)) {
            Ok(ring) => self.ring = Some(ring),
            Err(error) => {
                let function = &self.shared.name;
                tracing::error!(function, %error, "no io_uring; is it disabled (kernel.io_uring_disabled)?");
                self.shared.worker_failed(token, Halt::Fatal, ErrorSign::DeviceFault("no io_uring"));
            }
        }
        self.ring.is_some()
    }

    /// A panic ends with the step that had it. The controller says that it has failed, whoever watches it is told, and the
    /// thread goes on: it takes in what the disk has finished, and works again after a reset.
    fn has_panicked(&mut self, token: &mut ThreadToken) {
        self.shared.worker_failed(token, Halt::Panicked, ErrorSign::DevicePanicked);
        // A fault that comes back in every step must not take a processor.
        self.shared.waker.park(token, None, |_| Some(RETRY));
    }

    fn round(&mut self, token: &mut ThreadToken) -> Round {
        if let Some(ring) = &mut self.ring {
            ring.reap(&mut self.out.finished);
        }
        let elsewhere = self.shared.elsewhere.as_deref();
        if let Some(elsewhere) = elsewhere {
            elsewhere.reap(&mut self.out.reaped);
        }
        let round = if let Ok(pass) = self.shared.port.handle().try_enter(token, AccessKind::Dma) {
            let worked = self.shared.turn(&pass, &mut self.out);
            for (slot, mut transfer) in self.out.starts.drain(..) {
                transfer.keep(pass.long(AccessKind::Dma, "NVMe file I/O"));
                if let Some(ring) = &mut self.ring {
                    ring.start(slot, transfer);
                }
            }
            if worked { Round::Worked } else { Round::Idle }
        } else {
            self.shared.take_in(token, &mut self.out);
            Round::Refused
        };
        if let Some(ring) = &mut self.ring {
            ring.submit();
        }
        if let Some(elsewhere) = elsewhere {
            elsewhere.ring(token);
        }
        // The pass has been left: the sink is somebody else's code.
        if self.shared.log(&mut self.out) {
            let detail = String::from("the backing failed a command; the guest was told");
            self.shared.port.report(Event::DeviceFault { detail });
        }
        round
    }

    /// Spins, sleeps or parks, as long as there has been no work.
    fn wait(&mut self, token: &mut ThreadToken, refused: bool) {
        let shared = self.shared;
        let polling = &shared.polling;
        let idle = self.last_work.elapsed();
        if !refused && idle < polling.spin {
            std::hint::spin_loop();
            return;
        }
        let enabled = shared.board.registers.cc().en();
        let polls = shared.doorbells == DoorbellStyle::Mapped && enabled && !refused;
        let mut longest = if polls {
            (idle / 4).clamp(polling.shortest_sleep, polling.longest_sleep)
        } else {
            LONGEST_PARK
        };
        let ring = self.ring.as_ref();
        if ring.is_some_and(Ring::has_unsubmitted) {
            longest = RETRY;
        }
        let out = &mut self.out;
        let elsewhere = shared.elsewhere.as_deref();
        let other = ring.map(Ring::fd).or_else(|| elsewhere.map(Elsewhere::fd));
        let readable = shared.waker.park(token, other, |token| {
            if shared.has_work(token, out, refused) {
                return None;
            }
            // A hold that ends while the gate is closed is looked at when it has reopened.
            Some(if refused { longest } else { shared.shorten_park(token, longest) })
        });
        if let Some(elsewhere) = elsewhere.filter(|_| readable) {
            elsewhere.clear();
        }
    }

    /// Waits, within bounds, for what is in flight, and brings what was written to the disk.
    fn end(mut self, token: &mut ThreadToken) {
        let deadline = Instant::now() + Duration::from_millis(WORKER_END_MS);
        if let Some(ring) = &mut self.ring {
            while ring.is_busy() && Instant::now() < deadline {
                ring.reap(&mut self.out.finished);
                self.shared.take_in(token, &mut self.out);
                ring.submit();
                if ring.is_busy() {
                    self.shared.waker.park(token, Some(ring.fd()), |_| Some(RETRY));
                }
            }
        }
        if let Some(elsewhere) = &self.shared.elsewhere {
            // Who takes the guest's memory back waits for the back end, if he must.
            self.shared.abandon(token);
            elsewhere.ring(token);
        }
        if let Some(file) = &self.shared.file
            && let Err(error) = file.sync()
        {
            tracing::error!(function = self.shared.name, %error, "the backing could not be flushed at the end");
        }
    }
}

/// What the fault `worker-panic` is.
#[cold]
fn injected_panic() {
    panic!("a panic of an NVMe worker, as it was asked for");
}

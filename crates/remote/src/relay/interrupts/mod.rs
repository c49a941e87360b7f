//! The back end's interrupts on their way to the consumer.
//!
//! The back end signals eventfds of this process, never the consumer's: so an interrupt passes the function's gate, containment and
//! injection like any other (law 3), and the wiring outlives the back end. [`Interrupts`] has the back end use the kind of interrupt
//! that the consumer has enabled, with as many vectors as it listens to, and a thread passes on what comes.
//!
//! * What the back end is told is a level: whoever finds the consumer's wiring changed brings the back end in line with what it is
//!   now, one after the other, so that the last one sees the last of it.
//! * When another back end is attached each vector in use is signalled once: an interrupt that the last one owed is lost with it, and
//!   drivers bear one too many.
//! * INTx: the back end masks itself when it signals. The consumer's unmask takes our level back and is passed on; the back end signals
//!   again if it still asserts. The first unmask after another back end was attached leaves the level: the consumer may have looked
//!   at what the last one said.
//!
//! What it does not do: error and request notifiers of a back end are not wired. It is lost or it is not.
//!
//! # Concurrency
//! One leaf (rank 103, relayed interrupts) for a look or a change; messages are sent outside, by one thread at a time, which is
//! a flag with a condition. The thread `irq-<name>` waits in epoll, and for the function's gate; it ends with the relay.

mod listener;
mod plan;
mod wire;

pub use wire::Wire;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use assign::{Event, InterruptRelay, IrqMode, Port};
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{AccessKind, Deadline, ThreadToken};
use rustix::io::Errno;
use thiserror::Error;

use crate::link::LinkError;
use crate::ranks;
use listener::{Listener, ring};
use plan::{Step, Told};

/// Follows what the consumer does with interrupts, over any number of back ends.
pub struct Interrupts {
    /// The port keeps this relay, so it is not kept by it.
    port: Weak<Port>,
    listener: Arc<Listener>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Rank: 103, relayed interrupts; a leaf. Who is connected, what it was told, and who tells it: one decision.
    state: Leaf<ranks::Wired, State>,
    /// Nobody tells the back end any more.
    told: Condvar,
}

#[derive(Default)]
struct State {
    /// One for each vector that was ever in use.
    eventfds: Vec<Arc<OwnedFd>>,
    wire: Option<Arc<dyn Wire>>,
    told: Told,
    /// The consumer may want something else than it was told.
    changed: bool,
    /// Somebody tells the back end.
    telling: bool,
    /// INTx is to be signalled for an interrupt that the last back end may have owed, also if it is masked just now.
    owes_line: bool,
}

/// Why there is no relay.
#[derive(Debug, Error)]
pub enum FollowError {
    /// Somebody follows the port's interrupts already.
    #[error("the function's interrupts are relayed already")]
    Taken,
    /// No descriptor, or no thread.
    #[error("the system has nothing left to hear interrupts with: {0}")]
    System(#[from] std::io::Error),
}

/// How long attaching a back end may wait for who tells the last one; that one's hang limit is shorter.
const PATIENCE: Duration = Duration::from_secs(4);

impl Interrupts {
    /// A relay that follows what the consumer of `port` does. Its thread ends with [`Interrupts::close`], or when the relay is
    /// dropped.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn follow(name: &str, port: &Arc<Port>) -> Result<Arc<Interrupts>, FollowError> {
        let system = |errno: Errno| FollowError::System(errno.into());
        let listener = Arc::new(Listener::new(port).map_err(system)?);
        let shared = Arc::new(Shared { state: Leaf::new(State::default()), told: Condvar::new() });
        let relay = Arc::new(Interrupts {
            port: Arc::downgrade(port),
            listener: Arc::clone(&listener),
            shared: Arc::clone(&shared),
        });
        std::thread::Builder::new().name(format!("irq-{name}")).spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            listener.listen(&mut token, |vector| shared.eventfd(vector));
        })?;
        if port.relay_interrupts(relay.clone()) { Ok(relay) } else { Err(FollowError::Taken) }
    }

    /// Another back end is connected: it is told what the consumer wants, and of every change from now on. Each vector in use is
    /// signalled once.
    ///
    /// # Errors
    /// The connection was lost, or has been cut. Call [`Interrupts::detach`] then.
    pub fn attach(&self, token: &mut ThreadToken, wire: Arc<dyn Wire>) -> Result<(), LinkError> {
        {
            let mut state = self.shared.state.lock();
            state.wire = Some(wire);
            state.told = Told::default();
        }
        self.bring_in_line(token, Deadline::after(PATIENCE))?;
        let in_use = {
            let mut state = self.shared.state.lock();
            state.owes_line = state.told.mode == Some(IrqMode::Intx);
            state.eventfds.iter().take(state.told.vectors).cloned().collect::<Vec<_>>()
        };
        in_use.iter().for_each(ring);
        Ok(())
    }

    /// Nobody is connected any more. May come at any time, from any thread, and more than once.
    pub fn detach(&self) {
        let wire = self.shared.state.lock().wire.take();
        drop(wire);
    }

    /// Nothing is passed on any more, and the thread ends soon.
    pub fn close(&self) {
        self.detach();
        self.listener.end();
    }

    /// Tells the back end what the consumer wants now, unless somebody does it already who has not looked yet.
    fn bring_in_line(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), LinkError> {
        self.shared.state.lock().changed = true;
        let mut late = false;
        loop {
            let mut state = self.shared.state.lock();
            if !state.telling && state.changed {
                state.telling = true;
                break;
            }
            // Whoever tells it looks again before it is done.
            if !state.changed || late {
                return Ok(());
            }
            drop(state);
            late = self.shared.wait_for_turn(token, deadline);
        }
        let mut done = Ok(());
        loop {
            let (wire, told) = {
                let mut state = self.shared.state.lock();
                if !std::mem::take(&mut state.changed) {
                    state.telling = false;
                    break;
                }
                (state.wire.clone(), state.told)
            };
            let Some(wire) = wire else { continue };
            done = self.tell(token, &wire, told);
        }
        self.shared.told.notify_all();
        done
    }

    /// Brings one back end in line.
    fn tell(&self, token: &mut ThreadToken, wire: &Arc<dyn Wire>, told: Told) -> Result<(), LinkError> {
        let Some(port) = self.port.upgrade() else { return Ok(()) };
        let mut wanted = Told::of(port.interrupts().wanted(token));
        let (eventfds, error) = self.shared.eventfds(&self.listener, wanted.vectors);
        if let Some(errno) = error {
            let detail = format!("no more interrupts of the back end can be heard: {errno}");
            port.report(Event::Notice { detail });
        }
        wanted.vectors = wanted.vectors.min(eventfds.len());
        let done = carry_out(token, &**wire, told, wanted, &eventfds);
        match done {
            Ok(told) => {
                let mut state = self.shared.state.lock();
                // Not of the one before, if there is another by now.
                if state.wire.as_ref().is_some_and(|present| Arc::ptr_eq(present, wire)) {
                    state.told = told;
                }
                Ok(())
            }
            Err(error) => {
                if matches!(error, LinkError::Refused { .. } | LinkError::Request(_)) {
                    wire.cut("it refuses interrupts that it has offered");
                }
                Err(error)
            }
        }
    }
}

impl InterruptRelay for Interrupts {
    fn rewired(&self, token: &mut ThreadToken, deadline: Deadline) {
        // A back end that was lost over it is the supervisor's; the next one is told.
        let _ = self.bring_in_line(token, deadline);
    }

    fn unmasking(&self, token: &mut ThreadToken, deadline: Deadline) {
        let (wire, owes_line) = {
            let mut state = self.shared.state.lock();
            (state.wire.clone(), std::mem::take(&mut state.owes_line))
        };
        if !owes_line
            && let Some(port) = self.port.upgrade()
            && let Ok(pass) = port.handle().enter(token, AccessKind::Interrupt, deadline)
        {
            port.interrupts().set_intx(&pass, false);
        }
        if let Some(wire) = wire {
            // A back end without masks refuses, and signals whenever it wants to.
            let _ = wire.unmask(token);
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Waits until nobody tells the back end. True: somebody does, at the deadline.
    fn wait_for_turn(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        let _shown = Waiting::new(token, "interrupts", None, "a back end to be told of an earlier change");
        let mut late = false;
        let mut state = self.state.lock();
        while state.telling && !late {
            (state, late) = self.told.wait(state, token, deadline);
        }
        late
    }

    fn eventfd(&self, vector: u64) -> Option<Arc<OwnedFd>> {
        self.state.lock().eventfds.get(usize::try_from(vector).ok()?).cloned()
    }

    /// As many eventfds, from the first vector on; fewer if the system has no more, and what it says. Called by whoever tells
    /// the back end, one at a time.
    fn eventfds(&self, listener: &Listener, count: usize) -> (Vec<Arc<OwnedFd>>, Option<Errno>) {
        let mut eventfds = self.state.lock().eventfds.clone();
        while eventfds.len() < count {
            match listener.add(eventfds.len() as u64) {
                Ok(fd) => {
                    eventfds.push(Arc::clone(&fd));
                    self.state.lock().eventfds.push(fd);
                }
                Err(errno) => return (eventfds, Some(errno)),
            }
        }
        eventfds.truncate(count);
        (eventfds, None)
    }
}

fn carry_out(
    token: &mut ThreadToken,
    wire: &dyn Wire,
    told: Told,
    wanted: Told,
    eventfds: &[Arc<OwnedFd>],
) -> Result<Told, LinkError> {
    let index = wanted.mode.map(plan::index);
    let can_grow = match index.filter(|_| told.grows_to(wanted)) {
        Some(index) => wire.can_grow(token, index)?,
        None => true,
    };
    let (steps, then) = told.steps_to(wanted, can_grow);
    for step in steps {
        match step {
            Step::Disable(index) => wire.disable(token, index)?,
            Step::Wire { index, start, end } => {
                let fds: Vec<_> =
                    eventfds.get(start..end).unwrap_or_default().iter().map(|fd| fd.as_fd()).collect();
                let start = u32::try_from(start).map_err(|_| LinkError::Request("too many vectors"))?;
                wire.wire(token, index, start, &fds)?;
            }
        }
    }
    Ok(then)
}

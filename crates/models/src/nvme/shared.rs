//! What a controller and its worker have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use assign::Port;
use gate::lock::Lock;
use gate::{AccessKind, Held, Pass, ThreadToken};
use pci_core::ErrorSign;

use super::backing::FileBacking;
use super::board::Board;
use super::config::{DoorbellStyle, Polling};
use super::elsewhere::Elsewhere;
use super::engine::{Cx, Engine, Halt};
use super::log::Log;
use super::outbox::Outbox;
use super::wake::Waker;
use crate::ranks;

/// What the worker is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Order {
    /// Its work.
    Run,
    /// Panic once, and then its work.
    Panic,
    /// End.
    End,
}

/// Shared state of a controller.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) port: Arc<Port>,
    pub(super) board: Arc<Board>,
    /// Rank: 55, NVMe engine. Taken under a pass or proof of this function's gate, or with nothing held. Letting go of
    /// guest memory under it may take the DMA map's drain lock, a leaf; long passes are taken and let go outside.
    /// A lock, because a turn and a register write change many things at once (queues, slots, phase). Held for one
    /// turn of the worker or one register write, its only users; uncontended it costs a turn about 16 ns.
    engine: Lock<ranks::NvmeEngine, Engine>,
    pub(super) waker: Arc<Waker>,
    order: AtomicU8,
    pub(super) doorbells: DoorbellStyle,
    pub(super) polling: Polling,
    pub(super) file: Option<Arc<FileBacking>>,
    /// Who executes the commands, if that is not done here.
    pub(super) elsewhere: Option<Arc<dyn Elsewhere>>,
    log: Log,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "one caller, each argument a part")]
    pub(super) fn new(
        name: String,
        port: Arc<Port>,
        board: Arc<Board>,
        engine: Engine,
        waker: Arc<Waker>,
        doorbells: DoorbellStyle,
        polling: Polling,
        file: Option<Arc<FileBacking>>,
        elsewhere: Option<Arc<dyn Elsewhere>>,
    ) -> Self {
        Self {
            name,
            port,
            board,
            engine: Lock::new(engine),
            waker,
            order: AtomicU8::new(Order::Run as u8),
            doorbells,
            polling,
            file,
            elsewhere,
            log: Log::new(),
        }
    }

    /// Calls into the engine under its lock, and carries out afterwards what needs no worker.
    pub(super) fn with_engine<R>(
        &self,
        held: &impl Held,
        out: &mut Outbox,
        call: impl FnOnce(&mut Engine, &mut Outbox) -> R,
    ) -> R {
        let result = Whole::call(&mut self.engine.lock_inside(held), |engine| call(engine, out));
        out.passes.clear();
        if std::mem::take(&mut out.line_changed) {
            self.follow_line(held);
        }
        result
    }

    /// One turn of the worker, under its pass. Says whether there was work.
    pub(super) fn turn(&self, pass: &Pass<'_>, out: &mut Outbox) -> bool {
        let worked = self.with_engine(pass, out, |engine, out| {
            // The clock is read only while INTx is held low.
            if engine.hold_end().is_some() {
                engine.end_hold(Instant::now(), out);
            }
            engine.turn(&mut self.cx(pass, out))
        });
        self.signal(pass, out);
        worked
    }

    /// What can be done while the gate is closed. What it decides about interrupts waits for the next pass.
    pub(super) fn take_in(&self, token: &mut ThreadToken, out: &mut Outbox) {
        Whole::call(&mut self.engine.lock(token), |engine| engine.take_in(out));
        out.passes.clear();
    }

    /// The controller is gone: nothing of it is to go on elsewhere.
    pub(super) fn abandon(&self, token: &mut ThreadToken) {
        Whole::call(&mut self.engine.lock(token), Engine::abandon);
    }

    /// Tells the worker what to do, once it looks.
    pub(super) fn order(&self, order: Order) {
        self.order.store(order as u8, Ordering::Release);
    }

    /// What the worker is to do.
    #[inline]
    pub(super) fn orders(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Run,
            1 => Order::Panic,
            _ => Order::End,
        }
    }

    /// Takes an order to panic: it is carried out once, and never instead of an order to end.
    pub(super) fn take_panic(&self) {
        let (panic, run) = (Order::Panic as u8, Order::Run as u8);
        let _ended = self.order.compare_exchange(panic, run, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The controller comes to a halt.
    pub(super) fn halt(&self, held: &impl Held, halt: Halt) {
        self.engine.lock_inside(held).halt(halt);
    }

    /// The worker has met with something that it cannot go on with.
    pub(super) fn worker_failed(&self, token: &mut ThreadToken, halt: Halt, sign: ErrorSign) {
        self.engine.lock(token).halt(halt);
        self.port.fault(token, sign);
    }

    /// Whether the controller has come to a halt.
    pub(super) fn is_halted(&self, token: &mut ThreadToken) -> bool {
        self.engine.lock(token).is_halted()
    }

    /// Whether the worker, about to park, has work after all.
    pub(super) fn has_work(&self, token: &ThreadToken, out: &mut Outbox, refused: bool) -> bool {
        if self.orders() != Order::Run {
            return true;
        }
        match self.port.handle().try_enter(token, AccessKind::Dma) {
            Ok(pass) => {
                let look = |engine: &mut Engine| engine.has_work(&mut self.cx(&pass, out));
                refused || Whole::call(&mut self.engine.lock_inside(&pass), look)
            }
            Err(_) => !refused,
        }
    }

    /// How long the worker may park without missing the end of a hold of INTx; at most `longest`.
    pub(super) fn shorten_park(&self, token: &mut ThreadToken, longest: Duration) -> Duration {
        let end = self.engine.lock(token).hold_end();
        end.map_or(longest, |end| end.saturating_duration_since(Instant::now()).min(longest))
    }

    /// Raises the interrupts that were decided on.
    pub(super) fn signal(&self, pass: &Pass<'_>, out: &mut Outbox) {
        let mut vectors = std::mem::take(&mut out.vectors);
        while vectors != 0 {
            #[expect(clippy::cast_possible_truncation, reason = "below 128")]
            let vector = vectors.trailing_zeros() as u16;
            self.port.interrupts().signal(pass, vector);
            vectors &= vectors - 1;
        }
    }

    /// Logs what was noted. Says whether the operator is to be told of a failure of the backing.
    pub(super) fn log(&self, out: &mut Outbox) -> bool {
        out.take_notes().is_some_and(|counts| self.log.report(&self.name, &counts))
    }

    /// The engine, for a test that knows what it is about.
    #[cfg(test)]
    pub(super) fn with_engine_of_test<R>(
        &self,
        token: &mut ThreadToken,
        call: impl FnOnce(&mut Engine) -> R,
    ) -> R {
        Whole::call(&mut self.engine.lock(token), call)
    }

    /// Facts for an operator.
    pub(super) fn describe(&self) -> Vec<(String, String)> {
        let mut facts = self.engine.look(Engine::describe);
        if let Some(elsewhere) = &self.elsewhere {
            // It may take a leaf to say so: not under the lock.
            let state = if elsewhere.is_up() { "up" } else { "away" };
            facts.push((String::from("back end"), state.to_owned()));
        }
        facts
    }

    fn cx<'a>(&'a self, pass: &'a Pass<'a>, out: &'a mut Outbox) -> Cx<'a> {
        let bus_master = self.port.config().masters_bus();
        Cx { pass, dma: self.port.dma(), bus_master, out }
    }

    /// Sets INTx to the level that the engine decided on. Two threads may be here with different levels: whoever acts
    /// last looks at the level after acting, so the newest one stays.
    fn follow_line(&self, held: &impl Held) {
        loop {
            let level = self.board.line();
            self.board.show_line(level);
            self.port.interrupts().set_intx(held, level);
            if self.board.line() == level {
                break;
            }
        }
    }
}

/// Notices that a panic goes through a change of the engine: the change may be half done.
struct Whole<'a>(&'a mut Engine);

impl Whole<'_> {
    #[inline]
    fn call<R>(engine: &mut Engine, change: impl FnOnce(&mut Engine) -> R) -> R {
        let whole = Whole(engine);
        let result = change(&mut *whole.0);
        // Not on the way of a panic, which drops it.
        std::mem::forget(whole);
        result
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        self.0.halt(Halt::Torn);
    }
}

//! Drivers in this process.

use super::board::Board;
use crate::machine::tally::note;
use gate::ThreadToken;
use pci_core::recovery::{Channel, Handlers, Vote};
use slot::{Binding, Bound, Controller, Driver, ProbeError, Removal};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// A call of a driver.
pub(crate) struct Visit<'a> {
    /// "probe", "request", "keep", "remove", or what the driver is told of errors.
    pub(crate) call: &'static str,
    pub(crate) binding: &'a Arc<Binding>,
    pub(crate) board: &'a Board,
    pub(crate) slot: Option<Arc<Controller>>,
}

/// What a driver does when it is called.
pub(crate) type OnCall = fn(&Visit<'_>, &mut ThreadToken);

/// A driver for everything.
pub(crate) struct Tame {
    board: Arc<Board>,
    slot: OnceLock<Weak<Controller>>,
    on_call: OnCall,
    /// The functions that it has, in the order in which it got them.
    has: Arc<Mutex<Vec<String>>>,
}

impl Tame {
    pub(crate) fn new(board: &Arc<Board>, on_call: OnCall) -> Arc<Tame> {
        let (slot, has) = (OnceLock::new(), Arc::default());
        Arc::new(Tame { board: board.clone(), slot, on_call, has })
    }

    /// The slot that it knows, for those who talk to it.
    pub(crate) fn knows(&self, slot: &Arc<Controller>) {
        let _known = self.slot.set(Arc::downgrade(slot));
    }
}

/// A driver at its function.
struct AtWork {
    binding: Arc<Binding>,
    board: Arc<Board>,
    slot: Option<Weak<Controller>>,
    on_call: OnCall,
    has: Arc<Mutex<Vec<String>>>,
    ended: AtomicBool,
}

impl Driver for Tame {
    fn name(&self) -> &str {
        "tame"
    }

    fn probe(&self, token: &mut ThreadToken, function: &Arc<Binding>) -> Result<Box<dyn Bound>, ProbeError> {
        self.has.lock().unwrap_or_else(PoisonError::into_inner).push(name(function));
        let at_work = AtWork {
            binding: function.clone(),
            board: self.board.clone(),
            slot: self.slot.get().cloned(),
            on_call: self.on_call,
            has: self.has.clone(),
            ended: AtomicBool::new(false),
        };
        at_work.called("probe", token);
        Ok(Box::new(at_work))
    }
}

fn name(function: &Binding) -> String {
    function.function().function().name().to_owned()
}

impl AtWork {
    fn called(&self, call: &'static str, token: &mut ThreadToken) {
        note(call, &Ok::<_, ()>(()));
        let slot = self.slot.as_ref().and_then(Weak::upgrade);
        (self.on_call)(&Visit { call, binding: &self.binding, board: &self.board, slot }, token);
    }

    /// The last call: never a second one, and the function that came last goes first (HP-01).
    fn end(&self, what: &'static str, token: &mut ThreadToken) {
        self.called(what, token);
        let name = name(&self.binding);
        self.board.journal.demand(!self.ended.swap(true, Relaxed), || format!("{name}: {what} twice"));
        let last = self.has.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let same = last.as_ref() == Some(&name) || self.board.out_of_turn.load(Relaxed);
        self.board.journal.demand(same, || format!("{what} of {name} before {last:?} (HP-01)"));
    }
}

impl Bound for AtWork {
    fn request(&mut self, token: &mut ThreadToken, _nth: u32) {
        self.called("request", token);
    }

    fn keep(&mut self, token: &mut ThreadToken) {
        self.called("keep", token);
    }

    fn remove(self: Box<Self>, token: &mut ThreadToken, _removal: Removal) {
        let gone = self.binding.function().is_gone() || self.board.out_of_turn.load(Relaxed);
        self.board.journal.demand(gone, || format!("{}: removed before it is gone", name(&self.binding)));
        self.end("remove", token);
    }

    fn shutdown(&mut self, token: &mut ThreadToken) {
        self.end("shutdown", token);
    }

    fn error_handlers(&self) -> Handlers {
        Handlers::ERROR_DETECTED | Handlers::SLOT_RESET | Handlers::RESUME
    }

    fn error_detected(&mut self, token: &mut ThreadToken, _channel: Channel) -> Vote {
        self.called("error detected", token);
        Vote::NeedReset
    }

    fn slot_reset(&mut self, token: &mut ThreadToken) -> Vote {
        self.called("slot reset", token);
        Vote::Recovered
    }

    fn resume(&mut self, token: &mut ThreadToken) {
        self.called("resume", token);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let ended = self.ended.load(Relaxed) || std::thread::panicking();
        self.board
            .journal
            .demand(ended, || format!("{}: neither removed nor shut down", name(&self.binding)));
    }
}

//! How a function's mappings follow its gate: those in this process at once, on the thread that changed the gate,
//! those in other processes by the keeper.

use super::list::Given;
use super::{Inner, NotSettled};
use crate::memory::keeper;
use crate::memory::lent::{self, Charge, Lent};
use gate::{Admission, Deadline, Exclusive, Gate, Handle, ThreadToken, Wake};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// What the gate knows of a function's mappings. Weak: the mappings have the gate, and the gate has this.
pub(super) struct Follower(Weak<Inner>);

impl Follower {
    pub(super) fn of(inner: &Arc<Inner>) -> Arc<Follower> {
        Arc::new(Follower(Arc::downgrade(inner)))
    }
}

impl Wake for Follower {
    fn wake(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.mapped().iter().for_each(|mapped| mapped.look());
            inner.cut_off_if_gone();
            inner.tell_keeper();
        }
    }
}

impl Inner {
    /// A removal waits for no keeper: from when it returns, nothing that another process does reaches the device's
    /// memory.
    fn cut_off_if_gone(&self) {
        if self.handle.admission() == Admission::Gone {
            for given in self.given() {
                // What fails is tried again by the keeper, which reports it.
                let _ = given.lent.memory().sever();
            }
        }
    }

    /// Has the keeper see to what other processes have.
    pub(super) fn tell_keeper(self: &Arc<Inner>) {
        if !self.list.lock().given().is_empty() {
            let charge: Arc<dyn Charge> = Arc::<Inner>::clone(self);
            keeper::tell(&charge);
        }
    }

    /// The process that was given it has left.
    pub(super) fn take_back(self: &Arc<Inner>, lent: &Arc<Lent>) {
        lent.leave();
        self.tell_keeper();
    }

    pub(super) fn reveal(&self, held: &impl Exclusive) {
        // What fails is tried again by the keeper, which reports it.
        let _ = lent::follow(self, held, false);
    }

    /// Has the keeper zap, as soon as it can.
    pub(super) fn zap_later(self: &Arc<Inner>) {
        self.zap_owed.store(true, Ordering::SeqCst);
        let charge: Arc<dyn Charge> = Arc::<Inner>::clone(self);
        if let Err(error) = keeper::start_and_tell(&charge) {
            let function = self.gate.name();
            tracing::error!(function, %error, "what is mapped is not taken away before the function is closed again");
        }
    }

    /// Under a proof. What is owed by now is paid with it; what comes to be owed later is not, and stays.
    pub(super) fn zap(&self) {
        self.zap_owed.store(false, Ordering::SeqCst);
        self.mapped().iter().for_each(|mapped| mapped.zap());
    }

    pub(super) fn settle(
        self: &Arc<Inner>,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<(), NotSettled> {
        if self.list.lock().given().is_empty() && !self.owes_zap() {
            return Ok(());
        }
        let charge: Arc<dyn Charge> = Arc::<Inner>::clone(self);
        if keeper::settle(&charge, token, deadline) { Ok(()) } else { Err(NotSettled) }
    }
}

impl Charge for Inner {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn lent(&self) -> Vec<Arc<Lent>> {
        self.list.lock().given().iter().map(|given| Arc::clone(&given.lent)).collect()
    }

    fn owes_zap(&self) -> bool {
        self.zap_owed.load(Ordering::SeqCst)
    }

    fn pay_zap(&self) {
        if self.owes_zap() {
            self.zap();
        }
    }

    fn forget(&self, lent: &Arc<Lent>) {
        let taken_out = self.list.lock().remove_given(lent);
        drop(taken_out);
    }

    fn before_exchange(&self) {
        self.mapped().iter().for_each(|mapped| mapped.zap());
    }

    fn after_exchange(&self) {
        self.mapped().iter().for_each(|mapped| mapped.remap());
        if self.handle.admission() == Admission::Frozen {
            let count = |given: &Arc<Given>| given.hidden.fetch_add(1, Ordering::Relaxed);
            self.given().iter().for_each(|given| _ = count(given));
        }
    }
}

//! The driver: what the front submits to, and the supervisor brings up.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use gate::ThreadToken;
use models::nvme::elsewhere::{Elsewhere, Facts, Reaped};
use nvme_spec::SubmissionEntry;

use super::bring_up::Attempt;
use super::core::{Core, Work};
use super::error::BringUpError;
use super::journal::Replayed;
use super::layout::Layout;
use super::wire::{BAR0, Wire};
use super::{GUEST_QUEUES, Options};
use crate::fence::Fenced;
use crate::link::Loss;

/// An NVMe controller at a back end, which may be replaced.
pub struct Driver {
    core: Core,
    facts: Facts,
}

impl Driver {
    /// Takes the first back end into use. What it is is what all later ones must be.
    ///
    /// # Errors
    /// [`BringUpError`]; the connection is the caller's to end.
    pub fn open(
        token: &mut ThreadToken,
        wire: Arc<dyn Wire>,
        options: Options,
    ) -> Result<Arc<Self>, BringUpError> {
        let core = Core::new(options).map_err(BringUpError::Memory)?;
        Attempt::begin(&core, wire).run(token, false, true, |_| Ok(()))?;
        let identity = core.with(|state| state.identity.clone()).ok_or(BringUpError::Superseded)?;
        let facts = Facts {
            identify: identity.identify,
            capabilities: identity.capabilities,
            version: identity.version,
            max_queues: GUEST_QUEUES,
        };
        Ok(Arc::new(Self { core, facts }))
    }

    /// The connection is lost. Commands wait; whoever waits for the back end in [`Driver::bring_up`] returns. Waits for nobody; any
    /// thread.
    pub fn lost(&self) {
        self.core.lose();
    }

    /// The back end that was lost is known to be over: what the guest has given up meanwhile is settled, without the next back
    /// end. Waits for nobody; any thread.
    pub fn fenced(&self) {
        self.core.fence();
    }

    /// Takes the next back end into use, after [`Driver::lost`]: checks that it is what the guest knows, and gives it what
    /// was under way. The old one is over, or it is not known whether it is, which is what `fenced` says.
    ///
    /// # Errors
    /// [`BringUpError`]; nothing that was under way is lost, and the connection is the caller's to end.
    pub fn bring_up(
        &self,
        token: &mut ThreadToken,
        wire: Arc<dyn Wire>,
        fenced: Fenced,
    ) -> Result<Replayed, BringUpError> {
        self.bring_up_with(token, wire, fenced, |_| Ok(()))
    }

    /// As [`Driver::bring_up`]. `memory` gives the back end what the guest has mapped, and is called once it is known to be what the
    /// guest knows, before it has any command of the guest's: one that is refused never has the guest's memory.
    ///
    /// # Errors
    /// [`BringUpError`], that of `memory` among them.
    pub fn bring_up_with(
        &self,
        token: &mut ThreadToken,
        wire: Arc<dyn Wire>,
        fenced: Fenced,
        memory: impl FnOnce(&mut ThreadToken) -> Result<(), BringUpError>,
    ) -> Result<Replayed, BringUpError> {
        Attempt::begin(&self.core, wire).run(token, false, fenced.allows_writes(), memory)
    }

    /// Commands that have no answer yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.core.with(|state| state.journal.under_way())
    }

    /// Addresses and length of the memory that back ends are given for queues. Consumers must not map there.
    #[must_use]
    pub fn window(&self) -> (u64, u64) {
        let options = &self.core.options;
        (options.iova, Layout::largest(options.queues, options.depth) as u64)
    }

    /// The guest's controller was reset while the back end is there: so is the back end's.
    #[cold]
    fn reset(&self, token: &mut ThreadToken, wire: Arc<dyn Wire>, number: u64) {
        let attempt = Attempt::begun(&self.core, Arc::clone(&wire), number);
        match attempt.run(token, true, true, |_| Ok(())) {
            // Whoever brings up another connection, or has seen this one end, takes it from here.
            Ok(_) | Err(BringUpError::Superseded) => {}
            Err(error) => {
                tracing::warn!(%error, "the back end's controller could not be reset");
                wire.cut(Loss::Cut("its controller could not be reset"));
            }
        }
    }
}

impl Elsewhere for Driver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    #[inline]
    fn submit(&self, queue: u16, tag: u16, entry: &SubmissionEntry) -> bool {
        self.core.submit(queue, tag, entry)
    }

    fn ring(&self, token: &mut ThreadToken) {
        match self.core.due() {
            Work::Nothing => {}
            Work::Ring(wire, due) => {
                for (offset, value) in due.iter() {
                    // A connection that fails says so itself; what was not told is told the next back end.
                    if wire.post(token, BAR0, offset, &value.to_le_bytes()).is_err() {
                        break;
                    }
                }
            }
            Work::Reset(wire, number) => self.reset(token, wire, number),
            Work::Cut(wire, why) => wire.cut(Loss::Nonsense(why)),
        }
        if self.core.take_fired()
            && let Some(wire) = self.core.wire()
        {
            // As above.
            let _ = wire.unmask(token, vfio_user::codec::irq_index::INTX);
        }
    }

    #[inline]
    fn reap(&self, reaped: &mut Vec<Reaped>) {
        self.core.reap(reaped);
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.core.event.as_fd()
    }

    fn clear(&self) {
        self.core.clear();
    }

    fn abandon(&self) {
        self.core.abandon();
    }

    fn is_settled(&self) -> bool {
        self.core.is_settled()
    }

    fn is_up(&self) -> bool {
        self.core.is_up()
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("options", &self.core.options).finish_non_exhaustive()
    }
}

//! A driver's hold on its function.

use crate::controller::Controller;
use crate::event::Event;
use crate::ranks;
use assign::{Assignment, AttachError, Attached};
use gate::ThreadToken;
use gate::lock::Leaf;
use std::sync::{Arc, Weak};

/// One function that a driver was given. As long as it holds, nobody else can attach.
pub struct Binding {
    function: Arc<Assignment>,
    /// Rank: 93, slot binding; a leaf: the driver may let go on any thread while the slot takes the hold away.
    hold: Leaf<ranks::Binding, Option<Attached>>,
    slot: Weak<Controller>,
}

impl Binding {
    pub(crate) fn attach(
        function: &Arc<Assignment>,
        slot: Weak<Controller>,
        token: &mut ThreadToken,
    ) -> Result<Arc<Binding>, AttachError> {
        let hold = Leaf::new(Some(function.attach(token)?));
        Ok(Arc::new(Binding { function: Arc::clone(function), hold, slot }))
    }

    /// The function. Once it was released or revoked it answers with errors only, or belongs to somebody else.
    pub fn function(&self) -> &Arc<Assignment> {
        &self.function
    }

    /// Whether the driver has the function.
    pub fn holds(&self) -> bool {
        self.hold.lock().is_some()
    }

    /// Lets go: what the driver mapped and wired is dropped, which waits for DMA in flight as [`Attached::detach`] does. Nothing
    /// happens the second time.
    pub fn release(&self, token: &mut ThreadToken) {
        if self.take_away(token)
            && let Some(slot) = self.slot.upgrade()
        {
            slot.post(Event::Released);
        }
    }

    /// Ends the hold; false if there was none.
    pub(crate) fn take_away(&self, token: &mut ThreadToken) -> bool {
        let hold = self.hold.lock().take();
        let held = hold.is_some();
        if let Some(hold) = hold {
            hold.detach(token);
        }
        held
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding").field("function", self.function.function()).finish_non_exhaustive()
    }
}

//! What the relay of interrupts needs of a connection.

use std::os::fd::BorrowedFd;

use gate::ThreadToken;
use vfio_user::codec::{IrqInfoFlags, SetIrqsFlags, irq_index};

use crate::link::{Link, LinkError, Loss};

/// A connection to a back end, as far as interrupts are concerned. [`Link`] is one. Each call ends within its hang limit.
pub trait Wire: Send + Sync {
    /// Has the back end signal vectors `start..` of an index through eventfds, one each. The first call enables the index.
    ///
    /// # Errors
    /// See [`LinkError`].
    fn wire(
        &self,
        token: &mut ThreadToken,
        index: u32,
        start: u32,
        eventfds: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError>;

    /// Switches an index off.
    ///
    /// # Errors
    /// See [`LinkError`].
    fn disable(&self, token: &mut ThreadToken, index: u32) -> Result<(), LinkError>;

    /// Unmasks INTx, which is signalled again then if it is still asserted.
    ///
    /// # Errors
    /// See [`LinkError`].
    fn unmask(&self, token: &mut ThreadToken) -> Result<(), LinkError>;

    /// Whether vectors can be added to an index that is enabled.
    ///
    /// # Errors
    /// See [`LinkError`].
    fn can_grow(&self, token: &mut ThreadToken, index: u32) -> Result<bool, LinkError>;

    /// Ends the connection. Waits for nobody.
    fn cut(&self, why: &'static str);
}

impl Wire for Link {
    fn wire(
        &self,
        token: &mut ThreadToken,
        index: u32,
        start: u32,
        eventfds: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        self.set_irq_eventfds(token, index, start, eventfds)
    }

    fn disable(&self, token: &mut ThreadToken, index: u32) -> Result<(), LinkError> {
        self.disable_irqs(token, index)
    }

    fn unmask(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        self.irq_action(token, irq_index::INTX, 0, 1, SetIrqsFlags::ACTION_UNMASK)
    }

    fn can_grow(&self, token: &mut ThreadToken, index: u32) -> Result<bool, LinkError> {
        Ok(self.irq_info(token, index)?.flags & IrqInfoFlags::NORESIZE.bits() == 0)
    }

    fn cut(&self, why: &'static str) {
        Link::cut(self, Loss::Cut(why));
    }
}

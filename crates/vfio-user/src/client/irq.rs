//! Interrupts.

use std::os::fd::BorrowedFd;

use gate::ThreadToken;
use zerocopy::IntoBytes;

use super::{Client, ClientError};
use crate::codec::{Command, SetIrqs, SetIrqsFlags};

impl Client {
    /// Signals vectors `start..` of an index through eventfds, one each. At most as many as the server takes in
    /// one message ([`Client::capabilities`]).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn set_irq_eventfds(
        &mut self,
        token: &mut ThreadToken,
        index: u32,
        start: u32,
        eventfds: &[BorrowedFd<'_>],
    ) -> Result<(), ClientError> {
        let count = u32::try_from(eventfds.len()).map_err(|_| ClientError::Request("too many vectors"))?;
        let flags = SetIrqsFlags::DATA_EVENTFD | SetIrqsFlags::ACTION_TRIGGER;
        self.set_irqs(token, SetIrqs { argsz: 20, flags: flags.bits(), index, start, count }, &[], eventfds)
    }

    /// Switches an index off and lets go of its eventfds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn disable_irqs(&mut self, token: &mut ThreadToken, index: u32) -> Result<(), ClientError> {
        self.irq_action(token, index, 0, 0, SetIrqsFlags::ACTION_TRIGGER)
    }

    /// Masks, unmasks or fires vectors `start..start + count` of an index.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn irq_action(
        &mut self,
        token: &mut ThreadToken,
        index: u32,
        start: u32,
        count: u32,
        action: SetIrqsFlags,
    ) -> Result<(), ClientError> {
        let flags = (SetIrqsFlags::DATA_NONE | action).bits();
        self.set_irqs(token, SetIrqs { argsz: 20, flags, index, start, count }, &[], &[])
    }

    /// Sends a `DEVICE_SET_IRQS` as it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn set_irqs(
        &mut self,
        token: &mut ThreadToken,
        set: SetIrqs,
        data: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ClientError> {
        self.call(token, Command::DeviceSetIrqs, &[set.as_bytes(), data], fds).map(drop)
    }
}

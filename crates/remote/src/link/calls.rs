//! What a back end can be asked. Each call has a turn with the connection, and the client does the talking.

use std::os::fd::BorrowedFd;

use gate::{Deadline, ThreadToken};
use vfio_user::client::{Client, ClientError, Region};
use vfio_user::codec::{Command, DeviceInfo, DmaMap, IrqInfo, SetIrqs, SetIrqsFlags};
use vfio_user::connection::MAX_MESSAGE_FDS;

use super::loss::judge;
use super::{Link, LinkError};

/// Whether a reply is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reply {
    Awaited,
    /// There is none.
    None,
    /// Whoever reads next takes it.
    Left,
}

impl Link {
    fn call<T>(
        &self,
        token: &mut ThreadToken,
        command: Command,
        reply: Reply,
        act: impl FnOnce(&mut Client, &mut ThreadToken) -> Result<T, ClientError>,
    ) -> Result<T, LinkError> {
        let shared = &self.shared;
        let deadline = Deadline::after(shared.reply_timeout);
        let client = shared.take(token, command, deadline)?;
        if reply == Reply::Awaited {
            shared.count_call();
        }
        let outcome = shared.turn_with(client, |client| {
            client.set_deadline(Some(deadline));
            // Lost before the turn ends: nobody has it after this one.
            act(client, token).map_err(|error| {
                // Replies come in order: what is late is the first that has not come.
                let command = client.expects().unwrap_or(command);
                judge(command, error).unwrap_or_else(|loss| shared.lose(loss).into())
            })
        });
        if reply == Reply::Left {
            // It takes the reply, if nobody calls.
            shared.ring();
        }
        outcome
    }

    /// A call whose reply is waited for.
    fn ask<T>(
        &self,
        token: &mut ThreadToken,
        command: Command,
        act: impl FnOnce(&mut Client, &mut ThreadToken) -> Result<T, ClientError>,
    ) -> Result<T, LinkError> {
        self.call(token, command, Reply::Awaited, act)
    }

    /// Reads `data.len()` bytes at `offset` of a region: at most what the back end takes in one message
    /// ([`Link::capabilities`]).
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn read(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), LinkError> {
        self.ask(token, Command::RegionRead, |client, token| client.region_read(token, region, offset, data))
    }

    /// Writes `data` at `offset` of a region, at most what the back end takes in one message, and waits until that is done.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn write(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), LinkError> {
        self.ask(token, Command::RegionWrite, |client, token| {
            client.region_write(token, region, offset, data)
        })
    }

    /// Writes `data` at `offset` of a region and does not wait for it; whether it was done nobody says. What is called later
    /// comes after it. Waits for other callers, and while the socket is full.
    ///
    /// # Errors
    /// See [`LinkError`]; never [`LinkError::Refused`].
    pub fn post(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), LinkError> {
        if self.shared.hangs() && self.loss().is_none() {
            return Ok(());
        }
        self.call(token, Command::RegionWrite, Reply::None, |client, token| {
            client.region_post(token, region, offset, data)
        })
    }

    /// Resets the device and does not wait for it. What is called later finds it reset. If the back end refuses or does not answer,
    /// the link is lost.
    ///
    /// # Errors
    /// See [`LinkError`]; [`LinkError::Request`] while many such resets are not answered.
    pub fn post_reset(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        if self.shared.hangs() && self.loss().is_none() {
            return Ok(());
        }
        self.call(token, Command::DeviceReset, Reply::Left, |client, token| client.post_reset(token))
    }

    /// Resets the device. Mappings and interrupts stay set up.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn reset(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        self.ask(token, Command::DeviceReset, |client, token| client.reset(token))
    }

    /// Flags of the device and the numbers of its regions and interrupt indexes, as the back end has them.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn device_info(&self, token: &mut ThreadToken) -> Result<DeviceInfo, LinkError> {
        self.ask(token, Command::DeviceGetInfo, |client, token| client.device_info(token))
    }

    /// Size, flags, mappable areas and memory of a region, as the back end has them.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn region_info(&self, token: &mut ThreadToken, index: u32) -> Result<Region, LinkError> {
        self.ask(token, Command::DeviceGetRegionInfo, |client, token| client.region_info(token, index))
    }

    /// Flags and vectors of an interrupt index, as the back end has them.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn irq_info(&self, token: &mut ThreadToken, index: u32) -> Result<IrqInfo, LinkError> {
        self.ask(token, Command::DeviceGetIrqInfo, |client, token| client.irq_info(token, index))
    }

    /// Signals vectors `start..` of an index through eventfds, one each, in as many messages as the back end needs.
    ///
    /// # Errors
    /// See [`LinkError`]. After a refusal some of the vectors may be set.
    pub fn set_irq_eventfds(
        &self,
        token: &mut ThreadToken,
        index: u32,
        start: u32,
        eventfds: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        let most = usize::try_from(self.capabilities.max_msg_fds).unwrap_or(MAX_MESSAGE_FDS);
        let most = most.clamp(1, MAX_MESSAGE_FDS);
        self.ask(token, Command::DeviceSetIrqs, |client, token| {
            let mut first = start;
            for part in eventfds.chunks(most) {
                client.set_irq_eventfds(token, index, first, part)?;
                let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
                first = first.checked_add(count).ok_or(ClientError::Request("too many vectors"))?;
            }
            Ok(())
        })
    }

    /// Switches an index off and has the back end let go of its eventfds.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn disable_irqs(&self, token: &mut ThreadToken, index: u32) -> Result<(), LinkError> {
        self.ask(token, Command::DeviceSetIrqs, |client, token| client.disable_irqs(token, index))
    }

    /// Masks, unmasks or fires vectors `start..start + count` of an index.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn irq_action(
        &self,
        token: &mut ThreadToken,
        index: u32,
        start: u32,
        count: u32,
        action: SetIrqsFlags,
    ) -> Result<(), LinkError> {
        self.ask(token, Command::DeviceSetIrqs, |client, token| {
            client.irq_action(token, index, start, count, action)
        })
    }

    /// Sends a `DEVICE_SET_IRQS` as it is.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn set_irqs(
        &self,
        token: &mut ThreadToken,
        set: SetIrqs,
        data: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        self.ask(token, Command::DeviceSetIrqs, |client, token| client.set_irqs(token, set, data, fds))
    }

    /// Sends a `DMA_MAP` as it is, with or without a descriptor.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn dma_map_raw(
        &self,
        token: &mut ThreadToken,
        map: DmaMap,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(), LinkError> {
        self.ask(token, Command::DmaMap, |client, token| client.dma_map_raw(token, map, fd))
    }

    /// Takes the mapping at `iova` away. When this returns well the back end does not touch the memory any more.
    ///
    /// # Errors
    /// See [`LinkError`]. Then the back end may still touch it, as long as its process lives.
    pub fn dma_unmap(&self, token: &mut ThreadToken, iova: u64, size: u64) -> Result<(), LinkError> {
        self.ask(token, Command::DmaUnmap, |client, token| client.dma_unmap(token, iova, size))
    }

    /// Takes every mapping away.
    ///
    /// # Errors
    /// As [`Link::dma_unmap`].
    pub fn dma_unmap_all(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        self.ask(token, Command::DmaUnmap, |client, token| client.dma_unmap_all(token))
    }
}

//! Region accesses.

use gate::ThreadToken;
use zerocopy::IntoBytes;

use super::{Client, ClientError};
use crate::codec::{Command, HeaderFlags, MAX_DATA_XFER_SIZE, MultiWrite, RegionAccess, take};
use crate::connection::Message;

/// Reads in flight at once in [`Client::region_read_many`]: few enough that commands and replies fit into the
/// socket buffers, so that neither side waits for the other to read.
const PIPELINE: usize = 64;

impl Client {
    /// Reads `data.len()` bytes at `offset` of a region.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn region_read(
        &mut self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), ClientError> {
        let access = self.access(region, offset, data.len())?;
        let reply = self.call(token, Command::RegionRead, &[access.as_bytes()], &[])?;
        self.take_data(&reply, data)
    }

    /// Reads `width` bytes at each of `offsets` into consecutive parts of `data`, with many requests in flight.
    ///
    /// # Errors
    /// See [`ClientError`]. After a refusal the parts of `data` behind the refused one are not filled.
    pub fn region_read_many(
        &mut self,
        token: &mut ThreadToken,
        region: u32,
        offsets: &[u64],
        data: &mut [u8],
    ) -> Result<(), ClientError> {
        let Some(width) = data.len().checked_div(offsets.len()).filter(|width| (1..=64).contains(width))
        else {
            return Err(ClientError::Request("the data is not 1-64 bytes for each offset"));
        };
        for (offsets, data) in offsets.chunks(PIPELINE).zip(data.chunks_mut(PIPELINE * width)) {
            let deadline = self.deadline();
            for offset in offsets {
                let access = self.access(region, *offset, width)?;
                self.queue(Command::RegionRead, &[access.as_bytes()], HeaderFlags::empty())?;
            }
            let mut outcome = Ok(());
            for part in data.chunks_exact_mut(width).take(offsets.len()) {
                match self.reply(token, deadline) {
                    Ok(reply) => self.take_data(&reply, part)?,
                    // The replies behind a refused one still have to be taken off the stream.
                    Err(refused @ ClientError::Refused { .. }) => outcome = outcome.and(Err(refused)),
                    Err(error) => return Err(error),
                }
            }
            outcome?;
        }
        Ok(())
    }

    /// Writes `data` at `offset` of a region and waits until the server has done it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn region_write(
        &mut self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), ClientError> {
        let access = self.access(region, offset, data.len())?;
        let reply = self.call(token, Command::RegionWrite, &[access.as_bytes(), data], &[])?;
        self.check_access(&reply, access).map(drop)
    }

    /// Writes `data` at `offset` of a region without a reply: a failure stays unknown. A later command's reply
    /// comes after the write was done.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn region_post(
        &mut self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), ClientError> {
        let access = self.access(region, offset, data.len())?;
        let deadline = self.deadline();
        self.queue(Command::RegionWrite, &[access.as_bytes(), data], HeaderFlags::NO_REPLY)?;
        let sent = self.flush_by(token, &[], deadline);
        self.note(sent)
    }

    /// Carries out several small writes in one message; gives how many the server did.
    ///
    /// # Errors
    /// See [`ClientError`]; a server that does not offer it refuses ([`Client::capabilities`]).
    pub fn region_write_multi(
        &mut self,
        token: &mut ThreadToken,
        writes: &[MultiWrite],
    ) -> Result<u64, ClientError> {
        if size_of_val(writes) > MAX_DATA_XFER_SIZE as usize {
            return Err(ClientError::Request("too many writes for one message"));
        }
        let count = writes.len() as u64;
        let payload = [count.as_bytes(), writes.as_bytes()];
        let reply = self.call(token, Command::RegionWriteMulti, &payload, &[])?;
        match take::<u64>(self.payload(&reply)) {
            Ok((done, _)) if done <= count => Ok(done),
            _ => self.malformed(Command::RegionWriteMulti, "its count is out of range"),
        }
    }

    fn access(&self, region: u32, offset: u64, length: usize) -> Result<RegionAccess, ClientError> {
        let limit = self.capabilities.max_data_xfer_size.min(MAX_DATA_XFER_SIZE);
        match u32::try_from(length) {
            Ok(count) if count <= limit => Ok(RegionAccess { offset, region, count }),
            _ => Err(ClientError::Request("more bytes than one message may carry")),
        }
    }

    /// Copies the data of a `REGION_READ` reply.
    fn take_data(&mut self, reply: &Message, data: &mut [u8]) -> Result<(), ClientError> {
        match take::<RegionAccess>(self.payload(reply)) {
            Ok((access, bytes)) if access.count as usize == data.len() && bytes.len() == data.len() => {
                data.copy_from_slice(bytes);
                Ok(())
            }
            _ => self.malformed(Command::RegionRead, "its size is not what was asked for"),
        }
    }

    fn check_access(&mut self, reply: &Message, asked: RegionAccess) -> Result<(), ClientError> {
        match take::<RegionAccess>(self.payload(reply)) {
            Ok((access, _)) if access.count == asked.count => Ok(()),
            _ => self.malformed(Command::RegionWrite, "its count is not what was asked for"),
        }
    }
}

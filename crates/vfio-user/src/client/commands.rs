//! What a server asks of its client: accesses to the client's memory.
//!
//! A server sends them when it likes, also between a command and its reply. Whoever reads the stream serves them. Their ranges
//! and sizes are the server's and are checked here; what is at an address only [`Commands`] knows.

use gate::ThreadToken;
use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use super::{Client, ClientError};
use crate::codec::{Command, DmaAccess, HEADER_SIZE, Header, MAX_DATA_XFER_SIZE, take};
use crate::connection::{ConnectionError, Message};

/// The client's memory, for a server that has no mapping of it.
pub trait Commands: Send + Sync {
    /// Fills `data` (1 byte - 1 MiB) from the memory at `address`. The range does not wrap.
    ///
    /// # Errors
    /// What the server is told.
    fn dma_read(&self, token: &mut ThreadToken, address: u64, data: &mut [u8]) -> Result<(), Errno>;

    /// Writes `data` (1 byte - 1 MiB) to the memory at `address`. The range does not wrap.
    ///
    /// # Errors
    /// What the server is told.
    fn dma_write(&self, token: &mut ThreadToken, address: u64, data: &[u8]) -> Result<(), Errno>;
}

/// Bytes of the fixed part of a DMA message.
const FIXED: usize = size_of::<DmaAccess>();

impl Client {
    /// Answers a command of the server, or queues its answer.
    pub(super) fn serve(&mut self, token: &mut ThreadToken, message: &Message) -> Result<(), ClientError> {
        let header = message.header;
        let outcome = match Command::from_number(header.command) {
            _ if self.commands.is_none() => Err(Errno::OPNOTSUPP),
            Some(Command::DmaRead) => self.serve_read(token, message),
            Some(Command::DmaWrite) => self.serve_write(token, message),
            _ => Err(Errno::OPNOTSUPP),
        };
        match outcome {
            Err(errno) if !header.no_reply() => self.answer(&header.error_reply(errno), &[]),
            _ => Ok(()),
        }
    }

    fn serve_read(&mut self, token: &mut ThreadToken, message: &Message) -> Result<(), Errno> {
        let Client { connection, commands, .. } = self;
        let (access, rest) = take::<DmaAccess>(connection.inbox.payload(message))?;
        let count = checked(access)?;
        // An answer that nobody wants is not worked out.
        if !rest.is_empty() || message.header.no_reply() {
            return Err(Errno::INVAL);
        }
        let commands = commands.as_ref().ok_or(Errno::OPNOTSUPP)?;
        let reply = message.header.reply(FIXED + count);
        let room = connection.outbox.draft(HEADER_SIZE + FIXED + count)?;
        let (head, data) = room.split_at_mut_checked(HEADER_SIZE + FIXED).ok_or(Errno::NOMEM)?;
        let (first, second) = head.split_at_mut_checked(HEADER_SIZE).ok_or(Errno::NOMEM)?;
        first.copy_from_slice(reply.as_bytes());
        second.copy_from_slice(access.as_bytes());
        // What an earlier message left there is not for this one to tell.
        data.fill(0);
        commands.dma_read(token, access.address, data)?;
        connection.outbox.commit(HEADER_SIZE + FIXED + count);
        Ok(())
    }

    fn serve_write(&mut self, token: &mut ThreadToken, message: &Message) -> Result<(), Errno> {
        let Client { connection, commands, .. } = self;
        let (access, data) =
            DmaAccess::read_from_prefix(connection.inbox.payload(message)).map_err(|_| Errno::INVAL)?;
        if checked(access)? != data.len() {
            return Err(Errno::INVAL);
        }
        let commands = commands.as_ref().ok_or(Errno::OPNOTSUPP)?;
        commands.dma_write(token, access.address, data)?;
        if message.header.no_reply() {
            return Ok(());
        }
        connection.outbox.push(&message.header.reply(FIXED), &[access.as_bytes()])
    }

    fn answer(&mut self, reply: &Header, payload: &[&[u8]]) -> Result<(), ClientError> {
        let pushed = self.connection.outbox.push(reply, payload);
        pushed.map_err(|errno| ConnectionError::Socket(errno).into())
    }
}

/// Bytes of an access that this side takes.
fn checked(access: DmaAccess) -> Result<usize, Errno> {
    if access.count > u64::from(MAX_DATA_XFER_SIZE) {
        return Err(Errno::TOOBIG);
    }
    if access.count == 0 || access.address.checked_add(access.count - 1).is_none() {
        return Err(Errno::INVAL);
    }
    usize::try_from(access.count).map_err(|_| Errno::TOOBIG)
}

//! Collects messages until they are sent. No system call happens here.

use rustix::io::Errno;
use zerocopy::IntoBytes;

use crate::codec::{HEADER_SIZE, Header};

/// Bytes of the buffer at first: more than any reply of steady state.
const INITIAL: usize = 16 << 10;

/// Bytes of replies that wait for company at most; see [`Outbox::is_full`].
const FULL: usize = 64 << 10;

/// Messages that are to be sent together.
pub struct Outbox {
    buffer: Vec<u8>,
    /// What is to be sent: `start..end` of the buffer.
    start: usize,
    end: usize,
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Outbox {
        Outbox { buffer: vec![0; INITIAL], start: 0, end: 0 }
    }

    /// Nothing is to be sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// There is so much that it should be sent before more is added.
    pub fn is_full(&self) -> bool {
        self.end - self.start >= FULL
    }

    /// What is to be sent.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or(&[])
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// The first `bytes` of what is to be sent have been.
    pub fn sent(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// `ENOMEM`; nothing is added then.
    #[inline]
    pub fn push(&mut self, header: &Header, payload: &[&[u8]]) -> Result<(), Errno> {
        let size = HEADER_SIZE + payload.iter().map(|part| part.len()).sum::<usize>();
        let mut room = self.draft(size)?;
        for part in std::iter::once(header.as_bytes()).chain(payload.iter().copied()) {
            let (front, rest) = room.split_at_mut_checked(part.len()).ok_or(Errno::NOMEM)?;
            front.copy_from_slice(part);
            room = rest;
        }
        self.commit(size);
        Ok(())
    }

    /// `size` bytes behind what is to be sent, for a message that is written in place. They become part of it
    /// with [`Outbox::commit`]. Their contents are what an earlier message of this peer left.
    ///
    /// # Errors
    /// `ENOMEM` when the buffer cannot grow.
    #[inline]
    pub fn draft(&mut self, size: usize) -> Result<&mut [u8], Errno> {
        let end = self.end.checked_add(size).ok_or(Errno::NOMEM)?;
        if end > self.buffer.len() {
            self.grow(end)?;
        }
        self.buffer.get_mut(self.end..end).ok_or(Errno::NOMEM)
    }

    /// Adds the first `size` bytes of the draft.
    #[inline]
    pub fn commit(&mut self, size: usize) {
        self.end = (self.end + size).min(self.buffer.len());
    }

    #[cold]
    fn grow(&mut self, end: usize) -> Result<(), Errno> {
        self.buffer.try_reserve(end - self.buffer.len()).map_err(|_| Errno::NOMEM)?;
        self.buffer.resize(end, 0);
        Ok(())
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox::new()
    }
}

//! Cuts a stream of bytes into messages and attributes descriptors to them. No system call happens here.
//!
//! # Whose descriptors
//! A stream socket has no message boundaries, and clients send a message in pieces, several at once, or with
//! descriptors nobody asked for. One fact decides: Linux ends a receive right after the packet that carried
//! descriptors, though bytes of earlier packets may come before it. So descriptors belong to the message that
//! contains the *last byte* of the receive that brought them. Descriptors are tagged with that position in the
//! stream and leave with the message that covers it; whoever takes the message and does not want them closes
//! them by dropping them.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::MAX_MESSAGE_FDS;
use crate::codec::{HEADER_SIZE, Header};

/// Bytes of the buffer at first: more than any message of steady state. It grows with what has arrived, not
/// with what a header claims.
const INITIAL: usize = 16 << 10;

/// How many times the largest message a claimed size may be and still be stepped over. A client that merely
/// ignored `max_data_xfer_size` stays in step; past that its bytes are not worth the reading.
const SKIP_FACTOR: usize = 16;

/// What the received bytes amount to.
#[derive(Debug)]
pub enum Frame {
    /// A whole message.
    Message(Message),
    /// Nothing, or the beginning of a message: more has to be received.
    Partial,
    /// A message larger than the limit. It has been stepped over; the stream is in step.
    TooLarge(Header),
    /// A message that claims to be smaller than its header, or so large that stepping over it is not worth it.
    /// Where the next message begins is lost.
    OutOfStep(Header),
}

/// What stands at the front of an inbox.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// A whole message.
    Whole(Header),
    /// Nothing, or the beginning of a message.
    Partial,
    /// A message of a size that is not taken.
    Refused,
}

/// A whole message. Its payload stays in the inbox until more is received.
#[derive(Debug)]
pub struct Message {
    /// The header.
    pub header: Header,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
    /// Descriptors that came with it were lost: there were more than the limit, or this process had no room
    /// for them. Those that did arrive are closed.
    pub fds_lost: bool,
    payload: Range<usize>,
}

/// The received bytes and descriptors that have not been taken.
pub struct Inbox {
    buffer: Vec<u8>,
    /// What has been received and not taken: `start..end` of the buffer.
    start: usize,
    end: usize,
    /// Where `start` is in the stream.
    position: u64,
    /// Descriptors with the position in the stream just behind the receive that brought them.
    fds: VecDeque<(u64, OwnedFd)>,
    /// The same positions for descriptors that were lost: the first such receive and the last one. Two are
    /// enough: whatever is waiting before a receive belongs to one unfinished message, and a receive brings
    /// descriptors for one.
    lost_at: [Option<u64>; 2],
    /// A message being stepped over, and how many bytes of it are still to come.
    skipping: Option<(Header, usize)>,
    max_message: usize,
}

impl Inbox {
    /// An empty inbox for messages of at most `max_message` bytes.
    pub fn new(max_message: usize) -> Inbox {
        Inbox {
            buffer: vec![0; INITIAL],
            start: 0,
            end: 0,
            position: 0,
            fds: VecDeque::new(),
            lost_at: [None; 2],
            skipping: None,
            max_message,
        }
    }

    /// Nothing of a message has arrived.
    pub fn is_between_messages(&self) -> bool {
        self.start == self.end && self.skipping.is_none()
    }

    /// A whole message is there.
    pub fn has_frame(&self) -> bool {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or(&[]);
        let whole = |header: Header| header.size as usize <= waiting.len();
        self.skipping.is_none() && Header::parse(waiting).is_some_and(whole)
    }

    /// What [`Inbox::next_frame`] would take, without taking it.
    pub fn next_is(&self) -> Next {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or(&[]);
        match Header::parse(waiting) {
            _ if self.skipping.is_some() => Next::Refused,
            None => Next::Partial,
            Some(header) => match header.size as usize {
                size if size < HEADER_SIZE || size > self.max_message => Next::Refused,
                size if size > waiting.len() => Next::Partial,
                _ => Next::Whole(header),
            },
        }
    }

    /// The payload of a message taken since the last receive.
    #[inline]
    pub fn payload(&self, message: &Message) -> &[u8] {
        self.buffer.get(message.payload.clone()).unwrap_or(&[])
    }

    /// Takes the next message, if it is there whole.
    #[inline]
    pub fn next_frame(&mut self) -> Frame {
        if self.skipping.is_some() {
            return self.skip();
        }
        let waiting = self.buffer.get(self.start..self.end).unwrap_or(&[]);
        let Some(header) = Header::parse(waiting) else {
            return Frame::Partial;
        };
        let size = header.size as usize;
        if size < HEADER_SIZE || size > self.max_message {
            return self.refuse(header, size);
        }
        if size > waiting.len() {
            return Frame::Partial;
        }
        let payload = self.start + HEADER_SIZE..self.start + size;
        self.advance(size);
        let (fds, fds_lost) = self.take_fds();
        Frame::Message(Message { header, fds, fds_lost, payload })
    }

    #[cold]
    fn refuse(&mut self, header: Header, size: usize) -> Frame {
        if size < HEADER_SIZE || size > self.max_message.saturating_mul(SKIP_FACTOR) {
            return Frame::OutOfStep(header);
        }
        self.skipping = Some((header, size));
        self.skip()
    }

    #[cold]
    fn skip(&mut self) -> Frame {
        let Some((header, left)) = self.skipping.take() else {
            return Frame::Partial;
        };
        let step = left.min(self.end - self.start);
        self.advance(step);
        // Descriptors in the middle of what is skipped go at once, so that they cannot pile up.
        drop(self.take_fds());
        if step < left {
            self.skipping = Some((header, left - step));
            return Frame::Partial;
        }
        Frame::TooLarge(header)
    }

    fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        self.position += bytes as u64;
    }

    /// The descriptors up to the current position. Allocates only when there are any.
    #[inline]
    fn take_fds(&mut self) -> (Vec<OwnedFd>, bool) {
        if self.fds.is_empty() && self.lost_at == [None; 2] {
            return (Vec::new(), false);
        }
        let position = self.position;
        let mine = self.fds.iter().take_while(|(at, _)| *at <= position).count();
        let fds: Vec<OwnedFd> = self.fds.drain(..mine).map(|(_, fd)| fd).collect();
        let mut lost = fds.len() > MAX_MESSAGE_FDS;
        for mark in &mut self.lost_at {
            lost |= mark.take_if(|at| *at <= position).is_some();
        }
        if lost { (Vec::new(), true) } else { (fds, false) }
    }

    /// Room for the next receive; never empty.
    ///
    /// # Errors
    /// `ENOMEM` when the buffer cannot grow.
    pub fn spare(&mut self) -> Result<&mut [u8], Errno> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && (self.end == self.buffer.len() || self.message_overruns_buffer()) {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.grow()?;
        }
        self.buffer.get_mut(self.end..).ok_or(Errno::NOMEM)
    }

    /// The message that has begun would not fit between `start` and the end of the buffer.
    fn message_overruns_buffer(&self) -> bool {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or(&[]);
        Header::parse(waiting).is_some_and(|header| header.size as usize > self.buffer.len() - self.start)
    }

    /// Doubles the buffer, up to the largest message. Called only when it holds one unfinished message.
    fn grow(&mut self) -> Result<(), Errno> {
        let larger = self.buffer.len().saturating_mul(2).min(self.max_message.max(INITIAL));
        if larger <= self.buffer.len() {
            return Err(Errno::NOMEM);
        }
        self.buffer.try_reserve_exact(larger - self.buffer.len()).map_err(|_| Errno::NOMEM)?;
        self.buffer.resize(larger, 0);
        Ok(())
    }

    /// Records that `bytes` arrived at the front of [`Inbox::spare`].
    #[inline]
    pub fn received(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
    }

    /// Records descriptors of the receive that [`Inbox::received`] recorded last. Those beyond the limit of a
    /// message are closed and the message is marked.
    pub fn received_fds(&mut self, fds: impl Iterator<Item = OwnedFd>, lost: bool) {
        let at = self.position + (self.end - self.start) as u64;
        let mut lost = lost;
        for fd in fds {
            // Room for an unfinished message and for the one that this receive ends in.
            if self.fds.len() < 2 * MAX_MESSAGE_FDS {
                self.fds.push_back((at, fd));
            } else {
                lost = true;
            }
        }
        if lost {
            let [first, last] = &mut self.lost_at;
            *(if first.is_none() { first } else { last }) = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Command, HeaderFlags};
    use zerocopy::IntoBytes;

    fn message(id: u16, payload: usize) -> Vec<u8> {
        let header = Header::command(id, Command::RegionWrite, payload, HeaderFlags::empty());
        [header.as_bytes(), &vec![id.to_ne_bytes()[0]; payload]].concat()
    }

    fn feed(inbox: &mut Inbox, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let spare = inbox.spare().unwrap();
            let step = spare.len().min(bytes.len());
            spare[..step].copy_from_slice(&bytes[..step]);
            inbox.received(step);
            bytes = &bytes[step..];
        }
    }

    fn fds(count: usize) -> impl Iterator<Item = OwnedFd> {
        (0..count).map(|_| OwnedFd::from(std::fs::File::open("/dev/null").unwrap()))
    }

    fn expect(inbox: &mut Inbox) -> Message {
        match inbox.next_frame() {
            Frame::Message(message) => message,
            other => panic!("expected a message, found {other:?}"),
        }
    }

    #[test]
    fn a_message_that_arrives_byte_by_byte_is_whole_at_its_last_byte() {
        let mut inbox = Inbox::new(4096);
        let bytes = message(3, 5);
        for byte in &bytes[..bytes.len() - 1] {
            feed(&mut inbox, std::slice::from_ref(byte));
            assert!(matches!(inbox.next_frame(), Frame::Partial));
        }
        feed(&mut inbox, &bytes[bytes.len() - 1..]);
        let message = expect(&mut inbox);
        assert_eq!(inbox.payload(&message), [3; 5]);
        assert!(inbox.is_between_messages());
    }

    #[test]
    fn descriptors_go_to_the_message_that_ends_the_packet() {
        let mut inbox = Inbox::new(4096);
        // One receive: a whole message from an earlier packet, then the packet with two descriptors.
        feed(&mut inbox, &[message(1, 0), message(2, 8)].concat());
        inbox.received_fds(fds(2), false);
        feed(&mut inbox, &message(3, 0));
        assert_eq!(expect(&mut inbox).fds.len(), 0);
        assert_eq!(expect(&mut inbox).fds.len(), 2);
        assert_eq!(expect(&mut inbox).fds.len(), 0);
    }

    #[test]
    fn descriptors_that_came_with_the_first_piece_stay_with_their_message() {
        let mut inbox = Inbox::new(4096);
        let second = message(2, 8);
        feed(&mut inbox, &[message(1, 4), second[..3].to_vec()].concat());
        inbox.received_fds(fds(1), false);
        assert_eq!(expect(&mut inbox).fds.len(), 0);
        feed(&mut inbox, &second[3..]);
        inbox.received_fds(fds(1), false);
        assert_eq!(expect(&mut inbox).fds.len(), 2);
    }

    #[test]
    fn descriptors_beyond_the_limit_are_lost_with_the_message_they_came_with_only() {
        let mut inbox = Inbox::new(4096);
        let bytes = message(1, 8);
        for byte in &bytes {
            feed(&mut inbox, std::slice::from_ref(byte));
            inbox.received_fds(fds(MAX_MESSAGE_FDS / 2), false);
            assert!(inbox.fds.len() <= 2 * MAX_MESSAGE_FDS);
        }
        let first = expect(&mut inbox);
        assert!(first.fds_lost && first.fds.is_empty());
        feed(&mut inbox, &bytes);
        assert!(!expect(&mut inbox).fds_lost);
    }

    #[test]
    fn two_messages_that_lose_descriptors_are_both_marked() {
        let mut inbox = Inbox::new(4096);
        let bytes = [message(1, 8), message(2, 8)].concat();
        feed(&mut inbox, &bytes[..4]);
        inbox.received_fds(std::iter::empty(), true);
        feed(&mut inbox, &bytes[4..]);
        inbox.received_fds(std::iter::empty(), true);
        assert!(expect(&mut inbox).fds_lost);
        assert!(expect(&mut inbox).fds_lost);
    }

    #[test]
    fn a_message_over_the_limit_is_stepped_over_and_the_next_one_is_found() {
        let mut inbox = Inbox::new(1024);
        let bytes = message(1, 5000);
        feed(&mut inbox, &bytes[..20]);
        inbox.received_fds(fds(1), false);
        assert!(matches!(inbox.next_frame(), Frame::Partial));
        assert!(inbox.fds.is_empty(), "descriptors of a skipped message are closed");
        assert!(!inbox.is_between_messages());
        for piece in bytes[20..].chunks(700) {
            assert!(matches!(inbox.next_frame(), Frame::Partial));
            feed(&mut inbox, piece);
        }
        feed(&mut inbox, &message(2, 4));
        assert!(matches!(inbox.next_frame(), Frame::TooLarge(header) if header.message_id == 1));
        assert_eq!(expect(&mut inbox).header.message_id, 2);
        assert_eq!(inbox.buffer.len(), INITIAL);
    }

    #[test]
    fn a_size_that_cannot_be_stepped_over_is_reported() {
        for size in [0, 15, 1024 * 16 + 1, u32::MAX] {
            let mut inbox = Inbox::new(1024);
            feed(&mut inbox, Header { size, ..Header::default() }.as_bytes());
            assert!(matches!(inbox.next_frame(), Frame::OutOfStep(_)), "{size}");
        }
    }

    #[test]
    fn the_buffer_grows_with_what_arrived_and_not_with_what_was_claimed() {
        let mut inbox = Inbox::new(1 << 20);
        let bytes = message(9, (1 << 20) - HEADER_SIZE);
        feed(&mut inbox, &bytes[..100]);
        assert!(matches!(inbox.next_frame(), Frame::Partial));
        assert!(inbox.spare().unwrap().len() < INITIAL);
        feed(&mut inbox, &bytes[100..]);
        let message = expect(&mut inbox);
        assert_eq!(inbox.payload(&message).len(), (1 << 20) - HEADER_SIZE);
        assert!(inbox.buffer.len() <= 1 << 20);
    }

    #[test]
    fn many_messages_in_pieces_of_any_size_come_out_as_they_went_in() {
        let sizes = [0, 1, 4, 16, 100, 4000, 9000, 16000, 20000];
        let stream: Vec<u8> = sizes.iter().zip(1u16..).flat_map(|(size, id)| message(id, *size)).collect();
        for piece in [1, 7, 16, 1000, 4096, 16384, stream.len()] {
            let mut inbox = Inbox::new(32 << 10);
            let mut found = Vec::new();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let step = inbox.spare().unwrap().len().min(piece).min(rest.len());
                feed(&mut inbox, &rest[..step]);
                rest = &rest[step..];
                while let Frame::Message(message) = inbox.next_frame() {
                    let id = message.header.message_id.to_ne_bytes()[0];
                    assert!(inbox.payload(&message).iter().all(|byte| *byte == id));
                    found.push(inbox.payload(&message).len());
                }
            }
            assert_eq!(found, sizes, "pieces of {piece}");
        }
    }
}

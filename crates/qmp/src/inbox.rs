//! Cuts what was received into lines.
//!
//! A line is held in memory until it is whole, so its length is bounded. Lines are taken before more is received, so beside
//! one unfinished line there is never more than one receive's worth.

use crate::error::Offence;

/// Bytes of the longest line that is taken.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// Received and not yet taken.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// How much of it is known to hold no line end, so that a line in many pieces is searched once.
    searched: usize,
}

impl Inbox {
    /// Adds what was received.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    ///
    /// # Errors
    /// [`Offence::LongLine`] when what is there is longer than a line may be; nothing can be taken after that.
    pub(crate) fn take_line(&mut self) -> Result<Option<Vec<u8>>, Offence> {
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        let end = unsearched.iter().position(|&byte| byte == b'\n').map(|at| self.searched + at);
        if end.unwrap_or(self.bytes.len()) > MAX_LINE {
            return Err(Offence::LongLine);
        }
        let Some(end) = end else {
            self.searched = self.bytes.len();
            return Ok(None);
        };
        self.searched = 0;
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_pieces_is_taken_whole_and_the_rest_stays() {
        let mut inbox = Inbox::default();
        for piece in [&b"{\"a\""[..], b":1}", b"\r\n{}\n{"] {
            assert_eq!(inbox.take_line(), Ok(None));
            inbox.received(piece);
        }
        assert_eq!(inbox.take_line(), Ok(Some(b"{\"a\":1}\r".to_vec())));
        assert_eq!(inbox.take_line(), Ok(Some(b"{}".to_vec())));
        assert_eq!(inbox.take_line(), Ok(None));
    }

    #[test]
    fn a_line_of_just_the_limit_is_taken_and_one_byte_more_is_not() {
        let mut inbox = Inbox::default();
        inbox.received(&vec![b'x'; MAX_LINE]);
        assert_eq!(inbox.take_line(), Ok(None));
        inbox.received(b"\n");
        assert_eq!(inbox.take_line().map(|line| line.map(|line| line.len())), Ok(Some(MAX_LINE)));
        inbox.received(&vec![b'x'; MAX_LINE + 1]);
        assert_eq!(inbox.take_line(), Err(Offence::LongLine));
    }
}

//! Lines over a stream, with a bound on their length.

use std::io::{self, Read};

/// Reads lines of at most `limit` bytes, line feed included.
#[derive(Debug)]
pub struct LineReader<R> {
    stream: R,
    /// Bytes read; the first `taken` were handed out already.
    buffer: Vec<u8>,
    taken: usize,
    limit: usize,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The peer has closed; a last piece without a line feed is dropped.
    #[error("the connection was closed")]
    Closed,
    /// The line is longer than the limit. The stream has no further meaning.
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
    /// Reading failed or took too long.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<R: Read> LineReader<R> {
    /// Reads from `stream`; `limit` is in bytes.
    pub fn new(stream: R, limit: usize) -> Self {
        Self { stream, buffer: Vec::new(), taken: 0, limit }
    }

    /// The next line without its line feed. Waits as long as the stream's own time-out allows.
    ///
    /// # Errors
    /// [`LineError`]; after any of them the stream is of no further use.
    pub fn next_line(&mut self) -> Result<Vec<u8>, LineError> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|&b| b == b'\n') {
                let end = searched + at;
                if end >= self.limit {
                    return Err(LineError::TooLong(self.limit));
                }
                self.taken = end + 1;
                return Ok(self.buffer[..end].to_vec());
            }
            searched = self.buffer.len();
            if searched >= self.limit {
                return Err(LineError::TooLong(self.limit));
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(LineError::Closed),
                Ok(n) => self.buffer.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of `step`.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(out.len());
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn lines_are_found_however_they_arrive() {
        for step in 1..12 {
            let mut lines = LineReader::new(Pieces(b"one\n\ntwo\nrest", step), 16);
            for expected in ["one", "", "two"] {
                assert_eq!(lines.next_line().unwrap(), expected.as_bytes());
            }
            assert!(matches!(lines.next_line(), Err(LineError::Closed)));
        }
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_byte_more_does_not() {
        let mut exact = LineReader::new(&b"1234567\n"[..], 8);
        assert_eq!(exact.next_line().unwrap(), b"1234567");
        for long in [&b"12345678\n"[..], b"12345678", b"1234567890123456\n"] {
            let mut lines = LineReader::new(long, 8);
            assert!(matches!(lines.next_line(), Err(LineError::TooLong(8))));
        }
    }
}

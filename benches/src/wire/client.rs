//! The one client of every contender: it sends prepared bytes and counts the bytes that come back.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use crate::stats::median;

const HEADER: usize = 16;
const REGION_ACCESS: usize = 16;
const READ_REQUEST: usize = HEADER + REGION_ACCESS;
const READ_REPLY: usize = HEADER + REGION_ACCESS + 4;

/// A connected client. It waits without a time-out, because arming a timer at every wait makes the kernel's part of a round
/// jump between two speeds; a server that hangs is ended by the time limit of its process, which ends the wait.
pub(crate) struct Client {
    stream: UnixStream,
}

fn message(command: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&1u16.to_le_bytes());
    bytes.extend_from_slice(&command.to_le_bytes());
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(body);
    bytes
}

/// `REGION_READ` (9) or `REGION_WRITE` (10) of 4 bytes at offset 0 of BAR 0.
fn region_access(command: u16, data: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 12];
    body.extend_from_slice(&4u32.to_le_bytes());
    body.extend_from_slice(data);
    message(command, &body)
}

impl Client {
    /// Connects, and agrees on a version if the server speaks vfio-user.
    ///
    /// # Errors
    /// The socket is not there yet, or the server refuses the version.
    pub(crate) fn connect(socket: &Path, handshake: bool) -> io::Result<Client> {
        let mut stream = UnixStream::connect(socket)?;
        if handshake {
            let mut body = vec![0, 0, 1, 0];
            body.extend_from_slice(
                b"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576}}\0",
            );
            stream.write_all(&message(1, &body))?;
            let mut header = [0; HEADER];
            stream.read_exact(&mut header)?;
            let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            if header[8] & 0x20 != 0 || !(HEADER..4096).contains(&size) {
                return Err(io::Error::other("the server refused the version"));
            }
            stream.read_exact(&mut vec![0; size - HEADER])?;
        }
        Ok(Client { stream })
    }

    /// One request after the other; the median in microseconds.
    fn ping_pong(&mut self, ops: usize, request: &[u8], reply: usize) -> io::Result<f64> {
        let mut buffer = [0; 64];
        let mut samples = Vec::with_capacity(ops);
        for _ in 0..ops {
            let start = Instant::now();
            self.stream.write_all(request)?;
            let mut got = 0;
            while got < reply {
                match self.stream.read(&mut buffer[got..reply])? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    n => got += n,
                }
            }
            samples.push(start.elapsed().as_nanos() as f64 / 1e3);
            if reply >= HEADER && buffer[8] & 0x20 != 0 {
                return Err(io::Error::other("the server answered with an error"));
            }
        }
        Ok(median(&mut samples))
    }

    /// 4-byte `REGION_READ`.
    pub(crate) fn read4(&mut self, ops: usize) -> io::Result<f64> {
        self.ping_pong(ops, &region_access(9, &[]), READ_REPLY)
    }

    /// 4-byte `REGION_WRITE`.
    pub(crate) fn write4(&mut self, ops: usize) -> io::Result<f64> {
        self.ping_pong(ops, &region_access(10, &[1, 2, 3, 4]), READ_REQUEST)
    }

    /// `depth` reads are sent, each by a `send` of its own, before the replies are taken; the mean in microseconds.
    pub(crate) fn read4_pipelined(&mut self, ops: usize, depth: usize) -> io::Result<f64> {
        let request = region_access(9, &[]);
        let mut buffer = vec![0; depth * READ_REPLY];
        let batches = ops.div_ceil(depth);
        let start = Instant::now();
        for _ in 0..batches {
            for _ in 0..depth {
                self.stream.write_all(&request)?;
            }
            self.stream.read_exact(&mut buffer)?;
        }
        Ok(start.elapsed().as_nanos() as f64 / 1e3 / (batches * depth) as f64)
    }
}

//! The messages of the experiment, and the device that executes them.
//!
//! The header is vfio-user's (16 bytes), the commands are three of its own. The device is chosen so that every mistake
//! shows: a read counts itself, a write adds, and a mapped file is remembered by its inode.

use crate::journal::{ANSWERING, State};

/// Bytes of a header.
pub(crate) const HEADER: usize = 16;
/// The longest message here.
pub(crate) const LONGEST: usize = 256;
const DMA_MAP: u16 = 2;
const REGION_READ: u16 = 9;
const REGION_WRITE: u16 = 10;
const NO_REPLY: u32 = 1 << 4;
const REPLY: u32 = 1;

/// One request.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// A file goes with it.
    pub(crate) file: bool,
}

fn message(id: u16, command: u16, flags: u32, body: &[u8]) -> Vec<u8> {
    let size = (HEADER + body.len()) as u32;
    let mut bytes = Vec::with_capacity(size as usize);
    bytes.extend(id.to_le_bytes());
    bytes.extend(command.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(body);
    bytes
}

fn region(region: u32, value: Option<u32>) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend(region.to_le_bytes());
    body.extend(4u32.to_le_bytes());
    body.extend(value.into_iter().flat_map(u32::to_le_bytes));
    body
}

/// A read of 4 bytes.
pub(crate) fn read(id: u16, index: u32) -> Request {
    Request { bytes: message(id, REGION_READ, 0, &region(index, None)), file: false }
}

fn write(id: u16, value: u32, flags: u32) -> Request {
    Request { bytes: message(id, REGION_WRITE, flags, &region(1, Some(value))), file: false }
}

/// The exchange: each burst is sent at once, and its replies are waited for.
pub(crate) fn script(first: u16) -> Vec<Vec<Request>> {
    let id = |index: u16| first.wrapping_add(index);
    vec![
        vec![read(id(0), 0)],
        // Two posted writes of which one alone would look the same, and what shows whether both came.
        vec![write(id(1), 5, NO_REPLY), write(id(2), 5, NO_REPLY), write(id(3), 7, 0), read(id(4), 1)],
        vec![Request { bytes: message(id(5), DMA_MAP, 0, &[0; 32]), file: true }, read(id(6), 2)],
        vec![read(id(7), 0)],
    ]
}

/// Bytes of the request of which `got` are there; `None`: it is no request.
pub(crate) fn length(state: &State) -> Option<usize> {
    if (state.got as usize) < HEADER {
        return Some(HEADER);
    }
    let size = word(&state.request, 4) as usize;
    let command = u16::from_le_bytes([state.request[2], state.request[3]]);
    let known = [DMA_MAP, REGION_READ, REGION_WRITE].contains(&command);
    (known && (HEADER..=LONGEST).contains(&size)).then_some(size)
}

/// Executes the request: the device, and the reply beside it.
pub(crate) fn execute(state: &mut State) {
    let id = u16::from_le_bytes([state.request[0], state.request[1]]);
    let command = u16::from_le_bytes([state.request[2], state.request[3]]);
    let index = word(&state.request, HEADER + 8);
    let reply = match command {
        REGION_READ => {
            let value = match index {
                0 => {
                    state.reads += 1;
                    state.reads
                }
                1 => state.sum,
                _ => state.mapped as u32,
            };
            message(id, command, REPLY, &region(index, Some(value)))
        }
        REGION_WRITE => {
            state.sum = state.sum.wrapping_add(word(&state.request, HEADER + 16));
            if word(&state.request, 8) & NO_REPLY == 0 {
                message(id, command, REPLY, &region(index, None))
            } else {
                Vec::new()
            }
        }
        _ => {
            state.mapped = state.file;
            message(id, command, REPLY, &[])
        }
    };
    state.reply[..reply.len()].copy_from_slice(&reply);
    state.reply_length = reply.len() as u32;
    state.sent = 0;
    state.phase = ANSWERING;
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

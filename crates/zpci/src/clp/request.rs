//! Commands.
//!
//! A request block of a guest is big-endian: its length (two bytes), the command (two bytes), twelve bytes of format and padding, and
//! what the command is about.

use super::response::Code;
use crate::handle::Handle;

/// How many functions one answer lists at most: as many entries of 16 bytes as a block of 4 KiB holds beside the request and the head of
/// the answer, of 32 bytes each.
pub const MAX_LIST_ENTRIES: usize = (4096 - 2 * 32) / 16;

/// A command (ZP-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// 1: what the processor that carries commands out can do.
    QueryProcessor,
    /// 2: which functions there are, from where a list before stopped.
    List {
        /// 0: from the beginning. Else what the answer before gave.
        resume: u64,
    },
    /// 3: what a function is.
    QueryFunction {
        /// Enabled or not.
        handle: Handle,
    },
    /// 4: what the functions of a group have in common.
    QueryGroup {
        /// Its number.
        group: u8,
    },
    /// 5: enables or disables a function.
    SetFunction {
        /// Enabled or not, as the operation wants it.
        handle: Handle,
        /// What is to be done.
        operation: SetFunction,
        /// How many address spaces for DMA an enabled function is to have.
        dma_spaces: u8,
    },
}

/// What is to be done to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetFunction {
    /// 0: enable it.
    Enable,
    /// 1: disable it.
    Disable,
    /// 2: enable memory I/O without a handle. The function is enabled.
    EnableMio,
    /// 3: disable that.
    DisableMio,
}

impl SetFunction {
    /// Of an operation code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<SetFunction> {
        match code {
            0 => Some(SetFunction::Enable),
            1 => Some(SetFunction::Disable),
            2 => Some(SetFunction::EnableMio),
            3 => Some(SetFunction::DisableMio),
            _ => None,
        }
    }

    /// The operation code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            SetFunction::Enable => 0,
            SetFunction::Disable => 1,
            SetFunction::EnableMio => 2,
            SetFunction::DisableMio => 3,
        }
    }
}

/// Bytes before what a command is about.
const HEADER: u16 = 16;
/// Bytes of a request block, but for the one that is about nothing.
const BLOCK: u16 = 32;

impl Request {
    /// The command's number.
    #[must_use]
    pub const fn command(&self) -> u16 {
        match self {
            Request::QueryProcessor => 1,
            Request::List { .. } => 2,
            Request::QueryFunction { .. } => 3,
            Request::QueryGroup { .. } => 4,
            Request::SetFunction { .. } => 5,
        }
    }

    /// Reads a request block, a copy of what a guest wrote (law 7). Bytes behind the length that it gives are not looked at.
    ///
    /// # Errors
    /// [`Code::Command`], [`Code::Length`] and [`Code::FunctionCode`].
    pub fn decode(block: &[u8]) -> Result<Request, Code> {
        let length = u16::from_be_bytes(at(block, 0)?);
        let command = u16::from_be_bytes(at(block, 2)?);
        let expected = match command {
            1 => HEADER,
            2..=5 => BLOCK,
            _ => return Err(Code::Command),
        };
        if length != expected || block.len() < usize::from(length) {
            return Err(Code::Length);
        }
        let word = |offset| at(block, offset).map(u32::from_be_bytes);
        Ok(match command {
            1 => Request::QueryProcessor,
            2 => Request::List { resume: u64::from_be_bytes(at(block, 16)?) },
            3 => Request::QueryFunction { handle: Handle::from_bits(word(16)?) },
            4 => Request::QueryGroup { group: u8::from_be_bytes(at(block, 19)?) },
            _ => Request::SetFunction {
                handle: Handle::from_bits(word(16)?),
                operation: SetFunction::from_code(u8::from_be_bytes(at(block, 22)?))
                    .ok_or(Code::FunctionCode)?,
                dma_spaces: u8::from_be_bytes(at(block, 23)?),
            },
        })
    }

    /// The request block; the first [`Request::length`] bytes are it.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK as usize] {
        let mut block = [0; BLOCK as usize];
        block[..2].copy_from_slice(&self.length().to_be_bytes());
        block[2..4].copy_from_slice(&self.command().to_be_bytes());
        match *self {
            Request::QueryProcessor => {}
            Request::List { resume } => block[16..24].copy_from_slice(&resume.to_be_bytes()),
            Request::QueryFunction { handle } => block[16..20].copy_from_slice(&handle.bits().to_be_bytes()),
            Request::QueryGroup { group } => block[19] = group,
            Request::SetFunction { handle, operation, dma_spaces } => {
                block[16..20].copy_from_slice(&handle.bits().to_be_bytes());
                block[22] = operation.code();
                block[23] = dma_spaces;
            }
        }
        block
    }

    /// Bytes of the request block.
    #[must_use]
    pub const fn length(&self) -> u16 {
        match self {
            Request::QueryProcessor => HEADER,
            _ => BLOCK,
        }
    }
}

fn at<const N: usize>(block: &[u8], offset: usize) -> Result<[u8; N], Code> {
    block.get(offset..).and_then(|rest| rest.first_chunk()).copied().ok_or(Code::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_request() -> impl Strategy<Value = Request> {
        let operation = prop_oneof![
            Just(SetFunction::Enable),
            Just(SetFunction::Disable),
            Just(SetFunction::EnableMio),
            Just(SetFunction::DisableMio)
        ];
        prop_oneof![
            Just(Request::QueryProcessor),
            any::<u64>().prop_map(|resume| Request::List { resume }),
            any::<u32>().prop_map(|bits| Request::QueryFunction { handle: Handle::from_bits(bits) }),
            any::<u8>().prop_map(|group| Request::QueryGroup { group }),
            (any::<u32>(), operation, any::<u8>()).prop_map(|(bits, operation, dma_spaces)| {
                Request::SetFunction { handle: Handle::from_bits(bits), operation, dma_spaces }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_request_block_says_what_was_put_in(request in any_request()) {
            prop_assert_eq!(Request::decode(&request.encode()[..usize::from(request.length())]), Ok(request));
        }

        #[test]
        fn any_bytes_are_a_request_or_a_code(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let _any_answer_will_do = Request::decode(&bytes);
        }

        #[test]
        fn a_block_that_is_cut_short_is_refused_by_its_length(request in any_request(), cut in 1_usize..16) {
            let block = request.encode();
            let whole = usize::from(request.length());
            prop_assert_eq!(Request::decode(&block[..whole - cut]), Err(Code::Length));
        }
    }

    #[test]
    fn zp_02_fields_are_where_the_architecture_has_them() {
        let head = |length, command| [vec![0, length, 0, command], vec![0; 12]].concat();
        let set = Request::SetFunction {
            handle: Handle::from_bits(0x8123_4567),
            operation: SetFunction::EnableMio,
            dma_spaces: 9,
        };
        let handle = Handle::from_bits(0x8123_4567);
        let list = Request::List { resume: 0x0102_0304_0506_0708 };
        let about = [0x81, 0x23, 0x45, 0x67, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (request, block) in [
            (Request::QueryProcessor, head(16, 1)),
            (list, [head(32, 2), (1..=8).collect(), vec![0; 8]].concat()),
            (Request::QueryFunction { handle }, [head(32, 3), about.to_vec()].concat()),
            (Request::QueryGroup { group: 7 }, [head(32, 4), vec![0, 0, 0, 7], vec![0; 12]].concat()),
            (set, [head(32, 5), about[..6].to_vec(), vec![2, 9], vec![0; 8]].concat()),
        ] {
            assert_eq!(request.encode()[..usize::from(request.length())], block, "{request:?}");
            assert_eq!(Request::decode(&block), Ok(request));
        }
        assert_eq!(MAX_LIST_ENTRIES, 252);
    }

    #[test]
    fn what_is_no_command_has_the_code_for_it() {
        let mut block = Request::List { resume: 0 }.encode();
        block[3] = 6;
        assert_eq!(Request::decode(&block), Err(Code::Command));
        block[3] = 0;
        assert_eq!(Request::decode(&block), Err(Code::Command));
    }

    #[test]
    fn a_length_that_is_not_the_commands_has_the_code_for_it() {
        for request in [Request::QueryProcessor, Request::List { resume: 0 }] {
            let mut block = request.encode();
            for length in (0..64).filter(|length| *length != block[1]) {
                let mut wrong = block;
                wrong[1] = length;
                assert_eq!(Request::decode(&wrong), Err(Code::Length), "{request:?} {length}");
            }
            block[0] = 1;
            assert_eq!(Request::decode(&block), Err(Code::Length));
        }
    }

    #[test]
    fn an_operation_that_is_none_has_the_code_for_it() {
        let handle = Handle::from_bits(1);
        let mut block =
            Request::SetFunction { handle, operation: SetFunction::DisableMio, dma_spaces: 1 }.encode();
        block[22] = 4;
        assert_eq!(Request::decode(&block), Err(Code::FunctionCode));
    }
}

//! Response codes.

use std::fmt;
use thiserror::Error;

/// Why a command was not carried out (ZP-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Code {
    /// 0x0011: there is no such command.
    #[error("there is no such command")]
    Command,
    /// 0x0014: the request block is not as long as the command's.
    #[error("the request block has the wrong length")]
    Length,
    /// 0x0100: there is no such function code.
    #[error("there is no such function code")]
    FunctionCode,
    /// 0x0101: the handle names nothing.
    #[error("the handle names no function")]
    Handle,
    /// 0x0102: the handle names a function that this cannot be done to as it is.
    #[error("the function is not in a state for this")]
    HandleForOperation,
    /// 0x0103: the function cannot have so many address spaces for DMA.
    #[error("the function cannot have these address spaces for DMA")]
    DmaSpaces,
    /// 0x0104: there is not enough for it.
    #[error("resources are used up")]
    Resources,
    /// 0x0105: it is so already.
    #[error("the function is in this state already")]
    Already,
    /// 0x0106: the device is in permanent error.
    #[error("the function is in permanent error")]
    PermanentError,
    /// 0x0107: the function is being recovered.
    #[error("the function is being recovered")]
    RecoveryPending,
    /// 0x0108: somebody else does something to the function.
    #[error("the function is busy")]
    Busy,
    /// 0x010a: no list goes on at this resume token.
    #[error("the resume token is none of this list")]
    ResumeToken,
    /// 0x010b: there is no such group.
    #[error("there is no such group")]
    Group,
}

impl Code {
    /// The code of a command that was carried out.
    pub const OK: u16 = 0x0010;

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Code::Command => 0x0011,
            Code::Length => 0x0014,
            Code::FunctionCode => 0x0100,
            Code::Handle => 0x0101,
            Code::HandleForOperation => 0x0102,
            Code::DmaSpaces => 0x0103,
            Code::Resources => 0x0104,
            Code::Already => 0x0105,
            Code::PermanentError => 0x0106,
            Code::RecoveryPending => 0x0107,
            Code::Busy => 0x0108,
            Code::ResumeToken => 0x010a,
            Code::Group => 0x010b,
        }
    }

    /// Whether the same command may succeed a moment later.
    #[must_use]
    pub const fn is_busy(self) -> bool {
        matches!(self, Code::Busy | Code::RecoveryPending)
    }
}

/// The number, with `0x`.
impl fmt::LowerHex for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.number())
    }
}

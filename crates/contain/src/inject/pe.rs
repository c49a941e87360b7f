//! An error on the bus of a PE (EEH-25).

use super::{ErrorFunction, InjectionError, Target};
use crate::address_cache::{BarRange, Space};
use crate::tree::PeFunction;
use pci_core::Errno;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// How wide the address of an injected error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressWidth {
    /// 32 bits.
    Bits32,
    /// 64 bits.
    Bits64,
}

/// An error on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorInjection {
    /// How wide the address is.
    pub width: AddressWidth,
    /// Which access it hits.
    pub function: ErrorFunction,
    /// The address that it hits.
    pub address: u64,
    /// Which bits of the address count; 0 is any address.
    pub mask: u64,
}

/// An error, and the number of the PE in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeInjection {
    /// The configuration address of the PE.
    pub pe: u32,
    /// What happens there.
    pub error: ErrorInjection,
}

/// Why an error was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InjectionFormatError {
    /// It is not of five numbers.
    #[error("an error is \"pe:type:func:addr:mask\", five hexadecimal numbers")]
    Malformed,
    /// There is no such type.
    #[error("there is no error type {0}: 0 is a 32-bit address, 1 a 64-bit one")]
    Type(u32),
    /// There is no such function.
    #[error("there is no error function {0}: they are 0 to 19")]
    Function(u32),
}

impl InjectionFormatError {
    /// As Linux's interfaces answer.
    #[must_use]
    pub const fn errno(self) -> Errno {
        Errno::EINVAL
    }
}

impl ErrorInjection {
    /// An error by the numbers of the interface.
    ///
    /// # Errors
    /// [`InjectionFormatError`]
    pub fn from_numbers(
        width: u32,
        function: u32,
        address: u64,
        mask: u64,
    ) -> Result<ErrorInjection, InjectionFormatError> {
        let width = match width {
            0 => AddressWidth::Bits32,
            1 => AddressWidth::Bits64,
            other => return Err(InjectionFormatError::Type(other)),
        };
        let function =
            ErrorFunction::from_number(function).ok_or(InjectionFormatError::Function(function))?;
        Ok(ErrorInjection { width, function, address, mask })
    }

    /// Which of the functions of a PE the error hits: the first one that has the address.
    ///
    /// # Errors
    /// [`InjectionError::Unsupported`] if no function of the PE has such accesses at all, or the address is too wide for its type;
    /// [`InjectionError::NoAddress`] if none has that address.
    pub fn hits<'a>(&self, functions: &'a [Arc<PeFunction>]) -> Result<&'a Arc<PeFunction>, InjectionError> {
        if self.width == AddressWidth::Bits32 && u32::try_from(self.address).is_err() {
            return Err(InjectionError::Unsupported);
        }
        let Target::Bar(space) = self.function.target() else {
            return functions.first().ok_or(InjectionError::NoAddress);
        };
        let mut able = functions.iter().filter(|function| has(function, space)).peekable();
        if able.peek().is_none() {
            return Err(InjectionError::Unsupported);
        }
        let hit = |function: &&Arc<PeFunction>| function.bars.iter().any(|bar| self.is_in(bar, space));
        able.find(hit).ok_or(InjectionError::NoAddress)
    }

    /// Whether an address of the range matches in the bits that count. A mask leaves out the lowest bits: what it leaves out above
    /// is taken as it is in the address.
    fn is_in(&self, bar: &BarRange, space: Space) -> bool {
        let free = match self.mask {
            0 => u64::MAX,
            mask => 1u64.checked_shl(mask.trailing_zeros()).map_or(u64::MAX, |bit| bit - 1),
        };
        let (first, last) = (self.address & !free, self.address | free);
        bar.space == space && bar.first <= last && first <= bar.last
    }
}

fn has(function: &Arc<PeFunction>, space: Space) -> bool {
    function.bars.iter().any(|bar| bar.space == space)
}

impl FromStr for PeInjection {
    type Err = InjectionFormatError;

    /// Reads `pe:type:func:addr:mask`; all hexadecimal, with or without `0x`.
    fn from_str(text: &str) -> Result<PeInjection, InjectionFormatError> {
        let mut parts = text.trim().split(':');
        let mut next = || hexadecimal(parts.next()?);
        let mut read = || Some([next()?, next()?, next()?, next()?, next()?]);
        let [pe, width, function, address, mask] = read().ok_or(InjectionFormatError::Malformed)?;
        if parts.next().is_some() {
            return Err(InjectionFormatError::Malformed);
        }
        let narrow = |number: u64| u32::try_from(number).map_err(|_| InjectionFormatError::Malformed);
        let error = ErrorInjection::from_numbers(narrow(width)?, narrow(function)?, address, mask)?;
        Ok(PeInjection { pe: narrow(pe)?, error })
    }
}

/// A number without a sign; at most 64 bits.
pub(super) fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let all = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all.then(|| u64::from_str_radix(digits, 16).ok())?
}

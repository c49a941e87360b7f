//! Which methods of a function are used, and in which order: `reset_method` (RST-03).
//!
//! A [`MethodList`] is a value of four bytes, so that [`Methods`] is one atomic word: whoever resets reads a whole
//! list, and a change never meets a reset half-way. What a function supports is the caller's to say
//! ([`probe`](crate::probe)).

use crate::method::{METHOD_COUNT, Method};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use thiserror::Error;

const BITS: u32 = 4;
const MASK: u32 = (1 << BITS) - 1;
/// No list is written: all methods that the function supports, in their own order. No list packs to this.
const DEFAULT: u32 = u32::MAX;

/// At most [`METHOD_COUNT`] methods in the order in which they are tried. As in Linux a method may stand twice.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct MethodList(u32);

impl MethodList {
    /// No method: a reset of the function is refused.
    pub const EMPTY: MethodList = MethodList(0);

    /// The methods for which `supported` says so, in their own order (RST-01).
    pub fn supported(supported: impl Fn(Method) -> bool) -> MethodList {
        let mut list = MethodList::EMPTY;
        for method in Method::ALL.into_iter().filter(|method| supported(*method)) {
            // As many as there are methods always fit.
            list = list.with(method).unwrap_or(list);
        }
        list
    }

    /// The list with one method more; `None` if it is full.
    #[must_use]
    pub fn with(self, method: Method) -> Option<MethodList> {
        let length = self.iter().count();
        let shift = u32::try_from(length).ok().filter(|_| length < METHOD_COUNT)? * BITS;
        Some(MethodList(self.0 | (method as u32) << shift))
    }

    /// The methods in order.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        let shifts = (0..u32::BITS).step_by(BITS as usize).take(METHOD_COUNT);
        let nibbles = shifts.map(move |shift| self.0 >> shift & MASK);
        nibbles.map_while(|code| Method::ALL.into_iter().find(|method| *method as u32 == code))
    }

    /// Reads a list of names, separated by white space.
    fn parse(text: &str, supported: impl Fn(Method) -> bool) -> Result<MethodList, ListError> {
        let mut list = MethodList::EMPTY;
        for name in text.split_ascii_whitespace() {
            let method = Method::of_name(name).ok_or(ListError::Unknown)?;
            if !supported(method) {
                return Err(ListError::Unsupported(method));
            }
            list = list.with(method).ok_or(ListError::TooMany)?;
        }
        Ok(list)
    }
}

impl fmt::Display for MethodList {
    /// The names separated by single spaces; nothing for an empty list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{method}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MethodList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Why a list was refused; the one before stays. The errno is `EINVAL` in each case (RST-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// No method has this name. The name is not repeated: it is a stranger's text.
    #[error("invalid reset method; there are device_specific, acpi, flr, af_flr, pm, bus and cxl_bus")]
    Unknown,
    /// The function cannot be reset so.
    #[error("unsupported reset method '{0}'")]
    Unsupported(Method),
    /// More names than there are methods.
    #[error("too many reset methods; at most 7 are possible")]
    TooMany,
}

/// What the operator is told about a list that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ListWarning {
    /// The list is empty.
    #[error("all device reset methods are disabled")]
    AllDisabled,
    /// The device has a procedure of its own, which others now come before, or which is not used at all.
    #[error("the device-specific reset is disabled or no longer first")]
    SpecificNotFirst,
}

/// The choice of methods of one function.
#[derive(Debug)]
pub struct Methods(AtomicU32);

impl Default for Methods {
    /// All methods that the function supports, in their own order.
    fn default() -> Methods {
        Methods(AtomicU32::new(DEFAULT))
    }
}

impl Methods {
    /// The methods in use. `supported` answers for the function as it is now.
    pub fn list(&self, supported: impl Fn(Method) -> bool) -> MethodList {
        match self.0.load(Ordering::Acquire) {
            DEFAULT => MethodList::supported(supported),
            packed => MethodList(packed),
        }
    }

    /// Takes a new choice (RST-03): names in the order in which they are to be tried, "default" for all that the
    /// function supports, "" for none. White space around and between names does not count.
    ///
    /// # Errors
    /// [`ListError`]; the choice is as it was.
    pub fn write(
        &self,
        text: &str,
        supported: impl Fn(Method) -> bool,
    ) -> Result<Option<ListWarning>, ListError> {
        if text.trim_ascii() == "default" {
            self.0.store(DEFAULT, Ordering::Release);
            return Ok(None);
        }
        let list = MethodList::parse(text, &supported)?;
        self.0.store(list.0, Ordering::Release);
        let first = list.iter().next();
        Ok(match first {
            None => Some(ListWarning::AllDisabled),
            Some(first) if first != Method::DeviceSpecific && supported(Method::DeviceSpecific) => {
                Some(ListWarning::SpecificNotFirst)
            }
            Some(_) => None,
        })
    }
}

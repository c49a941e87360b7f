//! A register as an operator names it: `COMMAND`, `40.b`, `CAP_PM+4.w`, `ECAP_AER+4.l`, `CAP_VNDR+2.b@1`.
//!
//! The grammar is that of `setpci`: a name or a hexadecimal offset, `+` a hexadecimal offset from there, `.b`, `.w` or
//! `.l` for 1, 2 or 4 bytes, and `@` how many capabilities of that kind to pass over. `CAP` and `ECAP` are followed by a
//! name or by the identifier in hexadecimal. Registers of the header know their width; with others it is said.

use super::register_names::{CAPABILITIES, EXTENDED, HEADER, near};
use super::{ConfigStatus, Width};
use crate::config::CONFIG_SIZE;
use crate::function::{Function, Inside};
use std::str::FromStr;
use thiserror::Error;

/// A register by name. Where it is depends on the function, unless it is in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterSpec {
    base: Base,
    offset: u16,
    width: Width,
    /// As it was written, for messages.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Space,
    Capability { id: u8, skipped: usize },
    Extended { id: u16, skipped: usize },
}

/// Why a text names no register.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// No register or capability has this name.
    #[error("no register is called {name:?}{}", suggestion(.near))]
    Unknown {
        /// What was written.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// The width is neither said nor known.
    #[error("say how wide {0} is: append .b, .w or .l for 1, 2 or 4 bytes")]
    NoWidth(String),
    /// The width is none.
    #[error("{0:?} is no width: write .b, .w or .l for 1, 2 or 4 bytes")]
    BadWidth(String),
    /// A part that has to be a number is none.
    #[error("{0:?} is no hexadecimal offset from 0 to fff")]
    BadOffset(String),
    /// A count of capabilities that is none, or one where there is nothing to count.
    #[error("{0:?} does not say which capability: write @0 to @2f after CAP or ECAP")]
    BadIndex(String),
    /// An access there would be misaligned or outside configuration space.
    #[error("{0} does not lie aligned within configuration space")]
    Place(String),
    /// A value that is none, or does not fit.
    #[error("{value:?} is no hexadecimal value of {bytes} bytes")]
    Value {
        /// What was written.
        value: String,
        /// Bytes that it may have.
        bytes: u16,
    },
}

/// Why a register could not be found in a function.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LocateError {
    /// The function has no such capability.
    #[error("the function has no capability for {0}")]
    NoCapability(String),
    /// An access there would be misaligned or outside configuration space.
    #[error("{0} does not lie aligned within configuration space")]
    Place(String),
    /// The list of capabilities could not be read.
    #[error("the capabilities could not be read: {0}")]
    Config(#[from] ConfigStatus),
}

impl RegisterSpec {
    /// How many bytes the register has.
    #[must_use]
    pub fn width(&self) -> Width {
        self.width
    }

    /// Where the register is in `function`: its offset in bytes, aligned to the width. Walks the list of capabilities
    /// that the hardware shows.
    ///
    /// # Errors
    /// [`LocateError`].
    pub fn locate(&self, function: &Function, held: &impl Inside) -> Result<u16, LocateError> {
        let base = match self.base {
            Base::Space => Some(0),
            Base::Capability { id, skipped } => function.find_nth_capability(held, id, skipped)?,
            Base::Extended { id, skipped } => function.find_nth_extended_capability(held, id, skipped)?,
        };
        let base = base.ok_or_else(|| LocateError::NoCapability(self.text.clone()))?;
        let register = base.saturating_add(self.offset);
        if fits(register, self.width) { Ok(register) } else { Err(LocateError::Place(self.text.clone())) }
    }

    /// Reads a value for this register: hexadecimal, with or without `0x`.
    ///
    /// # Errors
    /// [`RegisterError::Value`] if it is none, or too wide.
    pub fn parse_value(&self, text: &str) -> Result<u32, RegisterError> {
        let error = || RegisterError::Value { value: text.to_owned(), bytes: self.width.bytes() };
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        hex(digits).filter(|value| *value <= self.width.all_ones()).ok_or_else(error)
    }
}

impl FromStr for RegisterSpec {
    type Err = RegisterError;

    fn from_str(text: &str) -> Result<RegisterSpec, RegisterError> {
        let (rest, index) = match text.split_once('@') {
            Some((rest, index)) => (rest, Some(index)),
            None => (text, None),
        };
        let (rest, width) = match rest.split_once('.') {
            Some((rest, width)) => (rest, Some(parse_width(width)?)),
            None => (rest, None),
        };
        let (name, offset) = match rest.split_once('+') {
            Some((name, offset)) => (name, parse_offset(offset)?),
            None => (rest, 0),
        };
        let skipped = match index {
            Some(index) => Some(parse_index(index)?),
            None => None,
        };
        let (base, own, known) = find(name, skipped.unwrap_or(0))?;
        if let (Base::Space, Some(_), Some(index)) = (base, skipped, index) {
            return Err(RegisterError::BadIndex(index.to_owned()));
        }
        let width = width.or(known).ok_or_else(|| RegisterError::NoWidth(text.to_owned()))?;
        let offset = own.saturating_add(offset);
        if base == Base::Space && !fits(offset, width) {
            return Err(RegisterError::Place(text.to_owned()));
        }
        Ok(RegisterSpec { base, offset, width, text: text.to_owned() })
    }
}

impl std::fmt::Display for RegisterSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where a name leads, the offset from there, and its width if that is known.
fn find(text: &str, skipped: usize) -> Result<(Base, u16, Option<Width>), RegisterError> {
    let name = text.to_ascii_uppercase();
    if let Some((_, register, width)) = HEADER.iter().find(|(known, ..)| *known == name) {
        return Ok((Base::Space, *register, Some(*width)));
    }
    if let Some(id) = name.strip_prefix("ECAP").and_then(extended_id) {
        return Ok((Base::Extended { id, skipped }, 0, None));
    }
    if let Some(id) = name.strip_prefix("CAP").and_then(standard_id) {
        return Ok((Base::Capability { id, skipped }, 0, None));
    }
    match hex(&name).map(u16::try_from) {
        Some(Ok(register)) => Ok((Base::Space, register, None)),
        Some(Err(_)) => Err(RegisterError::BadOffset(text.to_owned())),
        None => Err(RegisterError::Unknown { name: text.to_owned(), near: near(&name) }),
    }
}

/// What follows `CAP`: `_` and a name, or an identifier in hexadecimal.
fn standard_id(rest: &str) -> Option<u8> {
    match rest.strip_prefix('_') {
        Some(name) => CAPABILITIES.iter().find(|(known, _)| *known == name).map(|(_, id)| *id),
        None => u8::try_from(hex(rest)?).ok(),
    }
}

fn extended_id(rest: &str) -> Option<u16> {
    match rest.strip_prefix('_') {
        Some(name) => EXTENDED.iter().find(|(known, _)| *known == name).map(|(_, id)| *id),
        None => u16::try_from(hex(rest)?).ok(),
    }
}

fn parse_width(text: &str) -> Result<Width, RegisterError> {
    match text {
        "b" | "B" => Ok(Width::Byte),
        "w" | "W" => Ok(Width::Word),
        "l" | "L" => Ok(Width::Dword),
        _ => Err(RegisterError::BadWidth(text.to_owned())),
    }
}

fn parse_offset(text: &str) -> Result<u16, RegisterError> {
    let offset = hex(text).and_then(|offset| u16::try_from(offset).ok());
    offset
        .filter(|offset| usize::from(*offset) < CONFIG_SIZE)
        .ok_or_else(|| RegisterError::BadOffset(text.to_owned()))
}

/// At most as many as the walk goes.
fn parse_index(text: &str) -> Result<usize, RegisterError> {
    let index = hex(text).and_then(|index| usize::try_from(index).ok());
    index
        .filter(|index| *index < pci_spec::capability::MAX_COUNT)
        .ok_or_else(|| RegisterError::BadIndex(text.to_owned()))
}

/// 1 to 8 hexadecimal digits and nothing else: `from_str_radix` takes a sign too.
fn hex(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { u32::from_str_radix(text, 16).ok() } else { None }
}

fn fits(register: u16, width: Width) -> bool {
    width.is_aligned(register) && usize::from(register) + usize::from(width.bytes()) <= CONFIG_SIZE
}

fn suggestion(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) }
}

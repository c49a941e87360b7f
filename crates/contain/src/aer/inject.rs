//! An error to be injected, as `/dev/aer_inject` takes it, and as the tool `aer-inject` reads it from a file (AER-09).
//!
//! Both are facts of public interfaces: the device takes one structure of 32 bytes in the machine's byte order, the tool a list of
//! keywords in any case, with `#` before comments.

use super::AerError;
use pci_core::Errno;
use pci_spec::Bdf;
use pci_spec::aer::{Correctable, Uncorrectable};
use std::str::{FromStr, SplitWhitespace};
use thiserror::Error;

/// An error, and where it is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AerInjection {
    /// Which function reports it.
    pub at: Bdf,
    /// What it reports.
    pub error: AerError,
}

/// Length of the structure before its last field, the domain, was added; still accepted.
const LENGTH_WITHOUT_DOMAIN: usize = 28;
/// Its length.
const LENGTH: usize = 32;
/// More errors than this are not read from one text.
const MOST_ERRORS: usize = 64;

/// Why an injection was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InjectFormatError {
    /// The structure is shorter or longer than any there is.
    #[error("an injection is {LENGTH_WITHOUT_DOMAIN} to {LENGTH} bytes, not {0}")]
    Length(usize),
    /// There can be no function of that number.
    #[error("there is no function {domain:x}:{bus:x}:{device:x}.{function:x}")]
    NoSuchFunction {
        /// Segment.
        domain: u32,
        /// Bus.
        bus: u32,
        /// Device.
        device: u32,
        /// Function.
        function: u32,
    },
    /// A word that does not belong there.
    #[error("\"{0}\" is not understood here")]
    Word(String),
    /// Something is missing after a word.
    #[error("\"{0}\" needs more")]
    Incomplete(String),
    /// Too many at once.
    #[error("at most {MOST_ERRORS} errors are injected at once")]
    TooMany,
    /// Neither a correctable nor an uncorrectable error, or bits that stand for none.
    #[error("no error is named")]
    NoError,
}

impl InjectFormatError {
    /// As Linux's interface answers.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            InjectFormatError::NoSuchFunction { .. } => Errno::ENODEV,
            _ => Errno::EINVAL,
        }
    }
}

impl AerInjection {
    /// Reads the structure that is written to `/dev/aer_inject`: bus, device and function (1 byte each), uncorrectable and
    /// correctable status at 4 and 8, the header at 12 to 27, and from 28 the domain, which may be missing.
    ///
    /// # Errors
    /// [`InjectFormatError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<AerInjection, InjectFormatError> {
        if !(LENGTH_WITHOUT_DOMAIN..=LENGTH).contains(&bytes.len()) {
            return Err(InjectFormatError::Length(bytes.len()));
        }
        let mut whole = [0; LENGTH];
        whole[..bytes.len()].copy_from_slice(bytes);
        let [bus, device, function, ..] = whole;
        let word = |at: usize| u32::from_ne_bytes([whole[at], whole[at + 1], whole[at + 2], whole[at + 3]]);
        let place = Place {
            domain: word(28),
            bus: u32::from(bus),
            device: u32::from(device),
            function: u32::from(function),
        };
        let header = [12, 16, 20, 24].map(word);
        injection(place, word(8), word(4), header)
    }

    /// Reads what the tool of that name takes: any number of errors, each beginning with `AER`.
    ///
    /// ```text
    /// AER
    /// PCI_ID 0000:01:00.0        # or BUS 1 DEV 0 FN 0, and DOMAIN 0
    /// COR_STATUS BAD_TLP         # COR, CORRECTABLE; UNCOR_STATUS, UNCOR, UNCORRECTABLE
    /// HEADER_LOG 0 1 2 3         # HL
    /// ```
    ///
    /// # Errors
    /// [`InjectFormatError`]; none of the errors is to be injected.
    pub fn parse(text: &str) -> Result<Vec<AerInjection>, InjectFormatError> {
        let mut read = Vec::new();
        let mut draft: Option<Draft> = None;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            while let Some(word) = words.next() {
                if word.eq_ignore_ascii_case("AER") {
                    read.extend(draft.replace(Draft::default()).map(Draft::finish).transpose()?);
                    if read.len() >= MOST_ERRORS {
                        return Err(InjectFormatError::TooMany);
                    }
                    continue;
                }
                let Some(draft) = &mut draft else { return Err(InjectFormatError::Word(word.into())) };
                draft.take(word, &mut words)?;
            }
        }
        read.extend(draft.map(Draft::finish).transpose()?);
        Ok(read)
    }
}

#[derive(Clone, Copy, Default)]
struct Place {
    domain: u32,
    bus: u32,
    device: u32,
    function: u32,
}

impl Place {
    fn address(self) -> Result<Bdf, InjectFormatError> {
        let Place { domain, bus, device, function } = self;
        let place = |domain, bus, device, function| {
            let domain = u16::try_from(domain).ok()?;
            let [bus, device, function] = [bus, device, function].map(u8::try_from);
            Bdf::new(domain, bus.ok()?, device.ok()?, function.ok()?).ok()
        };
        let none = InjectFormatError::NoSuchFunction { domain, bus, device, function };
        place(domain, bus, device, function).ok_or(none)
    }
}

fn injection(
    place: Place,
    correctable: u32,
    uncorrectable: u32,
    header: [u32; 4],
) -> Result<AerInjection, InjectFormatError> {
    let named = Correctable::from_bits(correctable).zip(Uncorrectable::from_bits(uncorrectable));
    let (correctable, uncorrectable) = named.ok_or(InjectFormatError::NoError)?;
    if correctable.is_empty() && uncorrectable.is_empty() {
        return Err(InjectFormatError::NoError);
    }
    Ok(AerInjection { at: place.address()?, error: AerError { correctable, uncorrectable, header } })
}

/// Which status the words that follow belong to.
#[derive(Clone, Copy, PartialEq)]
enum Status {
    Correctable,
    Uncorrectable,
}

#[derive(Default)]
struct Draft {
    place: Place,
    at: Option<Bdf>,
    correctable: u32,
    uncorrectable: u32,
    header: [u32; 4],
    status: Option<Status>,
}

impl Draft {
    fn take(&mut self, word: &str, words: &mut SplitWhitespace<'_>) -> Result<(), InjectFormatError> {
        let keyword = word.to_ascii_uppercase();
        let status = match keyword.as_str() {
            "COR_STATUS" | "COR" | "CORRECTABLE" => Some(Status::Correctable),
            "UNCOR_STATUS" | "UNCOR" | "UNCORRECTABLE" => Some(Status::Uncorrectable),
            _ => None,
        };
        if status.is_some() {
            self.status = status;
            return Ok(());
        }
        match keyword.as_str() {
            "PCI_ID" | "ID" => self.at = Some(address(word, words.next())?),
            "DOMAIN" => self.place.domain = number(word, words.next())?,
            "BUS" => self.place.bus = number(word, words.next())?,
            "DEV" => self.place.device = number(word, words.next())?,
            "FN" => self.place.function = number(word, words.next())?,
            "HEADER_LOG" | "HL" => {
                for dword in &mut self.header {
                    *dword = number(word, words.next())?;
                }
            }
            _ => return self.add_error(word, &keyword),
        }
        self.status = None;
        Ok(())
    }

    fn add_error(&mut self, word: &str, keyword: &str) -> Result<(), InjectFormatError> {
        let unknown = || InjectFormatError::Word(word.into());
        let (names, bits): (&[(&str, u32)], _) = match self.status.ok_or_else(unknown)? {
            Status::Correctable => (&CORRECTABLE, &mut self.correctable),
            Status::Uncorrectable => (&UNCORRECTABLE, &mut self.uncorrectable),
        };
        let named = names.iter().find(|(name, _)| *name == keyword).map(|(_, bits)| *bits);
        *bits |= named.or_else(|| c_number(word)).ok_or_else(unknown)?;
        Ok(())
    }

    fn finish(self) -> Result<AerInjection, InjectFormatError> {
        let read = injection(self.place, self.correctable, self.uncorrectable, self.header)?;
        Ok(AerInjection { at: self.at.unwrap_or(read.at), ..read })
    }
}

/// The tool's own names, which are not those of the counters.
const CORRECTABLE: [(&str, u32); 5] = [
    ("RCVR", Correctable::RECEIVER.bits()),
    ("BAD_TLP", Correctable::BAD_TLP.bits()),
    ("BAD_DLLP", Correctable::BAD_DLLP.bits()),
    ("REP_ROLL", Correctable::REPLAY_ROLLOVER.bits()),
    ("REP_TIMER", Correctable::REPLAY_TIMEOUT.bits()),
];

const UNCORRECTABLE: [(&str, u32); 11] = [
    ("TRAIN", Uncorrectable::UNDEFINED.bits()),
    ("DLP", Uncorrectable::DATA_LINK_PROTOCOL.bits()),
    ("POISON_TLP", Uncorrectable::POISONED_TLP.bits()),
    ("FCP", Uncorrectable::FLOW_CONTROL_PROTOCOL.bits()),
    ("COMP_TIME", Uncorrectable::COMPLETION_TIMEOUT.bits()),
    ("COMP_ABORT", Uncorrectable::COMPLETER_ABORT.bits()),
    ("UNX_COMP", Uncorrectable::UNEXPECTED_COMPLETION.bits()),
    ("RX_OVER", Uncorrectable::RECEIVER_OVERFLOW.bits()),
    ("MALF_TLP", Uncorrectable::MALFORMED_TLP.bits()),
    ("ECRC", Uncorrectable::ECRC.bits()),
    ("UNSUP", Uncorrectable::UNSUPPORTED_REQUEST.bits()),
];

fn address(keyword: &str, word: Option<&str>) -> Result<Bdf, InjectFormatError> {
    let word = word.ok_or_else(|| InjectFormatError::Incomplete(keyword.into()))?;
    let with_domain = if word.matches(':').count() == 1 { format!("0000:{word}") } else { word.into() };
    Bdf::from_str(&with_domain).map_err(|_| InjectFormatError::Word(word.into()))
}

fn number(keyword: &str, word: Option<&str>) -> Result<u32, InjectFormatError> {
    let word = word.ok_or_else(|| InjectFormatError::Incomplete(keyword.into()))?;
    c_number(word).ok_or_else(|| InjectFormatError::Word(word.into()))
}

/// Hexadecimal after `0x`, octal after `0`, or decimal, as in C.
fn c_number(word: &str) -> Option<u32> {
    let (digits, radix) = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if word.len() > 1 && word.starts_with('0') => (word, 8),
        None => (word, 10),
    };
    let is_digit = |digit: char| digit.is_digit(radix);
    (!digits.is_empty() && digits.chars().all(is_digit)).then(|| u32::from_str_radix(digits, radix).ok())?
}

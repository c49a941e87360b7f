//! `report_error`: what a user tells the platform of a function that is broken (ZP-11).
//!
//! A report is a header of 4 bytes (version, action, length of what follows as a big-endian u16), and up to
//! [`ErrorReport::MAX_DATA`] bytes that the platform's service reads and nobody here does.

use super::error::{Malformed, OperationError};
use super::slot::HotplugSlot;
use super::unit::{ReportRefused, contained};

/// Bytes of a page, which is the longest write.
const PAGE: usize = 4096;
const HEADER: usize = 4;
const VERSION: u8 = 1;

/// What a report asks of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportAction {
    /// The adapter is to be reset.
    AdapterReset = 0,
    /// The function is to be deconfigured and repaired.
    Repair = 1,
    /// Nothing; for the record.
    Information = 2,
}

/// A report that is well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorReport<'a> {
    /// What it asks for.
    pub action: ReportAction,
    /// For the platform's service; at most [`ErrorReport::MAX_DATA`] bytes.
    pub data: &'a [u8],
}

impl<'a> ErrorReport<'a> {
    /// Bytes after the header: what a page has room for beside the 24 bytes of the service's own headers.
    pub const MAX_DATA: usize = PAGE - 24;

    /// Of what was written at `offset`. Bytes after the length that the header gives are not looked at.
    ///
    /// # Errors
    /// [`Malformed`]; EINVAL in every case (ZP-11).
    pub fn parse(offset: u64, written: &'a [u8]) -> Result<ErrorReport<'a>, Malformed> {
        if offset != 0 {
            return Err(Malformed::Offset(offset));
        }
        if written.len() > PAGE {
            return Err(Malformed::Long(written.len()));
        }
        let (header, data) = written.split_first_chunk::<HEADER>().ok_or(Malformed::Short(written.len()))?;
        let [version, action, high, low] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let action = match action {
            0 => ReportAction::AdapterReset,
            1 => ReportAction::Repair,
            2 => ReportAction::Information,
            other => return Err(Malformed::Action(other)),
        };
        if length > ErrorReport::MAX_DATA {
            return Err(Malformed::Long(length));
        }
        let data = data.get(..length).ok_or(Malformed::Short(written.len()))?;
        Ok(ErrorReport { action, data })
    }
}

impl HotplugSlot {
    /// Passes a report of a broken function on to the platform (ZP-11). In any state of the function; nothing is changed here.
    ///
    /// # Errors
    /// [`OperationError::Malformed`], EINVAL; [`OperationError::NoFacility`], EOPNOTSUPP; [`OperationError::NotReported`], EIO.
    pub fn report_error(&self, offset: u64, written: &[u8]) -> Result<(), OperationError> {
        let report = ErrorReport::parse(offset, written)?;
        let zdev = self.zdev();
        let unit = self.unit();
        match contained(|| unit.report(zdev.fid(), zdev.handle(), &report)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ReportRefused::NoFacility)) => Err(OperationError::NoFacility),
            Ok(Err(ReportRefused::Failed(why))) | Err(why) => Err(OperationError::NotReported(why)),
        }
    }
}

//! What the controller knows about its own past: the SMART counters and the error log.
//!
//! Counters live as long as the controller does, through every reset; they are not kept on disk.
//!
//! NVMe 1.4 s5.14.1.1 *Error Information*, s5.14.1.2 *SMART / Health Information*.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nvme_spec::Status;
use nvme_spec::log::{CriticalWarning, ERROR_NOT_SPECIFIC, ErrorEntry, SmartHealth};
use zerocopy::{FromBytes, IntoBytes};

use super::limits::ERROR_LOG_ENTRIES;
use crate::saved::{Field, Reader, Writer};

/// What the composite temperature sensor says, in kelvin. There is no sensor; 40 degrees Celsius worries nobody.
pub(super) const TEMPERATURE_K: u16 = 313;

/// Bytes that the unit of the data counters stands for.
const DATA_UNIT_BYTES: u64 = 512 * 1000;

/// The largest count that a saved state may have: no device ever counts as far, and counting on never overflows.
const MOST: u64 = 1 << 62;

/// The SMART counters.
#[derive(Debug, Clone)]
pub(super) struct Health {
    since: Instant,
    bytes_read: u64,
    bytes_written: u64,
    reads: u64,
    writes: u64,
    unsafe_shutdowns: u64,
    media_errors: u64,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            bytes_read: 0,
            bytes_written: 0,
            reads: 0,
            writes: 0,
            unsafe_shutdowns: 0,
            media_errors: 0,
        }
    }

    /// A read of `bytes` bytes succeeded.
    #[inline]
    pub(super) fn count_read(&mut self, bytes: u64) {
        self.reads += 1;
        self.bytes_read += bytes;
    }

    /// A write of `bytes` bytes succeeded.
    #[inline]
    pub(super) fn count_write(&mut self, bytes: u64) {
        self.writes += 1;
        self.bytes_written += bytes;
    }

    /// The backing failed a command.
    pub(super) fn count_media_error(&mut self) {
        self.media_errors += 1;
    }

    /// The function was reset under an enabled controller that was not shut down: what the loss of power is to a disk.
    pub(super) fn count_unsafe_shutdown(&mut self) {
        self.unsafe_shutdowns += 1;
    }

    /// Commands read and written, for an operator.
    pub(super) fn commands(&self) -> (u64, u64) {
        (self.reads, self.writes)
    }

    /// The log page.
    pub(super) fn page(&self, warning: CriticalWarning, errors: u64) -> SmartHealth {
        SmartHealth {
            critical_warning: warning.bits(),
            composite_temperature: TEMPERATURE_K.into(),
            available_spare: 100,
            available_spare_threshold: 10,
            data_units_read: u128::from(self.bytes_read.div_ceil(DATA_UNIT_BYTES)).into(),
            data_units_written: u128::from(self.bytes_written.div_ceil(DATA_UNIT_BYTES)).into(),
            host_read_commands: u128::from(self.reads).into(),
            host_write_commands: u128::from(self.writes).into(),
            power_cycles: 1.into(),
            power_on_hours: u128::from(self.since.elapsed().as_secs() / 3600).into(),
            unsafe_shutdowns: u128::from(self.unsafe_shutdowns).into(),
            media_errors: u128::from(self.media_errors).into(),
            error_log_entries: u128::from(errors).into(),
            ..SmartHealth::default()
        }
    }
}

impl Field for Health {
    fn put(&self, out: &mut Writer) {
        let Self { since, bytes_read, bytes_written, reads, writes, unsafe_shutdowns, media_errors } = self;
        let counts =
            [bytes_read, bytes_written, reads, writes, unsafe_shutdowns, media_errors].map(|count| *count);
        since.elapsed().as_secs().put(out);
        counts.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let seconds = u64::take(from)?;
        let counts = <[u64; 6]>::take(from)?;
        if counts.iter().any(|count| *count > MOST) {
            return None;
        }
        let [bytes_read, bytes_written, reads, writes, unsafe_shutdowns, media_errors] = counts;
        // A machine that has not been up for as long began to count here.
        let now = Instant::now();
        let since = now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now);
        Some(Self { since, bytes_read, bytes_written, reads, writes, unsafe_shutdowns, media_errors })
    }
}

/// A command that failed, or an error that belongs to no command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    /// Submission queue and command identifier, if a command failed.
    pub(super) command: Option<(u16, u16)>,
    /// What it was answered.
    pub(super) status: Status,
    /// Namespace; 0 for none.
    pub(super) nsid: u32,
    /// First block that failed; 0 if it is not about blocks.
    pub(super) lba: u64,
}

/// The last failures, newest first.
#[derive(Debug, Default, Clone)]
pub(super) struct ErrorLog {
    entries: VecDeque<ErrorEntry>,
    count: u64,
}

impl Field for ErrorEntry {
    fn put(&self, out: &mut Writer) {
        out.bytes(self.as_bytes());
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Self::read_from_bytes(from.bytes(size_of::<Self>())?).ok()
    }
}

impl Field for ErrorLog {
    fn put(&self, out: &mut Writer) {
        let Self { entries, count } = self;
        out.list(entries.iter());
        count.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let entries = from.list(ERROR_LOG_ENTRIES)?.into();
        let count = u64::take(from).filter(|count| *count <= MOST)?;
        Some(Self { entries, count })
    }
}

impl ErrorLog {
    /// Notes a failure; the oldest is forgotten if there are too many.
    pub(super) fn record(&mut self, fault: &Fault) {
        self.count += 1;
        self.entries.truncate(ERROR_LOG_ENTRIES - 1);
        let (sqid, cid) = fault.command.unwrap_or((ERROR_NOT_SPECIFIC, ERROR_NOT_SPECIFIC));
        self.entries.push_front(ErrorEntry {
            error_count: self.count.into(),
            sqid: sqid.into(),
            cid: cid.into(),
            status_and_phase: fault.status.bits().into(),
            parameter_error_location: ERROR_NOT_SPECIFIC.into(),
            lba: fault.lba.into(),
            nsid: fault.nsid.into(),
            ..ErrorEntry::default()
        });
    }

    /// Failures noted over the controller's life.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The entry at `index`, 0 being the newest; unused ones are all zeros.
    pub(super) fn entry(&self, index: usize) -> ErrorEntry {
        self.entries.get(index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_in_the_units_of_the_page() {
        let mut health = Health::new();
        health.count_read(512);
        health.count_read(512 * 1000);
        health.count_write(4096);
        health.count_unsafe_shutdown();
        health.count_media_error();
        let page = health.page(CriticalWarning::empty(), 3);
        assert_eq!(page.data_units_read.get(), 2, "rounded up");
        assert_eq!((page.host_read_commands.get(), page.host_write_commands.get()), (2, 1));
        assert_eq!(
            (page.unsafe_shutdowns.get(), page.media_errors.get(), page.error_log_entries.get()),
            (1, 1, 3)
        );
    }

    #[test]
    fn the_error_log_keeps_the_newest_and_counts_all() {
        let mut log = ErrorLog::default();
        for cid in 0..100 {
            log.record(&Fault { command: Some((1, cid)), status: Status::INVALID_FIELD, nsid: 1, lba: 0 });
        }
        assert_eq!(log.count(), 100);
        assert_eq!((log.entry(0).cid.get(), log.entry(0).error_count.get()), (99, 100));
        assert_eq!(log.entry(63).cid.get(), 36);
        assert_eq!(log.entry(64), ErrorEntry::default());
    }
}

//! Advanced Error Reporting: what a function reports, who hears of it, and what is to be recovered.
//!
//! * [`AerError`] is what has happened; [`notice`] writes it into the registers of the function and of the ports above, counts
//!   it in the [`Ledger`], and says what is to be recovered by which rules ([`Reported`]).
//! * [`Ledger`] has the counters and the last records of each function, in Linux's words ([`names`], AER-09).
//! * [`AerInjection`] is an error as `/dev/aer_inject` and the tool of that name take it.
//! * [`release`] gives a port that has contained an error its link back (AER-08).
//!
//! What this module does **not** do: it recovers nothing itself, raises no interrupt for a root port, and does not look at the
//! enables in Device Control: errors are the platform's business, whatever a guest has switched off. How a recovery of AER's
//! flavour goes is in [`crate::plan`] (AER-03 to AER-06).
//!
//! # Concurrency
//! Registers are atomics. The ledger has one leaf of rank 44, for a look-up or a count; nothing is called under it.

mod containment;
mod counters;
mod error;
mod inject;
mod injected;
mod ledger;
pub mod names;
mod notice;
mod ports;
mod record;
mod release;

pub use containment::AerReportError;
pub use counters::{AerCounters, AerFile, RootPortCounters};
pub use error::{AerError, ReportError};
pub use inject::{AerInjection, InjectFormatError};
pub use injected::InjectAerError;
pub use ledger::Ledger;
pub use notice::{Reported, notice};
pub use ports::Ports;
pub use record::{AerRecord, RECORDS_PER_FUNCTION};
pub use release::{ContainedPort, RELEASE_POLL, Released, release};

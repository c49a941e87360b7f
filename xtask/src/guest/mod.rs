//! `cargo xtask guest`: boots a Linux guest in QEMU on a device that the daemon serves, and checks what the guest sees.
//!
//! Each scenario about a disk is run in each interrupt mode, others once, on a fresh device, daemon and working directory
//! ([`rig::Rig`]). The host
//! drives the guest over two channels: a shell on a serial line ([`console`]) and QMP ([`qmp`]). Progress goes to
//! standard error, results to standard output.
//!
//! `--source qemu-nvme` runs the scenarios about a disk on QEMU's own NVMe device: that tests the lab and the scenarios, and
//! tells a fault of the daemon from a fault of the guest.
//!
//! Concurrency: none. Every wait has a [`deadline::Deadline`] and ends early when the process it waits for ends.

mod address;
mod back_end;
mod console;
mod control;
mod daemon;
mod deadline;
mod holdings;
mod kernel_log;
mod lines;
mod lspci;
mod operator;
mod platform;
mod process;
mod qemu;
mod qmp;
mod report;
mod rig;
mod scenarios;
mod source;
mod subject;
mod vm;

use crate::guest_lab::{Lab, LabError};
use report::Report;
use rig::{Doorbells, Rig};
use scenarios::Scenario;
use source::{Interrupt, Source};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of `guest`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Scenarios to run; all if none is named
    scenarios: Vec<Scenario>,
    /// Interrupt modes to run those about a disk in; all that the source has if none is named
    #[arg(long, value_delimiter = ',')]
    irq: Vec<Interrupt>,
    /// How the guest's doorbell writes reach the daemon
    #[arg(long, default_value = "trapped")]
    doorbells: Doorbells,
    /// Where the disk comes from; other devices are always the daemon's
    #[arg(long, default_value = "portcullis")]
    source: Source,
    /// How often the scenarios that go round and round do it; each has a number of its own if none is given
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    cycles: Option<u32>,
    /// Use this daemon instead of building the workspace's
    #[arg(long, value_name = "PROGRAM")]
    daemon: Option<PathBuf>,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    json: bool,
}

/// Why a scenario failed, or could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuestError {
    /// There is no lab to run a guest in.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A wait reached its deadline.
    #[error("waited {seconds} s for {what}")]
    TimedOut { what: String, seconds: u64 },
    /// The other end of a channel closed it: QEMU or the daemon ended.
    #[error("{0} ended unexpectedly")]
    Ended(String),
    /// The guest started anew when nothing asked it to, as after a kernel panic.
    #[error("the guest rebooted while it ran `{0}`")]
    Rebooted(String),
    /// A command in the guest failed.
    #[error("`{command}` in the guest ended with {status}:\n{output}")]
    Guest { command: String, status: u32, output: String },
    /// QEMU refused a QMP command.
    #[error("QMP {command}: {message}")]
    Qmp { command: String, message: String },
    /// The daemon could not be built, or did not leave as it should.
    #[error("portcullis: {0}")]
    Daemon(String),
    /// The guest saw something else than it should.
    #[error("{0}")]
    Check(String),
    /// A system call failed.
    #[error("cannot {action}")]
    Io { action: String, source: std::io::Error },
}

/// Adds to an I/O error what was being done.
trait During<T> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T, GuestError>;
}

impl<T, E: Into<std::io::Error>> During<T> for Result<T, E> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T, GuestError> {
        self.map_err(|source| GuestError::Io { action: action(), source: source.into() })
    }
}

/// Runs `cargo xtask guest`; true if every scenario passed.
///
/// # Errors
/// When no scenario could be run at all: no lab, the daemon does not build, or the source lacks an interrupt mode or a
/// device.
pub(crate) fn command(options: &Options) -> Result<bool, GuestError> {
    let lab = Lab::open()?;
    let runs = runs(options)?;
    let program = match options.source {
        Source::Portcullis => Some(options.daemon.clone().map_or_else(daemon::build, Ok)?),
        Source::QemuNvme => None,
    };
    let mut reports = Vec::new();
    for (irq, scenario) in runs {
        let cycles = options.cycles.unwrap_or_else(|| scenario.cycles());
        let rig = Rig::new(&lab, options.source, scenario.subject(), irq, cycles)?;
        let report = run_one(rig, scenario, program.as_deref(), options.doorbells);
        if options.json {
            println!("{}", report.json());
        }
        reports.push(report);
    }
    if !options.json {
        print!("{}", report::table(&reports));
    }
    Ok(reports.iter().all(Report::passed))
}

/// What is to be run, in this order. A scenario that has nothing to do with interrupts is run once, at the end.
///
/// # Errors
/// [`GuestError::Check`] when the source has no such interrupt mode, or not the device of a scenario that was named.
fn runs(options: &Options) -> Result<Vec<(Interrupt, Scenario)>, GuestError> {
    let source = options.source;
    let modes = if options.irq.is_empty() { source.interrupts() } else { &options.irq };
    if let Some(mode) = modes.iter().find(|mode| !source.interrupts().contains(mode)) {
        return Err(GuestError::Check(format!("{source} has no {mode} interrupts")));
    }
    let has = |scenario: &Scenario| source.has(scenario.subject());
    if let Some(scenario) = options.scenarios.iter().find(|scenario| !has(scenario)) {
        return Err(GuestError::Check(format!("{source} has no device for {scenario}")));
    }
    let named = if options.scenarios.is_empty() { Scenario::all() } else { &options.scenarios };
    let (each, once): (Vec<Scenario>, Vec<Scenario>) =
        named.iter().copied().filter(has).partition(|scenario| scenario.subject().has_interrupt_modes());
    let in_each = modes.iter().flat_map(|&irq| each.iter().map(move |&scenario| (irq, scenario)));
    let first = modes.first().copied().into_iter();
    let in_one = first.flat_map(|irq| once.iter().map(move |&scenario| (irq, scenario)));
    Ok(in_each.chain(in_one).collect())
}

/// Runs one scenario; on failure the logs stay and the report says where.
fn run_one(mut rig: Rig<'_>, scenario: Scenario, program: Option<&Path>, doorbells: Doorbells) -> Report {
    let started = Instant::now();
    let mut whole = || {
        program.map_or(Ok(()), |program| rig.serve(program, doorbells))?;
        scenario.run(&mut rig)?;
        // The daemon's way out is checked only after a scenario that passed: the first failure is the one to tell.
        rig.finish()
    };
    let outcome = whole();
    let error = outcome.err().map(|error| report::with_causes(&error) + &rig.last_words());
    let report = Report::new(scenario, &rig, started.elapsed(), error.clone());
    match error {
        None => {
            rig.progress("passed");
            report
        }
        Some(error) => {
            rig.progress(&format!("FAILED: {error}"));
            let logs = rig.keep_logs();
            eprintln!("  logs are in {}", logs.display());
            report.with_logs(logs)
        }
    }
}

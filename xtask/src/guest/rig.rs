//! What one run of a scenario stands on: a working directory, a device, the daemon, and the machines it starts.

use super::back_end::BackEnd;
use super::control::Control;
use super::daemon::{Daemon, Image, Serve};
use super::holdings::Holdings;
use super::operator::Operator;
use super::platform::Platform;
use super::qemu::{self, Machine};
use super::source::{Interrupt, Source};
use super::subject::Subject;
use super::vm::Vm;
use super::{During, GuestError};
use crate::guest_lab::Lab;
use serde_json::Value;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// The size of the disk, in MiB; the file is sparse.
const DISK_MIB: u64 = 1 << 10;

/// How many lines of QEMU's output a failure shows.
const LAST_WORDS: usize = 8;

/// How doorbell writes reach the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Doorbells {
    /// As messages
    Trapped,
    /// Through a shared page that the daemon polls
    Mapped,
}

impl fmt::Display for Doorbells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trapped => "trapped",
            Self::Mapped => "mapped",
        })
    }
}

/// The stage of one run. The daemon outlives the machines, as it does for an operator.
pub(super) struct Rig<'a> {
    lab: &'a Lab,
    source: Source,
    subject: Subject,
    irq: Interrupt,
    daemon: Option<Daemon>,
    /// Of a remote disk.
    back_end: Option<BackEnd>,
    machines: u32,
    cycles: u32,
    started: Instant,
    /// What the scenario found out beside passing or failing.
    facts: Vec<(String, Value)>,
    // Last, so that the daemon ends before its directory goes.
    directory: TempDir,
}

impl<'a> Rig<'a> {
    /// Makes a directory, with a fresh disk in it if the scenario is about one.
    ///
    /// # Errors
    /// An I/O error.
    pub(super) fn new(
        lab: &'a Lab,
        source: Source,
        subject: Subject,
        irq: Interrupt,
        cycles: u32,
    ) -> Result<Self, GuestError> {
        let directory = tempfile::Builder::new().prefix("guest-").tempdir();
        let directory = directory.during(|| "make a temporary directory".into())?;
        let (started, facts) = (Instant::now(), Vec::new());
        let (daemon, back_end, machines) = (None, None, 0);
        let rig =
            Self { lab, source, subject, irq, daemon, back_end, machines, cycles, started, facts, directory };
        if subject.is_disk() {
            let disk = rig.disk();
            let sized = File::create(&disk).and_then(|file| file.set_len(DISK_MIB << 20));
            sized.during(|| format!("create {}", disk.display()))?;
        }
        Ok(rig)
    }

    /// Starts the daemon on the device, and what is behind it before.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub(super) fn serve(&mut self, program: &Path, doorbells: Doorbells) -> Result<(), GuestError> {
        let (directory, image) = (self.directory.path(), self.image());
        let (subject, irq) = (self.subject, self.irq);
        if subject == Subject::RemoteDisk {
            self.back_end = Some(BackEnd::start(program, directory, image.clone(), irq, doorbells)?);
        }
        let upstream = BackEnd::socket(directory);
        let upstream = self.back_end.is_some().then_some(upstream.as_path());
        let serve = Serve { program, directory, subject, image: &image, upstream, irq, doorbells };
        self.daemon = Some(Daemon::start(&serve)?);
        Ok(())
    }

    /// What is behind a remote disk.
    ///
    /// # Errors
    /// [`GuestError::Check`] when the disk is not remote.
    pub(super) fn back_end(&mut self) -> Result<&mut BackEnd, GuestError> {
        self.back_end.as_mut().ok_or_else(|| GuestError::Check("there is no back end".into()))
    }

    /// The disk's image.
    pub(super) fn image(&self) -> Image {
        Image { path: self.disk(), mib: DISK_MIB }
    }

    /// Another disk's image, which is smaller, and does not exist before a back end runs on it.
    pub(super) fn smaller_image(&self) -> Image {
        Image { path: other_in(self.directory.path()), mib: DISK_MIB / 2 }
    }

    /// The interrupt mode under test.
    pub(super) fn irq(&self) -> Interrupt {
        self.irq
    }

    /// How often a scenario that goes round and round does it.
    pub(super) fn cycles(&self) -> u32 {
        self.cycles
    }

    /// What the scenario is about.
    pub(super) fn subject(&self) -> Subject {
        self.subject
    }

    /// What serves the device.
    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// Tells the reader what is going on.
    pub(super) fn progress(&self, what: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        match self.subject.has_interrupt_modes() {
            true => eprintln!("[{} {seconds:6.1} s] {what}", self.irq),
            false => eprintln!("[{seconds:6.1} s] {what}"),
        }
    }

    /// Tells the reader what the scenario found out, and keeps it for the report.
    pub(super) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        self.progress(&format!("{name}: {value}"));
        self.facts.push((name.to_owned(), value));
    }

    /// What the scenario has found out so far.
    pub(super) fn facts(&self) -> &[(String, Value)] {
        &self.facts
    }

    /// A connection to the daemon's control socket; nothing when the device comes from somewhere else.
    ///
    /// # Errors
    /// As [`Control::connect`].
    pub(super) fn control(&self) -> Result<Option<Control>, GuestError> {
        self.daemon.as_ref().map(|daemon| Control::connect(daemon.control_socket())).transpose()
    }

    /// The daemon's command line, as an operator has it; nothing when the device comes from somewhere else.
    pub(super) fn operator(&self) -> Option<Operator> {
        let daemon = self.daemon.as_ref()?;
        Some(Operator::new(daemon.program(), daemon.control_socket(), self.directory.path()))
    }

    /// What the daemon holds now; nothing when the device comes from somewhere else.
    ///
    /// # Errors
    /// As [`Holdings::of`].
    pub(super) fn holdings(&self) -> Result<Option<Holdings>, GuestError> {
        self.daemon.as_ref().map(Daemon::holdings).transpose()
    }

    /// Where the machine that was booted last listens for the daemon, if it was booted without a device.
    pub(super) fn monitor(&self) -> PathBuf {
        self.directory.path().join(format!("monitor{}", self.machines))
    }

    /// Boots a machine on the device and waits until its guest has found it.
    ///
    /// # Errors
    /// What starting QEMU and waiting for the guest can give; [`GuestError::Daemon`] when the daemon has ended.
    pub(super) fn boot(&mut self) -> Result<Vm, GuestError> {
        self.boot_on(Platform::Plain)
    }

    /// As [`Rig::boot`], on another platform.
    ///
    /// # Errors
    /// As [`Rig::boot`].
    pub(super) fn boot_on(&mut self, platform: Platform) -> Result<Vm, GuestError> {
        self.machines += 1;
        self.progress(&format!("boot machine {}", self.machines));
        let socket = match &mut self.daemon {
            Some(daemon) => {
                daemon.check_alive()?;
                daemon.socket().to_owned()
            }
            None => PathBuf::new(),
        };
        let hot = self.subject.is_hot();
        let monitor = self.monitor();
        let kernel_arguments =
            [self.source.kernel_arguments(self.irq), self.subject.kernel_arguments()].concat();
        let device = if hot { Vec::new() } else { self.source.qemu_arguments(&self.disk(), &socket) };
        let machine = Machine {
            lab: self.lab,
            directory: self.directory.path(),
            number: self.machines,
            platform,
            kernel_arguments: &kernel_arguments,
            monitor: hot.then_some(monitor.as_path()),
            device,
        };
        Vm::boot(&machine, self.subject)
    }

    /// Does `step` while the daemon stands still; see [`Daemon::stopped_during`]. Without a daemon it is just done.
    ///
    /// # Errors
    /// As [`Daemon::stopped_during`].
    pub(super) fn without_the_daemon<T>(
        &self,
        step: impl FnOnce() -> Result<T, GuestError>,
    ) -> Result<T, GuestError> {
        match &self.daemon {
            Some(daemon) => daemon.stopped_during(step),
            None => step(),
        }
    }

    /// Ends the daemon and checks that it ends well.
    ///
    /// # Errors
    /// As [`Daemon::stop`].
    pub(super) fn finish(&mut self) -> Result<(), GuestError> {
        self.daemon.take().map_or(Ok(()), Daemon::stop)?;
        self.back_end.take().map_or(Ok(()), BackEnd::stop)
    }

    /// What the last QEMU wrote before it ended or was killed; empty if it was silent, as it is when all is well.
    pub(super) fn last_words(&self) -> String {
        let log = qemu::log_in(self.directory.path(), self.machines);
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(LAST_WORDS).collect();
        lines.into_iter().rev().map(|line| format!("\nQEMU: {line}")).collect()
    }

    /// Ends the daemon, drops the disk, and leaves the logs for a reader.
    pub(super) fn keep_logs(self) -> PathBuf {
        drop((self.daemon, self.back_end));
        let directory = self.directory.keep();
        // A gigabyte, sparse or not, is no log; failing to remove it is no reason to hide the path.
        let _ = fs::remove_file(disk_in(&directory));
        let _ = fs::remove_file(other_in(&directory));
        directory
    }

    fn disk(&self) -> PathBuf {
        disk_in(self.directory.path())
    }
}

fn other_in(directory: &Path) -> PathBuf {
    directory.join("other.img")
}

fn disk_in(directory: &Path) -> PathBuf {
    directory.join("disk.img")
}

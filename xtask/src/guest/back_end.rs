//! What is behind a remote disk: a second daemon, with the disk's image, that is killed and started again.

use super::daemon::{Daemon, Image, Serve};
use super::rig::Doorbells;
use super::source::Interrupt;
use super::subject::Subject;
use super::{During, GuestError};
use std::path::{Path, PathBuf};

/// Where it lives, in the directory of the run.
const DIRECTORY: &str = "back-end";

/// The second daemon.
#[derive(Debug)]
pub(super) struct BackEnd {
    program: PathBuf,
    directory: PathBuf,
    image: Image,
    irq: Interrupt,
    doorbells: Doorbells,
    daemon: Option<Daemon>,
    /// How often it was started.
    starts: u32,
}

impl BackEnd {
    /// Starts it in a directory of its own, which must not exist.
    ///
    /// # Errors
    /// As [`Daemon::start`], or an I/O error.
    pub(super) fn start(
        program: &Path,
        directory: &Path,
        image: Image,
        irq: Interrupt,
        doorbells: Doorbells,
    ) -> Result<Self, GuestError> {
        let directory = directory.join(DIRECTORY);
        std::fs::create_dir(&directory).during(|| format!("create {}", directory.display()))?;
        let program = program.to_owned();
        let mut back_end = Self { program, directory, image, irq, doorbells, daemon: None, starts: 0 };
        back_end.run()?;
        Ok(back_end)
    }

    /// Where it listens.
    pub(super) fn socket(directory: &Path) -> PathBuf {
        Daemon::socket_in(&directory.join(DIRECTORY))
    }

    /// Ends it with SIGKILL, and returns once it has ended.
    pub(super) fn kill(&mut self) {
        self.daemon = None;
    }

    /// Starts it again, on `image`.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub(super) fn run_on(&mut self, image: Image) -> Result<(), GuestError> {
        self.kill();
        self.image = image;
        self.run()
    }

    /// Sees to it that it runs, as a service manager does: one that comes up while the last one's writes are still on their way
    /// finds its image locked, and may give up.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub(super) fn keep_up(&mut self) -> Result<(), GuestError> {
        let has_ended = self.daemon.as_mut().is_some_and(|daemon| daemon.check_alive().is_err());
        if has_ended { self.run() } else { Ok(()) }
    }

    /// How often it was started.
    pub(super) fn starts(&self) -> u32 {
        self.starts
    }

    /// Ends it and checks that it ends well.
    ///
    /// # Errors
    /// As [`Daemon::stop`].
    pub(super) fn stop(self) -> Result<(), GuestError> {
        self.daemon.map_or(Ok(()), Daemon::stop)
    }

    fn run(&mut self) -> Result<(), GuestError> {
        self.starts += 1;
        self.daemon = Some(Daemon::start(&Serve {
            program: &self.program,
            directory: &self.directory,
            subject: Subject::Disk,
            image: &self.image,
            upstream: None,
            irq: self.irq,
            doorbells: self.doorbells,
        })?);
        Ok(())
    }
}

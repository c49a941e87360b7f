//! Back ends, each in a process of its own: this program with a hidden subcommand.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use gate::ThreadToken;
use models::nvme::{Backing, Config, DoorbellStyle};
use vfio_user::server::{Server, ServerOptions, Stop};

use super::SERVER_CPU;
use crate::nvme::CAPACITY;
use crate::pin;
use crate::wire::{self, Contender};

/// What it says once clients can connect.
const READY: &str = "ready";

/// What it serves.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Registers that are plain memory, as in `wire`.
    Registers,
    /// An NVMe controller in memory, with mapped doorbells.
    Nvme,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Registers => "registers",
            Kind::Nvme => "nvme",
        }
    }
}

/// Serves until whoever has started this process lets go of its input.
///
/// # Errors
/// The socket cannot be made, or the server fails.
pub(crate) fn serve(kind: Kind, socket: &Path) -> Result<(), Box<dyn Error>> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    match kind {
        Kind::Registers => wire::serve(Contender::Ours, socket),
        Kind::Nvme => nvme(socket),
    }
}

fn nvme(socket: &Path) -> Result<(), Box<dyn Error>> {
    pin::to_cpu(SERVER_CPU)?;
    let config = Config { doorbells: DoorbellStyle::Mapped, ..Config::default() };
    let assignment = models::nvme::build("bench", &config, Backing::memory(CAPACITY as u64)?, Arc::new(()))?;
    let server = Server::bind(socket, assignment, ServerOptions::default())?;
    println!("{READY}");
    std::io::stdout().flush()?;
    Ok(server.run(&mut ThreadToken::at_thread_entry(), &Stop::new()?)?)
}

/// A back end that runs. Dropping it kills it.
pub(super) struct BackEnd {
    child: Child,
    pub(super) socket: PathBuf,
}

impl BackEnd {
    /// Starts one; it may not be there yet.
    pub(super) fn start(kind: Kind, socket: PathBuf) -> Result<BackEnd, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("back-end").arg(kind.name()).arg(&socket);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        Ok(BackEnd { child, socket })
    }

    /// Waits until a disk says that clients can connect, and tells when that was.
    pub(super) fn ready(&mut self) -> Result<Instant, Box<dyn Error>> {
        let output = self.child.stdout.take().ok_or("a back end is ready once")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let at = Instant::now();
        if line.trim() == READY { Ok(at) } else { Err("the back end did not start".into()) }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is over.
    pub(super) fn kill(&mut self) -> Result<(), Box<dyn Error>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

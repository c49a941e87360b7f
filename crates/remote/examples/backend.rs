//! A back end to be killed: an NVMe disk in a file, served on a socket until the process ends.
//!
//! `backend SOCKET FILE BYTES SERIAL [unfenced] [msix]`. A file that an earlier one still has is waited for: its lock is free when the last I/O
//! of its holder is over, which is why this one may say so to a client that asks, and does unless it is `unfenced`. Its interrupts are
//! MSI, or MSI-X.
//!
//! It ends with the thread that has started it, so that a test leaves none behind.

#![allow(clippy::print_stderr, reason = "it is a program")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gate::ThreadToken;
use models::nvme::backing::{BackingError, FileOptions};
use models::nvme::{Backing, Config, InterruptStyle};
use rustix::process::{Signal, set_parent_process_death_signal};
use vfio_user::server::{Server, ServerOptions, Stop};

/// How long the file of an earlier back end may stay locked.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    if let Err(error) = serve() {
        eprintln!("backend: {error}");
        std::process::exit(1);
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, file, bytes, serial, words @ ..] = arguments.as_slice() else {
        return Err("usage: backend SOCKET FILE BYTES SERIAL [unfenced] [msix]".into());
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let options = FileOptions { size: Some(bytes.parse()?), ..FileOptions::default() };
    let backing = open(Path::new(file), &options)?;
    let has = |word: &str| words.iter().any(|other| other == word);
    let interrupts = if has("msix") { InterruptStyle::Msix } else { InterruptStyle::Msi };
    let config = Config { interrupts, serial: Some(serial.clone()), ..Config::default() };
    let function = models::nvme::build("backend", &config, backing, std::sync::Arc::new(()))?;
    let mut options = ServerOptions::default();
    options.session.tells_of_io = !has("unfenced");
    let server = Server::bind(PathBuf::from(socket), function, options)?;
    Ok(server.run(&mut ThreadToken::at_thread_entry(), &Stop::new()?)?)
}

fn open(file: &Path, options: &FileOptions) -> Result<Backing, BackingError> {
    let began = Instant::now();
    loop {
        match Backing::file(file, options) {
            Err(BackingError::InUse(_)) if began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

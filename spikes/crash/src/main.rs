//! What of a killed server can be taken over, and how: the experiments behind `docs/crash-protocol.md`.
//!
//! `exchange` kills real server processes with -9 at every point of a scripted vfio-user exchange, byte by byte, and counts for
//! each candidate what the client saw: a reply lost, a reply or an effect twice, a torn stream, or nothing at all.
//! `fence` measures when the disk I/O of a killed process is over. The exit code is not 0 if what the document recommends has
//! lost or duplicated anything, or has let an old write land late.
//!
//! It is no product: one client, one message at a time, a device of three numbers.

#![allow(clippy::print_stdout, clippy::print_stderr)] // A command line.
// Messages and files of the experiment are a few kilobytes or megabytes.
#![allow(clippy::cast_possible_truncation)]

mod client;
mod fence;
mod journal;
mod keeper;
mod message;
mod point;
mod ring;
mod server;
mod sys;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use server::{CONFUSED, Candidate, End};

#[derive(Parser)]
#[command(about = "Kills servers and counts what that costs their client")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Messages: every candidate, killed at every point.
    Exchange {
        /// Every how many points a server is killed: 1 is every one.
        #[arg(long, default_value_t = 1)]
        stride: u64,
        /// Long exchanges per candidate with servers killed from outside at random moments.
        #[arg(long, default_value_t = 10)]
        storms: u64,
        /// Only these candidates.
        #[arg(long, value_delimiter = ',')]
        candidates: Vec<Candidate>,
    },
    /// Disk I/O: when it is over after its process.
    Fence {
        /// Where the file of 32 MiB is made; on the disk in question.
        #[arg(long, default_value = ".")]
        directory: PathBuf,
        /// Deaths per engine.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Through a throttle of the block layer (a control group of our own): needs root.
        #[arg(long)]
        slow: bool,
    },
    /// A server that is killed (started by `exchange`).
    #[command(hide = true)]
    Server {
        candidate: Candidate,
        chunk: usize,
        kill_at: u64,
        #[arg(num_args = 5)]
        fds: Vec<i32>,
    },
    /// A writer that is killed (started by `fence`).
    #[command(hide = true)]
    Writer { engine: fence::Engine, path: PathBuf, kept: Vec<i32> },
}

fn main() -> ExitCode {
    let command = Arguments::parse().command.unwrap_or(Action::Exchange {
        stride: 1,
        storms: 10,
        candidates: Vec::new(),
    });
    let done = match command {
        Action::Exchange { stride, storms, candidates } => {
            let all = if candidates.is_empty() { Candidate::ALL.to_vec() } else { candidates };
            table::run(&all, stride.max(1), storms)
        }
        Action::Fence { directory, rounds, slow } => fence(&directory, rounds, slow),
        Action::Server { candidate, chunk, kill_at, fds } => return serve(candidate, chunk, kill_at, &fds),
        Action::Writer { engine, path, kept } => fence::writer::main(engine, &path, &kept).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash-spike: {error}");
            ExitCode::from(2)
        }
    }
}

fn fence(directory: &std::path::Path, rounds: usize, slow: bool) -> Result<bool, String> {
    let own = tempfile::tempdir_in(directory).map_err(|error| error.to_string())?;
    fence::run(own.path(), rounds, slow)
}

fn serve(candidate: Candidate, chunk: usize, kill_at: u64, fds: &[i32]) -> ExitCode {
    // An experiment that is interrupted leaves no servers behind.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let Ok(fds) = <[i32; 5]>::try_from(fds) else { return ExitCode::from(2) };
    let end = keeper::take_over((candidate, chunk, kill_at), fds).map(|mut server| server.serve());
    match end {
        Ok(End::Left) => ExitCode::SUCCESS,
        Ok(End::Confused) => ExitCode::from(CONFUSED as u8),
        Ok(End::Failed(error)) | Err(error) => {
            eprintln!("crash-spike server: {error}");
            ExitCode::from(2)
        }
    }
}

//! Development commands: `cargo xtask COMMAND`.
//!
//! One module per command; this file only parses the command line and turns a failure into an exit status. Nothing
//! here is part of the product, and no crate of the product depends on it.

// Output is what a command-line tool is for; the workspace lint guards the libraries.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arrows;
mod bench;
mod check;
mod fuzz;
mod guest;
mod guest_lab;
mod museum;
mod stage;
mod tsan;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development commands of Portcullis")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything that CI runs
    Check,
    /// Run the checkers with their full counts
    Deep,
    /// Check that each crate uses only crates above it on the map
    Arrows,
    /// Build the benchmarks and run one
    Bench {
        /// The benchmark, for instance `wire` or `nvme`
        what: String,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
        /// How many interleaved rounds to take the median of
        #[arg(long)]
        rounds: Option<usize>,
    },
    /// Run the museum: exhibits, mutants and the design, each under its checker
    Museum(museum::Options),
    /// Run the stress tests under ThreadSanitizer; needs the component rust-src
    Tsan,
    /// Run fuzz targets, all of them if none is named
    Fuzz {
        targets: Vec<String>,
        /// Time for each target, in seconds
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Prepare QEMU, a kernel and an initramfs for `guest`, once, as root
    GuestLab(guest_lab::Options),
    /// Boot a real Linux guest on a served disk and check what it sees
    Guest(guest::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Runs one command; true if what it checks holds.
fn run(command: Command) -> Result<bool, Box<dyn Error>> {
    Ok(match command {
        Command::Check => check::check(),
        Command::Deep => check::deep(),
        Command::Arrows => {
            let offences = arrows::offences()?;
            offences.iter().for_each(|offence| println!("{offence}"));
            offences.is_empty()
        }
        Command::Bench { what, json, rounds } => bench::run(&what, json, rounds)?.success(),
        Command::Museum(options) => museum::command(&options)?,
        Command::Tsan => tsan::run()?,
        Command::Fuzz { targets, seconds } => fuzz::run(&targets, seconds),
        Command::GuestLab(options) => {
            guest_lab::command(&options)?;
            true
        }
        Command::Guest(options) => guest::command(&options)?,
    })
}

/// Prints an error and what caused it, one cause a line.
fn report(error: &(dyn Error + 'static)) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  caused by: {error}");
        cause = error.source();
    }
}

//! Benchmarks of Portcullis: every figure is a ratio against a floor, and beside a peer, taken in one run.
//!
//! Rounds of the floor, of ours and of the peer are interleaved, so that a noisy neighbour hits all of them; the figure is the
//! median over the rounds. `cargo xtask bench WHAT --json` is the usual way in.

// Output is what a benchmark is for, and its numbers are its own: depths, slots and sizes chosen below.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::cast_possible_truncation)]

mod contain;
mod fault;
mod figure;
mod gate_cost;
mod nvme;
mod pin;
mod proxy;
mod stats;
mod unplug;
mod wire;
mod zpci;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Benchmarks as ratios against floors and peers.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// One JSON object a line instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Rounds of each contender; the figure is the median over them.
    #[arg(long, global = true, default_value_t = 15)]
    rounds: usize,
}

#[derive(Subcommand)]
enum What {
    /// vfio-user messages: REGION_READ and REGION_WRITE against a raw socket and the rust-vmm server.
    Wire,
    /// NVMe over vfio-user with mapped doorbells against a shared-memory ring.
    Nvme,
    /// What the gate costs: accesses, a close, a wake-up, and whether many functions make that dearer.
    Gate,
    /// Mappings that can be taken back: faults, populating and zapping, against a minimal userfaultfd handler.
    Fault,
    /// Plugging in and taking out: cycles, and what 65,536 functions cost.
    Unplug,
    /// The s390 view: a load by handle, and a block store through the I/O region.
    Zpci,
    /// Containment: looking for errors, freezing, walking the tree of PEs, and a whole recovery.
    Contain,
    /// A back end behind the proxy: register reads, a disk in both modes, and a restart.
    Proxy,
    /// A back end of `proxy`, in a process of its own.
    #[command(hide = true)]
    BackEnd { kind: proxy::Kind, socket: PathBuf },
    /// One contender of `wire`, in a process of its own.
    #[command(hide = true)]
    Serve { contender: wire::Contender, socket: PathBuf },
    /// One process of the wake-up's figure in `gate`.
    #[command(hide = true)]
    Wake { blocked: usize, idle: usize },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let figures = match cli.what {
        What::Wire => wire::run(cli.rounds),
        What::Nvme => nvme::run(cli.rounds),
        What::Gate => gate_cost::run(cli.rounds),
        What::Fault => fault::run(cli.rounds),
        What::Unplug => unplug::run(cli.rounds),
        What::Zpci => zpci::run(cli.rounds),
        What::Contain => contain::run(cli.rounds),
        What::Proxy => proxy::run(cli.rounds),
        What::BackEnd { kind, socket } => proxy::serve(kind, &socket).map(|()| Vec::new()),
        What::Wake { blocked, idle } => gate_cost::serve(blocked, idle).map(|()| Vec::new()),
        What::Serve { contender, socket } => wire::serve(contender, &socket).map(|()| Vec::new()),
    };
    match figures {
        Ok(figures) => {
            figure::print(&figures, cli.json);
            if figures.iter().all(figure::Figure::holds) { ExitCode::SUCCESS } else { ExitCode::from(4) }
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The daemon and the command line.
//!
//! `portcullis serve` plugs the functions that a TOML file describes and serves each on a vfio-user socket; the other
//! commands ask it, over its control socket, or exercise a socket without a virtual machine.
//!
//! * [`config`] reads the file and complains well; [`run_dir`] is where the sockets live.
//! * [`daemon`] plugs, serves and drains; [`events`] is what happened, [`log`] what is
//!   written of it; [`inspect`] is how a function is shown.
//! * [`control`] is the protocol between command line and daemon; [`cli`] is the command line.
//! * [`exercise`] drives an NVMe socket.
//!
//! What it does **not** do: protocol details (`vfio-user`), device behaviour (`models`), PCI (`pci-core`).
//!
//! This is a library for the binary's and its tests' sake. Only what the control socket and `--json` say is a promise.

pub mod cli;
pub mod command_lines;
pub mod config;
pub mod control;
pub mod daemon;
pub mod events;
pub mod exercise;
pub mod inspect;
pub mod log;
pub mod ranks;
pub mod run_dir;

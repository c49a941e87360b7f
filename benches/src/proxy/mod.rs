//! A back end behind the proxy against the same back end directly, with the same client.
//!
//! Back ends are processes of their own ([`back_end`]); the proxy is in this process ([`front`]), on threads of its own. Rounds with
//! and without it alternate. What the proxy does for a command in `replay` is counted by the kernel ([`profile`]).

mod back_end;
mod disk;
mod front;
#[allow(unsafe_code, reason = "opens and reads the kernel's counters of system calls")]
mod profile;
mod read4;
mod restart;

use std::error::Error;

pub(crate) use back_end::{Kind, serve};

use crate::figure::{Better, Figure};

/// Where back ends run, and the threads of the proxy.
const SERVER_CPU: usize = 0;
/// Where the client of the disks runs.
const CLIENT_CPU: usize = 1;

/// Runs the interleaved rounds of all figures, one figure after the other.
///
/// # Errors
/// A back end or a function in front of it cannot be made, or a command fails.
pub(crate) fn run(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let mut figures = vec![read4::figure(rounds)?];
    figures.extend(disk::figures(rounds)?);
    figures.push(restart::figure(rounds)?);
    Ok(figures)
}

/// A figure that is told and has no limit.
fn told(figure: &'static str, unit: &'static str, value: f64, floor: f64) -> Figure {
    Figure {
        figure,
        value,
        unit,
        limit: f64::INFINITY,
        better: Better::Lower,
        ours: value,
        floor,
        peer: None,
        raw_unit: unit,
        peer_is: None,
    }
}

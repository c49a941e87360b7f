//! Cycles of plug and unplug through a slot, with a driver in this process that lets go when it is asked.
//!
//! A cycle begins and ends with the slot on: the driver is asked to let go and does, the function is quieted, retired, taken out
//! of the topology and the hardware, power is cut; then power comes, a new function is built and found, and the driver
//! attaches to it and sets it up. One thread does all of it.
//!
//! The floor is the same function plugged, scanned, retired and unplugged with neither slot nor driver.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::ThreadToken;
use pci_core::Command;
use slot::{Binding, Bound, Driver, Drivers, ProbeError, Removal};

use super::bay::{self, Socket, soon};
use crate::figure::{Better, Figure};
use crate::stats::median;

const SEGMENTS: u16 = 256;
/// Ports of a segment of the large machine, with a function below each.
const PORTS: u8 = 128;
const SMALL_PORTS: u8 = 8;
/// Cycles of one machine before it is the other's turn: so few that most turns end before a noisy neighbour gets the CPU.
const CYCLES: usize = 32;
/// Turns of each machine in one round.
const TURNS: usize = 64;
/// More than the driver takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Sets its device up, and lets go at once.
struct Idle;

struct Bond(Arc<Binding>);

impl Driver for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn probe(&self, token: &mut ThreadToken, binding: &Arc<Binding>) -> Result<Box<dyn Bound>, ProbeError> {
        let command = (Command::MEMORY_SPACE | Command::BUS_MASTER).bits().to_le_bytes();
        let function = binding.function().function();
        let written = function.write_config(token, pci_spec::config::COMMAND, &command, soon());
        written.map_err(|error| ProbeError::Failed(error.to_string()))?;
        Ok(Box::new(Bond(binding.clone())))
    }
}

impl Bound for Bond {
    fn request(&mut self, token: &mut ThreadToken, _nth: u32) {
        self.0.release(token);
    }

    fn remove(self: Box<Self>, _token: &mut ThreadToken, _removal: Removal) {}
}

/// Microseconds each of `CYCLES` cycles, over sockets that lie apart.
fn turn(
    token: &mut ThreadToken,
    sockets: &[Socket],
    nth: usize,
    cycle: impl Fn(&mut ThreadToken, &Socket) -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    for cycles in 0..CYCLES {
        // Odd, so that all sockets take turns.
        let at = (nth * CYCLES + cycles) * 1_237 % sockets.len();
        cycle(token, sockets.get(at).ok_or("no slot")?)?;
    }
    Ok(start.elapsed().as_nanos() as f64 / 1e3 / CYCLES as f64)
}

/// Both ends of a cycle.
fn cycle(token: &mut ThreadToken, socket: &Socket) -> Result<(), Box<dyn Error>> {
    socket.unplug(token, TIMEOUT)?;
    socket.plug(token)
}

fn full(
    token: &mut ThreadToken,
    segments: u16,
    ports: u8,
    drivers: &Arc<Drivers>,
) -> Result<Vec<Socket>, Box<dyn Error>> {
    let sockets = bay::machine(token, segments, ports, drivers)?;
    sockets.iter().try_for_each(|socket| socket.insert(token))?;
    Ok(sockets)
}

/// Builds the machines, and runs the interleaved rounds.
///
/// # Errors
/// Something cannot be made, plugged in or found, or a slot's operation fails.
pub(super) fn figures(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let token = &mut ThreadToken::at_thread_entry();
    let drivers = Drivers::new();
    drivers.add(Arc::new(Idle));
    let bare = bay::machine(token, 1, SMALL_PORTS, &drivers)?;
    let small = full(token, 1, SMALL_PORTS, &drivers)?;
    let large = full(token, SEGMENTS, PORTS, &drivers)?;
    let (mut without, mut in_small, mut in_large) = (Vec::new(), Vec::new(), Vec::new());
    let mut growth = Vec::new();
    for nth in 0..rounds * TURNS {
        without.push(turn(token, &bare, nth, |token, socket| socket.cycle_without_controller(token))?);
        let (floor, ours) = (turn(token, &small, nth, cycle)?, turn(token, &large, nth, cycle)?);
        growth.push(ours / floor);
        in_small.push(floor);
        in_large.push(ours);
    }
    // A hold that is dropped with its slot would leave on a thread of its own.
    small.iter().chain(&large).try_for_each(|socket| socket.unplug(token, TIMEOUT))?;
    let each = median(&mut in_small);
    let cycles = Figure {
        figure: "cycles_per_s",
        value: 1e6 / each,
        unit: "1/s",
        limit: 20_000.0,
        better: Better::Higher,
        ours: each,
        floor: median(&mut without),
        peer: None,
        raw_unit: "us",
        peer_is: None,
    };
    let growth = Figure {
        figure: "slot_growth_65536",
        value: median(&mut growth),
        unit: "x of 16",
        limit: 2.0,
        better: Better::Lower,
        ours: median(&mut in_large),
        floor: each,
        peer: None,
        raw_unit: "us",
        peer_is: None,
    };
    Ok(vec![cycles, growth])
}

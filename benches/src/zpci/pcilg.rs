//! PCI LOAD by handle against a read of the same register through the function: both enter the gate and reach the device, and the
//! one also finds the function by its handle, and looks whether that is still its handle inside.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use gate::ThreadToken;
use pci_core::BarIndex;
use zpci::{AddressSpace, Request};

use super::machine::{Machine, soon};
use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

const TURNS: u32 = 1_000_000;
const CPU: usize = 0;
/// The register with the size of a command: reading it does nothing else.
const SIZE: u64 = 0x1c;

/// The figure.
///
/// # Errors
/// The function cannot be built, or cannot be reached.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    pin::to_cpu(CPU)?;
    let token = &mut ThreadToken::at_thread_entry();
    let machine = Machine::new(token)?;
    let (mut plain, mut loads, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (floor, ours) = (reads(&machine, token)?, loads_by_handle(&machine, token)?);
        plain.push(floor);
        loads.push(ours);
        ratios.push(ours / floor);
    }
    Ok(Figure {
        figure: "pcilg",
        value: median(&mut ratios),
        unit: "x read",
        limit: 2.0,
        better: Better::Lower,
        ours: median(&mut loads),
        floor: median(&mut plain),
        peer: None,
        raw_unit: "ns",
        peer_is: None,
    })
}

/// Nanoseconds for each read of a BAR.
fn reads(machine: &Machine, token: &mut ThreadToken) -> Result<f64, Box<dyn Error>> {
    let bar = BarIndex::new(0).ok_or("no BAR 0")?;
    let function = machine.assignment.function();
    let mut data = [0; 4];
    let start = Instant::now();
    for _ in 0..TURNS {
        // As the servers do: the clock is read by who has to wait.
        function.read_bar(token, bar, black_box(SIZE), &mut data, soon)?;
        black_box(&data);
    }
    Ok(per_turn(start))
}

/// Nanoseconds for each load.
fn loads_by_handle(machine: &Machine, token: &ThreadToken) -> Result<f64, Box<dyn Error>> {
    let bar = BarIndex::new(0).ok_or("no BAR 0")?;
    let start = Instant::now();
    for _ in 0..TURNS {
        let request = Request::new(black_box(machine.handle), AddressSpace::bar(bar), 4);
        black_box(machine.zpci.pcilg(token, request, black_box(SIZE))?);
    }
    Ok(per_turn(start))
}

fn per_turn(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(TURNS)
}

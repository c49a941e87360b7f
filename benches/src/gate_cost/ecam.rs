//! Whether a configuration read through ECAM costs more when there are many functions.
//!
//! Two threads read as a scan does: the 64 dwords of a function's header, then the next function. With one function both
//! stay at that one, with 10,000 each goes through all of them, from either end. Everything on the way is counted: the
//! gate, the bridge with its exchangeable operations, the look-up in the window, the register.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use pci_core::mechanism::{BusRange, ConfigWindow, Ecam, HostBridge};
use pci_core::{
    BarIndex, ConfigEffects, ConfigSpace, Device, Function, Identity, LayoutError, ResetKind, Width,
};
use pci_spec::{Bdf, ClassCode};

use super::MANY;
use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

/// Registers of a header.
const DWORDS: u16 = 64;
/// Reads of one thread in one round: four times through all functions.
const READS: usize = 4 * MANY * DWORDS as usize;
const THREADS: usize = 2;
/// The functions of a bus, with 8 functions in each device.
const PER_BUS: usize = 256;

/// The configuration spaces of all functions, in the order of their addresses.
struct Window(Vec<Arc<ConfigSpace>>);

impl Window {
    fn space(&self, offset: u64) -> Option<(&ConfigSpace, u16)> {
        let space = self.0.get((offset >> 12) as usize)?;
        Some((space, (offset & 0xfff) as u16))
    }
}

impl ConfigWindow for Window {
    fn length(&self) -> u64 {
        (self.0.len() as u64) << 12
    }

    fn read(&self, offset: u64, width: Width) -> u32 {
        let Some((space, register)) = self.space(offset) else { return width.all_ones() };
        let mut data = [0; 4];
        space.read(register, &mut data[..usize::from(width.bytes())]);
        u32::from_le_bytes(data)
    }

    fn write(&self, _offset: u64, _width: Width, _value: u32) -> ConfigEffects {
        ConfigEffects::default()
    }
}

/// Only its registers are read.
struct NoDevice;

impl Device for NoDevice {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Functions behind one bridge.
fn functions(count: usize) -> Result<Vec<Function>, Box<dyn Error>> {
    let space = || ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME)).build().map(Arc::new);
    let spaces = (0..count).map(|_| space()).collect::<Result<Vec<_>, LayoutError>>()?;
    let ecam = Ecam::new(Window(spaces.clone()), BusRange::ALL);
    let bridge = Arc::new(HostBridge::new("bench", 0, BusRange::ALL, Arc::new(ecam)));
    let device = Arc::new(NoDevice);
    let mut functions = Vec::with_capacity(count);
    for (index, space) in spaces.into_iter().enumerate() {
        let (bus, devfn) = ((index / PER_BUS) as u8, (index % PER_BUS) as u8);
        let at = Bdf::new(0, bus, devfn >> 3, devfn & 7)?;
        let function = Function::new(at.to_string(), Gate::new(at.to_string()), space, device.clone());
        functions.push(function.behind(bridge.clone(), at));
    }
    Ok(functions)
}

/// Reads headers, one function after the other. Nanoseconds per read.
fn scan<'f>(functions: impl Iterator<Item = &'f Function>, token: &mut ThreadToken) -> f64 {
    let start = Instant::now();
    for function in functions {
        for dword in 0..DWORDS {
            let until = || Deadline::after(Duration::from_secs(60));
            black_box(function.read_register(token, dword * 4, Width::Dword, until).unwrap_or(0));
        }
    }
    start.elapsed().as_nanos() as f64 / READS as f64
}

/// Nanoseconds per read with both threads at it.
fn round(functions: &[Function]) -> f64 {
    let turns = READS / usize::from(DWORDS);
    let mut each: Vec<f64> = std::thread::scope(|scope| {
        let run = |cpu| {
            scope.spawn(move || {
                let _ = pin::to_cpu(cpu);
                let mut token = ThreadToken::at_thread_entry();
                if cpu == 0 {
                    scan(functions.iter().cycle().take(turns), &mut token)
                } else {
                    scan(functions.iter().rev().cycle().take(turns), &mut token)
                }
            })
        };
        let spawned: Vec<_> = (0..THREADS).map(run).collect();
        spawned.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).collect()
    });
    median(&mut each)
}

/// Runs the interleaved rounds.
///
/// # Errors
/// A function cannot be made.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    let (one, many) = (functions(1)?, functions(MANY)?);
    let (mut with_one, mut with_many, mut growth) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (floor, ours) = (round(&one), round(&many));
        growth.push(ours / floor);
        with_one.push(floor);
        with_many.push(ours);
    }
    Ok(Figure {
        figure: "ecam_growth_10000",
        value: median(&mut growth),
        unit: "x of one",
        limit: 1.2,
        better: Better::Lower,
        ours: median(&mut with_many),
        floor: median(&mut with_one),
        peer: None,
        raw_unit: "ns",
        peer_is: None,
    })
}

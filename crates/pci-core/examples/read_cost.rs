//! Prints what an access to a function costs: nanoseconds per read of a BAR and of configuration space, per write, and per
//! look whether the function masters the bus. A quick look, not an official figure:
//! `cargo run --release -p pci-core --example read_cost`.
#![allow(clippy::print_stdout)] // Its purpose.

use gate::{AccessKind, Deadline, Gate, Pass, Quiesced, ThreadToken};
use pci_core::{BarIndex, BarKind, ConfigSpace, Device, Function, Identity, LayoutError, ResetKind, Width};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: u32 = 5_000_000;
const COMMAND: u16 = 4;

/// One register.
struct Register(AtomicU32);

impl Device for Register {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        let value = self.0.load(Ordering::Relaxed).to_le_bytes();
        match <&mut [u8; 4]>::try_from(&mut *data) {
            Ok(data) => *data = value,
            Err(_) => data.fill(0),
        }
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &[u8]) {
        if let Ok(data) = data.try_into() {
            self.0.store(u32::from_le_bytes(data), Ordering::Relaxed);
        }
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

fn main() -> Result<(), LayoutError> {
    let identity = Identity::new(0x1234, 0x5678, pci_spec::ClassCode::NVME);
    let Some(bar) = BarIndex::new(0) else { return Ok(()) };
    let config = ConfigSpace::builder(identity).bar(bar, BarKind::Memory32, 0x1000).build()?;
    let device: Arc<dyn Device> = Arc::new(Register(AtomicU32::new(0x1234_5678)));
    let function = Function::new("f", Gate::new("f"), Arc::new(config), device);
    let mut token = ThreadToken::at_thread_entry();
    let until = || Deadline::after(Duration::from_secs(1));
    if let Err(error) = function.write_config(&mut token, COMMAND, &[6, 0], until()) {
        println!("memory is not enabled: {error}");
    }
    let mut data = [0; 4];
    let nothing = best(|| {
        black_box(&mut data);
    });
    let show = |what: &str, ns: f64| println!("{what}: {:.2} ns over nothing", ns - nothing);
    show(
        "read_bar, 4 bytes",
        best(|| {
            let _ = black_box(function.read_bar(&mut token, bar, black_box(0), black_box(&mut data), until));
        }),
    );
    show(
        "write_bar, 4 bytes",
        best(|| {
            let _ = black_box(function.write_bar(&mut token, bar, black_box(0), black_box(&data), until));
        }),
    );
    show(
        "read_register, dword",
        best(|| {
            let _ = black_box(function.read_register(&mut token, black_box(0), Width::Dword, until));
        }),
    );
    show(
        "read_config, 4 bytes",
        best(|| {
            let _ = black_box(function.read_config(&mut token, black_box(0), black_box(&mut data), until));
        }),
    );
    if let Ok(pass) = function.handle().try_enter(&token, AccessKind::Bar) {
        show(
            "load_bar under a pass, 4 bytes",
            best(|| {
                let _ = black_box(function.load_bar(&pass, bar, black_box(0), black_box(&mut data)));
            }),
        );
        show(
            "config_read under a pass, dword",
            best(|| {
                let _ = black_box(function.config_read(&pass, black_box(0), Width::Dword));
            }),
        );
    }
    show(
        "masters_bus",
        best(|| {
            black_box(black_box(function.config()).masters_bus());
        }),
    );
    Ok(())
}

/// Nanoseconds a call, in the best of several rounds.
fn best(mut call: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..7 {
        let begin = Instant::now();
        (0..ROUNDS).for_each(|_| call());
        best = best.min(begin.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    }
    best
}

//! What many functions cost: to build, to keep, and to change one of them.
//!
//! A segment of the large machine has 128 root ports on bus 0, each with a hot-plug slot and a function in it: 256 functions
//! in all. The small machine is one segment with 8 ports and 8 functions.
//!
//! * *build* is everything from nothing to a published picture, on one thread: functions with their gates, the fabric, the
//!   scan.
//! * *bytes* are what the process has grown by meanwhile, by its resident pages: what the allocator keeps counts too.
//! * a *cycle* is: a slot's function is taken out of the picture and out of the fabric, a new one is plugged in, the slot is
//!   scanned. Eight slots take turns in either machine, in the large one far apart: the ratio is that of the work. Where
//!   every cycle goes to another slot of the large machine, it finds all memory cold; that is printed as the peer.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use pci_core::{
    BarIndex, BarKind, ConfigSpace, Device, Express, Function, Identity, Layout, Msi, Pm, RealTime,
    ResetKind, Slot,
};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode};
use topology::fabric::{Fabric, Place, PlugId, Port};
use topology::{Segment, Topology};

use crate::figure::{Better, Figure};
use crate::stats::median;

const SEGMENTS: u16 = 256;
/// Root ports of a segment, and as many functions below them.
const PORTS: u8 = 128;
const SMALL_PORTS: u8 = 8;
/// Cycles of one machine before it is the other's turn: few, so that a noisy neighbour hits both.
const CYCLES: usize = 128;
/// Turns of each machine in one round.
const TURNS: usize = 32;
/// Builds of the large machine; the figure is the best, since neighbours only ever add.
const BUILDS: usize = 3;

/// A device that nobody talks to.
struct Idle;

impl Device for Idle {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// What functions of one make share.
struct Makes {
    port: Arc<Layout>,
    disk: Arc<Layout>,
    device: Arc<Idle>,
}

impl Makes {
    fn new() -> Result<Makes, Box<dyn Error>> {
        let slot = Slot { number: 1, hot_plug: true, surprise: true, present: true };
        let port = ConfigSpace::bridge_builder(Identity::new(0x1b36, 0x000c, ClassCode::PCI_BRIDGE))
            .multi_function()
            .capability(Pm { no_soft_reset: true, ..Pm::default() })
            .capability(Express { slot: Some(slot), ..Express::port(PortType::RootPort) });
        let bar = BarIndex::new(0).ok_or("no BAR 0")?;
        let disk = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME))
            .bar(bar, BarKind::Memory64, 16 << 10)
            .capability(Pm::default())
            .capability(Msi::new(4))
            .capability(Express::default())
            .aer();
        Ok(Makes { port: port.layout()?, disk: disk.layout()?, device: Arc::new(Idle) })
    }

    fn port(&self, at: Bdf) -> Arc<Function> {
        let config = Arc::new(ConfigSpace::new(self.port.clone()));
        Arc::new(Function::new(at.to_string(), Gate::new(at.to_string()), config, Arc::new(Port)))
    }

    fn disk(&self, name: &str) -> Arc<Function> {
        let config = Arc::new(ConfigSpace::new(self.disk.clone()));
        Arc::new(Function::new(name, Gate::new(name), config, self.device.clone()))
    }
}

/// A place for one function.
struct Socket {
    fabric: Arc<Fabric>,
    port: PlugId,
    /// Where the port is.
    bridge: Bdf,
    /// Where what is in the slot is.
    name: String,
    disk: PlugId,
}

struct Machine {
    makes: Makes,
    topology: Topology,
    sockets: Vec<Socket>,
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

impl Machine {
    fn build(token: &mut ThreadToken, segments: u16, ports: u8) -> Result<Machine, Box<dyn Error>> {
        let topology = Topology::new(Arc::new(RealTime::default()));
        let mut machine = Machine { makes: Makes::new()?, topology, sockets: Vec::new() };
        for number in 0..segments {
            machine.add_segment(token, number, ports)?;
        }
        let built = machine.topology.snapshot(token).len();
        if built == usize::from(segments) * usize::from(ports) * 2 {
            return Ok(machine);
        }
        Err(format!("the picture shows {built} functions").into())
    }

    fn add_segment(&mut self, token: &mut ThreadToken, number: u16, ports: u8) -> Result<(), Box<dyn Error>> {
        let fabric = Arc::new(Fabric::new(number));
        for devfn in 0..ports {
            let bridge = Bdf::from_routing_id(number, u16::from(devfn));
            let port = fabric.plug(Place::Root(devfn), self.makes.port(bridge))?;
            let name = Bdf::from_routing_id(number, (u16::from(devfn) + 1) << 8).to_string();
            let disk = fabric.plug(Place::Below(port, 0), self.makes.disk(&name))?;
            self.sockets.push(Socket { fabric: fabric.clone(), port, bridge, name, disk });
        }
        self.topology.add_segment(token, Segment::emulated(&fabric), soon())?;
        let problems = self.topology.rescan(token, number, soon())?.problems;
        problems.first().map_or(Ok(()), |problem| Err(problem.to_string().into()))
    }

    /// The function of a slot is taken out, and another one plugged in and found.
    fn cycle(&mut self, token: &mut ThreadToken, nth: usize) -> Result<(), Box<dyn Error>> {
        let Machine { makes, topology, sockets } = self;
        let count = sockets.len();
        let socket = sockets.get_mut(nth % count).ok_or("no slot")?;
        let below: Bdf = socket.name.parse()?;
        topology.remove(token, below, soon())?;
        drop(socket.fabric.unplug(socket.disk));
        socket.disk = socket.fabric.plug(Place::Below(socket.port, 0), makes.disk(&socket.name))?;
        let scanned = topology.rescan_below(token, socket.bridge, soon())?;
        if scanned.added.len() == 1 { Ok(()) } else { Err("the function was not found".into()) }
    }

    /// Microseconds a cycle, with `slots` slots taking turns that are spread over the machine.
    fn cycles(&mut self, token: &mut ThreadToken, slots: usize, turn: usize) -> Result<f64, Box<dyn Error>> {
        let apart = self.sockets.len() / slots;
        let start = Instant::now();
        for nth in turn * CYCLES..(turn + 1) * CYCLES {
            // Odd, so that all of them take turns, and no two in a row are neighbours.
            self.cycle(token, nth * 1_237 % slots * apart)?;
        }
        Ok(start.elapsed().as_nanos() as f64 / 1e3 / CYCLES as f64)
    }
}

/// Resident bytes of this process.
fn resident() -> Result<f64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).ok_or("no resident pages in statm")?.parse()?;
    Ok(pages as f64 * rustix::param::page_size() as f64)
}

fn figure(
    figure: &'static str,
    unit: &'static str,
    value: f64,
    limit: f64,
    raw_unit: &'static str,
) -> Figure {
    Figure {
        figure,
        value,
        unit,
        limit,
        better: Better::Lower,
        ours: value,
        floor: 0.0,
        peer: None,
        raw_unit,
        peer_is: None,
    }
}

/// Builds the machines, and runs the interleaved rounds of cycles.
///
/// # Errors
/// Something cannot be made, plugged in or found.
pub(super) fn figures(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let token = &mut ThreadToken::at_thread_entry();
    let functions = f64::from(SEGMENTS) * f64::from(PORTS) * 2.0;
    let before = resident()?;
    let start = Instant::now();
    let mut large = Machine::build(token, SEGMENTS, PORTS)?;
    let mut builds = vec![start.elapsed().as_secs_f64()];
    let bytes = (resident()? - before) / functions;

    let mut small = Machine::build(token, 1, SMALL_PORTS)?;
    let (mut in_small, mut in_large, mut cold, mut growth) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (slots, all) = (usize::from(SMALL_PORTS), large.sockets.len());
    for turn in 0..rounds * TURNS {
        let (floor, ours) = (small.cycles(token, slots, turn)?, large.cycles(token, slots, turn)?);
        cold.push(large.cycles(token, all, turn)?);
        growth.push(ours / floor);
        in_small.push(floor);
        in_large.push(ours);
    }
    drop(large);
    for _ in 1..BUILDS {
        let start = Instant::now();
        let again = Machine::build(token, SEGMENTS, PORTS)?;
        builds.push(start.elapsed().as_secs_f64());
        drop(again);
    }
    let cycle = Figure {
        ours: median(&mut in_large),
        floor: median(&mut in_small),
        peer: Some(median(&mut cold)),
        peer_is: Some("each cycle in another of the 32,768 slots, all memory cold"),
        ..figure("cycle_growth_65536", "x of 16", median(&mut growth), 2.0, "us")
    };
    Ok(vec![
        figure("build_65536_s", "s", builds.into_iter().fold(f64::INFINITY, f64::min), 1.0, "s"),
        figure("bytes_per_function", "bytes", bytes, 16.0 * 1024.0, "bytes"),
        cycle,
    ])
}

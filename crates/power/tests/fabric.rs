//! Power on emulated hardware that routes by its bridges' registers: what lost its power is really out of reach, and
//! nothing below a bridge is touched before the bridge leads there again.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

#[path = "../../pci-core/tests/mapped/mod.rs"]
mod mapped;
mod support;

use gate::{Gate, ThreadToken};
use mapped::{Consumer, Lines, Meets};
use pci_core::mechanism::{BusRange, ConfigOps, Ecam, HostBridge};
use pci_core::{
    BarIndex, BarKind, ConfigAddress, ConfigEffects, ConfigSpace, ConfigSpaceBuilder, ConfigStatus, Errno,
    Express, ExtendedCapability, Function, Identity, Pm, SrIov, Width,
};
use pci_spec::capability::express::PortType;
use pci_spec::extended::sr_iov;
use pci_spec::{Bdf, ClassCode, bridge, config};
use power::idle::Policy;
use power::runtime::Runtime;
use power::{Emulated, Platform, Power, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Clock, Journal, at, patient};
use topology::enumerate::Windows;
use topology::fabric::{Fabric, Place, Port};
use topology::{Segment, Snapshot, Topology};

/// Writes down who was written on the way, and who was asked in vain.
struct Watched {
    below: Ecam<Arc<Fabric>>,
    watching: AtomicBool,
    journal: Journal,
}

impl Watched {
    fn note(&self, what: &str, at: ConfigAddress) {
        if self.watching.load(Ordering::SeqCst) {
            self.journal.write(format!("{what} {:02x}:{:02x} {:#x}", at.bus, at.devfn, at.register));
        }
    }
}

impl ConfigOps for Watched {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        let read = self.below.read(at, width)?;
        if read == width.all_ones() && at.register == config::VENDOR_ID {
            self.note("nobody at", at);
        }
        Ok(read)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        self.note("wrote", at);
        self.below.write(at, width, value)
    }
}

const ROOT: (u8, u8, u8) = (0, 1, 0);

/// A root port, a switch and a device, every access of which goes through one host bridge.
struct Machine {
    token: ThreadToken,
    ops: Arc<Watched>,
    journal: Journal,
    snapshot: Arc<Snapshot>,
    power: Power,
}

impl Machine {
    fn new() -> Machine {
        let mut token = ThreadToken::at_thread_entry();
        let fabric = Arc::new(Fabric::new(0));
        let journal = Journal::default();
        let below = Ecam::new(fabric.clone(), BusRange::ALL);
        let ops = Arc::new(Watched { below, watching: AtomicBool::new(false), journal: journal.clone() });
        let host = Arc::new(HostBridge::new("host", 0, BusRange::ALL, ops.clone()));
        let clock = Arc::new(Clock::default());
        let topology = Topology::new(clock.clone());
        let segment = Segment::new(host.clone(), fabric.clone(), Windows::default());
        topology.add_segment(&mut token, segment, patient()).unwrap();

        let kinds = [PortType::RootPort, PortType::UpstreamPort, PortType::DownstreamPort];
        let mut place = Place::Root(8);
        for (address, kind) in [at(0, 1, 0), at(1, 0, 0), at(2, 0, 0)].into_iter().zip(kinds) {
            let identity = Identity::new(0x1b36, 0x000c, ClassCode::PCI_BRIDGE);
            let config = ConfigSpace::bridge_builder(identity).capability(Pm::default());
            let port = function(&host, address, &config.capability(Express::port(kind)));
            place = Place::Below(fabric.plug(place, port).unwrap(), 0);
        }
        let disk = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME))
            .bar(BarIndex::new(0).unwrap(), BarKind::Memory64, 16 << 10)
            .capability(Pm::default())
            .capability(Express::default())
            .extended_capability(ExtendedCapability::SrIov(SrIov::new(2, 0x0011)));
        fabric.plug(place, function(&host, at(3, 0, 0), &disk)).unwrap();

        assert_eq!(topology.rescan(&mut token, 0, patient()).unwrap().problems, []);
        let snapshot = topology.snapshot(&token);
        let root = at(ROOT.0, ROOT.1, ROOT.2);
        let power = Power::new(clock).on(Arc::new(Emulated::managing([root])));
        Machine { token, ops, journal, snapshot, power }
    }

    fn set(&mut self, at: Bdf, to: State) -> State {
        self.power.set_state(&self.snapshot, at, to, &mut self.token, patient()).unwrap()
    }

    fn vendor(&mut self, at: Bdf) -> u32 {
        let function = self.snapshot.function(at).unwrap().function.clone();
        function.read_register(&mut self.token, config::VENDOR_ID, Width::Word, patient()).unwrap()
    }
}

fn function(host: &Arc<HostBridge>, at: Bdf, config: &ConfigSpaceBuilder) -> Arc<Function> {
    let config = Arc::new(config.build().unwrap());
    let name = at.to_string();
    Arc::new(Function::new(&*name, Gate::new(&*name), config, Arc::new(Port)).behind(host.clone(), at))
}

#[test]
fn pwr_07_what_is_below_a_bridge_in_d3cold_is_out_of_reach_and_comes_back_with_it() {
    let mut machine = Machine::new();
    let (root, leaf) = (at(0, 1, 0), at(3, 0, 0));
    let disk = machine.snapshot.function(leaf).unwrap().function.clone();
    let bar = disk.config().bar_address(BarIndex::new(0).unwrap());
    disk.write_config(&mut machine.token, config::COMMAND, &[0x06], patient()).unwrap();
    let before: Vec<_> = machine.snapshot.iter().map(|node| node.function.config().bus_numbers()).collect();

    assert_eq!(machine.set(root, State::D3Cold), State::D3Cold);
    assert_eq!((machine.vendor(root), machine.vendor(leaf)), (0xffff, 0xffff));

    machine.ops.watching.store(true, Ordering::SeqCst);
    assert_eq!(machine.set(leaf, State::D0), State::D0);
    machine.ops.watching.store(false, Ordering::SeqCst);
    let after: Vec<_> = machine.snapshot.iter().map(|node| node.function.config().bus_numbers()).collect();
    assert_eq!(after, before);
    assert_eq!(machine.vendor(leaf), 0x1b36, "the way is there again");
    assert_eq!(
        (disk.config().bar_address(BarIndex::new(0).unwrap()), disk.config().command().bits()),
        (bar, 6)
    );
}

#[test]
fn pwr_08_a_bridge_has_its_bus_numbers_before_what_is_below_it_is_touched() {
    let mut machine = Machine::new();
    let (root, leaf) = (at(0, 1, 0), at(3, 0, 0));
    machine.set(root, State::D3Cold);
    machine.ops.watching.store(true, Ordering::SeqCst);
    machine.set(leaf, State::D0);
    let lines = machine.journal.take();
    let asked_in_vain: Vec<_> = lines.iter().filter(|line| line.starts_with("nobody")).collect();
    assert!(asked_in_vain.is_empty(), "nobody was looked for where no bridge led: {asked_in_vain:?}");
    let first = |what: String| lines.iter().position(|line| line.starts_with(&what)).unwrap();
    for (bridge, below) in [("00:08", "wrote 01:"), ("01:00", "wrote 02:"), ("02:00", "wrote 03:")] {
        let numbers = first(format!("wrote {bridge} {:#x}", bridge::PRIMARY_BUS));
        assert!(numbers < first(below.to_owned()), "{bridge} first: {lines:?}");
    }
}

#[test]
fn vf_48_virtual_functions_that_the_caller_has_not_seen_keep_their_function_awake_too() {
    let mut machine = Machine::new();
    let (root, leaf) = (at(0, 1, 0), at(3, 0, 0));
    let disk = machine.snapshot.function(leaf).unwrap().function.clone();
    let control = disk.config().sr_iov_layout().unwrap().at + sr_iov::CONTROL;
    let _on = disk.config().write(control - sr_iov::CONTROL + sr_iov::NUM_VFS, &[2, 0]);
    let _on = disk.config().write(control, &[1, 0]);
    for (at, to) in [(leaf, State::D3Hot), (root, State::D3Cold)] {
        let refused = machine.power.set_state(&machine.snapshot, at, to, &mut machine.token, patient());
        assert_eq!(refused.unwrap_err().errno(), Errno::EBUSY, "{at} to {to}");
        assert_eq!(disk.device_state(), State::D0);
    }
    let _off = disk.config().write(control, &[0, 0]);
    assert_eq!(machine.set(leaf, State::D3Hot), State::D3Hot);
}

#[test]
fn vf_20_sleep_and_the_loss_of_power_above_take_the_page_away_and_waking_up_gives_it_back() {
    let mut machine = Machine::new();
    let (root, leaf) = (at(0, 1, 0), at(3, 0, 0));
    let disk = machine.snapshot.function(leaf).unwrap().function.clone();
    disk.write_config(&mut machine.token, config::COMMAND, &[0x06], patient()).unwrap();
    let consumer = Consumer::of(&disk, 0, &Lines::default());
    for (at, state) in [(leaf, State::D3Hot), (root, State::D3Cold)] {
        assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
        assert_eq!(machine.set(at, state), state);
        assert_eq!(consumer.script.look(), Meets::Waits, "{state}");
        assert_eq!(consumer.touch(&mut machine.token), Meets::Failure, "{state}");
        assert_eq!(machine.set(leaf, State::D0), State::D0);
        assert_eq!(consumer.script.look(), Meets::Waits, "back from {state}");
    }
    assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
}

/// Firmware and slot power that look at a page before they act.
#[derive(Debug)]
struct Looks {
    platform: Emulated,
    page: Arc<mapped::Script>,
}

impl Platform for Looks {
    fn manages(&self, at: Bdf) -> bool {
        self.platform.manages(at)
    }

    fn is_powered(&self, at: Bdf) -> bool {
        self.platform.is_powered(at)
    }

    fn set_state(&self, at: Bdf, state: State) -> Result<(), Errno> {
        assert_eq!(self.page.look(), Meets::Waits, "{state} of {at} with a page mapped");
        self.platform.set_state(at, state)
    }
}

#[test]
fn vf_20_the_page_has_gone_before_the_slot_is_without_power() {
    // Whether it is the function's own power or that of a bridge above it, which knows nothing of its registers.
    for managed in [at(0, 1, 0), at(3, 0, 0)] {
        let mut machine = Machine::new();
        let disk = machine.snapshot.function(at(3, 0, 0)).unwrap().function.clone();
        disk.write_config(&mut machine.token, config::COMMAND, &[0x02], patient()).unwrap();
        let consumer = Consumer::of(&disk, 0, &Lines::default());
        assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
        let platform = Looks { platform: Emulated::managing([managed]), page: consumer.script.clone() };
        machine.power = machine.power.on(Arc::new(platform));
        assert_eq!(machine.set(managed, State::D3Cold), State::D3Cold);
    }
}

#[test]
fn pwr_11_vf_20_the_idle_policy_takes_the_page_away_and_whoever_wakes_the_function_gives_it_back() {
    let mut machine = Machine::new();
    let leaf = at(3, 0, 0);
    let disk = machine.snapshot.function(leaf).unwrap().function.clone();
    disk.write_config(&mut machine.token, config::COMMAND, &[0x02], patient()).unwrap();
    let consumer = Consumer::of(&disk, 0, &Lines::default());
    assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
    let mut runtime = Runtime::new(machine.power.clone());
    runtime.manage(leaf, Policy::default());
    let _ = runtime.poll(&machine.snapshot, &mut machine.token, patient());
    assert_eq!(machine.power.state(&machine.snapshot, leaf), Some(State::D3Hot));
    assert_eq!(consumer.script.look(), Meets::Waits);
    assert_eq!(consumer.touch(&mut machine.token), Meets::Failure);
    let _usages = runtime.use_awake(&machine.snapshot, leaf, &mut machine.token, patient()).unwrap();
    assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
}

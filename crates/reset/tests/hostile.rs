//! Law 10: whatever consumers and operators write and ask for, from two threads at once, ends, and leaves a machine that
//! is whole.

mod machine;

use gate::{Gate, GateState, Pass, Quiesced, ThreadToken};
use machine::{Silicon, bridge, endpoint, soon};
use pci_core::{
    BarIndex, ConfigSpace, Device, DeviceState, Express, ExtendedCapability, Function, Identity, Msi, Pm,
    ResetKind, Slot, SrIov, VirtualFunction, VirtualTime, Width,
};
use pci_spec::capability::express::PortType;
use pci_spec::{ClassCode, config};
use power::{Emulated, Power};
use proptest::prelude::*;
use reset::{Method, Preserved, Resets};
use std::sync::Arc;
use topology::fabric::{Fabric, Place, PlugId};
use topology::{NodeKind, Segment, Topology};

/// The most virtual functions of each function that has some.
const VFS: u16 = 3;

struct Card;

impl Device for Card {
    fn read_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, data: &mut [u8]) {
        data.fill(0);
    }
    fn write_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &[u8]) {}
    fn reset(&self, _: &Quiesced<'_>, _: ResetKind) {}
    fn virtual_function(&self, _index: u16, _gate: &Gate) -> Option<VirtualFunction> {
        let identity = Identity::new(0x1234, 0x5679, ClassCode::ETHERNET);
        let config = ConfigSpace::virtual_builder(identity).capability(Express::default()).build().ok()?;
        Some(VirtualFunction { config: Arc::new(config), device: Arc::new(Silicon::default()) })
    }
    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

struct World {
    topology: Arc<Topology>,
    resets: Resets,
    power: Power,
    functions: Vec<Arc<Function>>,
}

impl World {
    /// Below each of `ports`: nothing, a card, or a switch with a card below each of its ports.
    fn new(ports: &[u8], token: &mut ThreadToken) -> World {
        let time = Arc::new(VirtualTime::default());
        let fabric = Arc::new(Fabric::new(0));
        let topology = Arc::new(Topology::new(time.clone()));
        topology.add_segment(token, Segment::emulated(&fabric), soon()).expect("the first");
        let mut world = World {
            topology: topology.clone(),
            resets: Resets::new(time.clone()).with_topology(topology),
            power: Power::new(time.clone()),
            functions: Vec::new(),
        };
        for (device, below) in (1_u8..).zip(ports) {
            let root = world.port(&fabric, &time, Place::Root(device * 8), PortType::RootPort);
            match below {
                0 => {}
                1 => world.card(&fabric, &time, root),
                _ => {
                    let up = world.port(&fabric, &time, Place::Below(root, 0), PortType::UpstreamPort);
                    for device in 0..*below {
                        let place = Place::Below(up, device * 8);
                        let down = world.port(&fabric, &time, place, PortType::DownstreamPort);
                        world.card(&fabric, &time, down);
                    }
                }
            }
        }
        assert_eq!(world.topology.rescan(token, 0, soon()).expect("a scan").problems, []);
        let snapshot = world.topology.snapshot(token);
        let managed = Arc::new(Emulated::managing(snapshot.iter().map(|node| node.address)));
        world.power = world.power.on(managed).preserving(Arc::new(Preserved::default()));
        world.resets = world.resets.with_power(world.power.clone());
        world
    }

    fn port(&mut self, fabric: &Fabric, time: &Arc<VirtualTime>, place: Place, kind: PortType) -> PlugId {
        let slot = Slot { number: 1, hot_plug: true, surprise: false, present: true };
        let express = Express { slot: kind.is_downstream().then_some(slot), ..Express::port(kind) };
        let config = bridge().capability(express).capability(Pm::default());
        self.plug(fabric, time, place, config.build().expect("a port"), Arc::new(Silicon::default()))
    }

    fn card(&mut self, fabric: &Fabric, time: &Arc<VirtualTime>, below: PlugId) {
        let config = endpoint()
            .capability(Express::default())
            .capability(Pm { d1: true, d2: true, ..Pm::default() })
            .capability(Msi::new(4))
            .aer()
            .extended_capability(ExtendedCapability::SrIov(SrIov::new(VFS, 0x5679)));
        self.plug(fabric, time, Place::Below(below, 0), config.build().expect("a card"), Arc::new(Card));
    }

    fn plug(
        &mut self,
        fabric: &Fabric,
        time: &Arc<VirtualTime>,
        place: Place,
        config: ConfigSpace,
        device: Arc<dyn Device>,
    ) -> PlugId {
        let name = format!("function {}", self.functions.len());
        let function = Function::new(&*name, Gate::new(&*name), Arc::new(config), device);
        let function = Arc::new(function.timed_by(time.clone()));
        self.functions.push(function.clone());
        fabric.plug(place, function).expect("free")
    }

    /// Does one thing; what it answers is of no interest here.
    fn act(&self, act: &Act, token: &mut ThreadToken) {
        let snapshot = self.topology.snapshot(token);
        let Some(at) = snapshot.iter().nth(act.whom % snapshot.len().max(1)).map(|node| node.address) else {
            return;
        };
        let Some(function) = snapshot.function(at).map(|node| node.function.clone()) else { return };
        match &act.what {
            What::Write(register, data) => drop(function.write_config(token, *register, data, soon())),
            What::Read(register, length) => {
                let mut data = vec![0; usize::from(*length)];
                drop(function.read_config(token, *register, &mut data, soon()));
            }
            What::Register(register, width, value) => {
                drop(function.write_register(token, *register, *width, *value, soon()));
            }
            What::Vfs(count) => drop(self.topology.set_num_vfs(token, at, *count, soon())),
            What::Scan => drop(self.topology.rescan(token, 0, soon())),
            What::Reset(kind) => drop(function.reset(token, *kind, soon())),
            What::ResetBy(method) => {
                drop(self.resets.reset_function_by(token, &snapshot, at, *method, soon()));
            }
            What::Bus => drop(self.resets.try_reset_bus(token, &snapshot, at)),
            What::Power(state) => drop(self.power.set_state(&snapshot, at, *state, token, soon())),
        }
    }

    /// Everybody has left, the gates are as they are to be, and the picture is whole.
    fn check(&self, token: &mut ThreadToken) {
        let snapshot = self.topology.snapshot(token);
        for function in self.functions.iter().chain(snapshot.iter().map(|node| &node.function)) {
            let status = function.gate().status();
            let left = (status.inside.len(), status.waiting_accesses, status.waiting_closers);
            assert_eq!(left, (0, 0, 0), "{}", function.name());
            // A function below a bridge that did not come back is retired, and nothing else is.
            assert!(matches!(status.state, GateState::Open | GateState::Gone), "{status:?}");
        }
        for node in snapshot.iter() {
            assert!(snapshot.function(node.address).is_some_and(|found| Arc::ptr_eq(found, node)));
            if let NodeKind::Virtual { physical } = node.kind {
                let physical = snapshot.function(physical).expect("a virtual function has a physical one");
                assert!(
                    node.function.gate().status().state == GateState::Open
                        || physical.function.handle().is_gone()
                );
            }
            let Some(state) = node.function.config().sr_iov() else { continue };
            let shown = snapshot.virtual_functions(node.address).len();
            let on = if state.enabled { usize::from(state.num_vfs) } else { 0 };
            assert!(shown == on || node.function.handle().is_gone(), "{}: {shown} of {on}", node.address);
        }
    }

    /// Whatever was done, an operator gets the machine back: no virtual functions, D0, found by a scan.
    fn recover(&self, token: &mut ThreadToken) {
        let snapshot = self.topology.snapshot(token);
        for node in snapshot.iter().filter(|node| node.function.config().sr_iov().is_some()) {
            let off = self.topology.set_num_vfs(token, node.address, 0, soon());
            assert!(off.is_ok() || node.function.handle().is_gone(), "{off:?}");
        }
        let scanned = self.topology.rescan(token, 0, soon());
        assert!(scanned.is_ok(), "{scanned:?}");
        self.check(token);
    }
}

#[derive(Clone, Debug)]
struct Act {
    whom: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Write(u16, Vec<u8>),
    Read(u16, u8),
    Register(u16, Width, u32),
    Vfs(u16),
    Scan,
    Reset(ResetKind),
    ResetBy(Method),
    Bus,
    Power(DeviceState),
}

/// Mostly where something is: the header, bus numbers, Bridge Control, the capabilities.
fn register() -> impl Strategy<Value = u16> {
    prop_oneof![
        0_u16..0x100,
        0x100_u16..0x180,
        Just(config::COMMAND),
        0x18_u16..0x1c,
        0x3c_u16..0x40,
        any::<u16>()
    ]
}

fn what() -> impl Strategy<Value = What> {
    let width = prop_oneof![Just(Width::Byte), Just(Width::Word), Just(Width::Dword)];
    let value = prop_oneof![any::<u32>(), Just(u32::MAX), Just(0), (0_u32..32).prop_map(|bit| 1 << bit)];
    let kind = prop_oneof![
        Just(ResetKind::FunctionLevel),
        Just(ResetKind::DeviceReset),
        Just(ResetKind::ClientGone)
    ];
    let method = prop_oneof![Just(Method::Flr), Just(Method::Pm), Just(Method::Bus)];
    let state = prop_oneof![
        Just(DeviceState::D0),
        Just(DeviceState::D1),
        Just(DeviceState::D3Hot),
        Just(DeviceState::D3Cold)
    ];
    prop_oneof![
        6 => (register(), proptest::collection::vec(any::<u8>(), 0..12)).prop_map(|(at, data)| What::Write(at, data)),
        6 => (register(), width, value).prop_map(|(at, width, value)| What::Register(at, width, value)),
        2 => (register(), 0_u8..16).prop_map(|(at, length)| What::Read(at, length)),
        2 => (0..VFS + 2).prop_map(What::Vfs),
        1 => Just(What::Scan),
        2 => kind.prop_map(What::Reset),
        2 => method.prop_map(What::ResetBy),
        1 => Just(What::Bus),
        2 => state.prop_map(What::Power),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = (any::<usize>(), what()).prop_map(|(whom, what)| Act { whom, what });
    proptest::collection::vec(act, 1..40)
}

proptest! {
    #[test]
    fn a_storm_of_writes_resets_and_power_changes_ends_and_leaves_a_machine_that_is_whole(
        ports in proptest::collection::vec(0_u8..4, 1..4),
        here in acts(),
        there in acts(),
    ) {
        // Tokens belong to threads, and the test's own thread has none.
        let build = || World::new(&ports, &mut ThreadToken::at_thread_entry());
        let world = std::thread::scope(|scope| scope.spawn(build).join()).expect("built");
        let world = &world;
        std::thread::scope(|scope| {
            let run = |acts: Vec<Act>| {
                scope.spawn(move || {
                    let token = &mut ThreadToken::at_thread_entry();
                    acts.iter().for_each(|act| world.act(act, token));
                })
            };
            let storm = [run(here), run(there)];
            storm.into_iter().for_each(|thread| thread.join().expect("no panic"));
            scope.spawn(|| {
                let token = &mut ThreadToken::at_thread_entry();
                world.check(token);
                world.recover(token);
            });
        });
    }
}

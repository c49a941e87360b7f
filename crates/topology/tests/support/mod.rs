//! Emulated machines for the tests.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use pci_core::{
    BarIndex, BarKind, ConfigSpace, ConfigSpaceBuilder, Device, Express, ExtendedCapability, Function,
    Identity, ResetKind, SrIov, Time, VirtualFunction, VirtualTime,
};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode};
use std::sync::Arc;
use std::time::Duration;
use topology::fabric::{Fabric, Place, PlugId, Port};
use topology::{Scanned, Segment, Topology};

/// A device that has nothing to it, and makes virtual functions like itself.
#[derive(Default)]
pub(crate) struct Plain {
    /// The first virtual function that it does not make.
    pub(crate) fails_from: Option<u16>,
}

impl Device for Plain {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn virtual_function(&self, index: u16, _gate: &Gate) -> Option<VirtualFunction> {
        if self.fails_from.is_some_and(|first| index >= first) {
            return None;
        }
        let identity = Identity::new(0x1b36, 0x00ff, ClassCode::ETHERNET);
        let config = ConfigSpace::virtual_builder(identity)
            .bar(bar(0), BarKind::Memory64, 4096)
            .capability(Express::default())
            .build()
            .unwrap();
        Some(VirtualFunction { config: Arc::new(config), device: Arc::new(Plain::default()) })
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

pub(crate) fn bar(index: u8) -> BarIndex {
    BarIndex::new(index).unwrap()
}

pub(crate) fn at(text: &str) -> Bdf {
    text.parse().unwrap()
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(crate) fn endpoint() -> ConfigSpaceBuilder {
    ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME)).capability(Express::default())
}

pub(crate) fn ari(next_function: u8) -> ExtendedCapability {
    ExtendedCapability::Ari { next_function }
}

pub(crate) fn sr_iov(capability: SrIov) -> ExtendedCapability {
    ExtendedCapability::SrIov(capability)
}

pub(crate) fn function(name: &str, config: &ConfigSpaceBuilder) -> Arc<Function> {
    function_with(name, config, Plain::default())
}

pub(crate) fn function_with(name: &str, config: &ConfigSpaceBuilder, device: Plain) -> Arc<Function> {
    let config = Arc::new(config.build().unwrap());
    Arc::new(Function::new(name, Gate::new(name), config, Arc::new(device)))
}

pub(crate) fn port(name: &str, kind: PortType) -> Arc<Function> {
    Arc::new(Port::function(name, Port::identity(0x1b36, 0x000c), kind, None).unwrap())
}

/// One segment of emulated hardware in a topology, with time that does not pass by itself.
pub(crate) struct Machine {
    pub(crate) token: ThreadToken,
    pub(crate) fabric: Arc<Fabric>,
    pub(crate) topology: Topology,
    pub(crate) time: Arc<VirtualTime>,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let time = Arc::new(VirtualTime::default());
        Machine { time: time.clone(), ..Machine::on(time) }
    }

    /// With another time.
    pub(crate) fn on(time: Arc<dyn Time>) -> Machine {
        let mut token = ThreadToken::at_thread_entry();
        let fabric = Arc::new(Fabric::new(0));
        let topology = Topology::new(time);
        topology.add_segment(&mut token, Segment::emulated(&fabric), soon()).unwrap();
        Machine { token, fabric, topology, time: Arc::default() }
    }

    pub(crate) fn root(&self, devfn: u8, function: &Arc<Function>) -> PlugId {
        self.fabric.plug(Place::Root(devfn), function.clone()).unwrap()
    }

    pub(crate) fn below(&self, bridge: PlugId, devfn: u8, function: &Arc<Function>) -> PlugId {
        self.fabric.plug(Place::Below(bridge, devfn), function.clone()).unwrap()
    }

    pub(crate) fn rescan(&mut self) -> Scanned {
        self.topology.rescan(&mut self.token, 0, soon()).unwrap()
    }

    /// The addresses in the present picture.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.topology.snapshot(&self.token).iter().map(|node| node.address.to_string()).collect()
    }

    pub(crate) fn node(&self, at: Bdf) -> Option<Arc<topology::Node>> {
        self.topology.snapshot(&self.token).function(at).cloned()
    }
}

pub(crate) fn read32(config: &ConfigSpace, offset: u16) -> u32 {
    let mut bytes = [0; 4];
    config.read(offset, &mut bytes);
    u32::from_le_bytes(bytes)
}

//! A machine with two root ports: below one two functions and a virtual one, below the other a switch with one function.
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use contain::aer::{AerError, Ledger, ReportError, Reported, notice};
use contain::pe::{Holder, PeAddress, PeKind};
use contain::plan::FunctionId;
use contain::tree::{NewPe, PeFunction, PeTree, Snapshot};
use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use pci_core::{
    BarIndex, ConfigSpace, Device, Express, ExtendedCapability, Function, Identity, ResetKind, Slot,
    VirtualTime,
};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode, bridge};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ROOT: &str = "0000:00:01.0";
pub(crate) const ENDPOINT: &str = "0000:01:00.0";
pub(crate) const SECOND: &str = "0000:01:00.1";
pub(crate) const VIRTUAL: &str = "0000:01:00.2";
pub(crate) const HOT_PLUG: &str = "0000:00:02.0";
pub(crate) const DOWNSTREAM: &str = "0000:03:00.0";
pub(crate) const BEHIND_SWITCH: &str = "0000:04:00.0";
/// A root port with nothing below it.
pub(crate) const EMPTY: &str = "0000:00:03.0";
/// An endpoint on the root bus: no port is above it.
pub(crate) const INTEGRATED: &str = "0000:00:04.0";
/// An endpoint without the capability.
pub(crate) const PLAIN: &str = "0000:01:01.0";

pub(crate) fn at(text: &str) -> Bdf {
    text.parse().unwrap()
}

pub(crate) struct Plain;

impl Device for Plain {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

pub(crate) struct Rig {
    pub(crate) tree: PeTree,
    pub(crate) ledger: Ledger,
    pub(crate) token: ThreadToken,
}

fn endpoint() -> ConfigSpace {
    let identity = Identity::new(0x1b36, 0x0010, ClassCode::NVME);
    ConfigSpace::builder(identity).capability(Express::default()).aer().build().unwrap()
}

fn virtual_function() -> ConfigSpace {
    let identity = Identity::new(0x1b36, 0x0010, ClassCode::NVME);
    ConfigSpace::virtual_builder(identity).capability(Express::default()).aer().build().unwrap()
}

fn port(kind: PortType, slot: Option<Slot>, buses: (u8, u8)) -> ConfigSpace {
    let identity = Identity::new(0x1b36, 0x000c, ClassCode::PCI_BRIDGE);
    let config = ConfigSpace::bridge_builder(identity)
        .capability(Express { slot, ..Express::port(kind) })
        .extended_capability(ExtendedCapability::PortAer)
        .extended_capability(ExtendedCapability::Dpc)
        .build()
        .unwrap();
    let _effects = config.write(bridge::PRIMARY_BUS, &[0, buses.0, buses.1]);
    config
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let tree = PeTree::new(Arc::new(VirtualTime::default()));
        let mut token = ThreadToken::at_thread_entry();
        let phb = PeAddress::phb(0);
        let bus = |number, parent| NewPe { address: pe(number), kind: PeKind::Bus, parent: Some(parent) };
        let new = [
            NewPe { address: phb, kind: PeKind::Phb, parent: None },
            bus(0x0008, phb),
            bus(0x0100, pe(0x0008)),
            NewPe { address: pe(0x0102), kind: PeKind::Vf, parent: Some(pe(0x0100)) },
            bus(0x0010, phb),
            bus(0x0200, pe(0x0010)),
            bus(0x0300, pe(0x0200)),
            bus(0x0400, pe(0x0300)),
            bus(0x0018, phb),
            bus(0x0020, phb),
        ];
        tree.insert(&mut token, new, soon()).unwrap();
        let mut rig = Rig { tree, ledger: Ledger::default(), token };
        let hot_plug = Slot { number: 2, hot_plug: true, surprise: true, present: true };
        rig.put(0x0008, ROOT, port(PortType::RootPort, None, (1, 1)));
        rig.put(0x0100, ENDPOINT, endpoint());
        rig.put(0x0100, SECOND, endpoint());
        rig.put(0x0100, PLAIN, ConfigSpace::builder(Identity::new(1, 1, ClassCode::NVME)).build().unwrap());
        rig.put(0x0102, VIRTUAL, virtual_function());
        rig.put(0x0010, HOT_PLUG, port(PortType::RootPort, Some(hot_plug), (2, 4)));
        rig.put(0x0200, "0000:02:00.0", port(PortType::UpstreamPort, None, (3, 4)));
        rig.put(0x0300, DOWNSTREAM, port(PortType::DownstreamPort, None, (4, 4)));
        rig.put(0x0400, BEHIND_SWITCH, endpoint());
        rig.put(0x0018, EMPTY, port(PortType::RootPort, None, (9, 9)));
        rig.put(0x0020, INTEGRATED, endpoint());
        rig
    }

    fn put(&mut self, number: u16, address: &str, config: ConfigSpace) {
        let address = at(address);
        let function = Function::new(address.to_string(), Gate::new("f"), Arc::new(config), Arc::new(Plain));
        let id = FunctionId(address.routing_id().into());
        let function = PeFunction { id, address, function: Arc::new(function), bars: Vec::new() };
        self.tree.add_function(&mut self.token, pe(number), function, soon()).unwrap();
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.tree.snapshot(&self.token)
    }

    pub(crate) fn function(&self, address: &str) -> Arc<PeFunction> {
        self.snapshot().of_function(at(address), Holder::Lookup).unwrap().1
    }

    pub(crate) fn config(&self, address: &str) -> Arc<ConfigSpace> {
        self.function(address).function.config().clone()
    }

    pub(crate) fn write32(&self, address: &str, capability: u16, offset: u16, value: u32) {
        let config = self.config(address);
        let read = |at| {
            let mut bytes = [0; 4];
            config.read(at, &mut bytes);
            u32::from_le_bytes(bytes)
        };
        let at = pci_core::config::find_extended(capability, read).unwrap();
        let _effects = config.write(at + offset, &value.to_le_bytes());
    }

    pub(crate) fn report(&self, address: &str, error: AerError) -> Result<Reported, ReportError> {
        notice(&self.snapshot(), &self.ledger, at(address), &error, Duration::from_secs(7))
    }
}

fn pe(number: u16) -> PeAddress {
    PeAddress::new(0, number)
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

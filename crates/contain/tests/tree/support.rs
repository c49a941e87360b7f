//! Trees for the tests.
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use contain::address_cache::BarRange;
use contain::pe::{PeAddress, PeKind};
use contain::plan::FunctionId;
use contain::tree::{NewPe, PeFunction, PeTree};
use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use pci_core::{BarIndex, ConfigSpace, Device, Function, Identity, ResetKind, VirtualTime};
use pci_spec::{Bdf, ClassCode};
use std::sync::Arc;
use std::time::Duration;

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

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(crate) fn phb() -> PeAddress {
    PeAddress::phb(0)
}

pub(crate) fn pe(number: u16) -> PeAddress {
    PeAddress::new(0, number)
}

pub(crate) fn bus(number: u16, parent: PeAddress) -> NewPe {
    NewPe { address: pe(number), kind: PeKind::Bus, parent: Some(parent) }
}

pub(crate) fn root() -> NewPe {
    NewPe { address: phb(), kind: PeKind::Phb, parent: None }
}

/// A host bridge with PE 1, in it 2 and 3, and in 2 PE 4.
pub(crate) fn small() -> (Arc<PeTree>, Arc<VirtualTime>, ThreadToken) {
    let time = Arc::new(VirtualTime::default());
    let tree = Arc::new(PeTree::new(time.clone()));
    let mut token = ThreadToken::at_thread_entry();
    let new = [root(), bus(1, phb()), bus(2, pe(1)), bus(3, pe(1)), bus(4, pe(2))];
    tree.insert(&mut token, new, soon()).unwrap();
    (tree, time, token)
}

pub(crate) fn function(routing_id: u16, bars: Vec<BarRange>) -> PeFunction {
    let config = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME)).build().unwrap();
    let address = Bdf::from_routing_id(0, routing_id);
    let function = Function::new("f", Gate::new("f"), Arc::new(config), Arc::new(Plain));
    PeFunction { id: FunctionId(routing_id.into()), address, function: Arc::new(function), bars }
}

pub(crate) fn walked(tree: &PeTree, token: &ThreadToken, root: PeAddress) -> Vec<PeAddress> {
    tree.snapshot(token).walk(root).map(|visit| visit.pe().address()).collect()
}

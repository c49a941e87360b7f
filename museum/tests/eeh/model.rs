//! A device whose whole state is a number, and what is put into a slot with it.

use gate::{Gate, Pass, Quiesced};
use pci_core::{BarIndex, ConfigSpace, Device, Function, Identity, Preserve, PreserveError, ResetKind};
use pci_spec::{Bdf, ClassCode};
use shuttle::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use topology::{Node, NodeKind};

/// See the module's head. The scheduler gets between any two of its steps.
#[derive(Default)]
pub(crate) struct Model(AtomicU64);

impl Model {
    /// What its consumer has written last; zero after a reset.
    pub(crate) fn number(&self) -> u64 {
        thread::yield_now();
        self.0.load(Relaxed)
    }

    /// What a consumer does under a pass.
    pub(crate) fn set(&self, number: u64) {
        thread::yield_now();
        self.0.store(number, Relaxed);
        thread::yield_now();
    }
}

impl Device for Model {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        self.set(0);
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn preserve(&self) -> Option<&dyn Preserve> {
        Some(self)
    }
}

impl Preserve for Model {
    fn save(&self, _quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError> {
        Ok(self.number().to_le_bytes().to_vec())
    }

    fn restore(&self, _quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError> {
        let number = state.try_into().map_err(|_| PreserveError::Malformed("not a number"))?;
        self.set(u64::from_le_bytes(number));
        Ok(())
    }
}

/// A function that is plugged, with a gate of its own.
pub(crate) struct Card {
    pub(crate) node: Node,
    pub(crate) model: Arc<Model>,
}

impl Card {
    pub(crate) fn new(address: Bdf, kind: NodeKind) -> Card {
        let config = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME)).build().unwrap();
        let (name, model) = (address.to_string(), Arc::new(Model::default()));
        let function =
            Function::new(name.as_str(), Gate::new(name.as_str()), Arc::new(config), model.clone());
        Card { node: Node { address, function: Arc::new(function), kind }, model }
    }

    pub(crate) fn function(&self) -> &Arc<Function> {
        &self.node.function
    }
}

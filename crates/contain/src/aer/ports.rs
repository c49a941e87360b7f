//! The ports above a function, as the picture of the PEs has them.

use crate::pe::{Holder, PeAddress};
use crate::tree::{PeFunction, Snapshot};
use pci_spec::Bdf;
use std::sync::Arc;

/// How many bridges may be above a function: there are no more buses.
const DEEPEST: usize = 256;

/// The ports above a function.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// The nearest one, whose link the function is on.
    pub above: Option<Arc<PeFunction>>,
    /// The root port, which hears of every error below. It is the nearest one of a function right below it, and of itself.
    pub root: Option<Arc<PeFunction>>,
}

impl Ports {
    /// The ports above the function at `at`. Waits for nobody.
    #[must_use]
    pub fn above(snapshot: &Snapshot, at: Bdf) -> Ports {
        let own = snapshot.of_function(at, Holder::Lookup);
        let itself = own.as_ref().map(|(_, function)| function).filter(|function| is_root_port(function));
        let mut ports = Ports { above: None, root: itself.cloned() };
        let mut pe = own.as_ref().map(|(pe, _)| pe.address());
        for _ in 0..DEEPEST {
            let Some(address) = pe else { break };
            if let Some(bridge) = bridge_to(snapshot, address, at) {
                ports.above.get_or_insert_with(|| bridge.clone());
                // Higher ones come later: the last is the root port.
                if is_root_port(&bridge) {
                    ports.root = Some(bridge);
                }
            }
            pe = snapshot.parent(address, Holder::Lookup).map(|pe| pe.address());
        }
        ports
    }
}

/// The bridge in a PE that has the bus of `at` below it.
fn bridge_to(snapshot: &Snapshot, pe: PeAddress, at: Bdf) -> Option<Arc<PeFunction>> {
    let has_below = |function: &&Arc<PeFunction>| {
        let numbers = function.function.config().bus_numbers();
        numbers.is_some_and(|numbers| {
            // A bridge without bus numbers has 0 in both, and bus 0 is below none.
            numbers.secondary != 0 && (numbers.secondary..=numbers.subordinate).contains(&at.bus())
        })
    };
    snapshot.functions(pe).find(has_below).cloned()
}

fn is_root_port(function: &Arc<PeFunction>) -> bool {
    use pci_spec::capability::express::PortType;
    function.function.config().layout().port_type() == Some(PortType::RootPort)
}

//! An amended table is the table that is made anew.

use super::*;
use gate::Gate;
use pci_core::{BusNumbers, ConfigSpace, Express, ExtendedCapability, Identity, SrIov};
use pci_spec::capability::express::PortType;
use pci_spec::extended::sr_iov;
use pci_spec::{ClassCode, bridge};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Below which of those plugged in, at which number; a bridge or not.
    Plug {
        below: usize,
        devfn: u8,
        bridge: bool,
    },
    Unplug(usize),
    Number {
        which: usize,
        secondary: u8,
        subordinate: u8,
    },
    Hold {
        which: usize,
        held: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let plug = (0usize..12, 0u8..16, prop::bool::weighted(0.7))
        .prop_map(|(below, devfn, bridge)| Step::Plug { below, devfn, bridge });
    let number = (0usize..12, 0u8..10, 0u8..12).prop_map(|(which, secondary, subordinate)| Step::Number {
        which,
        secondary,
        subordinate,
    });
    prop_oneof![
        4 => plug,
        1 => (0usize..12).prop_map(Step::Unplug),
        6 => number,
        1 => (0usize..12, any::<bool>()).prop_map(|(which, held)| Step::Hold { which, held }),
    ]
}

fn function(is_bridge: bool) -> Arc<Function> {
    let identity = Identity::new(0x1b36, 1, ClassCode::PCI_BRIDGE);
    let config = if is_bridge {
        ConfigSpace::bridge_builder(identity).capability(Express::port(PortType::UpstreamPort))
    } else {
        ConfigSpace::builder(identity)
    };
    let config = Arc::new(config.build().expect("a space"));
    Arc::new(Function::new("f", Gate::new("f"), config, Arc::new(Port)))
}

fn run(fabric: &Fabric, plugged: &mut Vec<(PlugId, Arc<Function>)>, step: &Step) {
    let write = |which: usize, register, data: &[u8]| {
        if let Some((_, function)) = plugged.get(which) {
            let _ = function.config().write(register, data);
        }
    };
    match *step {
        Step::Plug { below, devfn, bridge } => {
            let place = plugged.get(below).map_or(Place::Root(devfn), |(id, _)| Place::Below(*id, devfn));
            let function = function(bridge);
            plugged.extend(fabric.plug(place, function.clone()).ok().map(|id| (id, function)));
        }
        Step::Unplug(which) => {
            if let Some((id, _)) = plugged.get(which) {
                let gone = fabric.unplug(*id);
                plugged.retain(|(_, function)| !gone.iter().any(|gone| Arc::ptr_eq(gone, function)));
            }
        }
        Step::Number { which, secondary, subordinate } => {
            let numbers = BusNumbers { primary: 0, secondary, subordinate };
            write(which, bridge::PRIMARY_BUS, &numbers.encode().to_le_bytes());
        }
        Step::Hold { which, held } => {
            let bit = bridge::BridgeControl::SECONDARY_BUS_RESET.bits();
            write(which, bridge::BRIDGE_CONTROL, &(if held { bit } else { 0 }).to_le_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whoever_answers_in_an_amended_table_answers_in_one_made_anew(
        steps in prop::collection::vec((step(), any::<bool>()), 1..60),
    ) {
        let fabric = Fabric::new(0);
        let mut plugged = Vec::new();
        for (step, look) in &steps {
            run(&fabric, &mut plugged, step);
            if *look {
                let _brought_up_to_date = fabric.function(Bdf::from_routing_id(0, 0));
            }
        }
        let amended: Vec<_> = (0..16 << 8).map(|id| fabric.function(Bdf::from_routing_id(0, id))).collect();
        let anew = fabric.plan.lock().make();
        for (id, amended) in (0..16u16 << 8).zip(amended) {
            let [bus, devfn] = id.to_be_bytes();
            let anew = anew.find(bus, devfn).map(|entry| Arc::as_ptr(&entry.function));
            prop_assert_eq!(amended.as_ref().map(Arc::as_ptr), anew, "{:02x}:{:02x}", bus, devfn);
        }
    }
}

#[test]
fn a_virtual_function_gives_way_to_what_is_plugged_in_at_its_place_and_comes_back() {
    let identity = Identity::new(0x1b36, 2, ClassCode::ETHERNET);
    let make =
        |config: ConfigSpace| Arc::new(Function::new("f", Gate::new("f"), Arc::new(config), Arc::new(Port)));
    let capability = ExtendedCapability::SrIov(SrIov::new(2, 3));
    let physical =
        ConfigSpace::builder(identity).capability(Express::default()).extended_capability(capability);
    let physical = make(physical.build().expect("a space"));
    let virtual_one = || {
        make(ConfigSpace::virtual_builder(identity).capability(Express::default()).build().expect("a space"))
    };
    let fabric = Fabric::new(0);
    fabric.plug(Place::Root(0), physical.clone()).expect("a place");
    let virtual_functions = vec![virtual_one(), virtual_one()];
    assert!(fabric.set_virtual_functions(&physical, virtual_functions.clone()).is_some());
    let at = physical.config().sr_iov_layout().expect("a layout").at;
    let answers = |devfn| fabric.function(Bdf::from_routing_id(0, devfn));
    assert!(answers(1).is_none());
    let _ = physical.config().write(at + sr_iov::NUM_VFS, &[2, 0]);
    let _ = physical.config().write(at + sr_iov::CONTROL, &sr_iov::Control::VF_ENABLE.bits().to_le_bytes());
    let is =
        |devfn, function: &Arc<Function>| answers(devfn).is_some_and(|found| Arc::ptr_eq(&found, function));
    assert!(is(1, &virtual_functions[0]) && is(2, &virtual_functions[1]));
    let other = function(false);
    let id = fabric.plug(Place::Root(1), other.clone()).expect("a place");
    assert!(is(1, &other) && is(2, &virtual_functions[1]));
    fabric.unplug(id);
    assert!(is(1, &virtual_functions[0]) && is(2, &virtual_functions[1]));
}

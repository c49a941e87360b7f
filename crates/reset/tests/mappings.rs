//! What resets do to consumers' mappings (VF-20, VF-43): taken away while the gate is closed and before the device is
//! touched, of every function that is hit, and there again afterwards if COMMAND is.

mod machine;
#[path = "../../pci-core/tests/mapped/mod.rs"]
mod mapped;

use gate::{Quiesced, Reason};
use machine::{Plan, Rig, Script, bdf, bridge, endpoint, soon};
use mapped::{Consumer, Lines, Meets};
use pci_core::{Af, Errno, Express, ExtendedCapability, Function, Pm, ResetKind, Slot, SrIov};
use pci_spec::Bdf;
use pci_spec::capability::express::PortType;
use pci_spec::extended::sr_iov;
use reset::hot::{Claim, Dependent, Opened, Ownership};
use reset::{Error, Method, Procedure, Procedures};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PORT: &str = "0000:00:01.0";
const EP: &str = "0000:01:00.0";
const PEER: &str = "0000:01:00.1";

struct World {
    rig: Rig,
    consumers: [Consumer; 2],
    resets_seen: Arc<AtomicUsize>,
}

fn world() -> World {
    below(false)
}

/// Two functions below a port, each with a page of BAR 0 mapped and present.
fn below(slot: bool) -> World {
    let config = || {
        let endpoint = endpoint().capability(Pm::default()).capability(Express::default());
        endpoint.capability(Af::default())
    };
    let hot_plug = Slot { number: 1, hot_plug: true, surprise: false, present: true };
    let port = Express { slot: slot.then_some(hot_plug), ..Express::port(PortType::RootPort) };
    let mut rig = Plan::new()
        .bridge(PORT, bridge().capability(port), Script::default(), (1, 1), slot)
        .endpoint(EP, config(), Script::default())
        .endpoint(PEER, config(), Script::default())
        .build();
    let consumers = [EP, PEER].map(|at| Consumer::of(&rig.function(at), 0, &Lines::default()));
    let resets_seen = Arc::new(AtomicUsize::new(0));
    for (at, consumer) in [EP, PEER].into_iter().zip(&consumers) {
        assert_eq!(consumer.touch(&mut rig.token), Meets::Device);
        let (script, seen) = (consumer.script.clone(), resets_seen.clone());
        let witness = Box::new(move || {
            assert_ne!(script.look(), Meets::Device, "{at} is reset with its page mapped");
            seen.fetch_add(1, Ordering::SeqCst);
        });
        assert!(rig.silicon[&bdf(at)].witness.set(witness).is_ok());
    }
    World { rig, consumers, resets_seen }
}

impl World {
    /// That many devices were reset, and the consumers find them again.
    fn check(&mut self, resets: usize) {
        assert_eq!(self.resets_seen.load(Ordering::SeqCst), resets);
        for consumer in &self.consumers {
            assert_eq!(consumer.touch(&mut self.rig.token), Meets::Device);
        }
    }
}

#[test]
fn vf_20_every_method_takes_the_page_away_before_the_device_is_reset_and_gives_it_back() {
    for method in [Method::Flr, Method::AfFlr, Method::Pm] {
        let mut world = world();
        let rig = &mut world.rig;
        let done = rig.resets.reset_function_by(&mut rig.token, &rig.snapshot, bdf(EP), method, soon());
        assert!(done.is_ok(), "{method:?}: {done:?}");
        assert_eq!(world.consumers[0].script.look(), Meets::Waits, "{method:?}");
        assert_eq!(world.consumers[1].script.look(), Meets::Device, "nobody else is hit");
        world.check(1);
    }
}

#[test]
fn vf_43_a_reset_of_a_bus_or_a_slot_takes_the_pages_of_all_below_away() {
    for slot in [false, true] {
        let mut world = below(slot);
        let rig = &mut world.rig;
        assert!(rig.resets.reset_bus(&mut rig.token, &rig.snapshot, bdf(PORT), soon()).is_ok());
        assert!(world.consumers.iter().all(|consumer| consumer.script.look() == Meets::Waits));
        world.check(2);
    }
}

struct Everything;

impl Ownership for Everything {
    fn dependent(&self, _: Bdf) -> Option<Dependent> {
        Some(Dependent::Device(1))
    }

    fn owns(&self, _: Bdf) -> bool {
        true
    }
}

#[test]
fn vf_43_a_hot_reset_takes_the_pages_of_all_peers_away() {
    let mut world = world();
    let rig = &mut world.rig;
    let (opened, claim) = (Opened::BySelf, Claim::Owned);
    let done = rig.resets.hot_reset(&mut rig.token, &rig.snapshot, bdf(EP), &Everything, opened, claim);
    assert!(done.is_ok(), "{done:?}");
    assert!(world.consumers.iter().all(|consumer| consumer.script.look() == Meets::Waits));
    world.check(2);
}

#[test]
fn a_reset_of_a_frozen_function_brings_its_page_back() {
    let mut world = world();
    world.rig.function(EP).freeze("test");
    assert_eq!(world.consumers[0].touch(&mut world.rig.token), Meets::AllOnes);
    assert!(world.rig.reset(EP).is_ok());
    assert_eq!(world.consumers[0].touch(&mut world.rig.token), Meets::Device);
}

/// A procedure that touches the device and nothing else.
struct Touches(Arc<mapped::Script>);

impl Procedures for Touches {
    fn has(&self, procedure: Procedure, _: &Function, _: Bdf) -> bool {
        procedure == Procedure::DeviceSpecific
    }

    fn run(&self, _: Procedure, _: &Quiesced<'_>, _: &Function, _: Bdf) -> Result<Duration, Errno> {
        assert_eq!(self.0.look(), Meets::Waits, "the device is touched with its page mapped");
        Ok(Duration::ZERO)
    }
}

#[test]
fn a_procedure_of_the_device_finds_nothing_mapped_also_where_nothing_was_saved() {
    // RST-13: COMMAND is not written before.
    let mut world = world();
    let rig = &mut world.rig;
    let procedures = Arc::new(Touches(world.consumers[0].script.clone()));
    let resets = std::mem::replace(&mut rig.resets, reset::Resets::new(rig.clock.clone()));
    rig.resets = resets.with_procedures(procedures);
    let gate = rig.function(EP).gate().clone();
    let closed = gate.close(&mut rig.token, Reason::Recovery, soon()).expect("open").park();
    let (closed, done) = rig.resets.reset_closed(&mut rig.token, &rig.snapshot, bdf(EP), closed);
    assert_eq!(done.expect("reset"), Method::DeviceSpecific);
    drop(closed);
    world.check(0);
}

#[test]
fn a_reset_by_whoever_has_the_gate_takes_the_page_away_too() {
    // RST-13, VF-40: nothing is saved before, so it is the reset itself that does it.
    let mut world = world();
    let rig = &mut world.rig;
    let gate = rig.function(EP).gate().clone();
    let closed = gate.close(&mut rig.token, Reason::Recovery, soon()).expect("open").park();
    let (closed, done) = rig.resets.reset_closed(&mut rig.token, &rig.snapshot, bdf(EP), closed);
    assert_eq!(done.expect("reset"), Method::Flr);
    drop(closed);
    assert_eq!(world.resets_seen.load(Ordering::SeqCst), 1);
    assert_eq!(world.consumers[0].touch(&mut world.rig.token), Meets::Failure, "COMMAND is not restored");
}

#[test]
fn what_a_freeze_hid_from_another_process_is_back_when_the_reset_returns() {
    let mut world = world();
    let memory = mapping::Memory::new("test", 4096);
    let function = world.rig.function(PEER);
    let area = mapping::Area { offset: 0, size: 4096, holds: mapping::Holds::Data };
    let shared = function.mappings().share("client".into(), 0, &memory, &[area]).expect("shared");
    memory.write(0, &[0x5a]);
    function.freeze("test");
    function.mappings().settle(&mut world.rig.token, soon()).expect("hidden");
    let shown = |shared: &mapping::Shared| {
        let mut byte = [0];
        let file = std::fs::File::from(shared.file.try_clone().expect("a descriptor"));
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, 0).expect("read");
        byte[0]
    };
    assert_eq!(shown(&shared), 0xff);
    assert!(world.rig.reset(PEER).is_ok());
    assert_eq!(shown(&shared), 0x5a);
    assert_eq!(*world.rig.silicon[&bdf(PEER)].resets.lock(), [ResetKind::FunctionLevel]);
}

/// A physical function, a virtual one of it with a page mapped, and whoever looks at that page when the physical one is
/// reset.
struct Card {
    rig: Rig,
    consumer: Consumer,
}

impl Card {
    fn new() -> Card {
        let vfs = ExtendedCapability::SrIov(SrIov::new(1, 0x5679));
        let config = endpoint().capability(Express::default()).extended_capability(vfs);
        let mut rig = Plan::new().endpoint(EP, config, Script::default()).virtual_function(PEER, EP).build();
        let base = rig.config(EP).find_extended(0x10).expect("SR-IOV");
        let _ = rig.config(EP).write(base + sr_iov::NUM_VFS, &[1, 0]);
        let enable = sr_iov::Control::VF_ENABLE | sr_iov::Control::VF_MEMORY_SPACE;
        let _ = rig.config(EP).write(base + sr_iov::CONTROL, &enable.bits().to_le_bytes());
        let consumer = Consumer::of(&rig.function(PEER), 0, &Lines::default());
        assert_eq!(consumer.touch(&mut rig.token), Meets::Device);
        let script = consumer.script.clone();
        let witness = Box::new(move || {
            assert_ne!(script.look(), Meets::Device, "its memory goes with the physical function");
        });
        assert!(rig.silicon[&bdf(EP)].witness.set(witness).is_ok());
        Card { rig, consumer }
    }

    fn reset_closed(&mut self) -> Result<Method, Error> {
        let Card { rig, .. } = self;
        let gate = rig.function(EP).gate().clone();
        let closed = gate.close(&mut rig.token, Reason::Recovery, soon()).expect("open").park();
        rig.resets.reset_closed(&mut rig.token, &rig.snapshot, bdf(EP), closed).1
    }

    fn resets(&self, at: &str) -> usize {
        self.rig.silicon[&bdf(at)].resets.lock().len()
    }
}

#[test]
fn vf_18_the_page_of_a_virtual_function_goes_before_its_physical_one_is_reset_and_comes_back_with_it() {
    let mut card = Card::new();
    assert!(card.rig.reset(EP).is_ok());
    assert_eq!(card.consumer.script.look(), Meets::Waits);
    assert_eq!(card.consumer.touch(&mut card.rig.token), Meets::Device);
    assert_eq!((card.resets(EP), card.resets(PEER)), (1, 1));
}

#[test]
fn vf_18_a_reset_by_whoever_has_the_gate_closes_the_virtual_functions_that_it_switches_off() {
    let mut card = Card::new();
    card.rig.clock.kept_out.lock().push(card.rig.function(PEER).handle().clone());
    assert_eq!(card.reset_closed().expect("reset"), Method::Flr);
    assert!(card.rig.is_open(PEER), "it was closed for the reset only");
    assert_eq!(card.consumer.script.look(), Meets::Waits);
    assert_eq!(card.consumer.touch(&mut card.rig.token), Meets::Failure, "it is off");
    assert_eq!((card.resets(EP), card.resets(PEER)), (1, 1));
}

#[test]
fn a_reset_by_whoever_has_the_gate_is_refused_while_a_virtual_function_is_in_use() {
    let mut card = Card::new();
    let peer = card.rig.function(PEER);
    let inside = peer.handle().enter_long(&mut card.rig.token, gate::AccessKind::Dma, "a command", soon());
    let inside = inside.expect("open");
    let error = card.reset_closed().expect_err("in use");
    assert!(matches!(error, Error::Busy { in_use: true, .. }), "{error}");
    assert_eq!((card.resets(EP), card.resets(PEER)), (0, 0));
    assert_eq!(card.consumer.script.look(), Meets::Device, "nothing was changed");
    drop(inside);
    assert!(card.reset_closed().is_ok());
}

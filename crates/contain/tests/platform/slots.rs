//! Functions that are taken out through their slot (EEH-17).

use crate::hardware::{LEAF, LONE, PF, Rig, bdf, ms};
use assign::{Assignment, Limits};
use contain::platform::{Machine, Platform, Slots};
use contain::tree::PeFunction;
use gate::{Deadline, ThreadToken};
use reset::Resets;
use slot::{
    ByHand, Controller, Event, Features, Hardware, Lamp, Parts, Removal, Request, Settings, State, Told,
    Watch,
};
use std::sync::Arc;

/// The slot of some functions.
struct OneSlot(Vec<pci_spec::Bdf>, Arc<Controller>);

impl Slots for OneSlot {
    fn slot_of(&self, function: &PeFunction) -> Option<Arc<Controller>> {
        self.0.contains(&function.address).then(|| self.1.clone())
    }
}

/// A port with a card that is always there.
struct Card(Vec<Arc<Assignment>>);

impl Hardware for Card {
    fn apply_power(&self, _: &mut ThreadToken, _: Deadline) -> bool {
        true
    }
    fn cut_power(&self, _: &mut ThreadToken, _: Deadline) {}
    fn power_lamp(&self, _: Lamp) {}
    fn attention_lamp(&self, _: Lamp) {}
    fn configure(&self, _: &mut ThreadToken, _: Deadline) -> Result<Vec<Arc<Assignment>>, String> {
        Ok(self.0.clone())
    }
    fn unconfigure(&self, _: &mut ThreadToken, _: &[Arc<Assignment>], _: Removal, _: Deadline) {}
}

struct Nobody;

impl Watch for Nobody {
    fn notice(&self, _: &str, _: &Told) {}
}

impl assign::EventSink for Nobody {
    fn event(&self, _: &str, _: assign::Event) {}
}

fn assignment(function: &Arc<PeFunction>) -> Arc<Assignment> {
    let function = &function.function;
    let port = assign::Port::new(function.gate(), function.config().clone(), Arc::new(Nobody));
    Assignment::new(function.clone(), port, Limits::default())
}

/// A machine whose functions at `card` are in a slot that is on.
fn slotted(rig: &mut Rig, card: &[&str]) -> (Machine, Arc<Controller>) {
    let functions = rig.functions(card);
    let parts = Parts {
        hardware: Arc::new(Card(functions.iter().map(assignment).collect())),
        drivers: Arc::default(),
        time: rig.clock.clone(),
        crew: Arc::new(ByHand),
        watch: Arc::new(Nobody),
    };
    let slot = Controller::new("slot 1", Features::default(), Settings::default(), parts);
    slot.post(Event::Card(true));
    slot.post(Event::Link(true));
    let _asked = slot.ask(Request::Enable);
    drive(rig, &slot);
    assert_eq!(slot.report().state, State::On);
    let resets = Arc::new(Resets::new(rig.clock.clone()));
    let slots = OneSlot(card.iter().map(|at| bdf(at)).collect(), slot.clone());
    (Machine::new(rig.topology.clone(), resets).with_slots(Arc::new(slots)), slot)
}

/// Drives the slot until all that takes time has had it.
fn drive(rig: &mut Rig, slot: &Arc<Controller>) {
    for _ in 0..20 {
        let _timer = slot.drive(&mut rig.token);
        rig.pass(ms(1000));
    }
}

#[test]
fn eeh_17_a_card_of_one_function_goes_by_its_slot_as_if_it_were_torn_out() {
    for at in [LONE, PF] {
        let mut rig = Rig::new();
        let (machine, slot) = slotted(&mut rig, &[at]);
        let function = rig.function(at);
        machine.remove(&mut rig.token, &function);
        assert!(!rig.is_open(at), "{at}: nobody gets in from here on");
        assert!(rig.snapshot().function(bdf(at)).is_some(), "{at}: taking it out is the slot's");
        drive(&mut rig, &slot);
        assert_eq!(slot.report().state, State::Off, "{at}");
        assert!(function.function.handle().is_gone());
    }
}

#[test]
fn eeh_17_the_slot_of_a_card_goes_with_the_last_of_its_functions() {
    let mut rig = Rig::new();
    let (machine, slot) = slotted(&mut rig, &LEAF);
    let functions = rig.functions(&LEAF);
    machine.remove(&mut rig.token, &functions[0]);
    drive(&mut rig, &slot);
    assert_eq!(slot.report().state, State::On);
    assert!(functions[0].function.handle().is_gone() && rig.is_open(LEAF[1]));
    machine.remove(&mut rig.token, &functions[1]);
    drive(&mut rig, &slot);
    assert_eq!(slot.report().state, State::Off);
}

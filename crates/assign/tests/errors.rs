//! A function whose error is contained, in the hands of a consumer.
#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use assign::{AttachError, Event, Limits, RequestError};
use gate::lock::Leaf;
use gate::{AccessKind, Deadline, GateState, Reason, ThreadToken};
use libc::{EBUSY, EINVAL, ENOTTY, ETIMEDOUT};
use pci_core::{Command, ErrorSign, ResetKind, Sentinel};
use world::*;

gate::ranks! {
    /// What the tests remember; nothing is taken under it.
    Remembered = 200, "remembered";
}

const INTX: u32 = 0;
const MSI: u32 = 1;
const ERR: u32 = 3;

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Remembers the signs.
#[derive(Default)]
struct Seen(Leaf<Remembered, Vec<ErrorSign>>);

impl Sentinel for Seen {
    fn noticed(&self, _token: &ThreadToken, sign: ErrorSign) {
        self.0.lock().push(sign);
    }
}

impl Seen {
    fn take(&self) -> Vec<ErrorSign> {
        std::mem::take(&mut self.0.lock())
    }
}

fn watched(world: &World) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    assert!(world.assignment.watch_errors(Arc::clone(&seen) as _));
    seen
}

fn with_notifier() -> World {
    let world = World::express(Limits::default());
    world.port.interrupts().offer_errors();
    world
}

/// Asserts the line, and says whether the consumer was interrupted.
fn intx(world: &World, token: &ThreadToken, asserted: bool) {
    let pass = world.port.handle().try_enter(token, AccessKind::Interrupt).unwrap();
    world.port.interrupts().set_intx(&pass, asserted);
}

fn message(world: &World, token: &ThreadToken) {
    let pass = world.port.handle().try_enter(token, AccessKind::Interrupt).unwrap();
    world.port.interrupts().signal(&pass, 0);
}

#[test]
fn what_the_device_says_and_what_its_function_finds_go_to_one_sentinel() {
    let (world, token) = (World::new(), ThreadToken::at_thread_entry());
    world.port.fault(&token, ErrorSign::DevicePanicked);
    let seen = watched(&world);
    assert!(!world.assignment.watch_errors(Arc::new(Seen::default())), "one, and for ever");
    world.port.fault(&token, ErrorSign::DmaFault { iova: 0x4000 });
    world.assignment.function().notice(&token, ErrorSign::Forced("a test"));
    assert_eq!(seen.take(), [ErrorSign::DmaFault { iova: 0x4000 }, ErrorSign::Forced("a test")]);
    assert_eq!(world.gate.status().state, GateState::Open, "whoever notices freezes nothing");
}

#[test]
fn a_device_that_freezes_its_function_for_a_failure_is_noticed_each_time_and_told_of_once() {
    let (world, token) = (World::new(), ThreadToken::at_thread_entry());
    let seen = watched(&world);
    let sign = ErrorSign::DeviceFault("no clock");
    world.port.freeze_for(&token, "no clock", sign);
    world.port.freeze_for(&token, "no clock", sign);
    assert_eq!(seen.take(), [sign, sign]);
    assert_eq!(world.events.all(), [Event::Frozen { reason: "no clock" }]);
    assert_eq!(world.gate.status().state, GateState::Frozen);
}

#[test]
fn dma_that_does_not_end_in_time_is_a_sign() {
    let limits = Limits { unmap_timeout: Duration::from_millis(20), ..Limits::default() };
    let (world, mut token) = (World::with(limits), ThreadToken::at_thread_entry());
    let seen = watched(&world);
    let _attached = world.attach(&mut token);
    world.command(&mut token, Command::BUS_MASTER);
    world.map(&mut token, RW, 0x2000, 0x1000, memory(0x1000)).unwrap();
    let pass = world.pass(&token);
    let held = world.port.dma().resolve(&pass, 0x2000, 4, assign::DmaAccess::ReadWrite).unwrap().hold();
    drop(pass);
    assert_eq!(errno(world.assignment.dma_unmap(&mut token, 0x2000, 0x1000)), ETIMEDOUT);
    assert_eq!(seen.take(), [ErrorSign::DmaFault { iova: 0x2000 }]);
    drop(held);
}

#[test]
fn a_contained_function_is_not_attached_and_not_reset() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    assert!(world.assignment.function().contain());
    let reason = "its PE is frozen; it can be attached when it has recovered";
    let refused = RequestError { errno: assign::Errno::EBUSY, reason };
    assert_eq!(world.assignment.attach(&mut token).err(), Some(AttachError::Refused(refused)));
    assert_eq!(refused.errno.raw(), EBUSY);
    assert!(world.fake.resets.lock().is_empty());
    assert_eq!(world.events.all(), [Event::AttachRefused { reason }]);
    assert!(world.assignment.function().release());
    world.attach(&mut token).detach(&mut token);
}

#[test]
fn a_consumers_own_reset_does_not_let_it_out_of_containment_vf_40() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    assert!(world.assignment.function().contain());
    let reset = world.assignment.reset(&mut token);
    assert_eq!(*world.fake.resets.lock(), [ResetKind::DeviceReset]);
    assert_eq!((reset, world.gate.status().state), (Ok(()), GateState::Frozen));
    let mut data = [0; 4];
    world.assignment.region_read(&mut token, 0, DATA, &mut data).unwrap();
    assert_eq!(data, [0xff; 4], "EEH-06");
    assert!(world.assignment.function().release());
    world.assignment.region_read(&mut token, 0, DATA, &mut data).unwrap();
    assert_ne!(data, [0xff; 4], "and finds COMMAND as it was");
}

#[test]
fn an_error_notifier_is_there_only_if_somebody_asks_for_it_vf_30() {
    assert_eq!(World::new().assignment.irq_info(ERR).unwrap().count, 0, "QEMU would stop the machine");
    assert_eq!(World::express(Limits::default()).assignment.irq_info(ERR).unwrap().count, 0);
    assert_eq!(with_notifier().assignment.irq_info(ERR).unwrap().count, 1);
    let conventional = World::with(Limits::default());
    conventional.port.interrupts().offer_errors();
    assert_eq!(conventional.assignment.irq_info(ERR).unwrap().count, 0, "it can tell of no errors");
}

#[test]
fn an_error_is_signalled_to_whoever_wired_its_notifier_also_when_the_function_is_frozen_vf_35() {
    let (world, mut token) = (with_notifier(), ThreadToken::at_thread_entry());
    let attached = world.attach(&mut token);
    let interrupts = world.port.interrupts();
    assert!(!interrupts.signal_error(&token), "nothing is wired");
    assert_eq!(errno(world.irqs(&mut token, (ERR, 0, 1), NONE | TRIGGER, &[], vec![])), EINVAL);
    assert_eq!(errno(world.irqs(&mut token, (ERR, 0, 1), BOOL | TRIGGER, &[1], vec![])), EINVAL);
    assert_eq!(errno(world.irqs(&mut token, (ERR, 0, 2), EVENTFD | TRIGGER, &[], vec![])), EINVAL);
    assert_eq!(errno(world.irqs(&mut token, (ERR, 1, 1), NONE | TRIGGER, &[], vec![])), EINVAL);
    assert_eq!(errno(world.irqs(&mut token, (ERR, 0, 1), NONE | MASK, &[], vec![])), ENOTTY);
    let no_eventfd = vec![memory(8)];
    assert_eq!(errno(world.irqs(&mut token, (ERR, 0, 1), EVENTFD | TRIGGER, &[], no_eventfd)), EINVAL);

    let fd = new_eventfd();
    world.irqs(&mut token, (ERR, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    world.irqs(&mut token, (ERR, 0, 1), NONE | TRIGGER, &[], vec![]).unwrap();
    world.irqs(&mut token, (ERR, 0, 1), BOOL | TRIGGER, &[0], vec![]).unwrap();
    world.irqs(&mut token, (ERR, 0, 1), BOOL | TRIGGER, &[1], vec![]).unwrap();
    assert_eq!(count(&fd), 2, "the consumer's test of its own wiring");
    assert!(world.assignment.function().contain());
    assert!(interrupts.signal_error(&token));
    assert_eq!(count(&fd), 1);
    // A second one takes the place of the first, and none takes it away; with count 0 as well.
    let next = new_eventfd();
    world.irqs(&mut token, (ERR, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&next)]).unwrap();
    assert!(interrupts.signal_error(&token));
    assert_eq!((count(&fd), count(&next)), (0, 1));
    for (vectors, flags) in [((ERR, 0, 1), EVENTFD | TRIGGER), ((ERR, 0, 0), NONE | TRIGGER)] {
        world.irqs(&mut token, (ERR, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
        assert!(interrupts.signal_error(&token));
        world.irqs(&mut token, vectors, flags, &[], vec![]).unwrap();
        assert!(!interrupts.signal_error(&token));
        assert_eq!(count(&fd), 1);
    }
    // Nothing of it is left to the next consumer.
    world.irqs(&mut token, (ERR, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    attached.detach(&mut token);
    assert!(!interrupts.signal_error(&token));
    assert_eq!(count(&fd), 0);
}

#[test]
fn nothing_is_signalled_while_interrupts_are_held_and_an_asserted_line_afterwards() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.command(&mut token, Command::BUS_MASTER);
    let interrupts = world.port.interrupts();
    let fd = new_eventfd();
    world.irqs(&mut token, (MSI, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    interrupts.hold();
    message(&world, &token);
    assert_eq!((count(&fd), interrupts.dropped()), (0, 1));
    interrupts.release(&token);
    assert_eq!(count(&fd), 0, "messages are not repeated");
    message(&world, &token);
    assert_eq!((count(&fd), interrupts.dropped()), (1, 1));
    world.assignment.function().config().hold_dma(true);
    message(&world, &token);
    assert_eq!((count(&fd), interrupts.dropped()), (0, 2), "a message is a memory write");
    world.irqs(&mut token, (MSI, 0, 0), NONE | TRIGGER, &[], vec![]).unwrap();

    world.irqs(&mut token, (INTX, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    interrupts.hold();
    assert!(interrupts.is_held());
    intx(&world, &token, true);
    world.irqs(&mut token, (INTX, 0, 1), NONE | UNMASK, &[], vec![]).unwrap();
    assert_eq!(count(&fd), 0);
    interrupts.release(&token);
    assert_eq!((count(&fd), interrupts.is_held()), (1, false), "the level lasts");
    interrupts.hold();
    intx(&world, &token, false);
    world.irqs(&mut token, (INTX, 0, 1), NONE | UNMASK, &[], vec![]).unwrap();
    interrupts.release(&token);
    assert_eq!(count(&fd), 0, "it was deasserted meanwhile");
}

#[test]
fn interrupts_are_let_through_at_once_by_who_has_the_function_closed_and_the_line_once_it_is_open() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let interrupts = world.port.interrupts();
    let fd = new_eventfd();
    world.irqs(&mut token, (INTX, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    interrupts.hold();
    intx(&world, &token, true);
    let closed = world.gate.close(&mut token, Reason::Recovery, patient()).unwrap().park();
    interrupts.release(&token);
    assert_eq!((count(&fd), interrupts.is_held()), (0, false));
    drop(closed);
    interrupts.release(&token);
    assert_eq!(count(&fd), 1, "a recovery says it again");
}

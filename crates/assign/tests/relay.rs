//! What follows the consumer's memory and interrupts elsewhere is told in the right order, and its failures are the consumer's.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use assign::{
    DmaError, DmaRelay, Errno, Event, InterruptRelay, IrqMode, Limits, Mapped, Port, RequestError, Wanted,
};
use gate::{AccessKind, Deadline, GateState, ThreadToken};
use libc::{EBUSY, EEXIST, EINVAL, ENOENT, EPERM, ETIMEDOUT};
use parking_lot::Mutex;
use world::*;

/// One call of the relay: what it was, and how many mappings the port had at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    Mapped { iova: u64, size: u64, offset: u64, file: bool, port: usize },
    Unmapped { ranges: Vec<(u64, u64)>, port: usize },
}

/// Remembers, and fails on demand.
#[derive(Default)]
struct Elsewhere {
    port: Mutex<Option<Arc<Port>>>,
    calls: Mutex<Vec<Call>>,
    refuse_maps: AtomicBool,
    stuck: AtomicBool,
}

impl Elsewhere {
    fn follow(world: &World) -> Arc<Elsewhere> {
        let elsewhere = Arc::new(Elsewhere::default());
        *elsewhere.port.lock() = Some(Arc::clone(&world.port));
        assert!(world.port.relay_dma(elsewhere.clone()));
        elsewhere
    }

    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock())
    }

    fn usage(&self, token: &mut ThreadToken) -> usize {
        let port = self.port.lock().clone().unwrap();
        port.dma().usage(token).0
    }
}

impl DmaRelay for Elsewhere {
    fn mapped(&self, token: &mut ThreadToken, mapped: Mapped, _: Deadline) -> Result<(), RequestError> {
        let Mapped { iova, size, offset, permissions, file } = mapped;
        assert!(permissions.read && permissions.write);
        let port = self.usage(token);
        self.calls.lock().push(Call::Mapped { iova, size, offset, file: file.is_some(), port });
        if self.refuse_maps.load(Ordering::Relaxed) {
            return Err(RequestError::new(Errno::from_raw(EPERM), "not here"));
        }
        Ok(())
    }

    fn unmapped(
        &self,
        token: &mut ThreadToken,
        ranges: &[(u64, u64)],
        _: Deadline,
    ) -> Result<(), RequestError> {
        let port = self.usage(token);
        let mut ranges = ranges.to_vec();
        ranges.sort_unstable();
        self.calls.lock().push(Call::Unmapped { ranges, port });
        if self.stuck.load(Ordering::Relaxed) {
            return Err(RequestError::new(Errno::from_raw(ETIMEDOUT), "it lives on"));
        }
        Ok(())
    }

    fn reserved(&self, iova: u64, size: u64) -> bool {
        iova < 0x11_000 && iova + size > 0x10_000
    }

    fn settled(&self, _: &mut ThreadToken, _: Deadline) -> bool {
        !self.stuck.load(Ordering::Relaxed)
    }
}

#[test]
fn a_map_is_told_when_the_port_has_it_and_an_unmap_before_the_port_loses_it() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let elsewhere = Elsewhere::follow(&world);
    let attached = world.attach(&mut token);
    let file = memory(0x4000);
    world.map_at(&mut token, RW, 0x1000, 0x1000, 0x2000, Some(dup(&file))).unwrap();
    world.map_at(&mut token, RW, 0, 0x4000, 0x1000, None).unwrap();
    world.map_at(&mut token, RW, 0, 0x8000, 0x1000, Some(file)).unwrap();
    world.assignment.dma_unmap(&mut token, 0, 0x7000).unwrap();
    assert_eq!(
        elsewhere.take(),
        [
            Call::Mapped { iova: 0x1000, size: 0x2000, offset: 0x1000, file: true, port: 1 },
            Call::Mapped { iova: 0x4000, size: 0x1000, offset: 0, file: false, port: 2 },
            Call::Mapped { iova: 0x8000, size: 0x1000, offset: 0, file: true, port: 3 },
            Call::Unmapped { ranges: vec![(0x1000, 0x2000), (0x4000, 0x1000)], port: 3 },
        ]
    );
    assert_eq!(world.port.dma().usage(&mut token), (1, 0x1000));
    // The consumer leaves: what it still had is let go everywhere.
    attached.detach(&mut token);
    assert_eq!(elsewhere.take(), [Call::Unmapped { ranges: vec![(0x8000, 0x1000)], port: 1 }]);
}

#[test]
fn a_request_that_changes_nothing_is_not_told() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let elsewhere = Elsewhere::follow(&world);
    let attached = world.attach(&mut token);
    world.map(&mut token, RW, 0x1000, 0x2000, memory(0x2000)).unwrap();
    elsewhere.take();
    assert_eq!(errno(world.map(&mut token, RW, 0x2000, 0x1000, memory(0x1000))), EEXIST);
    assert_eq!(errno(world.map(&mut token, RW, 0x8000, 0x2000, memory(0x1000))), EINVAL, "beyond its file");
    assert_eq!(errno(world.assignment.dma_unmap(&mut token, 0x2000, 0x1000)), EINVAL, "splits");
    assert_eq!(errno(world.assignment.dma_unmap(&mut token, 0x9000, 0x1000)), ENOENT);
    assert_eq!(elsewhere.take(), []);
    world.assignment.dma_unmap_all(&mut token).unwrap();
    elsewhere.take();
    world.assignment.dma_unmap_all(&mut token).unwrap();
    attached.detach(&mut token);
    assert_eq!(elsewhere.take(), [], "with nothing mapped there is nothing to tell");
}

#[test]
fn a_map_that_is_refused_elsewhere_is_refused_to_the_consumer_and_undone() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let elsewhere = Elsewhere::follow(&world);
    let _attached = world.attach(&mut token);
    elsewhere.refuse_maps.store(true, Ordering::Relaxed);
    for file in [Some(filled(0x1000, 1)), None] {
        assert_eq!(errno(world.map_at(&mut token, RW, 0, 0x1000, 0x1000, file)), EPERM);
        assert_eq!(world.port.dma().usage(&mut token), (0, 0));
        assert_eq!(world.read_guest(&token, 0x1000, 1), Err(DmaError::NotMapped));
    }
    elsewhere.refuse_maps.store(false, Ordering::Relaxed);
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 3)).unwrap();
    assert_eq!(world.read_guest(&token, 0x1000, 1), Ok(vec![3]));
    assert_eq!(world.gate.status().state, GateState::Open);
}

#[test]
fn what_is_reserved_is_refused_with_a_reason_and_never_mapped() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let elsewhere = Elsewhere::follow(&world);
    let _attached = world.attach(&mut token);
    for (iova, size) in [(0x10_000, 0x1000), (0xf000, 0x2000), (0, 0x20_000)] {
        let refused = world.map(&mut token, RW, iova, size, memory(size)).unwrap_err();
        assert_eq!(refused.errno.raw(), EINVAL);
        assert!(refused.reason.contains("reserved"), "{refused}");
    }
    world.map(&mut token, RW, 0xf000, 0x1000, memory(0x1000)).unwrap();
    world.map(&mut token, RW, 0x11_000, 0x1000, memory(0x1000)).unwrap();
    assert_eq!(elsewhere.take().len(), 2);
}

#[test]
fn an_unmap_that_does_not_end_elsewhere_is_one_that_timed_out() {
    let limits = Limits { attach_timeout: Duration::from_millis(50), ..Limits::default() };
    let (world, mut token) = (World::with(limits), ThreadToken::at_thread_entry());
    let elsewhere = Elsewhere::follow(&world);
    let attached = world.attach(&mut token);
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 1)).unwrap();
    elsewhere.stuck.store(true, Ordering::Relaxed);
    assert_eq!(errno(world.assignment.dma_unmap(&mut token, 0x1000, 0x1000)), ETIMEDOUT);
    assert_eq!(world.gate.status().state, GateState::Frozen);
    assert_eq!(world.port.dma().usage(&mut token), (0, 0), "gone all the same");
    let events = world.events.all();
    assert!(events.contains(&Event::Frozen { reason: "it lives on" }), "{events:?}");
    let timed_out = Event::DmaUnmapTimedOut { iova: 0x1000, size: 0x1000, in_flight: 1 };
    assert!(events.contains(&timed_out), "{events:?}");
    attached.detach(&mut token);
    // The next consumer waits for it, and has it once the other side is quiet.
    let refused = world.assignment.attach(&mut token).err().unwrap();
    assert!(
        matches!(refused, assign::AttachError::Refused(error) if error.errno.raw() == EBUSY),
        "{refused}"
    );
    elsewhere.stuck.store(false, Ordering::Relaxed);
    world.attach(&mut token).detach(&mut token);
}

#[test]
fn a_consumer_that_leaves_memory_in_use_elsewhere_leaves_a_frozen_function() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let elsewhere = Elsewhere::follow(&world);
    let attached = world.attach(&mut token);
    world.map(&mut token, RW, 0x1000, 0x1000, memory(0x1000)).unwrap();
    elsewhere.stuck.store(true, Ordering::Relaxed);
    attached.detach(&mut token);
    assert_eq!(world.gate.status().state, GateState::Frozen);
    assert_eq!(world.port.dma().usage(&mut token), (0, 0));
}

/// Notes what it was told, and what was wanted then.
#[derive(Default)]
struct Wires {
    port: Mutex<Option<Arc<Port>>>,
    told: Mutex<Vec<(&'static str, Wanted)>>,
    /// The other side's line, which is looked at when it is unmasked.
    still_asserted: AtomicBool,
}

impl Wires {
    fn follow(world: &World) -> Arc<Wires> {
        let wires = Arc::new(Wires::default());
        *wires.port.lock() = Some(Arc::clone(&world.port));
        assert!(world.port.relay_interrupts(wires.clone()));
        wires
    }

    fn tell(&self, token: &mut ThreadToken, what: &'static str) {
        let port = self.port.lock().clone().unwrap();
        let wanted = port.interrupts().wanted(token);
        self.told.lock().push((what, wanted));
    }

    fn take(&self) -> Vec<(&'static str, Wanted)> {
        std::mem::take(&mut self.told.lock())
    }
}

impl InterruptRelay for Wires {
    fn rewired(&self, token: &mut ThreadToken, _: Deadline) {
        self.tell(token, "rewired");
    }

    fn unmasking(&self, token: &mut ThreadToken, _: Deadline) {
        self.tell(token, "unmasking");
        let port = self.port.lock().clone().unwrap();
        let pass = port.handle().try_enter(token, AccessKind::Interrupt).unwrap();
        port.interrupts().set_intx(&pass, false);
        if self.still_asserted.load(Ordering::Relaxed) {
            port.interrupts().set_intx(&pass, true);
        }
    }
}

#[test]
fn every_change_of_the_wiring_is_told_once_it_stands() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let wires = Wires::follow(&world);
    let attached = world.attach(&mut token);
    let rewired = |mode, vectors| vec![("rewired", Wanted { mode, vectors })];
    // As QEMU enables MSI-X: without a descriptor first.
    world.irqs(&mut token, (2, 0, 1), EVENTFD | TRIGGER, &[], vec![]).unwrap();
    assert_eq!(wires.take(), rewired(Some(IrqMode::Msix), 0));
    world.irqs(&mut token, (2, 3, 1), EVENTFD | TRIGGER, &[], vec![new_eventfd()]).unwrap();
    assert_eq!(wires.take(), rewired(Some(IrqMode::Msix), 4));
    assert_eq!(errno(world.irqs(&mut token, (1, 0, 1), EVENTFD | TRIGGER, &[], vec![])), EINVAL);
    assert_eq!(wires.take(), [], "a refusal changes nothing");
    world.irqs(&mut token, (2, 0, 0), NONE | TRIGGER, &[], vec![]).unwrap();
    assert_eq!(wires.take(), rewired(None, 0));
    world.irqs(&mut token, (0, 0, 1), EVENTFD | TRIGGER, &[], vec![new_eventfd()]).unwrap();
    assert_eq!(wires.take(), rewired(Some(IrqMode::Intx), 1));
    attached.detach(&mut token);
    assert_eq!(wires.take(), rewired(None, 0));
}

#[test]
fn an_unmask_of_intx_reaches_the_other_side_and_no_interrupt_is_lost_or_made_up() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let wires = Wires::follow(&world);
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.irqs(&mut token, (0, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    wires.take();
    let assert_line = |token: &ThreadToken| {
        let pass = world.port.handle().try_enter(token, AccessKind::Interrupt).unwrap();
        world.port.interrupts().set_intx(&pass, true);
    };
    assert_line(&token);
    assert_line(&token);
    assert_eq!(count(&fd), 1, "masked by its own signal");
    // The other side has let go: the level that was remembered here is not signalled again.
    world.irqs(&mut token, (0, 0, 1), NONE | UNMASK, &[], vec![]).unwrap();
    assert_eq!(wires.take().iter().map(|told| told.0).collect::<Vec<_>>(), ["unmasking"]);
    assert_eq!(count(&fd), 0);
    assert_line(&token);
    assert_eq!(count(&fd), 1);
    // It still asserts, and says so before the unmask is through.
    wires.still_asserted.store(true, Ordering::Relaxed);
    world.irqs(&mut token, (0, 0, 1), NONE | UNMASK, &[], vec![]).unwrap();
    assert_eq!(count(&fd), 1);
}

#[test]
fn there_is_one_relay_of_each_kind() {
    let world = World::new();
    let _elsewhere = Elsewhere::follow(&world);
    let _wires = Wires::follow(&world);
    assert!(!world.port.relay_dma(Arc::new(Elsewhere::default())));
    assert!(!world.port.relay_interrupts(Arc::new(Wires::default())));
}

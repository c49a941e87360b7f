//! DMA that fails and interrupts that go astray because somebody asked for it.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use assign::{DmaAccess, DmaError, DmaTap, InterruptTap, InterruptVerdict};
use gate::{AccessKind, Deadline, ThreadToken};
use parking_lot::Mutex;
use pci_core::Command;
use world::*;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Fails writes to one page, and remembers what it was asked.
#[derive(Default)]
struct Broken(Mutex<Vec<(u64, u64, DmaAccess)>>);

impl DmaTap for Broken {
    fn fails(&self, iova: u64, len: u64, access: DmaAccess) -> bool {
        self.0.lock().push((iova, len, access));
        access == DmaAccess::Write && iova < 0x3000 && iova + len > 0x2000
    }
}

#[test]
fn a_tap_fails_accesses_from_when_it_is_set_until_it_is_taken_away() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 1)).unwrap();
    world.map(&mut token, RW, 0x2000, 0x1000, filled(0x1000, 2)).unwrap();
    let write = |token: &ThreadToken, iova| world.port.dma().write(&world.pass(token), iova, &[9; 8]);
    assert_eq!(write(&token, 0x2000), Ok(()));

    let tap = Arc::new(Broken::default());
    world.port.tap_dma(&mut token, Some(tap.clone()), soon()).unwrap();
    // Twice each: the second lookup does not come round the tap by a hint.
    for _ in 0..2 {
        assert_eq!(write(&token, 0x2ff0), Err(DmaError::Injected));
        assert_eq!(write(&token, 0x1000), Ok(()));
        assert_eq!(world.read_guest(&token, 0x2000, 8), Ok(vec![9; 8]), "reads are not concerned");
        assert_eq!(write(&token, 0x1ffc), Err(DmaError::Injected), "each part is asked about");
    }
    let asked = tap.0.lock().split_off(0);
    assert_eq!(asked.len(), 10);
    assert_eq!(asked[3..5], [(0x1ffc, 4, DmaAccess::Write), (0x2000, 4, DmaAccess::Write)]);
    // It stays over changes of the map, and sees nothing of what the host does for the consumer.
    world.map(&mut token, RW, 0x8000, 0x1000, memory(0x1000)).unwrap();
    assert_eq!(write(&token, 0x2000), Err(DmaError::Injected));
    {
        let pass = world.pass(&token);
        let slice = world.port.dma().resolve_for_consumer(&pass, 0x2000, 4, DmaAccess::Write).unwrap();
        assert_eq!(slice.write_from(&[1; 4]), Ok(()));
    }
    assert_eq!(tap.0.lock().split_off(0).len(), 1);

    world.port.tap_dma(&mut token, None, soon()).unwrap();
    assert_eq!(write(&token, 0x2000), Ok(()));
    assert_eq!(tap.0.lock().len(), 0);
    assert_eq!(Arc::strong_count(&tap), 1, "the old table is gone");
}

#[test]
fn what_would_fail_anyway_says_so_itself() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let tap = Arc::new(Broken::default());
    world.port.tap_dma(&mut token, Some(tap.clone()), soon()).unwrap();
    let write = |token: &ThreadToken| world.port.dma().write(&world.pass(token), 0x2000, &[9; 8]);
    assert_eq!(write(&token), Err(DmaError::NotMapped));
    world.map(&mut token, RW, 0x2000, 0x1000, memory(0x1000)).unwrap();
    world.command(&mut token, Command::MEMORY_SPACE);
    assert_eq!(write(&token), Err(DmaError::BusMasterDisabled));
    assert_eq!(tap.0.lock().len(), 0);
}

/// Gives one verdict for all.
struct Verdict(Mutex<InterruptVerdict>, Mutex<Vec<Option<u16>>>);

impl Verdict {
    fn set(world: &World, token: &mut ThreadToken) -> Arc<Verdict> {
        let tap = Arc::new(Verdict(Mutex::new(InterruptVerdict::Deliver), Mutex::default()));
        world.port.tap_interrupts(token, Some(tap.clone()), soon()).unwrap();
        tap
    }

    fn say(&self, verdict: InterruptVerdict) {
        *self.0.lock() = verdict;
    }

    fn asked(&self) -> Vec<Option<u16>> {
        std::mem::take(&mut self.1.lock())
    }
}

impl InterruptTap for Verdict {
    fn signalled(&self, vector: Option<u16>) -> InterruptVerdict {
        self.1.lock().push(vector);
        *self.0.lock()
    }
}

#[test]
fn a_message_is_delivered_dropped_doubled_or_kept_as_the_tap_says() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let tap = Verdict::set(&world, &mut token);
    let fd = new_eventfd();
    world.irqs(&mut token, (2, 2, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    let interrupts = world.port.interrupts();
    let signal = |vector| {
        let pass = world.port.handle().try_enter(&token, AccessKind::Interrupt).unwrap();
        interrupts.signal(&pass, vector);
        count(&fd)
    };
    assert_eq!(signal(2), 1);
    tap.say(InterruptVerdict::Twice);
    assert_eq!(signal(2), 2);
    tap.say(InterruptVerdict::Later);
    assert_eq!((signal(2), interrupts.dropped()), (0, 0));
    tap.say(InterruptVerdict::Drop);
    assert_eq!((signal(2), interrupts.dropped()), (0, 1));
    assert_eq!(tap.asked(), [Some(2); 4]);
    assert_eq!((signal(0), interrupts.dropped()), (0, 2), "nobody listens there");
    assert_eq!(tap.asked(), []);
    let pass = world.port.handle().try_enter(&token, AccessKind::Interrupt).unwrap();
    interrupts.deliver_late(&pass, Some(2));
    assert_eq!((count(&fd), tap.asked()), (1, vec![]));
}

#[test]
fn a_line_that_the_tap_keeps_down_stays_asserted() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let tap = Verdict::set(&world, &mut token);
    let fd = new_eventfd();
    world.irqs(&mut token, (0, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    assert_eq!(tap.asked(), [], "nothing asserted, nothing asked");
    let interrupts = world.port.interrupts();
    let assert_line = |token: &ThreadToken| {
        let pass = world.port.handle().try_enter(token, AccessKind::Interrupt).unwrap();
        interrupts.set_intx(&pass, true);
        count(&fd)
    };
    for verdict in [InterruptVerdict::Drop, InterruptVerdict::Later] {
        tap.say(verdict);
        assert_eq!(assert_line(&token), 0);
    }
    {
        let pass = world.port.handle().try_enter(&token, AccessKind::Interrupt).unwrap();
        interrupts.deliver_late(&pass, None);
        assert_eq!(count(&fd), 1);
        interrupts.deliver_late(&pass, None);
        assert_eq!(count(&fd), 0, "masked by its own signal");
    }
    assert_eq!(tap.asked(), [None; 2]);
    tap.say(InterruptVerdict::Twice);
    world.irqs(&mut token, (0, 0, 1), NONE | UNMASK, &[], vec![]).unwrap();
    assert_eq!((count(&fd), tap.asked()), (2, vec![None]));
    assert_eq!((assert_line(&token), tap.asked()), (0, vec![]), "a masked line asks nobody");
}

#[test]
fn a_tap_stays_while_consumers_come_and_go() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let tap = Verdict::set(&world, &mut token);
    tap.say(InterruptVerdict::Drop);
    let fd = new_eventfd();
    for _ in 0..2 {
        let attached = world.attach(&mut token);
        world.irqs(&mut token, (1, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
        {
            let pass = world.port.handle().try_enter(&token, AccessKind::Interrupt).unwrap();
            world.port.interrupts().signal(&pass, 0);
        }
        assert_eq!((count(&fd), tap.asked()), (0, vec![Some(0)]));
        attached.detach(&mut token);
    }
    world.port.tap_interrupts(&mut token, None, soon()).unwrap();
    assert_eq!(Arc::strong_count(&tap), 1);
}

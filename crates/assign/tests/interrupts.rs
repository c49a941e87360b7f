//! Wiring and signalling interrupts: VF-30 to VF-36.
#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "test code; tables of requests")]

mod world;

use assign::{IrqInfoFlags, IrqMode};
use gate::{AccessKind, GateState, Reason, ThreadToken};
use libc::{EINVAL, ENOTTY};
use pci_core::Command;
use world::*;

const INTX: u32 = 0;
const MSI: u32 = 1;
const MSIX: u32 = 2;
const ERR: u32 = 3;
const REQ: u32 = 4;

fn signal(world: &World, token: &ThreadToken, vector: u16) {
    let pass = world.port.handle().try_enter(token, AccessKind::Interrupt).unwrap();
    world.port.interrupts().signal(&pass, vector);
}

fn intx(world: &World, token: &ThreadToken, asserted: bool) {
    let pass = world.port.handle().try_enter(token, AccessKind::Interrupt).unwrap();
    world.port.interrupts().set_intx(&pass, asserted);
}

#[test]
fn each_index_tells_what_it_offers_vf_30() {
    use IrqInfoFlags as Flags;
    let world = World::new();
    let table = [
        (INTX, Flags::EVENTFD | Flags::MASKABLE | Flags::AUTOMASKED, 1),
        (MSI, Flags::EVENTFD | Flags::NORESIZE, MSI_VECTORS),
        (MSIX, Flags::EVENTFD, MSIX_VECTORS),
        (ERR, Flags::EVENTFD | Flags::NORESIZE, 0),
        (REQ, Flags::EVENTFD | Flags::NORESIZE, 1),
    ];
    for (index, flags, count) in table {
        let info = world.assignment.irq_info(index).unwrap();
        assert_eq!((info.flags.0, info.count), (flags, count), "index {index}");
    }
    assert_eq!(errno(world.assignment.irq_info(5)), EINVAL);
    assert_eq!(errno(world.assignment.irq_info(u32::MAX)), EINVAL);
}

#[test]
fn a_malformed_request_is_refused_with_linux_errnos_vf_31_to_vf_35() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let all = u32::MAX;
    let table: &[(&str, i32, (u32, u32, u32), u32, &[u8], usize)] = &[
        ("VF-31 index", EINVAL, (5, 0, 1), NONE | TRIGGER, &[], 0),
        ("VF-31 huge index", EINVAL, (all, 0, 1), NONE | TRIGGER, &[], 0),
        ("VF-31 start", EINVAL, (MSI, 4, 0), NONE | TRIGGER, &[], 0),
        ("VF-31 start+count", EINVAL, (MSI, 1, 4), EVENTFD | TRIGGER, &[], 4),
        ("VF-31 overflow", EINVAL, (MSI, 1, all), NONE | TRIGGER, &[], 0),
        ("VF-31 huge count", EINVAL, (MSIX, 0, all), NONE | TRIGGER, &[], 0),
        ("VF-31 huge count without fds", EINVAL, (MSIX, 0, all), EVENTFD | TRIGGER, &[], 0),
        ("VF-31 huge count of bytes", EINVAL, (MSIX, 0, all), BOOL | TRIGGER, &[1], 0),
        ("VF-31 unknown flag", EINVAL, (MSI, 0, 1), NONE | TRIGGER | 1 << 6, &[], 0),
        ("VF-31 no data type", EINVAL, (MSI, 0, 1), TRIGGER, &[], 0),
        ("VF-31 two data types", EINVAL, (MSI, 0, 1), NONE | BOOL | TRIGGER, &[1], 0),
        ("VF-31 short payload", EINVAL, (MSI, 0, 2), BOOL | TRIGGER, &[1], 0),
        ("VF-31 no action", ENOTTY, (MSI, 0, 1), NONE, &[], 0),
        ("VF-31 two actions", ENOTTY, (INTX, 0, 1), NONE | MASK | UNMASK, &[], 0),
        ("fewer fds than vectors", EINVAL, (MSI, 0, 2), EVENTFD | TRIGGER, &[], 1),
        ("more fds than vectors", EINVAL, (MSI, 0, 2), EVENTFD | TRIGGER, &[], 3),
        ("fds for no vector", EINVAL, (MSI, 0, 0), EVENTFD | TRIGGER, &[], 1),
        ("VF-32 mask while disabled", EINVAL, (INTX, 0, 1), NONE | MASK, &[], 0),
        ("VF-32 mask by eventfd", ENOTTY, (INTX, 0, 1), EVENTFD | MASK, &[], 1),
        ("VF-32 second line", EINVAL, (INTX, 0, 2), EVENTFD | TRIGGER, &[], 2),
        ("VF-34 mask", ENOTTY, (MSI, 0, 1), NONE | MASK, &[], 0),
        ("VF-34 unmask", ENOTTY, (MSIX, 0, 1), NONE | UNMASK, &[], 0),
        ("VF-34 loopback while disabled", EINVAL, (MSI, 0, 1), NONE | TRIGGER, &[], 0),
        ("VF-35 mask", ENOTTY, (REQ, 0, 1), NONE | MASK, &[], 0),
        ("VF-35 count", EINVAL, (REQ, 0, 2), EVENTFD | TRIGGER, &[], 2),
        ("VF-35 nothing to signal", EINVAL, (REQ, 0, 1), NONE | TRIGGER, &[], 0),
        ("VF-35 not offered", EINVAL, (ERR, 0, 1), EVENTFD | TRIGGER, &[], 1),
    ];
    for (what, expected, vectors, flags, payload, fds) in table {
        let fds = (0..*fds).map(|_| new_eventfd()).collect();
        assert_eq!(errno(world.irqs(&mut token, *vectors, *flags, payload, fds)), *expected, "{what}");
        assert_eq!(world.port.interrupts().mode(), None, "{what}");
    }
}

#[test]
fn what_is_no_eventfd_is_refused_and_the_whole_block_with_it_vf_34() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let good = new_eventfd();
    world.irqs(&mut token, (MSI, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&good)]).unwrap();
    let (pipe, writer) = rustix::pipe::pipe().unwrap();
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    // A file that tries to look like an eventfd by its name.
    let directory = tempfile::tempdir().unwrap();
    let named = std::fs::File::create_new(directory.path().join("anon_inode:[eventfd]")).unwrap();
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
    for bad in [pipe, writer, socket.into(), named.into(), epoll, memory(8)] {
        let fds = vec![new_eventfd(), bad];
        assert_eq!(errno(world.irqs(&mut token, (MSI, 0, 2), EVENTFD | TRIGGER, &[], fds)), EINVAL);
    }
    signal(&world, &token, 0);
    assert_eq!(count(&good), 1, "the old wiring still stands");
}

#[test]
fn msi_vectors_are_signalled_replaced_and_taken_away_one_by_one_vf_34() {
    for (index, mode) in [(MSI, IrqMode::Msi), (MSIX, IrqMode::Msix)] {
        let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
        let _attached = world.attach(&mut token);
        let fds = [new_eventfd(), new_eventfd(), new_eventfd()];
        world
            .irqs(&mut token, (index, 0, 2), EVENTFD | TRIGGER, &[], vec![dup(&fds[0]), dup(&fds[1])])
            .unwrap();
        assert_eq!(world.port.interrupts().mode(), Some(mode));
        signal(&world, &token, 0);
        signal(&world, &token, 1);
        signal(&world, &token, 1);
        assert_eq!((count(&fds[0]), count(&fds[1])), (1, 2));
        // Vectors beyond those of the first request, and one replaced.
        world.irqs(&mut token, (index, 1, 1), EVENTFD | TRIGGER, &[], vec![dup(&fds[2])]).unwrap();
        world.irqs(&mut token, (index, 3, 1), EVENTFD | TRIGGER, &[], vec![dup(&fds[0])]).unwrap();
        signal(&world, &token, 1);
        signal(&world, &token, 3);
        assert_eq!((count(&fds[0]), count(&fds[1]), count(&fds[2])), (1, 0, 1));
        // De-assign without fds; nobody listens then.
        world.irqs(&mut token, (index, 1, 1), EVENTFD | TRIGGER, &[], vec![]).unwrap();
        let dropped = world.port.interrupts().dropped();
        signal(&world, &token, 1);
        signal(&world, &token, 2);
        signal(&world, &token, u16::MAX);
        assert_eq!(count(&fds[2]), 0);
        assert_eq!(world.port.interrupts().dropped(), dropped + 3);
        world.irqs(&mut token, (index, 0, 0), NONE | TRIGGER, &[], vec![]).unwrap();
        assert_eq!(world.port.interrupts().mode(), None);
        signal(&world, &token, 0);
        assert_eq!(count(&fds[0]), 0);
    }
}

#[test]
fn qemu_enables_msix_by_taking_vector_0_away() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.irqs(&mut token, (MSIX, 0, 1), EVENTFD | TRIGGER, &[], vec![]).unwrap();
    assert_eq!(world.port.interrupts().mode(), Some(IrqMode::Msix));
    let fd = new_eventfd();
    world.irqs(&mut token, (MSIX, 5, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    signal(&world, &token, 5);
    signal(&world, &token, 0);
    assert_eq!(count(&fd), 1);
}

#[test]
fn one_kind_must_be_disabled_before_another_is_enabled_vf_34() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.irqs(&mut token, (MSI, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    for other in [INTX, MSIX] {
        assert_eq!(
            errno(world.irqs(&mut token, (other, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)])),
            EINVAL
        );
        // Nothing to disable there, and what is enabled stays.
        world.irqs(&mut token, (other, 0, 0), NONE | TRIGGER, &[], vec![]).unwrap();
    }
    assert_eq!(world.port.interrupts().mode(), Some(IrqMode::Msi));
    world.irqs(&mut token, (MSI, 0, 0), NONE | TRIGGER, &[], vec![]).unwrap();
    world.irqs(&mut token, (MSIX, 0, 1), EVENTFD | TRIGGER, &[], vec![fd]).unwrap();
}

#[test]
fn a_message_needs_bus_mastering() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.irqs(&mut token, (MSI, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    world.command(&mut token, Command::MEMORY_SPACE);
    signal(&world, &token, 0);
    assert_eq!((count(&fd), world.port.interrupts().dropped()), (0, 1));
    world.command(&mut token, Command::MEMORY_SPACE | Command::BUS_MASTER);
    signal(&world, &token, 0);
    assert_eq!((count(&fd), world.port.interrupts().dropped()), (1, 1));
}

#[test]
fn a_consumer_can_signal_itself_vf_34() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let fds: Vec<_> = (0..3).map(|_| new_eventfd()).collect();
    world.irqs(&mut token, (MSIX, 0, 3), EVENTFD | TRIGGER, &[], fds.iter().map(dup).collect()).unwrap();
    world.irqs(&mut token, (MSIX, 1, 2), NONE | TRIGGER, &[], vec![]).unwrap();
    assert_eq!(fds.iter().map(count).collect::<Vec<_>>(), [0, 1, 1]);
    world.irqs(&mut token, (MSIX, 0, 3), BOOL | TRIGGER, &[1, 0, 5], vec![]).unwrap();
    assert_eq!(fds.iter().map(count).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(errno(world.irqs(&mut token, (MSI, 0, 1), NONE | TRIGGER, &[], vec![])), EINVAL);
}

#[test]
fn intx_masks_itself_and_signals_again_on_unmask_while_asserted_vf_32() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.irqs(&mut token, (INTX, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    assert_eq!(world.port.interrupts().mode(), Some(IrqMode::Intx));
    let unmask =
        |token: &mut ThreadToken| world.irqs(token, (INTX, 0, 1), NONE | UNMASK, &[], vec![]).unwrap();
    intx(&world, &token, true);
    intx(&world, &token, true);
    assert_eq!(count(&fd), 1, "masked after the first");
    unmask(&mut token);
    assert_eq!(count(&fd), 1, "still asserted");
    intx(&world, &token, false);
    unmask(&mut token);
    assert_eq!(count(&fd), 0, "no longer asserted");
    intx(&world, &token, true);
    assert_eq!(count(&fd), 1);
    intx(&world, &token, false);
    intx(&world, &token, true);
    assert_eq!(count(&fd), 0, "masked until the consumer unmasks");
    world.irqs(&mut token, (INTX, 0, 1), BOOL | UNMASK, &[0], vec![]).unwrap();
    assert_eq!(count(&fd), 0, "the byte says no");
    world.irqs(&mut token, (INTX, 0, 1), BOOL | UNMASK, &[1], vec![]).unwrap();
    assert_eq!(count(&fd), 1);
    // Masked by the consumer.
    intx(&world, &token, false);
    unmask(&mut token);
    world.irqs(&mut token, (INTX, 0, 1), NONE | MASK, &[], vec![]).unwrap();
    intx(&world, &token, true);
    assert_eq!(count(&fd), 0);
    unmask(&mut token);
    assert_eq!(count(&fd), 1);
    // Loopback masks nothing.
    world.irqs(&mut token, (INTX, 0, 1), NONE | TRIGGER, &[], vec![]).unwrap();
    assert_eq!(count(&fd), 1);
}

#[test]
fn intx_is_remembered_while_nobody_listens_or_it_is_disabled_vf_32() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    intx(&world, &token, true);
    let mut status = [0; 2];
    world.assignment.region_read(&mut token, 7, 6, &mut status).unwrap();
    assert_eq!(status[0] & 1 << 3, 1 << 3, "Interrupt Status");
    world.irqs(&mut token, (INTX, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    assert_eq!(count(&fd), 1, "asserted before anybody listened");
    let on = Command::MEMORY_SPACE;
    world.command(&mut token, on | Command::INTERRUPT_DISABLE);
    world.irqs(&mut token, (INTX, 0, 1), NONE | UNMASK, &[], vec![]).unwrap();
    assert_eq!(count(&fd), 0, "disabled in COMMAND");
    world.command(&mut token, on);
    assert_eq!(count(&fd), 1, "enabled again while asserted");
    intx(&world, &token, false);
    world.assignment.region_read(&mut token, 7, 6, &mut status).unwrap();
    assert_eq!(status[0] & 1 << 3, 0);
    // Disabled and enabled anew it is not masked any more.
    world.irqs(&mut token, (INTX, 0, 0), NONE | TRIGGER, &[], vec![]).unwrap();
    world.irqs(&mut token, (INTX, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    intx(&world, &token, true);
    assert_eq!(count(&fd), 1);
}

#[test]
fn a_device_and_a_consumer_at_once_lose_no_level_and_signal_none_twice_vf_32() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.irqs(&mut token, (INTX, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    std::thread::scope(|scope| {
        let world = &world;
        scope.spawn(move || {
            let token = ThreadToken::at_thread_entry();
            for _ in 0..2000 {
                // A closer may be in for a moment.
                while world.port.handle().try_enter(&token, AccessKind::Interrupt).is_err() {
                    std::thread::yield_now();
                }
                intx(world, &token, true);
            }
        });
        for _ in 0..2000 {
            world.irqs(&mut token, (INTX, 0, 1), NONE | UNMASK, &[], vec![]).unwrap();
        }
    });
    assert!(count(&fd) <= 2001, "at most one a mask");
    world.irqs(&mut token, (INTX, 0, 1), NONE | UNMASK, &[], vec![]).unwrap();
    assert_eq!(count(&fd), 1, "the level is still there");
}

#[test]
fn the_request_to_let_go_is_stored_signalled_and_cleared_vf_35() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    let ask = |token: &ThreadToken| {
        let pass = world.port.handle().try_enter(token, AccessKind::Interrupt).unwrap();
        world.port.interrupts().request_release(&pass)
    };
    assert!(!ask(&token));
    world.irqs(&mut token, (REQ, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    assert!(ask(&token));
    world.irqs(&mut token, (REQ, 0, 1), NONE | TRIGGER, &[], vec![]).unwrap();
    assert_eq!(count(&fd), 2);
    world.irqs(&mut token, (REQ, 0, 0), NONE | TRIGGER, &[], vec![]).unwrap();
    assert!(!ask(&token));
}

#[test]
fn a_full_eventfd_made_blocking_again_holds_nobody_up() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.irqs(&mut token, (MSI, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
    rustix::io::write(&fd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    rustix::fs::fcntl_setfl(&fd, rustix::fs::OFlags::empty()).unwrap();
    signal(&world, &token, 0);
    signal(&world, &token, 0);
    assert_eq!(world.port.interrupts().dropped(), 0, "delivered: its reader has yet to look");
}

#[test]
fn who_waits_for_a_wiring_is_told_that_it_is_one() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    std::thread::scope(|scope| {
        // A device inside keeps the closer waiting, and so in sight.
        let inside = world.pass(&token);
        scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            world.irqs(&mut token, (MSI, 0, 1), EVENTFD | TRIGGER, &[], vec![new_eventfd()]).unwrap();
        });
        let reason = loop {
            if let GateState::Blocked(reason) = world.gate.status().state {
                break reason;
            }
            std::thread::yield_now();
        };
        drop(inside);
        assert_eq!(reason, Reason::SetIrqs);
        assert_eq!(reason.to_string(), "change of interrupts");
    });
}

//! Nothing a consumer brings or does outlives it: descriptors and mappings are counted. Alone in its process, since
//! other tests' descriptors would be counted too.

#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use std::os::fd::OwnedFd;
use std::time::Duration;

use assign::Limits;
use gate::{Deadline, ThreadToken};
use rustix::fs::ftruncate;
use world::*;

/// Open descriptors, and mappings of client memory (`/memfd:guest`) or left of it.
fn counts() -> (usize, usize) {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (fds, maps.lines().filter(|line| line.contains("memfd:guest")).count())
}

/// Everything a consumer can do, well and badly.
fn visit(world: &World, token: &mut ThreadToken) {
    let attached = world.attach(token);
    for nth in 0..40 {
        let _ = world.map(token, RW, nth * 0x2000, 0x2000, memory(0x2000));
        let _ = world.map(token, RW, nth * 0x2000, 0x2000, memory(0x2000));
        let _ = world.map(token, RW, nth * 0x2000, 0x2001, memory(0x2000));
        let _ = world.map(token, RW, 0x100_0000, 0x4000, memory(0x2000));
        let _ = world.map(token, RW, 0x100_0000, 0x1000, rustix::pipe::pipe().unwrap().0);
        let _ = world.map_at(token, RW, 0, 0x200_0000 + nth * 0x1000, 0x1000, None);
    }
    world.assignment.dma_unmap(token, 0, 0x4000).unwrap();
    let truncated = memory(0x1000);
    world.map(token, RW, 0, 0x1000, dup(&truncated)).unwrap();
    ftruncate(&truncated, 0).unwrap();
    world.read_guest(token, 0, 1).unwrap_err();
    for (index, total) in [(0, 1), (1, MSI_VECTORS), (2, MSIX_VECTORS)] {
        let fds = |count: u32| (0..count).map(|_| new_eventfd()).collect::<Vec<OwnedFd>>();
        world.irqs(token, (index, 0, total), EVENTFD | TRIGGER, &[], fds(total)).unwrap();
        world.irqs(token, (index, 0, total), EVENTFD | TRIGGER, &[], fds(total)).unwrap();
        world.irqs(token, (index, 0, total), EVENTFD | TRIGGER, &[], fds(total + 200)).unwrap_err();
        world.irqs(token, (index, 0, u32::MAX), EVENTFD | TRIGGER, &[], fds(3)).unwrap_err();
        world.irqs(token, (index, 0, 1), NONE | TRIGGER, &[], fds(3)).unwrap();
        if index != 2 {
            world.irqs(token, (index, 0, 0), NONE | TRIGGER, &[], fds(1)).unwrap();
        }
    }
    world.irqs(token, (4, 0, 1), EVENTFD | TRIGGER, &[], vec![new_eventfd()]).unwrap();
    attached.detach(token);
}

#[test]
fn a_consumer_leaves_neither_descriptors_nor_mappings() {
    let world = World::with(Limits { dma_maps: 60, ..Limits::default() });
    let mut token = ThreadToken::at_thread_entry();
    // The first signal makes the process's one asynchronous I/O context.
    visit(&world, &mut token);
    let before = counts();
    for _ in 0..5 {
        visit(&world, &mut token);
    }
    assert_eq!(counts(), before);
    assert_eq!(before.1, 0);

    // The counts can see a leak at all.
    let attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
    world.irqs(&mut token, (1, 0, 1), EVENTFD | TRIGGER, &[], vec![new_eventfd()]).unwrap();
    assert_eq!(counts(), (before.0 + 1, 1));
    attached.detach(&mut token);
    assert_eq!(counts(), before);

    // Of a function that is gone nothing can be taken out any more, and everything is cut off.
    let attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
    world.irqs(&mut token, (1, 0, 1), EVENTFD | TRIGGER, &[], vec![new_eventfd()]).unwrap();
    world.irqs(&mut token, (4, 0, 1), EVENTFD | TRIGGER, &[], vec![new_eventfd()]).unwrap();
    assert_eq!((counts().1, eventfds()), (1, 2));
    let soon = Deadline::after(Duration::from_secs(60));
    assert!(world.assignment.function().gate().retire(&mut token, soon).orphans.is_empty());
    assert!(world.assignment.is_gone());
    assert_eq!(attached.detach_by(&mut token, Deadline::after(Duration::ZERO)), 0);
    assert_eq!((counts().1, eventfds()), (0, 0));
    drop(world);
    assert!(counts().0 <= before.0);
}

/// Open eventfds.
fn eventfds() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.as_os_str() == "anon_inode:[eventfd]").count()
}

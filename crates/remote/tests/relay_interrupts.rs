//! A back end's interrupts on their way to the consumer, over one back end after the other.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use assign::{Assignment, Attached, InterruptRelay, Limits, Port, SetIrqs};
use gate::{Deadline, Gate, Pass, Quiesced, Reason, ThreadToken};
use parking_lot::Mutex;
use pci_core::{
    BarIndex, BarKind, Command, ConfigSpace, Device, Function, Identity, InterruptPin, Location, Msi, Msix,
    ResetKind,
};
use remote::link::{LinkError, Loss};
use remote::relay::interrupts::{FollowError, Interrupts, Wire};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use vfio_user::codec::Command as Message;

const SET: u32 = 1 << 2 | 1 << 5;
const DISABLE: u32 = 1 << 0 | 1 << 5;
const UNMASK: u32 = 1 << 0 | 1 << 4;
const LIMIT: Duration = Duration::from_secs(20);

struct Nothing;

impl Device for Nothing {
    fn read_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &mut [u8]) {}
    fn write_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &[u8]) {}
    fn reset(&self, _: &Quiesced<'_>, _: ResetKind) {}
    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// A back end that notes what it is told, and signals what it was given.
#[derive(Default)]
struct Server {
    told: Mutex<Vec<String>>,
    eventfds: Mutex<Vec<OwnedFd>>,
    rigid: bool,
    refuses: bool,
    lost: AtomicBool,
    unmasked_while_asserted: AtomicBool,
}

impl Server {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock())
    }

    fn signal(&self, vector: usize) {
        rustix::io::write(&self.eventfds.lock()[vector], &1_u64.to_ne_bytes()).unwrap();
    }

    fn answer(&self, what: String) -> Result<(), LinkError> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(LinkError::Lost(Loss::Closed));
        }
        self.told.lock().push(what);
        if self.refuses {
            return Err(LinkError::Refused { command: Message::DeviceSetIrqs, errno: Errno::INVAL });
        }
        Ok(())
    }
}

impl Wire for Server {
    fn wire(
        &self,
        _: &mut ThreadToken,
        index: u32,
        start: u32,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        self.answer(format!("wire {index} {start}+{}", fds.len()))?;
        let mut eventfds = self.eventfds.lock();
        eventfds.truncate(start as usize);
        eventfds.extend(fds.iter().map(|fd| fd.try_clone_to_owned().unwrap()));
        Ok(())
    }

    fn disable(&self, _: &mut ThreadToken, index: u32) -> Result<(), LinkError> {
        self.answer(format!("disable {index}"))
    }

    fn unmask(&self, _: &mut ThreadToken) -> Result<(), LinkError> {
        self.answer("unmask".into())?;
        if self.unmasked_while_asserted.swap(false, Ordering::Relaxed) {
            self.signal(0);
        }
        Ok(())
    }

    fn can_grow(&self, _: &mut ThreadToken, _: u32) -> Result<bool, LinkError> {
        Ok(!self.rigid)
    }

    fn cut(&self, _: &'static str) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

struct World {
    gate: Gate,
    port: Arc<Port>,
    assignment: Arc<Assignment>,
    relay: Arc<Interrupts>,
}

impl World {
    fn new(name: &str) -> World {
        let bar = BarIndex::new(0).unwrap();
        let config = ConfigSpace::builder(Identity::new(1, 1, pci_spec::ClassCode::NVME))
            .bar(bar, BarKind::Memory64, 0x4000)
            .intx(InterruptPin::A)
            .capability(Msi::new(4))
            .capability(Msix {
                vectors: 8,
                table: Location { bar: 0, offset: 0x2000 },
                pba: Location { bar: 0, offset: 0x3000 },
            });
        let (gate, config) = (Gate::new(name), Arc::new(config.build().unwrap()));
        let port = Port::new(&gate, Arc::clone(&config), Arc::new(()));
        let relay = Interrupts::follow(name, &port).unwrap();
        let function = Arc::new(Function::new(name, gate.clone(), config, Arc::new(Nothing)));
        let assignment = Assignment::new(function, Arc::clone(&port), Limits::default());
        World { gate, port, assignment, relay }
    }

    fn attach(&self, token: &mut ThreadToken) -> Attached {
        let attached = self.assignment.attach(token).unwrap();
        let command = Command::MEMORY_SPACE | Command::BUS_MASTER;
        self.assignment.region_write(token, 7, 4, &command.bits().to_le_bytes()).unwrap();
        attached
    }

    fn set(
        &self,
        token: &mut ThreadToken,
        (index, start, count): (u32, u32, u32),
        flags: u32,
        fds: Vec<OwnedFd>,
    ) {
        let request = SetIrqs::decode(index, start, count, flags, &[], fds).unwrap();
        self.assignment.set_irqs(token, request).unwrap();
    }
}

fn new_eventfd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

fn dup(fd: &OwnedFd) -> OwnedFd {
    fd.try_clone().unwrap()
}

/// Waits for signals, and counts them.
fn hear(fd: &OwnedFd) -> u64 {
    let mut value = [0; 8];
    let timeout = Timespec::try_from(LIMIT).unwrap();
    let ready = poll(&mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)], Some(&timeout)).unwrap();
    assert_eq!(ready, 1, "no interrupt came");
    rustix::io::read(fd, &mut value).unwrap();
    u64::from_ne_bytes(value)
}

fn is_silent(fd: &OwnedFd) -> bool {
    rustix::io::read(fd, &mut [0; 8]) == Err(Errno::AGAIN)
}

fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let named = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    tasks.filter(named).count()
}

#[test]
fn vectors_are_wired_as_the_consumer_listens_and_come_through_the_port() {
    let (world, mut token) = (World::new("msix"), ThreadToken::at_thread_entry());
    let server = Arc::new(Server::default());
    world.relay.attach(&mut token, server.clone()).unwrap();
    assert_eq!(server.take(), [""; 0], "nobody listens");
    let attached = world.attach(&mut token);
    // As QEMU does it: the index first, then vectors one by one.
    world.set(&mut token, (2, 0, 1), SET, vec![]);
    let fds = [new_eventfd(), new_eventfd()];
    world.set(&mut token, (2, 0, 1), SET, vec![dup(&fds[0])]);
    world.set(&mut token, (2, 2, 1), SET, vec![dup(&fds[1])]);
    assert_eq!(server.take(), ["wire 2 0+1", "wire 2 1+2"]);
    server.signal(2);
    assert_eq!(hear(&fds[1]), 1);
    server.signal(0);
    assert_eq!(hear(&fds[0]), 1);
    assert!(is_silent(&fds[1]));
    world.set(&mut token, (2, 0, 0), DISABLE, vec![]);
    world.set(&mut token, (1, 0, 2), SET, vec![dup(&fds[0]), dup(&fds[1])]);
    assert_eq!(server.take(), ["disable 2", "wire 1 0+2"]);
    server.signal(1);
    assert_eq!(hear(&fds[1]), 1);
    attached.detach(&mut token);
    assert_eq!(server.take(), ["disable 1"]);
}

#[test]
fn a_back_end_whose_vectors_cannot_be_added_to_is_wired_anew() {
    let (world, mut token) = (World::new("rigid"), ThreadToken::at_thread_entry());
    let server = Arc::new(Server { rigid: true, ..Server::default() });
    world.relay.attach(&mut token, server.clone()).unwrap();
    let _attached = world.attach(&mut token);
    world.set(&mut token, (2, 0, 1), SET, vec![new_eventfd()]);
    world.set(&mut token, (2, 1, 1), SET, vec![new_eventfd()]);
    assert_eq!(server.take(), ["wire 2 0+1", "disable 2", "wire 2 0+2"]);
}

#[test]
fn the_next_back_end_is_wired_alike_and_each_vector_is_signalled_once() {
    let (world, mut token) = (World::new("next"), ThreadToken::at_thread_entry());
    let first = Arc::new(Server::default());
    world.relay.attach(&mut token, first.clone()).unwrap();
    let _attached = world.attach(&mut token);
    let fds = [new_eventfd(), new_eventfd()];
    world.set(&mut token, (2, 0, 2), SET, vec![dup(&fds[0]), dup(&fds[1])]);
    first.cut("");
    world.relay.detach();
    // What the consumer changes meanwhile is not lost.
    let third = new_eventfd();
    world.set(&mut token, (2, 2, 1), SET, vec![dup(&third)]);
    let second = Arc::new(Server::default());
    world.relay.attach(&mut token, second.clone()).unwrap();
    assert_eq!(second.take(), ["wire 2 0+3"]);
    assert_eq!([hear(&fds[0]), hear(&fds[1]), hear(&third)], [1; 3]);
    second.signal(1);
    assert_eq!(hear(&fds[1]), 1);
    assert!(is_silent(&fds[0]) && is_silent(&third));
}

#[test]
fn intx_is_one_signal_until_the_unmask_which_asks_the_back_end_again() {
    let (world, mut token) = (World::new("intx"), ThreadToken::at_thread_entry());
    let server = Arc::new(Server::default());
    world.relay.attach(&mut token, server.clone()).unwrap();
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.set(&mut token, (0, 0, 1), SET, vec![dup(&fd)]);
    server.signal(0);
    assert_eq!(hear(&fd), 1);
    // It has been served: the back end has nothing to say.
    world.set(&mut token, (0, 0, 1), UNMASK, vec![]);
    assert_eq!(server.take(), ["wire 0 0+1", "unmask"]);
    assert!(is_silent(&fd), "what was remembered here is not signalled again");
    server.signal(0);
    assert_eq!(hear(&fd), 1);
    // It has not been served.
    server.unmasked_while_asserted.store(true, Ordering::Relaxed);
    world.set(&mut token, (0, 0, 1), UNMASK, vec![]);
    assert_eq!(hear(&fd), 1);
}

#[test]
fn an_interrupt_that_meets_a_closed_gate_comes_when_it_opens() {
    let (world, mut token) = (World::new("closed"), ThreadToken::at_thread_entry());
    let server = Arc::new(Server::default());
    world.relay.attach(&mut token, server.clone()).unwrap();
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.set(&mut token, (1, 0, 1), SET, vec![dup(&fd)]);
    {
        let _closed = world.gate.close(&mut token, Reason::Recovery, Deadline::after(LIMIT)).unwrap();
        server.signal(0);
        assert!(is_silent(&fd));
    }
    assert_eq!(hear(&fd), 1);
}

#[test]
fn a_flood_of_signals_is_one_interrupt_for_each_look() {
    let (world, mut token) = (World::new("flood"), ThreadToken::at_thread_entry());
    let server = Arc::new(Server::default());
    world.relay.attach(&mut token, server.clone()).unwrap();
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.set(&mut token, (1, 0, 1), SET, vec![dup(&fd)]);
    {
        let _closed = world.gate.close(&mut token, Reason::Recovery, Deadline::after(LIMIT)).unwrap();
        for _ in 0..1000 {
            server.signal(0);
        }
    }
    let mut heard = hear(&fd);
    while !is_silent(&fd) {
        heard += 1;
    }
    assert!(heard <= 2, "{heard}");
}

#[test]
fn a_back_end_that_refuses_interrupts_it_has_offered_is_lost_and_the_consumer_goes_on() {
    let (world, mut token) = (World::new("refuses"), ThreadToken::at_thread_entry());
    let server = Arc::new(Server { refuses: true, ..Server::default() });
    world.relay.attach(&mut token, server.clone()).unwrap();
    let _attached = world.attach(&mut token);
    let fd = new_eventfd();
    world.set(&mut token, (1, 0, 1), SET, vec![dup(&fd)]);
    assert!(server.lost.load(Ordering::Relaxed));
    world.relay.detach();
    let next = Arc::new(Server::default());
    world.relay.attach(&mut token, next.clone()).unwrap();
    assert_eq!((next.take(), hear(&fd)), (vec!["wire 1 0+1".to_owned()], 1));
    let refused = Arc::new(Server { refuses: true, ..Server::default() });
    assert!(world.relay.attach(&mut token, refused).is_err());
}

#[test]
fn the_thread_ends_with_the_relay() {
    let world = World::new("ends");
    assert!(matches!(Interrupts::follow("other", &world.port), Err(FollowError::Taken)));
    let wait_for = |name: &str, count| {
        let begun = Instant::now();
        while threads(name) != count {
            assert!(begun.elapsed() < LIMIT, "{} threads of the name {name}", threads(name));
            std::thread::yield_now();
        }
    };
    wait_for("irq-other", 0);
    wait_for("irq-ends", 1);
    let relay: Arc<dyn InterruptRelay> = world.relay.clone();
    drop(relay);
    drop(world);
    wait_for("irq-ends", 0);
}

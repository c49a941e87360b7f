//! Memory and interrupts of a consumer at real servers, one after the other.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use assign::{Assignment, Attached, DmaMapFlags, DmaMapRequest, Limits, Port, RequestError, SetIrqs};
use gate::{Gate, Pass, Quiesced, ThreadToken};
use models::endpoint;
use pci_core::{
    BarIndex, BarKind, Command, ConfigSpace, Device, Function, Identity, InterruptPin, Msi, ResetKind,
};
use remote::fence::OldServer;
use remote::link::{Link, LinkOptions, LinkWatch, Loss};
use remote::relay::dma::Dma;
use remote::relay::interrupts::Interrupts;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use vfio_user::server::{Server, ServerOptions, Stop};

const COMMAND: u64 = 0x04;
const STATUS: u64 = 0x08;
const DESTINATION: u64 = 0x14;
const SIZE: u64 = 0x1c;
const INTERRUPT_TYPE: u64 = 0x24;
const INTERRUPT_NUMBER: u64 = 0x28;
const WRITE: u32 = 1 << 4;
const WRITE_SUCCESS: u32 = 1 << 2;
const WRITE_FAIL: u32 = 1 << 3;
const MEMORY: u64 = 1 << 20;
const CONFIG: u32 = 7;

const SET: u32 = 1 << 2 | 1 << 5;
const DISABLE: u32 = 1 << 0 | 1 << 5;
const UNMASK: u32 = 1 << 0 | 1 << 4;

/// A server of our own with a device that moves data.
struct BackEnd {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl BackEnd {
    fn start(path: &Path) -> BackEnd {
        let function = endpoint::build("back end", &endpoint::Config::default(), Arc::new(())).unwrap();
        let server = Server::bind(path, function, ServerOptions::default()).unwrap();
        let stop = Arc::new(Stop::new().unwrap());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            server.run(&mut ThreadToken::at_thread_entry(), &stopped).unwrap();
        });
        BackEnd { stop, thread: Some(thread) }
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking());
    }
}

struct Nothing;

impl Device for Nothing {
    fn read_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &mut [u8]) {}
    fn write_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &[u8]) {}
    fn reset(&self, _: &Quiesced<'_>, _: ResetKind) {}
    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

struct Unwatched;

impl LinkWatch for Unwatched {
    fn lost(&self, _: Loss) {}
}

/// A function in front of whatever server is at the path.
struct World {
    token: ThreadToken,
    path: PathBuf,
    _directory: tempfile::TempDir,
    port: Arc<Port>,
    assignment: Arc<Assignment>,
    dma: Arc<Dma>,
    interrupts: Arc<Interrupts>,
    memory: File,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let config = ConfigSpace::builder(Identity::new(1, 1, pci_spec::ClassCode::NVME))
            .bar(BarIndex::new(0).unwrap(), BarKind::Memory64, 0x4000)
            .intx(InterruptPin::A)
            .capability(Msi::new(32));
        let (gate, config) = (Gate::new("front"), Arc::new(config.build().unwrap()));
        let port = Port::new(&gate, Arc::clone(&config), Arc::new(()));
        let function = Arc::new(Function::new("front", gate, config, Arc::new(Nothing)));
        let memory = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(MEMORY).unwrap();
        World {
            token: ThreadToken::at_thread_entry(),
            path: directory.path().join("socket"),
            _directory: directory,
            dma: Dma::follow(&port).unwrap(),
            interrupts: Interrupts::follow("front", &port).unwrap(),
            assignment: Assignment::new(function, Arc::clone(&port), Limits::default()),
            port,
            memory,
        }
    }

    fn attach(&mut self) -> Attached {
        let attached = self.assignment.attach(&mut self.token).unwrap();
        let command = (Command::MEMORY_SPACE | Command::BUS_MASTER).bits().to_le_bytes();
        self.assignment.region_write(&mut self.token, CONFIG, 4, &command).unwrap();
        attached
    }

    /// Connects to the server that is there now, and has it told everything.
    fn connect(&mut self) -> Arc<Link> {
        let options = LinkOptions { connect_timeout: Duration::from_secs(20), ..LinkOptions::default() };
        let commands = Arc::clone(&self.dma);
        let link =
            Link::connect(&mut self.token, &self.path, options, commands, Arc::new(Unwatched)).unwrap();
        let server = Arc::new(OldServer::new(None, None).unwrap());
        self.dma.attach(&mut self.token, link.clone(), server).unwrap();
        self.interrupts.attach(&mut self.token, link.clone()).unwrap();
        let command = (Command::MEMORY_SPACE | Command::BUS_MASTER).bits().to_le_bytes();
        link.write(&mut self.token, CONFIG, 4, &command).unwrap();
        link
    }

    fn disconnect(&self) {
        self.dma.detach();
        self.interrupts.detach();
    }

    fn map(&mut self, iova: u64, offset: u64, size: u64) -> Result<(), RequestError> {
        let fd = Some(OwnedFd::from(self.memory.try_clone().unwrap()));
        let flags = DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE);
        self.assignment.dma_map(&mut self.token, DmaMapRequest { flags, offset, iova, size, fd })
    }

    fn irqs(&mut self, index: u32, count: u32, flags: u32, fds: Vec<OwnedFd>) {
        let request = SetIrqs::decode(index, 0, count, flags, &[], fds).unwrap();
        self.assignment.set_irqs(&mut self.token, request).unwrap();
    }

    /// Has the device behind a link write so many bytes, and interrupt with a vector from 1 (MSI) or 0 (INTx). Its status.
    fn write(&mut self, link: &Link, iova: u64, size: u32, vector: u32) -> u32 {
        let mut set = |offset, value: u32| {
            link.write(&mut self.token, 0, offset, &value.to_le_bytes()).unwrap();
        };
        set(DESTINATION, u32::try_from(iova).unwrap());
        set(SIZE, size);
        set(INTERRUPT_TYPE, u32::from(vector != 0));
        set(INTERRUPT_NUMBER, vector);
        set(COMMAND, WRITE);
        // The line stays up until the status is read.
        let mut status = [0; 4];
        if vector != 0 {
            link.read(&mut self.token, 0, STATUS, &mut status).unwrap();
        }
        u32::from_le_bytes(status)
    }

    fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read_exact_at(&mut data, offset).unwrap();
        data
    }
}

fn new_eventfd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

fn hear(fd: &OwnedFd) -> u64 {
    let timeout = Timespec::try_from(Duration::from_secs(20)).unwrap();
    let ready = poll(&mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)], Some(&timeout)).unwrap();
    assert_eq!(ready, 1, "no interrupt came");
    let mut value = [0; 8];
    rustix::io::read(fd, &mut value).unwrap();
    u64::from_ne_bytes(value)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// One test: it counts the descriptors of the whole process.
#[test]
fn data_and_interrupts_of_one_server_after_the_other_reach_the_consumer() {
    let mut world = World::new();
    let attached = world.attach();
    world.map(0x10_0000, 0, 0x1_0000).unwrap();
    let fds = [new_eventfd(), new_eventfd(), new_eventfd()];
    world.irqs(1, 3, SET, fds.iter().map(|fd| fd.try_clone().unwrap()).collect());
    let mut counted = None;
    for round in 0..3 {
        let server = BackEnd::start(&world.path);
        let link = world.connect();
        // Mapped before it came, and while it is there.
        world.map(0x20_0000, 0x8_0000, 0x1_0000).unwrap();
        fds.iter().for_each(|fd| assert_eq!(hear(fd), 1, "one for each vector, in case"));
        for (iova, offset) in [(0x10_0000, 0), (0x20_0000, 0x8_0000)] {
            world.memory.write_all_at(&[0; 64], offset).unwrap();
            assert_eq!(world.write(&link, iova, 64, 2) & WRITE_SUCCESS, WRITE_SUCCESS, "{iova:#x}");
            assert_eq!(hear(&fds[1]), 1);
            assert_ne!(world.bytes(offset, 64), [0; 64], "{iova:#x}");
        }
        // What is unmapped it does not reach.
        world.assignment.dma_unmap(&mut world.token, 0x20_0000, 0x1_0000).unwrap();
        assert_eq!(world.write(&link, 0x20_0000, 64, 1) & WRITE_FAIL, WRITE_FAIL);
        assert_eq!(hear(&fds[0]), 1);
        // Guests reboot.
        for _ in 0..22 {
            world.assignment.dma_unmap_all(&mut world.token).unwrap();
            world.map(0x10_0000, 0, 0x1_0000).unwrap();
        }
        assert_eq!(world.write(&link, 0x10_0000, 64, 2) & WRITE_SUCCESS, WRITE_SUCCESS);
        assert_eq!(hear(&fds[1]), 1);
        drop(server);
        world.disconnect();
        drop(link);
        // While nobody is there they do as well.
        world.assignment.dma_unmap_all(&mut world.token).unwrap();
        world.map(0x10_0000, 0, 0x1_0000).unwrap();
        let now = descriptors();
        assert_eq!(*counted.get_or_insert(now), now, "round {round} has left descriptors");
    }
    line_by_line(&mut world);
    attached.detach(&mut world.token);
    assert_eq!(world.dma.usage().mappings, 0);
    assert_eq!(world.port.dma().usage(&mut world.token), (0, 0));
}

/// INTx through two servers.
fn line_by_line(world: &mut World) {
    let fd = new_eventfd();
    world.irqs(1, 0, DISABLE, vec![]);
    let server = BackEnd::start(&world.path);
    let link = world.connect();
    world.irqs(0, 1, SET, vec![fd.try_clone().unwrap()]);
    world.write(&link, 0x10_0000, 64, 0);
    assert_eq!(hear(&fd), 1);
    // Unmasked while the line is up: again.
    world.irqs(0, 1, UNMASK, vec![]);
    assert_eq!(hear(&fd), 1);
    // Served: the line goes down, and stays so.
    link.read(&mut world.token, 0, STATUS, &mut [0; 4]).unwrap();
    world.irqs(0, 1, UNMASK, vec![]);
    world.write(&link, 0x10_0000, 64, 0);
    assert_eq!(hear(&fd), 1);
    drop(server);
    world.disconnect();
    // The next one has nothing to say. But the consumer has not unmasked yet, and is not left with what it made of the last one.
    let _server = BackEnd::start(&world.path);
    let link = world.connect();
    world.irqs(0, 1, UNMASK, vec![]);
    assert_eq!(hear(&fd), 1);
    world.irqs(0, 1, UNMASK, vec![]);
    world.write(&link, 0x10_0000, 64, 0);
    assert_eq!(hear(&fd), 1);
    link.read(&mut world.token, 0, STATUS, &mut [0; 4]).unwrap();
    world.disconnect();
}

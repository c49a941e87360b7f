//! A small device and the means to talk to it, for the tests of the wire.
//!
//! BAR0 has 8 KiB: the first half is trapped, the second is a page that clients may map. BAR2 has an MSI-X table and
//! pending bits. Two regions are the device's own: one with a page of data and a page of doorbells that clients may map, and
//! one that can only be read. The device does what a store to one of its registers asks for, at once and under the pass of the
//! store.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod socket;

use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use assign::{Assignment, EventSink, Limits, Port};
use gate::{Gate, Pass, Quiesced, ThreadToken};
use mapping::{Area, Holds, MappingLimits, Memory};
use parking_lot::Mutex;
use pci_core::{
    BarIndex, BarKind, ConfigSpace, Device, DeviceRegion, Express, Function, Identity, InterruptPin,
    Location, Mappable, Msi, Msix, Pm, ResetKind,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use vfio_user::codec::{Command, Header, HeaderFlags};
use vfio_user::server::{Session, SessionOptions, SessionReport};

/// Bytes of BAR0.
pub const BAR0_SIZE: u64 = 8192;
/// Where the page begins that may be mapped.
pub const MAPPED: u64 = 4096;
/// Vectors.
pub const MSI_VECTORS: u32 = 4;
pub const MSIX_VECTORS: u32 = 8;
/// Register: a store signals the vector stored.
pub const SIGNAL: u64 = 0x10;
/// Register, 8 bytes: an I/O address.
pub const DMA_ADDRESS: u64 = 0x18;
/// Register: a store copies 8 bytes from the I/O address to the next register.
pub const DMA_READ: u64 = 0x20;
/// Register, 8 bytes: what was read.
pub const DMA_DATA: u64 = 0x28;
/// Register: a store does not return while [`FakeDevice::hangs`].
pub const HANG: u64 = 0x30;
/// Region numbers.
pub const CONFIG: u32 = 7;
/// The device's own region that can be written: a page of registers, one of data, one of doorbells.
pub const OWN: u32 = 9;
pub const OWN_SIZE: u64 = 0x3000;
pub const OWN_DATA: u64 = 0x1000;
pub const OWN_DOORBELLS: u64 = 0x2000;
/// The device's own region that can only be read.
pub const FIXED: u32 = 10;
/// The type of both.
pub const KIND: u32 = 0x8000_1234;

const REGIONS: [DeviceRegion; 2] = [
    DeviceRegion { kind: KIND, subtype: 1, size: OWN_SIZE, writable: true },
    DeviceRegion { kind: KIND, subtype: 2, size: 16, writable: false },
];

pub struct FakeDevice {
    port: Arc<Port>,
    registers: Mutex<Vec<u8>>,
    page: Arc<Memory>,
    pub own: Arc<Memory>,
    pub resets: AtomicU32,
    /// A store to [`HANG`] takes as long as this is set.
    pub hangs: AtomicBool,
}

impl Device for FakeDevice {
    fn has_its_data_to_itself(&self) -> bool {
        true
    }

    fn read_bar(&self, _pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &mut [u8]) {
        let at = usize::try_from(offset).unwrap();
        if bar != BAR0 {
            data.fill(0);
        } else if offset >= MAPPED {
            self.page.read(offset, data);
        } else {
            data.copy_from_slice(&self.registers.lock()[at..at + data.len()]);
        }
    }

    fn write_bar(&self, pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &[u8]) {
        let at = usize::try_from(offset).unwrap();
        if bar != BAR0 {
            return;
        }
        if offset >= MAPPED {
            return self.page.write(offset, data);
        }
        self.registers.lock()[at..at + data.len()].copy_from_slice(data);
        match offset {
            HANG => {
                // A test that has failed does not keep its session for ever.
                let end = std::time::Instant::now() + Duration::from_secs(60);
                while self.hangs.load(Ordering::Acquire) && std::time::Instant::now() < end {
                    std::thread::yield_now();
                }
            }
            SIGNAL => self.port.interrupts().signal(pass, u16::from(data[0])),
            DMA_READ => {
                let mut bytes = [0; 8];
                let address = u64::from_le_bytes(self.register(DMA_ADDRESS));
                let outcome = self.port.dma().read(pass, address, &mut bytes);
                let result = if outcome.is_ok() { bytes } else { [0xee; 8] };
                let at = usize::try_from(DMA_DATA).unwrap();
                self.registers.lock()[at..at + 8].copy_from_slice(&result);
            }
            _ => {}
        }
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        self.registers.lock().fill(0);
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    fn mappable(&self, region: u32) -> Option<Mappable> {
        let area = |offset, holds| Area { offset, size: 0x1000, holds };
        let (memory, areas) = match region {
            0 => (&self.page, vec![area(MAPPED, Holds::Data)]),
            // Of the second only so that it can be refused.
            OWN | FIXED => {
                (&self.own, vec![area(OWN_DATA, Holds::Data), area(OWN_DOORBELLS, Holds::Doorbells)])
            }
            _ => return None,
        };
        Some(Mappable { memory: Arc::clone(memory), areas })
    }

    fn regions(&self) -> &[DeviceRegion] {
        &REGIONS
    }

    fn read_region(&self, _pass: &Pass<'_>, nth: usize, offset: u64, data: &mut [u8]) {
        if nth == 0 { self.own.read(offset, data) } else { data.fill(0x5a) }
    }

    fn write_region(&self, _pass: &Pass<'_>, _nth: usize, offset: u64, data: &[u8]) {
        self.own.write(offset, data);
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

const BAR0: BarIndex = BarIndex::new(0).unwrap();
const BAR2: BarIndex = BarIndex::new(2).unwrap();

impl FakeDevice {
    fn register(&self, offset: u64) -> [u8; 8] {
        let at = usize::try_from(offset).unwrap();
        self.registers.lock()[at..at + 8].try_into().unwrap()
    }

    /// Where the page begins that clients map, as the device sees it.
    pub fn page_dword(&self, offset: u64) -> u32 {
        self.page.dword(MAPPED + offset).unwrap().load(Ordering::Acquire)
    }
}

/// A device that can be served.
pub struct Fixture {
    pub device: Arc<FakeDevice>,
    pub gate: Gate,
    pub assignment: Arc<Assignment>,
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Fixture {
        Fixture::bounded(limits, MappingLimits::default())
    }

    pub fn bounded(limits: Limits, mapping: MappingLimits) -> Fixture {
        Fixture::told(limits, mapping, Arc::new(()))
    }

    /// Its events go to `events`.
    pub fn told(limits: Limits, mapping: MappingLimits, events: Arc<dyn EventSink>) -> Fixture {
        let class = pci_spec::ClassCode::new(0xff, 0, 0);
        let config = ConfigSpace::builder(Identity::new(0x1234, 0x11e8, class))
            .bar(BAR0, BarKind::Memory64, BAR0_SIZE)
            .bar(BAR2, BarKind::Memory64, 4096)
            .intx(InterruptPin::A)
            .capability(Pm::default())
            .capability(Msi::new(u16::try_from(MSI_VECTORS).unwrap()))
            .capability(Express::default())
            .capability(Msix {
                vectors: u16::try_from(MSIX_VECTORS).unwrap(),
                table: Location { bar: 2, offset: 0 },
                pba: Location { bar: 2, offset: 2048 },
            })
            .build()
            .unwrap();
        let config = Arc::new(config);
        let gate = Gate::new("fake");
        let port = Port::new(&gate, Arc::clone(&config), events);
        let device = Arc::new(FakeDevice {
            port: Arc::clone(&port),
            registers: Mutex::new(vec![0; 4096]),
            page: Memory::new("BAR 0", BAR0_SIZE),
            own: Memory::new("own region", OWN_SIZE),
            resets: AtomicU32::new(0),
            hangs: AtomicBool::new(false),
        });
        let shared: Arc<dyn Device> = Arc::clone(&device) as Arc<dyn Device>;
        let function = Function::new("fake", gate.clone(), config, shared).limited_by(mapping);
        let function = Arc::new(function);
        Fixture { device, gate, assignment: Assignment::new(function, port, limits) }
    }

    /// A session on a thread of its own, and the client's end of the stream.
    pub fn serve(&self) -> (UnixStream, Running) {
        self.serve_with(SessionOptions::default())
    }

    pub fn serve_with(&self, options: SessionOptions) -> (UnixStream, Running) {
        let (client, server) = UnixStream::pair().unwrap();
        (client, self.start(server, options))
    }

    /// A session on a stream that may hold bytes already.
    pub fn start(&self, server: UnixStream, options: SessionOptions) -> Running {
        let assignment = Arc::clone(&self.assignment);
        Running(std::thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            Session::run(server, &assignment, &options, &mut token)
        }))
    }
}

/// A session on its thread.
pub struct Running(JoinHandle<SessionReport>);

impl Running {
    /// What happened in it, when it has ended.
    pub fn report(self) -> SessionReport {
        self.0.join().unwrap()
    }
}

/// A client that sends what it likes, with nothing of this crate's connection in it.
pub struct Raw {
    pub stream: UnixStream,
}

/// A reply as it came.
#[derive(Debug)]
pub struct Reply {
    pub header: Header,
    pub payload: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

impl Reply {
    /// The errno of an error reply, 0 for success.
    pub fn errno(&self) -> i32 {
        self.header.failure().map_or(0, |errno| errno.raw_os_error())
    }
}

impl Raw {
    /// A stream that has been negotiated.
    pub fn negotiated(stream: UnixStream) -> Raw {
        let mut raw = Raw::new(stream);
        let reply = raw.call(Command::Version as u16, &version("{\"capabilities\":{\"max_msg_fds\":8}}"));
        assert_eq!(reply.errno(), 0);
        raw
    }

    pub fn new(stream: UnixStream) -> Raw {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Raw { stream }
    }

    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let sent = sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(sent, bytes.len());
    }

    pub fn receive(&mut self) -> Reply {
        let mut header = [0; 16];
        let mut fds = Vec::new();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let iov = &mut [IoSliceMut::new(&mut header)];
        let got = recvmsg(&self.stream, iov, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        self.stream.read_exact(&mut header[got..]).unwrap();
        let header = Header::parse(&header).unwrap();
        let mut payload = vec![0; header.size as usize - 16];
        self.stream.read_exact(&mut payload).unwrap();
        Reply { header, payload, fds }
    }

    /// Sends a command and takes its reply, whose id must be the command's.
    pub fn call(&mut self, command: u16, payload: &[u8]) -> Reply {
        self.call_with(command, payload, &[])
    }

    pub fn call_with(&mut self, command: u16, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Reply {
        let id = command.wrapping_mul(77);
        self.send(&message(id, command, payload), fds);
        let reply = self.receive();
        assert_eq!((reply.header.message_id, reply.header.command), (id, command));
        assert_eq!(reply.header.flags & 0xf, 1);
        reply
    }

    /// The stream is in step and the function is there.
    pub fn assert_alive(&mut self) {
        let reply = self.call(Command::RegionRead as u16, &access(CONFIG, 0, 4, &[]));
        assert_eq!(reply.errno(), 0);
        assert_eq!(reply.payload[16..], [0x34, 0x12, 0xe8, 0x11]);
    }

    /// The server has closed the stream; what it sent before is given.
    pub fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        rest
    }
}

/// A command as bytes.
pub fn message(id: u16, command: u16, payload: &[u8]) -> Vec<u8> {
    with_flags(id, command, HeaderFlags::empty().bits(), payload)
}

pub fn posted(id: u16, command: u16, payload: &[u8]) -> Vec<u8> {
    with_flags(id, command, HeaderFlags::NO_REPLY.bits(), payload)
}

pub fn with_flags(id: u16, command: u16, flags: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len() + 16).unwrap();
    let mut bytes = Vec::new();
    bytes.extend(id.to_ne_bytes());
    bytes.extend(command.to_ne_bytes());
    for word in [size, flags, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(payload);
    bytes
}

/// Payload of `VERSION` 0.1 with this text.
pub fn version(text: &str) -> Vec<u8> {
    [&[0, 0, 1, 0], text.as_bytes(), &[0]].concat()
}

/// Words of 32 bits as bytes.
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Payload of `REGION_READ` and `REGION_WRITE`.
pub fn access(region: u32, offset: u64, count: u32, data: &[u8]) -> Vec<u8> {
    [&offset.to_ne_bytes()[..], &words(&[region, count]), data].concat()
}

pub fn write_payload(region: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    access(region, offset, u32::try_from(data.len()).unwrap(), data)
}

/// Payload of `DMA_MAP` for reading and writing.
pub fn map_payload(iova: u64, size: u64) -> Vec<u8> {
    let mut payload = words(&[32, 3]);
    for number in [0, iova, size] {
        payload.extend(number.to_ne_bytes());
    }
    payload
}

/// Payload of `DMA_UNMAP`.
pub fn unmap_payload(flags: u32, iova: u64, size: u64) -> Vec<u8> {
    [words(&[24, flags]), iova.to_ne_bytes().to_vec(), size.to_ne_bytes().to_vec()].concat()
}

pub fn new_eventfd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// Takes what an eventfd has counted; 0 when it was not signalled.
pub fn signals(eventfd: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    rustix::io::read(eventfd, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
}

/// Descriptors of this process.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Mapped memfds of this process.
pub fn mapped_memfds() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .filter(|line| line.contains("/memfd:"))
        .count()
}

/// Eventfds of this process.
pub fn open_eventfds() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.as_os_str() == "anon_inode:[eventfd]").count()
}

/// Waits for what is bound to happen.
#[track_caller]
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

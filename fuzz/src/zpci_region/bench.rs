//! A function with its region, a client on a socket, and who makes requests beside it.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assign::{Assignment, Limits, Port};
use gate::{Gate, Pass, Quiesced, ThreadToken};
use pci_core::{BarIndex, BarKind, BlockRefused, ConfigSpace, Device, Function, Identity, ResetKind};
use vfio_user::client::{Client, ClientError, ClientOptions, SharedMemory};
use vfio_user::codec::DmaMap;
use vfio_user::server::{Session, SessionOptions};
use zpci::region::IoRegion;
use zpci::{Description, Fid, Settings, Uid, View, Zdev, Zpci};

use crate::model::{self, Access, Expected};

/// The region: the device has none of its own.
const REGION: u32 = 9;

/// What each connection was answered: the header's bytes, or an error number.
type Answers = Vec<Result<Vec<u8>, i32>>;

/// Tells a register by its offset, and keeps the blocks.
#[derive(Default)]
struct Probe(Mutex<Vec<(u64, Vec<u8>)>>);

impl Device for Probe {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            *byte = model::register(at);
        }
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, _data: &[u8]) {
        panic!("a plain store at {offset:#x}");
    }

    fn store_block(
        &self,
        _pass: &Pass<'_>,
        _bar: BarIndex,
        offset: u64,
        data: &[u8],
    ) -> Result<(), BlockRefused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((offset, data.to_vec()));
        Ok(())
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// What is made once for all inputs.
pub struct Bench {
    token: ThreadToken,
    client: Client,
    assignment: Arc<Assignment>,
    probe: Arc<Probe>,
    memory: SharedMemory,
    answers: Answers,
    /// Configuration space, which nobody changes.
    config: Vec<u8>,
    _machine: (Arc<Zpci>, Arc<Zdev>),
}

impl Bench {
    pub fn new() -> Bench {
        let mut token = ThreadToken::at_thread_entry();
        let machine = Zpci::new(Settings::default());
        let zdev = machine.add(Fid(1), Uid(1), Description::default()).expect("an empty machine");
        let probe = Arc::new(Probe::default());
        let assignment = function(&probe);
        let view = View::new(&zdev, &assignment, model::MAX_STORE);
        assignment.add_region(IoRegion::new(Arc::clone(&view))).expect("nobody has it");
        zdev.card(true);
        zdev.bring_in(&mut token, view);
        let memory = SharedMemory::new(model::MEMORY).expect("16 KiB");
        let mut client = connect(&mut token, &assignment);
        for (flags, page) in [(1, model::SOURCE), (2, model::TARGET)] {
            let map = DmaMap { argsz: 32, flags, offset: page, address: page, size: model::PAGE };
            client.dma_map_raw(&mut token, map, Some(memory.as_fd())).expect("a mapping");
        }
        let mut config = vec![0; 4096];
        client.region_read(&mut token, 7, 0, &mut config).expect("configuration space");
        let (answers, _machine) = (Vec::new(), (machine, zdev));
        Bench { token, client, assignment, probe, memory, answers, config, _machine }
    }

    /// Has both connections make their accesses at the same time.
    pub fn make(&mut self, accesses: &[Vec<Access>; 2]) {
        let contents: Vec<u8> = (0..model::MEMORY as u64).map(model::content).collect();
        self.memory.write(0, &contents).expect("inside");
        self.probe.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let Bench { token, client, assignment, .. } = self;
        let [first, second] = accesses;
        self.answers = std::thread::scope(|scope| {
            let beside = scope.spawn(|| {
                let mut token = ThreadToken::at_thread_entry();
                second.iter().map(|access| directly(&mut token, assignment, access)).collect::<Answers>()
            });
            let answers: Answers = first.iter().map(|access| remotely(token, client, access)).collect();
            [answers, beside.join().expect("no panic")].concat()
        });
    }

    /// Compares with what the model says of each.
    pub fn check(&self, accesses: &[Vec<Access>; 2]) {
        let expected: Vec<_> =
            accesses.iter().flatten().map(|access| access.expected(&self.config)).collect();
        assert_eq!(self.answers.len(), expected.len());
        for (answer, expected) in self.answers.iter().zip(&expected) {
            match expected {
                Expected::Refused(errno) => assert_eq!(answer.as_ref(), Err(errno)),
                Expected::Header(bytes) => assert_eq!(answer.as_ref(), Ok(bytes)),
                Expected::Load { .. } | Expected::Block { .. } => {
                    assert!(answer.is_ok(), "{answer:?} instead of {expected:?}");
                }
            }
        }
        self.check_blocks(&expected);
        self.check_memory(&expected);
    }

    /// The device has had the blocks that were asked for, and no others.
    fn check_blocks(&self, expected: &[Expected]) {
        let mut reached = self.probe.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut wanted: Vec<(u64, Vec<u8>)> = expected.iter().filter_map(Expected::block).collect();
        reached.sort();
        wanted.sort();
        assert_eq!(reached, wanted);
    }

    /// Each byte of the client's memory is what some load brought, or what it was if there was none.
    fn check_memory(&self, expected: &[Expected]) {
        let mut memory = vec![0; model::MEMORY];
        self.memory.read(0, &mut memory).expect("inside");
        let loads: Vec<(u64, &[u8])> = expected.iter().filter_map(Expected::load).collect();
        for (address, byte) in (0_u64..).zip(memory) {
            let brought = |(start, data): &(u64, &[u8])| {
                let at = usize::try_from(address.checked_sub(*start)?).ok()?;
                data.get(at).copied()
            };
            let mut candidates = loads.iter().filter_map(brought).peekable();
            if candidates.peek().is_none() {
                assert_eq!(byte, model::content(address), "nothing was loaded to {address:#x}");
            } else {
                assert!(candidates.any(|candidate| candidate == byte), "{byte:#x} at {address:#x}");
            }
        }
    }
}

impl Expected {
    fn block(&self) -> Option<(u64, Vec<u8>)> {
        if let Expected::Block { offset, data } = self { Some((*offset, data.clone())) } else { None }
    }

    fn load(&self) -> Option<(u64, &[u8])> {
        if let Expected::Load { address, data } = self { Some((*address, data)) } else { None }
    }
}

fn function(probe: &Arc<Probe>) -> Arc<Assignment> {
    let gate = Gate::new("fuzz");
    let bar = BarIndex::new(0).expect("BAR 0");
    let identity = Identity::new(0x1234, 1, pci_spec::ClassCode::new(0xff, 0, 0));
    let config =
        ConfigSpace::builder(identity).bar(bar, BarKind::Memory64, model::BAR).build().expect("a layout");
    let config = Arc::new(config);
    let port = Port::new(&gate, Arc::clone(&config), Arc::new(()));
    let function = Function::new("fuzz", gate, config, Arc::clone(probe) as Arc<dyn Device>);
    Assignment::new(Arc::new(function), port, Limits::default())
}

/// A session on a thread that lives as long as the process, and its client.
fn connect(token: &mut ThreadToken, assignment: &Arc<Assignment>) -> Client {
    let (near, far) = UnixStream::pair().expect("a socket");
    let assignment = Arc::clone(assignment);
    std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        Session::run(far, &assignment, &SessionOptions::default(), &mut token)
    });
    let options = ClientOptions { timeout: Duration::from_secs(9) };
    Client::from_stream(token, near, options).expect("a session")
}

fn remotely(token: &mut ThreadToken, client: &mut Client, access: &Access) -> Result<Vec<u8>, i32> {
    let answer = match access {
        Access::Read { offset, length } => {
            let mut data = vec![0; *length];
            client.region_read(token, REGION, *offset, &mut data).map(|()| data)
        }
        Access::Write { offset, data } => {
            client.region_write(token, REGION, *offset, data).map(|()| Vec::new())
        }
    };
    answer.map_err(|error| match error {
        ClientError::Refused { errno, .. } => errno.raw_os_error(),
        other => panic!("{other}"),
    })
}

fn directly(token: &mut ThreadToken, assignment: &Assignment, access: &Access) -> Result<Vec<u8>, i32> {
    let answer = match access {
        Access::Read { offset, length } => {
            let mut data = vec![0; *length];
            assignment.region_read(token, REGION, *offset, &mut data).map(|()| data)
        }
        Access::Write { offset, data } => {
            assignment.region_write(token, REGION, *offset, data).map(|()| Vec::new())
        }
    };
    answer.map_err(|error| error.errno.raw())
}

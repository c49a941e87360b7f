//! The same over a real link: an endpoint-test function behind a server of ours, seen through another function.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]
#![allow(clippy::disallowed_types, reason = "tests wait as they like")]

use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use assign::Assignment;
use gate::{Deadline, Gate, ThreadToken};
use models::endpoint;
use pci_core::{
    AccessError, BarIndex, Command, ConfigSpace, ErrorSign, FIRST_DEVICE_REGION, NoAnswer, ResetKind,
    Sentinel,
};
use remote::forward::{self, Forward, ForwardConfig};
use remote::link::{Commands, Link, LinkOptions, LinkWatch, Loss};
use remote::picture::Picture;
use rustix::io::Errno;
use vfio_user::server::{Server, ServerOptions, Stop};

const COMMAND: u16 = 0x04;
const SIZE: u64 = 0x1c;

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "never happened: {what}");
        std::thread::yield_now();
    }
}

fn bar(index: u8) -> BarIndex {
    BarIndex::new(index).unwrap()
}

/// A server of ours in this process.
struct BackEnd {
    function: Arc<Assignment>,
    path: PathBuf,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl BackEnd {
    fn serve(config: &endpoint::Config) -> BackEnd {
        let function = endpoint::build("back-end", config, Arc::new(())).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let server = Server::bind(directory.path(), Arc::clone(&function), ServerOptions::default()).unwrap();
        let (path, stop) = (server.path().to_path_buf(), Stop::new().unwrap());
        let switch = stop.clone();
        let run = move || server.run(&mut ThreadToken::at_thread_entry(), &switch).unwrap();
        let thread = Some(std::thread::spawn(run));
        BackEnd { function, path, stop, thread, _directory: directory }
    }

    fn config(&self) -> &ConfigSpace {
        self.function.function().config()
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

/// No memory, and remembers what was lost.
#[derive(Default)]
struct Owner(Mutex<Vec<Loss>>);

impl Commands for Owner {
    fn dma_read(&self, _token: &mut ThreadToken, _address: u64, _data: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::FAULT)
    }

    fn dma_write(&self, _token: &mut ThreadToken, _address: u64, _data: &[u8]) -> Result<(), Errno> {
        Err(Errno::FAULT)
    }
}

impl LinkWatch for Owner {
    fn lost(&self, loss: Loss) {
        self.0.lock().unwrap().push(loss);
    }
}

struct Signs(mpsc::Sender<ErrorSign>);

impl Sentinel for Signs {
    fn noticed(&self, _token: &ThreadToken, sign: ErrorSign) {
        let _ = self.0.send(sign);
    }
}

/// A function in front of a back end.
struct Front {
    assignment: Arc<Assignment>,
    forward: Arc<Forward>,
    picture: Picture,
    owner: Arc<Owner>,
    signs: mpsc::Receiver<ErrorSign>,
}

fn connect(token: &mut ThreadToken, back_end: &BackEnd, owner: &Arc<Owner>) -> Arc<Link> {
    let options = LinkOptions::default();
    Link::connect(token, &back_end.path, options, owner.clone(), owner.clone()).unwrap()
}

impl Front {
    fn of(token: &mut ThreadToken, back_end: &BackEnd, config: ForwardConfig) -> Front {
        let owner = Arc::new(Owner::default());
        let link = connect(token, back_end, &owner);
        let picture = Picture::take(token, &*link, patient()).unwrap();
        let built = forward::build(Gate::new("front"), &config, &picture, Arc::new(()), |function| function);
        let (assignment, forward) = built.unwrap();
        let (told, signs) = mpsc::channel();
        assert!(assignment.function().watch_errors(Arc::new(Signs(told))));
        forward.attach(link, &picture);
        Front { assignment, forward, picture, owner, signs }
    }

    fn read(&self, token: &mut ThreadToken, index: u8, offset: u64) -> Result<[u8; 4], AccessError> {
        let mut data = [0; 4];
        self.assignment.function().read_bar(token, bar(index), offset, &mut data, patient())?;
        Ok(data)
    }

    fn write(&self, token: &mut ThreadToken, index: u8, offset: u64, data: &[u8]) {
        self.assignment.function().write_bar(token, bar(index), offset, data, patient()).unwrap();
    }

    fn write_config(&self, token: &mut ThreadToken, offset: u16, data: &[u8]) {
        self.assignment.function().write_config(token, offset, data, patient()).unwrap();
    }
}

fn config() -> endpoint::Config {
    endpoint::Config { rom: Some(vec![0x55, 0xaa, 7].into()), ..endpoint::Config::default() }
}

#[test]
fn a_function_in_front_of_our_own_server_is_the_function_behind_it() {
    let token = &mut ThreadToken::at_thread_entry();
    let back_end = BackEnd::serve(&config());
    let front = Front::of(token, &back_end, ForwardConfig::default());
    let header = |space: &ConfigSpace| {
        let mut bytes = [0; 0x40];
        space.read(0, &mut bytes);
        // COMMAND and STATUS, which are each one's own.
        bytes[4..8].fill(0);
        bytes
    };
    assert_eq!(header(front.assignment.function().config()), header(back_end.config()));
    let layout = |space: &ConfigSpace| (space.interrupt_layout(), space.bars().to_vec());
    assert_eq!(layout(front.assignment.function().config()), layout(back_end.config()));

    front.write_config(token, COMMAND, &[6]);
    front.write(token, 0, SIZE, &[1, 2, 3, 4]);
    assert_eq!(front.read(token, 0, SIZE).unwrap(), [1, 2, 3, 4]);
    // All the way: into the memory of the model behind the server.
    front.write(token, 2, 0x800, &[9; 8]);
    assert_eq!(front.read(token, 2, 0x804).unwrap(), [9; 4]);
    let mut there = [0; 8];
    let f = back_end.function.function();
    f.read_bar(token, bar(2), 0x800, &mut there, patient()).unwrap();
    assert_eq!(there, [9; 8]);
    assert!(back_end.config().command().contains(Command::BUS_MASTER | Command::MEMORY_SPACE));

    front.write_config(token, 0x30, &[1]);
    let mut rom = [0; 4];
    let f = front.assignment.function();
    f.read_bar(token, BarIndex::ROM, 0, &mut rom, patient()).unwrap();
    assert_eq!(rom, [0x55, 0xaa, 7, 0xff]);
    let mut own = [0; 4];
    f.read_region(token, FIRST_DEVICE_REGION, 0, &mut own, patient()).unwrap();
    assert_eq!(front.signs.try_iter().count(), 0);
}

#[test]
fn a_reset_of_the_front_resets_the_back_end_and_the_bits_it_looks_at_follow() {
    let token = &mut ThreadToken::at_thread_entry();
    let back_end = BackEnd::serve(&config());
    let front = Front::of(token, &back_end, ForwardConfig::default());
    front.write_config(token, COMMAND, &[6]);
    front.write(token, 0, SIZE, &[1, 2, 3, 4]);
    front.assignment.function().reset(token, ResetKind::DeviceReset, patient()).unwrap();
    wait_until("COMMAND off at the back end", || !back_end.config().command().contains(Command::BUS_MASTER));
    front.write_config(token, COMMAND, &[6]);
    assert_eq!(front.read(token, 0, SIZE).unwrap(), [0; 4], "the register was reset");
    let layout = front.assignment.function().config().interrupt_layout();
    assert!(layout.msi_vectors > 0 || layout.msix.is_some());
    let at = front.picture.capability(0x11).map_or_else(|| front.picture.capability(0x05), Some).unwrap();
    let on = |space: &ConfigSpace| space.msix().enabled || space.msi().enabled;
    let (register, bit) = if front.picture.capability(0x11).is_some() { (at + 3, 0x80) } else { (at + 2, 1) };
    front.write_config(token, register, &[bit]);
    wait_until("message signalled interrupts on at the back end", || on(back_end.config()));
}

#[test]
fn the_end_of_the_back_end_is_told_once_and_no_error_sign_and_the_next_one_takes_over() {
    let token = &mut ThreadToken::at_thread_entry();
    let back_end = BackEnd::serve(&config());
    let front = Front::of(token, &back_end, ForwardConfig::default());
    front.write_config(token, COMMAND, &[6]);
    front.write(token, 0, SIZE, &[1, 2, 3, 4]);
    drop(back_end);
    let failed = wait_for_failure(token, &front);
    assert!(matches!(failed, AccessError::NoAnswer(NoAnswer::Away(_))), "{failed}");
    assert_eq!(front.signs.try_iter().count(), 0, "whoever has the link tells of it");
    wait_until("the loss was told", || front.owner.0.lock().unwrap().as_slice() == [Loss::Closed]);
    front.forward.detach();

    let next = BackEnd::serve(&config());
    let link = connect(token, &next, &front.owner);
    let now = Picture::take(token, &*link, patient()).unwrap();
    assert_eq!(front.picture.compare(&now), []);
    assert_eq!(front.forward.in_use(), []);
    front.forward.attach(link, &now);
    assert_eq!(front.read(token, 0, SIZE).unwrap(), [0; 4]);
    assert!(next.config().command().contains(Command::BUS_MASTER | Command::MEMORY_SPACE));
    // Another one would not do.
    let other = BackEnd::serve(&endpoint::Config { memory: 4 << 10, ..config() });
    let link = connect(token, &other, &front.owner);
    let now = Picture::take(token, &*link, patient()).unwrap();
    let differences: Vec<_> = front.picture.compare(&now).iter().map(ToString::to_string).collect();
    assert_eq!(differences, ["BAR 2 has 4 KiB, was 64 KiB"]);
}

/// Posted writes find out later.
fn wait_for_failure(token: &mut ThreadToken, front: &Front) -> AccessError {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        if let Err(error) = front.read(token, 0, SIZE) {
            return error;
        }
        assert!(Instant::now() < limit, "the back end never went away");
    }
}

#[test]
fn memory_of_our_own_server_is_passed_on_in_passthrough() {
    let token = &mut ThreadToken::at_thread_entry();
    let back_end = BackEnd::serve(&config());
    let config = ForwardConfig { pass_on_memory: true, accept_unsealed: false };
    let front = Front::of(token, &back_end, config);
    assert_eq!(front.forward.left_out(), [] as [String; 0]);
    let mappable = front.assignment.function().device().mappable(2).expect("the memory BAR");
    assert_eq!(mappable.memory.size(), 64 << 10);
    front.write_config(token, COMMAND, &[6]);
    front.write(token, 2, 0x10, &[7; 4]);
    assert_eq!(front.read(token, 2, 0x10).unwrap(), [7; 4]);
    let mut there = [0; 4];
    rustix::io::pread(&*mappable.memory.file(0x10).unwrap(), &mut there, 0x10).unwrap();
    assert_eq!(there, [7; 4]);
}

//! A back end, what is before it, and what was told of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gate::{Deadline, Gate, ThreadToken};
use models::nvme::host::{Driver, Io, Options, pattern};
use nvme_spec::Status;
use parking_lot::{Condvar, Mutex};
use remote::config::{BackOff, RemoteConfig, RestartCommand};
use remote::{Remote, Told, Watch};
use rustix::process::{Pid, Signal, kill_process};
use vfio_user::client::{Client, ClientOptions};
use vfio_user::server::{Server, ServerOptions, Stop};

pub(crate) const LONG: Duration = Duration::from_secs(60);
const DISK: u64 = 16 << 20;
const SERIAL: &str = "serial-1";

/// Where everything of a test lies.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    pub(crate) fn upstream(&self) -> PathBuf {
        self.0.path().join("backend.sock")
    }

    fn image(&self) -> PathBuf {
        self.0.path().join("disk.img")
    }

    /// The command that serves the disk.
    pub(crate) fn command(&self) -> RestartCommand {
        self.command_for(SERIAL, DISK)
    }

    /// The same by a server that is otherwise: `unfenced` (it cannot tell whether the I/O of the last one is over), `msix`.
    pub(crate) fn command_with(&self, word: &str) -> RestartCommand {
        let mut command = self.command();
        command.arguments.push(word.into());
        command
    }

    /// The same for another disk.
    pub(crate) fn command_for(&self, serial: &str, bytes: u64) -> RestartCommand {
        let image = if bytes == DISK { self.image() } else { self.0.path().join("other.img") };
        let bytes = bytes.to_string();
        let arguments = vec![self.upstream().into(), image.into(), bytes.into(), serial.into()];
        RestartCommand { program: program().into(), arguments }
    }

    /// A configuration that comes back fast and knows no command.
    pub(crate) fn config(&self) -> RemoteConfig {
        let back_off = BackOff { longest: Duration::from_millis(100), ..BackOff::default() };
        RemoteConfig { back_off, connect_timeout: LONG, ..RemoteConfig::new(self.upstream()) }
    }

    /// Starts a back end.
    pub(crate) fn serve(&self) -> BackEnd {
        BackEnd::start(&self.command())
    }
}

/// Cargo builds a package's examples beside its tests.
fn program() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let program = exe.parent().and_then(Path::parent).unwrap().join("examples/backend");
    assert!(program.exists(), "build it: cargo build -p remote --example backend");
    program
}

/// A back end's process; it is killed with its owner.
pub(crate) struct BackEnd(Child);

impl BackEnd {
    pub(crate) fn start(command: &RestartCommand) -> BackEnd {
        BackEnd(Command::new(&command.program).args(&command.arguments).stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops it. The signal alone is not enough: a thread that runs goes on until it notices.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.0.id());
        let stopped = |entry: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(entry.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('T'))
        };
        until("its stop", || std::fs::read_dir(&tasks).unwrap().all(stopped));
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keeps what was told.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    told: Mutex<Vec<Told>>,
    more: Condvar,
}

impl Watch for Ear {
    fn tell(&self, _token: &mut ThreadToken, told: Told) {
        self.told.lock().push(told);
        self.more.notify_all();
    }
}

impl Ear {
    /// Waits until something like this was told for the `nth` time, and gives it.
    pub(crate) fn hear(&self, nth: usize, what: impl Fn(&Told) -> bool) -> Told {
        let end = Instant::now() + LONG;
        let mut told = self.told.lock();
        loop {
            if let Some(found) = told.iter().filter(|told| what(told)).nth(nth) {
                return found.clone();
            }
            assert!(!self.more.wait_until(&mut told, end).timed_out(), "not told; but {told:?}");
        }
    }

    pub(crate) fn has_heard(&self, what: impl Fn(&Told) -> bool) -> bool {
        self.told.lock().iter().any(what)
    }
}

pub(crate) fn is_lost(told: &Told) -> bool {
    matches!(told, Told::Lost { .. })
}

pub(crate) fn is_returned(told: &Told) -> bool {
    matches!(told, Told::Returned { .. })
}

pub(crate) fn is_failed(told: &Told) -> bool {
    matches!(told, Told::Failed { .. })
}

/// A function before a back end, on a socket.
pub(crate) struct Function {
    pub(crate) remote: Arc<Remote>,
    pub(crate) ear: Arc<Ear>,
    path: PathBuf,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Function {
    pub(crate) fn open(token: &mut ThreadToken, place: &Place, config: &RemoteConfig) -> Function {
        let ear = Arc::new(Ear::default());
        let watch = Arc::clone(&ear) as Arc<dyn Watch>;
        let gate = Gate::new("disk0");
        let (assignment, remote) =
            Remote::open(token, config, gate, Arc::new(()), watch, |function| function).unwrap();
        let path = place.0.path().join("front.sock");
        let server = Server::bind(&path, assignment, ServerOptions::default()).unwrap();
        let stop = Stop::new().unwrap();
        let switch = stop.clone();
        let thread = std::thread::spawn(move || {
            server.run(&mut ThreadToken::at_thread_entry(), &switch).unwrap();
        });
        Function { remote, ear, path, stop, thread: Some(thread) }
    }

    pub(crate) fn client(&self, token: &mut ThreadToken) -> Client {
        Client::connect(token, &self.path, ClientOptions { timeout: LONG }).unwrap()
    }

    /// The guest's driver.
    pub(crate) fn driver(&self, token: &mut ThreadToken) -> Driver {
        let client = self.client(token);
        let options = Options { depth: 16, max_transfer: 16 << 10, timeout: LONG, ..Options::default() };
        Driver::start(token, client, &options).unwrap()
    }

    /// Stops serving it and lets the back end go.
    pub(crate) fn close(mut self, token: &mut ThreadToken) {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap();
        assert!(self.remote.close(token, Deadline::after(LONG)), "its thread has ended");
    }
}

/// Waits for a condition that must come.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "{what} did not come");
        std::thread::yield_now();
    }
}

/// Kills the back end that a function has now.
pub(crate) fn kill_present(function: &Function) {
    let pid = function.remote.status().pid.and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Blocks of the pattern in one transfer, and how much of the disk a round uses.
const BLOCKS: u32 = 32;
pub(crate) const DEPTH: u16 = 16;

/// One round of a guest: writes with all slots, and reads all of it back. `meanwhile` happens when everything is on its way, once for
/// the writes and once for the reads.
pub(crate) fn round(
    token: &mut ThreadToken,
    driver: &mut Driver,
    round: u64,
    mut meanwhile: impl FnMut(&str),
) {
    let block = driver.identity().block_size;
    let mut data = vec![0; block * BLOCKS as usize];
    let lba = |slot: u16| u64::from(slot) * u64::from(BLOCKS);
    for slot in 0..DEPTH {
        pattern::fill(&mut data, block, lba(slot), round);
        driver.fill(0, slot, &data).unwrap();
        let io = Io::Write { lba: lba(slot), blocks: BLOCKS, fua: false };
        driver.submit(0, slot, io).unwrap();
    }
    driver.ring(token, 0).unwrap();
    meanwhile("writes");
    finish(token, driver);
    for slot in 0..DEPTH {
        driver.fill(0, slot, &vec![0xa5; data.len()]).unwrap();
        driver.submit(0, slot, Io::Read { lba: lba(slot), blocks: BLOCKS }).unwrap();
    }
    driver.ring(token, 0).unwrap();
    meanwhile("reads");
    finish(token, driver);
    for slot in 0..DEPTH {
        driver.take(0, slot, &mut data).unwrap();
        pattern::check(&data, block, lba(slot), round).unwrap();
    }
}

/// Waits for all slots; none may have failed.
fn finish(token: &mut ThreadToken, driver: &mut Driver) {
    for (slot, status) in outcomes(token, driver) {
        assert!(status.is_success(), "slot {slot}: {status}");
    }
}

/// Waits for all slots; how each has ended.
pub(crate) fn outcomes(token: &mut ThreadToken, driver: &mut Driver) -> Vec<(u16, Status)> {
    let began = Instant::now();
    let mut done = Vec::new();
    while done.len() < usize::from(DEPTH) {
        driver.poll(token, 0, |completed| done.push((completed.slot, completed.status))).unwrap();
        assert!(began.elapsed() < LONG, "only {} commands came back", done.len());
        std::thread::yield_now();
    }
    done
}

/// Submits the same to all slots.
pub(crate) fn submit_all(token: &mut ThreadToken, driver: &mut Driver, io: impl Fn(u64) -> Io) {
    for slot in 0..DEPTH {
        driver.submit(0, slot, io(u64::from(slot))).unwrap();
    }
    driver.ring(token, 0).unwrap();
}

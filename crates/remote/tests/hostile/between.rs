//! Who stands between the function and an honest back end: passes their messages on, and lies when it is told to.

use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{Mode, OFlags, open};
use vfio_user::codec::{Command, MessageType};

use crate::message::Message;
use crate::rig::{Conversation, LONG};

/// What becomes of the connection after a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The back end's messages are passed on again.
    GoesOn,
    /// Nothing more is said.
    IsSilent,
    /// It is closed.
    Leaves,
}

/// Does something else than passing on this message of the back end's.
pub(crate) type Act = fn(&Line, Message) -> Then;

/// A lie about some of the back end's messages.
#[derive(Clone, Copy)]
pub(crate) struct Lie {
    pub(crate) name: &'static str,
    /// Which messages it is about.
    pub(crate) about: fn(&Message) -> bool,
    pub(crate) act: Act,
    /// So many such messages are passed on first.
    pub(crate) after: usize,
    /// It is told so often, and everything is honest again.
    pub(crate) times: usize,
}

/// One connection of the function's.
pub(crate) struct Line {
    client: UnixStream,
    conversation: Mutex<Conversation>,
    silent: AtomicBool,
    /// The answers to commands that the liar has made up; nothing when the function has left.
    answers: Mutex<(Vec<Message>, bool)>,
    answered: Condvar,
    shared: Arc<Shared>,
}

impl Line {
    /// Sends bytes as they are. False: the function has left.
    pub(crate) fn send(&self, bytes: &[u8]) -> bool {
        self.conversation.lock().send(bytes)
    }

    pub(crate) fn send_with(&self, bytes: &[u8], fds: &[OwnedFd]) -> bool {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        self.conversation.lock().send_with(bytes, &fds)
    }

    pub(crate) fn pass_on(&self, message: &Message) -> bool {
        self.send_with(&message.bytes, &message.fds)
    }

    /// Asks the function for something, and waits for its answer; nothing when it leaves instead.
    pub(crate) fn ask(&self, command: Command, payload: &[u8]) -> Option<Message> {
        let bytes = self.conversation.lock().command(command, payload);
        if !self.send(&bytes) {
            return None;
        }
        let mut answers = self.answers.lock();
        loop {
            if let Some(answer) = answers.0.pop() {
                return Some(answer);
            }
            if answers.1 || self.answered.wait_for(&mut answers, LONG).timed_out() {
                return None;
            }
        }
    }

    /// Waits until the function has left.
    pub(crate) fn wait_for_the_end(&self) {
        let mut answers = self.answers.lock();
        while !answers.1 {
            let late = self.answered.wait_for(&mut answers, LONG).timed_out();
            if late {
                self.complain("the function does not leave");
                return;
            }
        }
    }

    /// The function did what it must not.
    pub(crate) fn complain(&self, what: impl Into<String>) {
        self.shared.state.lock().complaints.push(what.into());
    }

    /// The files that were given for the back end's memory accesses, with where they begin and how long they are.
    pub(crate) fn maps(&self) -> Vec<(u64, u64, OwnedFd)> {
        let state = self.shared.state.lock();
        state.maps.iter().map(|(iova, size, file)| (*iova, *size, file.try_clone().unwrap())).collect()
    }

    /// The events that were given for its interrupts.
    pub(crate) fn events(&self) -> Vec<OwnedFd> {
        self.shared.state.lock().events.iter().map(|event| event.try_clone().unwrap()).collect()
    }

    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
    }
}

/// See the module's head.
pub(crate) struct Between {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    back_end: PathBuf,
    lie: Option<Lie>,
    passed: usize,
    told: usize,
    present: Option<Arc<Line>>,
    connections: usize,
    complaints: Vec<String>,
    maps: Vec<(u64, u64, OwnedFd)>,
    events: Vec<OwnedFd>,
    stop: bool,
}

impl Shared {
    /// What to do with a message instead of passing it on.
    fn lie_about(&self, message: &Message) -> Option<Act> {
        let mut state = self.state.lock();
        let lie = state.lie.filter(|lie| (lie.about)(message))?;
        if state.passed < lie.after {
            state.passed += 1;
            return None;
        }
        if state.told >= lie.times {
            return None;
        }
        Some(lie.act)
    }

    fn told(&self) {
        self.state.lock().told += 1;
        self.changed.notify_all();
    }

    /// Keeps what a back end is given, for lies about it.
    fn keep(&self, message: &Message) {
        let copies = message.fds.iter().map(|fd| fd.try_clone().unwrap());
        let mut state = self.state.lock();
        match message.command() {
            Some(Command::DmaMap) => {
                let (iova, size) = (message.qword(16), message.qword(24));
                state.maps.retain(|(known, _, _)| *known != iova);
                state.maps.extend(copies.map(|file| (iova, size, file)));
            }
            Some(Command::DeviceSetIrqs) => {
                state.events.truncate(8);
                state.events.extend(copies);
            }
            _ => {}
        }
    }
}

impl Between {
    pub(crate) fn start(back_end: &Path) -> Between {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("between.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let state = State {
            back_end: back_end.to_path_buf(),
            lie: None,
            passed: 0,
            told: 0,
            present: None,
            connections: 0,
            complaints: Vec::new(),
            maps: Vec::new(),
            events: Vec::new(),
            stop: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let kept = Arc::clone(&shared);
        let run = move || accept(&listener, &kept);
        let thread = std::thread::Builder::new().name("between".into()).spawn(run).unwrap();
        Between { path, shared, thread: Some(thread), _directory: directory }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on it lies so.
    pub(crate) fn arm(&self, lie: Lie) {
        let mut state = self.shared.state.lock();
        (state.lie, state.passed, state.told) = (Some(lie), 0, 0);
    }

    /// It is honest again.
    pub(crate) fn disarm(&self) {
        self.shared.state.lock().lie = None;
    }

    /// How often it has lied.
    pub(crate) fn told(&self) -> usize {
        self.shared.state.lock().told
    }

    /// Whoever connects next meets another back end.
    pub(crate) fn replace(&self, back_end: &Path) {
        self.shared.state.lock().back_end = back_end.to_path_buf();
    }

    /// Closes the present connection.
    pub(crate) fn cut(&self) {
        let present = self.present();
        if let Some(line) = present {
            line.close();
        }
    }

    /// The present connection.
    pub(crate) fn present(&self) -> Option<Arc<Line>> {
        self.shared.state.lock().present.clone()
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.shared.state.lock().complaints.clone()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.cut();
        let _ = UnixStream::connect(&self.path);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the liar failed");
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    loop {
        let (client, _) = listener.accept().unwrap();
        let mut state = shared.state.lock();
        if state.stop {
            return;
        }
        let Ok(back_end) = UnixStream::connect(&state.back_end) else { continue };
        state.maps.clear();
        state.events.clear();
        state.connections += 1;
        let line = Arc::new(Line {
            conversation: Mutex::new(Conversation::new(client.try_clone().unwrap())),
            client,
            silent: AtomicBool::new(false),
            answers: Mutex::default(),
            answered: Condvar::new(),
            shared: Arc::clone(shared),
        });
        state.present = Some(Arc::clone(&line));
        drop(state);
        converse(&line, &back_end);
        shared.state.lock().present = None;
    }
}

/// Until one of them leaves. One connection at a time, as most servers have it.
fn converse(line: &Arc<Line>, back_end: &UnixStream) {
    std::thread::scope(|scope| {
        let named = |name: &str| std::thread::Builder::new().name(name.into());
        named("up").spawn_scoped(scope, || up(line, back_end)).unwrap();
        named("down").spawn_scoped(scope, || down(line, back_end)).unwrap();
    });
}

/// From the function to the back end.
fn up(line: &Line, back_end: &UnixStream) {
    let mut to_back_end = Conversation::new(back_end.try_clone().unwrap());
    while let Some(message) = Message::receive(&line.client) {
        if message.header().message_type() != Some(MessageType::Command) {
            // The honest back end asks for nothing: its memory is mapped.
            let mut answers = line.answers.lock();
            answers.0.truncate(16);
            answers.0.insert(0, message);
            line.answered.notify_all();
            continue;
        }
        line.shared.keep(&message);
        let fds: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
        if !to_back_end.send_with(&message.bytes, &fds) {
            break;
        }
    }
    line.answers.lock().1 = true;
    line.answered.notify_all();
    let _ = back_end.shutdown(Shutdown::Both);
}

/// From the back end to the function.
fn down(line: &Line, back_end: &UnixStream) {
    while let Some(message) = Message::receive(back_end) {
        if line.silent.load(Ordering::SeqCst) {
            continue;
        }
        let Some(act) = line.shared.lie_about(&message) else {
            line.pass_on(&message);
            continue;
        };
        let then = act(line, message);
        line.shared.told();
        match then {
            Then::GoesOn => {}
            Then::IsSilent => line.silent.store(true, Ordering::SeqCst),
            Then::Leaves => line.close(),
        }
    }
    line.close();
}

/// Descriptors that nobody asked for.
pub(crate) fn files(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap()).collect()
}

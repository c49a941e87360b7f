//! The daemon's end: accepts clients, bounds them, hands their requests to an [`Operator`].
//!
//! What a hostile client can do: occupy its own connection. A line is bounded, a reply is bounded, a client that
//! does not read its reply is cut off after [`WRITE_TIMEOUT`], and when all places are taken the client that has
//! been silent longest makes room, so holding connections open keeps nobody out.
//!
//! Lock: `clients` (rank 80, a leaf). Held to add, remove and choose; never while reading, writing or executing.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};

use super::line::{LineError, LineReader};
use super::protocol::{MAX_REPLY_LEN, MAX_REQUEST_LEN, Refusal, RefusalCode, Reply, Request};
use crate::ranks;

/// Most clients at a time.
pub const MAX_CLIENTS: usize = 32;
/// How long a client may take to accept its reply.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long accepting pauses when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Carries out requests. Called from many threads at once.
pub trait Operator: Send + Sync + 'static {
    /// Carries out `request` within a bounded time.
    ///
    /// # Errors
    /// Why it was refused; the client sees it as it is.
    fn execute(&self, token: &mut ThreadToken, request: Request) -> Result<serde_json::Value, Refusal>;

    /// The socket is being closed: who waits in [`Operator::execute`] for something to happen is to come back now.
    fn end(&self) {}
}

/// A bound control socket and its threads. [`ControlServer::stop`] or dropping it ends them.
pub struct ControlServer {
    path: PathBuf,
    shared: Arc<Shared>,
    /// Until the end, as its threads.
    running: Option<(JoinHandle<()>, Arc<dyn Operator>)>,
}

#[derive(Debug)]
struct Shared {
    listener: UnixListener,
    stopping: AtomicBool,
    /// Rank: 80, control clients; a leaf. A list and its condition variable: the end has to wait for it to be empty.
    clients: Leaf<ranks::ControlClients, Clients>,
    /// A client's thread has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Clients {
    next_id: u64,
    /// Threads of clients, also of those that had to make room and are about to end.
    threads: usize,
    list: Vec<Connected>,
}

#[derive(Debug)]
struct Connected {
    id: u64,
    /// To wake its thread: shutting it down ends the read or write that the thread is in.
    stream: UnixStream,
    last_heard: Instant,
    /// Whether a request is being carried out; such a client is not silent.
    busy: bool,
}

impl ControlServer {
    /// Binds `path` with mode 0600 and serves it until dropped. A socket left by an earlier daemon is replaced; the
    /// caller holds the run directory, so there is no other daemon.
    ///
    /// # Errors
    /// Why the socket could not be bound or the thread not started.
    pub fn start(path: &Path, operator: Arc<dyn Operator>) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let shared = Arc::new(Shared {
            listener,
            stopping: AtomicBool::new(false),
            clients: Leaf::default(),
            ended: Condvar::new(),
        });
        let accepting = std::thread::Builder::new().name("control".into()).spawn({
            let (shared, operator) = (Arc::clone(&shared), Arc::clone(&operator));
            move || accept_clients(&shared, &operator)
        })?;
        Ok(Self { path: path.into(), shared, running: Some((accepting, operator)) })
    }
}

impl ControlServer {
    /// Removes the socket, ends all clients, and waits for requests in hand until `deadline`. False if one is still
    /// being carried out then.
    pub fn stop(mut self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        self.end();
        let _shown = Waiting::new(token, "stop the control socket", None, "requests in hand");
        let mut clients = self.shared.clients.lock();
        let mut expired = false;
        while clients.threads > 0 && !expired {
            (clients, expired) = self.shared.ended.wait(clients, token, deadline);
        }
        clients.threads == 0
    }

    fn end(&mut self) {
        let Some((accepting, operator)) = self.running.take() else { return };
        let _ = std::fs::remove_file(&self.path);
        self.shared.stopping.store(true, Ordering::Release);
        // On Linux, shutting a listening UNIX socket down makes a blocked accept return with an error.
        let _ = rustix::net::shutdown(&self.shared.listener, rustix::net::Shutdown::Both);
        let _ = accepting.join();
        operator.end();
        for client in &self.shared.clients.lock().list {
            let _ = client.stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept_clients(shared: &Arc<Shared>, operator: &Arc<dyn Operator>) {
    while !shared.stopping.load(Ordering::Acquire) {
        match shared.listener.accept() {
            Ok((stream, _)) => admit(shared, operator, stream),
            Err(_) if shared.stopping.load(Ordering::Acquire) => {}
            // Out of descriptors or memory: trying at once would only burn the CPU.
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
    }
}

fn admit(shared: &Arc<Shared>, operator: &Arc<dyn Operator>, stream: UnixStream) {
    let Some(id) = shared.register(&stream) else {
        let refusal = Refusal::new(RefusalCode::TooManyClients, "too many clients are busy; try again");
        // Never waits: a fresh socket's buffer takes so short a line.
        let _ = stream.set_nonblocking(true);
        let _ = write_reply(&stream, &Reply::Error(refusal));
        return;
    };
    let thread = std::thread::Builder::new().name(format!("control-{id}")).spawn({
        let (shared, operator) = (Arc::clone(shared), Arc::clone(operator));
        move || {
            // Given up however the session ends, and after the operator (locals are dropped last first): whoever
            // waits for the place to be free relies on nothing being used any more.
            let _place = Place { shared: &shared, id };
            let operator = operator;
            let _ = serve_client(&shared, operator.as_ref(), &stream, id);
        }
    });
    if thread.is_err() {
        shared.forget(id);
    }
}

/// A client's place in the list, given up when dropped.
struct Place<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.forget(self.id);
    }
}

impl Shared {
    /// Enters a client; if all places are taken, ends the one that has been silent longest. `None` if all are busy.
    fn register(&self, stream: &UnixStream) -> Option<u64> {
        let clone = stream.try_clone().ok()?;
        let mut clients = self.clients.lock();
        if clients.list.len() >= MAX_CLIENTS {
            let silent = clients.list.iter().enumerate().filter(|(_, c)| !c.busy);
            let (index, _) = silent.min_by_key(|(_, c)| c.last_heard)?;
            let silent = clients.list.swap_remove(index);
            let _ = silent.stream.shutdown(Shutdown::Both);
        }
        clients.next_id += 1;
        let id = clients.next_id;
        clients.threads += 1;
        clients.list.push(Connected { id, stream: clone, last_heard: Instant::now(), busy: false });
        Some(id)
    }

    fn forget(&self, id: u64) {
        let mut clients = self.clients.lock();
        clients.list.retain(|c| c.id != id);
        clients.threads = clients.threads.saturating_sub(1);
        drop(clients);
        self.ended.notify_all();
    }

    fn set_busy(&self, id: u64, busy: bool) {
        if let Some(client) = self.clients.lock().list.iter_mut().find(|c| c.id == id) {
            client.busy = busy;
            client.last_heard = Instant::now();
        }
    }
}

fn serve_client(
    shared: &Shared,
    operator: &dyn Operator,
    stream: &UnixStream,
    id: u64,
) -> Result<(), LineError> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut lines = LineReader::new(stream.try_clone()?, MAX_REQUEST_LEN);
    let mut token = ThreadToken::at_thread_entry();
    while !shared.stopping.load(Ordering::Acquire) {
        let line = match lines.next_line() {
            Ok(line) => line,
            Err(error @ LineError::TooLong(_)) => {
                let refusal = Refusal::new(RefusalCode::BadRequest, error.to_string());
                write_reply(stream, &Reply::Error(refusal))?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        shared.set_busy(id, true);
        let reply = answer(operator, &mut token, &line);
        // No longer busy: a client that does not read its answer may be cut off in favour of another.
        shared.set_busy(id, false);
        write_reply(stream, &reply)?;
    }
    Ok(())
}

fn answer(operator: &dyn Operator, token: &mut ThreadToken, line: &[u8]) -> Reply {
    let result = match serde_json::from_slice::<Request>(line) {
        Ok(request) => operator.execute(token, request),
        Err(error) => Err(Refusal::new(RefusalCode::BadRequest, format!("not a request: {error}"))),
    };
    match result {
        Ok(value) => Reply::Ok(value),
        Err(refusal) => Reply::Error(refusal),
    }
}

fn write_reply(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    if line.len() > MAX_REPLY_LEN {
        let refusal = Refusal::new(RefusalCode::Failed, "the answer is too long; ask for one function");
        line = serde_json::to_vec(&Reply::Error(refusal))?;
        line.push(b'\n');
    }
    stream.write_all(&line)
}

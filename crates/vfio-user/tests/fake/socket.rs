//! A server that runs, whose function comes and goes.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use parking_lot::Mutex;
use vfio_user::client::{Client, ClientError, ClientOptions};
use vfio_user::server::{ClientInfo, Server, ServerOptions, SessionOptions, Stop, Visit, Visits};

use super::{Fixture, Raw};

/// What is told of visits, in order.
#[derive(Default)]
pub struct Diary(Mutex<Vec<Visit>>);

impl Visits for Diary {
    fn visit(&self, visit: Visit) {
        self.0.lock().push(visit);
    }
}

/// A server on a thread of its own; ended when dropped.
pub struct Socket {
    pub server: Arc<Server>,
    pub diary: Arc<Diary>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Socket {
    /// Without a function.
    pub fn new() -> Socket {
        Socket::with_options(SessionOptions::default())
    }

    pub fn with_options(session: SessionOptions) -> Socket {
        let directory = tempfile::tempdir().unwrap();
        let options = ServerOptions { session, ..ServerOptions::default() };
        let diary = Arc::new(Diary::default());
        let server = Server::bind_empty(directory.path(), options).unwrap();
        let server = Arc::new(server.watched_by(Arc::clone(&diary) as Arc<dyn Visits>));
        let stop = Stop::new().unwrap();
        let (shared, switch) = (Arc::clone(&server), stop.clone());
        let thread = std::thread::spawn(move || {
            Server::run_all(&[shared], &mut ThreadToken::at_thread_entry(), &switch).unwrap();
        });
        Socket { server, diary, stop, thread: Some(thread), _directory: directory }
    }

    /// With a function.
    pub fn of(fixture: &Fixture) -> Socket {
        let socket = Socket::new();
        socket.plug(fixture);
        socket
    }

    pub fn plug(&self, fixture: &Fixture) {
        self.server.plug(Arc::clone(&fixture.assignment)).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.server.path()
    }

    /// Takes the function away from its client; nothing may be left over.
    #[track_caller]
    pub fn revoke(&self, token: &mut ThreadToken) -> Option<ClientInfo> {
        let revoked = self.server.revoke(token, Deadline::after(Duration::from_secs(60)));
        assert!(revoked.orphans.is_empty(), "{revoked:?}");
        revoked.client
    }

    pub fn connect(&self, token: &mut ThreadToken) -> Result<Client, ClientError> {
        Client::connect(token, self.path(), ClientOptions { timeout: Duration::from_secs(60) })
    }

    /// A connection that has said nothing.
    pub fn knock(&self) -> Raw {
        Raw::new(UnixStream::connect(self.path()).unwrap())
    }

    /// A connection that has the function.
    pub fn raw(&self) -> Raw {
        Raw::negotiated(UnixStream::connect(self.path()).unwrap())
    }

    /// What has been told so far, without who and when.
    pub fn told(&self) -> Vec<&'static str> {
        let name = |visit: &Visit| match visit {
            Visit::Attached(_) => "attached",
            Visit::Released(_) => "released",
            Visit::Left(_) => "left",
            _ => "something else",
        };
        self.diary.0.lock().iter().map(name).collect()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

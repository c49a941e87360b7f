//! A QEMU that says what a test's script has it say.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// What it does on one connection.
pub(crate) type Script = Box<dyn FnOnce(&mut Session) + Send>;

/// Serves one connection after the other, each by its script; then nobody listens any more. Dropping it waits for the
/// scripts to end, and fails if one of them did.
pub(crate) struct FakeQemu {
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
    _directory: TempDir,
}

/// One client.
pub(crate) struct Session {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl FakeQemu {
    /// Serves one connection.
    pub(crate) fn new(script: impl FnOnce(&mut Session) + Send + 'static) -> FakeQemu {
        FakeQemu::serving(vec![Box::new(script)])
    }

    /// Serves as many connections as there are scripts.
    pub(crate) fn serving(scripts: Vec<Script>) -> FakeQemu {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let thread = std::thread::spawn(move || {
            let mut scripts = scripts.into_iter().peekable();
            let mut listener = Some(listener);
            while let Some(script) = scripts.next() {
                let (stream, _) = listener.as_ref().unwrap().accept().unwrap();
                if scripts.peek().is_none() {
                    // Whoever finds the last connection closed finds nobody listening.
                    listener = None;
                }
                let lines = BufReader::new(stream.try_clone().unwrap());
                script(&mut Session { stream, lines });
            }
        });
        FakeQemu { thread: Some(thread), path, _directory: directory }
    }

    /// Ends the scripts that nobody has come for: each finds that its client has left.
    pub(crate) fn dismiss(&self) {
        while UnixStream::connect(&self.path).is_ok() {}
    }

    /// Its monitor.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FakeQemu {
    fn drop(&mut self) {
        let ended = self.thread.take().unwrap().join();
        // A test that fails already tells more than the script that waits for it.
        assert!(ended.is_ok() || std::thread::panicking(), "the script failed");
    }
}

impl Session {
    /// Sends bytes as they are. A client that has gone misses them.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends one line.
    pub(crate) fn line(&mut self, value: &Value) {
        self.raw(format!("{value}\r\n").as_bytes());
    }

    /// Greets, and answers the command that leaves negotiation mode.
    pub(crate) fn greet(&mut self) {
        self.line(&greeting());
        let id = self.expect("qmp_capabilities").1;
        self.ok(&id, json!({}));
    }

    /// The arguments and the id of the next command, which must be `command`.
    pub(crate) fn expect(&mut self, command: &str) -> (Value, Value) {
        let request = self.next().unwrap_or_else(|| panic!("the client left instead of `{command}`"));
        assert_eq!(request["execute"], command, "{request}");
        (request["arguments"].clone(), request["id"].clone())
    }

    /// The next request; none when the client has left.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).unwrap_or(0);
        (count > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Waits until the client has left.
    pub(crate) fn expect_end(&mut self) {
        let request = self.next();
        assert_eq!(request, None, "the client should have left");
    }

    /// Answers a command.
    pub(crate) fn ok(&mut self, id: &Value, result: Value) {
        self.line(&json!({"return": result, "id": id}));
    }

    /// Refuses a command.
    pub(crate) fn no(&mut self, id: &Value, class: &str, words: &str) {
        self.line(&json!({"id": id, "error": {"class": class, "desc": words}}));
    }

    /// Tells an event about a device.
    pub(crate) fn event(&mut self, name: &str, device: &str) {
        let timestamp = json!({"seconds": 1, "microseconds": 2});
        self.line(&json!({"timestamp": timestamp, "event": name, "data": {"device": device, "path": "/x"}}));
    }

    /// Answers `query-status`.
    pub(crate) fn status(&mut self, state: &str) {
        let id = self.expect("query-status").1;
        self.ok(&id, json!({"status": state, "running": state == "running"}));
    }

    /// Answers `query-status` and takes the request to unplug `device`.
    pub(crate) fn asked_for(&mut self, device: &str) -> Value {
        self.status("running");
        let (arguments, id) = self.expect("device_del");
        assert_eq!(arguments, json!({"id": device}));
        id
    }

    /// As [`Session::asked_for`], and passes the request on to the guest.
    pub(crate) fn given_to_the_guest(&mut self, device: &str) {
        let id = self.asked_for(device);
        self.ok(&id, json!({}));
    }
}

/// What QEMU 11.1.3 begins with.
pub(crate) fn greeting() -> Value {
    let version = json!({"qemu": {"micro": 3, "minor": 1, "major": 11}, "package": "Debian"});
    json!({"QMP": {"version": version, "capabilities": ["oob"]}})
}

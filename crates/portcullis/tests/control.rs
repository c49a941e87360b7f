//! The control socket against clients that behave and clients that do not.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use parking_lot::Mutex;
use portcullis::control::client::{Client, ClientError};
use portcullis::control::protocol::{MAX_REPLY_LEN, MAX_REQUEST_LEN, Refusal, RefusalCode, Request};
use portcullis::control::server::{ControlServer, MAX_CLIENTS, Operator};

/// Answers with the request's own words; some targets do something special.
#[derive(Default)]
struct Echo {
    /// `show slow`: says that it has begun, then waits to be let go.
    slow: Option<(Sender<()>, Mutex<Receiver<()>>)>,
}

impl Operator for Echo {
    fn execute(&self, _token: &mut ThreadToken, request: Request) -> Result<serde_json::Value, Refusal> {
        let Request::FunctionShow { target } = &request else {
            return Ok(serde_json::json!(format!("{request:?}")));
        };
        match target.as_str() {
            "huge" => return Ok(serde_json::json!("x".repeat(MAX_REPLY_LEN))),
            "large" => return Ok(serde_json::json!("x".repeat(MAX_REPLY_LEN / 2))),
            "none" => return Err(Refusal::new(RefusalCode::NotFound, "there is none")),
            "slow" => {
                if let Some((begun, go)) = &self.slow {
                    begun.send(()).unwrap();
                    go.lock().recv().unwrap();
                }
            }
            _ => {}
        }
        Ok(serde_json::json!(target))
    }
}

struct Lab {
    server: ControlServer,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Lab {
    fn with(operator: Echo) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let server = ControlServer::start(&path, Arc::new(operator)).unwrap();
        Self { server, path, _directory: directory }
    }

    fn new() -> Self {
        Self::with(Echo::default())
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// A well-behaved client gets its answer.
    fn works(&self) {
        assert_eq!(show(&mut Client::connect(&self.path).unwrap(), "it").unwrap(), "it");
    }
}

fn show(client: &mut Client, target: &str) -> Result<String, ClientError> {
    client.ask(&Request::FunctionShow { target: target.to_owned() })
}

fn line(stream: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn only_the_owner_can_connect() {
    let lab = Lab::new();
    let mode = std::fs::metadata(&lab.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn requests_of_one_client_are_answered_in_order_however_they_are_cut() {
    let lab = Lab::new();
    let mut stream = lab.raw();
    let requests: String =
        (0..5).map(|n| format!("{{\"request\":\"function show\",\"target\":\"{n}\"}}\n")).collect();
    for piece in requests.as_bytes().chunks(7) {
        stream.write_all(piece).unwrap();
    }
    let mut replies = BufReader::new(&stream).lines();
    for n in 0..5 {
        assert_eq!(replies.next().unwrap().unwrap(), format!("{{\"ok\":\"{n}\"}}"));
    }
}

#[test]
fn a_refusal_reaches_the_client_with_its_code() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.path).unwrap();
    match show(&mut client, "none") {
        Err(ClientError::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::NotFound),
        other => panic!("{other:?}"),
    }
    assert_eq!(show(&mut client, "again").unwrap(), "again", "the connection goes on");
}

#[test]
fn garbage_gets_an_error_and_the_connection_goes_on() {
    let lab = Lab::new();
    let mut stream = lab.raw();
    for garbage in
        [&b"\n"[..], b"hello\n", b"{\"request\":\"explode\"}\n", b"\xff\xfe\x00\n", b"[[[[[[[[[[[[\n"]
    {
        stream.write_all(garbage).unwrap();
        let reply = line(&stream);
        assert!(reply.starts_with("{\"error\":{\"code\":\"bad-request\""), "{reply}");
    }
    let deep = "[".repeat(MAX_REQUEST_LEN - 1);
    stream.write_all(format!("{deep}\n").as_bytes()).unwrap();
    assert!(line(&stream).contains("bad-request"), "nesting as deep as a line allows");
    stream.write_all(b"{\"request\":\"function show\",\"target\":\"x\"}\n").unwrap();
    assert_eq!(line(&stream), "{\"ok\":\"x\"}\n");
    lab.works();
}

#[test]
fn a_line_without_end_is_cut_off() {
    let lab = Lab::new();
    let mut stream = lab.raw();
    let _ = stream.write_all(&vec![b'x'; 2 * MAX_REQUEST_LEN]);
    let mut all = String::new();
    // The server closes with bytes unread, which may show as a reset after its last words.
    let _ = stream.read_to_string(&mut all);
    assert!(all.contains("bad-request") && all.ends_with('\n'), "{all}");
    lab.works();
}

#[test]
fn an_answer_that_would_be_too_long_becomes_an_error() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.path).unwrap();
    assert!(matches!(show(&mut client, "huge"), Err(ClientError::Refused(_))));
}

#[test]
fn clients_that_leave_at_any_byte_do_no_harm() {
    let lab = Lab::new();
    let request = b"{\"request\":\"function list\"}\n";
    for length in 0..=request.len() {
        lab.raw().write_all(&request[..length]).unwrap();
    }
    lab.works();
}

#[test]
fn silent_clients_make_room_for_others() {
    let lab = Lab::new();
    let silent: Vec<_> = (0..3 * MAX_CLIENTS).map(|_| lab.raw()).collect();
    lab.works();
    // The oldest was cut off, not just ignored.
    let mut first = &silent[0];
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn clients_that_do_not_read_their_answers_make_room_too() {
    let lab = Lab::new();
    let stuck: Vec<_> = (0..MAX_CLIENTS)
        .map(|_| {
            let mut stream = lab.raw();
            stream.write_all(b"{\"request\":\"function show\",\"target\":\"large\"}\n").unwrap();
            stream
        })
        .collect();
    lab.works();
    drop(stuck);
}

#[test]
fn one_slow_request_delays_nobody_and_the_end_waits_for_it() {
    let (begun, has_begun) = channel();
    let (go, may_go) = channel();
    let lab = Lab::with(Echo { slow: Some((begun, Mutex::new(may_go))) });
    let path = lab.path.clone();
    let slow = std::thread::spawn(move || {
        let mut client = Client::connect(&path).unwrap();
        let _ = show(&mut client, "slow");
    });
    has_begun.recv().unwrap();
    lab.works();
    let path = lab.path.clone();
    let stopping = std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        // Nothing lets the request go before this deadline.
        lab.server.stop(&mut token, Deadline::after(Duration::from_millis(50)))
    });
    assert!(!stopping.join().unwrap(), "a request is still being carried out");
    assert!(!path.exists(), "nobody new can come");
    go.send(()).unwrap();
    slow.join().unwrap();
}

#[test]
fn stopping_ends_idle_clients_and_removes_the_socket() {
    let lab = Lab::new();
    lab.works();
    let idle = lab.raw();
    let mut token = ThreadToken::at_thread_entry();
    assert!(lab.server.stop(&mut token, Deadline::after(Duration::from_secs(20))));
    assert_eq!((&idle).read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(!lab.path.exists());
}

#[test]
fn nobody_listening_is_said_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    let error = Client::connect(&directory.path().join("control.sock")).unwrap_err().to_string();
    assert!(error.contains("no daemon answers on ") && error.contains("start `portcullis serve`"), "{error}");
}

//! The stream of events as an operator and a program follow it.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod lab;

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use gate::{Deadline, ThreadToken};
use lab::*;
use parking_lot::Mutex;
use portcullis::control::protocol::{Refusal, Request};
use portcullis::control::server::{ControlServer, MAX_CLIENTS, Operator};
use portcullis::events::{MAX_WAITERS, RING};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const LAB: &str = r#"
[[slot]]
name = "left"
address = "0000:01:00.0"
device = { model = "endpoint-test" }

[[slot]]
name = "right"
address = "0000:02:00.0"
device = { model = "endpoint-test" }
"#;

/// A follower as a program starts one. Killed when dropped.
struct Follower {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Follower {
    fn start(lab: &Lab, words: &[&str]) -> Follower {
        let mut command = portcullis(&lab.run_dir());
        command.args(["events", "-f", "--json"]).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Follower { child, lines: Some(lines) }
    }

    /// The next line, which is a JSON document.
    fn next(&mut self) -> Value {
        let line = self.lines.as_mut().unwrap().next().expect("a line").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Exit code and stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let code = wait(&mut self.child);
        let said = std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        (code, said)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program on the control socket.
struct Program {
    stream: UnixStream,
    replies: Lines<BufReader<UnixStream>>,
}

impl Program {
    fn new(lab: &Lab) -> Program {
        let stream = UnixStream::connect(lab.run_dir().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let replies = BufReader::new(stream.try_clone().unwrap()).lines();
        Program { stream, replies }
    }

    fn send(&mut self, request: &Value) {
        writeln!(self.stream, "{request}").unwrap();
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.send(request);
        serde_json::from_str(&self.replies.next().unwrap().unwrap()).unwrap()
    }
}

/// Makes `count` events of an operator at `slot`.
fn operate(lab: &Lab, slot: &str, count: u64) {
    let mut program = Program::new(lab);
    for _ in 0..count {
        let done =
            program.ask(&json!({"request": "function config", "target": slot, "register": "COMMAND=0"}));
        assert_eq!(done["ok"]["written"], "0000", "{done}");
    }
}

/// The newest number.
fn last(lab: &Lab) -> u64 {
    Program::new(lab).ask(&json!({"request": "event wait"}))["ok"]["last"].as_u64().unwrap()
}

#[test]
fn a_follower_sees_what_there_was_and_what_comes_with_numbers_that_have_no_holes() {
    let lab = Lab::new(LAB);
    let _daemon = lab.serve();
    operate(&lab, "left", 3);
    let mut follower = Follower::start(&lab, &[]);
    let mut number = 0;
    for slot in ["left", "right", "left"] {
        operate(&lab, slot, 1);
        loop {
            let event = follower.next();
            number += 1;
            assert_eq!(event["sequence"], number, "{event}");
            if event["sequence"] == last(&lab) {
                assert_eq!((&event["function"], &event["kind"]), (&slot.into(), &"operator".into()));
                break;
            }
        }
    }
    follower.signal(Signal::INT);
    assert_eq!(follower.end(), (Some(0), String::new()));
}

#[test]
fn a_follower_of_one_function_and_kind_gets_nothing_else() {
    let lab = Lab::new(LAB);
    let _daemon = lab.serve();
    let mut follower = Follower::start(&lab, &["02:00.0", "--kind", "reset,power", "--count", "2"]);
    operate(&lab, "left", 5);
    operate(&lab, "right", 5);
    for words in [&["reset", "left"][..], &["reset", "right"], &["power", "right", "D3hot"]] {
        assert_eq!(code(&run(&lab.run_dir(), words)), 0);
    }
    for kind in ["reset", "power"] {
        let event = follower.next();
        assert_eq!((&event["function"], &event["kind"]), (&"right".into(), &kind.into()));
    }
    assert_eq!(follower.end(), (Some(0), String::new()), "that was all that was asked for");
}

#[test]
fn a_slow_reader_is_told_how_many_it_has_missed() {
    let lab = Lab::new(LAB);
    let _daemon = lab.serve();
    let mut follower = Follower::start(&lab, &[]);
    operate(&lab, "left", 1);
    let mut number = follower.next()["sequence"].as_u64().unwrap();
    // Much more than pipe, page and ring have room for, while nobody reads.
    operate(&lab, "left", 2 * RING + 5000);
    let (last, mut missed) = (last(&lab), 0);
    while number < last {
        let item = follower.next();
        if let Some(gap) = item.get("gap") {
            missed += gap["missed"].as_u64().unwrap();
            number += gap["missed"].as_u64().unwrap();
            assert_eq!(gap["next"], number + 1);
        } else {
            number += 1;
            assert_eq!(item["sequence"], number);
        }
    }
    assert_eq!(number, last, "every number is an event or in a gap");
    assert!(missed > 0, "nobody was slow");
}

#[test]
fn a_follower_ends_at_once_when_nobody_reads_it_any_more() {
    let lab = Lab::new(LAB);
    let _daemon = lab.serve();
    let mut follower = Follower::start(&lab, &[]);
    operate(&lab, "left", 1);
    follower.next();
    follower.lines = None;
    // No event comes any more.
    assert_eq!(follower.end(), (Some(0), String::new()));
}

#[test]
fn a_follower_tells_the_end_of_the_daemon_and_does_not_hold_it_up() {
    for signal in [Signal::TERM, Signal::KILL] {
        let lab = Lab::new(LAB);
        let daemon = lab.serve();
        let mut followers: Vec<_> = (0..3).map(|_| Follower::start(&lab, &[])).collect();
        operate(&lab, "left", 1);
        followers.iter_mut().for_each(|follower| drop(follower.next()));
        let (status, said) = daemon.end(signal);
        if signal == Signal::TERM {
            assert_eq!(status, Some(0), "{said}");
        }
        for follower in followers {
            assert_eq!(follower.end(), (Some(3), String::from("portcullis: the daemon has ended\n")));
        }
    }
}

#[test]
fn a_follower_that_waits_too_long_says_how_far_it_got() {
    let lab = Lab::new(LAB);
    let _daemon = lab.serve();
    operate(&lab, "left", 2);
    let (short, long) = (["--timeout", "1"], ["--timeout", "1", "--count", "1000"]);
    assert_eq!(Follower::start(&lab, &short).end(), (Some(0), String::new()));
    let (code, said) = Follower::start(&lab, &long).end();
    assert_eq!((code, said.contains("of 1000 events came in time")), (Some(5), true), "{said}");
}

#[test]
fn more_followers_than_may_wait_are_all_served_and_commands_are_too() {
    let lab = Lab::new(LAB);
    let _daemon = lab.serve();
    let mut followers: Vec<_> =
        (0..MAX_WAITERS + 4).map(|_| Follower::start(&lab, &["--since", "0"])).collect();
    operate(&lab, "left", 1);
    followers.iter_mut().for_each(|follower| assert_eq!(follower.next()["sequence"], 1));
    let next = last(&lab) + 1;
    operate(&lab, "right", 1);
    for follower in &mut followers {
        until(|| follower.next()["sequence"] == next);
    }
}

#[test]
fn a_thousand_hostile_followers_are_refused_cleanly_and_keep_no_command_out() {
    let lab = Lab::new(LAB);
    let daemon = lab.serve();
    let wait = json!({"request": "event wait", "timeout_ms": u64::MAX});
    let mut hostile: Vec<_> = (0..1000)
        .map(|_| {
            let mut program = Program::new(&lab);
            // The daemon may have closed it already.
            let _ = writeln!(program.stream, "{wait}");
            program
        })
        .collect();
    for _ in 0..10 {
        json(&lab.run_dir(), &["ls", "--json"]);
    }
    let mut refused = 0;
    operate(&lab, "left", 1);
    for program in &mut hostile {
        let Some(Ok(reply)) = program.replies.next() else { continue };
        let reply: Value = serde_json::from_str(&reply).unwrap();
        if reply.get("ok").is_none() {
            assert_eq!(reply["error"]["code"], "too-many-clients", "{reply}");
            refused += 1;
        }
    }
    assert!(refused > 0 && 1000 - refused >= MAX_WAITERS && MAX_WAITERS < MAX_CLIENTS, "{refused}");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}

#[test]
fn a_program_goes_on_where_it_was_and_is_told_when_numbers_begin_again() {
    let lab = Lab::new(LAB);
    let first = lab.serve();
    operate(&lab, "left", 3);
    let mut program = Program::new(&lab);
    let page = program.ask(&json!({"request": "event wait", "after": 0, "limit": 2}))["ok"].take();
    assert_eq!((page["next"].clone(), page["items"].as_array().unwrap().len()), (2.into(), 2));
    let again =
        json!({"request": "event wait", "after": page["next"], "stream": page["stream"], "timeout_ms": 5});
    assert_eq!(program.ask(&again)["ok"]["items"][0]["sequence"], 3);
    assert_eq!(first.end(Signal::TERM).0, Some(0));
    let _second = lab.serve();
    operate(&lab, "left", 5);
    let page = Program::new(&lab).ask(&again)["ok"].take();
    assert_eq!(page["items"][0], json!({"gap": {"missed": null, "next": 1, "restarted": true}}));
    assert_eq!(page["items"][1]["sequence"], 1);
    let listed = run(&lab.run_dir(), &["events", "--since", "1000"]);
    assert!(String::from_utf8(listed.stdout).unwrap().contains("-- the daemon was started anew"));
}

#[test]
fn without_following_all_that_is_kept_is_one_document_and_readable_lines() {
    let lab = Lab::new(LAB);
    let _daemon = lab.serve();
    operate(&lab, "right", 2);
    operate(&lab, "left", RING + 100);
    let all = json(&lab.run_dir(), &["events", "--json"]);
    let all = all.as_array().unwrap();
    assert!(all.iter().any(|item| item["gap"]["missed"].as_u64() == Some(100)), "{:?}", &all[..4]);
    let of_right = |item: &&Value| item["function"] == "right" && item["kind"] == "operator";
    assert_eq!(all.iter().filter(of_right).count(), 2, "its share is kept");
    let right = json(&lab.run_dir(), &["event", "list", "right", "--kind", "operator", "--json"]);
    let kinds: Vec<&Value> = right.as_array().unwrap().iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["operator", "operator"], "without gaps");
    let one = run(&lab.run_dir(), &["events", "right", "--kind", "operator", "--count", "1"]);
    let text = String::from_utf8(one.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("TIME (UTC)") && lines[1].contains("  right  "), "{text}");
    assert_eq!(json(&lab.run_dir(), &["events", "--json", "--since", "now"]), json!([]));
}

#[test]
fn what_cannot_be_followed_is_said() {
    let lab = Lab::new(LAB);
    let daemon = lab.serve();
    for (words, expected, said) in [
        (&["events", "-f", "nope"][..], 4, "there is no function or slot `nope`"),
        (&["events", "-f", "--kind", "rest"], 1, "there is no kind of event `rest`"),
        (&["events", "--timeout", "3"], 2, "--follow"),
        (&["events", "--since", "x"], 2, "write a number, or `now`"),
    ] {
        let output = run(&lab.run_dir(), words);
        assert_eq!(code(&output), expected, "{words:?}");
        assert!(stderr(&output).contains(said), "{words:?}: {}", stderr(&output));
    }
    daemon.end(Signal::TERM);
    assert_eq!(code(&run(&lab.run_dir(), &["events", "-f"])), 3);
}

/// Waits in a request until it is told to come back.
struct Waits {
    begun: Sender<()>,
    go: Sender<()>,
    may_go: Mutex<Receiver<()>>,
}

impl Operator for Waits {
    fn execute(&self, _: &mut ThreadToken, _: Request) -> Result<Value, Refusal> {
        self.begun.send(()).unwrap();
        let told = self.may_go.lock().recv_timeout(2 * PATIENCE).is_ok();
        Ok(json!(told))
    }

    fn end(&self) {
        self.go.send(()).unwrap();
    }
}

#[test]
fn the_end_of_the_control_socket_ends_the_waits_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let (begun, has_begun) = channel();
    let (go, may_go) = channel();
    let server =
        ControlServer::start(&path, Arc::new(Waits { begun, go, may_go: Mutex::new(may_go) })).unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    writeln!(stream, "{}", json!({"request": "locks"})).unwrap();
    has_begun.recv_timeout(PATIENCE).unwrap();
    let mut token = ThreadToken::at_thread_entry();
    assert!(server.stop(&mut token, Deadline::after(PATIENCE)));
}

#[test]
fn the_request_is_written_as_documented() {
    let text = r#"{"request":"event wait","after":0,"limit":100,"timeout_ms":2000}"#;
    let request = Request::EventWait {
        target: None,
        kinds: Vec::new(),
        after: Some(0),
        stream: None,
        limit: Some(100),
        timeout_ms: 2000,
    };
    assert_eq!(serde_json::to_string(&request).unwrap(), text);
    assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
}

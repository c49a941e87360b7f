//! `portcullis locks` and the watchdog, on a daemon in which everything is stuck behind one gate.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::fmt::{Debug, Write};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use gate::{AccessKind, Deadline, Reason, ThreadToken};
use portcullis::config::Config;
use portcullis::control::client::Client;
use portcullis::control::protocol::Request;
use portcullis::control::report::LockEntry;
use portcullis::daemon::Daemon;
use portcullis::events::Journal;
use portcullis::run_dir::RunDir;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Long enough for a busy machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

const LAB: &str = r#"
[watchdog]
threshold = "50ms"

[[slot]]
name = "disk0"
address = "0000:01:00.0"
device = { model = "nvme" }
backing = { kind = "memory", size = "1MiB" }
"#;

fn ahead() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Sends the text of every line that is logged.
struct Lines(mpsc::SyncSender<String>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let _ = self.0.try_send(message.0);
    }
}

fn ask(control: &Path) -> Vec<LockEntry> {
    Client::connect(control).unwrap().ask(&Request::Locks {}).unwrap()
}

fn until(control: &Path, satisfies: impl Fn(&[LockEntry]) -> bool) -> Vec<LockEntry> {
    let end = Instant::now() + PATIENCE;
    loop {
        let list = ask(control);
        if satisfies(&list) {
            return list;
        }
        assert!(Instant::now() < end, "never so: {list:#?}");
    }
}

fn of<'l>(list: &'l [LockEntry], thread: &str) -> Option<&'l LockEntry> {
    list.iter().find(|entry| entry.thread.as_deref() == Some(thread))
}

/// The binary's answer, with the control socket of this process's daemon.
fn printed(control: &Path, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let output = command.env("PORTCULLIS_CONTROL", control).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn who_waits_for_whom_is_told_while_everything_else_is_stuck() {
    let (say, lines) = mpsc::sync_channel(1000);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines(say))).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let run_dir = RunDir::hold(&directory.path().join("run")).unwrap();
    let control = run_dir.control_socket();
    let config = Config::parse(Path::new("lab.toml"), LAB).unwrap();
    let mut token = ThreadToken::at_thread_entry();
    let daemon = Daemon::start(&mut token, config, run_dir, &Arc::new(Journal::default())).unwrap();
    let gate = daemon.places()[0].assignment().unwrap().function().gate().clone();
    assert_eq!(ask(&control), [], "nobody holds or waits for anything");

    let (release, may_open) = channel::<()>();
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let closing = gate.clone();
    let closer = named("closer").spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = closing.close(&mut token, Reason::Recovery, ahead()).unwrap();
        may_open.recv().unwrap();
        drop(quiesced);
    });
    until(&control, |list| of(list, "closer").is_some());
    let guests: Vec<_> = (0..4)
        .map(|nth| {
            let handle = gate.handle();
            named(&format!("guest-{nth}")).spawn(move || {
                handle.enter(&mut ThreadToken::at_thread_entry(), AccessKind::Config, ahead()).is_ok()
            })
        })
        .collect();
    // A request that waits for the same closer.
    let asking = control.clone();
    let reset = named("asks").spawn(move || {
        let line = b"{\"request\":\"function reset\",\"target\":\"disk0\"}\n";
        let mut stream = std::os::unix::net::UnixStream::connect(asking).unwrap();
        std::io::Write::write_all(&mut stream, line).unwrap();
        let mut answer = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut answer).unwrap();
        answer
    });

    let waits = |entry: &&LockEntry| entry.waits_for.is_some();
    let list = until(&control, |list| list.iter().filter(waits).count() == 5);
    let guest = of(&list, "guest-3").unwrap();
    assert_eq!((guest.operation.as_str(), guest.function.as_deref()), ("enter config", Some(gate.name())));
    assert_eq!(guest.waits_for.as_deref(), Some("the gate to open"));
    assert!(guest.held_by[0].starts_with("closer: closed for recovery, "), "{guest:?}");
    assert_eq!(guest.chain.len(), 1, "the closer waits for nothing");
    let is_request =
        |entry: &&LockEntry| entry.thread.as_ref().is_some_and(|name| name.starts_with("control-"));
    let request = list.iter().filter(waits).find(is_request).expect("the reset waits too");
    assert!(request.held_by[0].starts_with("closer: closed for recovery, "), "{request:?}");
    let held = of(&list, "closer").unwrap();
    assert_eq!((held.operation.as_str(), held.waits_for.as_ref()), ("closed for recovery", None));

    // The same by the binary, as text and as JSON, while it is still stuck.
    let text = printed(&control, &["locks"]);
    assert!(text.starts_with("THREAD"), "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("guest-0 ") && line.contains("closer: closed for recovery"))
    );
    let document: Vec<LockEntry> =
        serde_json::from_str(&printed(&control, &["--json", "lock", "list"])).unwrap();
    assert!(of(&document, "closer").is_some() && of(&document, "guest-1").is_some());

    // The watchdog has its own eyes.
    let end = Instant::now() + PATIENCE;
    let told = std::iter::from_fn(|| lines.recv_timeout(end.saturating_duration_since(Instant::now())).ok())
        .find(|line| line.starts_with("a wait takes long: guest-2: enter config of "))
        .expect("the watchdog said nothing");
    assert!(told.contains("held by [closer: closed for recovery, "), "{told}");

    release.send(()).unwrap();
    for guest in guests {
        assert!(guest.unwrap().join().unwrap());
    }
    closer.unwrap().join().unwrap();
    assert!(reset.unwrap().join().unwrap().starts_with("{"));
    until(&control, <[LockEntry]>::is_empty);
    assert_eq!(daemon.drain(&mut token, ahead()), Vec::<String>::new());
}

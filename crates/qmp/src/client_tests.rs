//! A connection against a peer that answers, is slow, silent, gone, or no QEMU.

use crate::fake::{FakeQemu, Session, greeting};
use crate::{Offence, Qmp, QmpError};
use gate::{Deadline, ThreadToken};
use rustix::io::Errno;
use serde_json::json;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Long enough for whatever is to happen.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Long enough for what is not to happen.
fn at_once() -> Deadline {
    Deadline::after(Duration::from_millis(60))
}

/// Connects to a peer that greets and then does `script`.
fn connected(token: &mut ThreadToken, script: impl FnOnce(&mut Session) + Send + 'static) -> (FakeQemu, Qmp) {
    let fake = FakeQemu::new(|session| {
        session.greet();
        script(session);
    });
    let qmp = Qmp::connect(token, fake.path(), soon()).unwrap();
    (fake, qmp)
}

#[test]
fn an_answer_is_the_commands_and_events_around_it_are_kept_in_their_order() {
    let mut token = ThreadToken::at_thread_entry();
    let (_fake, mut qmp) = connected(&mut token, |session| {
        let (arguments, id) = session.expect("human");
        assert_eq!(arguments, json!({"text": "a\nb"}));
        session.event("ONE", "a");
        session.ok(&id, json!([7]));
        session.event("TWO", "b");
        session.expect_end();
    });
    assert_eq!(qmp.version(), "11.1.3");
    let answer = qmp.execute(&mut token, "human", json!({"text": "a\nb"}), soon());
    assert_eq!(answer, Ok(json!([7])));
    for (name, device) in [("ONE", "a"), ("TWO", "b")] {
        let event = qmp.next_event(&mut token, soon()).unwrap();
        assert_eq!((event.name.as_str(), event.device()), (name, Some(device)));
    }
    assert!(matches!(qmp.next_event(&mut token, at_once()), Err(QmpError::TimedOut(_))));
    assert!(qmp.is_usable());
}

#[test]
fn the_late_answer_to_a_command_that_was_given_up_is_not_taken_for_the_next_ones() {
    let mut token = ThreadToken::at_thread_entry();
    let (_fake, mut qmp) = connected(&mut token, |session| {
        let first = session.expect("slow").1;
        let second = session.expect("quick").1;
        session.ok(&first, json!("slow"));
        session.ok(&second, json!("quick"));
        session.expect_end();
    });
    let slow = qmp.execute(&mut token, "slow", json!({}), at_once());
    assert_eq!(slow, Err(QmpError::TimedOut("slow".into())));
    assert_eq!(qmp.execute(&mut token, "quick", json!({}), soon()), Ok(json!("quick")));
}

#[test]
fn a_refusal_carries_qemus_reason_and_leaves_the_connection_usable() {
    let mut token = ThreadToken::at_thread_entry();
    let (_fake, mut qmp) = connected(&mut token, |session| {
        let id = session.expect("x").1;
        session.no(&id, "CommandNotFound", "The command x has not been found");
        let id = session.expect("y").1;
        session.ok(&id, json!({}));
    });
    let error = qmp.execute(&mut token, "x", json!({}), soon()).unwrap_err();
    assert_eq!(error.to_string(), "QEMU refuses `x`: The command x has not been found");
    assert!(qmp.execute(&mut token, "y", json!({}), soon()).is_ok());
}

#[test]
fn without_a_monitor_the_error_says_how_to_start_one() {
    let mut token = ThreadToken::at_thread_entry();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp");
    let error = Qmp::connect(&mut token, &path, soon()).unwrap_err();
    assert!(matches!(&error, QmpError::Connect { cause: Errno::NOENT, .. }));
    assert!(error.to_string().contains("-qmp unix:"), "{error}");
    drop(UnixListener::bind(&path).unwrap());
    let error = Qmp::connect(&mut token, &path, soon()).unwrap_err();
    assert!(matches!(&error, QmpError::Connect { cause: Errno::CONNREFUSED, .. }));
    let long = directory.path().join("x".repeat(200));
    assert!(matches!(
        Qmp::connect(&mut token, &long, soon()),
        Err(QmpError::Connect { .. } | QmpError::Socket(_))
    ));
}

#[test]
fn a_monitor_that_another_client_has_is_named_as_that() {
    let mut token = ThreadToken::at_thread_entry();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp");
    let _listener = UnixListener::bind(&path).unwrap();
    let error = Qmp::connect(&mut token, &path, at_once()).unwrap_err();
    assert_eq!(error, QmpError::NoGreeting(path));
    assert!(error.to_string().contains("another client"), "{error}");
}

#[test]
fn a_listener_whose_queue_is_full_is_waited_for_and_no_longer_than_to_the_deadline() {
    let mut token = ThreadToken::at_thread_entry();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp");
    let listener = {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 0).unwrap();
        UnixListener::from(listener)
    };
    let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert!(matches!(Qmp::connect(&mut token, &path, at_once()), Err(QmpError::NoGreeting(_))));
    drop(listener);
}

#[test]
fn a_peer_that_leaves_at_any_byte_ends_the_wait_at_once() {
    let mut token = ThreadToken::at_thread_entry();
    // What a whole conversation has QEMU say.
    let answers = "{\"return\": {}, \"id\": 1}\r\n{\"return\": {\"a\": 1}, \"id\": 2}\r\n";
    let all = format!("{}\r\n{answers}", greeting());
    let mut got_through = 0;
    for end in 0..=all.len() {
        let part = all.as_bytes()[..end].to_vec();
        let fake = FakeQemu::new(move |session| {
            session.raw(&part);
        });
        let began = Instant::now();
        let whole = Qmp::connect(&mut token, fake.path(), soon())
            .and_then(|mut qmp| qmp.execute(&mut token, "x", json!({}), soon()));
        assert!(began.elapsed() < Duration::from_secs(30), "waited on after byte {end}");
        match whole {
            Ok(_) => got_through += 1,
            Err(error) => assert_eq!(error, QmpError::Closed, "after byte {end}"),
        }
    }
    assert!(got_through <= 1, "an answer was made of half a line");
}

#[test]
fn a_peer_that_drips_bytes_without_end_is_given_up_at_the_deadline() {
    let mut token = ThreadToken::at_thread_entry();
    let fake = FakeQemu::new(|session| {
        session.raw(b"{\"QMP\": \"");
        while session.raw(b"x") {}
    });
    let error = Qmp::connect(&mut token, fake.path(), at_once()).unwrap_err();
    assert!(matches!(error, QmpError::NoGreeting(_) | QmpError::Protocol(Offence::LongLine)), "{error}");
}

#[test]
fn a_peer_that_floods_with_events_or_old_answers_does_not_outrun_the_deadline() {
    let flood = "{\"event\": \"X\"}\n{\"return\": {}, \"id\": 1}\n".repeat(1000);
    let mut token = ThreadToken::at_thread_entry();
    let (_fake, mut qmp) = connected(&mut token, move |session| while session.raw(flood.as_bytes()) {});
    let began = Instant::now();
    let error = qmp.execute(&mut token, "x", json!({}), at_once()).unwrap_err();
    assert!(matches!(error, QmpError::TimedOut(_)), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(qmp.lost_events() > 0, "events were kept without bound");
    drop(qmp);
}

#[test]
fn what_is_not_qmp_ends_the_connection_for_good() {
    let long = format!("{{\"return\": \"{}\", \"id\": 2}}\n", "x".repeat(2 << 20));
    let deep = format!("{{\"return\": {}{}, \"id\": 2}}\n", "[".repeat(5000), "]".repeat(5000));
    let cases = [
        (long.as_str(), Offence::LongLine),
        (deep.as_str(), Offence::NotAnObject),
        ("HTTP/1.1 400 Bad Request\r\n", Offence::NotAnObject),
        ("{\"hello\": 1}\n", Offence::NotAMessage),
        ("{\"return\": {}, \"id\": 3}\n", Offence::Unasked),
        ("{\"return\": {}}\n", Offence::Unasked),
        ("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n", Offence::Unasked),
        ("{\"QMP\": {}}\n", Offence::Greeting),
    ];
    let mut token = ThreadToken::at_thread_entry();
    for (line, offence) in cases {
        let line = line.to_owned();
        let (_fake, mut qmp) = connected(&mut token, move |session| {
            session.expect("x");
            session.raw(line.as_bytes());
        });
        let error = qmp.execute(&mut token, "x", json!({}), soon()).unwrap_err();
        assert_eq!(error, QmpError::Protocol(offence));
        assert!(!qmp.is_usable());
        assert_eq!(qmp.execute(&mut token, "y", json!({}), soon()), Err(QmpError::Closed));
        assert_eq!(qmp.next_event(&mut token, soon()), Err(QmpError::Closed));
    }
}

#[test]
fn a_peer_that_does_not_begin_with_a_greeting_is_no_qemu() {
    let mut token = ThreadToken::at_thread_entry();
    let fake = FakeQemu::new(|session| {
        session.raw(b"{\"return\": {}, \"id\": 0}\n");
    });
    let error = Qmp::connect(&mut token, fake.path(), soon()).unwrap_err();
    assert_eq!(error, QmpError::Protocol(Offence::Greeting));
}

#[test]
fn a_peer_that_does_not_read_is_given_up_and_half_a_command_is_followed_by_no_other() {
    let mut token = ThreadToken::at_thread_entry();
    let (done, wait) = mpsc::channel::<()>();
    let (_fake, mut qmp) = connected(&mut token, move |_| {
        let _ = wait.recv();
    });
    let much = json!({"text": "x".repeat(8 << 20)});
    assert!(matches!(qmp.execute(&mut token, "x", much, at_once()), Err(QmpError::TimedOut(_))));
    assert!(!qmp.is_usable());
    drop(done);
}

#[test]
fn a_cancelled_wait_ends_long_before_its_deadline() {
    let mut token = ThreadToken::at_thread_entry();
    let canceller = token.canceller();
    let (_fake, mut qmp) = connected(&mut token, move |session| {
        session.expect("x");
        canceller.cancel();
        session.expect_end();
    });
    let error =
        qmp.execute(&mut token, "x", json!({}), Deadline::after(Duration::from_secs(600))).unwrap_err();
    assert_eq!(error, QmpError::Cancelled("x".into()));
    let fake_gone = tempfile::tempdir().unwrap();
    let error = Qmp::connect(&mut token, &fake_gone.path().join("qmp"), soon());
    assert!(error.is_err(), "a cancelled thread does not begin to wait");
    drop(qmp);
}

//! A machine whose QEMU answers in every way that it can.

use super::*;
use crate::error::QmpError;
use crate::fake::{FakeQemu, Script, Session};
use gate::{Deadline, ThreadToken};
use serde_json::json;
use std::sync::mpsc;
use std::time::Duration;

const ID: &str = "portcullis-s0";

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn at_once() -> Deadline {
    Deadline::after(Duration::from_millis(150))
}

/// So quick that a test need not wait, which no guest would bear.
const QUICK: Pace = Pace {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(40),
    busy: Duration::from_millis(5),
};

/// A pause that never ends in a test.
const NEVER_AGAIN: Pace =
    Pace { first: Duration::from_secs(600), longest: Duration::from_secs(600), ..QUICK };

fn id() -> DeviceId {
    DeviceId::of_slot("s0").unwrap()
}

/// A machine that greets and then does `script` on its only connection.
fn machine(script: impl FnOnce(&mut Session) + Send + 'static) -> (FakeQemu, Vm) {
    serving(vec![greeted(script)])
}

fn serving(scripts: Vec<Script>) -> (FakeQemu, Vm) {
    let fake = FakeQemu::serving(scripts);
    let vm = Vm::new("vm0", fake.path());
    (fake, vm)
}

fn greeted(script: impl FnOnce(&mut Session) + Send + 'static) -> Script {
    Box::new(|session| {
        session.greet();
        script(session);
    })
}

/// Unplugs, and gives the outcome with the steps on the way.
fn unplug(vm: &Vm, pace: Pace, deadline: Deadline) -> (Result<Unplugged, UnplugError>, Vec<Step>) {
    let mut token = ThreadToken::at_thread_entry();
    let mut steps = Vec::new();
    let outcome = vm.unplug(&mut token, &id(), pace, deadline, &mut |step| steps.push(step));
    (outcome, steps)
}

fn let_go(asked: u32) -> Result<Unplugged, UnplugError> {
    Ok(Unplugged { how: How::LetGo, asked })
}

/// Refuses requests for as long as the client asks.
fn refuse_all(session: &mut Session, class: &'static str, words: &'static str) {
    while let Some(request) = session.next() {
        match request["execute"].as_str() {
            Some("query-status") => {
                session.ok(&request["id"], json!({"status": "running", "running": true}));
            }
            _ => session.no(&request["id"], class, words),
        }
    }
}

/// Passes all requests on to a guest that does nothing.
fn ignore_all(session: &mut Session, state: &'static str) {
    while let Some(request) = session.next() {
        match request["execute"].as_str() {
            Some("query-status") => {
                session.ok(&request["id"], json!({"status": state, "running": state == "running"}));
            }
            _ => session.ok(&request["id"], json!({})),
        }
    }
}

#[test]
fn a_device_is_plugged_as_it_was_described_and_the_monitor_is_free_afterwards() {
    let (_fake, vm) = machine(|session| {
        let (arguments, id) = session.expect("device_add");
        assert_eq!((&arguments["id"], &arguments["bus"]), (&json!(ID), &json!("rp0")));
        session.ok(&id, json!({}));
        session.expect_end();
    });
    let mut token = ThreadToken::at_thread_entry();
    let (id, socket) = (id(), std::path::Path::new("/run/s0"));
    let device = Device { id: &id, socket, bus: Some("rp0") };
    assert_eq!(vm.plug(&mut token, &device, soon()), Ok(PlugOutcome::Plugged));
}

#[test]
fn a_device_that_was_plugged_before_a_restart_of_ours_is_recognised_and_another_of_its_id_is_not() {
    for (driver, expected) in
        [("child<vfio-user-pci>", Ok(PlugOutcome::WasThere)), ("child<edu>", Err(PlugError::IdInUse(id())))]
    {
        let (_fake, vm) = machine(move |session| {
            let request = session.expect("device_add").1;
            session.no(&request, "GenericError", "Duplicate device ID 'portcullis-s0'");
            let (arguments, request) = session.expect("qom-list");
            assert_eq!(arguments["path"], "/machine/peripheral");
            session.ok(&request, json!([{"name": "type", "type": "string"}, {"name": ID, "type": driver}]));
        });
        let mut token = ThreadToken::at_thread_entry();
        let device = Device { id: &id(), socket: std::path::Path::new("/run/s0"), bus: None };
        assert_eq!(vm.plug(&mut token, &device, soon()), expected);
    }
}

#[test]
fn devices_and_status_are_qemus() {
    let (_fake, vm) = serving(vec![
        greeted(|session| {
            let id = session.expect("qom-list").1;
            let list = json!([{"name": "rp0", "type": "child<pcie-root-port>"}, {"name": ID, "type": "child<vfio-user-pci>"},
                {"name": "../x", "type": "child<edu>"}, 7, {"name": "bus", "type": "link<bus>"}]);
            session.ok(&id, list);
            session.expect_end();
        }),
        greeted(|session| {
            session.status("paused");
            session.expect_end();
        }),
    ]);
    let mut token = ThreadToken::at_thread_entry();
    let devices = vm.devices(&mut token, soon()).unwrap();
    let found: Vec<_> = devices.iter().map(|device| (device.id.as_str(), device.over_vfio_user)).collect();
    assert_eq!(found, [("rp0", false), (ID, true)]);
    let status = vm.status(&mut token, soon()).unwrap();
    assert_eq!(status, Status { version: "11.1.3".into(), state: "paused".into(), running: false });
}

#[test]
fn an_unplug_ends_with_the_event_of_its_own_device() {
    let (_fake, vm) = machine(|session| {
        session.given_to_the_guest(ID);
        session.event("DEVICE_DELETED", "portcullis-s1");
        session.event("DEVICE_DELETED", ID);
        session.expect_end();
    });
    let (outcome, steps) = unplug(&vm, NEVER_AGAIN, soon());
    assert_eq!((outcome, steps), (let_go(1), vec![Step::Asked(1)]));
}

#[test]
fn the_event_may_come_before_the_answer() {
    let (_fake, vm) = machine(|session| {
        let request = session.asked_for(ID);
        session.event("DEVICE_DELETED", ID);
        session.ok(&request, json!({}));
        session.expect_end();
    });
    assert_eq!(unplug(&vm, NEVER_AGAIN, soon()).0, let_go(1));
}

#[test]
fn an_event_of_an_earlier_device_of_the_same_id_ends_nothing() {
    let (_fake, vm) = machine(|session| {
        session.event("DEVICE_DELETED", ID);
        session.given_to_the_guest(ID);
        session.expect_end();
    });
    let (outcome, _) = unplug(&vm, NEVER_AGAIN, at_once());
    assert_eq!(outcome, Err(UnplugError::TimedOut(Silence::NoAnswer(1))));
}

#[test]
fn a_request_that_is_under_way_is_waited_for_and_then_made_again() {
    let (_fake, vm) = machine(|session| {
        let request = session.asked_for(ID);
        session.no(&request, "GenericError", "Device portcullis-s0 is already in the process of unplug");
        session.given_to_the_guest(ID);
        session.event("DEVICE_DELETED", ID);
        session.expect_end();
    });
    let (outcome, steps) = unplug(&vm, QUICK, soon());
    assert_eq!((outcome, steps), (let_go(1), vec![Step::Pending, Step::Asked(1)]));
}

#[test]
fn a_busy_qemu_is_asked_again_soon() {
    let (_fake, vm) = machine(|session| {
        for _ in 0..3 {
            let request = session.asked_for(ID);
            session.no(
                &request,
                "GenericError",
                "Hot-unplug failed: guest is busy (power indicator blinking)",
            );
        }
        session.given_to_the_guest(ID);
        session.event("DEVICE_DELETED", ID);
        session.expect_end();
    });
    let (outcome, steps) = unplug(&vm, Pace { busy: Duration::from_millis(1), ..NEVER_AGAIN }, soon());
    assert_eq!((outcome, steps.len()), (let_go(1), 4));
}

#[test]
fn a_guest_that_says_no_is_asked_again_and_may_say_yes() {
    let (_fake, vm) = machine(|session| {
        session.given_to_the_guest(ID);
        session.event("DEVICE_UNPLUG_GUEST_ERROR", ID);
        session.given_to_the_guest(ID);
        session.event("DEVICE_DELETED", ID);
        session.expect_end();
    });
    let (outcome, steps) = unplug(&vm, Pace { first: Duration::from_millis(200), ..QUICK }, soon());
    assert_eq!((outcome, steps), (let_go(2), vec![Step::Asked(1), Step::GuestRefused, Step::Asked(2)]));
}

#[test]
fn a_guest_that_said_no_until_the_deadline_has_refused() {
    let (_fake, vm) = machine(|session| {
        session.given_to_the_guest(ID);
        session.event("DEVICE_UNPLUG_GUEST_ERROR", ID);
        session.expect_end();
    });
    let (outcome, _) = unplug(&vm, NEVER_AGAIN, at_once());
    assert_eq!(outcome, Err(UnplugError::Refused { asked: 1 }));
}

#[test]
fn a_guest_without_a_driver_for_hot_plug_is_asked_until_the_deadline_and_the_error_says_so() {
    let (_fake, vm) = machine(|session| ignore_all(session, "running"));
    let (outcome, steps) = unplug(&vm, QUICK, at_once());
    let Err(error @ UnplugError::TimedOut(Silence::NoAnswer(asked))) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(asked > 1 && steps.len() == asked as usize, "asked {asked} times");
    assert!(error.to_string().contains("pciehp or acpiphp"), "{error}");
}

#[test]
fn a_machine_that_does_not_run_is_named_as_the_reason() {
    let (_fake, vm) = machine(|session| ignore_all(session, "paused"));
    let (outcome, steps) = unplug(&vm, NEVER_AGAIN, at_once());
    assert_eq!(outcome, Err(UnplugError::TimedOut(Silence::NotRunning("paused".into()))));
    assert_eq!(steps, [Step::Asked(1), Step::NotRunning("paused".into())]);
}

#[test]
fn a_qemu_that_never_passes_the_request_on_is_named_with_its_reason() {
    let (_fake, vm) = machine(|session| refuse_all(session, "GenericError", "not while migrating"));
    let (outcome, _) = unplug(&vm, QUICK, at_once());
    let Err(UnplugError::TimedOut(Silence::NotGiven(refusal))) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.words, "not while migrating");
}

#[test]
fn a_device_that_is_not_there_is_unplugged() {
    let (_fake, vm) = machine(|session| {
        refuse_all(session, "DeviceNotFound", "Device 'portcullis-s0' not found");
    });
    let (outcome, steps) = unplug(&vm, NEVER_AGAIN, soon());
    assert_eq!(outcome, Ok(Unplugged { how: How::NotThere, asked: 0 }));
    assert_eq!(steps, []);
}

#[test]
fn a_device_on_a_bus_without_hot_plug_is_given_up_at_once() {
    let (_fake, vm) = machine(|session| {
        refuse_all(session, "GenericError", "Bus 'pcie.0' does not support hotplugging");
    });
    assert!(matches!(unplug(&vm, NEVER_AGAIN, soon()).0, Err(UnplugError::Impossible(_))));
}

#[test]
fn the_end_of_qemu_is_the_end_of_its_devices() {
    let (_fake, vm) = machine(|session| session.given_to_the_guest(ID));
    let (outcome, steps) = unplug(&vm, NEVER_AGAIN, soon());
    assert_eq!(outcome, Ok(Unplugged { how: How::QemuEnded, asked: 1 }));
    assert_eq!(steps, [Step::Asked(1), Step::Lost]);
}

#[test]
fn without_any_qemu_there_is_no_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let vm = Vm::new("vm0", directory.path().join("qmp"));
    let (outcome, _) = unplug(&vm, NEVER_AGAIN, soon());
    assert!(matches!(outcome, Err(UnplugError::Qmp(QmpError::Connect { .. }))), "{outcome:?}");
}

#[test]
fn what_happened_while_the_connection_was_lost_is_asked_of_qemu() {
    let (_fake, vm) = serving(vec![
        greeted(|session| session.given_to_the_guest(ID)),
        greeted(|session| refuse_all(session, "DeviceNotFound", "Device 'portcullis-s0' not found")),
    ]);
    let (outcome, steps) = unplug(&vm, NEVER_AGAIN, soon());
    assert_eq!(outcome, Ok(Unplugged { how: How::NotThere, asked: 1 }));
    assert_eq!(steps, [Step::Asked(1), Step::Lost]);
}

#[test]
fn a_qemu_that_was_restarted_with_the_device_is_asked_anew() {
    let (_fake, vm) = serving(vec![
        greeted(|session| session.given_to_the_guest(ID)),
        // The old one's last client, which it leaves without a word.
        Box::new(|_| {}),
        greeted(|session| {
            session.given_to_the_guest(ID);
            session.event("DEVICE_DELETED", ID);
            session.expect_end();
        }),
    ]);
    assert_eq!(unplug(&vm, NEVER_AGAIN, soon()).0, let_go(2));
}

#[test]
fn a_peer_that_leaves_after_every_answer_ends_nothing_but_the_deadline_does() {
    fn leave(session: &mut Session) {
        session.line(&crate::fake::greeting());
        while let Some(request) = session.next() {
            session.ok(&request["id"], json!({"status": "running", "running": true}));
            if request["execute"] == "device_del" {
                return;
            }
        }
    }
    // The pauses grow: 20 connections would take 10 s and more.
    let (fake, vm) = serving((0..20).map(|_| -> Script { Box::new(leave) }).collect());
    let (outcome, steps) = unplug(&vm, NEVER_AGAIN, Deadline::after(Duration::from_millis(300)));
    assert!(matches!(outcome, Err(UnplugError::TimedOut(_))), "{outcome:?}");
    assert!(steps.len() < 20, "{} steps in 300 ms", steps.len());
    fake.dismiss();
}

#[test]
fn a_cancelled_unplug_ends_at_once_and_says_how_often_the_guest_was_asked() {
    let (_fake, vm) = machine(|session| {
        session.given_to_the_guest(ID);
        session.expect_end();
    });
    let mut token = ThreadToken::at_thread_entry();
    let canceller = token.canceller();
    let deadline = Deadline::after(Duration::from_secs(600));
    let outcome = vm.unplug(&mut token, &id(), NEVER_AGAIN, deadline, &mut |_| canceller.cancel());
    assert_eq!(outcome, Err(UnplugError::Cancelled { asked: 1 }));
}

#[test]
fn one_request_waits_for_qemus_answer_and_not_for_the_guest() {
    let (_fake, vm) = machine(|session| {
        let request = session.expect("device_del").1;
        session.ok(&request, json!({}));
        session.expect_end();
    });
    let mut token = ThreadToken::at_thread_entry();
    assert_eq!(vm.ask_to_let_go(&mut token, &id(), soon()), Ok(Asked::Given));
}

#[test]
fn two_slots_of_one_machine_are_unplugged_over_one_connection_and_neither_waits_for_the_others_guest() {
    let (asked, wait) = mpsc::channel::<()>();
    let (_fake, vm) = machine(move |session| {
        session.given_to_the_guest(ID);
        asked.send(()).unwrap();
        session.given_to_the_guest("portcullis-s1");
        session.event("DEVICE_DELETED", "portcullis-s1");
        // Only when the second has ended, which this shows, the first guest lets go.
        session.status("running");
        session.event("DEVICE_DELETED", ID);
        session.expect_end();
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| unplug(&vm, NEVER_AGAIN, soon()).0);
        wait.recv().unwrap();
        let mut token = ThreadToken::at_thread_entry();
        let second = DeviceId::of_slot("s1").unwrap();
        let outcome = vm.unplug(&mut token, &second, NEVER_AGAIN, soon(), &mut |_| {});
        assert_eq!(outcome, let_go(1));
        assert!(vm.status(&mut token, soon()).unwrap().running);
        assert_eq!(first.join().unwrap(), let_go(1));
    });
}

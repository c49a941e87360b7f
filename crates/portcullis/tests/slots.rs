//! Cards that come and go, by the commands that an operator types.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod lab;

use std::sync::Barrier;

use gate::ThreadToken;
use lab::{Daemon, Lab, code, json, run, stderr, until};
use portcullis::control::client::{Client as Operator, ClientError as AskError};
use portcullis::control::protocol::{Card, RefusalCode, Request};
use portcullis::control::report::OperationReport;
use rustix::process::Signal;
use vfio_user::client::{Client, ClientError, ClientOptions, SharedMemory};

const LAB: &str = r#"
[[slot]]
name = "disk0"
address = "0000:01:00.0"
device = { model = "nvme" }
backing = { kind = "file", path = "disk0.img", size = "16MiB" }

[[slot]]
name = "bay"
address = "0000:02:00.0"

[[slot]]
name = "pair"
address = "0000:03:00.0"
device = { model = "endpoint-test" }

[[slot]]
name = "second"
address = "0000:03:00.1"
device = { model = "endpoint-test" }

[[slot]]
name = "button"
address = "0000:04:00.0"
device = { model = "endpoint-test" }
attention_button = true
latch = true

[[slot]]
name = "root"
address = "0000:00:1e.0"
device = { model = "endpoint-test" }
"#;

/// Region number of the configuration space.
const CONFIG: u32 = 7;
/// Interrupt index by which a client is asked to let go (VF-35).
const REQUEST: u32 = 4;

fn serve() -> (Lab, Daemon) {
    let lab = Lab::new(LAB);
    let daemon = lab.serve();
    (lab, daemon)
}

/// The last line of the JSON that a command which succeeds prints.
fn told(lab: &Lab, words: &[&str]) -> serde_json::Value {
    json(&lab.run_dir(), &[words, &["--json"]].concat())
}

fn refused(lab: &Lab, words: &[&str], exit: i32, why: &str) {
    let output = run(&lab.run_dir(), words);
    assert_eq!(code(&output), exit, "{words:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(why), "{words:?}: {}", stderr(&output));
}

fn state(lab: &Lab, slot: &str) -> String {
    told(lab, &["slot", "show", slot])["state"].as_str().unwrap().to_owned()
}

/// Kinds of a slot's events, oldest first.
fn kinds(lab: &Lab, slot: &str) -> Vec<String> {
    let list = told(lab, &["event", "list", slot]);
    let of_slot = list.as_array().unwrap().iter().filter(|event| event["slot"] == slot);
    of_slot.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

fn client(lab: &Lab, token: &mut ThreadToken, slot: &str) -> Result<Client, ClientError> {
    Client::connect(token, lab.run_dir().join(slot), ClientOptions::default())
}

fn vendor(client: &mut Client, token: &mut ThreadToken) -> u16 {
    let mut id = [0; 2];
    client.region_read(token, CONFIG, 0, &mut id).unwrap();
    u16::from_le_bytes(id)
}

#[test]
fn what_was_written_is_there_again_after_unplug_and_plug_and_the_function_is_a_new_one() {
    let (lab, daemon) = serve();
    assert_eq!(code(&lab.exercise("disk0", &["--size", "1MiB"])), 0);
    let epoch = |lab: &Lab| told(lab, &["show", "disk0"])["gate"]["epoch"].as_u64().unwrap();
    let before = epoch(&lab);
    assert_eq!(told(&lab, &["unplug", "disk0"])["finished"], "done");
    assert_eq!(state(&lab, "disk0"), "off");
    refused(&lab, &["show", "disk0"], 4, "nothing is plugged into the slot `disk0`");
    refused(&lab, &["unplug", "disk0"], 5, "there is no card in the slot");
    let mut token = ThreadToken::at_thread_entry();
    assert!(
        matches!(client(&lab, &mut token, "disk0"), Err(ClientError::Refused { .. })),
        "clean, at VERSION"
    );
    assert_eq!(told(&lab, &["plug", "disk0"])["finished"], "done");
    assert!(epoch(&lab) > before);
    // Its own marks are found on the image, so nothing foreign would be overwritten.
    assert_eq!(code(&lab.exercise("disk0", &["--size", "1MiB"])), 0);
    refused(&lab, &["plug", "disk0"], 5, "a card is in the slot");
    let (status, said) = daemon.end(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_client_that_lets_go_when_it_is_asked_ends_the_unplug_hp_17() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "disk0").unwrap();
    let asked = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    user.set_irq_eventfds(&mut token, REQUEST, 0, &[std::os::fd::AsFd::as_fd(&asked)]).unwrap();
    let operation = told(&lab, &["unplug", "disk0", "--no-wait"]);
    assert!(operation["finished"].is_null(), "{operation}");
    // The server made it one that does not block, and may still be about to signal it.
    until(|| rustix::io::read(&asked, &mut [0; 8]).is_ok());
    // Everything works while it is asked (law 2 of the ladder: it needs it to come to an end).
    assert_eq!(vendor(&mut user, &mut token), 0x1234);
    assert_eq!(state(&lab, "disk0"), "asked");
    drop(user);
    let id = operation["id"].to_string();
    assert_eq!(told(&lab, &["operation", "wait", &id])["finished"], "done");
    let kinds = kinds(&lab, "disk0");
    let order: Vec<usize> = ["unplug-requested", "released", "revoked", "off"]
        .map(|kind| kinds.iter().position(|told| told == kind).unwrap_or_else(|| panic!("{kind}: {kinds:?}")))
        .into();
    assert!(order.is_sorted(), "{kinds:?}");
    drop(daemon);
}

#[test]
fn a_client_that_does_not_let_go_is_left_with_a_tombstone_at_the_deadline_and_the_next_card_is_not_its() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "disk0").unwrap();
    let memory = SharedMemory::new(1 << 16).unwrap();
    user.dma_map(&mut token, 1 << 20, &memory).unwrap();
    assert_eq!(told(&lab, &["unplug", "disk0", "--timeout", "1"])["finished"], "done");
    assert!(kinds(&lab, "disk0").iter().any(|kind| kind == "revoking"));
    assert_eq!(vendor(&mut user, &mut token), 0xffff);
    // What QEMU does when its guest reboots.
    user.dma_unmap(&mut token, 1 << 20, 1 << 16).unwrap();
    user.dma_map(&mut token, 1 << 20, &memory).unwrap();
    user.reset(&mut token).unwrap();
    assert_eq!(told(&lab, &["slot", "show", "disk0"])["tombstones"], 1);
    assert_eq!(told(&lab, &["plug", "disk0"])["finished"], "done");
    let mut next = client(&lab, &mut token, "disk0").unwrap();
    assert_eq!((vendor(&mut next, &mut token), vendor(&mut user, &mut token)), (0x1234, 0xffff));
    drop(user);
    until(|| told(&lab, &["slot", "show", "disk0"])["tombstones"] == 0);
    drop(next);
    let (status, said) = daemon.end(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn an_unplug_is_called_off_and_forced_at_once() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "disk0").unwrap();
    let operation = told(&lab, &["unplug", "disk0", "--no-wait"]);
    assert_eq!(told(&lab, &["cancel", "disk0"])["finished"], "done");
    let id = operation["id"].to_string();
    refused(&lab, &["operation", "wait", &id], 5, "called off");
    assert_eq!((state(&lab, "disk0").as_str(), vendor(&mut user, &mut token)), ("on", 0x1234));
    refused(&lab, &["cancel", "disk0"], 5, "nothing to");
    // The second, in a hurry, ends the first as well.
    let patient = told(&lab, &["unplug", "disk0", "--no-wait"])["id"].to_string();
    assert_eq!(told(&lab, &["unplug", "disk0", "--force"])["finished"], "done");
    assert_eq!(told(&lab, &["operation", "wait", &patient])["finished"], "done");
    assert_eq!(vendor(&mut user, &mut token), 0xffff);
    drop(daemon);
}

#[test]
fn a_card_is_described_when_it_is_put_into_an_empty_slot() {
    let (lab, daemon) = serve();
    refused(&lab, &["plug", "bay"], 1, "there never was a card in this slot");
    refused(&lab, &["plug", "bay", "--device", "{ model = \"nmve\" }"], 1, "did you mean `nvme`");
    refused(&lab, &["plug", "nothing"], 4, "there is no slot `nothing`");
    let backing = format!("{{ kind = \"file\", path = \"{}\" }}", lab.file("missing/bay.img").display());
    refused(&lab, &["plug", "bay", "--device", "{ model = \"nvme\" }", "--backing", &backing], 1, "fix: ");
    assert_eq!(state(&lab, "bay"), "off", "nothing has changed");
    let memory = "{ kind = \"memory\", size = \"8MiB\" }";
    let words = ["plug", "bay", "--device", "{ model = \"nvme\" }", "--backing", memory];
    assert_eq!(told(&lab, &words)["finished"], "done");
    assert_eq!(code(&lab.exercise("bay", &["--size", "1MiB"])), 0);
    // Another card in the same slot, of another kind.
    assert_eq!(told(&lab, &["unplug", "bay"])["finished"], "done");
    assert_eq!(told(&lab, &["plug", "bay", "--device", "{ model = \"endpoint-test\" }"])["finished"], "done");
    assert_eq!(told(&lab, &["show", "bay"])["summary"]["model"], "endpoint-test");
    drop(daemon);
}

#[test]
fn a_card_of_two_functions_comes_and_goes_as_a_whole() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "second").unwrap();
    let report = told(&lab, &["unplug", "03:00.1", "--force"]);
    assert_eq!((&report["slot"], &report["finished"]), (&"pair".into(), &"done".into()));
    for name in ["pair", "second"] {
        refused(&lab, &["show", name], 4, "nothing is plugged in");
    }
    assert_eq!(vendor(&mut user, &mut token), 0xffff);
    assert_eq!(told(&lab, &["plug", "second"])["finished"], "done");
    for name in ["pair", "second"] {
        assert_eq!(told(&lab, &["show", name])["summary"]["state"], "open");
    }
    drop(daemon);
}

#[test]
fn a_card_that_is_torn_out_is_gone_at_once_hp_12() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "disk0").unwrap();
    told(&lab, &["eject", "disk0"]);
    assert_eq!(vendor(&mut user, &mut token), 0xffff);
    until(|| state(&lab, "disk0") == "off");
    refused(&lab, &["eject", "disk0"], 5, "there is no card in the slot");
    assert_eq!(told(&lab, &["plug", "disk0"])["finished"], "done");
    drop(daemon);
}

#[test]
fn button_latch_and_power_work_as_on_a_port_hp_06_hp_07_hp_08() {
    let (lab, daemon) = serve();
    assert_eq!(state(&lab, "button"), "on", "what is there at the start comes up without the button");
    told(&lab, &["button", "button"]);
    until(|| state(&lab, "button") == "blinking-off");
    assert_eq!(told(&lab, &["slot", "show", "button"])["power_lamp"], "blink");
    told(&lab, &["button", "button"]);
    until(|| state(&lab, "button") == "on");
    assert_eq!(told(&lab, &["slot", "power", "button", "off"])["finished"], "done");
    refused(&lab, &["slot", "power", "button", "off"], 5, "off");
    told(&lab, &["slot", "latch", "button", "open"]);
    until(|| told(&lab, &["slot", "show", "button"])["latch_open"] == true);
    refused(&lab, &["slot", "power", "button", "on"], 5, "the latch is open");
    told(&lab, &["slot", "latch", "button", "closed"]);
    assert_eq!(told(&lab, &["slot", "power", "button", "on"])["finished"], "done");
    refused(&lab, &["slot", "power", "button", "on"], 5, "the slot is on");
    for (words, why) in [
        (["button", "disk0"].as_slice(), "no attention button"),
        (&["slot", "latch", "disk0", "open"], "no latch"),
    ] {
        refused(&lab, words, 1, why);
    }
    drop(daemon);
}

#[test]
fn a_rescan_brings_back_what_is_switched_off_hp_04() {
    let (lab, daemon) = serve();
    for slot in ["disk0", "root"] {
        assert_eq!(told(&lab, &["slot", "power", slot, "off"])["finished"], "done", "{slot}");
    }
    let begun = told(&lab, &["rescan"]);
    let slots: Vec<_> = begun.as_array().unwrap().iter().map(|it| it["slot"].as_str().unwrap()).collect();
    assert_eq!(slots, ["disk0", "root"]);
    assert!(begun.as_array().unwrap().iter().all(|it| it["finished"] == "done"), "{begun}");
    assert_eq!(told(&lab, &["ls"]).as_array().unwrap().iter().filter(|f| f["state"] == "open").count(), 9);
    drop(daemon);
}

#[test]
fn the_daemon_ends_clean_in_the_middle_of_an_unplug() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let user = client(&lab, &mut token, "disk0").unwrap();
    told(&lab, &["unplug", "disk0", "--no-wait"]);
    let (status, said) = daemon.end(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
    drop(user);
}

#[test]
fn virtual_machines_are_known_by_name_and_a_dead_monitor_is_said_to_be_one() {
    let (lab, daemon) = serve();
    let socket = lab.file("nobody.qmp").display().to_string();
    assert_eq!(told(&lab, &["vm", "add", "vm0", "--qmp", &socket])["state"], "unreachable");
    refused(&lab, &["vm", "add", "vm0", "--qmp", &socket], 5, "there is a virtual machine `vm0` already");
    refused(&lab, &["vm", "add", "a b", "--qmp", &socket], 1, "letters, digits");
    refused(&lab, &["attach", "disk0", "vm1"], 4, "there is no virtual machine `vm1`");
    refused(&lab, &["attach", "bay", "vm0"], 4, "nothing is plugged into the slot");
    refused(&lab, &["attach", "disk0", "vm0"], 1, "nobody.qmp");
    refused(&lab, &["detach", "disk0"], 1, "is in no virtual machine that is known");
    assert_eq!(told(&lab, &["vm", "list"]).as_array().unwrap().len(), 1);
    told(&lab, &["vm", "remove", "vm0"]);
    assert_eq!(told(&lab, &["vm", "list"]).as_array().unwrap().len(), 0);
    drop(daemon);
}

/// Slots whose cards come and go at once, and one with a latch and no button.
const QUICK: &str = r#"
[[slot]]
name = "root"
address = "0000:00:1e.0"
device = { model = "endpoint-test" }

[[slot]]
name = "spare"
address = "0000:00:1d.0"

[[slot]]
name = "latch"
address = "0000:01:00.0"
latch = true

[[slot]]
name = "button"
address = "0000:02:00.0"
attention_button = true
"#;

fn operator(lab: &Lab) -> Operator {
    Operator::connect(&lab.run_dir().join("control.sock")).unwrap()
}

/// Asks for something and follows it to its end.
fn followed(operator: &mut Operator, request: &Request) -> Result<OperationReport, AskError> {
    let mut operation: OperationReport = operator.ask(request)?;
    while operation.finished.is_none() {
        operation = operator.ask(&Request::OperationWait { id: operation.id, timeout_ms: 10_000 })?;
    }
    Ok(operation)
}

fn plug(slot: &str, card: Option<Card>) -> Request {
    Request::SlotPlug { slot: slot.to_owned(), card }
}

fn unplug(slot: &str) -> Request {
    Request::SlotUnplug { slot: slot.to_owned(), timeout_ms: Some(0) }
}

/// A disk on an image in the lab.
fn disk(lab: &Lab) -> Card {
    Card {
        device: String::from("{ model = \"nvme\" }"),
        backing: Some(String::from("{ kind = \"file\", path = \"card.img\", size = \"1MiB\" }")),
        base: lab.directory.path().to_owned(),
    }
}

fn finished(operation: Result<OperationReport, AskError>) -> String {
    operation.unwrap().finished.unwrap()
}

#[test]
fn a_slot_can_be_filled_again_as_soon_as_the_unplug_has_ended() {
    let lab = Lab::new(QUICK);
    let daemon = lab.serve();
    let mut operator = operator(&lab);
    for cycle in 0..300 {
        assert_eq!(finished(followed(&mut operator, &unplug("root"))), "done", "{cycle}");
        assert_eq!(finished(followed(&mut operator, &plug("root", None))), "done", "{cycle}");
    }
    drop(daemon);
}

#[test]
fn a_card_that_is_put_in_while_the_latch_is_open_waits_in_the_slot_and_the_plug_ends_hp_08() {
    let lab = Lab::new(QUICK);
    let daemon = lab.serve();
    told(&lab, &["slot", "latch", "latch", "open"]);
    let plugged = told(&lab, &["plug", "latch", "--device", "{ model = \"endpoint-test\" }"]);
    assert_eq!(plugged["finished"], "done");
    assert!(plugged["detail"].as_str().unwrap().contains("waits for the latch"), "{plugged}");
    assert_eq!(state(&lab, "latch"), "off");
    told(&lab, &["slot", "latch", "latch", "closed"]);
    assert_eq!(told(&lab, &["slot", "power", "latch", "on"])["finished"], "done");
    drop(daemon);
}

#[test]
fn a_card_that_is_taken_out_before_it_was_switched_on_lets_its_image_go() {
    let lab = Lab::new(QUICK);
    let daemon = lab.serve();
    let mut operator = operator(&lab);
    for take_out in [["unplug", "button"], ["eject", "button"]] {
        let put_in = followed(&mut operator, &plug("button", Some(disk(&lab)))).unwrap();
        assert!(put_in.detail.contains("waits for the attention button"), "{}", put_in.detail);
        told(&lab, &take_out);
        assert_eq!(
            finished(followed(&mut operator, &plug("spare", Some(disk(&lab))))),
            "done",
            "{take_out:?}"
        );
        assert_eq!(finished(followed(&mut operator, &unplug("spare"))), "done");
    }
    drop(daemon);
}

#[test]
fn of_those_who_plug_one_slot_at_once_one_succeeds_and_nobody_waits_for_ever() {
    let lab = Lab::new(QUICK);
    let daemon = lab.serve();
    for _ in 0..20 {
        let start = Barrier::new(4);
        let race = || {
            let mut operator = operator(&lab);
            start.wait();
            followed(&mut operator, &plug("spare", Some(disk(&lab))))
        };
        let ends: Vec<_> = std::thread::scope(|scope| {
            let racing: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
            racing.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let (plugged, refused): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
        assert_eq!(plugged.len(), 1);
        for refusal in refused.into_iter().map(Result::unwrap_err) {
            assert!(
                matches!(&refusal, AskError::Refused(refusal) if refusal.code == RefusalCode::Busy),
                "{refusal}"
            );
        }
        assert_eq!(finished(followed(&mut operator(&lab), &unplug("spare"))), "done");
    }
    drop(daemon);
}

#[test]
fn why_a_card_does_not_come_up_is_said_to_whoever_switches_it_on() {
    let lab = Lab::new(QUICK);
    let daemon = lab.serve();
    let mut operator = operator(&lab);
    assert_eq!(finished(followed(&mut operator, &plug("spare", Some(disk(&lab))))), "done");
    told(&lab, &["slot", "power", "spare", "off"]);
    assert_eq!(finished(followed(&mut operator, &plug("latch", Some(disk(&lab))))), "done");
    refused(&lab, &["slot", "power", "spare", "on"], 1, "is already served as a disk");
    assert_eq!(finished(followed(&mut operator, &unplug("latch"))), "done");
    assert_eq!(told(&lab, &["slot", "power", "spare", "on"])["finished"], "done");
    drop(daemon);
}

#[test]
fn a_full_list_of_operations_is_called_off_and_the_oldest_is_still_known() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let users = ["disk0", "pair", "root"].map(|slot| client(&lab, &mut token, slot).unwrap());
    let mut operator = operator(&lab);
    let patient = |slot: &str| Request::SlotUnplug { slot: slot.to_owned(), timeout_ms: Some(3_600_000) };
    let first: OperationReport = operator.ask(&patient("root")).unwrap();
    let mut slots = ["disk0", "pair"].into_iter().cycle();
    let full = std::iter::from_fn(|| slots.next())
        .find_map(|slot| operator.ask::<OperationReport>(&patient(slot)).err());
    assert!(matches!(full, Some(AskError::Refused(refusal)) if refusal.code == RefusalCode::Busy));
    for slot in ["disk0", "pair"] {
        assert_eq!(told(&lab, &["cancel", slot])["finished"], "done");
    }
    for _ in 0..300 {
        followed(&mut operator, &Request::SlotCancel { slot: String::from("disk0") }).unwrap();
    }
    let known: OperationReport =
        operator.ask(&Request::OperationWait { id: first.id, timeout_ms: 0 }).unwrap();
    assert_eq!(known.finished, None);
    drop((users, daemon));
}

#[test]
fn whoever_waits_for_an_operation_does_not_hold_up_the_end_of_the_daemon() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let user = client(&lab, &mut token, "disk0").unwrap();
    let id = told(&lab, &["unplug", "disk0", "--no-wait"])["id"].as_u64().unwrap();
    let mut operator = operator(&lab);
    let sent = operator.send(&Request::OperationWait { id, timeout_ms: 10_000 }).unwrap();
    let waits = |lab: &Lab| told(lab, &["locks"]).to_string().contains("wait for an operation");
    until(|| waits(&lab));
    let before = std::time::Instant::now();
    let (status, said) = daemon.end(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
    assert!(before.elapsed() < std::time::Duration::from_secs(8), "the wait alone takes ten seconds");
    let _answered_or_cut_off = operator.receive::<OperationReport>(sent);
    drop(user);
}

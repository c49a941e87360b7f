//! Errors as an operator makes them and sees what becomes of them: PEs, freezes, recoveries, budget, AER.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod lab;

use gate::ThreadToken;
use lab::*;
use rustix::process::Signal;
use serde_json::{Value, json};
use vfio_user::client::{Client, ClientOptions};

const LAB: &str = r#"
[containment]
max_freezes = 3
delay_percent = 0

[[slot]]
name = "disk0"
address = "0000:01:00.0"
device = { model = "nvme" }
backing = { kind = "memory", size = "1MiB" }

[[slot]]
name = "test"
address = "0000:02:00.0"
device = { model = "endpoint-test", vfs = 4 }
on_error = "contain"

[[slot]]
name = "told"
address = "0000:03:00.0"
device = { model = "endpoint-test" }
on_error = "notify"
"#;

/// VFIO's index of the error interrupt (VF-30).
const ERR: u32 = 3;

fn serve() -> (Lab, Daemon) {
    let lab = Lab::new(LAB);
    let daemon = lab.serve();
    (lab, daemon)
}

fn told(lab: &Lab, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    lab::json(&lab.run_dir(), &words)
}

fn refused(lab: &Lab, words: &[&str], exit: i32, said: &str) {
    let output = run(&lab.run_dir(), words);
    assert!(code(&output) == exit && stderr(&output).contains(said), "{words:?}: {}", stderr(&output));
}

fn client(lab: &Lab, token: &mut ThreadToken, slot: &str) -> Client {
    Client::connect(token, lab.run_dir().join(slot), ClientOptions::default()).unwrap()
}

fn vendor(client: &mut Client, token: &mut ThreadToken) -> u16 {
    let mut vendor = [0; 2];
    client.region_read(token, 7, 0, &mut vendor).unwrap();
    u16::from_le_bytes(vendor)
}

fn pe(lab: &Lab, name: &str) -> Value {
    let list = told(lab, &["pe"]);
    list.as_array().unwrap().iter().find(|pe| pe["pe"] == name).cloned().unwrap_or(Value::Null)
}

/// Waits until so many recoveries have ended, and gives the last.
fn ended(lab: &Lab, count: usize) -> Value {
    until(|| told(lab, &["eeh"])["history"].as_array().unwrap().len() >= count);
    told(lab, &["eeh"])["history"][0].clone()
}

fn kinds(lab: &Lab, slot: &str) -> Vec<String> {
    let events = told(lab, &["events", slot]);
    events.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_pes_are_those_of_the_machine_and_virtual_functions_have_their_own_eeh_05() {
    let (lab, _daemon) = serve();
    let root = pe(&lab, "0000:phb");
    assert_eq!((&root["kind"], &root["parent"]), (&json!("phb"), &json!("")));
    assert_eq!(root["functions"].as_array().unwrap().len(), 3, "the root ports: {root}");
    let card = pe(&lab, "0000:0200");
    assert_eq!((&card["kind"], &card["parent"]), (&json!("bus"), &json!("0000:phb")));
    assert_eq!(card["functions"], json!(["0000:02:00.0"]));
    told(&lab, &["numvfs", "test", "2"]);
    let vf = pe(&lab, "0000:0201");
    assert_eq!((&vf["kind"], &vf["parent"]), (&json!("vf"), &json!("0000:0200")));
    assert_eq!(told(&lab, &["pe", "show", "02:00.1"])["pe"], "0000:0201");
    told(&lab, &["numvfs", "test", "0"]);
    assert_eq!(pe(&lab, "0000:0201"), Value::Null);
    refused(&lab, &["pe", "show", "0000:0201"], 4, "there is no PE `0000:0201`; `portcullis pe` lists them");
    told(&lab, &["unplug", "told"]);
    assert_eq!(pe(&lab, "0000:0300"), Value::Null);
}

#[test]
fn an_error_is_recovered_from_and_a_client_finds_its_device_as_it_was() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "disk0");
    user.region_write(&mut token, 0, 0x24, &0x001f_001f_u32.to_le_bytes()).unwrap();
    told(&lab, &["inject", "disk0", "0:0:0:0"]);
    let end = ended(&lab, 1);
    assert_eq!(
        (&end["outcome"], &end["pe"], &end["resets"]),
        (&json!("recovered"), &json!("0000:0100"), &json!(1))
    );
    let mut attributes = [0; 4];
    user.region_read(&mut token, 0, 0x24, &mut attributes).unwrap();
    assert_eq!(u32::from_le_bytes(attributes), 0x001f_001f, "a register that a reset clears");
    assert_eq!(pe(&lab, "0000:0100")["freezes"], 1);
    assert_eq!(pe(&lab, "0000:0100")["state"], json!([]));
    let told_of = kinds(&lab, "disk0");
    for kind in ["pe-frozen", "recovery-started", "error-event", "recovery-ended", "pe-thawed"] {
        assert!(told_of.iter().any(|it| it == kind), "{kind}: {told_of:?}");
    }
    let counts = told(&lab, &["eeh"])["statistics"].clone();
    assert_eq!(
        (&counts["recovered"], &counts["slot-resets"], &counts["failed"]),
        (&json!(1), &json!(1), &json!(0))
    );
    drop(user);
    let (status, said) = daemon.end(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn the_faults_of_a_device_are_listed_injected_and_found() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let list = told(&lab, &["inject", "disk0"]);
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|it| it["fault"].as_str().unwrap()).collect();
    assert!(names.contains(&"all-ones") && names.contains(&"controller-fatal"), "{names:?}");
    refused(
        &lab,
        &["inject", "disk0", "bankruptcy"],
        1,
        "`portcullis inject 0000:01:00.0` lists them (EINVAL)",
    );
    refused(
        &lab,
        &["inject", "disk0", "0:14:0:0"],
        1,
        "there is no error function 20: they are 0 to 19 (EINVAL)",
    );
    refused(&lab, &["inject", "disk0", "2:0:0:0"], 1, "there is no error type 2");
    refused(&lab, &["inject", "disk0", "0:0:0"], 1, "four hexadecimal numbers");
    refused(&lab, &["inject", "nothing", "0:0:0:0"], 4, "`nothing`");
    refused(&lab, &["inject", "disk0", "aer:Gremlins"], 1, "there is no such error; there are RxErr,");
    // The device is as behind a dead link; who reads a register finds it out.
    let mut user = client(&lab, &mut token, "disk0");
    told(&lab, &["inject", "disk0", "all-ones"]);
    let mut version = [0; 4];
    user.region_read(&mut token, 0, 8, &mut version).unwrap();
    assert_eq!(version, [0xff; 4]);
    let end = ended(&lab, 1);
    assert_eq!(end["outcome"], "recovered");
    assert!(end["sign"].as_str().unwrap().contains("ones"), "{end}");
    user.region_read(&mut token, 0, 8, &mut version).unwrap();
    assert_eq!(u32::from_le_bytes(version), 0x0001_0400);
}

#[test]
fn one_failure_more_than_the_budget_takes_the_function_away_and_its_card_comes_back_eeh_10() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "disk0");
    for nth in 1..=3 {
        assert_eq!(told(&lab, &["recover", "disk0"])["outcome"], "recovered", "{nth}");
    }
    let output = run(&lab.run_dir(), &["recover", "disk0"]);
    assert_eq!(code(&output), 1);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("failed: it failed too often within the hour"), "{said}");
    until(|| told(&lab, &["slot", "show", "disk0"])["state"] == "off");
    assert_eq!(vendor(&mut user, &mut token), 0xffff, "its session goes on, with nothing behind it");
    let told_of = kinds(&lab, "disk0");
    for kind in ["pe-failed", "revoked", "off"] {
        assert!(told_of.iter().any(|it| it == kind), "{kind}: {told_of:?}");
    }
    assert_eq!(told(&lab, &["slot", "power", "disk0", "on"])["finished"], "done");
    until(|| pe(&lab, "0000:0100")["freezes"] == 0);
    assert_eq!(vendor(&mut client(&lab, &mut token, "disk0"), &mut token), 0x1234);
}

#[test]
fn what_is_to_be_contained_stays_frozen_until_it_is_thawed_eeh_21() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "test");
    told(&lab, &["inject", "test", "0:0:0:0"]);
    let end = ended(&lab, 1);
    assert_eq!(end["outcome"], "contained");
    assert!(
        user.region_read(&mut token, 7, 0, &mut [0; 2]).is_err() || vendor(&mut user, &mut token) == 0xffff
    );
    // Neither its client's reset nor the next client ends that.
    let _whatever = user.reset(&mut token);
    assert_eq!(told(&lab, &["show", "test"])["gate"]["state"], "frozen");
    assert_eq!(told(&lab, &["thaw", "test"])["done"], "thawed");
    assert_eq!(vendor(&mut user, &mut token), 0x1234);
}

#[test]
fn only_a_client_that_is_to_be_notified_finds_an_error_interrupt_vf_30() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    for (slot, count) in [("disk0", 0), ("test", 0), ("told", 1)] {
        let mut user = client(&lab, &mut token, slot);
        assert_eq!(user.irq_info(&mut token, ERR).unwrap().count, count, "{slot}");
    }
}

#[test]
fn errors_of_aer_are_counted_and_a_correctable_one_freezes_nothing_aer_09() {
    let (lab, _daemon) = serve();
    told(&lab, &["inject", "disk0", "aer:BadTLP"]);
    told(&lab, &["inject", "disk0", "aer:BadTLP"]);
    let report = told(&lab, &["aer", "disk0"]);
    assert_eq!(report["correctable"], json!({"BadTLP": 2}));
    assert_eq!(report["records"].as_array().unwrap().len(), 2);
    assert_eq!(
        told(&lab, &["aer", "00:01.0"])["root_port"]["correctable"],
        2,
        "its root port has heard of them"
    );
    assert_eq!(pe(&lab, "0000:0100")["state"], json!([]));
    assert!(kinds(&lab, "disk0").iter().any(|kind| kind == "aer"));
}

#[test]
fn switched_off_containment_refuses_to_make_errors_eeh_27() {
    let lab = Lab::new(&LAB.replace("max_freezes = 3", "enabled = false"));
    let _daemon = lab.serve();
    refused(&lab, &["inject", "disk0", "0:0:0:0"], 1, "containment is switched off");
    assert_eq!(told(&lab, &["eeh"])["enabled"], false);
    assert_eq!(told(&lab, &["orphans"]), json!([]));
}

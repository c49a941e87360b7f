//! The s390 view, by the commands that an operator types and by what a client of the I/O region sees.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod lab;

use gate::ThreadToken;
use lab::{Daemon, Lab, code, json, run, stderr};
use rustix::process::Signal;
use serde_json::Value;
use vfio_user::client::{Client, ClientError, ClientOptions, SharedMemory};

const LAB: &str = r#"
[[slot]]
name = "disk0"
address = "0000:01:00.0"
device = { model = "nvme" }
backing = { kind = "memory", size = "16MiB" }

[[slot]]
name = "test"
address = "0000:02:00.0"
device = { model = "endpoint-test", vfs = 4 }
zpci = { fid = 0x12, uid = 0x7, io_region = true }

[[slot]]
name = "bay"
address = "0000:03:00.0"

[[slot]]
name = "ism0"
address = "0000:04:00.0"
device = { model = "ism", network = "lab", gid = 1 }
"#;

/// The I/O region of `test`: the device has one region of its own before it.
const IO_REGION: u32 = 10;
/// Where the request stands in it.
const REQUEST: u64 = 16;
/// Flags of a request.
const READ: u64 = 1 << 0;
const BLOCK: u64 = 1 << 1;
/// Where the client's memory is mapped.
const MEMORY: u64 = 1 << 20;
/// The memory BAR of `test`.
const MEMORY_BAR: u8 = 2;

fn serve() -> (Lab, Daemon) {
    let lab = Lab::new(LAB);
    let daemon = lab.serve();
    (lab, daemon)
}

/// The last line of the JSON that a command which succeeds prints.
fn told(lab: &Lab, words: &[&str]) -> Value {
    json(&lab.run_dir(), &[words, &["--json"]].concat())
}

fn refused(lab: &Lab, words: &[&str], exit: i32, why: &str) {
    let output = run(&lab.run_dir(), words);
    assert_eq!(code(&output), exit, "{words:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(why), "{words:?}: {}", stderr(&output));
}

/// The line of a function ID in the table.
fn line(lab: &Lab, fid: &str) -> Value {
    let list = told(lab, &["zpci"]);
    let found = list.as_array().unwrap().iter().find(|line| line["fid"] == fid);
    found.unwrap_or_else(|| panic!("{fid}: {list}")).clone()
}

fn handle(lab: &Lab, fid: &str) -> u32 {
    u32::from_str_radix(line(lab, fid)["handle"].as_str().unwrap(), 16).unwrap()
}

fn is_enabled(handle: u32) -> bool {
    handle & 1 << 31 != 0
}

/// Codes of the events of the s390 view of a slot, oldest first: the last word of each text.
fn codes(lab: &Lab, slot: &str, kind: &str) -> Vec<String> {
    let list = told(lab, &["events", slot, "--kind", kind]);
    let text = |event: &Value| event["text"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    list.as_array().unwrap().iter().map(text).collect()
}

fn client(lab: &Lab, token: &mut ThreadToken, slot: &str) -> Client {
    Client::connect(token, lab.run_dir().join(slot), ClientOptions::default()).unwrap()
}

/// A request to move `length` bytes between the client's memory and the memory BAR.
fn request(flags: u64, address: u64, offset: u64, length: u16) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&flags.to_le_bytes());
    bytes[8..16].copy_from_slice(&address.to_le_bytes());
    bytes[16..24].copy_from_slice(&offset.to_le_bytes());
    bytes[28..30].copy_from_slice(&length.to_le_bytes());
    bytes[30] = MEMORY_BAR;
    bytes
}

fn errno(result: Result<(), ClientError>) -> i32 {
    match result {
        Err(ClientError::Refused { errno, .. }) => errno.raw_os_error(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_table_has_every_place_with_its_names_and_its_state_zp_01() {
    let (lab, _daemon) = serve();
    let disk = line(&lab, "00000100");
    assert_eq!((&disk["state"], &disk["function"]), (&"configured".into(), &"works".into()));
    assert_eq!(
        (&disk["address"], &disk["slot"], &disk["uid"]),
        (&"0000:01:00.0".into(), &"disk0".into(), &"".into())
    );
    assert_eq!(disk["io_region"], false);
    let test = line(&lab, "00000012");
    assert_eq!(
        (&test["slot"], &test["uid"], &test["io_region"]),
        (&"test".into(), &"0007".into(), &true.into())
    );
    let bay = line(&lab, "00000300");
    assert_eq!((&bay["state"], &bay["handle"]), (&"reserved".into(), &"00000000".into()));
    assert_eq!(line(&lab, "00000400")["io_region"], true, "an ism device cannot be used without");
    assert!(is_enabled(handle(&lab, "00000100")));
    let text = String::from_utf8(run(&lab.run_dir(), &["zpci"]).stdout).unwrap();
    assert!(text.starts_with("FID       UID   HANDLE    STATE       FUNCTION  ADDRESS"), "{text}");
    let shown = told(&lab, &["zpci", "show", "12"]);
    assert_eq!((&shown["enabled"], &shown["max_store"]), (&true.into(), &128.into()));
    assert!(shown["bars"].as_array().unwrap().contains(&serde_json::json!({"bar": 2, "log2_size": 16})));
    refused(&lab, &["zpci", "show", "999"], 4, "there is no function under `00000999`");
    refused(&lab, &["zpci", "show", "nope"], 2, "hexadecimal digits");
}

#[test]
fn a_function_is_deconfigured_and_configured_under_another_handle_zp_01_zp_05_zp_09() {
    let (lab, daemon) = serve();
    let before = handle(&lab, "00000100");
    refused(&lab, &["zpci", "configure", "100"], 5, "the function is configured already (EIO)");
    for verb in ["configure", "deconfigure", "reset"] {
        refused(&lab, &["zpci", verb, "300"], 5, "there is no card; `portcullis plug bay` puts one in (EIO)");
    }
    assert_eq!(told(&lab, &["zpci", "deconfigure", "100"])["finished"], "done");
    let standby = line(&lab, "00000100");
    assert_eq!((&standby["state"], &standby["function"]), (&"standby".into(), &"".into()));
    let between = handle(&lab, "00000100");
    assert!(!is_enabled(between) && between != before);
    refused(&lab, &["zpci", "deconfigure", "100"], 5, "`portcullis zpci configure 00000100` brings it up");
    assert_eq!(told(&lab, &["zpci", "recover", "100"])["outcome"], "not-configured");
    assert_eq!(told(&lab, &["zpci", "configure", "100"])["finished"], "done");
    let after = handle(&lab, "00000100");
    assert!(is_enabled(after) && after != before);
    assert_eq!(told(&lab, &["unplug", "disk0"])["finished"], "done");
    assert_eq!(line(&lab, "00000100")["state"], "reserved");
    let codes = codes(&lab, "disk0", "zpci-availability");
    assert_eq!(codes, ["0x0302", "0x0301", "0x0303", "0x0301", "0x0303", "0x0308"]);
    let (status, said) = daemon.end(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_card_that_is_plugged_in_comes_from_reserved_and_one_that_is_torn_out_goes_there_zp_05() {
    let (lab, _daemon) = serve();
    assert_eq!(told(&lab, &["plug", "bay", "--device", "{ model = \"endpoint-test\" }"])["finished"], "done");
    assert_eq!(line(&lab, "00000300")["state"], "configured");
    told(&lab, &["eject", "bay"]);
    lab::until(|| line(&lab, "00000300")["state"] == "reserved");
    assert_eq!(codes(&lab, "bay", "zpci-availability"), ["0x0302", "0x0301", "0x0304", "0x0308"]);
    // The card is gone at once; its slot is without power for a second before the next one.
    lab::until(|| told(&lab, &["slot", "show", "bay"])["state"] == "off");
    assert_eq!(told(&lab, &["plug", "bay"])["finished"], "done");
    assert_eq!(line(&lab, "00000300")["state"], "configured");
}

#[test]
fn a_recovery_resets_and_renews_the_handle_and_the_client_keeps_the_function_zp_10() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "test");
    let mut seen = handle(&lab, "00000012");
    for name in ["00000012", "0x12"] {
        let done = told(&lab, &["zpci", "recover", name]);
        assert_eq!(done["outcome"], "recovered", "{name}");
        let now = handle(&lab, "00000012");
        assert!(is_enabled(now) && now != seen, "{name}");
        assert_eq!(done["handle"], format!("{now:08x}"));
        seen = now;
        assert_eq!(line(&lab, "00000012")["function"], "works");
        let mut vendor = [0; 2];
        user.region_read(&mut token, 7, 0, &mut vendor).unwrap();
        assert_eq!(u16::from_le_bytes(vendor), 0x1234);
    }
    assert_eq!(told(&lab, &["zpci", "reset", "12"])["outcome"], "reset");
    told(&lab, &["revoke", "ism0"]);
    assert_eq!(line(&lab, "00000400")["function"], "gone");
    refused(&lab, &["zpci", "recover", "400"], 5, "`portcullis slot power ism0 off`, then `on`");
    refused(&lab, &["zpci", "reset", "400"], 5, "the function is gone");
    assert_eq!(told(&lab, &["zpci", "deconfigure", "400"])["finished"], "done");
    assert_eq!(told(&lab, &["zpci", "configure", "400"])["finished"], "done");
    assert_eq!(line(&lab, "00000400")["function"], "works");
}

#[test]
fn a_function_that_is_frozen_with_its_pe_is_containments_to_recover_and_keeps_its_handle() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "test");
    for name in ["test", "02:00.0", "0000:02:00.0", "0000:0200"] {
        told(&lab, &["freeze", "test"]);
        assert_eq!(line(&lab, "00000012")["function"], "frozen");
        refused(
            &lab,
            &["zpci", "recover", "12"],
            1,
            "it is frozen with its PE, until that is recovered or thawed",
        );
        let before = handle(&lab, "00000012");
        assert_eq!(told(&lab, &["recover", name])["outcome"], "recovered", "{name}");
        assert_eq!(handle(&lab, "00000012"), before, "{name}");
        assert_eq!(line(&lab, "00000012")["function"], "works");
        let mut vendor = [0; 2];
        user.region_read(&mut token, 7, 0, &mut vendor).unwrap();
        assert_eq!(u16::from_le_bytes(vendor), 0x1234);
    }
}

#[test]
fn the_io_region_moves_what_it_is_asked_to_and_refuses_promptly_once_the_function_is_gone_zio_i4() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut user = client(&lab, &mut token, "test");
    let memory = SharedMemory::new(1 << 16).unwrap();
    user.dma_map(&mut token, MEMORY, &memory).unwrap();
    let mut head = [0; 16];
    user.region_read(&mut token, IO_REGION, 0, &mut head).unwrap();
    assert_eq!(head[..10], [0, 0, 0, 0, 0, 0, 0, 0, 128, 0]);
    let block: Vec<u8> = (0..128).collect();
    memory.write(0, &block).unwrap();
    user.region_write(&mut token, IO_REGION, REQUEST, &request(BLOCK, MEMORY, 0x100, 128)).unwrap();
    user.region_write(&mut token, IO_REGION, REQUEST, &request(READ, MEMORY + 512, 0x108, 8)).unwrap();
    let mut word = [0; 8];
    memory.read(512, &mut word).unwrap();
    assert_eq!(word, block[8..16]);
    let mut plain = [0; 128];
    user.region_read(&mut token, MEMORY_BAR.into(), 0x100, &mut plain).unwrap();
    assert_eq!(plain[..], block[..]);
    let eio = rustix::io::Errno::IO.raw_os_error();
    let write = |user: &mut Client, token: &mut ThreadToken, it: [u8; 32]| {
        errno(user.region_write(token, IO_REGION, REQUEST, &it))
    };
    assert_eq!(write(&mut user, &mut token, request(READ, MEMORY, 0, 9)), eio);
    assert_eq!(write(&mut user, &mut token, request(BLOCK, MEMORY, 0, 136)), eio);
    told(&lab, &["freeze", "test"]);
    assert_eq!(write(&mut user, &mut token, request(READ, MEMORY, 0, 8)), eio);
    told(&lab, &["thaw", "test"]);
    // A guest that is asked to let go needs the region to come to an end.
    let operation = told(&lab, &["zpci", "deconfigure", "12", "--timeout", "2", "--no-wait"]);
    assert_eq!(told(&lab, &["slot", "show", "test"])["state"], "asked");
    user.region_write(&mut token, IO_REGION, REQUEST, &request(READ, MEMORY, 0, 8)).unwrap();
    assert_eq!(told(&lab, &["operation", "wait", &operation["id"].to_string()])["finished"], "done");
    let enodev = rustix::io::Errno::NODEV.raw_os_error();
    assert_eq!(write(&mut user, &mut token, request(READ, MEMORY, 0, 8)), enodev);
    assert_eq!(codes(&lab, "test", "zpci-availability").last().unwrap(), "0x0304");
}

#[test]
fn virtual_functions_have_function_ids_as_long_as_they_are_there_and_hold_up_a_deconfiguration_zp_09() {
    let (lab, _daemon) = serve();
    told(&lab, &["numvfs", "test", "2"]);
    let list = told(&lab, &["zpci"]);
    let of_test: Vec<&Value> =
        list.as_array().unwrap().iter().filter(|it| it["parent"] == "00000012").collect();
    assert_eq!(of_test.len(), 2, "{list}");
    let numbers: Vec<u64> = of_test.iter().map(|it| it["virtual_function"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2]);
    let addresses: Vec<&str> = of_test.iter().map(|it| it["address"].as_str().unwrap()).collect();
    assert_eq!(addresses, ["0000:02:00.1", "0000:02:00.2"]);
    let first = of_test[0]["fid"].as_str().unwrap();
    assert_eq!(told(&lab, &["zpci", "recover", first])["outcome"], "recovered");
    refused(&lab, &["zpci", "deconfigure", first], 1, "");
    refused(
        &lab,
        &["zpci", "deconfigure", "12"],
        5,
        "2 virtual functions are switched on; `portcullis numvfs test 0`",
    );
    told(&lab, &["numvfs", "test", "0"]);
    assert_eq!(told(&lab, &["zpci"]).as_array().unwrap().len(), 4);
    told(&lab, &["numvfs", "test", "1"]);
    assert_eq!(told(&lab, &["unplug", "test"])["finished"], "done");
    assert_eq!(told(&lab, &["zpci"]).as_array().unwrap().len(), 4);
}

#[test]
fn a_report_of_an_error_is_an_event_zp_11() {
    let (lab, _daemon) = serve();
    let done = told(&lab, &["zpci", "report-error", "100", "--action", "1", "--data", "link errors"]);
    assert_eq!((&done["action"], &done["bytes"]), (&1.into(), &11.into()));
    let list = told(&lab, &["events", "disk0", "--kind", "zpci-error"]);
    let text = list[0]["text"].as_str().unwrap();
    assert!(text.contains("asks for a repair of the adapter") && text.ends_with("link errors"), "{text}");
    told(&lab, &["zpci", "deconfigure", "100"]);
    told(&lab, &["zpci", "report-error", "100", "--action", "2"]);
    // As long as one may be, and nothing in it that can be written as it is.
    let longest = "\u{1}".repeat(512);
    assert_eq!(
        told(&lab, &["zpci", "report-error", "100", "--action", "2", "--data", &longest])["bytes"],
        512
    );
    let longer = "x".repeat(513);
    refused(
        &lab,
        &["zpci", "report-error", "100", "--action", "2", "--data", &longer],
        2,
        "write at most 512",
    );
}

#[test]
fn two_functions_with_one_function_id_are_refused_at_the_start() {
    let lab = Lab::new(&format!("{LAB}zpci = {{ fid = 0x100 }}\n"));
    let output = run(&lab.run_dir(), &["serve", &lab.config()]);
    assert_eq!(code(&output), 1);
    let said = stderr(&output);
    assert!(said.contains("00000100") && said.contains("choose another `fid`"), "{said}");
}

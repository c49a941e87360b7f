//! Freeze, thaw and revocation by an operator, while a client has the function's memory mapped.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod lab;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::{Acquire, Release};

use gate::ThreadToken;
use lab::*;
use rustix::process::Signal;
use serde_json::json as value;
use vfio_user::client::{Client, ClientError, ClientOptions, MappedArea, SharedMemory};
use vfio_user::codec::SparseArea;

const LAB: &str = r#"
[[slot]]
name = "test"
address = "0000:01:00.0"
device = { model = "endpoint-test", memory = "1MiB", rom = "rom.bin", vfs = 2 }

[[slot]]
name = "disk0"
address = "0000:02:00.0"
device = { model = "nvme", doorbells = "mapped" }
backing = { kind = "memory", size = "16MiB" }
"#;

/// The memory BAR.
const MEMORY: u32 = 2;
const ROM: u32 = 6;
const SIZE: u64 = 1 << 20;

fn serve() -> (Lab, Daemon) {
    let lab = Lab::new(LAB);
    std::fs::write(lab.file("rom.bin"), [0x55, 0xaa, 3]).unwrap();
    let daemon = lab.serve();
    (lab, daemon)
}

fn attach(lab: &Lab, token: &mut ThreadToken, slot: &str) -> Result<Client, ClientError> {
    Client::connect(token, lab.run_dir().join(slot), ClientOptions { timeout: PATIENCE })
}

fn map(client: &mut Client, token: &mut ThreadToken) -> MappedArea {
    client.region_info(token, MEMORY).unwrap().map(&SparseArea { offset: 0, size: SIZE }).unwrap()
}

fn dword(area: &MappedArea, offset: usize) -> u32 {
    area.atomic_u32(offset).unwrap().load(Acquire)
}

fn mapping(lab: &Lab) -> serde_json::Value {
    json(&lab.run_dir(), &["show", "test", "--json"])["mappings"].clone()
}

fn refused(lab: &Lab, words: &[&str], exit: i32, said: &str) {
    let output = run(&lab.run_dir(), words);
    assert!(code(&output) == exit && stderr(&output).contains(said), "{words:?}: {}", stderr(&output));
}

#[test]
fn what_a_client_has_mapped_is_hidden_when_freeze_returns_and_back_when_thaw_does() {
    let mut token = ThreadToken::at_thread_entry();
    let (lab, _daemon) = serve();
    let mut client = attach(&lab, &mut token, "test").unwrap();
    let area = map(&mut client, &mut token);
    area.atomic_u32(0x10).unwrap().store(7, Release);
    let shown = mapping(&lab);
    let owner = format!("vfio-user client, process {}", std::process::id());
    assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
    assert_eq!((&shown[0]["owner"], &shown[0]["state"]), (&owner.into(), &"live".into()));
    assert_eq!((&shown[0]["region"], &shown[0]["size"]), (&MEMORY.into(), &SIZE.into()));
    for _ in 0..3 {
        let frozen = json(&lab.run_dir(), &["freeze", "test", "--json"]);
        assert_eq!((&frozen["changed"], &frozen["done"]), (&true.into(), &"frozen".into()));
        assert_eq!(frozen["mappings_followed"], true);
        assert_eq!((dword(&area, 0x10), dword(&area, 0xf_fffc)), (u32::MAX, u32::MAX));
        assert_eq!(mapping(&lab)[0]["state"], "frozen");
        assert_eq!(json(&lab.run_dir(), &["freeze", "test", "--json"])["changed"], false);
        assert_eq!(json(&lab.run_dir(), &["thaw", "test", "--json"])["done"], "thawed");
        assert_eq!((dword(&area, 0x10), dword(&area, 0xf_fffc)), (7, 0));
    }
    refused(&lab, &["thaw", "test"], 1, "PE 0000:0100 is not frozen");
    for verb in ["freeze", "thaw", "revoke"] {
        refused(&lab, &[verb, "nothing"], 4, "there is no function or slot `nothing`");
    }
    drop(client);
    until(|| mapping(&lab).as_array().unwrap().is_empty());
}

#[test]
fn a_client_of_a_revoked_function_keeps_its_session_and_reaches_nothing_and_the_next_is_sent_away() {
    let mut token = ThreadToken::at_thread_entry();
    let (lab, daemon) = serve();
    let mut client = attach(&lab, &mut token, "test").unwrap();
    let area = map(&mut client, &mut token);
    let memory = SharedMemory::new(1 << 16).unwrap();
    client
        .dma_map_raw(
            &mut token,
            vfio_user::codec::DmaMap { argsz: 32, flags: 3, offset: 0, address: 1 << 20, size: 1 << 16 },
            Some(std::os::fd::AsFd::as_fd(&memory)),
        )
        .unwrap();
    let gone = json(&lab.run_dir(), &["revoke", "test", "--json"]);
    assert_eq!((&gone["state"], &gone["mappings_followed"]), (&"gone".into(), &true.into()));
    assert_eq!((dword(&area, 0), dword(&area, 0xf_fffc)), (u32::MAX, u32::MAX));
    let mut data = [0; 4];
    client.region_read(&mut token, MEMORY, 0, &mut data).unwrap();
    assert_eq!(data, [0xff; 4]);
    client.region_write(&mut token, MEMORY, 0, &data).unwrap();
    // QEMU ends itself at the next reboot of its guest if one of these fails.
    client.dma_unmap(&mut token, 1 << 20, 1 << 16).unwrap();
    client.reset(&mut token).unwrap();
    client.region_read(&mut token, 7, 0, &mut data).unwrap();
    for verb in ["revoke", "freeze", "thaw"] {
        refused(&lab, &[verb, "test"], 1, "0000:01:00.0 is gone");
    }
    assert_eq!(listed(&json(&lab.run_dir(), &["ls", "--json"]), "test")["state"], "gone");
    let shown = String::from_utf8(run(&lab.run_dir(), &["show", "test"]).stdout).unwrap();
    assert!(shown.contains("the function is gone until its slot is switched off and on"), "{shown}");
    drop(client);
    until(|| listed(&json(&lab.run_dir(), &["ls", "--json"]), "test")["attached"] == false);
    assert!(matches!(attach(&lab, &mut token, "test"), Err(ClientError::Refused { .. })));
    assert!(attach(&lab, &mut token, "disk0").is_ok(), "the others are served");
    let (status, said) = daemon.end(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_bridge_and_a_function_with_virtual_functions_are_not_revoked() {
    let (lab, _daemon) = serve();
    refused(&lab, &["revoke", "00:01.0"], 1, "is a bridge");
    json(&lab.run_dir(), &["numvfs", "test", "2", "--json"]);
    refused(&lab, &["revoke", "test"], 5, "`portcullis numvfs 0000:01:00.0 0` removes them first (EBUSY)");
    assert_eq!(json(&lab.run_dir(), &["freeze", "01:00.1", "--json"])["functions"], value!(["0000:01:00.1"]));
    assert_eq!(json(&lab.run_dir(), &["thaw", "01:00.1", "--json"])["done"], "thawed");
    assert_eq!(json(&lab.run_dir(), &["revoke", "01:00.1", "--json"])["state"], "gone");
    json(&lab.run_dir(), &["numvfs", "test", "0", "--json"]);
    assert_eq!(json(&lab.run_dir(), &["revoke", "test", "--json"])["state"], "gone");
}

#[test]
fn a_rom_is_read_from_a_regular_file_of_a_fitting_size_and_nothing_makes_the_daemon_wait() {
    let mut token = ThreadToken::at_thread_entry();
    let (lab, daemon) = serve();
    let mut client = attach(&lab, &mut token, "test").unwrap();
    let mut start = [0; 2];
    client.region_read(&mut token, ROM, 0, &mut start).unwrap();
    assert_eq!(start, [0x55, 0xaa]);
    drop((client, daemon));
    let rom = lab.file("rom.bin");
    let check = |prepare: &dyn Fn(&Path), said: &str| {
        let _ = std::fs::remove_file(&rom);
        prepare(&rom);
        let mut daemon = portcullis(&lab.run_dir());
        let mut child =
            daemon.arg("serve").arg(lab.config()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        assert_eq!(wait(&mut child), Some(1), "{said}");
        let said_so = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(said_so.contains(said) && said_so.contains("slot `test`"), "{said_so}");
    };
    check(&|_| {}, "cannot be read");
    check(&|path| std::fs::write(path, []).unwrap(), "is empty");
    check(
        &|path| std::fs::File::create(path).unwrap().set_len((16 << 20) + 1).unwrap(),
        "has more than 16MiB",
    );
    check(
        &|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "is no regular file",
    );
    check(
        &|path| {
            let _ = std::fs::remove_file(path);
            std::fs::create_dir(path).unwrap();
        },
        "is no regular file",
    );
}

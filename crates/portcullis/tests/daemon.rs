//! The binary as an operator uses it: serve, look, exercise, stop.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod lab;

use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use lab::*;
use rustix::process::Signal;

const ONE_FILE: &str = r#"
[[slot]]
name = "disk0"
address = "0000:01:00.0"
device = { model = "nvme" }
backing = { kind = "file", path = "disk0.img", size = "16MiB" }
"#;

#[test]
fn without_a_file_one_disk_is_served_looked_at_exercised_and_ended() {
    let directory = tempfile::tempdir().unwrap();
    let run_dir = directory.path().join("run");
    let daemon = Daemon::start(&run_dir, &[]);
    let socket = run_dir.join("disk0/cntrl").display().to_string();
    assert!(
        daemon.printed.contains(&format!("\"path\":\"{socket}\"")),
        "QEMU's command line: {}",
        daemon.printed
    );
    assert!(daemon.printed.contains("share=on") && daemon.printed.contains("--user-device socket="));

    let list = json(&run_dir, &["ls", "--json"]);
    let disk = listed(&list, "disk0");
    assert_eq!(disk["address"], "0000:01:00.0");
    assert_eq!((&disk["state"], &disk["attached"]), (&"open".into(), &false.into()));
    assert_eq!(disk["socket"], socket.as_str());
    assert_eq!(list, json(&run_dir, &["--json", "function", "list"]));

    for target in ["0000:01:00.0", "01:00.0", "disk0"] {
        let report = json(&run_dir, &["show", target, "--json"]);
        assert_eq!(report["config"]["class"], "0x010802");
        assert_eq!(report["gate"]["state"], "open");
        assert!(report["device"].as_array().is_some_and(|device| !device.is_empty()));
    }
    let shown = String::from_utf8(run(&run_dir, &["show", "disk0"]).stdout).unwrap();
    assert!(shown.contains("NVM Express controller") && shown.contains("capability"), "{shown}");
    assert_eq!(json(&run_dir, &["slot", "list", "--json"])[0]["size"], 1 << 30);
    assert_eq!(json(&run_dir, &["reset", "disk0", "--json"])["address"], "0000:01:00.0");

    let figures = json(&run_dir, &["exercise", &socket, "--size", "4MiB", "--json"]);
    assert_eq!(figures["verified_bytes"], 4 << 20);
    let kinds: Vec<String> = json(&run_dir, &["event", "list", "--json"])
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap().to_owned())
        .collect();
    assert!(kinds.contains(&"reset".into()) && kinds.contains(&"client-attached".into()), "{kinds:?}");

    let (code, said) = daemon.end(Signal::TERM);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("everything is flushed and closed"), "{said}");
    assert!(!run_dir.join("disk0/cntrl").exists() && !run_dir.join("control.sock").exists());
    assert_eq!(std::fs::metadata(run_dir.join("disk0.img")).unwrap().len(), 1 << 30);
}

/// Rows of "offset: sixteen bytes" under one line that names the function.
#[test]
fn a_dump_is_what_lspci_reads() {
    let lab = Lab::new(ONE_FILE);
    let daemon = lab.serve();
    let all = String::from_utf8(run(&lab.run_dir(), &["dump"]).stdout).unwrap();
    assert!(all.starts_with("0000:00:01.0 PCI bridge: Portcullis root-port\n"), "the port above the disk");
    let dump = String::from_utf8(run(&lab.run_dir(), &["dump", "disk0"]).stdout).unwrap();
    let mut lines = dump.lines();
    assert_eq!(lines.next(), Some("0000:01:00.0 NVM Express controller: Portcullis nvme (disk0)"));
    let mut bytes = Vec::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let (offset, row) = line.split_once(": ").unwrap();
        assert_eq!(usize::from_str_radix(offset, 16).unwrap(), bytes.len());
        bytes.extend(row.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    assert_eq!(lines.next(), None);
    assert_eq!(bytes.len(), 4096);
    assert_eq!(bytes[9..12], [0x02, 0x08, 0x01], "class code");
    if let Ok(lspci) = Command::new("lspci")
        .arg("-vF")
        .arg("/dev/stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        use std::io::Write;
        let mut lspci = lspci;
        lspci.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
        let output = String::from_utf8(lspci.wait_with_output().unwrap().stdout).unwrap();
        assert!(output.contains("01:00.0") && output.contains("Capabilities: [40]"), "{output}");
    }
    drop(daemon);
}

#[test]
fn every_kind_of_interrupt_doorbell_and_backing_is_served_at_once() {
    let mut toml = String::from("[daemon]\nrun_dir = \"run\"\n");
    let mut names = Vec::new();
    for (n, interrupts) in ["msi", "msix", "intx"].into_iter().enumerate() {
        for (m, doorbells) in ["trapped", "mapped"].into_iter().enumerate() {
            let name = format!("{interrupts}-{doorbells}");
            let block = [512, 4096][m];
            let backing = if n == 1 {
                format!(r#"kind = "file", path = "{name}.img""#)
            } else {
                String::from(r#"kind = "memory""#)
            };
            toml.push_str(&format!(
                "[[slot]]\nname = \"{name}\"\naddress = \"0001:0{n}:0{m}.0\"\n\
                 device = {{ model = \"nvme\", interrupts = \"{interrupts}\", doorbells = \"{doorbells}\" }}\n\
                 backing = {{ {backing}, size = \"8MiB\", block_size = {block} }}\n"
            ));
            names.push((name, doorbells, block));
        }
    }
    let lab = Lab::new(&toml);
    let daemon = lab.serve();
    for (name, doorbells, block) in &names {
        let output = lab.exercise(name, &["--size", "2MiB", "--block", "16KiB", "--depth", "8", "--json"]);
        assert_eq!(code(&output), 0, "{name}: {}", stderr(&output));
        let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (figures["verified_bytes"].as_u64(), figures["block_size"].as_u64()),
            (Some(2 << 20), Some(*block))
        );
        assert_eq!(figures["doorbells"] == "mapped", *doorbells == "mapped", "{name}: {figures}");
    }
    assert_eq!(json(&lab.run_dir(), &["slot", "list", "--json"]).as_array().unwrap().len(), 6);
    let (code, said) = daemon.end(Signal::INT);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn what_was_acknowledged_is_in_the_image_and_is_served_again() {
    let lab = Lab::new(ONE_FILE);
    let daemon = lab.serve();
    let output = lab.exercise("disk0", &["--size", "16MiB", "--block", "64KiB"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("latency of reads"));
    let (code_, said) = daemon.end(Signal::HUP);
    assert_eq!(code_, Some(0), "{said}");
    let image = std::fs::read(lab.file("disk0.img")).unwrap();
    models::nvme::host::pattern::check(&image, 512, 0, 0).unwrap();

    let _again = lab.serve();
    // Its own pattern may be overwritten without being asked for.
    assert_eq!(code(&lab.exercise("disk0", &["--size", "1MiB"])), 0);
}

#[test]
fn ending_in_the_middle_of_io_is_orderly() {
    let lab = Lab::new(ONE_FILE);
    let daemon = lab.serve();
    let socket = lab.run_dir().join("disk0").display().to_string();
    let mut exercise = portcullis(&lab.run_dir())
        .args(["exercise", &socket, "--seconds", "600"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(|| {
        let report = json(&lab.run_dir(), &["show", "disk0", "--json"]);
        report["device"].as_array().unwrap().iter().any(|field| field[0] == "writes" && field[1] != "0")
    });
    assert_eq!(listed(&json(&lab.run_dir(), &["ls", "--json"]), "disk0")["attached"], true);
    assert_eq!(code(&lab.exercise("disk0", &["--seconds", "1"])), 5, "one client at a time");
    let (code, said) = daemon.end(Signal::TERM);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(wait(&mut exercise), Some(1), "the client is told that its disk has gone");
    assert!(!lab.run_dir().join("disk0/cntrl").exists());
}

#[test]
fn a_killed_daemon_leaves_nothing_that_keeps_the_next_one_out() {
    let lab = Lab::new(ONE_FILE);
    let (code_, _) = lab.serve().end(Signal::KILL);
    assert_eq!(code_, None);
    assert!(lab.run_dir().join("disk0/cntrl").exists(), "stale");
    let daemon = lab.serve();
    assert_eq!(code(&lab.exercise("disk0", &["--size", "1MiB"])), 0);
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}

#[test]
fn another_ones_data_is_not_overwritten_unasked() {
    let lab = Lab::new(ONE_FILE);
    let mut image = vec![0; 16 << 20];
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(lab.file("disk0.img"), &image).unwrap();
    let daemon = lab.serve();
    let refused = lab.exercise("disk0", &["--size", "1MiB"]);
    assert_eq!(code(&refused), 5);
    assert!(stderr(&refused).contains("holds data at block 0") && stderr(&refused).contains("--overwrite"));
    let again = lab.exercise("disk0", &["--size", "1MiB", "--overwrite"]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    drop(daemon);
}

#[test]
fn a_second_daemon_in_the_same_directory_is_refused() {
    let lab = Lab::new(ONE_FILE);
    let daemon = lab.serve();
    let second = run(&lab.run_dir(), &["serve"]);
    assert_eq!(code(&second), 5, "{}", stderr(&second));
    assert!(stderr(&second).contains("another `portcullis serve` uses "), "{}", stderr(&second));
    assert_eq!(json(&lab.run_dir(), &["show", "disk0", "--json"])["gate"]["state"], "open", "unharmed");
    drop(daemon);
}

#[test]
fn a_busy_socket_and_a_wrong_image_are_shown_in_the_file() {
    let lab = Lab::new(ONE_FILE);
    let slot = lab.run_dir().join("disk0");
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
        .create(&slot)
        .unwrap();
    let listener = UnixListener::bind(slot.join("cntrl")).unwrap();
    let busy = run(&lab.run_dir(), &["serve", &lab.config()]);
    assert_eq!(code(&busy), 1);
    let expected = format!(
        "portcullis: {config}:2:1: slot `disk0`: its socket cannot be made: {socket}: another server listens on this \
         socket; stop it or choose another path\n  |\n2 | [[slot]]\n  | ^^^^^^^^\nfix: stop that server, or name another run_dir\n",
        config = lab.config(),
        socket = slot.join("cntrl").display()
    );
    assert_eq!(stderr(&busy), expected);
    assert!(slot.join("cntrl").exists(), "the other server keeps its socket");
    drop(listener);

    std::fs::write(lab.file("disk0.img"), vec![0; 8 << 20]).unwrap();
    let wrong = run(&lab.run_dir(), &["serve", &lab.config()]);
    assert_eq!(code(&wrong), 1);
    let text = stderr(&wrong);
    assert!(
        text.contains("lab.toml:6:11: slot `disk0`: ") && text.contains("fix: write size = \"8MiB\""),
        "{text}"
    );
}

#[test]
fn a_wrong_file_is_a_usage_error_with_its_line() {
    let lab = Lab::new(&ONE_FILE.replace("size =", "sise ="));
    for words in [&["serve", &lab.config()][..], &["serve", "--check", &lab.config()]] {
        let output = run(&lab.run_dir(), words);
        assert_eq!(code(&output), 2);
        let expected = format!(
            "portcullis: {}:6:48: unknown key `sise` in backing\n  |\n6 | backing = {{ kind = \"file\", path = \"disk0.img\", sise = \"16MiB\" }}\n  \
             |                                                ^^^^\nfix: did you mean `size`? There is `kind`, `path`, `size`, `block_size`\n",
            lab.config()
        );
        assert_eq!(stderr(&output), expected);
    }
    assert!(!lab.run_dir().exists(), "nothing was made");
    let good = Lab::new(ONE_FILE);
    assert_eq!(code(&run(&good.run_dir(), &["serve", "--check", &good.config()])), 0);
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let lab = Lab::new(ONE_FILE);
    let elsewhere = lab.file("control.sock").display().to_string();
    assert_eq!(
        code(&run(&lab.run_dir(), &["--control", &elsewhere, "ls"])),
        3,
        "--control wins over the run directory"
    );
    let nobody = run(&lab.run_dir(), &["ls"]);
    assert_eq!(code(&nobody), 3);
    assert!(stderr(&nobody).contains("start `portcullis serve`"));
    assert_eq!(code(&run(&lab.run_dir(), &["exercise", "/nonexistent/cntrl"])), 3);
    assert_eq!(code(&run(&lab.run_dir(), &["explode"])), 2);
    assert_eq!(code(&run(&lab.run_dir(), &["serve", "/nonexistent.toml"])), 2);
    let daemon = lab.serve();
    for words in [["show", "0000:02:00.0"], ["reset", "nope"], ["dump", "nope"]] {
        let output = run(&lab.run_dir(), &words);
        assert_eq!(code(&output), 4, "{words:?}");
        assert!(stderr(&output).contains("`portcullis ls` lists them"));
    }
    assert_eq!(code(&lab.exercise("disk0", &["--block", "1000B"])), 2);
    drop(daemon);
}

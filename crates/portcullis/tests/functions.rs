//! Registers, resets, power and virtual functions, as an operator commands them.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod lab;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use lab::*;
use rustix::process::Signal;

const LAB: &str = r#"
[[slot]]
name = "disk0"
address = "0000:01:00.0"
device = { model = "nvme" }
backing = { kind = "memory", size = "16MiB" }

[[slot]]
name = "test"
address = "0000:02:00.0"
device = { model = "endpoint-test", vfs = 8 }

[[slot]]
name = "left"
address = "0000:03:00.0"
device = { model = "endpoint-test" }

[[slot]]
name = "right"
address = "0000:03:00.1"
device = { model = "endpoint-test" }
"#;

/// The lab, its daemon, and what the commands print.
struct Machine {
    lab: Lab,
    daemon: Daemon,
}

impl Machine {
    fn new() -> Machine {
        let lab = Lab::new(LAB);
        let daemon = lab.serve();
        Machine { lab, daemon }
    }

    fn json(&self, words: &[&str]) -> serde_json::Value {
        json(&self.lab.run_dir(), &[words, &["--json"]].concat())
    }

    fn text(&self, words: &[&str]) -> String {
        let output = run(&self.lab.run_dir(), words);
        assert_eq!(code(&output), 0, "{words:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and what stderr says.
    fn refused(&self, words: &[&str]) -> (i32, String) {
        let output = run(&self.lab.run_dir(), words);
        (code(&output), stderr(&output))
    }

    fn register(&self, target: &str, register: &str) -> String {
        self.text(&["config", target, register]).trim().to_owned()
    }
}

#[test]
fn every_slot_is_found_where_it_was_configured_below_a_root_port() {
    let machine = Machine::new();
    let list = machine.json(&["ls"]);
    let at = |function: &serde_json::Value| function["address"].as_str().unwrap().to_owned();
    let addresses: Vec<String> = list.as_array().unwrap().iter().map(at).collect();
    let expected = ["00:01.0", "00:02.0", "00:03.0", "01:00.0", "02:00.0", "03:00.0", "03:00.1"];
    assert_eq!(addresses, expected.map(|address| format!("0000:{address}")));
    assert_eq!(machine.register("00:02.0", "19.b"), "02", "the bus below the second port");
    assert_eq!(machine.register("left", "HEADER_TYPE"), "80", "more than one function");
}

#[test]
fn a_register_is_read_and_written_by_name_and_by_offset() {
    let machine = Machine::new();
    assert_eq!(machine.register("disk0", "VENDOR_ID"), "1234");
    assert_eq!(machine.register("disk0", "0.l"), "4e561234");
    assert_eq!(machine.register("disk0", "COMMAND=0006"), "0006");
    assert_eq!(machine.register("01:00.0", "4.w"), "0006");
    let report = machine.json(&["config", "disk0", "VENDOR_ID=ffff"]);
    assert_eq!((&report["value"], &report["written"]), (&"1234".into(), &"ffff".into()), "read-only");
    for (register, said) in [
        ("VENDOR", "no register is called"),
        ("1.w", "aligned"),
        ("1000.b", "within configuration space"),
        ("COMMAND=12345", "no hexadecimal value of 2 bytes"),
        ("40", "say how wide"),
        ("CAP_VPD+0.w", "no capability"),
    ] {
        let (code, text) = machine.refused(&["config", "disk0", register]);
        assert!(code == 1 && text.contains(said) && text.contains("(EINVAL)"), "{register}: {code} {text}");
    }
    assert_eq!(machine.refused(&["config", "09:00.0", "0.l"]).0, 4);
}

#[test]
fn a_reset_puts_the_registers_back_and_empties_the_device_rst_11() {
    let machine = Machine::new();
    machine.register("test", "COMMAND=0006");
    let bar = machine.register("test", "BASE_ADDRESS_0");
    for words in [
        &["reset", "test"][..],
        &["reset", "test", "--method", "bus"],
        &["reset", "test", "--try"],
        &["reset", "00:02.0", "--subordinate"],
    ] {
        let done = machine.json(words);
        assert_eq!(done["not_restored"], 0, "{words:?}: {done}");
        assert_eq!(machine.register("test", "COMMAND"), "0006", "{words:?}");
        assert_eq!(machine.register("test", "BASE_ADDRESS_0"), bar, "{words:?}");
    }
    assert_eq!(machine.json(&["reset", "test"])["method"], "flr");
    let (code, text) = machine.refused(&["reset", "test", "--method", "warp"]);
    assert!(code == 1 && text.contains("`warp` is no reset method; there is device_specific"), "{text}");
    let (code, text) = machine.refused(&["reset", "left", "--method", "bus"]);
    assert!(code == 1 && text.contains("(ENOTTY)"), "another function is on the bus (RST-08): {text}");
}

#[test]
fn reset_methods_are_shown_chosen_and_switched_off_rst_03() {
    let machine = Machine::new();
    let all = machine.json(&["reset-method", "disk0"]);
    assert_eq!(all["in_use"], serde_json::json!(["flr", "pm", "bus"]));
    assert_eq!(all["methods"][0]["method"], "device_specific");
    assert!(all["methods"][0]["unsupported"].is_string());
    assert_eq!(
        machine.json(&["reset-method", "disk0", "bus,flr"])["in_use"],
        serde_json::json!(["bus", "flr"])
    );
    assert_eq!(machine.json(&["reset", "disk0"])["method"], "bus");
    for bad in ["bus,warp", "af_flr", "FLR"] {
        let (code, text) = machine.refused(&["reset-method", "disk0", bad]);
        assert!(code == 1 && text.contains("(EINVAL)"), "{bad}: {text}");
        assert_eq!(
            machine.json(&["reset-method", "disk0"])["in_use"],
            serde_json::json!(["bus", "flr"]),
            "{bad}"
        );
    }
    machine.text(&["reset-method", "disk0", ""]);
    let (code, text) = machine.refused(&["reset", "disk0"]);
    assert!(code == 1 && text.contains("(ENOTTY)"), "{text}");
    assert_eq!(machine.json(&["reset-method", "disk0", "default"])["in_use"], all["in_use"]);
}

#[test]
fn power_states_are_shown_and_changed_and_a_cold_bridge_takes_what_is_below_along_pwr_07() {
    let machine = Machine::new();
    let state = |target: &str| machine.json(&["power", target])["state"].as_str().unwrap().to_owned();
    assert_eq!(state("disk0"), "D0");
    machine.text(&["power", "disk0", "D3hot"]);
    assert_eq!(machine.register("disk0", "CAP_PM+4.w"), "0003");
    machine.text(&["power", "disk0", "d0"]);
    assert_eq!((state("disk0"), machine.register("disk0", "CAP_PM+4.w")), ("D0".into(), "0000".into()));
    machine.text(&["power", "00:01.0", "D3cold"]);
    assert_eq!((state("00:01.0"), state("disk0")), ("D3cold".into(), "D3cold".into()));
    assert_eq!(
        machine.json(&["show", "disk0"])["gate"]["state"],
        "open",
        "a register access wakes it (CFG-15)"
    );
    assert_eq!(machine.register("disk0", "VENDOR_ID"), "1234");
    assert_eq!((state("00:01.0"), state("disk0")), ("D0".into(), "D0".into()));
    let (code, text) = machine.refused(&["power", "disk0", "D1"]);
    assert!(code == 1 && text.contains("(EIO)"), "PWR-02: {text}");
    let (code, text) = machine.refused(&["power", "disk0", "D4"]);
    assert!(code == 1 && text.contains("`D4` is no power state") && text.contains("(EINVAL)"), "{text}");
}

#[test]
fn virtual_functions_come_and_go_hp_18() {
    let machine = Machine::new();
    assert_eq!(machine.json(&["numvfs", "test"])["total"], 8);
    let vfs = machine.json(&["numvfs", "test", "4"]);
    let expected = ["02:00.1", "02:00.2", "02:00.3", "02:00.4"].map(|at| format!("0000:{at}"));
    assert_eq!(vfs["functions"], serde_json::json!(expected));
    assert_eq!(machine.json(&["ls"]).as_array().unwrap().len(), 7 + 4);
    assert_eq!(machine.register("02:00.3", "VENDOR_ID"), "1234", "virtual (CAP-04)");
    assert_eq!(machine.json(&["reset", "02:00.3"])["method"], "flr");
    for (count, errno, code) in [("2", "(EBUSY)", 5), ("9", "(ERANGE)", 1)] {
        let (got, text) = machine.refused(&["numvfs", "test", count]);
        assert!(got == code && text.contains(errno), "{count}: {got} {text}");
    }
    let (code, text) = machine.refused(&["power", "test", "D3hot"]);
    assert!(code == 5 && text.contains("(EBUSY)"), "VF-48: {text}");
    machine.text(&["numvfs", "test", "0"]);
    assert_eq!(machine.json(&["ls"]).as_array().unwrap().len(), 7);
    let (code, text) = machine.refused(&["numvfs", "disk0", "1"]);
    assert!(code == 1 && text.contains("(ENOENT)"), "{text}");
}

#[test]
fn a_write_that_would_do_half_of_what_a_command_does_is_refused_and_names_the_command() {
    let machine = Machine::new();
    machine.text(&["numvfs", "test", "2"]);
    for (target, write, register, said) in [
        ("00:01.0", "BRIDGE_CONTROL=0040", "BRIDGE_CONTROL", "reset 0000:00:01.0 --subordinate"),
        ("00:01.0", "3c.l=00400000", "BRIDGE_CONTROL", "reset 0000:00:01.0 --subordinate"),
        ("00:01.0", "19.b=09", "19.b", "configuration file"),
        ("00:01.0", "CAP_PM+4.w=0003", "CAP_PM+4.w", "power 0000:00:01.0 STATE"),
        ("test", "ECAP_SRIOV+8.w=0000", "ECAP_SRIOV+8.w", "numvfs 0000:02:00.0 N"),
        ("test", "CAP_EXP+8.w=a810", "CAP_EXP+8.w", "reset 0000:02:00.0 --method flr"),
    ] {
        let before = machine.register(target, register);
        let (code, text) = machine.refused(&["config", target, write]);
        assert!(code == 1 && text.contains(said) && text.contains("(EPERM)"), "{write}: {code} {text}");
        assert_eq!(machine.register(target, register), before, "{write}");
    }
    for (target, harmless, reads) in [
        ("00:01.0", "BRIDGE_CONTROL=0001", "0001"),
        ("00:01.0", "18.l=00010100", "00010100"),
        ("test", "ECAP_SRIOV+8.w=0019", "0019"),
    ] {
        assert_eq!(machine.register(target, harmless), reads);
    }
    assert_eq!(machine.json(&["numvfs", "test"])["functions"].as_array().unwrap().len(), 2);
    assert_eq!(machine.register("disk0", "VENDOR_ID"), "1234", "still reached");
    machine.text(&["numvfs", "test", "0"]);
    machine.text(&["config", "test", "CAP_EXP+8.w=a810"]);
    assert_eq!(
        machine.register("test", "BASE_ADDRESS_0"),
        "00000000",
        "without virtual functions it is done"
    );
}

#[test]
fn what_an_operator_did_is_in_the_history_of_the_function() {
    let machine = Machine::new();
    for words in [
        &["reset", "disk0"][..],
        &["reset-method", "disk0", "bus,flr"],
        &["power", "disk0", "D3hot"],
        &["power", "disk0", "D0"],
        &["config", "disk0", "COMMAND=0006"],
        &["config", "disk0", "CAP_EXP+8.w=a810"],
        &["numvfs", "test", "2"],
        &["reset", "00:01.0", "--subordinate"],
    ] {
        machine.text(words);
    }
    let told = |target: &str| -> Vec<String> {
        let list = machine.json(&["event", "list", target]);
        let of_function = list.as_array().unwrap().iter().filter(|event| event["slot"].is_null());
        of_function.map(|event| event["text"].as_str().unwrap().to_owned()).collect()
    };
    let disk = told("disk0");
    for text in [
        "by an operator: reset by flr",
        "by an operator: reset methods were set to bus flr",
        "power state D0 to D3hot",
        "by an operator: power state D0 was asked for",
        "by an operator: 0006 was written to register 0x004",
        "reset: a write to its registers asked for a function level reset",
    ] {
        assert!(disk.iter().any(|told| told == text), "{text}: {disk:?}");
    }
    let resets =
        disk.iter().filter(|text| *text == "reset: its registers were saved before and restored after");
    assert_eq!(resets.count(), 2, "its own, and that of the bus: {disk:?}");
    assert_eq!(told("test"), ["by an operator: virtual functions were set to 2"]);
    assert_eq!(told("00:01.0"), ["by an operator: everything below was reset by bus"]);
}

#[test]
fn a_function_without_power_says_so_and_gets_it_when_it_is_needed() {
    let machine = Machine::new();
    machine.text(&["power", "test", "D3cold"]);
    let show = machine.text(&["show", "test"]);
    assert!(show.starts_with("0000:02:00.0 without power\n"), "{show}");
    assert!(show.contains("not readable without power: `portcullis power 0000:02:00.0 D0`"), "{show}");
    let list = machine.json(&["ls"]);
    assert_eq!(
        (&listed(&list, "test")["power"], &listed(&list, "test")["class"]),
        (&"D3cold".into(), &"".into())
    );
    assert!(
        machine.text(&["dump", "test"]).starts_with("0000:02:00.0 Without power: Portcullis endpoint-test")
    );
    for state in ["D3cold", "D3hot"] {
        machine.text(&["power", "test", state]);
        assert_eq!(
            machine.json(&["numvfs", "test", "2"])["functions"].as_array().unwrap().len(),
            2,
            "{state}"
        );
        machine.text(&["numvfs", "test", "0"]);
    }
    machine.text(&["power", "00:01.0", "D3cold"]);
    assert_eq!(machine.json(&["reset", "00:01.0", "--subordinate"])["not_restored"], 0);
    assert_eq!(machine.json(&["power", "disk0"])["state"], "D0");
}

/// The hardware refers to its functions and these to it; a circle that is left would keep a disk from being flushed.
#[test]
fn a_daemon_ends_clean_with_virtual_functions_switched_on_and_with_what_sleeps() {
    for words in [
        &["power", "00:01.0", "D3cold"][..],
        &["power", "disk0", "D3hot"],
        &["reset", "disk0", "--method", "bus"],
    ] {
        let machine = Machine::new();
        machine.text(&["numvfs", "test", "8"]);
        machine.text(words);
        let Machine { lab, daemon } = machine;
        let (status, said) = daemon.end(Signal::TERM);
        assert!(status == Some(0) && said.contains("everything is flushed and closed"), "{words:?}: {said}");
        assert!(!said.contains("WARN"), "{words:?}: {said}");
        assert!(!lab.run_dir().join("control.sock").exists() && !lab.run_dir().join("test/cntrl").exists());
    }
}

#[test]
fn a_reset_that_is_not_there_says_where_to_look() {
    let machine = Machine::new();
    for (words, said) in [
        (&["reset", "disk0", "--method", "acpi"][..], "cannot be reset by acpi"),
        (&["reset", "disk0", "--method", "acpi"], "`portcullis reset-method 0000:01:00.0` says why"),
        (&["reset", "00:01.0"], "`portcullis reset 0000:00:01.0 --subordinate`"),
        (&["reset", "disk0", "--subordinate"], "0000:01:00.0 is no bridge"),
    ] {
        let (code, text) = machine.refused(words);
        assert!(code == 1 && text.contains(said) && text.contains("(ENOTTY)"), "{words:?}: {code} {text}");
    }
}

/// What a client was told is on the disk stays there, and the client learns soon what became of its controller.
#[test]
fn a_client_whose_controller_is_reset_or_put_to_sleep_ends_with_the_reason_and_the_next_one_goes_on() {
    let machine = Machine::new();
    for (words, said) in [
        (&["reset", "disk0"][..], "was reset by somebody else"),
        (&["reset", "disk0", "--method", "bus"], "was reset by somebody else"),
        (&["reset", "00:01.0", "--subordinate"], "was reset by somebody else"),
        (&["power", "disk0", "D3hot"], "in D3"),
        (&["power", "00:01.0", "D3cold"], "in D3"),
        (&["config", "disk0", "COMMAND=0000"], "memory space is disabled"),
    ] {
        let socket = machine.lab.run_dir().join("disk0");
        let mut command = portcullis(&machine.lab.run_dir());
        command.arg("exercise").arg(socket).args(["--overwrite", "--seconds", "600"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let device = || machine.json(&["show", "disk0"])["device"].to_string();
        until(|| {
            device().contains(r#"["controller","enabled"]"#)
                && device().contains(r#"["submission queues","2"]"#)
        });
        machine.text(words);
        let output = child.wait_with_output().unwrap();
        assert!(
            stderr(&output).contains(said) && stderr(&output).contains("\nfix: "),
            "{words:?}: {}",
            stderr(&output)
        );
        assert_eq!(code(&output), 1);
        machine.text(&["power", "disk0", "D0"]);
        let again = machine.lab.exercise("disk0", &["--size", "1MiB", "--overwrite"]);
        assert_eq!(code(&again), 0, "{words:?}: {}", stderr(&again));
    }
}

/// Everything that a request can say wrongly, and a daemon that goes on.
#[test]
fn a_hostile_request_is_refused_in_a_short_harmless_line_and_changes_nothing() {
    let machine = Machine::new();
    let mut stream = UnixStream::connect(machine.lab.run_dir().join("control.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
    let before = machine.text(&["dump"]);
    let mut ask = |request: &str| {
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(b"\n").unwrap();
        replies.next().unwrap().unwrap()
    };
    let huge = "x".repeat(3900);
    let hostile = [r"\u001b[2J\u0007\r\n", r"\u0000", "../../disk0", "", " ", huge.as_str(), "é\u{202e}"];
    let fields = [
        (
            "function reset",
            "how",
            vec![
                "3",
                "{}",
                r#"{"usual":{"try":3}}"#,
                r#"{"method":{}}"#,
                r#"{"method":{"method":7}}"#,
                r#"{"subordinate":[]}"#,
                "\"usual\"",
            ],
        ),
        ("function reset-method", "list", vec!["3", "[]", "{}", "true"]),
        ("function power", "state", vec!["3", "[]", "{}"]),
        ("function numvfs", "count", vec!["-1", "65536", "1.5", "\"4\"", "1e300", "9", "[]"]),
        ("function config", "register", vec!["3", "null", "[]", "{}"]),
    ];
    for (request, field, bad) in fields {
        for value in bad {
            let reply = ask(&format!(r#"{{"request":"{request}","target":"test","{field}":{value}}}"#));
            assert!(reply.starts_with(r#"{"error":"#), "{request} {value}: {reply}");
        }
        for name in hostile {
            let reply = ask(&format!(r#"{{"request":"{request}","target":"{name}","{field}":"x"}}"#));
            assert!(reply.starts_with(r#"{"error":"#) && reply.len() < 2000, "{request}: {reply}");
            let value = match field {
                "how" => format!(r#"{{"method":{{"method":"{name}"}}}}"#),
                "count" => continue,
                // Nothing but blanks is a list: of no methods.
                "list" if name.trim().is_empty() => continue,
                _ => format!(r#""{name}""#),
            };
            let reply = ask(&format!(r#"{{"request":"{request}","target":"test","{field}":{value}}}"#));
            assert!(reply.starts_with(r#"{"error":"#) && reply.len() < 2000, "{request} {value}: {reply}");
            assert!(!reply.chars().any(char::is_control) && !reply.contains(r"\u00"), "{reply}");
        }
        let reply = ask(&format!(r#"{{"request":"{request}","{field}":"x"}}"#));
        assert!(reply.contains("bad-request"), "{request} without a target: {reply}");
        let reply = ask(&format!(r#"{{"request":"{request}","target":"test","{huge}":1}}"#));
        assert!(reply.contains("bad-request") && reply.len() < 2000, "{request} with more: {reply}");
    }
    assert_eq!(machine.text(&["dump"]), before);
}

#[test]
fn a_device_without_function_0_is_refused_before_anything_is_served() {
    let lab = Lab::new(&LAB.replace("03:00.0", "03:00.2"));
    let output = run(&lab.run_dir(), &["serve", &lab.config()]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("function 0 of its device is missing"), "{}", stderr(&output));
}

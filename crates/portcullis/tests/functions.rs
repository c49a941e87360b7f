//! Registers, resets, power and virtual functions, as an operator commands them.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod lab;

use lab::*;

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
    _daemon: Daemon,
}

impl Machine {
    fn new() -> Machine {
        let lab = Lab::new(LAB);
        let daemon = lab.serve();
        Machine { lab, _daemon: daemon }
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
fn a_device_without_function_0_is_refused_before_anything_is_served() {
    let lab = Lab::new(&LAB.replace("03:00.0", "03:00.2"));
    let output = run(&lab.run_dir(), &["serve", &lab.config()]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("function 0 of its device is missing"), "{}", stderr(&output));
}

//! Every complaint an operator may read, word for word.

use std::path::{Path, PathBuf};
use std::time::Duration;

use models::nvme::{BlockSize, DoorbellStyle, InterruptStyle};

use super::{BackingConfig, Config, DeviceConfig, PortConfig, ZpciConfig};

const GOOD: &str = r#"
[daemon]
run_dir = "run"
drain_deadline = "3s"

[[slot]]
name = "disk0"
address = "0000:01:00.0"
device = { model = "nvme", interrupts = "msix", doorbells = "mapped", serial = "S1", idle_period = "2ms" }
backing = { kind = "file", path = "disk0.img", size = "1GiB", block_size = 4096 }

[[slot]]
name = "scratch"
address = "0001:02:00.0"
device = { model = "nvme" }
backing = { kind = "memory", size = "64MiB" }
"#;

fn complaints(text: &str) -> String {
    Config::parse(Path::new("lab.toml"), text).unwrap_err().to_string()
}

/// `GOOD` with one line replaced; `line` counts from 1.
fn with_line(line: usize, replacement: &str) -> String {
    let mut lines: Vec<&str> = GOOD.lines().collect();
    lines[line - 1] = replacement;
    lines.join("\n")
}

#[test]
fn a_full_file_is_read_to_the_last_key() {
    let config = Config::parse(Path::new("/etc/lab.toml"), GOOD).unwrap();
    assert_eq!(config.daemon.run_dir, Some(PathBuf::from("/etc/run")), "relative to the file");
    assert_eq!(config.daemon.drain_deadline, Duration::from_secs(3));
    let [disk, scratch] = config.slots.as_slice() else { panic!("two slots: {config:?}") };
    let Some(DeviceConfig::Nvme { controller: nvme, backing }) = &disk.device else { panic!("{disk:?}") };
    assert_eq!(nvme.interrupts, InterruptStyle::Msix);
    assert_eq!(nvme.doorbells, DoorbellStyle::Mapped);
    assert_eq!(nvme.block_size, BlockSize::B4096);
    assert_eq!(nvme.serial.as_deref(), Some("S1"));
    assert_eq!(nvme.polling().longest_sleep, Duration::from_millis(2));
    let file = BackingConfig::File { path: "/etc/disk0.img".into(), size: Some(1 << 30) };
    assert_eq!(*backing, file);
    assert_eq!(disk.position.as_ref().unwrap().line, 6);
    assert_eq!(scratch.address.to_string(), "0001:02:00.0");
    let Some(DeviceConfig::Nvme { controller: nvme, backing }) = &scratch.device else {
        panic!("{scratch:?}")
    };
    assert_eq!(*backing, BackingConfig::Memory { size: 64 << 20 });
    assert_eq!((nvme.interrupts, nvme.doorbells), (InterruptStyle::Msi, DoorbellStyle::Trapped));
}

#[test]
fn an_unknown_key_is_shown_with_the_one_that_was_meant() {
    let text = with_line(16, r#"backing = { kind = "memory", sise = "64MiB", size = "64MiB" }"#);
    assert_eq!(
        complaints(&text),
        r#"lab.toml:16:30: unknown key `sise` in backing
   |
16 | backing = { kind = "memory", sise = "64MiB", size = "64MiB" }
   |                              ^^^^
fix: did you mean `size`? There is `kind`, `path`, `size`, `block_size`"#
    );
}

#[test]
fn a_wrong_type_is_shown_with_what_to_write() {
    assert_eq!(
        complaints(&with_line(8, "address = 1")),
        r#"lab.toml:8:11: `address` must be a string, not an integer
  |
8 | address = 1
  |           ^
fix: write address = "0000:01:00.0""#
    );
    assert_eq!(
        complaints(&with_line(15, "device = \"nvme\"")),
        r#"lab.toml:15:10: `device` must be a table, not a string
   |
15 | device = "nvme"
   |          ^^^^^^
fix: write device = { model = "nvme" }"#
    );
    assert_eq!(
        complaints(&with_line(10, r#"backing = { kind = "file", path = "a", block_size = "4k" }"#)),
        r#"lab.toml:10:53: `block_size` must be a whole number, not a string
   |
10 | backing = { kind = "file", path = "a", block_size = "4k" }
   |                                                     ^^^^
fix: write block_size = 4096"#
    );
}

#[test]
fn a_missing_backing_points_at_its_slot() {
    assert_eq!(
        complaints(&with_line(16, "")),
        r#"lab.toml:12:1: slot has no `backing`
   |
12 | [[slot]]
   | ^^^^^^^^
fix: add backing = { kind = "file", path = "disk0.img", size = "1GiB" }"#
    );
}

#[test]
fn a_duplicate_name_address_or_image_names_the_first_line() {
    assert_eq!(
        complaints(&with_line(14, r#"address = "01:00.0""#)),
        r#"lab.toml:14:11: this address is already taken by the slot at line 8
   |
14 | address = "01:00.0"
   |           ^^^^^^^^^
fix: choose another address"#
    );
    let text = complaints(&with_line(13, r#"name = "disk0""#));
    assert!(text.starts_with("lab.toml:13:8: this name is already taken by the slot at line 7\n"), "{text}");
    let text = complaints(&with_line(16, r#"backing = { kind = "file", path = "disk0.img" }"#));
    assert!(
        text.starts_with("lab.toml:16:35: this path is already taken by the slot at line 10\n"),
        "{text}"
    );
}

#[test]
fn a_name_that_would_leave_the_run_directory_is_refused() {
    for name in ["../up", "a/b", "", ".", "a b", "a23456789012345678901234567890123"] {
        let text = complaints(&with_line(7, &format!("name = \"{name}\"")));
        assert!(text.contains("lab.toml:7:8: this name cannot name a directory and a socket"), "{text}");
    }
}

#[test]
fn sizes_and_addresses_say_what_is_wrong_with_them() {
    assert_eq!(
        complaints(&with_line(16, r#"backing = { kind = "memory", size = "1GB" }"#)),
        r#"lab.toml:16:37: `1GB` is not a size: its unit is missing or unknown
   |
16 | backing = { kind = "memory", size = "1GB" }
   |                                     ^^^^^
fix: write a number and one of B, KiB, MiB, GiB, TiB, such as "1GiB""#
    );
    let text = complaints(&with_line(
        10,
        r#"backing = { kind = "file", path = "a", size = "1KiB", block_size = 4096 }"#,
    ));
    assert!(text.contains("`1KiB` is not a number of whole blocks of 4096 bytes"), "{text}");
    let text = complaints(&with_line(8, r#"address = "0000:01:20.0""#));
    assert!(text.contains("lab.toml:8:11: `0000:01:20.0` is not an address"), "{text}");
    assert!(text.contains("fix: device out of range"), "{text}");
}

#[test]
fn a_setting_without_effect_is_refused_and_not_ignored() {
    let text = complaints(&with_line(15, r#"device = { model = "nvme", idle_period = "1ms" }"#));
    assert!(
        text.starts_with("lab.toml:15:42: `idle_period` has no meaning with trapped doorbells"),
        "{text}"
    );
    let text = complaints(&with_line(16, r#"backing = { kind = "memory", path = "a", size = "1MiB" }"#));
    assert!(text.starts_with("lab.toml:16:37: a memory backing has no `path`"), "{text}");
}

#[test]
fn all_complaints_are_made_at_once_in_the_order_of_the_file() {
    let text = with_line(9, r#"device = { model = "nvmee" }"#).replace("[daemon]", "[deamon]");
    let text = complaints(&text);
    let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("lab.toml")).collect();
    assert_eq!(
        heads,
        [
            "lab.toml:2:2: unknown key `deamon` in the file",
            "lab.toml:9:20: `nvmee` is not a value of `model`"
        ]
    );
}

#[test]
fn what_is_not_toml_is_shown_too() {
    let text = complaints("[[slot]]\nname = disk0\n");
    assert!(text.starts_with("lab.toml:2:8: not valid TOML: "), "{text}");
    assert!(text.contains("2 | name = disk0\n"), "{text}");
    assert_eq!(
        complaints(""),
        "lab.toml:1:1: no slot is configured, so nothing would be served\n  |\n1 | \n  | ^\nfix: add [[slot]] with name, address, device and backing"
    );
}

#[test]
fn no_text_makes_the_reader_panic() {
    let odd = [
        "\u{feff}",
        "slot = 3",
        "slot = [1, [2]]",
        "daemon = 1\nslot=[]",
        "é = { ü = 1 }",
        "[[slot",
        "a\tb",
        "\0",
    ];
    for text in odd {
        let _ = Config::parse(Path::new("odd.toml"), text);
    }
    for end in 0..GOOD.len() {
        let _ = Config::parse(Path::new("cut.toml"), &GOOD[..end]);
    }
}

#[test]
fn an_endpoint_test_device_has_virtual_functions_and_no_backing() {
    let slot = r#"
[[slot]]
name = "test"
address = "03:00.0"
device = { model = "endpoint-test", vfs = 8 }
"#;
    let config = Config::parse(Path::new("lab.toml"), slot).unwrap();
    let eight = models::endpoint::Config { vfs: 8, ..models::endpoint::Config::default() };
    assert_eq!(config.slots[0].device, Some(DeviceConfig::EndpointTest { endpoint: eight, rom: None }));
    assert_eq!(
        complaints(&slot.replace("8 }", "256 }")),
        r#"lab.toml:5:43: `vfs` is out of range
  |
5 | device = { model = "endpoint-test", vfs = 256 }
  |                                           ^^^
fix: choose a value from 0 to 255"#
    );
    let backed = format!("{slot}backing = {{ kind = \"memory\", size = \"1MiB\" }}\n");
    assert!(complaints(&backed).starts_with("lab.toml:6:11: an endpoint-test device keeps nothing"));
}

#[test]
fn an_endpoint_test_device_has_memory_to_map_and_a_rom() {
    let slot = r#"
[[slot]]
name = "test"
address = "03:00.0"
device = { model = "endpoint-test", memory = "4GiB", mapped = false, rom = "option.rom" }
"#;
    let config = Config::parse(Path::new("dir/lab.toml"), slot).unwrap();
    let device = models::endpoint::Config { memory: 4 << 30, mapped: false, ..Default::default() };
    let rom = Some(Path::new("dir/option.rom").to_owned());
    assert_eq!(config.slots[0].device, Some(DeviceConfig::EndpointTest { endpoint: device, rom }));
    for (from, to, said) in [
        ("4GiB", "3GiB", "`3GiB` is not the size of a memory BAR: it is no power of two in range"),
        ("4GiB", "2KiB", "`2KiB` is not the size of a memory BAR: it is no power of two in range"),
        ("4GiB", "128GiB", "`128GiB` is not the size of a memory BAR: it is no power of two in range"),
        ("4GiB", "4G", "`4G` is not the size of a memory BAR: its unit is missing or unknown"),
        ("\"4GiB\"", "4096", "`memory` must be a string, not an integer"),
        ("false", "\"no\"", "`mapped` must be true or false, not a string"),
        ("\"option.rom\"", "7", "`rom` must be a string, not an integer"),
    ] {
        let shown = complaints(&slot.replace(from, to));
        assert!(shown.contains(said) && shown.contains("fix: "), "{shown}");
    }
}

#[test]
fn a_slot_may_be_empty_and_its_port_have_a_button_and_a_latch() {
    let text = "[[slot]]\nname = \"bay\"\naddress = \"01:00.0\"\nattention_button = true\nlatch = true\n";
    let config = Config::parse(Path::new("lab.toml"), text).unwrap();
    assert_eq!(config.slots[0].device, None);
    assert_eq!(config.slots[0].port, PortConfig { attention_button: true, latch: true });
    let with_backing = format!("{text}backing = {{ kind = \"memory\", size = \"1MiB\" }}\n");
    assert!(complaints(&with_backing).contains("an empty slot has no `backing`"));
    let on_the_root_bus = text.replace("01:00.0", "00:01.0");
    assert!(complaints(&on_the_root_bus).contains("a slot on the root bus has no port"));
}

#[test]
fn a_card_is_read_as_in_a_file_and_nothing_else_is() {
    let parse = |device: &str, backing| Config::parse_card(Path::new("/lab"), device, backing);
    let disk = parse("{ model = \"nvme\" }", Some("{ kind = \"file\", path = \"a.img\", size = \"1MiB\" }"));
    let Ok(DeviceConfig::Nvme { backing: BackingConfig::File { path, .. }, .. }) = disk else {
        panic!("{disk:?}")
    };
    assert_eq!(path, Path::new("/lab/a.img"));
    for (device, complaint) in [
        ("{ model = \"nvme\" }", "slot has no `backing`"),
        ("{ model = \"nmve\" }", "did you mean `nvme`"),
        ("{", "not valid TOML"),
        (
            "{ model = \"endpoint-test\" }\n[[slot]]\nname = \"b\"\naddress = \"02:00.0\"",
            "more than one device",
        ),
        ("{ model = \"endpoint-test\" }\n[daemon]\nlog = \"trace\"", "more than one device"),
    ] {
        let said = parse(device, None).unwrap_err().to_string();
        assert!(said.contains(complaint), "{device}: {said}");
    }
}

#[test]
fn a_slot_says_how_its_function_shows_in_the_s390_view() {
    let zpci = |text: &str| {
        let text = format!("{GOOD}zpci = {text}\n");
        Config::parse(Path::new("lab.toml"), &text).map(|config| config.slots[1].zpci)
    };
    let all = zpci("{ fid = 0x12, uid = 0xffff, io_region = true }").unwrap();
    assert_eq!((all.fid, all.uid, all.io_region), (Some(0x12), 0xffff, Some(true)));
    assert_eq!(zpci("{}").unwrap(), ZpciConfig::default());
    for (text, complaint) in [
        ("{ fid = -1 }", "choose a value from 0 to 4294967295"),
        ("{ uid = 0 }", "choose a value from 1 to 65535"),
        ("{ uid = 0x10000 }", "choose a value from 1 to 65535"),
        ("{ io_region = 1 }", "must be true or false"),
        ("{ fit = 1 }", "did you mean `fid`?"),
        ("3", "`zpci` must be a table, not an integer"),
    ] {
        let said = zpci(text).unwrap_err().to_string();
        assert!(said.contains(complaint), "{text}: {said}");
    }
}

#[test]
fn no_two_slots_have_one_fid_or_one_uid() {
    let twice = |value: &str| {
        complaints(&format!(
            "{}\nzpci = {value}\n",
            with_line(10, &format!("zpci = {value}\nbacking = {{ kind = \"memory\", size = \"1MiB\" }}"))
        ))
    };
    assert!(
        twice("{ fid = 7 }").contains("this fid is already taken by the slot at line 10"),
        "{}",
        twice("{ fid = 7 }")
    );
    assert!(twice("{ uid = 7 }").contains("this uid is already taken by the slot at line 10"));
}

#[test]
fn an_ism_device_names_its_network_and_its_place_there_and_has_no_backing() {
    let file = |device: &str, backing: &str| {
        let text = format!("[[slot]]\nname = \"a\"\naddress = \"01:00.0\"\ndevice = {device}\n{backing}");
        Config::parse(Path::new("lab.toml"), &text)
    };
    let config = file(r#"{ model = "ism", network = "lab", gid = 7 }"#, "").unwrap();
    let Some(DeviceConfig::Ism { ism }) = &config.slots[0].device else { panic!("{config:?}") };
    assert_eq!((ism.network.as_str(), ism.gid), ("lab", 7));
    assert!(config.slots[0].device.as_ref().unwrap().needs_io_region());
    let backing = "backing = { kind = \"memory\", size = \"1MiB\" }";
    for (device, backing, complaint) in [
        (r#"{ model = "ism", gid = 7 }"#, "", "device has no `network`"),
        (r#"{ model = "ism", network = "lab" }"#, "", "device has no `gid`"),
        (r#"{ model = "ism", network = "", gid = 7 }"#, "", "this cannot name a network"),
        (r#"{ model = "ism", network = "lab", gid = 0 }"#, "", "choose a value from 1 to"),
        (r#"{ model = "ism", network = "lab", gid = 7 }"#, backing, "an ism device keeps nothing"),
    ] {
        let said = file(device, backing).unwrap_err().to_string();
        assert!(said.contains(complaint), "{device}: {said}");
    }
}

//! Registers as an operator names them, and the walks that find them.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod board;
mod support;

use board::World;
use gate::ThreadToken;
use pci_core::access::{
    LocateError, RegisterError, RegisterSpec, capabilities, extended_capabilities, register_names,
};
use pci_core::{ConfigSpace, ConfigStatus, Vendor, Width};
use support::{full, identity};

fn spec(text: &str) -> RegisterSpec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> RegisterError {
    text.parse::<RegisterSpec>().expect_err(text)
}

#[test]
fn a_register_is_found_by_name_by_offset_and_in_a_capability() {
    // Places of `full`: PM 0x40, MSI 0x48, MSI-X 0x60, PCI Express 0x6c, vendor-specific 0xa8, AER 0x100.
    let table = [
        ("COMMAND", 0x04, Width::Word),
        ("command", 0x04, Width::Word),
        ("STATUS", 0x06, Width::Word),
        ("VENDOR_ID.l", 0x00, Width::Dword),
        ("COMMAND.b", 0x04, Width::Byte),
        ("BASE_ADDRESS_5", 0x24, Width::Dword),
        ("BRIDGE_CONTROL", 0x3e, Width::Word),
        ("BASE_ADDRESS_0+4", 0x14, Width::Dword),
        ("4.w", 0x04, Width::Word),
        ("fff.b", 0xfff, Width::Byte),
        ("10+4.L", 0x14, Width::Dword),
        ("CAP_PM+4.w", 0x44, Width::Word),
        ("CAP_EXP+8.w", 0x74, Width::Word),
        ("cap_exp+a.w", 0x76, Width::Word),
        ("CAP10+8.w", 0x74, Width::Word),
        ("CAP_VNDR+3.b", 0xab, Width::Byte),
        ("ECAP_AER+4.l", 0x104, Width::Dword),
        ("ECAP0001+4.l", 0x104, Width::Dword),
        ("ECAP_AER.l@0", 0x100, Width::Dword),
    ];
    let world = World::new(full().build().unwrap());
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    for (text, register, width) in table {
        let spec = spec(text);
        assert_eq!((spec.locate(&world.function, &pass), spec.width()), (Ok(register), width), "{text}");
        assert_eq!(spec.to_string(), text);
    }
}

#[test]
fn a_register_that_is_none_says_what_it_might_have_been() {
    let unknown = |text: &str| match refused(text) {
        RegisterError::Unknown { name, near } => (name, near),
        other => panic!("{text}: {other}"),
    };
    assert_eq!(unknown("COMAND"), ("COMAND".to_owned(), vec!["COMMAND".to_owned()]));
    assert_eq!(unknown("stat").1[0], "STATUS");
    assert!(unknown("CAP_EXPR+8.w").1.contains(&"CAP_EXP".to_owned()));
    assert!(unknown("ECAP_ARE+4.l").1.iter().any(|near| near.starts_with("ECAP_")));
    assert_eq!(unknown("").1, [""; 0]);
    assert!(unknown("VERY_UNLIKE_ANYTHING_KNOWN_HERE").1.is_empty());
    assert!(unknown("+4.w").1.is_empty() && unknown("-4.w").1.is_empty());
    let text = refused("COMAND").to_string();
    assert_eq!(text, "no register is called \"COMAND\"; did you mean COMMAND?");
    assert!(unknown(&"A".repeat(10_000)).1.is_empty());
}

#[test]
fn each_malformed_part_is_named() {
    assert_eq!(refused("10"), RegisterError::NoWidth("10".to_owned()));
    assert_eq!(refused("CAP_EXP+8"), RegisterError::NoWidth("CAP_EXP+8".to_owned()));
    assert_eq!(refused("COMMAND.x"), RegisterError::BadWidth("x".to_owned()));
    assert_eq!(refused("COMMAND."), RegisterError::BadWidth(String::new()));
    assert_eq!(refused("CAP_PM+zz.w"), RegisterError::BadOffset("zz".to_owned()));
    assert_eq!(refused("CAP_PM+.w"), RegisterError::BadOffset(String::new()));
    assert_eq!(refused("CAP_PM+1000.w"), RegisterError::BadOffset("1000".to_owned()));
    assert_eq!(refused("12345.w"), RegisterError::BadOffset("12345".to_owned()));
    assert_eq!(refused("CAP_PM.w@30"), RegisterError::BadIndex("30".to_owned()));
    assert_eq!(refused("CAP_PM.w@-1"), RegisterError::BadIndex("-1".to_owned()));
    assert_eq!(refused("COMMAND@1"), RegisterError::BadIndex("1".to_owned()));
    assert_eq!(refused("5.w"), RegisterError::Place("5.w".to_owned()));
    assert_eq!(refused("1000.b"), RegisterError::Place("1000.b".to_owned()));
    assert_eq!(refused("ffff+fff.b"), RegisterError::Place("ffff+fff.b".to_owned()));
}

#[test]
fn a_value_fits_its_register_or_is_refused() {
    let table =
        [("6", Some(6)), ("0x0406", Some(0x406)), ("ffff", Some(0xffff)), ("10000", None), ("", None)];
    for (text, value) in table.into_iter().chain([("0x", None), ("-1", None), ("+1", None), ("12g", None)]) {
        assert_eq!(spec("COMMAND").parse_value(text).ok(), value, "{text:?}");
    }
    assert_eq!(
        spec("COMMAND.b").parse_value("100").unwrap_err().to_string(),
        "\"100\" is no hexadecimal value of 1 bytes"
    );
    assert_eq!(spec("0.l").parse_value("ffffffff"), Ok(u32::MAX));
}

#[test]
fn a_capability_that_the_function_lacks_is_named() {
    let world = World::new(full().build().unwrap());
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    let locate = |text: &str| spec(text).locate(&world.function, &pass);
    assert_eq!(locate("CAP_AF+3.b"), Err(LocateError::NoCapability("CAP_AF+3.b".to_owned())));
    assert_eq!(locate("ECAP_SRIOV+8.w"), Err(LocateError::NoCapability("ECAP_SRIOV+8.w".to_owned())));
    assert_eq!(locate("CAP_PM+4.w@1"), Err(LocateError::NoCapability("CAP_PM+4.w@1".to_owned())));
    assert_eq!(locate("CAP_PM+1.w"), Err(LocateError::Place("CAP_PM+1.w".to_owned())));
    assert_eq!(locate("ECAP_AER+f00.b"), Err(LocateError::Place("ECAP_AER+f00.b".to_owned())));
    world.fail_with(Some(ConfigStatus::DeviceNotFound));
    assert_eq!(locate("CAP_PM+4.w"), Err(LocateError::Config(ConfigStatus::DeviceNotFound)));
}

#[test]
fn the_second_capability_of_a_kind_is_found_by_its_number() {
    let vendor = |bytes: &[u8]| Vendor { data: bytes.to_vec(), writable: Vec::new() };
    let config =
        ConfigSpace::builder(identity()).capability_at(0x40, vendor(&[1])).capability_at(0x50, vendor(&[2]));
    let world = World::new(config.build().unwrap());
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    assert_eq!(spec("CAP_VNDR+3.b").locate(&world.function, &pass), Ok(0x43));
    assert_eq!(spec("CAP_VNDR+3.b@1").locate(&world.function, &pass), Ok(0x53));
    assert!(spec("CAP_VNDR+3.b@2").locate(&world.function, &pass).is_err());
}

#[test]
fn every_name_is_one_that_can_be_written() {
    for name in register_names() {
        let with_width = format!("{name}.b");
        assert!(with_width.parse::<RegisterSpec>().is_ok(), "{name}");
    }
    assert!(register_names().count() > 70);
}

/// A space of bytes to walk through.
fn reader(bytes: Vec<u8>) -> impl FnMut(u16, Width) -> Result<u32, ConfigStatus> {
    move |register, width| {
        let at = usize::from(register);
        let mut value = [0; 4];
        let width = usize::from(width.bytes());
        value[..width].copy_from_slice(&bytes[at..at + width]);
        Ok(u32::from_le_bytes(value))
    }
}

fn space(patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[0x06] = 0x10;
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
    bytes
}

#[test]
fn a_list_of_capabilities_that_loops_ends() {
    // CAP-01: 48 hops
    let looping = space(&[(0x34, &[0x40]), (0x40, &[0x09, 0x48]), (0x48, &[0x01, 0x40])]);
    assert_eq!(capabilities(reader(looping)).count(), 48);
    let mut extended = space(&[]);
    extended[0x100..0x104].copy_from_slice(&0x1000_0001_u32.to_le_bytes());
    assert_eq!(extended_capabilities(reader(extended)).count(), (4096 - 256) / 8);
}

#[test]
fn a_list_of_capabilities_ends_where_the_rules_say() {
    // CAP-01
    let walk = |bytes| capabilities(reader(bytes)).map(Result::unwrap).collect::<Vec<_>>();
    let chain: [(usize, &[u8]); 3] = [(0x34, &[0x43]), (0x40, &[0x01, 0x4b]), (0x48, &[0x05, 0x3c])];
    assert_eq!(walk(space(&chain)), [(0x40, 1), (0x48, 5)], "low bits masked; below 0x40 ends");
    let mut without = space(&chain);
    without[0x06] = 0;
    assert_eq!(walk(without), [], "STATUS says that there is no list");
    assert_eq!(walk(space(&[(0x34, &[0xfc]), (0xfc, &[0xff, 0x40])])), [], "identifier 0xff ends");
    assert_eq!(walk(vec![0xff; 4096]), [], "nobody answers");

    let walk = |bytes| extended_capabilities(reader(bytes)).map(Result::unwrap).collect::<Vec<_>>();
    let header = |id: u32, next: u32| (id | 1 << 16 | next << 20).to_le_bytes();
    let chain = space(&[(0x100, &header(0, 0x200)), (0x200, &header(3, 0x0fc)), (0x0fc, &header(9, 0))]);
    assert_eq!(walk(chain), [(0x100, 0), (0x200, 3)], "a hidden first one is passed; below 0x100 ends");
    assert_eq!(walk(space(&[])), [], "header 0 ends");
    assert_eq!(walk(vec![0xff; 4096]), [], "nobody answers");
}

#[test]
fn a_walk_ends_with_the_first_read_that_fails() {
    let mut reads = 0;
    let failing = |_: u16, _: Width| {
        reads += 1;
        Err::<u32, _>(ConfigStatus::DeviceNotFound)
    };
    assert_eq!(capabilities(failing).collect::<Vec<_>>(), [Err(ConfigStatus::DeviceNotFound)]);
    assert_eq!(reads, 1);
    let failing = |_: u16, _: Width| Err::<u32, _>(ConfigStatus::DeviceNotFound);
    assert_eq!(extended_capabilities(failing).count(), 1);
}

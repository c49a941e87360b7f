//! Regions of a device's own, and the sizes of all regions.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod mapped;
mod support;

use gate::{Deadline, Gate, Refusal, ThreadToken};
use mapped::{Lines, Told};
use pci_core::{AccessError, DeviceRegion, Dropped, Errno, FIRST_DEVICE_REGION, Function};
use std::sync::Arc;
use std::time::Duration;
use support::full;

const PMCSR: u16 = 0x44;

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn world() -> (Function, Lines) {
    let region = |size, writable| DeviceRegion { kind: 0x8000_1b36, subtype: 1, size, writable };
    let device =
        Arc::new(Told { regions: vec![region(0x100, true), region(0x40, false)], ..Told::default() });
    let lines = device.lines.clone();
    (Function::new("f", Gate::new("f"), Arc::new(full().build().unwrap()), device), lines)
}

#[test]
fn vf_13_regions_have_the_sizes_of_their_windows() {
    let (f, _) = world();
    let sizes: Vec<_> = (0..12).map(|region| f.region_size(region)).collect();
    let expected = [
        Some(16 << 10),
        None,
        Some(64),
        None,
        Some(8 << 30),
        None,
        Some(64 << 10),
        Some(4096),
        None,
        Some(0x100),
        Some(0x40),
        None,
    ];
    assert_eq!(sizes, expected);
    assert_eq!(f.region_size(u32::MAX), None);
}

#[test]
fn a_region_is_read_and_written_whatever_command_says() {
    let (f, lines) = world();
    let token = &mut ThreadToken::at_thread_entry();
    let mut data = [0; 4];
    f.read_region(token, FIRST_DEVICE_REGION + 1, 0x3c, &mut data, patient()).unwrap();
    assert_eq!(data, [0x5a; 4]);
    f.write_region(token, FIRST_DEVICE_REGION, 0xff, &[7], patient()).unwrap();
    assert_eq!(lines.take(), ["read 1 0x3c", "write 0 0xff [7]"]);
    assert_eq!(f.dropped(), Dropped::default());
}

#[test]
fn what_does_not_reach_a_region_reads_all_ones_and_is_counted() {
    // VF-13, VF-17, CFG-03
    let (f, lines) = world();
    let token = &mut ThreadToken::at_thread_entry();
    let refused = |token: &mut ThreadToken, region, offset, length: usize| {
        let mut data = vec![0; length];
        let read = f.read_region(token, region, offset, &mut data, patient()).unwrap_err();
        assert!(data.iter().all(|byte| *byte == 0xff));
        let write = f.write_region(token, region, offset, &data, patient()).unwrap_err();
        assert_eq!(read.errno(), write.errno());
        read
    };
    for region in [0, 6, 7, 8, 11, u32::MAX] {
        assert!(matches!(refused(token, region, 0, 4), AccessError::NoRegion(_)), "{region}");
    }
    for (offset, length) in [(0xfd, 4), (0x101, 0), (u64::MAX, 4)] {
        assert!(matches!(refused(token, 9, offset, length), AccessError::OutOfRange));
    }
    let read_only = f.write_region(token, 10, 0, &[0], patient()).unwrap_err();
    assert!(matches!(read_only, AccessError::ReadOnly) && read_only.errno() == Errno::EINVAL);

    f.write_config(token, PMCSR, &[3], patient()).unwrap();
    let asleep = refused(token, 9, 0, 4);
    assert!(matches!(asleep, AccessError::Asleep(9)) && asleep.errno() == Errno::EIO);
    f.write_config(token, PMCSR, &[0], patient()).unwrap();
    f.freeze("test");
    assert!(matches!(refused(token, 9, 0, 4), AccessError::Refused(Refusal::Frozen)));
    f.thaw();
    assert!(f.disconnect(token, patient()).orphans.is_empty());
    assert!(matches!(refused(token, 9, 0, 4), AccessError::Refused(Refusal::Gone)));
    let lines = lines.take();
    assert!(lines.iter().all(|line| !line.starts_with("read") && !line.starts_with("write")), "{lines:?}");
    assert_eq!(f.dropped(), Dropped { bar_reads: 12, bar_writes: 13, ..Dropped::default() });
}

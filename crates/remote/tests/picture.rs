//! Pictures of back ends, honest and otherwise.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod upstream;

use std::sync::atomic::Ordering;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use pci_core::{BarIndex, ConfigSpace, DeviceRegion, Vendor};
use pci_spec::config;
use proptest::prelude::*;
use remote::link::{LinkError, Loss};
use remote::picture::{MAX_ROM, OwnRegion, Picture, PictureError, Vectors};
use upstream::{Double, Says, bar, endpoint, patient};
use vfio_user::codec::RegionType;

fn take(double: &Double) -> Result<Picture, PictureError> {
    Picture::take(&mut ThreadToken::at_thread_entry(), double, patient())
}

fn bytes(space: &ConfigSpace) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    space.read(0, &mut bytes);
    bytes
}

/// Takes a picture of a back end and of what has become of it, and compares them.
fn differences(change: impl FnOnce(&mut Double)) -> Vec<String> {
    let was = take(&Double::new()).unwrap();
    let mut double = Double::new();
    change(&mut double);
    was.compare(&take(&double).unwrap()).iter().map(ToString::to_string).collect()
}

#[test]
fn an_endpoint_of_ours_looks_the_same_through_a_picture() {
    let double = Double::new();
    let picture = take(&double).unwrap();
    assert_eq!(bytes(&picture.config_space()), double.config);
    assert_eq!(picture.left_out(), [] as [String; 0]);
    assert_eq!(picture.vectors(), Vectors { intx: true, msi: 8, msix: 16 });
    assert_eq!(picture.rom().map(|rom| rom.len()), Some(2 << 10));
    let region = DeviceRegion { kind: 0x8000_1b36, subtype: 1, size: 0x100, writable: true };
    assert_eq!(picture.own(), [OwnRegion { number: 9, region }]);
    assert!(picture.is_nvme() && picture.resets());
    assert_eq!(picture.compare(&take(&double).unwrap()), []);
}

#[test]
fn what_cannot_be_shown_is_left_out_and_said() {
    let mut double = Double::of(&{
        let vendor = Vendor { data: vec![1, 2], writable: Vec::new() };
        endpoint().capability_at(0xd0, vendor).build().unwrap()
    });
    // Vital product data behind it, and a region without a type.
    double.config[0xd1] = 0xe0;
    double.config[0xe0..0xe2].copy_from_slice(&[0x03, 0x00]);
    double.num_regions = 11;
    double.regions.insert(10, Says::plain(0x1000));
    double.regions.insert(8, Says::plain(0x20000));
    let picture = take(&double).unwrap();
    let expected = [
        "VGA",
        "region 10: no type, or nothing to read",
        "Vendor Specific at 0xd0: shown read-only",
        "Vital Product Data at 0xe0: not modelled",
    ];
    assert_eq!(picture.left_out(), expected);
    assert_eq!(picture.capability(0x09), Some(0xd0));
    assert_eq!(picture.capability(0x03), None);
}

#[test]
fn only_interrupts_that_the_back_end_has_are_offered() {
    let mut double = Double::new();
    double.irqs = [0, 5, 0, 0, 0];
    let picture = take(&double).unwrap();
    let space = picture.config_space();
    let layout = space.interrupt_layout();
    assert_eq!(layout.intx, pci_core::InterruptPin::None);
    assert_eq!(layout.msi_vectors, 4, "a power of two of the five");
    assert!(layout.msix.is_none());
    double.irqs = [u32::MAX; 5];
    let picture = take(&double).unwrap();
    assert_eq!(picture.vectors(), Vectors { intx: true, msi: 32, msix: 2048 });
    assert_eq!(picture.config_space().interrupt_layout().msix.map(|msix| msix.vectors), Some(16));
}

#[test]
fn a_region_whose_size_is_no_power_of_two_is_decoded_with_room_behind_it() {
    let mut double = Double::new();
    double.regions.get_mut(&0).unwrap().size = 0x3001;
    let picture = take(&double).unwrap();
    let window = picture.window(bar(0)).unwrap();
    assert_eq!((window.bytes, window.size), (0x3001, 0x4000));
    assert_eq!(picture.config_space().window_size(bar(0)), Some(0x4000));
}

#[test]
fn a_back_end_that_nothing_can_be_made_of_is_an_error_that_says_why() {
    type Case = (fn(&mut Double), fn(&PictureError) -> bool);
    let cases: [Case; 11] = [
        (|d| d.flags = 1, |e| matches!(e, PictureError::NotPci)),
        (|d| d.num_regions = 7, |e| matches!(e, PictureError::NotPci)),
        (|d| d.regions.get_mut(&7).unwrap().size = 255, |e| matches!(e, PictureError::NoConfig)),
        (|d| d.regions.get_mut(&7).unwrap().flags = 2, |e| matches!(e, PictureError::NoConfig)),
        (|d| d.config.fill(0xff), |e| matches!(e, PictureError::NoConfig)),
        (|d| d.config[0x0e] = 1, |e| matches!(e, PictureError::NotEndpoint(1))),
        (|d| d.limit = 63, |e| matches!(e, PictureError::TinyTransfers(63))),
        (
            |d| d.regions.get_mut(&0).unwrap().size = u64::MAX,
            |e| matches!(e, PictureError::Size { region: 0, size: u64::MAX }),
        ),
        (
            |d| d.regions.get_mut(&4).unwrap().size = 1 << 32,
            |e| matches!(e, PictureError::Size { region: 4, .. }),
        ),
        (|d| *d.regions.get_mut(&1).unwrap() = Says::plain(4096), |e| matches!(e, PictureError::Bars(_))),
        (
            |d| d.dead.store(true, Ordering::SeqCst),
            |e| matches!(e, PictureError::Link(LinkError::Lost(Loss::Closed))),
        ),
    ];
    for (index, (spoil, expected)) in cases.into_iter().enumerate() {
        let mut double = Double::new();
        spoil(&mut double);
        let error = take(&double).unwrap_err();
        assert!(expected(&error), "case {index}: {error}");
    }
}

#[test]
fn a_back_end_that_says_no_to_what_it_does_not_have_is_as_good_as_one_that_says_zero() {
    let mut double = Double::new();
    for absent in [1, 2, 3, 5, 6, 8, 9] {
        double.regions.remove(&absent);
    }
    let picture = take(&double).unwrap();
    assert!(picture.rom().is_none() && picture.own().is_empty());
    assert_eq!(picture.config_space().window_size(BarIndex::ROM), None);
}

#[test]
fn conventional_configuration_space_and_small_messages_are_enough() {
    let mut double = Double::new();
    double.regions.get_mut(&7).unwrap().size = 256;
    double.limit = 64;
    let picture = take(&double).unwrap();
    let space = bytes(&picture.config_space());
    assert_eq!(space[..256], double.config[..256]);
    assert!(space[256..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_large_rom_is_left_out_and_not_read() {
    let mut double = Double::new();
    double.regions.get_mut(&6).unwrap().size = MAX_ROM + 1;
    let picture = take(&double).unwrap();
    assert!(picture.rom().is_none());
    assert!(picture.left_out()[0].starts_with("ROM of 0x100001 bytes"), "{:?}", picture.left_out());
    double.regions.get_mut(&6).unwrap().size = u64::MAX;
    assert!(take(&double).unwrap().rom().is_none());
}

#[test]
fn a_list_of_capabilities_that_loops_is_left() {
    let mut double = Double::new();
    // The last points back to the first.
    double.config[0x91] = 0x50;
    let picture = take(&double).unwrap();
    assert_eq!(picture.capability(0x10), Some(0x90));
    assert!(picture.left_out().len() <= 33);
    assert!(picture.left_out()[0].contains("is there twice"), "{:?}", picture.left_out());
    // And extended ones that point to themselves.
    double.config[0x100..0x104].copy_from_slice(&0x1001_0003_u32.to_le_bytes());
    let picture = take(&double).unwrap();
    assert!(picture.left_out().len() <= 33);
    assert!(picture.left_out().last().unwrap().ends_with(" more"));
}

#[test]
fn many_regions_are_cut() {
    let mut double = Double::new();
    double.num_regions = u32::MAX;
    let kind = Some(RegionType { kind: 1, subtype: 1 });
    double.regions.extend((9..60).map(|number| (number, Says { kind, ..Says::plain(0x1000) })));
    let picture = take(&double).unwrap();
    assert_eq!(picture.own().len(), 16);
    assert_eq!(picture.left_out().len(), 1);
    assert!(*double.questions.lock().unwrap() < 60);
}

#[test]
fn a_back_end_that_answers_too_slowly_is_given_up() {
    let token = &mut ThreadToken::at_thread_entry();
    let error = Picture::take(token, &Double::new(), Deadline::after(Duration::ZERO)).unwrap_err();
    assert_eq!(error, PictureError::TooSlow);
}

#[test]
fn another_back_end_is_told_by_what_a_consumer_would_notice() {
    assert_eq!(
        differences(|d| d.regions.get_mut(&0).unwrap().size = 8 << 10),
        ["BAR 0 has 8 KiB, was 16 KiB"]
    );
    assert_eq!(differences(|d| d.config[2] = 0x11), ["the device ID is 0x11, was 0x10"]);
    assert_eq!(differences(|d| d.irqs[2] = 4), ["MSI-X has 4 vectors, was 16"]);
    assert_eq!(differences(|d| d.irqs[1] = 2), ["MSI has 2 vectors, was 8"]);
    assert_eq!(differences(|d| d.flags = 2), ["it can no longer be reset"]);
    assert_eq!(differences(|d| drop(d.regions.remove(&9))), ["region 9 is another one"]);
    assert_eq!(differences(|d| d.fill = 1), ["the ROM has other bytes"]);
    assert_eq!(differences(|d| drop(d.regions.remove(&6))), ["ROM is gone, had 2 KiB"]);
    assert_eq!(differences(|d| d.config[0x3d] = 2), ["the interrupt pin is 0x2, was 0x1"]);
    assert_eq!(
        differences(|d| d.config[0x10] = 0x0c),
        ["BAR 0 is prefetchable 64-bit memory, was 64-bit memory"]
    );
    assert_eq!(
        differences(|d| d.config[0x81] = 0),
        ["PCI Express is gone", "the serial number (its lower half) is 0x0, was 0x55667788"]
    );
    // The serial number of the double is below the extended header.
    assert_eq!(
        differences(|d| d.config[0x104] ^= 1),
        ["the serial number (its lower half) is 0x55667789, was 0x55667788"]
    );
}

#[test]
fn more_vectors_than_before_are_no_difference() {
    assert_eq!(differences(|d| d.irqs = [1, 32, 2048, 1, 1]), [] as [&str; 0]);
    let mut more = Double::new();
    more.irqs[2] = 4;
    assert_eq!(take(&more).unwrap().compare(&take(&Double::new()).unwrap()), []);
}

/// Regions and flags as a hostile back end may say them.
fn hostile_regions() -> impl Strategy<Value = Vec<(u32, Says)>> {
    let size = prop_oneof![any::<u64>(), 0..0x4_0000_u64, (0..64_u32).prop_map(|shift| 1 << shift)];
    let says = (size, any::<u32>(), any::<Option<(u32, u32)>>(), any::<u64>()).prop_map(
        |(size, flags, kind, offset)| Says {
            size,
            flags,
            kind: kind.map(|(kind, subtype)| RegionType { kind, subtype }),
            areas: Vec::new(),
            offset,
        },
    );
    proptest::collection::vec((0..32_u32, says), 0..16)
}

/// Whether a picture that was taken is one that a guest can use.
fn check(double: &Double) {
    let Ok(picture) = take(double) else { return };
    assert!(*double.questions.lock().unwrap() < 100 + (4096 + (1 << 20)) / 64);
    assert!(picture.left_out().len() <= 33);
    assert!(picture.own().len() <= 16);
    let space = picture.config_space();
    let shown = bytes(&space);
    // The lists of capabilities end.
    let mut at = shown[usize::from(config::CAPABILITIES_POINTER)];
    let mut steps = 0;
    while at != 0 {
        steps += 1;
        assert!(steps <= 48);
        at = shown[usize::from(at) + 1];
    }
    for window in space.bars() {
        assert!(window.size.is_power_of_two());
    }
    assert_eq!(picture.compare(&take(double).unwrap()), []);
    // What it is made of can be made again: the picture of the function is the function.
    let mut ours = Double::of(&space);
    ours.irqs = double.irqs;
    let again = take(&ours);
    let again = again.expect("a configuration space of ours is one that a picture can be taken of");
    assert_eq!(bytes(&again.config_space())[..0x40], shown[..0x40]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_back_end_says_there_is_a_usable_function_or_an_error(
        mut config in proptest::collection::vec(any::<u8>(), 4096),
        regions in hostile_regions(),
        irqs in any::<[u32; 5]>(),
        (flags, num_regions) in (any::<u32>(), any::<u32>()),
        (endpoint, list) in any::<(bool, bool)>(),
        limit in prop_oneof![any::<usize>(), 0..256_usize],
    ) {
        let mut double = Double::new();
        if endpoint {
            config[0x0e] &= 0x80;
        }
        if list {
            config[0x06] |= 0x10;
        }
        double.config = config;
        double.regions.extend(regions);
        double.irqs = irqs;
        (double.flags, double.num_regions, double.limit) = (flags | 2, num_regions, limit);
        check(&double);
    }

    #[test]
    fn a_few_wrong_bytes_in_a_good_back_end_are_survived(
        wrong in proptest::collection::vec((0..0x140_usize, any::<u8>()), 1..24),
        regions in hostile_regions(),
        irqs in proptest::option::of(any::<[u32; 5]>()),
    ) {
        let mut double = Double::new();
        wrong.into_iter().for_each(|(at, byte)| double.config[at] = byte);
        double.regions.extend(regions.into_iter().filter(|(number, _)| *number > 4 && *number != 7));
        double.irqs = irqs.unwrap_or(double.irqs);
        check(&double);
    }
}

//! `report_error` (ZP-11), row by row.
#![allow(clippy::unwrap_used, reason = "test code")]

mod bay;

use bay::*;
use gate::ThreadToken;
use pci_core::Errno;
use proptest::prelude::*;
use std::sync::atomic::Ordering;
use zpci::Fid;
use zpci::hotplug::{ErrorReport, Malformed, OperationError, ReportAction, ReportRefused};

/// Of version and action, with data of a length that it says truly.
fn report(version: u8, action: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&[version, action, length[0], length[1]], data].concat()
}

fn refusal(world: &World, offset: u64, written: &[u8]) -> (Errno, OperationError) {
    let refused = world.first().report_error(offset, written).unwrap_err();
    assert!(world.bench.reports.lock().is_empty(), "nothing reached the platform");
    (refused.errno(), refused)
}

#[test]
fn each_action_reaches_the_platform_with_the_function_and_its_data_zp_11() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let actions = [ReportAction::AdapterReset, ReportAction::Repair, ReportAction::Information];
    for (code, action) in (0..).zip(actions) {
        assert_eq!(action as u8, code);
        world.first().report_error(0, &report(1, code, b"broken")).unwrap();
        let (fid, handle, asked, data) = world.bench.reports.lock().pop().unwrap();
        assert_eq!((fid, handle, asked), (Fid(FIRST), world.zdev().handle(), action));
        assert_eq!(data, b"broken");
    }
    world.assert_works(token);
}

#[test]
fn a_report_may_be_written_in_any_state() {
    let world = World::empty(PLAIN, 1);
    assert_eq!(world.first().report_error(0, &report(1, 2, &[])), Ok(()));
}

#[test]
fn an_offset_is_refused_zp_11() {
    let world = World::empty(PLAIN, 1);
    let written = report(1, 0, &[]);
    assert_eq!(
        refusal(&world, 1, &written),
        (Errno::EINVAL, OperationError::Malformed(Malformed::Offset(1)))
    );
}

#[test]
fn what_is_short_is_refused_zp_11() {
    let world = World::empty(PLAIN, 1);
    let whole = report(1, 0, &[7; 5]);
    for length in 0..whole.len() {
        let short = OperationError::Malformed(Malformed::Short(length));
        assert_eq!(refusal(&world, 0, &whole[..length]), (Errno::EINVAL, short), "{length}");
    }
    assert_eq!(world.first().report_error(0, &whole), Ok(()));
}

#[test]
fn what_is_longer_than_a_page_is_refused_zp_11() {
    let world = World::empty(PLAIN, 1);
    let long = OperationError::Malformed(Malformed::Long(4097));
    assert_eq!(refusal(&world, 0, &[&report(1, 0, &[])[..], &[0; 4093]].concat()), (Errno::EINVAL, long));
    let most = ErrorReport::MAX_DATA;
    let long = OperationError::Malformed(Malformed::Long(most + 1));
    assert_eq!(refusal(&world, 0, &report(1, 0, &vec![0; most + 1])), (Errno::EINVAL, long));
    assert_eq!(world.first().report_error(0, &report(1, 0, &vec![9; most])), Ok(()));
    assert_eq!(world.bench.reports.lock()[0].3.len(), most);
}

#[test]
fn an_unknown_version_is_refused_zp_11() {
    let world = World::empty(PLAIN, 1);
    for version in (0..=u8::MAX).filter(|version| *version != 1) {
        let unknown = OperationError::Malformed(Malformed::Version(version));
        assert_eq!(refusal(&world, 0, &report(version, 0, &[])), (Errno::EINVAL, unknown));
    }
}

#[test]
fn an_unknown_action_is_refused_zp_11() {
    let world = World::empty(PLAIN, 1);
    for action in 3..=u8::MAX {
        let unknown = OperationError::Malformed(Malformed::Action(action));
        assert_eq!(refusal(&world, 0, &report(1, action, &[])), (Errno::EINVAL, unknown));
    }
}

#[test]
fn a_platform_without_the_service_is_not_supported_zp_11() {
    let world = World::empty(PLAIN, 1);
    *world.bench.refuses.lock() = Some(ReportRefused::NoFacility);
    assert_eq!(refusal(&world, 0, &report(1, 0, &[])), (Errno::EOPNOTSUPP, OperationError::NoFacility));
}

#[test]
fn whatever_else_the_platform_says_is_an_error_zp_11() {
    let world = World::empty(PLAIN, 1);
    *world.bench.refuses.lock() = Some(ReportRefused::Failed(String::from("busy")));
    let refused = OperationError::NotReported(String::from("busy"));
    assert_eq!(refusal(&world, 0, &report(1, 0, &[])), (Errno::EIO, refused));
    world.bench.panics.store(true, Ordering::Release);
    assert_eq!(refusal(&world, 0, &report(1, 0, &[])).0, Errno::EIO, "a panic is one");
}

proptest! {
    #[test]
    fn whatever_is_written_is_a_report_or_malformed(offset in 0..2_u64, written: Vec<u8>) {
        match ErrorReport::parse(offset, &written) {
            Ok(parsed) => {
                prop_assert_eq!((offset, written[0]), (0, 1));
                prop_assert!(parsed.data.len() <= ErrorReport::MAX_DATA && parsed.data.len() + 4 <= written.len());
            }
            Err(error) => prop_assert_eq!(OperationError::from(error).errno(), Errno::EINVAL),
        }
    }
}

//! What is to be recovered for an error, and a port that contains it (AER-05, AER-08).
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use crate::rig::{
    BEHIND_SWITCH, DOWNSTREAM, EMPTY, ENDPOINT, HOT_PLUG, INTEGRATED, PLAIN, ROOT, Rig, SECOND, VIRTUAL, at,
    soon,
};
use contain::aer::{AerError, AerFile, ReportError, Reported};
use contain::plan::Severity;
use pci_core::Errno;
use pci_spec::aer::{Correctable, RootStatus, Uncorrectable};
use pci_spec::extended::{dpc, id};

fn lost(error: Uncorrectable) -> AerError {
    AerError::uncorrectable(error, [9; 4])
}

const FATAL: Uncorrectable = Uncorrectable::MALFORMED_TLP;
const NON_FATAL: Uncorrectable = Uncorrectable::POISONED_TLP;

/// What is to be recovered, and how.
fn recovered(rig: &Rig, from: &str, error: AerError) -> (Severity, Option<String>) {
    match rig.report(from, error).unwrap() {
        Reported::Error { severity, recover, .. } => (severity, recover.map(|at| at.to_string())),
        other => panic!("{other:?}"),
    }
}

fn some(address: &str) -> Option<String> {
    Some(address.to_owned())
}

#[test]
fn an_error_on_a_working_link_concerns_the_function_and_a_fatal_one_what_is_below_the_port_aer_05() {
    let rig = Rig::new();
    assert_eq!(recovered(&rig, VIRTUAL, lost(NON_FATAL)), (Severity::NonFatal, some(VIRTUAL)));
    let (severity, below) = recovered(&rig, VIRTUAL, lost(FATAL));
    assert_eq!(severity, Severity::Fatal);
    assert_eq!(below, some(ENDPOINT), "the whole bus, and not the virtual function alone");
}

#[test]
fn an_error_that_a_port_reports_concerns_what_is_below_it() {
    let rig = Rig::new();
    assert_eq!(recovered(&rig, ROOT, lost(NON_FATAL)), (Severity::NonFatal, some(ENDPOINT)));
    assert_eq!(recovered(&rig, DOWNSTREAM, lost(FATAL)), (Severity::Fatal, some(BEHIND_SWITCH)));
    assert_eq!(recovered(&rig, EMPTY, lost(FATAL)), (Severity::Fatal, None), "nothing is there");
    let corrected = AerError::correctable(Correctable::RECEIVER);
    assert_eq!(recovered(&rig, ROOT, corrected), (Severity::Correctable, some(ROOT)));
}

#[test]
fn a_function_without_a_port_above_is_recovered_by_itself() {
    let rig = Rig::new();
    assert_eq!(recovered(&rig, INTEGRATED, lost(FATAL)), (Severity::Fatal, some(INTEGRATED)));
}

#[test]
fn a_function_without_the_capability_reports_all_the_same() {
    let rig = Rig::new();
    assert_eq!(recovered(&rig, PLAIN, lost(FATAL)), (Severity::Fatal, some(ENDPOINT)));
}

#[test]
fn a_report_of_a_function_that_is_not_there_is_refused() {
    let mut rig = Rig::new();
    let refused = rig.report("0000:01:1f.7", lost(FATAL)).unwrap_err();
    assert_eq!((refused, refused.errno()), (ReportError::NoFunction(at("0000:01:1f.7")), Errno::ENODEV));
    let second = rig.function(SECOND);
    let _retired = second.function.gate().retire(&mut rig.token, soon());
    assert_eq!(rig.report(SECOND, lost(FATAL)), Err(ReportError::NoFunction(at(SECOND))));
}

#[test]
fn of_a_masked_error_nobody_hears() {
    let rig = Rig::new();
    let masked = AerError::correctable(Correctable::ADVISORY_NON_FATAL);
    assert_eq!(rig.report(ENDPOINT, masked), Ok(Reported::Masked));
    assert_eq!(rig.config(ROOT).root_errors().unwrap().status, RootStatus::empty());
    assert!(rig.ledger.records(rig.function(ENDPOINT).id).is_empty());
}

#[test]
fn a_port_that_is_set_up_for_it_contains_a_fatal_error_from_below_aer_08() {
    let rig = Rig::new();
    rig.write32(ROOT, id::DPC, dpc::CAPABILITY, 1 << 16);
    let (severity, below) = recovered(&rig, SECOND, lost(NON_FATAL));
    assert_eq!((severity, below), (Severity::NonFatal, some(SECOND)), "it triggers on fatal ones only");
    let contained = recovered(&rig, SECOND, lost(FATAL));
    assert_eq!(contained, (Severity::ContainedByPort, some(ENDPOINT)));
    let port = rig.config(ROOT).port_containment().unwrap();
    assert_eq!((port.reason, port.source), (Some(dpc::Reason::FatalMessage), at(SECOND).routing_id()));
    assert_eq!(rig.config(ROOT).link_is_active(), Some(false));
}

#[test]
fn a_port_may_contain_non_fatal_errors_too_aer_08() {
    let rig = Rig::new();
    rig.write32(ROOT, id::DPC, dpc::CAPABILITY, 2 << 16);
    assert_eq!(recovered(&rig, VIRTUAL, lost(NON_FATAL)), (Severity::ContainedByPort, some(ENDPOINT)));
    let reason = rig.config(ROOT).port_containment().unwrap().reason;
    assert_eq!(reason, Some(dpc::Reason::NonFatalMessage));
}

#[test]
fn a_port_contains_what_it_notices_itself_and_only_on_its_own_link_aer_08() {
    let rig = Rig::new();
    rig.write32(HOT_PLUG, id::DPC, dpc::CAPABILITY, 1 << 16);
    rig.write32(DOWNSTREAM, id::DPC, dpc::CAPABILITY, 1 << 16);
    let contained = recovered(&rig, DOWNSTREAM, lost(FATAL));
    assert_eq!(contained, (Severity::ContainedByPort, some(BEHIND_SWITCH)));
    let port = rig.config(DOWNSTREAM).port_containment().unwrap();
    assert_eq!((port.reason, port.source), (Some(dpc::Reason::Uncorrectable), 0));
    assert!(!rig.config(HOT_PLUG).port_containment().unwrap().is_triggered(), "the nearest port contains");
}

#[test]
fn a_corrected_error_triggers_no_port() {
    let rig = Rig::new();
    rig.write32(ROOT, id::DPC, dpc::CAPABILITY, 2 << 16);
    let corrected = recovered(&rig, ENDPOINT, AerError::correctable(Correctable::BAD_TLP));
    assert_eq!(corrected, (Severity::Correctable, some(ENDPOINT)));
    assert!(!rig.config(ROOT).port_containment().unwrap().is_triggered());
}

#[test]
fn a_link_that_goes_down_with_the_card_of_a_hot_plug_port_is_no_error_aer_08() {
    let rig = Rig::new();
    rig.write32(HOT_PLUG, id::DPC, dpc::CAPABILITY, 1 << 16);
    assert_eq!(rig.report(HOT_PLUG, lost(Uncorrectable::SURPRISE_DOWN)), Ok(Reported::CardPulled));
    assert!(!rig.config(HOT_PLUG).port_containment().unwrap().is_triggered());
    assert_eq!(rig.ledger.counters(rig.function(HOT_PLUG).id).total(AerFile::Fatal), 0);
    // Anything that comes with it is one.
    let both = lost(Uncorrectable::SURPRISE_DOWN | Uncorrectable::FLOW_CONTROL_PROTOCOL);
    assert_eq!(recovered(&rig, HOT_PLUG, both).0, Severity::ContainedByPort);
    let records = rig.config(HOT_PLUG).error_records().unwrap();
    assert_eq!(records.uncorrectable, Uncorrectable::FLOW_CONTROL_PROTOCOL);
}

#[test]
fn without_hot_plug_a_link_that_goes_down_is_a_fatal_error_aer_08() {
    let rig = Rig::new();
    let down = recovered(&rig, DOWNSTREAM, lost(Uncorrectable::SURPRISE_DOWN));
    assert_eq!(down, (Severity::Fatal, some(BEHIND_SWITCH)));
}

#[test]
fn an_error_of_a_frozen_function_is_recorded_and_counted() {
    let rig = Rig::new();
    rig.function(ENDPOINT).function.gate().freeze();
    assert_eq!(recovered(&rig, ENDPOINT, lost(FATAL)), (Severity::Fatal, some(ENDPOINT)));
    assert_eq!(rig.config(ENDPOINT).error_records().unwrap().first, Some(FATAL));
}

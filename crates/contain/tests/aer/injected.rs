//! Whether an error can be injected where it is to be, with the errors of Linux (AER-09).

use crate::rig::{BEHIND_SWITCH, ENDPOINT, INTEGRATED, PLAIN, Rig, at};
use contain::aer::{AerError, AerInjection, InjectAerError};
use pci_core::Errno;
use pci_spec::aer::{Correctable, UNCORRECTABLE_MASK, Uncorrectable};
use pci_spec::extended::id;

fn check(rig: &Rig, address: &str, error: AerError) -> Result<(), InjectAerError> {
    AerInjection { at: at(address), error }.check(&rig.snapshot())
}

const BAD_TLP: AerError = AerError::correctable(Correctable::BAD_TLP);

#[test]
fn an_error_can_be_injected_below_a_root_port_with_records_on_both_ends() {
    let rig = Rig::new();
    assert_eq!(check(&rig, ENDPOINT, BAD_TLP), Ok(()));
    assert_eq!(check(&rig, BEHIND_SWITCH, BAD_TLP), Ok(()));
}

#[test]
fn an_injection_into_a_function_that_is_not_there_is_enodev() {
    let refused = check(&Rig::new(), "0000:05:00.0", BAD_TLP).unwrap_err();
    assert_eq!(refused, InjectAerError::NoFunction(at("0000:05:00.0")));
    assert_eq!(refused.errno(), Errno::ENODEV);
}

#[test]
fn an_injection_into_a_function_without_a_root_port_is_enodev() {
    let refused = check(&Rig::new(), INTEGRATED, BAD_TLP).unwrap_err();
    assert_eq!((refused, refused.errno()), (InjectAerError::NoRootPort(at(INTEGRATED)), Errno::ENODEV));
}

#[test]
fn an_injection_into_a_function_without_the_capability_is_eprotonosupport() {
    let refused = check(&Rig::new(), PLAIN, BAD_TLP).unwrap_err();
    assert_eq!((refused, refused.errno()), (InjectAerError::NoCapability(at(PLAIN)), Errno::EPROTONOSUPPORT));
}

#[test]
fn an_injection_that_is_wholly_masked_is_einval_and_one_that_is_masked_in_part_is_not() {
    let rig = Rig::new();
    rig.write32(ENDPOINT, id::AER, UNCORRECTABLE_MASK, Uncorrectable::ECRC.bits());
    let lost = |errors| check(&rig, ENDPOINT, AerError::uncorrectable(errors, [0; 4]));
    let refused = lost(Uncorrectable::ECRC).unwrap_err();
    assert_eq!((refused, refused.errno()), (InjectAerError::Masked(at(ENDPOINT)), Errno::EINVAL));
    assert_eq!(lost(Uncorrectable::ECRC | Uncorrectable::POISONED_TLP), Ok(()));
    let advisory = AerError::correctable(Correctable::ADVISORY_NON_FATAL);
    assert_eq!(check(&rig, ENDPOINT, advisory), Err(InjectAerError::Masked(at(ENDPOINT))));
}

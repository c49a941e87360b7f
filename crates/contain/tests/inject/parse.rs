//! `pe:type:func:addr:mask` (EEH-25).
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use contain::inject::{
    AddressWidth, ErrorFunction, ErrorInjection, InjectionError, InjectionFormatError, PeInjection,
};
use pci_core::Errno;

fn refused(text: &str) -> InjectionFormatError {
    text.parse::<PeInjection>().unwrap_err()
}

#[test]
fn five_hexadecimal_numbers_are_an_error_eeh_25() {
    let error = ErrorInjection {
        width: AddressWidth::Bits64,
        function: ErrorFunction::DmaReadAddress,
        address: 0xfe00_0000_1000,
        mask: u64::MAX,
    };
    let read = "100:1:c:0xfe0000001000:ffffffffffffffff\n".parse();
    assert_eq!(read, Ok(PeInjection { pe: 0x100, error }), "numbers are hexadecimal without 0x too");
}

#[test]
fn fewer_or_more_than_five_numbers_are_einval_eeh_25() {
    for text in ["", "1", "1:0:0:0", "1:0:0:0:0:0", "1:0:0:0:", ":0:0:0:0", "1::0:0:0", "1 0 0 0 0"] {
        assert_eq!(refused(text), InjectionFormatError::Malformed, "{text}");
    }
    assert_eq!(InjectionFormatError::Malformed.errno(), Errno::EINVAL);
}

#[test]
fn what_is_no_number_is_einval_eeh_25() {
    for text in
        ["g:0:0:0:0", "1:0:0:0:-1", "1:0:0:+1:0", "0x:0:0:0:0", "1:0:0:10000000000000000:0", "1:0:0: 1:0"]
    {
        assert_eq!(refused(text), InjectionFormatError::Malformed, "{text}");
    }
    assert_eq!(refused("100000000:0:0:0:0"), InjectionFormatError::Malformed, "wider than a PE's number");
}

#[test]
fn a_type_other_than_0_and_1_is_einval_eeh_25() {
    let error = refused("1:2:0:0:0");
    assert_eq!((error, error.errno()), (InjectionFormatError::Type(2), Errno::EINVAL));
}

#[test]
fn a_function_above_19_is_einval_eeh_25() {
    assert!("1:0:13:0:0".parse::<PeInjection>().is_ok(), "19");
    let error = refused("1:0:14:0:0");
    assert_eq!((error, error.errno()), (InjectionFormatError::Function(20), Errno::EINVAL));
}

#[test]
fn an_unknown_pe_is_enodev_and_the_other_refusals_have_the_numbers_of_vfio_eeh_25() {
    let errnos =
        [InjectionError::NoPe, InjectionError::Unsupported, InjectionError::Off, InjectionError::NoAddress]
            .map(InjectionError::errno);
    assert_eq!(errnos, [Errno::ENODEV, Errno::ERANGE, Errno::ENXIO, Errno::EIO]);
}

#[test]
fn the_functions_have_the_numbers_of_eeh() {
    assert_eq!(ErrorFunction::ALL.len(), 20);
    for (number, function) in (0..).zip(ErrorFunction::ALL) {
        assert_eq!((*function as u32, ErrorFunction::from_number(number)), (number, Some(*function)));
    }
    assert_eq!(ErrorFunction::from_number(20), None);
}

//! The structure of an operation and its errors.

use contain::inject::{AddressWidth, ErrorFunction, ErrorInjection};
use contain::plan::Traffic;
use contain::vfio::{OP_LENGTH, OP_LENGTH_INJECT, PeOp};
use pci_core::Errno;

pub(crate) fn bytes(argsz: usize, flags: u32, op: u32) -> Vec<u8> {
    [u32::try_from(argsz).unwrap_or(u32::MAX), flags, op].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

pub(crate) fn injection(width: u32, function: u32, address: u64, mask: u64) -> Vec<u8> {
    let mut all = bytes(OP_LENGTH_INJECT, 0, 9);
    all.extend([0; 4]);
    all.extend(width.to_ne_bytes());
    all.extend(function.to_ne_bytes());
    all.extend(address.to_ne_bytes());
    all.extend(mask.to_ne_bytes());
    all
}

#[test]
fn the_operations_have_the_numbers_of_vfio() {
    let read: Vec<PeOp> = (0..9).map(|op| PeOp::decode(&bytes(OP_LENGTH, 0, op)).unwrap()).collect();
    let expected = [
        PeOp::Disable,
        PeOp::Enable,
        PeOp::Unfreeze(Traffic::Mmio),
        PeOp::Unfreeze(Traffic::Dma),
        PeOp::GetState,
        PeOp::ResetDeactivate,
        PeOp::ResetHot,
        PeOp::ResetFundamental,
        PeOp::Configure,
    ];
    assert_eq!(read, expected);
}

#[test]
fn an_injection_is_read_with_its_error() {
    let read = PeOp::decode(&injection(1, 7, 0x1_2345_6000, 0xffff_f000)).unwrap();
    let error = ErrorInjection {
        width: AddressWidth::Bits64,
        function: ErrorFunction::StoreMemoryData,
        address: 0x1_2345_6000,
        mask: 0xffff_f000,
    };
    assert_eq!(read, PeOp::InjectError(error));
}

#[test]
fn an_argsz_that_is_too_short_is_einval() {
    for argsz in [0, 11] {
        assert_eq!(PeOp::decode(&bytes(argsz, 0, 0)), Err(Errno::EINVAL));
    }
    assert_eq!(PeOp::decode(&bytes(usize::MAX, 0, 0)), Ok(PeOp::Disable), "longer is allowed");
    let mut short = injection(0, 0, 0, 0);
    short[..4].copy_from_slice(&39u32.to_ne_bytes());
    assert_eq!(PeOp::decode(&short), Err(Errno::EINVAL), "of an injection");
}

#[test]
fn any_flag_is_einval() {
    for bit in 0..32 {
        assert_eq!(PeOp::decode(&bytes(OP_LENGTH, 1 << bit, 4)), Err(Errno::EINVAL));
    }
}

#[test]
fn an_unknown_operation_is_einval() {
    for op in [10, 100, u32::MAX] {
        assert_eq!(PeOp::decode(&bytes(64, 0, op)), Err(Errno::EINVAL));
    }
}

#[test]
fn bytes_that_cannot_be_read_are_efault() {
    let whole = bytes(OP_LENGTH, 0, 4);
    for length in 0..OP_LENGTH {
        assert_eq!(PeOp::decode(&whole[..length]), Err(Errno::EFAULT), "{length}");
    }
    let whole = injection(0, 0, 0, 0);
    for length in OP_LENGTH..OP_LENGTH_INJECT {
        assert_eq!(PeOp::decode(&whole[..length]), Err(Errno::EFAULT), "{length}");
    }
}

#[test]
fn an_error_type_other_than_0_and_1_is_einval() {
    assert!(PeOp::decode(&injection(0, 0, 0, 0)).is_ok());
    assert!(PeOp::decode(&injection(1, 0, 0, 0)).is_ok());
    assert_eq!(PeOp::decode(&injection(2, 0, 0, 0)), Err(Errno::EINVAL));
}

#[test]
fn an_error_function_above_19_is_einval() {
    for function in 0..20 {
        let Ok(PeOp::InjectError(error)) = PeOp::decode(&injection(0, function, 0, 0)) else { panic!() };
        assert_eq!(error.function as u32, function);
    }
    for function in [20, u32::MAX] {
        assert_eq!(PeOp::decode(&injection(0, function, 0, 0)), Err(Errno::EINVAL));
    }
}

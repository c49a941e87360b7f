//! A recovery that somebody forces (EEH-27).

use contain::inject::{ForceFormatError, ForcedRecovery};
use contain::pe::PeAddress;
use pci_core::Errno;

#[test]
fn a_check_of_the_hardware_or_a_pe_is_forced_eeh_27() {
    assert_eq!("hwcheck\n".parse(), Ok(ForcedRecovery::HardwareCheck));
    assert_eq!("1:0x100".parse(), Ok(ForcedRecovery::Pe(PeAddress::new(1, 0x100))));
}

#[test]
fn anything_else_is_einval_eeh_27() {
    for text in ["", "hw", "1", "1:", ":1", "1:2:3", "1:g", "10000:1", "1:10000", "-1:1", "+1:1"] {
        assert_eq!(text.parse::<ForcedRecovery>(), Err(ForceFormatError), "{text}");
    }
    assert_eq!(ForceFormatError.errno(), Errno::EINVAL);
}

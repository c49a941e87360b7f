//! Configuration space as an address space (ZP-12).

use crate::world::{COMMAND, PMCSR, World, patient};
use gate::{AccessKind, ThreadToken};
use pci_core::{Command, Dropped, PowerState};
use zpci::{Fault, ProgramCheck, Status};

#[test]
fn zp_12_registers_are_loaded_and_stored() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    assert_eq!(w.zpci.pcilg(token, w.config(4), 0), Ok(0x04ed_1014));
    assert_eq!(w.zpci.pcilg(token, w.config(2), 2), Ok(0x04ed));
    assert_eq!(w.zpci.load(token, w.config(1), 1, patient()), Ok(0x10));
    w.zpci.pcistg(token, w.config(2), COMMAND, 0xffff_ffff_ffff_0004).unwrap();
    assert_eq!(w.function.config().command(), Command::BUS_MASTER);
    w.zpci.store(token, w.config(1), COMMAND, 0x06, patient()).unwrap();
    assert_eq!(w.function.config().command(), Command::BUS_MASTER | Command::MEMORY_SPACE);
}

#[test]
fn zp_12_a_register_is_at_most_4_aligned_bytes_within_configuration_space() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    for (length, offset, check) in [
        (8, 0, ProgramCheck::Length),
        (4, 2, ProgramCheck::Alignment),
        (2, 1, ProgramCheck::Alignment),
        (4, 4096, ProgramCheck::Outside),
        (4, 0x1_0000, ProgramCheck::Outside),
    ] {
        let expected = Err(Fault::Check(check));
        assert_eq!(w.zpci.pcilg(token, w.config(length), offset).map(drop), expected, "{offset:#x}");
        assert_eq!(w.zpci.pcistg(token, w.config(length), offset, 0), expected, "{offset:#x}");
    }
    assert!(w.zpci.pcilg(token, w.config(4), 4092).is_ok());
}

#[test]
fn what_a_register_asks_for_is_carried_out() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    w.zpci.pcistg(token, w.config(2), PMCSR, 3).unwrap();
    assert_eq!(w.function.config().power_state(), PowerState::D3Hot);
    assert_eq!(w.zpci.pcilg(token, w.request(8), 0), Err(Fault::Error(Status::NotAvailable)));
    w.zpci.store(token, w.config(2), PMCSR, 0, patient()).unwrap();
    assert_eq!(w.function.config().power_state(), PowerState::D0);
}

#[test]
fn a_register_that_asks_for_what_cannot_be_done_now_is_busy_and_the_same_store_again_does_it() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let inside = w.function.handle().enter_long(token, AccessKind::Dma, "a command", patient()).unwrap();
    assert_eq!(w.zpci.pcistg(token, w.config(2), PMCSR, 3), Err(Fault::Busy));
    assert_eq!(w.function.config().power_state(), PowerState::D0);
    drop(inside);
    w.zpci.pcistg(token, w.config(2), PMCSR, 3).unwrap();
    assert_eq!(w.function.config().power_state(), PowerState::D3Hot);
}

#[test]
fn a_config_access_of_a_function_that_is_gone_is_enodev() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let _nobody_is_inside = w.function.disconnect(token, patient());
    let load = w.zpci.pcilg(token, w.config(4), 0).unwrap_err();
    assert_eq!((load, load.config_errno()), (Fault::Gone, pci_core::Errno::ENODEV));
    assert_eq!(w.zpci.pcistg(token, w.config(2), COMMAND, 0), Err(Fault::Gone));
    assert_eq!(w.function.dropped(), Dropped { config_reads: 1, config_writes: 1, ..Dropped::default() });
}

//! Every condition code, every status, every program check.

use crate::world::{BAR_BYTES, MAX_STORE, NO_ROOM, NOT_ACCEPTED, PMCSR, Seen, World, bar0, patient};
use gate::{Reason, ThreadToken};
use pci_core::{BarAccess, Dropped, Errno};
use zpci::{AddressSpace, Fault, Handle, ProgramCheck, Request, Status, Zpci};

/// What all three instructions answer, which is the same here.
fn all_three(zpci: &Zpci, token: &mut ThreadToken, request: Request, offset: u64) -> Fault {
    let load = zpci.pcilg(token, request, offset).unwrap_err();
    assert_eq!(zpci.pcistg(token, request, offset, 0), Err(load));
    assert_eq!(zpci.pcistb(token, request, offset, &[0; 8]), Err(load));
    assert_eq!(zpci.load(token, request, offset, patient()), Err(load));
    assert_eq!(zpci.store(token, request, offset, 0, patient()), Err(load));
    assert_eq!(zpci.store_block(token, request, offset, &[0; 8], patient()), Err(load));
    load
}

#[test]
fn zp_13_condition_code_0_a_load_a_store_and_a_block_reach_the_device() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    for length in [1, 2, 4, 8] {
        let bytes = w.memory.bytes(0x128, 8);
        let mut expected = [0; 8];
        expected[..length].copy_from_slice(&bytes[..length]);
        let request = w.request(length.try_into().unwrap());
        assert_eq!(w.zpci.pcilg(token, request, 0x128), Ok(u64::from_le_bytes(expected)));
        assert_eq!(w.zpci.load(token, request, 0x128, patient()), Ok(u64::from_le_bytes(expected)));
        assert_eq!(w.memory.seen(), [Seen::Load(0x128, length); 2]);
    }
    w.zpci.pcistg(token, w.request(4), 0x204, 0xffff_ffff_0403_0201).unwrap();
    w.zpci.store(token, w.request(2), 0x208, 0x0605, patient()).unwrap();
    assert_eq!(w.memory.bytes(0x204, 7), [1, 2, 3, 4, 5, 6, w.memory.bytes(0x20a, 1)[0]]);
    assert_eq!(w.memory.seen(), [Seen::Store(0x204, 4), Seen::Store(0x208, 2)]);
    w.zpci.pcistb(token, w.request(MAX_STORE), 0xf80, &[7; 128]).unwrap();
    w.zpci.store_block(token, w.request(8), 0xff8, &[9; 8], patient()).unwrap();
    assert_eq!(w.memory.seen(), [Seen::Block(0xf80, 128), Seen::Block(0xff8, 8)], "each as a whole");
    assert_eq!(w.function.dropped(), Dropped::default());
}

#[test]
fn zp_13_condition_code_1_status_4_a_handle_that_is_disabled() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let transition = w.zdev.begin(zpci::Work::SetFunction).unwrap();
    let disabled = transition.renew(token, false).unwrap();
    let request = Request::new(disabled, bar0(), 8);
    let fault = all_three(&w.zpci, token, request, 0);
    assert_eq!((fault, fault.errno()), (Fault::Error(Status::NotEnabled), Errno::EIO));
    // ZP-12: what is not enabled has no configuration space.
    let config = Request { space: AddressSpace::CONFIG, length: 4, ..request };
    assert_eq!(w.zpci.pcilg(token, config, 0).map_err(Fault::config_errno), Err(Errno::ENODEV));
    assert_eq!(w.memory.seen(), []);
}

#[test]
fn zp_13_condition_code_1_status_8_a_function_in_permanent_error_frozen_or_not() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    w.zdev.fail();
    assert_eq!(all_three(&w.zpci, token, w.request(8), 0), Fault::Error(Status::InError));
    w.function.freeze("test");
    assert_eq!(all_three(&w.zpci, token, w.request(8), 0), Fault::Error(Status::InError));
    assert_eq!(w.memory.seen(), []);
}

#[test]
fn zp_13_condition_code_1_status_12_a_function_that_is_frozen() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    w.function.freeze("test");
    let fault = all_three(&w.zpci, token, w.request(8), 0);
    assert_eq!((fault, fault.condition_code()), (Fault::Error(Status::Blocked), Some(1)));
    assert_eq!(w.memory.seen(), []);
    assert_eq!(w.function.dropped(), Dropped { bar_reads: 2, bar_writes: 4, ..Dropped::default() });
    w.function.thaw();
    assert!(w.zpci.pcilg(token, w.request(8), 0).is_ok());
}

#[test]
fn zp_13_condition_code_1_status_16_a_block_that_the_device_has_no_room_for() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let stored = w.zpci.pcistb(token, w.request(8), NO_ROOM, &[0; 8]);
    assert_eq!(stored, Err(Fault::Error(Status::NoResources)));
}

#[test]
fn zp_13_condition_code_1_status_20_an_address_space_that_the_function_does_not_have() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    for code in (1..=u8::MAX).filter(|code| *code != 15) {
        let request = Request { space: AddressSpace::from_code(code), ..w.request(8) };
        let fault = all_three(&w.zpci, token, request, 0);
        assert_eq!(fault, Fault::Error(Status::InvalidSpace), "{code}");
    }
    let block = w.zpci.pcistb(token, w.config(8), 0x10, &[0; 8]);
    assert_eq!(block, Err(Fault::Error(Status::InvalidSpace)), "blocks are for BARs");
    assert_eq!(w.memory.seen(), []);
}

#[test]
fn zp_13_condition_code_1_status_40_memory_that_is_not_decoded() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    w.function.write_config(token, 0x04, &[0x04], patient()).unwrap();
    assert_eq!(all_three(&w.zpci, token, w.request(8), 0), Fault::Error(Status::NotAvailable));
    w.function.write_config(token, 0x04, &[0x06], patient()).unwrap();
    w.function.write_config(token, PMCSR.try_into().unwrap(), &[3], patient()).unwrap();
    assert_eq!(all_three(&w.zpci, token, w.request(8), 0), Fault::Error(Status::NotAvailable));
    assert_eq!(w.memory.seen(), []);
}

#[test]
fn zp_13_condition_code_1_status_40_a_store_that_the_device_does_not_take() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::with(BarAccess::BlockStore, token);
    let single = w.zpci.pcistg(token, w.request(8), 0, 0);
    assert_eq!(single, Err(Fault::Error(Status::NotAvailable)), "it takes blocks only");
    let block = w.zpci.pcistb(token, w.request(8), NOT_ACCEPTED, &[0; 8]);
    assert_eq!(block, Err(Fault::Error(Status::NotAvailable)));
    assert_eq!(w.memory.seen(), []);
    w.zpci.pcistb(token, w.request(16), 0, &[0; 16]).unwrap();
    w.zpci.pcilg(token, w.request(8), 0).unwrap();
    assert_eq!(w.memory.seen(), [Seen::Block(0, 16), Seen::Load(0, 8)]);
}

#[test]
fn zp_13_condition_code_2_a_function_that_somebody_has_for_himself() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let closed = w.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
    let fault = w.zpci.pcilg(token, w.request(8), 0).unwrap_err();
    assert_eq!((fault, fault.condition_code()), (Fault::Busy, Some(2)));
    assert_eq!(w.zpci.pcistb(token, w.request(8), 0, &[0; 8]), Err(Fault::Busy));
    assert_eq!(w.zpci.pcistg(token, w.request(8), 0, 0), Err(Fault::Busy));
    drop(closed.resume(token).unwrap());
    assert!(w.zpci.pcilg(token, w.request(8), 0).is_ok());
    assert_eq!(w.memory.seen(), [Seen::Load(0, 8)]);
    assert_eq!(w.function.dropped(), Dropped { bar_reads: 1, bar_writes: 2, ..Dropped::default() });
}

#[test]
fn zp_13_condition_code_3_a_handle_that_names_nothing() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let others =
        [0, 1, w.handle.bits() & !(1 << 31), w.handle.bits() ^ 1, w.handle.bits() ^ (1 << 12), u32::MAX];
    for bits in others {
        let request = Request { handle: Handle::from_bits(bits), ..w.request(8) };
        let fault = all_three(&w.zpci, token, request, 0);
        assert_eq!((fault, fault.condition_code()), (Fault::InvalidHandle, Some(3)), "{bits:#x}");
    }
    assert_eq!(w.memory.seen(), []);
}

#[test]
fn zp_13_condition_code_3_a_function_that_was_retired_and_not_taken_out_yet() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let _nobody_is_inside = w.function.disconnect(token, patient());
    let fault = all_three(&w.zpci, token, w.request(8), 0);
    assert_eq!((fault, fault.condition_code(), fault.errno()), (Fault::Gone, Some(3), Errno::ENODEV));
}

#[test]
fn zp_13_a_program_check_is_the_operands_alone_and_comes_before_the_gate() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    w.function.freeze("test");
    let checks = [
        (3, 0, ProgramCheck::Length),
        (0, 0, ProgramCheck::Length),
        (16, 0, ProgramCheck::Length),
        (8, 4, ProgramCheck::Crossing),
        (2, 0xfff, ProgramCheck::Crossing),
    ];
    for (length, offset, check) in checks {
        let expected = Err(Fault::Check(check));
        assert_eq!(w.zpci.pcilg(token, w.request(length), offset).map(drop), expected);
        assert_eq!(w.zpci.load(token, w.request(length), offset, patient()).map(drop), expected);
        assert_eq!(w.zpci.pcistg(token, w.request(length), offset, 0), expected);
        assert_eq!(w.zpci.store(token, w.request(length), offset, 0, patient()), expected);
    }
    let blocks = [
        (0, 0, ProgramCheck::Length),
        (12, 0, ProgramCheck::Length),
        (16, 4, ProgramCheck::Alignment),
        (16, 0xff8, ProgramCheck::Crossing),
    ];
    for (length, offset, check) in blocks {
        let data = vec![0; usize::from(length)];
        let fault = w.zpci.pcistb(token, w.request(length), offset, &data).unwrap_err();
        assert_eq!((fault, fault.errno()), (Fault::Check(check), Errno::ENXIO));
        let waited = w.zpci.store_block(token, w.request(length), offset, &data, patient());
        assert_eq!(waited, Err(fault));
    }
    assert_eq!(w.function.dropped(), Dropped::default());
}

#[test]
fn zp_14_a_block_is_no_longer_than_the_function_takes_and_as_long_as_its_request_says() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let block = |length: u16, data: &[u8]| w.zpci.pcistb(token, w.request(length), 0, data);
    assert_eq!(block(MAX_STORE, &[0; 128]), Ok(()));
    assert_eq!(block(MAX_STORE + 8, &[0; 136]), Err(Fault::Check(ProgramCheck::TooLong)));
    assert_eq!(block(64, &[0; 128]), Err(Fault::Check(ProgramCheck::Length)));
    assert_eq!(block(64, &[0; 56]), Err(Fault::Check(ProgramCheck::Length)));
    assert_eq!(w.memory.seen(), [Seen::Block(0, 128)]);
}

#[test]
fn an_operand_outside_the_bar_is_a_program_check() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    for offset in [BAR_BYTES, BAR_BYTES * 8, u64::MAX - 7] {
        let fault = all_three(&w.zpci, token, w.request(8), offset);
        assert_eq!(fault, Fault::Check(ProgramCheck::Outside));
    }
    assert!(w.zpci.pcilg(token, w.request(8), BAR_BYTES - 8).is_ok());
}

#[test]
fn an_instruction_that_never_waits_may_be_executed_inside_another_function() {
    let token = &mut ThreadToken::at_thread_entry();
    let (w, other) = (World::new(token), World::new(token));
    let pass = other.function.handle().try_enter(token, gate::AccessKind::Dma).unwrap();
    assert!(w.zpci.pcilg(pass.token(), w.request(8), 0).is_ok());
    w.zpci.pcistb(pass.token(), w.request(8), 0, &[0; 8]).unwrap();
}

//! Copies of any length are made of what instructions can move (ZP-14).

use crate::world::{BAR_BYTES, MAX_STORE, Seen, World, bar0, patient};
use gate::ThreadToken;
use pci_core::BarAccess;
use proptest::prelude::*;
use zpci::{AddressSpace, Fault, ProgramCheck, Status};

#[test]
fn zp_14_a_read_is_chopped_into_aligned_loads_of_8_4_2_and_1_bytes() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let mut data = [0; 30];
    let accessor = w.zpci.accessor(w.handle);
    accessor.read(token, bar0(), 0xffd, &mut data, patient()).unwrap();
    assert_eq!(data.to_vec(), w.memory.bytes(0xffd, 30));
    let pieces = [(0xffd, 1), (0xffe, 2), (0x1000, 8), (0x1008, 8), (0x1010, 8), (0x1018, 2), (0x101a, 1)];
    assert_eq!(w.memory.seen(), pieces.map(|(at, length)| Seen::Load(at, length)));
}

#[test]
fn zp_14_a_write_is_chopped_into_blocks_within_4_kib_and_aligned_stores() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let data: Vec<u8> = (0..=255).cycle().take(0x13d).collect();
    w.zpci.accessor(w.handle).write(token, bar0(), 0xf7e, &data, patient()).unwrap();
    assert_eq!(w.memory.bytes(0xf7e, data.len()), data);
    let seen = [
        Seen::Store(0xf7e, 2),
        Seen::Block(0xf80, 128),
        Seen::Block(0x1000, 128),
        Seen::Block(0x1080, 0x38),
        Seen::Store(0x10b8, 2),
        Seen::Store(0x10ba, 1),
    ];
    assert_eq!(w.memory.seen(), seen);
}

#[test]
fn a_device_that_takes_blocks_takes_an_aligned_copy_of_any_multiple_of_8() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::with(BarAccess::BlockStore, token);
    let accessor = w.zpci.accessor(w.handle);
    accessor.write(token, bar0(), 0, &[1; 136], patient()).unwrap();
    accessor.store_block(token, bar0(), 0x100, &[2; 64], patient()).unwrap();
    assert_eq!(w.memory.seen(), [Seen::Block(0, 128), Seen::Block(128, 8), Seen::Block(0x100, 64)]);
    let odd = accessor.write(token, bar0(), 0, &[3; 12], patient());
    assert_eq!(odd, Err(Fault::Error(Status::NotAvailable)));
    assert_eq!(w.memory.seen(), [Seen::Block(0, 8)], "and nothing after what was refused");
    for length in [136, 1 << 16] {
        let long = accessor.store_block(token, bar0(), 0, &vec![0; length], patient());
        let too_long = [Err(Fault::Check(ProgramCheck::TooLong)), Err(Fault::Check(ProgramCheck::Crossing))];
        assert!(too_long.contains(&long), "{long:?}");
    }
}

#[test]
fn zp_14_what_could_not_be_read_is_all_ones_from_there_on() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let accessor = w.zpci.accessor(w.handle);
    let mut data = [0; 32];
    let read = accessor.read(token, bar0(), BAR_BYTES - 16, &mut data, patient());
    assert_eq!(read, Err(Fault::Check(ProgramCheck::Outside)));
    assert_eq!((&data[..16], &data[16..]), (&*w.memory.bytes(BAR_BYTES - 16, 16), &[0xff; 16][..]));
    w.function.freeze("test");
    let read = accessor.read(token, bar0(), 0, &mut data, patient());
    assert_eq!((read, data), (Err(Fault::Error(Status::Blocked)), [0xff; 32]));
}

#[test]
fn configuration_space_is_copied_in_registers() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let accessor = w.zpci.accessor(w.handle);
    let (mut copied, mut read) = ([0; 64], [0; 64]);
    accessor.read(token, AddressSpace::CONFIG, 0, &mut copied, patient()).unwrap();
    w.function.read_config(token, 0, &mut read, patient()).unwrap();
    assert_eq!(copied, read);
    accessor.write(token, AddressSpace::CONFIG, 0x10, &[0xff; 8], patient()).unwrap();
    let expected = (!(BAR_BYTES - 1) | 0x4).to_le_bytes();
    w.function.read_config(token, 0x10, &mut copied[..8], patient()).unwrap();
    assert_eq!(copied[..8], expected, "the size of the BAR, both halves");
}

#[test]
fn a_copy_of_nothing_is_done_and_one_beyond_all_addresses_is_not() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let accessor = w.zpci.accessor(w.handle);
    accessor.read(token, bar0(), 3, &mut [], patient()).unwrap();
    accessor.write(token, bar0(), u64::MAX, &[], patient()).unwrap();
    let mut data = [0; 16];
    let read = accessor.read(token, bar0(), u64::MAX - 7, &mut data, patient());
    assert_eq!((read, data), (Err(Fault::Check(ProgramCheck::Outside)), [0xff; 16]));
    let write = accessor.write(token, bar0(), u64::MAX - 7, &data, patient());
    assert_eq!(write, Err(Fault::Check(ProgramCheck::Outside)));
    assert_eq!(w.memory.seen(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_copy_is_exact_and_every_piece_is_one_instruction(
        at in 0..BAR_BYTES - 2048,
        data in prop::collection::vec(any::<u8>(), 0..2048),
    ) {
        // Away from where the device refuses blocks.
        let at = at % 0x1000;
        let token = &mut ThreadToken::at_thread_entry();
        let w = World::new(token);
        let accessor = w.zpci.accessor(w.handle);
        let before = w.memory.bytes(0, 0x2000);
        accessor.write(token, bar0(), at, &data, patient()).unwrap();
        let mut expected = before;
        expected[usize::try_from(at).unwrap()..][..data.len()].copy_from_slice(&data);
        prop_assert_eq!(w.memory.bytes(0, 0x2000), expected);
        let mut read = vec![0; data.len()];
        accessor.read(token, bar0(), at, &mut read, patient()).unwrap();
        prop_assert_eq!(read, data);
        for piece in w.memory.seen() {
            let fits = match piece {
                Seen::Load(at, length) | Seen::Store(at, length) => {
                    matches!(length, 1 | 2 | 4 | 8) && at % length as u64 == 0
                }
                Seen::Block(at, length) => {
                    at % 8 == 0
                        && length % 8 == 0
                        && length <= usize::from(MAX_STORE)
                        && at % 4096 + length as u64 <= 4096
                }
            };
            prop_assert!(fits, "{:?}", piece);
        }
    }
}

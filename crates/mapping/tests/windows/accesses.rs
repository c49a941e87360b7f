//! The safe type: bounds, alignment, sizes, and what an access reports.

use crate::harness::{DEVICE, Found, Function, PAGE, SIZE, elsewhere};
use gate::ThreadToken;
use mapping::{Mapping, MappingError, OnDisabled, Value};
use std::sync::Arc;
use std::thread;

fn read<V: Value>(mapping: &Mapping, offset: u64) -> Result<V, MappingError> {
    elsewhere(|token| mapping.read(token, offset))
}

#[test]
fn each_size_is_read_and_written_where_it_is_asked_for() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let (mapping, token) = (&mapped.mapping, &mut ThreadToken::at_thread_entry());
    mapping.write(token, 8, 0x8877_6655_4433_2211_u64).unwrap();
    assert_eq!(read::<u64>(mapping, 8), Ok(0x8877_6655_4433_2211));
    assert_eq!(read::<u32>(mapping, 12), Ok(0x8877_6655));
    assert_eq!(read::<u16>(mapping, 10), Ok(0x4433));
    assert_eq!(read::<u8>(mapping, 15), Ok(0x88));
    mapping.write(token, 8, 0xaa_u8).unwrap();
    mapping.write(token, 10, 0xbbcc_u16).unwrap();
    mapping.write(token, 12, 0xdead_beef_u32).unwrap();
    assert_eq!(read::<u64>(mapping, 8), Ok(0xdead_beef_bbcc_22aa));
    assert_eq!((read::<u8>(mapping, 7), read::<u8>(mapping, 16)), (Ok(DEVICE), Ok(DEVICE)));
    assert_eq!(mapped.pages.real().byte(8), 0xaa);
}

#[test]
fn an_access_that_does_not_lie_inside_or_is_not_aligned_is_refused() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let (mapping, token) = (&mapped.mapping, &mut ThreadToken::at_thread_entry());
    assert_eq!(mapping.size(), SIZE);
    assert!(read::<u64>(mapping, SIZE - 8).is_ok() && read::<u8>(mapping, SIZE - 1).is_ok());
    for offset in [SIZE, SIZE + 8, u64::MAX - 7, u64::MAX] {
        assert_eq!(read::<u64>(mapping, offset), Err(MappingError::OutOfRange), "{offset:#x}");
        assert_eq!(read::<u8>(mapping, offset), Err(MappingError::OutOfRange), "{offset:#x}");
        assert_eq!(mapping.write(token, offset, 0_u32), Err(MappingError::OutOfRange), "{offset:#x}");
    }
    assert_eq!(read::<u64>(mapping, SIZE - 4), Err(MappingError::OutOfRange));
    assert_eq!(read::<u64>(mapping, 4), Err(MappingError::Misaligned));
    assert_eq!(read::<u32>(mapping, 2), Err(MappingError::Misaligned));
    assert_eq!(mapping.write(token, 1, 0_u16), Err(MappingError::Misaligned));
}

#[test]
fn an_access_that_fails_says_why_and_the_process_lives() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert_eq!(mapped.touch(0), Found::Failed);
    assert_eq!(read::<u32>(&mapped.mapping, 0), Err(MappingError::Disabled));
    assert_eq!(mapped.mapping.write(token, PAGE, 1_u8), Err(MappingError::Disabled));
    assert!(function.gate.freeze());
    assert_eq!(read::<u32>(&mapped.mapping, 0), Err(MappingError::Frozen));
    assert_eq!(mapped.mapping.write(token, 0, 1_u8), Err(MappingError::Frozen));
    function.retire(token);
    assert_eq!(read::<u32>(&mapped.mapping, 0), Err(MappingError::Gone));
    assert_eq!(mapped.mapping.write(token, 0, 1_u8), Err(MappingError::Gone));
}

#[test]
fn threads_share_a_mapping() {
    let function = Function::new();
    let mapping = Arc::new(function.map(OnDisabled::Fail).mapping);
    let threads = [0, 8, 16].map(|offset| {
        let mapping = Arc::clone(&mapping);
        thread::spawn(move || {
            let token = &mut ThreadToken::at_thread_entry();
            mapping.write(token, offset, offset).unwrap();
            mapping.read::<u64>(token, offset).unwrap() == offset
        })
    });
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
}

#[test]
fn a_mapping_shows_what_it_is() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let text = format!("{:?} {:?}", mapped.mapping, function.mappings);
    assert!(text.contains("consumer") && text.contains("Live"), "{text}");
    assert!(!mapped.mapping.is_trapped());
    // SAFETY: the address is only looked at.
    assert_eq!(unsafe { mapped.mapping.as_ptr() }, Some(mapped.pages.real().base));
}

//! Mappings that are none: every access is a call.

use crate::harness::{Function, PAGE, REGION, ahead};
use gate::{Deadline, ThreadToken};
use mapping::{MapRequest, Mapping, MappingError, MappingState, OnDisabled, Reach, Trap};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A region of bytes, that is there while it is enabled.
struct Bytes {
    bytes: Mutex<BTreeMap<u64, u8>>,
    reach: Arc<dyn Reach>,
    calls: Mutex<usize>,
}

impl Bytes {
    fn call(&self, region: u32) -> Result<(), MappingError> {
        assert_eq!(region, REGION);
        *self.calls.lock().unwrap() += 1;
        if self.reach.is_reachable(region) { Ok(()) } else { Err(MappingError::Disabled) }
    }
}

impl Trap for Bytes {
    fn read(
        &self,
        _: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
        _: Deadline,
    ) -> Result<(), MappingError> {
        self.call(region)?;
        let bytes = self.bytes.lock().unwrap();
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = bytes.get(&at).copied().unwrap_or_default();
        }
        Ok(())
    }

    fn write(
        &self,
        _: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
        _: Deadline,
    ) -> Result<(), MappingError> {
        self.call(region)?;
        self.bytes.lock().unwrap().extend((offset..).zip(data.iter().copied()));
        Ok(())
    }
}

fn map(function: &Function, on_disabled: OnDisabled) -> (Mapping, Arc<Bytes>) {
    let reach = function.enabled.clone();
    let trap = Arc::new(Bytes { bytes: Mutex::default(), reach, calls: Mutex::default() });
    let request =
        MapRequest { offset: PAGE, size: PAGE, trap: trap.clone(), ..function.request(on_disabled) };
    (function.mappings.map_trapped(request).unwrap(), trap)
}

#[test]
fn an_access_is_a_call_at_its_place_in_the_region() {
    let function = Function::new();
    let (mapping, trap) = map(&function, OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    mapping.write(token, 4, 0x4433_2211_u32).unwrap();
    assert_eq!(trap.bytes.lock().unwrap().get(&(PAGE + 4)), Some(&0x11));
    assert_eq!(mapping.read::<u16>(token, 6), Ok(0x4433));
    assert_eq!(mapping.read::<u64>(token, 0), Ok(0x4433_2211_0000_0000));
    assert_eq!(mapping.read::<u8>(token, PAGE), Err(MappingError::OutOfRange));
    assert_eq!(mapping.read::<u16>(token, 1), Err(MappingError::Misaligned));
    // SAFETY: there is no address to misuse.
    assert!(mapping.is_trapped() && unsafe { mapping.as_ptr() }.is_none());
}

#[test]
fn it_follows_the_function_as_a_real_one_does() {
    let function = Function::new();
    let (mapping, _) = map(&function, OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    assert_eq!(mapping.report().state, MappingState::Trapped);
    function.enable(token, false);
    assert_eq!(mapping.read::<u8>(token, 0), Err(MappingError::Disabled));
    function.enable(token, true);
    assert_eq!(mapping.report().zaps, 2);
    assert!(function.gate.freeze());
    assert_eq!(mapping.read::<u8>(token, 0), Err(MappingError::Frozen));
    assert_eq!(mapping.report().state, MappingState::Frozen);
    assert!(function.gate.thaw());
    assert_eq!(mapping.read::<u8>(token, 0), Ok(0));
    function.retire(token);
    assert_eq!(
        (mapping.write(token, 0, 1_u8), mapping.report().state),
        (Err(MappingError::Gone), MappingState::Gone)
    );
}

/// Looks until somebody waits.
fn until_parked(mapping: &Mapping) {
    let deadline = ahead();
    while !mapping.report().parked {
        assert!(deadline.remaining().is_some(), "nobody waits");
        thread::yield_now();
    }
}

#[test]
fn an_access_that_may_wait_finds_the_region_when_it_is_enabled_again() {
    let function = Function::new();
    let (mapping, trap) = map(&function, OnDisabled::Wait(Duration::from_secs(30)));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| mapping.read::<u8>(&mut ThreadToken::at_thread_entry(), 0));
        until_parked(&mapping);
        function.enable(token, true);
        assert_eq!(reader.join().unwrap(), Ok(0));
    });
    assert!(*trap.calls.lock().unwrap() >= 2);
    assert!(!mapping.report().parked);
}

#[test]
fn an_access_that_waits_ends_with_the_function() {
    for gone in [false, true] {
        let function = Function::new();
        let (mapping, _) = map(&function, OnDisabled::Wait(Duration::from_secs(30)));
        let token = &mut ThreadToken::at_thread_entry();
        function.enable(token, false);
        let expected = if gone { MappingError::Gone } else { MappingError::Frozen };
        thread::scope(|scope| {
            let reader = scope.spawn(|| mapping.read::<u8>(&mut ThreadToken::at_thread_entry(), 0));
            until_parked(&mapping);
            if gone {
                function.retire(token);
            } else {
                assert!(function.gate.freeze());
            }
            assert_eq!(reader.join().unwrap(), Err(expected));
        });
    }
}

#[test]
fn an_access_that_has_waited_for_too_long_fails() {
    let function = Function::new();
    let (mapping, _) = map(&function, OnDisabled::Wait(Duration::from_millis(1)));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert_eq!(mapping.read::<u8>(token, 0), Err(MappingError::TimedOut));
}

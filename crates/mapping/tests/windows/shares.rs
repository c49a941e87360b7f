//! Memory in the hands of another process, through [`Mappings`]: what a memory does with it is tested with the memory.

use crate::harness::{Found, Function, PAGE, REGION, SIZE, ahead};
use gate::{Reason, ThreadToken};
use mapping::{Area, Holds, MapError, MappingLimits, MappingState, OnDisabled, Shared};
use std::fs::File;
use std::os::unix::fs::FileExt;

const DATA: Area = Area { offset: 0, size: 2 * PAGE, holds: Holds::Data };
const BELLS: Area = Area { offset: 2 * PAGE, size: PAGE, holds: Holds::Doorbells };

impl Function {
    fn share(&self, areas: &[Area]) -> Result<Shared, MapError> {
        self.mappings.share("client".to_owned(), REGION, &self.memory, areas)
    }

    fn settle(&self, token: &mut ThreadToken) {
        self.mappings.settle(token, ahead()).unwrap();
    }

    fn device_reads(&self, offset: u64) -> u8 {
        let mut byte = [0];
        self.memory.read(offset, &mut byte);
        byte[0]
    }
}

/// What the other process does with the file.
struct Client(File);

impl Client {
    fn of(shared: &Shared) -> Client {
        Client(shared.file.try_clone().unwrap().into())
    }

    fn reads(&self, offset: u64) -> u8 {
        let mut byte = [0];
        self.0.read_exact_at(&mut byte, offset).unwrap();
        byte[0]
    }

    fn writes(&self, offset: u64, byte: u8) {
        self.0.write_all_at(&[byte], offset).unwrap();
    }
}

#[test]
fn a_freeze_hides_data_and_a_thaw_brings_it_back() {
    let function = Function::new();
    let token = &mut ThreadToken::at_thread_entry();
    let shared = function.share(&[DATA, BELLS]).unwrap();
    let client = Client::of(&shared);
    client.writes(5, 1);
    assert_eq!(function.device_reads(5), 1);
    assert!(function.gate.freeze());
    function.settle(token);
    client.writes(BELLS.offset, 2);
    assert_eq!((client.reads(5), client.reads(BELLS.offset)), (0xff, 2), "doorbells stay");
    let reports = function.mappings.report();
    assert!(
        reports.iter().all(|report| report.shared && report.state == MappingState::Frozen),
        "{reports:?}"
    );
    assert_eq!(
        reports.iter().map(|report| (report.offset, report.size)).collect::<Vec<_>>(),
        [(0, DATA.size), (BELLS.offset, BELLS.size)]
    );
    assert_eq!((function.device_reads(5), function.device_reads(BELLS.offset)), (1, 2));
    assert!(function.gate.thaw());
    function.settle(token);
    assert_eq!((client.reads(5), function.mappings.report()[0].zaps), (1, 1));
    client.writes(6, 3);
    assert_eq!(function.device_reads(6), 3);
}

#[test]
fn who_is_about_to_thaw_brings_it_back_at_once() {
    let function = Function::new();
    let token = &mut ThreadToken::at_thread_entry();
    let shared = function.share(&[DATA]).unwrap();
    let client = Client::of(&shared);
    client.writes(5, 1);
    assert!(function.gate.freeze());
    function.settle(token);
    let held = function.gate.close(token, Reason::Reset, ahead()).unwrap();
    function.mappings.reveal(&held);
    assert_eq!(client.reads(5), 1);
    drop(held);
    function.settle(token);
    assert_eq!(client.reads(5), 0xff, "it did not thaw");
    let held = function.gate.close(token, Reason::Reset, ahead()).unwrap();
    function.mappings.reveal(&held);
    assert!(held.thaw());
    function.settle(token);
    assert_eq!(client.reads(5), 1);
}

#[test]
fn law_5_what_another_process_stores_after_a_removal_reaches_nothing() {
    let function = Function::new();
    let token = &mut ThreadToken::at_thread_entry();
    let shared = function.share(&[DATA]).unwrap();
    let client = Client::of(&shared);
    client.writes(5, 1);
    client.writes(6, 1);
    function.retire(token);
    // Before or after the keeper has filled the file: then this process, and nobody else, reads it back.
    client.writes(5, 2);
    assert_eq!(function.device_reads(5), 0, "before anybody else has done anything");
    function.settle(token);
    assert_eq!(client.reads(6), 0xff);
    // It may go on storing, to what is its own by now.
    client.writes(5, 3);
    assert_eq!((function.device_reads(5), function.device_reads(6)), (0, 0));
    assert_eq!(function.mappings.report()[0].state, MappingState::Gone);
    assert!(matches!(function.share(&[DATA]).err(), Some(MapError::Gone)));
    drop(shared);
    function.settle(token);
    assert!(function.mappings.report().is_empty());
}

#[test]
fn the_next_process_has_what_the_last_one_left_and_nothing_the_last_one_does_now() {
    let function = Function::with(MappingLimits { mappings: 1, ..MappingLimits::default() });
    let token = &mut ThreadToken::at_thread_entry();
    let mut value = 0;
    let mut before: Option<Client> = None;
    for round in 1..4 {
        let shared = function.share(&[DATA]).unwrap();
        let client = Client::of(&shared);
        assert_eq!(client.reads(5), value, "the device went on with its memory");
        if let Some(before) = &before {
            before.writes(5, 0xee);
            assert_eq!((client.reads(5), function.device_reads(5)), (value, value));
        }
        value = round;
        client.writes(5, value);
        drop(shared);
        function.settle(token);
        assert_eq!(client.reads(6), 0xff, "all-ones for whoever has left");
        assert!(function.mappings.report().is_empty());
        before = Some(client);
    }
}

#[test]
fn memory_is_not_given_on_before_it_was_taken_out_of_the_hands_of_the_last() {
    let function = Function::new();
    let token = &mut ThreadToken::at_thread_entry();
    let shared = function.share(&[DATA]).unwrap();
    // Nobody can exchange the file meanwhile.
    let closed = function.gate.close(token, Reason::Reset, ahead()).unwrap().park();
    drop(shared);
    let refused = function.share(&[DATA]).err();
    assert!(
        matches!(&refused, Some(MapError::System(error)) if error.kind() == std::io::ErrorKind::ResourceBusy),
        "{refused:?}"
    );
    drop(closed);
    function.settle(token);
    assert!(function.share(&[DATA]).is_ok());
}

#[test]
fn what_is_given_to_others_has_limits_of_its_own() {
    let function = Function::with(MappingLimits { mappings: 8, bytes: SIZE, shared_bytes: DATA.size });
    let token = &mut ThreadToken::at_thread_entry();
    let refused = function.share(&[DATA, BELLS]).err();
    assert!(matches!(refused, Some(MapError::Limit { what: "bytes by another process", .. })), "{refused:?}");
    let shared = function.share(&[DATA]).unwrap();
    assert!(function.share(&[BELLS]).is_err());
    let mapped = function.map(OnDisabled::Fail);
    assert!(!function.mappings.is_empty());
    drop((mapped, shared));
    function.settle(token);
    assert!(function.share(&[BELLS]).is_ok());
    for bad in [Area { offset: 1, ..DATA }, Area { size: 2 * SIZE, ..DATA }, Area { size: 0, ..DATA }] {
        let refused = function.share(&[bad]).err();
        assert!(matches!(refused, Some(MapError::Range | MapError::Limit { .. })), "{bad:?} {refused:?}");
    }
}

#[test]
fn a_window_on_memory_that_is_shared_as_well_is_mapped_anew_when_the_file_is_exchanged() {
    let function = Function::new();
    let token = &mut ThreadToken::at_thread_entry();
    let shared = function.share(&[DATA]).unwrap();
    let mapped = function.map(OnDisabled::Fail);
    // Once already, for an exchange that may have been under way.
    assert_eq!((mapped.touch(0), mapped.pages.covers()), (Found::Device, 1));
    drop(shared);
    function.settle(token);
    assert_eq!((mapped.pages.present(), mapped.pages.covers()), (0, 2));
    assert_eq!(mapped.touch(0), Found::Device);
}

#[test]
fn only_mappings_in_this_process_ask_for_a_zap() {
    let function = Function::new();
    let token = &mut ThreadToken::at_thread_entry();
    let shared = function.share(&[DATA]).unwrap();
    assert!(function.mappings.is_empty());
    let held = function.close(token);
    function.mappings.zap(&held);
    drop((held, shared));
    function.settle(token);
}

/// Pages whose file is exchanged after it was mapped and before they are listed.
struct Overtaken {
    exchange: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
    covers: std::sync::atomic::AtomicUsize,
}

impl mapping::Pages for Overtaken {
    fn attach(&self, _: &std::sync::Arc<mapping::Window>) {
        let exchange = self.exchange.lock().unwrap().take();
        exchange.into_iter().for_each(|exchange| exchange());
    }
    fn populate(&self, _: u64) -> Result<(), mapping::PagesError> {
        Ok(())
    }
    fn poison(&self, _: u64) {}
    fn zap(&self) {}
    fn cover(&self) {
        self.covers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    fn uncover(&self) -> Result<(), mapping::PagesError> {
        Ok(())
    }
    fn wake(&self) {}
    fn base(&self) -> Option<std::ptr::NonNull<u8>> {
        None
    }
}

#[test]
fn a_file_that_is_exchanged_while_it_is_being_mapped_is_mapped_anew() {
    for exchanged in [true, false] {
        let function = Function::new();
        let shared = exchanged.then(|| function.share(&[DATA]).unwrap());
        let mappings = function.mappings.clone();
        let exchange: Box<dyn FnOnce() + Send> = Box::new(move || {
            drop(shared);
            mappings.settle(&mut ThreadToken::at_thread_entry(), ahead()).unwrap();
        });
        let pages = std::sync::Arc::new(Overtaken {
            exchange: std::sync::Mutex::new(Some(exchange)),
            covers: std::sync::atomic::AtomicUsize::new(0),
        });
        let request = function.request(mapping::OnDisabled::Fail);
        let mapped = function.mappings.map_on(request, pages.clone()).unwrap();
        assert_eq!(pages.covers.load(std::sync::atomic::Ordering::SeqCst), usize::from(exchanged));
        assert_eq!(mapped.report().state, MappingState::Live);
    }
}

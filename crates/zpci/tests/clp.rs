//! The commands by which a guest learns of its functions and enables them (ZP-02, ZP-03).
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod machine;

use gate::ThreadToken;
use machine::{device, machine, machine_of, place};
use parking_lot::Mutex;
use pci_core::{BarKind, RealTime, Time, VirtualTime};
use std::sync::Arc;
use std::time::Duration;
use zpci::clp::{
    Answer, BarInfo, Clp, ClpError, Code, Disabled, Entry, Host, ListPage, MAX_LIST_ENTRIES, Request,
    Retries, SetFunction,
};
use zpci::{
    Configuration, Description, Fid, Group, Handle, MAX_FUNCTIONS, Settings, Uid, View, Work, Zdev, Zpci,
};

fn token() -> ThreadToken {
    ThreadToken::at_thread_entry()
}

fn list(zpci: &Zpci, resume: u64) -> Result<ListPage, Code> {
    match zpci.call(&token(), Request::List { resume })? {
        Answer::List(page) => Ok(page),
        other => panic!("{other:?}"),
    }
}

fn fids(page: &ListPage) -> Vec<u32> {
    page.entries.iter().map(|entry| entry.fid.0).collect()
}

fn set(zpci: &Zpci, handle: Handle, operation: SetFunction) -> Result<Handle, Code> {
    set_with(zpci, handle, operation, 1)
}

fn set_with(zpci: &Zpci, handle: Handle, operation: SetFunction, dma_spaces: u8) -> Result<Handle, Code> {
    match zpci.call(&token(), Request::SetFunction { handle, operation, dma_spaces })? {
        Answer::Set { handle } => Ok(handle),
        other => panic!("{other:?}"),
    }
}

fn configured(zpci: &Zpci, fid: u32) -> (Arc<Zdev>, Arc<View>) {
    configured_by(&mut token(), zpci, fid)
}

fn configured_by(token: &mut ThreadToken, zpci: &Zpci, fid: u32) -> (Arc<Zdev>, Arc<View>) {
    let zdev = place(zpci, fid);
    let view = device(&zdev, "device");
    zdev.bring_in(token, Arc::clone(&view));
    (zdev, view)
}

#[test]
fn response_codes_have_their_numbers() {
    let numbers = [
        (Code::Command, 0x0011),
        (Code::Length, 0x0014),
        (Code::FunctionCode, 0x0100),
        (Code::Handle, 0x0101),
        (Code::HandleForOperation, 0x0102),
        (Code::DmaSpaces, 0x0103),
        (Code::Resources, 0x0104),
        (Code::Already, 0x0105),
        (Code::PermanentError, 0x0106),
        (Code::RecoveryPending, 0x0107),
        (Code::Busy, 0x0108),
        (Code::ResumeToken, 0x010a),
        (Code::Group, 0x010b),
    ];
    for (code, number) in numbers {
        assert_eq!(code.number(), number);
        assert_eq!(code.is_busy(), matches!(number, 0x0107 | 0x0108), "{code}");
    }
    assert_eq!((Code::OK, format!("{:x}", Code::Busy)), (0x0010, "0x0108".to_owned()));
}

#[test]
fn the_processor_knows_five_commands() {
    let Answer::Processor(processor) = machine().call(&token(), Request::QueryProcessor).unwrap() else {
        panic!("another answer");
    };
    assert_eq!(processor.commands, 0b11_1110);
}

#[test]
fn a_list_has_what_is_not_reserved_with_state_handle_and_identity() {
    let zpci = machine();
    zpci.add(Fid(1), Uid(1), Description::default()).unwrap();
    let standby = zpci.add(Fid(2), Uid(2), Description::default()).unwrap();
    standby.card(true);
    let there = zpci.add(Fid(3), Uid(3), Description::default()).unwrap();
    there.card(true);
    there.bring_in(&mut token(), device(&there, "three"));
    let page = list(&zpci, 0).unwrap();
    let entry = |zdev: &Zdev, configuration, vendor_id, device_id| Entry {
        fid: zdev.fid(),
        handle: zdev.handle(),
        configuration,
        vendor_id,
        device_id,
    };
    assert_eq!(
        page.entries,
        [
            entry(&standby, Configuration::Standby, 0, 0),
            entry(&there, Configuration::Configured, machine::VENDOR, machine::DEVICE),
        ]
    );
    assert_eq!((page.resume, page.max_functions, page.uid_checking), (0, 4096, true));
}

#[test]
fn a_long_list_comes_in_parts_and_each_function_once_whatever_comes_and_goes_meanwhile() {
    let zpci = machine();
    let count = 2 * MAX_LIST_ENTRIES + 10;
    for fid in 0..u32::try_from(count).unwrap() {
        place(&zpci, 2 * fid);
    }
    let first = list(&zpci, 0).unwrap();
    assert_eq!((first.entries.len(), fids(&first)[0]), (MAX_LIST_ENTRIES, 0));
    let last = *fids(&first).last().unwrap();
    assert!(first.resume != 0 && !first.uid_checking, "they have no names of their own");

    // The one where the list stopped goes, one comes just behind it, and one before.
    zpci.remove(&mut token(), Fid(last)).unwrap();
    place(&zpci, last + 1);
    place(&zpci, 1);
    let second = list(&zpci, first.resume).unwrap();
    assert_eq!((second.entries.len(), &fids(&second)[..2]), (MAX_LIST_ENTRIES, &[last + 1, last + 2][..]));
    let third = list(&zpci, second.resume).unwrap();
    assert_eq!((third.entries.len(), third.resume), (11, 0));
    let all: Vec<_> = [&first, &second, &third].into_iter().flat_map(fids).collect();
    assert!(all.is_sorted_by(|one, next| one < next));
    assert_eq!(all.len(), count + 1);
}

#[test]
fn a_list_that_just_fits_has_no_other_part_and_ends_at_the_last_identifier() {
    let zpci = machine();
    for fid in 0..u32::try_from(MAX_LIST_ENTRIES - 1).unwrap() {
        place(&zpci, fid);
    }
    place(&zpci, u32::MAX);
    let page = list(&zpci, 0).unwrap();
    assert_eq!((page.entries.len(), page.resume), (MAX_LIST_ENTRIES, 0));
    // Reserved functions are no reason to go on either.
    zpci.add(Fid(u32::MAX - 1), Uid::NONE, Description::default()).unwrap();
    assert_eq!(list(&zpci, 0).unwrap().resume, 0);
    assert_eq!(fids(&list(&zpci, u64::from(u32::MAX)).unwrap()), [u32::MAX]);
    assert_eq!(fids(&list(&zpci, u64::from(u32::MAX) + 1).unwrap()), []);
}

#[test]
fn a_resume_token_that_no_list_gave_is_refused() {
    for resume in [u64::from(u32::MAX) + 2, u64::MAX] {
        assert_eq!(list(&machine(), resume), Err(Code::ResumeToken));
    }
}

#[test]
fn a_function_says_what_it_is() {
    let (zpci, mut token) = (machine(), token());
    let description =
        Description { pchid: 0x123, function_type: 5, port: 2, group: 9, utility: "é".repeat(40) };
    let zdev = zpci.add(Fid(1), Uid(0x77), description.clone()).unwrap();
    zdev.card(true);
    let query = |token: &ThreadToken, handle| match zpci.call(token, Request::QueryFunction { handle })? {
        Answer::Function(info) => Ok::<_, Code>(*info),
        other => panic!("{other:?}"),
    };
    let standby = query(&token, zdev.handle()).unwrap();
    assert_eq!(standby.bars, [None; 6]);
    zdev.bring_in(&mut token, device(&zdev, "one"));
    let info = query(&token, zdev.handle()).unwrap();
    assert_eq!((info.fid, info.uid, info.vfn), (Fid(1), Uid(0x77), 0));
    assert_eq!((info.function_type, info.pchid, info.port, info.group), (5, 0x123, 2, 9));
    assert_eq!(info.utility[..], description.utility.as_bytes()[..64]);
    assert_eq!(info.dma, Settings::default().dma);
    let mut bars = [None; 6];
    bars[0] = Some(BarInfo { kind: BarKind::Memory64, size_log2: 14 });
    bars[2] = Some(BarInfo { kind: BarKind::Memory32, size_log2: 12 });
    assert_eq!(info.bars, bars);

    let vf = zpci.add_virtual(&zdev, 4, Fid(2), Uid::NONE).unwrap();
    vf.card(true);
    assert_eq!(query(&token, vf.handle()).unwrap().vfn, 4);
    for stale in [Handle::NONE, Handle::from_bits(u32::MAX), Handle::from_bits(info.fid.0)] {
        assert_eq!(query(&token, stale).unwrap_err(), Code::Handle);
    }
}

#[test]
fn a_group_says_what_its_functions_have_in_common_and_others_are_refused() {
    let group = Group { id: 4, max_store: 64, dma_spaces: 2, version: 3, ..Group::default() };
    let zpci = Zpci::new(Settings { groups: vec![Group::default(), group], ..Settings::default() });
    assert_eq!(zpci.call(&token(), Request::QueryGroup { group: 4 }), Ok(Answer::Group(group)));
    assert_eq!(zpci.call(&token(), Request::QueryGroup { group: 1 }), Err(Code::Group));
}

#[test]
fn a_guest_disables_and_enables_a_function_with_a_new_handle_each_time() {
    let zpci = machine();
    let (zdev, view) = configured(&zpci, 1);
    let first = zdev.handle();
    assert_eq!(set(&zpci, first, SetFunction::Enable), Err(Code::Already));
    let disabled = set(&zpci, first, SetFunction::Disable).unwrap();
    assert!(!disabled.is_enabled() && zdev.handle() == disabled && !view.is_enabled());
    assert_eq!(set(&zpci, disabled, SetFunction::Disable), Err(Code::Already));
    assert_eq!(set(&zpci, first, SetFunction::Disable), Err(Code::Handle), "a stale handle");
    let enabled = set(&zpci, disabled, SetFunction::Enable).unwrap();
    assert!(enabled.is_enabled() && enabled != first && view.handle() == enabled);
    assert_eq!(set(&zpci, disabled, SetFunction::Enable), Err(Code::Handle), "a stale handle");
    assert_eq!(zdev.work(), None);
}

#[test]
fn a_function_that_is_not_configured_is_not_enabled() {
    let zpci = machine();
    let zdev = place(&zpci, 1);
    let standby = zdev.handle();
    assert_eq!(set(&zpci, standby, SetFunction::Enable), Err(Code::HandleForOperation));
    zdev.card(false);
    assert_eq!(set(&zpci, standby, SetFunction::Enable), Err(Code::Handle));
    assert_eq!(set(&zpci, Handle::NONE, SetFunction::Enable), Err(Code::Handle));
    assert_eq!(zdev.work(), None);
}

#[test]
fn a_function_is_enabled_with_as_many_dma_address_spaces_as_its_group_has() {
    let group = Group { dma_spaces: 2, ..Group::default() };
    let zpci = Zpci::new(Settings { groups: vec![group], ..Settings::default() });
    let (zdev, _view) = configured(&zpci, 1);
    for (spaces, refused) in [(0, true), (1, false), (2, false), (3, true), (255, true)] {
        let disabled = set(&zpci, zdev.handle(), SetFunction::Disable).unwrap_or(zdev.handle());
        let enabled = set_with(&zpci, disabled, SetFunction::Enable, spaces);
        assert_eq!(enabled.is_err(), refused, "{spaces}");
        assert!(!refused || enabled == Err(Code::DmaSpaces));
    }
}

#[test]
fn memory_io_is_enabled_on_an_enabled_function_and_ends_when_that_is_disabled() {
    let zpci = machine();
    let (zdev, view) = configured(&zpci, 1);
    let handle = zdev.handle();
    assert_eq!(set(&zpci, handle, SetFunction::DisableMio), Err(Code::Already));
    assert_eq!(set(&zpci, handle, SetFunction::EnableMio), Ok(handle));
    assert!(view.is_mio_enabled());
    assert_eq!(set(&zpci, handle, SetFunction::EnableMio), Err(Code::Already));
    assert_eq!(set(&zpci, handle, SetFunction::DisableMio), Ok(handle));
    assert!(!view.is_mio_enabled());
    set(&zpci, handle, SetFunction::EnableMio).unwrap();
    // A recovery disables and enables it too.
    let recovery = zdev.begin(Work::Recovery).unwrap();
    recovery.renew(&mut token(), false).unwrap();
    let handle = recovery.renew(&mut token(), true).unwrap();
    drop(recovery);
    assert!(!view.is_mio_enabled());
    set(&zpci, handle, SetFunction::EnableMio).unwrap();
    let disabled = set(&zpci, handle, SetFunction::Disable).unwrap();
    assert!(!view.is_mio_enabled());
    assert_eq!(set(&zpci, disabled, SetFunction::EnableMio), Err(Code::HandleForOperation));
}

#[test]
fn memory_io_is_not_enabled_in_a_group_that_has_none() {
    let group = Group { has_mio: false, ..Group::default() };
    let zpci = Zpci::new(Settings { groups: vec![group], ..Settings::default() });
    let (zdev, view) = configured(&zpci, 1);
    for operation in [SetFunction::EnableMio, SetFunction::DisableMio] {
        assert_eq!(set(&zpci, zdev.handle(), operation), Err(Code::HandleForOperation));
    }
    assert!(!view.is_mio_enabled());
}

#[test]
fn a_device_in_permanent_error_is_disabled_but_not_enabled() {
    let zpci = machine();
    let (zdev, _view) = configured(&zpci, 1);
    set(&zpci, zdev.handle(), SetFunction::EnableMio).unwrap();
    zdev.fail();
    assert!(set(&zpci, zdev.handle(), SetFunction::DisableMio).is_ok());
    assert_eq!(set(&zpci, zdev.handle(), SetFunction::EnableMio), Err(Code::PermanentError));
    let disabled = set(&zpci, zdev.handle(), SetFunction::Disable).unwrap();
    assert_eq!(set(&zpci, disabled, SetFunction::Enable), Err(Code::PermanentError));
}

#[test]
fn a_guest_that_has_used_up_its_handles_is_told_so_and_a_recovery_gives_it_others() {
    let zpci = machine_of(2);
    let (zdev, _view) = configured(&zpci, 1);
    let disabled = set(&zpci, zdev.handle(), SetFunction::Disable).unwrap();
    assert_eq!(set(&zpci, disabled, SetFunction::Enable), Err(Code::Resources));
    assert_eq!(zdev.handle(), disabled);
    let recovered = zdev.begin(Work::Recovery).unwrap().renew(&mut token(), true).unwrap();
    assert!(set(&zpci, recovered, SetFunction::Disable).is_ok());
}

#[test]
fn while_somebody_works_on_a_function_it_is_busy_or_being_recovered_and_nothing_waits() {
    let zpci = machine();
    let (zdev, _view) = configured(&zpci, 1);
    let handle = zdev.handle();
    for (work, code) in
        [(Work::Recovery, Code::RecoveryPending), (Work::Reset, Code::Busy), (Work::SetFunction, Code::Busy)]
    {
        let _claim = zdev.begin(work).unwrap();
        assert_eq!(set(&zpci, handle, SetFunction::Disable), Err(code));
        assert!(list(&zpci, 0).is_ok() && zpci.call(&token(), Request::QueryFunction { handle }).is_ok());
    }
    assert!(set(&zpci, handle, SetFunction::Disable).is_ok());
}

/// Answers one command after the other with what it was given, and then with the last of it for ever.
struct Script {
    answers: Mutex<Vec<Result<Answer, Code>>>,
    calls: Mutex<Vec<Request>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Result<Answer, Code>>) -> Arc<Script> {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Arc::new(Script { answers: Mutex::new(answers), calls: Mutex::default() })
    }
}

impl Clp for Script {
    fn call(&self, _token: &ThreadToken, request: Request) -> Result<Answer, Code> {
        self.calls.lock().push(request);
        let mut answers = self.answers.lock();
        if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() }
    }
}

fn host_of(platform: Arc<dyn Clp>, time: &Arc<VirtualTime>) -> Host {
    Host::new(platform, time.clone(), Retries::default())
}

const ENABLED: Handle = Handle::from_bits(0x8000_1000);
const DISABLED: Handle = Handle::from_bits(0x2000);

/// ZP-03.
#[test]
fn a_platform_that_stays_busy_is_asked_a_hundred_times_in_two_seconds_and_no_more() {
    for code in [Code::Busy, Code::RecoveryPending] {
        let time = Arc::new(VirtualTime::default());
        let platform = Script::new([Err(code)]);
        let host = host_of(platform.clone(), &time);
        assert_eq!(host.enable(&mut token(), DISABLED, false), Err(ClpError::Refused(code)));
        assert_eq!(platform.calls.lock().len(), 100);
        assert_eq!(time.now(), Duration::from_millis(99 * 20));
    }
}

#[test]
fn a_platform_that_is_busy_for_a_moment_is_asked_again_until_it_is_not() {
    let time = Arc::new(VirtualTime::default());
    let platform = Script::new([Err(Code::Busy), Err(Code::Busy), Ok(Answer::Set { handle: ENABLED })]);
    assert_eq!(host_of(platform.clone(), &time).enable(&mut token(), DISABLED, false), Ok(ENABLED));
    assert_eq!(time.now(), Duration::from_millis(40));
    let enable = Request::SetFunction { handle: DISABLED, operation: SetFunction::Enable, dma_spaces: 1 };
    assert_eq!(*platform.calls.lock(), [enable; 3], "memory I/O was not asked for");
}

#[test]
fn any_other_refusal_is_taken_at_its_word() {
    for code in [Code::Handle, Code::Resources, Code::PermanentError, Code::Already] {
        let time = Arc::new(VirtualTime::default());
        let platform = Script::new([Err(code)]);
        let host = host_of(platform.clone(), &time);
        assert_eq!(host.enable(&mut token(), DISABLED, false), Err(ClpError::Refused(code)));
        assert_eq!((platform.calls.lock().len(), time.now()), (1, Duration::ZERO));
    }
}

/// Law 4: without the cancel this takes two hours.
#[test]
fn a_thread_whose_waits_are_cancelled_stops_asking() {
    let platform = Script::new([Err(Code::Busy)]);
    let retries = Retries { tries: 100, pause: Duration::from_secs(72) };
    let host = Host::new(platform.clone(), Arc::new(RealTime::default()), retries);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut token = token();
            send.send(token.canceller()).unwrap();
            host.enable(&mut token, DISABLED, false)
        });
        receive.recv().unwrap().cancel();
        assert_eq!(asking.join().unwrap(), Err(ClpError::Refused(Code::Busy)));
    });
    assert!(platform.calls.lock().len() <= 2);
}

#[test]
fn a_wait_between_two_tries_passes_in_real_time_too() {
    let platform = Script::new([Err(Code::Busy), Ok(Answer::Set { handle: ENABLED })]);
    let retries = Retries { tries: 2, pause: Duration::from_millis(3) };
    let host = Host::new(platform, Arc::new(RealTime::default()), retries);
    let begun = std::time::Instant::now();
    assert_eq!(host.enable(&mut token(), DISABLED, false), Ok(ENABLED));
    assert!(begun.elapsed() >= Duration::from_millis(3));
}

/// ZP-03: the function was disabled by somebody else, and its handle has to be asked for.
#[test]
fn disabling_what_is_disabled_already_gives_the_handle_that_it_has_now() {
    let (zpci, mut token) = (machine(), token());
    let (zdev, _view) = configured_by(&mut token, &zpci, 1);
    configured_by(&mut token, &zpci, 0);
    let host = Host::new(zpci.clone(), Arc::new(VirtualTime::default()), Retries::default());
    let Disabled::Now(disabled) = host.disable(&mut token, Fid(1), zdev.handle()).unwrap() else {
        panic!("it was enabled");
    };
    assert_eq!(host.disable(&mut token, Fid(1), disabled), Ok(Disabled::Already(zdev.handle())));
    assert_eq!(zdev.handle(), disabled);

    let gone = Script::new([Err(Code::Already), Ok(Answer::List(page([], 0)))]);
    let host = host_of(gone, &Arc::new(VirtualTime::default()));
    assert_eq!(host.disable(&mut token, Fid(1), DISABLED), Err(ClpError::Refused(Code::Handle)));
}

#[test]
fn a_host_finds_its_functions_and_enables_them_with_memory_io() {
    let (zpci, mut token) = (machine(), token());
    for fid in 0..u32::try_from(MAX_LIST_ENTRIES).unwrap() {
        place(&zpci, fid);
    }
    let (zdev, view) = configured_by(&mut token, &zpci, u32::MAX);
    let host = Host::new(zpci.clone(), Arc::new(VirtualTime::default()), Retries::default());
    assert_eq!(host.list(&mut token).unwrap().len(), MAX_LIST_ENTRIES + 1);
    assert_eq!(host.refresh(&mut token, Fid(u32::MAX)), Ok(Some(zdev.handle())));
    assert_eq!(host.refresh(&mut token, Fid(u32::MAX - 1)), Ok(None));
    let Ok(Disabled::Now(disabled)) = host.disable(&mut token, zdev.fid(), zdev.handle()) else {
        panic!("it was enabled");
    };
    let enabled = host.enable(&mut token, disabled, true).unwrap();
    assert!(enabled == zdev.handle() && view.is_mio_enabled());
    assert!(host.query_function(&mut token, enabled).unwrap().is_mio_enabled);
    assert_eq!(host.query_group(&mut token, 0), Ok(Group::default()));
}

/// Law 9.
#[test]
fn a_function_whose_memory_io_is_refused_is_disabled_again() {
    let platform = Script::new([
        Ok(Answer::Set { handle: ENABLED }),
        Err(Code::HandleForOperation),
        Ok(Answer::Set { handle: DISABLED }),
    ]);
    let host = host_of(platform.clone(), &Arc::new(VirtualTime::default()));
    assert_eq!(host.enable(&mut token(), DISABLED, true), Err(ClpError::Refused(Code::HandleForOperation)));
    let request = |handle, operation| Request::SetFunction { handle, operation, dma_spaces: 1 };
    assert_eq!(
        *platform.calls.lock(),
        [
            request(DISABLED, SetFunction::Enable),
            request(ENABLED, SetFunction::EnableMio),
            request(ENABLED, SetFunction::Disable)
        ]
    );
}

fn page(entries: impl IntoIterator<Item = Entry>, resume: u64) -> ListPage {
    ListPage { entries: entries.into_iter().collect(), resume, max_functions: 4096, uid_checking: false }
}

#[test]
fn a_platform_that_answers_nonsense_is_not_listened_to_for_ever() {
    let entry = Entry {
        fid: Fid(1),
        handle: DISABLED,
        configuration: Configuration::Standby,
        vendor_id: 0,
        device_id: 0,
    };
    let endless = Answer::List(page([entry], 2));
    let empty = Answer::List(page([], 2));
    let huge = Answer::List(page(vec![entry; MAX_FUNCTIONS + 1], 0));
    let another = Answer::Set { handle: ENABLED };
    for (answer, calls) in [(endless, MAX_FUNCTIONS + 1), (empty, 1), (huge, 1), (another, 1)] {
        let platform = Script::new([Ok(answer)]);
        let host = host_of(platform.clone(), &Arc::new(VirtualTime::default()));
        assert_eq!(host.list(&mut token()), Err(ClpError::Nonsense));
        assert_eq!(platform.calls.lock().len(), calls);
    }
    // As many as there can be, one at a time.
    let pages = (1..MAX_FUNCTIONS).map(|next| Ok(Answer::List(page([entry], next as u64))));
    let pages = pages.chain([Ok(Answer::List(page([entry], 0)))]);
    let host = host_of(Script::new(pages), &Arc::new(VirtualTime::default()));
    assert_eq!(host.list(&mut token()).unwrap().len(), MAX_FUNCTIONS);
    let host = host_of(Script::new([Ok(Answer::List(page([], 0)))]), &Arc::new(VirtualTime::default()));
    assert_eq!(host.enable(&mut token(), DISABLED, false), Err(ClpError::Nonsense));
    assert_eq!(host.query_group(&mut token(), 0), Err(ClpError::Nonsense));
    assert_eq!(host.query_function(&mut token(), DISABLED), Err(ClpError::Nonsense));
}

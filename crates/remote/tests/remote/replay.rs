//! Mode `replay`: the guest sees a pause.

use std::time::Duration;

use gate::ThreadToken;
use models::nvme::host::Io;
use remote::Told;
use remote::config::RemoteConfig;
use remote::fence::{Fenced, How};
use remote::life::Why;
use rustix::process::Signal;

use crate::rig::*;

#[test]
fn a_guest_whose_back_end_is_killed_again_and_again_sees_no_error_and_no_wrong_data() {
    let mut token = ThreadToken::at_thread_entry();
    let place = Place::new();
    let first = place.serve();
    let config = RemoteConfig { restart: Some(place.command()), ..place.config() };
    let function = Function::open(&mut token, &place, &config);
    let mut driver = function.driver(&mut token);
    round(&mut token, &mut driver, 0, |_| ());
    let mut deaths = 0;
    for number in 1..=4 {
        round(&mut token, &mut driver, number, |_| {
            kill_present(&function);
            function.ear.hear(deaths, is_returned);
            deaths += 1;
        });
    }
    let status = function.remote.status();
    assert_eq!((status.losses, status.state), (8, "connected"));
    assert!(status.replayed > 0, "something was in flight at one of the deaths: {status:?}");
    assert_eq!(status.refused, 0);
    assert!(status.last_pause.is_some_and(|pause| pause > Duration::ZERO));
    driver.stop(&mut token).unwrap();
    function.close(&mut token);
    drop(first);
}

#[test]
fn a_back_end_that_somebody_else_restarts_is_found_again() {
    let mut token = ThreadToken::at_thread_entry();
    let place = Place::new();
    let first = place.serve();
    let function = Function::open(&mut token, &place, &place.config());
    let mut driver = function.driver(&mut token);
    let (mut first, mut second) = (Some(first), None);
    round(&mut token, &mut driver, 1, |what| {
        if what == "writes" {
            first.take().unwrap().kill();
            function.ear.hear(2, |told| matches!(told, Told::Retry { .. }));
            second = Some(place.serve());
        }
    });
    assert!(function.ear.has_heard(is_returned));
    driver.stop(&mut token).unwrap();
    function.close(&mut token);
}

#[test]
fn a_back_end_that_is_another_disk_is_refused_for_good() {
    let mut token = ThreadToken::at_thread_entry();
    for (serial, bytes, word) in [("serial-2", 16 << 20, "serial"), ("serial-1", 8 << 20, "namespace")] {
        let place = Place::new();
        let first = place.serve();
        let config = RemoteConfig { restart: Some(place.command_for(serial, bytes)), ..place.config() };
        let function = Function::open(&mut token, &place, &config);
        let driver = function.driver(&mut token);
        first.kill();
        let differs = function.ear.hear(0, |told| matches!(told, Told::Differs { .. }));
        let Told::Differs { differences } = differs else { unreachable!() };
        assert!(differences.iter().any(|text| text.contains(word)), "{differences:?}");
        let failed = function.ear.hear(0, is_failed);
        assert_eq!(failed, Told::Failed { why: Why::Differs });
        assert_eq!(function.remote.status().state, "failed");
        drop(driver);
        function.close(&mut token);
    }
}

#[test]
fn a_back_end_that_dies_too_often_is_given_up() {
    let mut token = ThreadToken::at_thread_entry();
    let place = Place::new();
    let first = place.serve();
    let mut config = RemoteConfig { restart: Some(place.command()), ..place.config() };
    config.budget.max_freezes = 1;
    let function = Function::open(&mut token, &place, &config);
    first.kill();
    function.ear.hear(0, is_returned);
    kill_present(&function);
    let Told::Failed { why } = function.ear.hear(0, is_failed) else { unreachable!() };
    assert_eq!(why, Why::Budget { losses: 2, budget: config.budget });
    function.close(&mut token);
}

#[test]
fn a_back_end_that_hangs_is_lost_at_the_limit_killed_and_replaced() {
    let mut token = ThreadToken::at_thread_entry();
    let place = Place::new();
    let first = place.serve();
    let hang_limit = Duration::from_millis(200);
    let config =
        RemoteConfig { restart: Some(place.command()), kill_hung: true, hang_limit, ..place.config() };
    let function = Function::open(&mut token, &place, &config);
    let mut driver = function.driver(&mut token);
    first.stop();
    round(&mut token, &mut driver, 1, |_| ());
    let Told::Lost { loss } = function.ear.hear(0, is_lost) else { unreachable!() };
    assert!(loss.to_string().contains("did not answer"), "{loss}");
    assert_ne!(function.remote.status().pid, Some(first.pid().as_raw_pid()));
    driver.stop(&mut token).unwrap();
    function.close(&mut token);
}

#[test]
fn a_back_end_that_hangs_and_is_spared_is_taken_back_when_it_goes_on_and_nothing_is_started_beside_it() {
    let mut token = ThreadToken::at_thread_entry();
    let place = Place::new();
    let first = place.serve();
    let hang_limit = Duration::from_millis(200);
    let config = RemoteConfig { restart: Some(place.command()), hang_limit, ..place.config() };
    let function = Function::open(&mut token, &place, &config);
    let mut driver = function.driver(&mut token);
    first.stop();
    round(&mut token, &mut driver, 1, |what| {
        if what == "writes" {
            function.ear.hear(1, |told| matches!(told, Told::Retry { .. }));
            first.signal(Signal::CONT);
        }
    });
    assert!(!function.ear.has_heard(|told| matches!(told, Told::Restarting)));
    assert_eq!(function.remote.status().pid, Some(first.pid().as_raw_pid()));
    driver.stop(&mut token).unwrap();
    function.close(&mut token);
}

#[test]
fn one_that_hangs_for_too_long_is_given_up_and_the_reason_says_that_it_lives() {
    let mut token = ThreadToken::at_thread_entry();
    let place = Place::new();
    let first = place.serve();
    let config = RemoteConfig {
        hang_limit: Duration::from_millis(100),
        give_up_after: Duration::from_millis(300),
        ..place.config()
    };
    let function = Function::open(&mut token, &place, &config);
    first.stop();
    let Told::Failed { why } = function.ear.hear(0, is_failed) else { unreachable!() };
    assert!(matches!(why, Why::StillAlive { .. }), "{why}");
    function.close(&mut token);
}

/// What is in flight when a back end dies, for certain: it was stopped before.
fn die_with(
    token: &mut ThreadToken,
    config: &RemoteConfig,
    place: &Place,
    io: impl Fn(u64) -> Io,
) -> (Told, Vec<bool>) {
    let first = BackEnd::start(&place.command_with("unfenced"));
    let function = Function::open(token, place, config);
    let mut driver = function.driver(token);
    first.stop();
    submit_all(token, &mut driver, io);
    until("all of them on their way", || function.remote.status().in_flight == usize::from(DEPTH));
    first.kill();
    let outcomes = outcomes(token, &mut driver);
    let returned = function.ear.hear(0, is_returned);
    let allowed = config.accept_late_writes;
    let fenced = if allowed { Fenced::Accepted } else { Fenced::Unknown };
    assert!(function.ear.has_heard(|told| *told == Told::Fenced { how: fenced }));
    driver.stop(token).unwrap();
    function.close(token);
    for (_, status) in &outcomes {
        assert!(status.is_success() || status.dnr(), "a guest must not try again: {status}");
    }
    (returned, outcomes.iter().map(|(_, status)| status.is_success()).collect())
}

#[test]
fn where_nobody_knows_whether_old_writes_are_over_reads_are_executed_again_and_writes_fail() {
    let mut token = ThreadToken::at_thread_entry();
    let read = |slot| Io::Read { lba: slot, blocks: 1 };
    let write = |slot| Io::Write { lba: slot, blocks: 1, fua: false };
    for (accept_late_writes, io, success) in
        [(false, &read as &dyn Fn(u64) -> Io, true), (false, &write, false), (true, &write, true)]
    {
        let place = Place::new();
        let config = RemoteConfig {
            restart: Some(place.command_with("unfenced")),
            accept_late_writes,
            ..place.config()
        };
        let (returned, successes) = die_with(&mut token, &config, &place, io);
        assert_eq!(successes, [success; DEPTH as usize]);
        let count = |is| if is { u64::from(DEPTH) } else { 0 };
        let Told::Returned { re_executed, refused, .. } = returned else { unreachable!() };
        assert_eq!((re_executed, refused), (count(success), count(!success)));
    }
}

#[test]
fn a_server_that_has_the_disk_for_itself_says_so() {
    let mut token = ThreadToken::at_thread_entry();
    let place = Place::new();
    let first = place.serve();
    let config = RemoteConfig { restart: Some(place.command()), ..place.config() };
    let function = Function::open(&mut token, &place, &config);
    first.kill();
    function.ear.hear(0, is_returned);
    assert!(function.ear.has_heard(|told| *told == Told::Fenced { how: Fenced::Over(How::Server) }));
    function.close(&mut token);
}

#[test]
fn an_operator_need_not_wait_for_the_next_attempt() {
    let mut token = ThreadToken::at_thread_entry();
    let place = Place::new();
    let first = place.serve();
    let mut config = place.config();
    config.back_off.first = LONG;
    config.back_off.longest = LONG;
    let function = Function::open(&mut token, &place, &config);
    first.kill();
    function.ear.hear(0, |told| matches!(told, Told::Retry { .. }));
    let second = place.serve();
    until("its return", || {
        function.remote.retry_now();
        function.ear.has_heard(is_returned)
    });
    function.close(&mut token);
    drop(second);
}

#[test]
fn without_a_back_end_there_is_no_function_and_the_error_says_what_to_do() {
    let mut token = ThreadToken::at_thread_entry();
    let place = Place::new();
    let config = RemoteConfig { connect_timeout: Duration::from_millis(50), ..place.config() };
    let watch = std::sync::Arc::new(Ear::default());
    let gate = gate::Gate::new("disk0");
    let opened =
        remote::Remote::open(&mut token, &config, gate, std::sync::Arc::new(()), watch, |function| function);
    let error = opened.err().unwrap();
    assert!(error.to_string().contains("no back end at"), "{error}");
    assert!(error.fix().contains("start the server"));
}

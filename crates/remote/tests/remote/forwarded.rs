//! Modes `passthrough` and `reset`: the guest has the back end's own controller, whose death is reported and not hidden.

use std::time::Duration;

use gate::ThreadToken;
use models::nvme::host::pattern;
use remote::Told;
use remote::config::{Mode, RemoteConfig};
use remote::life::Why;
use rustix::process::Signal;

use crate::rig::*;

const MODES: [Mode; 2] = [Mode::Passthrough, Mode::Reset];

/// What is written before the death and read after it.
fn data(block: usize) -> Vec<u8> {
    let mut data = vec![0; 8 * block];
    pattern::fill(&mut data, block, 100, 7);
    data
}

#[test]
fn a_guest_is_told_of_the_death_and_finds_the_device_reset_and_its_data_there() {
    let mut token = ThreadToken::at_thread_entry();
    for mode in MODES {
        let place = Place::new();
        let first = place.serve();
        let config = RemoteConfig { restart: Some(place.command()), mode, ..place.config() };
        let function = Function::open(&mut token, &place, &config);
        let mut driver = function.driver(&mut token);
        round(&mut token, &mut driver, 1, |_| ());
        let block = driver.identity().block_size;
        driver.write(&mut token, 100, &data(block), true).unwrap();
        first.kill();
        let returned = function.ear.hear(0, is_returned);
        assert!(matches!(returned, Told::Returned { re_executed: 0, refused: 0, .. }), "{returned:?}");
        assert!(driver.check(&mut token).is_err(), "the controller is not as the guest left it");
        drop(driver);
        let mut driver = function.driver(&mut token);
        let mut found = vec![0; 8 * block];
        driver.read(&mut token, 100, &mut found).unwrap();
        pattern::check(&found, block, 100, 7).unwrap();
        round(&mut token, &mut driver, 2, |_| ());
        driver.stop(&mut token).unwrap();
        let status = function.remote.status();
        assert_eq!((status.losses, status.replayed, status.state), (1, 0, "connected"));
        function.close(&mut token);
    }
}

#[test]
fn while_the_back_end_is_away_reads_give_all_ones_at_once() {
    let mut token = ThreadToken::at_thread_entry();
    for mode in MODES {
        let place = Place::new();
        let first = place.serve();
        let config = RemoteConfig { mode, ..place.config() };
        let function = Function::open(&mut token, &place, &config);
        let mut driver = function.driver(&mut token);
        first.kill();
        function.ear.hear(0, is_lost);
        let mut version = [0; 4];
        let began = std::time::Instant::now();
        driver.client().region_read(&mut token, 0, 8, &mut version).unwrap();
        assert_eq!(version, [0xff; 4]);
        assert!(began.elapsed() < LONG / 4);
        drop(driver);
        function.close(&mut token);
    }
}

#[test]
fn a_back_end_with_other_interrupts_is_refused_for_good() {
    let mut token = ThreadToken::at_thread_entry();
    for mode in MODES {
        let place = Place::new();
        let first = place.serve();
        let config = RemoteConfig { restart: Some(place.command_with("msix")), mode, ..place.config() };
        let function = Function::open(&mut token, &place, &config);
        first.kill();
        let Told::Failed { why } = function.ear.hear(0, is_failed) else { unreachable!() };
        assert_eq!(why, Why::Differs);
        assert!(function.ear.has_heard(|told| matches!(told, Told::Differs { .. })));
        function.close(&mut token);
    }
}

#[test]
fn one_that_hangs_is_found_out_although_nobody_asks_it_anything() {
    let mut token = ThreadToken::at_thread_entry();
    for kill_hung in [true, false] {
        let place = Place::new();
        let first = place.serve();
        let config = RemoteConfig {
            restart: Some(place.command()),
            mode: Mode::Passthrough,
            hang_limit: Duration::from_millis(200),
            kill_hung,
            ..place.config()
        };
        let function = Function::open(&mut token, &place, &config);
        first.stop();
        function.ear.hear(0, is_lost);
        if !kill_hung {
            function.ear.hear(0, |told| matches!(told, Told::Retry { .. }));
            first.signal(Signal::CONT);
        }
        function.ear.hear(0, is_returned);
        assert_eq!(function.ear.has_heard(|told| matches!(told, Told::Restarting)), kill_hung);
        let mut driver = function.driver(&mut token);
        round(&mut token, &mut driver, 1, |_| ());
        driver.stop(&mut token).unwrap();
        function.close(&mut token);
    }
}

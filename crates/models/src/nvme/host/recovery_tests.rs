//! The driver over a socket while its controller is saved, reset and restored again and again: it notices nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use assign::Assignment;
use gate::{Deadline, Reason, ThreadToken};
use pci_core::ResetKind;

use super::tests::{Lab, choice, mapped};
use super::{DoorbellChoice, pattern};
use crate::nvme::Config;

fn recover(token: &mut ThreadToken, assignment: &Assignment) {
    let function = assignment.function();
    let deadline = Deadline::after(Duration::from_secs(30));
    let quiesced = function.gate().close(token, Reason::Reset, deadline).unwrap();
    let state = function.save_device(&quiesced).unwrap();
    let command = function.config().command().bits().to_le_bytes();
    assert!(function.reset_quiesced(&quiesced, ResetKind::FunctionLevel));
    let _effects = function.config().write(4, &command);
    function.restore_device(&quiesced, &state).unwrap();
    drop(quiesced);
}

#[test]
fn the_driver_writes_and_reads_on_through_any_number_of_recoveries() {
    let mut token = ThreadToken::at_thread_entry();
    let trapped = Config::default();
    let cases = [
        (&trapped, DoorbellChoice::Shadow),
        (&trapped, DoorbellChoice::Trapped),
        (&mapped(), DoorbellChoice::Mapped),
    ];
    for (config, doorbells) in cases {
        let lab = Lab::new(config);
        let mut driver = lab.start(&mut token, &choice(doorbells)).unwrap();
        let (running, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let (runs, counts, assignment) =
            (Arc::clone(&running), Arc::clone(&count), Arc::clone(&lab.assignment));
        let recoverer = std::thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            while runs.load(Ordering::Acquire) {
                recover(&mut token, &assignment);
                counts.fetch_add(1, Ordering::AcqRel);
                std::thread::yield_now();
            }
        });
        let mut data = vec![0; 300 << 10];
        let mut back = vec![0; data.len()];
        let mut round = 0;
        // Until both have done their part.
        while round < 20 || count.load(Ordering::Acquire) < 20 {
            pattern::fill(&mut data, 512, 7, round);
            driver.write(&mut token, 7, &data, round % 2 == 0).unwrap();
            driver.flush(&mut token).unwrap();
            driver.read(&mut token, 7, &mut back).unwrap();
            pattern::check(&back, 512, 7, round).unwrap();
            round += 1;
        }
        running.store(false, Ordering::Release);
        recoverer.join().unwrap();
        driver.check(&mut token).unwrap();
        driver.stop(&mut token).unwrap();
    }
}

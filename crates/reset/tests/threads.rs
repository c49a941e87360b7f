//! Resets, consumers and a removal at once: a consumer sees the function as it was, or nothing; never half of a reset.

mod machine;

use gate::{Deadline, ThreadToken};
use machine::{Plan, Rig, Script, bdf, bridge, endpoint, ms};
use pci_core::{AccessError, ConfigStatus, Express};
use pci_spec::capability::express::PortType;
use pci_spec::config;
use reset::Error;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PORT: &str = "0000:00:01.0";
const EP: &str = "0000:01:00.0";
const ROUNDS: usize = 200;

#[test]
fn a_consumer_never_sees_half_of_a_reset_and_everybody_gets_an_answer() {
    let port = bridge().capability(Express::port(PortType::RootPort));
    let config = endpoint().capability(Express::default());
    let script = Script { flr: ms(130), bus: ms(30), ..Script::default() };
    let mut rig =
        Plan::new().bridge(PORT, port, Script::default(), (1, 1), false).endpoint(EP, config, script).build();
    let learnt = rig.resets.probe(&mut rig.token, &rig.snapshot, bdf(EP), minute());
    assert!(learnt.is_ok());
    let (over, reading) = (AtomicBool::new(false), Barrier::new(2));
    let Rig { token, resets, snapshot, .. } = &mut rig;
    let (resets, snapshot) = (&*resets, &*snapshot);
    let function = &snapshot.function(bdf(EP)).expect("there").function;
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            let mut reads = 0;
            while !over.load(Ordering::Acquire) {
                let mut header = [0; 0x20];
                match function.read_config(&mut token, config::COMMAND, &mut header[4..6], minute()) {
                    Ok(()) => assert_eq!(header[4..6], [0x06, 0x00], "COMMAND as it was"),
                    // The second: removed between the pass and the access (CFG-04).
                    Err(AccessError::Refused(_) | AccessError::Config(ConfigStatus::DeviceNotFound)) => {
                        assert_eq!(header[4..6], [0xff, 0xff]);
                    }
                    Err(error) => panic!("{error}"),
                }
                if reads == 0 {
                    reading.wait();
                }
                reads += 1;
            }
            reads
        });
        // Or all the resets may be over before it begins.
        reading.wait();
        let functions = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            count(|| resets.reset_function(&mut token, snapshot, bdf(EP), minute()).map(drop))
        });
        let buses = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            count(|| resets.reset_bus(&mut token, snapshot, bdf(PORT), minute()).map(drop))
        });
        let tries = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            count(|| resets.try_reset_function(&mut token, snapshot, bdf(EP)).map(drop))
        });
        let done = functions.join().expect("no panic") + buses.join().expect("no panic");
        assert_eq!(done, 2 * ROUNDS, "who waits gets its turn");
        let _some = tries.join().expect("no panic");
        let _retired = function.gate().retire(token, minute());
        over.store(true, Ordering::Release);
        assert!(consumer.join().expect("no panic") > 0);
    });
    assert!(rig.is_open(PORT));
}

/// How many of the rounds reset something; the others were refused for a reason that the form may give.
fn count(mut reset: impl FnMut() -> Result<(), Error>) -> usize {
    let outcomes = (0..ROUNDS).map(|_| reset());
    outcomes
        .filter(|outcome| match outcome {
            Ok(()) => true,
            Err(Error::Busy { .. }) => false,
            Err(error) => panic!("{error}"),
        })
        .count()
}

fn minute() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

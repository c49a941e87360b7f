//! A gate that stays closed while its closer waits for the hardware.

use super::*;

#[test]
fn nobody_is_let_in_while_a_closer_waits_for_the_hardware() {
    // CFG-I6, CFG-I10: closed from the first step to the end of the delay, and open afterwards.
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same) = (gate.handle(), device.clone());
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _pass = handle.enter(&mut token, CONFIG, ahead()).unwrap();
            same.access();
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        device.reset();
        let closed = quiesced.park();
        closed.wait(&mut token, passed()).unwrap();
        let quiesced = closed.resume(&mut token).unwrap();
        device.reset();
        drop(quiesced);
        reader.join().unwrap();
    });
}

#[test]
fn a_closer_that_waits_for_the_hardware_is_released_when_the_function_is_removed() {
    // CFG-I4
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (second, same) = (gate.clone(), device.clone());
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let Ok(quiesced) = second.close(&mut token, RESET, ahead()) else { return };
            same.reset();
            let closed = quiesced.park();
            assert_eq!(closed.wait(&mut token, ahead()), Err(Gone));
            assert!(closed.is_gone());
        });
        let mut token = ThreadToken::at_thread_entry();
        assert!(gate.retire(&mut token, ahead()).orphans.is_empty());
        device.reset();
        closer.join().unwrap();
    });
}

#[test]
fn a_parked_gate_is_resumed_or_removed_but_never_both() {
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let same = device.clone();
        let mut token = ThreadToken::at_thread_entry();
        let closed = gate.try_close(&token, RESET).unwrap().park();
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            if let Ok(_quiesced) = closed.resume(&mut token) {
                same.reset();
            }
        });
        assert!(gate.retire(&mut token, ahead()).orphans.is_empty());
        device.reset();
        closer.join().unwrap();
    });
}

//! A stale handle is condition code 3, and never another device (law 5).

use crate::world::{MAX_STORE, Seen, World, device, patient};
use gate::ThreadToken;
use pci_core::BarAccess;
use zpci::{Fault, Request, View, Work};

/// None of the instructions reaches anything by the handle of `request`.
fn assert_stale(w: &World, token: &mut ThreadToken, request: Request) {
    assert_eq!(w.zpci.pcilg(token, request, 0), Err(Fault::InvalidHandle));
    assert_eq!(w.zpci.pcistg(token, request, 0, 0), Err(Fault::InvalidHandle));
    assert_eq!(w.zpci.pcistb(token, request, 0, &[0; 8]), Err(Fault::InvalidHandle));
    assert_eq!(w.zpci.load(token, request, 0, patient()), Err(Fault::InvalidHandle));
    assert_eq!(w.zpci.store_block(token, request, 0, &[0; 8], patient()), Err(Fault::InvalidHandle));
    let accessor = w.zpci.accessor(request.handle);
    let mut data = [0; 8];
    let read = accessor.read(token, request.space, 0, &mut data, patient());
    assert_eq!((read, data), (Err(Fault::InvalidHandle), [0xff; 8]));
    assert_eq!(w.memory.seen(), []);
}

#[test]
fn zp_01_a_handle_is_stale_once_the_function_was_disabled_and_enabled_again() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let old = w.request(8);
    let transition = w.zdev.begin(Work::SetFunction).unwrap();
    let disabled = transition.renew(token, false).unwrap();
    assert_stale_now(&w.zpci, token, old);
    let enabled = transition.renew(token, true).unwrap();
    drop(transition);
    assert_stale(&w, token, old);
    assert_stale(&w, token, Request { handle: disabled, ..old });
    assert!(w.zpci.pcilg(token, Request { handle: enabled, ..old }, 0).is_ok());
}

fn assert_stale_now(zpci: &zpci::Zpci, token: &ThreadToken, request: Request) {
    assert_eq!(zpci.pcilg(token, request, 0), Err(Fault::InvalidHandle));
}

#[test]
fn a_handle_of_the_last_device_never_reaches_the_next_one_in_its_place() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let old = w.request(8);
    let _nobody_is_inside = w.function.disconnect(token, patient());
    w.zdev.take_out(token);
    assert_stale(&w, token, old);
    let standby = w.zdev.handle();
    assert!(!standby.is_none());
    assert_stale(&w, token, Request { handle: standby, ..old });

    let (memory, next) = device(&w.function.gate().successor(), BarAccess::Plain);
    let handle = w.zdev.bring_in(token, View::of_function(&w.zdev, next.clone(), MAX_STORE));
    next.write_config(token, 0x04, &[0x06], patient()).unwrap();
    assert_stale(&w, token, old);
    assert_eq!(memory.seen(), []);
    assert!(w.zpci.pcilg(token, Request { handle, ..old }, 0).is_ok());
    assert_eq!(memory.seen(), [Seen::Load(0, 8)]);
}

//! Closing functions for a recovery.

use crate::hardware::{LEAF, LONE, PF, Rig, soon};
use contain::platform::{CloseFunctionsError, ClosedFunctions};
use gate::{AccessKind, Deadline};
use std::time::Duration;

#[test]
fn all_are_closed_or_none() {
    let mut rig = Rig::new();
    let functions = rig.functions(&[LEAF[0], LEAF[1], LONE]);
    let function = functions[2].function.clone();
    let inside =
        function.handle().enter_long(&mut rig.token, AccessKind::Dma, "a command", soon()).expect("open");
    let mut closed = ClosedFunctions::default();
    let error = closed.close(&mut rig.token, &functions, Deadline::after(Duration::from_millis(1)));
    let error = error.expect_err("in use");
    assert!(matches!(&error, CloseFunctionsError::InUse { function, .. } if function == LONE), "{error}");
    assert!(closed.is_empty() && rig.is_open(LEAF[0]));
    drop(inside);
    closed.close(&mut rig.token, &functions, soon()).expect("free");
    assert!(functions.iter().all(|function| closed.is_closed(function.id)));
    closed.close(&mut rig.token, &functions, soon()).expect("they are held already");
}

#[test]
fn with_gates_held_nobody_is_waited_for() {
    let mut rig = Rig::new();
    let first = rig.functions(&[LONE]);
    let more = rig.functions(&[LONE, PF]);
    let function = more[1].function.clone();
    let inside =
        function.handle().enter_long(&mut rig.token, AccessKind::Dma, "a command", soon()).expect("open");
    let mut closed = ClosedFunctions::default();
    closed.close(&mut rig.token, &first, soon()).expect("free");
    let long = soon();
    assert!(closed.close(&mut rig.token, &more, long).is_err());
    assert!(long.remaining().is_some(), "it comes back at once");
    assert!(closed.is_closed(first[0].id) && closed.len() == 1);
    drop(inside);
    closed.close(&mut rig.token, &more, long).expect("free");
    assert_eq!(closed.len(), 2);
}

#[test]
fn a_function_that_was_removed_is_named_and_forgotten() {
    let mut rig = Rig::new();
    let functions = rig.functions(&LEAF);
    let mut closed = ClosedFunctions::default();
    closed.close(&mut rig.token, &functions, soon()).expect("free");
    let _orphans = functions[0].function.gate().retire(&mut rig.token, Deadline::after(Duration::ZERO));
    assert!(!closed.is_closed(functions[0].id));
    assert_eq!(closed.with(&mut rig.token, functions[0].id, |_, _| ()), None);
    closed.close(&mut rig.token, &functions[1..], soon()).expect("held");
    let _orphans = functions[1].function.gate().retire(&mut rig.token, Deadline::after(Duration::ZERO));
    assert_eq!(closed.forget_gone(), [functions[1].id]);
    let error = ClosedFunctions::default().close(&mut rig.token, &functions, soon()).expect_err("gone");
    assert!(matches!(error, CloseFunctionsError::Gone(_)), "{error}");
}

#[test]
fn a_function_is_used_under_its_proof_and_let_go() {
    let mut rig = Rig::new();
    let functions = rig.functions(&[LONE]);
    let mut closed = ClosedFunctions::default();
    closed.close(&mut rig.token, &functions, soon()).expect("free");
    let name = closed.with(&mut rig.token, functions[0].id, |function, _| function.name().to_owned());
    assert_eq!(name.as_deref(), Some(LONE));
    assert!(!rig.is_open(LONE), "parked again");
    let gate = closed.remove(functions[0].id).expect("held");
    closed.insert(functions[0].clone(), gate);
    assert!(!rig.is_open(LONE));
    assert!(closed.open(functions[0].id) && !closed.open(functions[0].id));
    assert!(rig.is_open(LONE));
}

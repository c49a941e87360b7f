//! Saved state as a value: stored, loaded, compared (RST-20).

mod machine;

use machine::{Plan, Rig, Script, bdf, endpoint, soon};
use pci_core::{ConfigSpaceBuilder, Errno, Express, Pm};
use pci_spec::config;
use proptest::prelude::*;
use reset::{BlobError, Error, SavedState};

const EP: &str = "0000:01:00.0";
const OTHER: &str = "0000:02:00.0";

fn rig() -> Rig {
    let flr = || -> ConfigSpaceBuilder { endpoint().capability(Express::default()) };
    Plan::new()
        .endpoint(EP, flr().aer(), Script::default())
        .endpoint(OTHER, flr().capability(Pm::default()), Script::default())
        .build()
}

fn save(rig: &mut Rig, at: &str) -> SavedState {
    rig.resets.save_state(&mut rig.token, &rig.snapshot, bdf(at), soon()).expect("saved")
}

fn load(rig: &mut Rig, at: &str, bytes: &[u8]) -> Result<SavedState, BlobError> {
    rig.resets.load_state(&mut rig.token, &rig.snapshot, bdf(at), bytes, soon()).expect("closed")
}

fn restore(rig: &mut Rig, at: &str, state: &SavedState) -> Result<usize, Error> {
    rig.resets.restore_state(&mut rig.token, &rig.snapshot, bdf(at), state, soon())
}

#[test]
fn rst_20_a_state_survives_as_bytes_and_is_put_back() {
    let mut rig = rig();
    let before = rig.bytes(EP);
    let bytes = save(&mut rig, EP).store();
    let _ = rig.config(EP).write(config::COMMAND, &[0, 0]);
    let _ = rig.config(EP).write(config::BAR0, &[0; 4]);
    let state = load(&mut rig, EP, &bytes).expect("of this function");
    assert_ne!(rig.bytes(EP), before);
    let now = save(&mut rig, EP);
    let registers: Vec<u16> = state.compare(&now).into_iter().map(|(register, ..)| register).collect();
    assert_eq!(registers, [config::BAR0, config::COMMAND], "only the values that differ");
    assert_eq!(restore(&mut rig, EP, &state).expect("restored"), 0);
    assert_eq!(rig.bytes(EP), before);
    assert!(state.compare(&save(&mut rig, EP)).is_empty());
    assert!(rig.is_open(EP));
}

#[test]
fn rst_20_another_size_or_another_function_is_einval_and_touches_nothing() {
    let mut rig = rig();
    let state = save(&mut rig, EP);
    let bytes = state.store();
    let longer = [&bytes[..], &[0]].concat();
    for wrong in [&bytes[..bytes.len() - 1], &longer, &[], b"none of ours at all"] {
        let error = load(&mut rig, EP, wrong).expect_err("no state");
        assert_eq!((error, error.errno()), (BlobError::Size, Errno::EINVAL));
    }
    assert_eq!(load(&mut rig, OTHER, &bytes), Err(BlobError::Identity));
    let mut renamed = bytes.clone();
    renamed[4] ^= 1;
    assert_eq!(load(&mut rig, EP, &renamed), Err(BlobError::Identity));
    let error = restore(&mut rig, OTHER, &state).expect_err("not its own");
    assert_eq!(error.errno(), Errno::EINVAL);
    assert!(rig.machine.written.lock().is_empty());
}

#[test]
fn rst_20_restoring_nothing_does_nothing() {
    let mut rig = rig();
    rig.machine.hang(EP);
    let nothing = save(&mut rig, EP);
    assert!(nothing.is_empty());
    assert_eq!(restore(&mut rig, OTHER, &nothing).expect("no-op"), 0);
    let bytes = nothing.store();
    assert_eq!(load(&mut rig, OTHER, &bytes), Ok(nothing));
    assert!(rig.machine.written.lock().is_empty());
}

#[test]
fn a_comparison_shows_registers_that_only_one_of_them_has() {
    let mut rig = rig();
    let (one, other) = (save(&mut rig, EP), save(&mut rig, OTHER));
    assert!(!one.compare(&other).is_empty());
    assert_eq!(one.compare(&other).len(), other.compare(&one).len());
}

#[test]
fn strangers_bytes_never_become_registers_that_the_function_does_not_have() {
    let mut rig = rig();
    let bytes = save(&mut rig, EP).store();
    let like = save(&mut rig, EP);
    proptest!(ProptestConfig::with_cases(512), |(at in 0..bytes.len(), byte: u8, cut in 0..=bytes.len())| {
        let mut mangled = bytes.clone();
        mangled[at] = byte;
        if let Ok(state) = SavedState::load(&mangled, &like) {
            // Only values were changed: as many registers, in their places.
            prop_assert_eq!(state.store().len(), bytes.len());
            let changed = state.compare(&like);
            prop_assert!(changed.len() <= 1);
        }
        prop_assert_eq!(SavedState::load(&bytes[..cut], &like).is_ok(), cut == bytes.len());
    });
}

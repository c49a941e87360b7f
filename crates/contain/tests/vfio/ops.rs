//! What each operation does, on a PE that writes down what is asked of it.

use super::decode::{bytes, injection};
use contain::inject::ErrorInjection;
use contain::plan::{PlatformState, Traffic};
use contain::vfio::{OP_LENGTH, PassedPe, PeOp, PeOps, PeStatus, is_supported};
use gate::ThreadToken;
use parking_lot::Mutex;
use pci_core::Errno;

#[derive(Default)]
struct Noted {
    gone: bool,
    off: bool,
    /// What every operation fails with.
    fails: Option<Errno>,
    asked: Mutex<Vec<String>>,
}

impl Noted {
    fn note(&self, what: &str) -> Result<(), Errno> {
        self.asked.lock().push(what.to_owned());
        self.fails.map_or(Ok(()), Err)
    }
}

impl PassedPe for Noted {
    fn is_present(&self, _token: &mut ThreadToken) -> bool {
        !self.gone
    }

    fn is_enabled(&self) -> bool {
        !self.off
    }

    fn status(&self, _token: &mut ThreadToken) -> Result<PeStatus, Errno> {
        self.note("status")?;
        Ok(PeStatus { state: PlatformState::MMIO_ENABLED, above_is_recovered: false, removed: false })
    }

    fn take_over(&self, _token: &mut ThreadToken) -> Result<(), Errno> {
        self.note("take over")
    }

    fn thaw(&self, _token: &mut ThreadToken, traffic: Traffic) -> Result<(), Errno> {
        self.note(&format!("thaw {traffic:?}"))
    }

    fn begin_reset(&self, _token: &mut ThreadToken, fundamental: bool) -> Result<(), Errno> {
        self.note(if fundamental { "fundamental reset" } else { "hot reset" })
    }

    fn end_reset(&self, _token: &mut ThreadToken) -> Result<(), Errno> {
        self.note("end reset")
    }

    fn configure(&self, _token: &mut ThreadToken) -> Result<(), Errno> {
        self.note("configure")
    }

    fn inject(&self, _token: &mut ThreadToken, error: &ErrorInjection) -> Result<(), Errno> {
        self.note(&format!("inject {:#x}", error.address))
    }
}

/// A platform that has none of the operations.
struct Bare;

impl PassedPe for Bare {
    fn is_present(&self, _token: &mut ThreadToken) -> bool {
        true
    }

    fn is_enabled(&self) -> bool {
        true
    }
}

/// The answer to operation `op`, and what was asked of the PE.
fn done(pe: Noted, op: u32) -> (Result<u32, Errno>, Vec<String>) {
    let mut token = ThreadToken::at_thread_entry();
    let request = if op == 9 { injection(0, 0, 0x40, 0) } else { bytes(OP_LENGTH, 0, op) };
    let ops = PeOps::new(pe);
    let answer = ops.op_bytes(&mut token, &request);
    let asked = std::mem::take(&mut *ops.pe().asked.lock());
    (answer, asked)
}

fn asked(what: &str) -> (Result<u32, Errno>, Vec<String>) {
    (Ok(0), vec![what.to_owned()])
}

#[test]
fn op_0_disable_does_nothing() {
    assert_eq!(done(Noted::default(), 0), (Ok(0), Vec::new()));
}

#[test]
fn op_1_enable_takes_the_pe_over() {
    assert_eq!(done(Noted::default(), 1), asked("take over"));
}

#[test]
fn op_1_enable_is_eio_while_errors_do_not_count() {
    let off = Noted { off: true, ..Noted::default() };
    assert_eq!(done(off, 1), (Err(Errno::EIO), Vec::new()));
}

#[test]
fn op_2_unfreeze_io_thaws_mmio() {
    assert_eq!(done(Noted::default(), 2), asked("thaw Mmio"));
}

#[test]
fn op_3_unfreeze_dma_thaws_dma() {
    assert_eq!(done(Noted::default(), 3), asked("thaw Dma"));
}

#[test]
fn op_4_get_state_answers_with_the_state() {
    assert_eq!(done(Noted::default(), 4), (Ok(4), vec!["status".to_owned()]));
}

#[test]
fn op_4_get_state_never_reads_an_error_as_a_state() {
    let failing = Noted { fails: Some(Errno::EIO), ..Noted::default() };
    assert_eq!(done(failing, 4).0, Err(Errno::EIO), "defect 6: as state bits it would be some state");
}

#[test]
fn op_5_reset_deactivate_ends_the_reset() {
    assert_eq!(done(Noted::default(), 5), asked("end reset"));
}

#[test]
fn op_6_reset_hot_begins_one() {
    assert_eq!(done(Noted::default(), 6), asked("hot reset"));
}

#[test]
fn op_7_reset_fundamental_begins_one() {
    assert_eq!(done(Noted::default(), 7), asked("fundamental reset"));
}

#[test]
fn op_8_configure_restores_bridges_and_bars() {
    assert_eq!(done(Noted::default(), 8), asked("configure"));
}

#[test]
fn op_9_inject_err_injects() {
    assert_eq!(done(Noted::default(), 9), asked("inject 0x40"));
}

#[test]
fn an_operation_answers_with_the_error_of_the_pe() {
    for errno in [Errno::ERANGE, Errno::ENXIO, Errno::EIO, Errno::EBUSY] {
        for op in 1..10 {
            let failing = Noted { fails: Some(errno), ..Noted::default() };
            assert_eq!(done(failing, op).0, Err(errno), "operation {op}");
        }
    }
}

#[test]
fn without_a_pe_everything_is_enodev_before_anything_is_read() {
    for op in 0..11 {
        let gone = Noted { gone: true, ..Noted::default() };
        assert_eq!(done(gone, op), (Err(Errno::ENODEV), Vec::new()));
    }
    let mut token = ThreadToken::at_thread_entry();
    let ops = PeOps::new(Noted { gone: true, ..Noted::default() });
    assert_eq!(ops.op_bytes(&mut token, &[]), Err(Errno::ENODEV));
    assert_eq!(ops.op(&mut token, &PeOp::Disable), Err(Errno::ENODEV));
}

#[test]
fn an_operation_that_the_platform_does_not_have_is_enoent() {
    let mut token = ThreadToken::at_thread_entry();
    let ops = PeOps::new(Bare);
    for op in 1..9 {
        assert_eq!(ops.op_bytes(&mut token, &bytes(OP_LENGTH, 0, op)), Err(Errno::ENOENT), "operation {op}");
    }
    assert_eq!(ops.op_bytes(&mut token, &injection(0, 0, 0, 0)), Err(Errno::ENOENT));
    assert_eq!(ops.op_bytes(&mut token, &bytes(OP_LENGTH, 0, 0)), Ok(0), "disable needs nothing");
}

#[test]
fn the_extension_is_there_if_errors_count() {
    assert_eq!((is_supported(true), is_supported(false)), (1, 0));
}

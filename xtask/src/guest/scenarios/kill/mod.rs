//! *kill*: the daemon behind a remote disk is killed with -9 under load and started again, as often as there are cycles, and the guest
//! sees a pause each time. Then it is killed and the guest restarts without it. Then another disk comes back in its place, which is
//! refused: the guest loses its disk, and lives on with QEMU. Then it is killed and the machine leaves without it, and another machine
//! comes. At last the daemon in front is asked to end while there is no back end.
//!
//! That fio goes on shows that no I/O failed and that nothing is mixed up, for it ends at the first of either; the kernel's log shows
//! that the driver has noticed nothing. What the operator is told comes from the daemon's events, the lengths of the pauses too. And
//! of all the back ends that were lost, nothing stays in the daemon.

mod outage;

use super::stage::{Stage, leftovers, load, stream, wait_until};
use crate::guest::GuestError;
use crate::guest::address::DISK;
use crate::guest::kernel_log;
use crate::guest::platform::Platform;
use crate::guest::rig::Rig;
use outage::{FAILED, RETURNED};
use std::time::Instant;

/// Runs the scenario.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(rig: &mut Rig<'_>) -> Result<(), GuestError> {
    let mut stage = Stage::boot(rig, Platform::Plain)?;
    load::prepare(&mut stage)?;
    while_nobody_has_it(&mut stage)?;
    let before = leftovers::Before::count(&stage)?;
    stage.attach()?;
    load::verify_kept(&mut stage)?;
    load::start(&mut stage)?;
    // What came before is not this scenario's.
    stage.vm.take_kernel_log()?;
    under_load(&mut stage)?;
    while_the_guest_starts(&mut stage)?;
    for_another_disk(&mut stage)?;
    before.expect_no_more(&mut stage)?;
    while_the_machine_leaves(stage)?;
    let mut stage = another_machine(rig)?;
    before.expect_no_more(&mut stage)?;
    // What is left of the daemon's life is its end, which must not wait for a back end.
    stage.rig.back_end()?.kill();
    outage::wait_for(&mut stage, outage::LOST)?;
    stage.leave()
}

/// The back end dies and returns while nobody has the disk. What is known of a back end that was lost, the last one, stays in the
/// daemon: what it holds is counted with that.
fn while_nobody_has_it(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.rig.progress("the back end is killed while nobody has the disk");
    stage.rig.back_end()?.kill();
    outage::wait_for(stage, outage::LOST)?;
    outage::start_again(stage)?;
    stream::expect_in_order(&outage::wait_for(stage, RETURNED)?, &[(RETURNED, "; 0 commands executed again")])
}

/// The back end dies while the guest writes and verifies, again and again; every second time it stays away for a while.
fn under_load(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let cycles = stage.rig.cycles();
    let (mut pauses, mut again) = (Vec::new(), 0);
    for cycle in 1..=cycles {
        stage.rig.progress(&format!("the back end is killed under load, {cycle} of {cycles}"));
        stage.rig.back_end()?.kill();
        if cycle % 2 == 0 {
            outage::last(stage)?;
        }
        outage::start_again(stage)?;
        let events = outage::wait_for(stage, RETURNED)?;
        stream::expect_in_order(&events, outage::PAUSE)?;
        let returned = outage::returned(&events)?;
        stage.rig.progress(&format!(
            "it was away for {} ms; {} commands again",
            returned.pause_ms, returned.executed_again
        ));
        load::is_verified(stage)?;
        pauses.push(returned.pause_ms);
        again += returned.executed_again;
    }
    expect_quiet(stage)?;
    let starts = stage.rig.back_end()?.starts();
    stage.rig.fact("pauses_ms", pauses);
    stage.rig.fact("commands_executed_again", again);
    stage.rig.fact("back_end_starts", starts);
    // A load that no death ever caught with a command in flight has shown nothing.
    if cycles >= 5 && again == 0 {
        return Err(GuestError::Check("no death caught a command in flight".into()));
    }
    Ok(())
}

/// The guest is restarted while there is no back end: whoever looks for a disk first, firmware or kernel, waits for it, and finds it
/// when there is a back end again.
fn while_the_guest_starts(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.rig.progress("the back end is killed, and the guest restarts without it");
    stage.rig.back_end()?.kill();
    outage::wait_for(stage, outage::LOST)?;
    stage.vm.reset()?;
    outage::wait_until_guest_waits(stage)?;
    stage.vm.check_running()?;
    stage.rig.progress("the guest waits for its disk; the back end comes back");
    let start = Instant::now();
    outage::start_again(stage)?;
    outage::wait_for(stage, RETURNED)?;
    stage.vm.wait_until_up()?;
    stage.vm.run(&wait_until(&format!("test -b {DISK}")))?;
    let took = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    stage.rig.fact("guest_up_after_ms", took);
    load::verify_kept(stage)?;
    expect_quiet(stage)
}

/// What comes back is another, smaller disk. It is refused; the guest loses its disk and nothing else; the right one works again.
fn for_another_disk(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.rig.progress("the back end is killed, and another disk comes back in its place");
    load::start(stage)?;
    let smaller = stage.rig.smaller_image();
    stage.rig.back_end()?.run_on(smaller)?;
    let events = outage::wait_for(stage, FAILED)?;
    stream::expect_in_order(&events, outage::REFUSED)?;
    let differs = outage::text_of(&events, outage::DIFFERS);
    stage.rig.fact("refused", differs);
    load::expect_end(stage)?;
    load::expect_given_up(stage)?;
    stage.check_alive()?;
    let after = [events, stage.events()?].concat();
    stream::expect_in_order(&after, outage::TAKEN_OUT)?;
    stage.rig.progress("what QEMU has left of it goes, and with the right back end the disk comes back");
    let image = stage.rig.image();
    stage.rig.back_end()?.run_on(image)?;
    stage.detach()?;
    outage::plug_card(stage)?;
    stage.attach()?;
    load::verify_kept(stage)?;
    stage.detach()?;
    stage.check_alive()
}

/// The machine leaves while there is no back end.
fn while_the_machine_leaves(mut stage: Stage<'_, '_>) -> Result<(), GuestError> {
    stage.rig.progress("the back end is killed, and the machine leaves without it");
    stage.attach()?;
    load::start(&mut stage)?;
    stage.rig.back_end()?.kill();
    outage::wait_for(&mut stage, outage::LOST)?;
    let operator = stage.rig.operator().ok_or_else(|| GuestError::Check("there is no daemon".into()))?;
    stage.leave()?;
    outage::wait_until_left(&operator)
}

/// With a back end again, another machine finds what the last one kept.
fn another_machine<'a, 'lab>(rig: &'a mut Rig<'lab>) -> Result<Stage<'a, 'lab>, GuestError> {
    rig.progress("the back end comes back, and so does a machine");
    let image = rig.image();
    rig.back_end()?.run_on(image)?;
    let mut stage = Stage::boot(rig, Platform::Plain)?;
    stage.attach()?;
    load::verify_kept(&mut stage)?;
    stage.detach()?;
    stage.check_alive()?;
    Ok(stage)
}

/// Fails if the guest's kernel has anything to say of what happened.
fn expect_quiet(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let log = stage.vm.take_kernel_log()?;
    let complaints = kernel_log::complaints(&log);
    if complaints.is_empty() && kernel_log::recoveries(&log) == 0 {
        return Ok(());
    }
    Err(GuestError::Check(format!("the guest's driver has noticed something:\n{log}")))
}

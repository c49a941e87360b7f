//! The I/O under which the disk comes and goes: fio writes an area and verifies it, again and again, until its disk is
//! gone. Another area was written once; it must be as it was each time the disk comes back.
//!
//! What fio says of its last reads is not looked at. Linux answers a direct read from a disk that is going with no bytes and
//! no error, since the disk's size is 0 by then, and fio verifies what was in the buffer before. (It does so with QEMU's own
//! NVMe device too.) What counts is that every pass before was verified, for a wrong block ends fio at once, and that the
//! kept area is whole.

use super::{Stage, wait_until};
use crate::guest::GuestError;
use crate::guest::address::DISK;

/// What all jobs have in common. A disk that is gone must not become a file.
const COMMON: &str =
    "--allow_file_create=0 --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 --do_verify=1";

/// The area that is written once.
const KEPT: &str = "--name=kept --iodepth=8 --rw=write --bs=64k --offset=0 --size=4m";

/// The area that is written without end.
const LOAD: &str = "--name=load --iodepth=16 --rw=randwrite --bs=4k --offset=256m --size=1m --loops=1000000";

/// What Linux's driver says when it has given its controller up.
const GIVEN_UP: &str =
    "Disabling device after reset failure|Removing after probe failure|device inaccessible";

/// How many reads show that the first pass is being verified, and how many more I/Os that the load goes on.
const VERIFIED: u32 = 256;
const GOES_ON: u32 = 64;

/// Plugs the disk in for the first time and writes what must survive everything.
///
/// # Errors
/// The first thing that went wrong.
pub(in crate::guest::scenarios) fn prepare(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.attach()?;
    stage.vm.run(&format!("fio --filename={DISK} {COMMON} {KEPT}"))?;
    stage.detach()?;
    stage.check_alive()
}

/// Verifies what was kept.
///
/// # Errors
/// [`GuestError::Guest`] with fio's output when a block is not what it was.
pub(in crate::guest::scenarios) fn verify_kept(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.vm.run(&format!("fio --filename={DISK} {COMMON} {KEPT} --verify_only=1")).map(drop)
}

/// Starts the load, and waits until it has verified its first pass and writes again.
///
/// # Errors
/// What running commands in the guest can give.
pub(in crate::guest::scenarios) fn start(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.vm.run(&format!(
        "rm -f /tmp/load-ended; read -r r0 x </sys/block/nvme0n1/stat; echo $r0 >/tmp/load-reads; \
         (fio --filename={DISK} {COMMON} {LOAD} >/tmp/load-log 2>&1; : >/tmp/load-ended) >/dev/null 2>&1 &"
    ))?;
    let count = "read -r r x x x w x </sys/block/nvme0n1/stat; read -r r0 </tmp/load-reads";
    wait_for_load(stage, &format!("{{ {count}; test $((r - r0)) -ge {VERIFIED}; }}"))?;
    goes_on(stage)
}

/// Waits until the load has done more, from now on.
///
/// # Errors
/// What running commands in the guest can give; with what fio says, if the load has ended.
pub(in crate::guest::scenarios) fn goes_on(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let count = "read -r r x x x w x </sys/block/nvme0n1/stat";
    let goal = stage.vm.run(&format!("{count}; echo $((r + w + {GOES_ON}))"))?;
    wait_for_load(stage, &format!("{{ {count}; test $((r + w)) -ge {}; }}", goal.trim()))
}

/// Waits until all that the load had written or was about to write in its present pass has been verified: until it has read what two
/// passes read, of which at least one began by now.
///
/// # Errors
/// As [`goes_on`].
pub(in crate::guest::scenarios) fn is_verified(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let count = "read -r r x </sys/block/nvme0n1/stat";
    let goal = stage.vm.run(&format!("{count}; echo $((r + 2 * {VERIFIED}))"))?;
    wait_for_load(stage, &format!("{{ {count}; test $r -ge {}; }}", goal.trim()))
}

/// Waits until the load has come so far, which must not end before: it ends only with its disk or at a wrong block.
fn wait_for_load(stage: &mut Stage<'_, '_>, condition: &str) -> Result<(), GuestError> {
    let come_so_far = wait_until(&format!("{{ test -e /tmp/load-ended || {condition}; }}"));
    stage.vm.run(&come_so_far)?;
    stage.vm.run("test ! -e /tmp/load-ended || { cat /tmp/load-log; exit 1; }").map(drop)
}

/// Waits until the load has ended with its disk.
///
/// # Errors
/// What running commands in the guest can give.
pub(in crate::guest::scenarios) fn expect_end(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.vm.run(&wait_until("test -e /tmp/load-ended")).map(drop)
}

/// Waits until the guest's driver has given its controller up.
///
/// # Errors
/// What running commands in the guest can give.
pub(in crate::guest::scenarios) fn expect_given_up(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.vm.run(&wait_until(&format!("dmesg | grep -qE '{GIVEN_UP}'"))).map(drop)
}

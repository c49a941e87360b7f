//! The I/O that runs through all steps: fio writes two areas of the raw disk and verifies them, again and again.
//!
//! Two jobs at once, so that reads, writes, small blocks and blocks that need PRP lists are in flight whenever
//! something happens. Each pass has a seed of its own, which fio writes into each block: a write that was lost leaves
//! the last pass's block there, with a good checksum and the wrong seed. A third area is written once, at the start,
//! and verified at the end.

use crate::guest::GuestError;
use crate::guest::address::DISK;
use crate::guest::vm::Vm;

/// What all jobs have in common.
const COMMON: &str =
    "--ioengine=libaio --direct=1 --iodepth=16 --verify=crc32c --verify_fatal=1 --do_verify=1";

/// The area that is written once.
const KEPT: &str = "--name=kept --rw=write --bs=64k --offset=0 --size=32m";

/// The areas that are written again and again.
const JOBS: &str = "--name=small --rw=randwrite --bs=4k --offset=256m --size=4m --name=large --rw=write --bs=256k --offset=512m --size=16m";

/// Completed reads and writes go to the shell variables `r` and `w`.
const COUNT: &str = "read -r r x x x w x </sys/block/nvme0n1/stat";

/// A command that shows how many reads and writes have ended since the guest booted.
pub(super) const COUNT_SHOWN: &str = "read -r r x x x w x </sys/block/nvme0n1/stat && echo $((r + w))";

/// How many more I/Os must end after a step: more than the jobs can have had in flight before it.
const GOES_ON: u64 = 256;

/// Writes the area that must survive everything, and verifies it.
///
/// # Errors
/// What running commands in the guest can give.
pub(super) fn write_kept(vm: &mut Vm) -> Result<(), GuestError> {
    vm.run(&format!("fio --filename={DISK} {COMMON} {KEPT}")).map(drop)
}

/// Verifies that area.
///
/// # Errors
/// [`GuestError::Guest`] with fio's output when a block is not what it was.
pub(super) fn verify_kept(vm: &mut Vm) -> Result<(), GuestError> {
    vm.run(&format!("fio --filename={DISK} {COMMON} {KEPT} --verify_only=1")).map(drop)
}

/// Starts the load, and waits until it has come to its second pass: the first finds a disk without old blocks.
///
/// # Errors
/// What running commands in the guest can give.
pub(super) fn start(vm: &mut Vm) -> Result<(), GuestError> {
    let pass = format!("fio --filename={DISK} {COMMON} {JOBS} --randseed=$pass");
    vm.run(&format!(
        "(pass=1; until test -e /tmp/load-stop; do {pass} >/tmp/load-log 2>&1 || {{ echo $? >/tmp/load-status; exit; }}; \
         echo $pass >/tmp/load-passes; pass=$((pass + 1)); done; echo 0 >/tmp/load-status) >/dev/null 2>&1 &"
    ))?;
    vm.run(&until("test -e /tmp/load-passes")).map(drop)
}

/// How many reads and writes have ended since the guest booted.
///
/// # Errors
/// What running commands in the guest can give.
pub(super) fn completed(vm: &mut Vm) -> Result<u64, GuestError> {
    count_in(&vm.run(COUNT_SHOWN)?)
}

/// What [`COUNT_SHOWN`] has shown.
///
/// # Errors
/// [`GuestError::Check`] when it is no number.
pub(super) fn count_in(text: &str) -> Result<u64, GuestError> {
    text.trim().parse().map_err(|_| GuestError::Check(format!("the disk's statistics are {text}")))
}

/// Waits until more I/O has ended than can have been in flight.
///
/// # Errors
/// [`GuestError::Check`] with fio's output and the last kernel messages when the load has ended or stands still.
pub(super) fn wait_until_it_goes_on(vm: &mut Vm) -> Result<(), GuestError> {
    let goal = completed(vm)? + GOES_ON;
    let went_on = vm.run(&until(&format!("{{ {COUNT}; test $((r + w)) -ge {goal}; }}")));
    went_on.map(drop).map_err(|error| why("the load did not go on", error))
}

/// Ends the load after the pass it is in, and gives the number of passes, all of which were verified.
///
/// # Errors
/// [`GuestError::Check`] with fio's output when a read or write failed or a block is not what was written.
pub(super) fn stop(vm: &mut Vm) -> Result<u64, GuestError> {
    vm.run(": >/tmp/load-stop")?;
    let ended = "for i in $(seq 1200); do test -s /tmp/load-status && break; sleep 0.1; done; \
                 read -r status </tmp/load-status && test $status = 0 && exit 0; cat /tmp/load-log; exit 1";
    vm.run(ended).map_err(|error| why("the load failed", error))?;
    let passes = vm.run("cat /tmp/load-passes")?;
    passes.trim().parse().map_err(|_| GuestError::Check(format!("the load did {passes} passes")))
}

/// Puts first what an error's output says is wrong with the data or the disk.
fn why(what: &str, error: GuestError) -> GuestError {
    let GuestError::Guest { output, .. } = error else { return error };
    let telling = |line: &&str| {
        ["verify: bad", "verify failed", "I/O error", "err="].iter().any(|it| line.contains(it))
    };
    let cause = output.lines().find(telling).unwrap_or("it stands still");
    GuestError::Check(format!("{what}: {cause}\n{output}"))
}

/// A command that waits for a condition to hold while the load runs, for a minute and more.
pub(super) fn until(condition: &str) -> String {
    format!(
        "for i in $(seq 900); do test -e /tmp/load-status && break; {condition} && exit 0; sleep 0.1; done; \
         cat /tmp/load-log; dmesg | tail -n 20; exit 1"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(output: &str) -> GuestError {
        GuestError::Guest { command: "fio".into(), status: 1, output: output.into() }
    }

    #[test]
    fn the_first_line_of_a_failure_names_the_block_that_is_wrong() {
        let output = "small: (g=0)\nverify: bad header rand_seed 1, wanted 2 at offset 4096\nlarge: (g=0)\n";
        let error = why("the load failed", guest(output)).to_string();
        let first = "the load failed: verify: bad header rand_seed 1, wanted 2 at offset 4096\n";
        assert!(error.starts_with(first), "{error}");
        assert!(why("x", guest("small: (g=0)\n")).to_string().starts_with("x: it stands still"));
    }

    #[test]
    fn a_lost_guest_is_not_taken_for_a_failed_load() {
        assert!(matches!(why("x", GuestError::Ended("QEMU".into())), GuestError::Ended(_)));
    }
}

//! A file system on the disk and verified data in it: the parts that the scenarios share.

use crate::guest::GuestError;
use crate::guest::address::DISK;
use crate::guest::vm::Vm;

/// What fio does: 64 MiB each of small random blocks and of blocks that need PRP lists, 32 at a time, each block with
/// its checksum. Both runs of one job draw the same offsets, so the second knows what the first wrote where.
const JOBS: &[&str] = &[
    "--name=small --filename=/mnt/small --rw=randwrite --bs=4k",
    "--name=large --filename=/mnt/large --rw=write --bs=256k",
];

const COMMON: &str =
    "--size=64m --iodepth=32 --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 --end_fsync=1";

/// Makes and mounts an ext4 file system.
///
/// # Errors
/// What running commands in the guest can give.
pub(super) fn make(vm: &mut Vm) -> Result<(), GuestError> {
    vm.run(&format!("mkfs.ext4 -q -F {DISK}"))?;
    mount(vm)
}

/// Mounts it.
///
/// # Errors
/// What running commands in the guest can give.
pub(super) fn mount(vm: &mut Vm) -> Result<(), GuestError> {
    vm.run(&format!("mount -t ext4 {DISK} /mnt")).map(drop)
}

/// Unmounts it and checks that it is sound.
///
/// # Errors
/// What running commands in the guest can give.
pub(super) fn unmount(vm: &mut Vm) -> Result<(), GuestError> {
    vm.run("umount /mnt")?;
    vm.run(&format!("e2fsck -f -n {DISK}")).map(drop)
}

/// Writes the data, reads it back and checks it.
///
/// # Errors
/// [`GuestError::Guest`] with fio's output when a checksum is wrong.
pub(super) fn write_and_verify(vm: &mut Vm) -> Result<(), GuestError> {
    JOBS.iter().try_for_each(|job| vm.run(&format!("fio {COMMON} {job} --do_verify=1")).map(drop))
}

/// Reads the data that an earlier [`write_and_verify`] left, from the disk and not from a cache, and checks it.
///
/// # Errors
/// [`GuestError::Guest`] with fio's output when a checksum is wrong.
pub(super) fn verify(vm: &mut Vm) -> Result<(), GuestError> {
    vm.run("echo 3 >/proc/sys/vm/drop_caches")?;
    JOBS.iter().try_for_each(|job| vm.run(&format!("fio {COMMON} {job} --verify_only=1")).map(drop))
}

//! *reboot*: the guest restarts, the server stays; the device comes up anew and the data is intact.

use super::file_system;
use crate::guest::GuestError;
use crate::guest::rig::Rig;

/// Runs the scenario.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(rig: &mut Rig<'_>) -> Result<(), GuestError> {
    let mut vm = rig.boot()?;
    rig.progress("mkfs.ext4, mount, write and verify");
    file_system::make(&mut vm)?;
    file_system::write_and_verify(&mut vm)?;
    file_system::unmount(&mut vm)?;
    vm.check_kernel_log()?;
    rig.progress("reboot");
    vm.reboot()?;
    rig.progress("mount and verify");
    file_system::mount(&mut vm)?;
    file_system::verify(&mut vm)?;
    file_system::unmount(&mut vm)?;
    vm.check_kernel_log()?;
    vm.quit()
}

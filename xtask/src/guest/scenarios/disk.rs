//! *disk*: the guest sees the function as it should be, and the disk keeps what is written to it.

use super::file_system;
use crate::guest::GuestError;
use crate::guest::address::{CONTROLLER, FUNCTION};
use crate::guest::lspci;
use crate::guest::rig::Rig;
use crate::guest::vm::Vm;

/// Runs the scenario.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(rig: &mut Rig<'_>) -> Result<(), GuestError> {
    let mut vm = rig.boot()?;
    rig.progress("look at the function and the controller");
    let faults =
        lspci::faults(&vm.run(&format!("/usr/bin/lspci -D -vvv -s {FUNCTION}"))?, rig.source(), rig.irq());
    if !faults.is_empty() {
        return Err(GuestError::Check(faults.join("\n")));
    }
    for query in ["id-ctrl", "smart-log", "error-log"] {
        vm.run(&format!("nvme {query} {CONTROLLER}"))?;
    }
    rig.progress("mkfs.ext4, mount, write and verify");
    file_system::make(&mut vm)?;
    let before = interrupts(&mut vm, rig)?;
    file_system::write_and_verify(&mut vm)?;
    let after = interrupts(&mut vm, rig)?;
    if after <= before {
        return Err(GuestError::Check(format!("no {} interrupt arrived while fio ran", rig.irq())));
    }
    rig.progress(&format!("{} {} interrupts; mount again and verify again", after - before, rig.irq()));
    file_system::unmount(&mut vm)?;
    file_system::mount(&mut vm)?;
    file_system::verify(&mut vm)?;
    file_system::unmount(&mut vm)?;
    vm.check_kernel_log()?;
    vm.quit()
}

/// How many interrupts of the mode under test the driver has had, on all CPUs.
fn interrupts(vm: &mut Vm, rig: &Rig<'_>) -> Result<u64, GuestError> {
    let table = vm.run("cat /proc/interrupts")?;
    let lines: Vec<_> = table.lines().filter(|line| line.contains("nvme0q")).collect();
    if lines.is_empty() || lines.iter().any(|line| !line.contains(rig.irq().controller())) {
        return Err(GuestError::Check(format!("the driver does not use {}:\n{table}", rig.irq())));
    }
    Ok(lines.into_iter().map(count).sum())
}

/// The sum of the per-CPU counts: the numbers between the interrupt's own and its controller's name.
fn count(line: &str) -> u64 {
    line.split_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn only_the_counts_of_the_cpus_are_added() {
        assert_eq!(count(" 25:         10         32  PCI-MSI-0000:01:00.0   1-edge      nvme0q1"), 42);
    }
}

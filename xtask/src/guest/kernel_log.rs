//! Finds in a guest's kernel messages those that tell of trouble with the disk.

/// Words the kernel uses only when something went wrong, in lower case.
const TROUBLE: &[&str] = &[
    "timeout",
    "timed out",
    "completion polled",
    "controller is down",
    "device not ready",
    "disabling device",
    "controller reset",
    "resetting controller",
    "removing after probe failure",
    "i/o error",
    "nobody cared",
    "aer:",
    "remounting filesystem read-only",
    " bug:",
    " oops:",
    "call trace",
    "rcu: info",
];

/// What a message must be about, unless the kernel itself is in trouble.
const SUBJECTS: &[&str] =
    &["nvme", "ext4", "jbd2", "i/o error", "nobody cared", "aer:", " bug:", " oops:", "call trace"];

/// What looks like trouble and is not: AER being switched on, a timer check that a slow emulator fails at boot, and the
/// kernel's command line, which names the timeouts of drivers.
const HARMLESS: &[&str] = &["aer: enabled with irq", "mp-bios bug: 8254 timer", "command line: "];

/// The words of a driver that found its controller silent, one message for each time it did something about it.
const RECOVERIES: &[&str] = &[
    "timeout, aborting",
    "timeout, reset controller",
    "timeout, disable controller",
    "controller is down; will reset",
];

/// The lines of `dmesg` that tell of trouble of the kernel itself, whatever a device did.
pub(super) fn crashes(dmesg: &str) -> Vec<&str> {
    const WORDS: &[&str] = &[
        " bug:",
        " oops:",
        "call trace",
        "general protection",
        "blocked for more than",
        "rcu: info",
        "nobody cared",
    ];
    let crashed = |line: &&str| {
        let line = line.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| line.contains(word));
        any(WORDS) && !any(HARMLESS)
    };
    dmesg.lines().filter(crashed).collect()
}

/// How often the driver had to recover its controller by itself: an abort of a command, or a reset.
pub(super) fn recoveries(dmesg: &str) -> usize {
    dmesg.lines().filter(|line| is_recovery(line)).count()
}

/// As [`complaints`], without those that tell only that the driver began to recover its controller.
pub(super) fn complaints_beyond_recovery(dmesg: &str) -> Vec<&str> {
    complaints(dmesg).into_iter().filter(|line| !is_recovery(line)).collect()
}

fn is_recovery(line: &str) -> bool {
    RECOVERIES.iter().any(|words| line.contains(words))
}

/// The lines of `dmesg` that a healthy disk does not cause.
pub(super) fn complaints(dmesg: &str) -> Vec<&str> {
    let suspicious = |line: &&str| {
        let line = line.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| line.contains(word));
        any(TROUBLE) && any(SUBJECTS) && !any(HARMLESS)
    };
    dmesg.lines().filter(suspicious).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_interrupt_and_a_bad_block_are_complaints() {
        let log = "[ 1.0] nvme nvme0: 2/0/0 default/read/poll queues\n\
            [33.1] nvme nvme0: I/O tag 1 QID 0 timeout, completion polled\n\
            [34.0] I/O error, dev nvme0n1, sector 0 op 0x0:(READ)\n\
            [35.0] Oops: general protection fault\n";
        assert_eq!(complaints(log).len(), 3);
    }

    #[test]
    fn a_recovery_is_counted_and_what_the_driver_could_not_recover_is_still_a_complaint() {
        let log = "[ 9.0] nvme nvme0: I/O tag 3 (3003) opcode 0x1 (I/O Cmd) QID 1 timeout, aborting req_op:WRITE(1) size:4096\n\
            [ 9.1] nvme nvme0: Abort status: 0x371\n\
            [12.0] nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10\n";
        assert_eq!(recoveries(log), 2);
        assert!(complaints_beyond_recovery(log).is_empty());
        let lost = format!(
            "{log}[13.0] nvme nvme0: Disabling device after reset failure: -19\n\
            [13.1] I/O error, dev nvme0n1, sector 0 op 0x1:(WRITE)\n[33.1] nvme nvme0: I/O tag 1 QID 0 timeout, completion polled\n"
        );
        assert_eq!(complaints_beyond_recovery(&lost).len(), 3);
    }

    #[test]
    fn a_disk_that_was_pulled_is_no_crash_and_a_task_that_hangs_for_it_is() {
        let log = "[14.7] nvme nvme0: Disabling device after reset failure: -19\n\
            [14.8] I/O error, dev nvme0n1, sector 32008 op 0x1:(WRITE)\n";
        assert!(crashes(log).is_empty());
        let hung = "[250.1] INFO: task fio:101 blocked for more than 120 seconds.\n";
        assert_eq!(crashes(&[log, hung].concat()).len(), 1);
    }

    #[test]
    fn a_healthy_boot_has_none() {
        let log = "[ 0.5] pcieport 0000:00:02.0: AER: enabled with IRQ 24\n[ 0.6] serial8250: timeout set to 1\n\
            [ 0.0] calibrate_delay_direct() failed to get a good estimate for loops_per_jiffy.\n\
            [ 0.0] Kernel command line: console=ttyS0 nvme_core.io_timeout=20\n\
            [ 0.2] ..MP-BIOS bug: 8254 timer not connected to IO-APIC\n\
            [ 2.0] EXT4-fs (nvme0n1): mounted filesystem with ordered data mode\n";
        assert!(complaints(log).is_empty());
    }
}

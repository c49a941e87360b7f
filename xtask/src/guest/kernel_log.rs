//! Finds in a guest's kernel messages those that tell of trouble with the disk.

/// Words the kernel uses only when something went wrong, in lower case.
const TROUBLE: &[&str] = &[
    "timeout",
    "timed out",
    "completion polled",
    "controller is down",
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

/// What looks like trouble and is not: AER being switched on, and a timer check that a slow emulator fails at boot.
const HARMLESS: &[&str] = &["aer: enabled with irq", "mp-bios bug: 8254 timer"];

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
    fn a_healthy_boot_has_none() {
        let log = "[ 0.5] pcieport 0000:00:02.0: AER: enabled with IRQ 24\n[ 0.6] serial8250: timeout set to 1\n\
            [ 0.0] calibrate_delay_direct() failed to get a good estimate for loops_per_jiffy.\n\
            [ 0.2] ..MP-BIOS bug: 8254 timer not connected to IO-APIC\n\
            [ 2.0] EXT4-fs (nvme0n1): mounted filesystem with ordered data mode\n";
        assert!(complaints(log).is_empty());
    }
}

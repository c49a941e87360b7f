//! Where the disk is in the guest.

/// The only device behind the root port is on the first bus after the root bus.
pub(super) const FUNCTION: &str = "0000:01:00.0";

/// The block device of its first namespace.
pub(super) const DISK: &str = "/dev/nvme0n1";

/// The controller's character device.
pub(super) const CONTROLLER: &str = "/dev/nvme0";

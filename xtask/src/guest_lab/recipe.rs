//! What goes into the lab, and the version that says whether a lab on disk is this one.

/// The Debian release whose kernel and tools the guest uses.
pub(super) const SUITE: &str = "trixie";
/// The suite with the QEMU under test: bookworm's and trixie's own have no vfio-user client.
pub(super) const BACKPORTS: &str = "trixie-backports";
/// The QEMU whose behaviour the server was written against; another one is used with a warning.
pub(super) const QEMU_VERSION: &str = "11.1.3";

/// Packages to unpack, with their dependencies. The cloud kernel is a quarter of the generic one's size and has NVMe,
/// ext4, PCIe hot-plug and AER built in.
pub(super) const PACKAGES: &[&str] = &[
    "qemu-system-x86",
    "linux-image-cloud-amd64",
    "busybox-static",
    "fio",
    "nvme-cli",
    "pciutils",
    "e2fsprogs",
    "kmod",
    "xz-utils",
];

/// Source packages that come from [`BACKPORTS`]; all others come from [`SUITE`].
pub(super) const FROM_BACKPORTS: &[&str] = &["src:qemu", "src:seabios"];

/// Documentation and the like, which is two fifths of the download once unpacked.
pub(super) const EXCLUDED_PATHS: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/zoneinfo/*",
    "/usr/lib/udev/*",
    "/usr/lib/python3*/*",
];

/// Modules the guest loads at boot, with those they depend on; one that is built into the kernel is skipped. `vfio_pci`
/// takes no device until a scenario gives it one: it is the driver that lets an idle function sleep.
pub(super) const MODULES: &[&str] = &["nvme", "ext4", "crc32c_intel", "virtio_pci", "vfio_pci"];

/// Programs of the unpacked root that the guest has, beside busybox; their shared libraries follow.
pub(super) const GUEST_PROGRAMS: &[&str] = &[
    "usr/bin/fio",
    "usr/bin/lspci",
    "usr/bin/setpci",
    "usr/sbin/nvme",
    "usr/sbin/mkfs.ext4",
    "usr/sbin/e2fsck",
];

/// Data files those programs read: ext4's default features, and the names of PCI ids.
pub(super) const GUEST_FILES: &[&str] = &["etc/mke2fs.conf", "usr/share/misc/pci.ids"];

/// Process 1 of the guest.
pub(super) const INIT: &str = include_str!("init.sh");

/// Everything that decides what a lab looks like.
const SOURCES: &[&str] = &[
    INIT,
    include_str!("recipe.rs"),
    include_str!("apt.rs"),
    include_str!("debian.rs"),
    include_str!("modules.rs"),
    include_str!("cpio.rs"),
    include_str!("initramfs.rs"),
    include_str!("lab.rs"),
];

/// The version of this recipe: the FNV-1a hash of its sources, in hexadecimal.
pub(super) fn version() -> String {
    let hash =
        SOURCES.iter().flat_map(|source| source.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

//! Structures and numbers of userfaultfd, with the kernel's names beside ours.
//!
//! Source: userfaultfd(2), ioctl_userfaultfd(2) and the documented interface in `linux/userfaultfd.h`. They are stated here
//! because the headers of many systems are older than their kernels and lack poison. All are little structures of 64-bit
//! words, the same on every architecture; the request numbers are encoded by `rustix`, since that differs.

use rustix::ioctl::{Opcode, opcode};

/// `UFFD_API`: the only version there is.
pub(super) const VERSION: u64 = 0xaa;
/// `UFFDIO`, `USERFAULTFD_IOC`: the group of the requests.
const GROUP: u8 = 0xaa;

/// `UFFD_USER_MODE_ONLY`, a flag at opening: faults of the kernel on behalf of a system call are not reported, the call fails
/// with `EFAULT` instead. Needs no privilege.
pub(super) const USER_MODE_ONLY: u32 = 1;

/// `UFFD_FEATURE_MISSING_SHMEM`: faults on pages that the file does not have.
pub(super) const FEATURE_MISSING_SHMEM: u64 = 1 << 5;
/// `UFFD_FEATURE_MINOR_SHMEM`: faults on pages that the file has, and that are not mapped.
pub(super) const FEATURE_MINOR_SHMEM: u64 = 1 << 10;
/// `UFFD_FEATURE_POISON`: pages whose access fails. Linux 6.6.
pub(super) const FEATURE_POISON: u64 = 1 << 14;

/// `UFFDIO_REGISTER_MODE_MISSING`.
pub(super) const MODE_MISSING: u64 = 1 << 0;
/// `UFFDIO_REGISTER_MODE_MINOR`.
pub(super) const MODE_MINOR: u64 = 1 << 2;

/// `UFFD_EVENT_PAGEFAULT`.
pub(super) const EVENT_PAGEFAULT: u8 = 0x12;
/// Bytes of `struct uffd_msg`.
pub(super) const MESSAGE_BYTES: usize = 32;
/// Where a message of a page fault has the address, in bytes.
pub(super) const MESSAGE_ADDRESS: usize = 16;

/// `struct uffdio_api`.
#[repr(C)]
pub(super) struct Api {
    pub(super) version: u64,
    pub(super) features: u64,
    pub(super) ioctls: u64,
}

/// `struct uffdio_range`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) len: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
pub(super) struct Register {
    pub(super) range: Range,
    pub(super) mode: u64,
    pub(super) ioctls: u64,
}

/// `struct uffdio_continue`, `struct uffdio_zeropage`, `struct uffdio_poison`: they differ in the names of their fields only.
#[repr(C)]
pub(super) struct Fill {
    pub(super) range: Range,
    pub(super) mode: u64,
    /// Bytes that were done, or a negative error number.
    pub(super) done: i64,
}

/// `UFFDIO_API`: agrees on features; once for each descriptor.
pub(super) const API: Opcode = opcode::read_write::<Api>(GROUP, 0x3f);
/// `UFFDIO_REGISTER`.
pub(super) const REGISTER: Opcode = opcode::read_write::<Register>(GROUP, 0x00);
/// `UFFDIO_WAKE`: whoever waits in the range faults again.
pub(super) const WAKE: Opcode = opcode::read::<Range>(GROUP, 0x02);
/// `UFFDIO_ZEROPAGE`: gives the file zeroed pages where it has none, and maps them.
pub(super) const ZEROPAGE: Opcode = opcode::read_write::<Fill>(GROUP, 0x04);
/// `UFFDIO_CONTINUE`: maps pages that the file has.
pub(super) const CONTINUE: Opcode = opcode::read_write::<Fill>(GROUP, 0x07);
/// `UFFDIO_POISON`: has accesses fail with `SIGBUS`.
pub(super) const POISON: Opcode = opcode::read_write::<Fill>(GROUP, 0x08);
/// `USERFAULTFD_IOC_NEW`, of `/dev/userfaultfd`: a new descriptor; the argument is its flags.
pub(super) const NEW: Opcode = opcode::none(GROUP, 0x00);

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn requests_have_the_numbers_of_the_kernel() {
        let numbers = [API, REGISTER, WAKE, ZEROPAGE, CONTINUE, POISON, NEW];
        let expected =
            [0xc018_aa3f, 0xc020_aa00, 0x8010_aa02, 0xc020_aa04, 0xc020_aa07, 0xc020_aa08, 0x0000_aa00];
        assert_eq!(numbers, expected);
    }
}

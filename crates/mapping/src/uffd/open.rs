//! Opening a userfaultfd, and why that may not be possible.
#![allow(unsafe_code)] // Two ioctls whose argument types the kernel prescribes, and a descriptor that one of them returns.

use super::abi;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Updater, ioctl};
use rustix::mm::{UserfaultfdFlags, userfaultfd};
use std::ffi::c_void;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use thiserror::Error;

/// Another way to a descriptor, where file permissions decide instead of a privilege.
const DEVICE: &str = "/dev/userfaultfd";

/// What is needed, with the kernel's names and the first version that has it for files in memory.
const FEATURES: [(u64, &str); 3] = [
    (abi::FEATURE_MISSING_SHMEM, "UFFD_FEATURE_MISSING_SHMEM (Linux 4.11)"),
    (abi::FEATURE_MINOR_SHMEM, "UFFD_FEATURE_MINOR_SHMEM (Linux 5.14)"),
    (abi::FEATURE_POISON, "UFFD_FEATURE_POISON (Linux 6.6)"),
];

/// Why this process cannot answer page faults, whatever it tries: what is the matter, and what an operator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unsupported {
    /// `ENOSYS`.
    #[error("the kernel has no userfaultfd; use one that is built with CONFIG_USERFAULTFD")]
    NoSystemCall,
    /// `EPERM`, and no access to the device.
    #[error(
        "userfaultfd is not permitted, perhaps by a container's system call filter; allow the system call, or give \
         this process access to /dev/userfaultfd"
    )]
    NotPermitted,
    /// The kernel does not know something.
    #[error("the kernel lacks {0}; use Linux 6.6 or later")]
    TooOld(&'static str),
    /// Nobody is left to answer faults. Not the kernel's doing.
    #[error(
        "the threads that answer page faults have ended and cannot be started again; restart the process"
    )]
    NoHandlers,
}

/// Why a descriptor was not opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// It never will be.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Something is used up (`EMFILE`, `ENFILE`, `ENOMEM`); later it may work.
    #[error("cannot open a userfaultfd: {0}")]
    System(#[source] io::Error),
}

/// A descriptor with the features that are needed, in blocking mode.
pub(super) fn open() -> Result<OwnedFd, OpenError> {
    let fd = descriptor()?;
    let wanted = FEATURES.iter().fold(0, |all, (bit, _)| all | bit);
    match negotiate(&fd, wanted) {
        Ok(_) => Ok(fd),
        // Features are agreed on once for each descriptor, so what the kernel has is asked of another one.
        Err(Errno::INVAL) => Err(lacking(negotiate(&descriptor()?, 0).unwrap_or(0)).into()),
        Err(error) => Err(OpenError::System(error.into())),
    }
}

/// The first feature that is not among `offered`.
fn lacking(offered: u64) -> Unsupported {
    let missing = FEATURES.iter().find(|(bit, _)| offered & bit == 0);
    Unsupported::TooOld(missing.map_or("UFFD_API 0xaa", |(_, name)| name))
}

fn descriptor() -> Result<OwnedFd, OpenError> {
    let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::from_bits_retain(abi::USER_MODE_ONLY);
    // SAFETY: the descriptor itself does nothing to memory; what registers ranges with it states its own contract.
    let opened = unsafe { userfaultfd(flags) };
    // A container's filter may answer with ENOSYS instead of EPERM.
    opened.or_else(|refused| match refused {
        Errno::PERM | Errno::ACCESS | Errno::NOSYS => {
            from_device(flags).map_err(|second| judge(refused, second))
        }
        refused => Err(judge(refused, refused)),
    })
}

fn from_device(flags: UserfaultfdFlags) -> Result<OwnedFd, Errno> {
    let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: `NewDescriptor` is the request that this device knows.
    unsafe { ioctl(&device, NewDescriptor(flags)) }
}

/// `call` is what the system call said, `device` what the device said after it.
fn judge(call: Errno, device: Errno) -> OpenError {
    match (call, device) {
        (_, Errno::MFILE | Errno::NFILE | Errno::NOMEM) => OpenError::System(device.into()),
        (Errno::NOSYS, Errno::NOENT | Errno::NODEV | Errno::NXIO) => Unsupported::NoSystemCall.into(),
        (Errno::PERM | Errno::ACCESS | Errno::NOSYS, _) => Unsupported::NotPermitted.into(),
        (Errno::INVAL, _) => Unsupported::TooOld("UFFD_USER_MODE_ONLY (Linux 5.11)").into(),
        (other, _) => OpenError::System(other.into()),
    }
}

/// Agrees on `features`; gives all that the kernel has.
fn negotiate(fd: &OwnedFd, features: u64) -> Result<u64, Errno> {
    let mut api = abi::Api { version: abi::VERSION, features, ioctls: 0 };
    // SAFETY: UFFDIO_API reads and writes one `struct uffdio_api`, which `Api` is.
    unsafe { ioctl(fd, Updater::<{ abi::API }, _>::new(&mut api)) }?;
    Ok(api.features)
}

/// `USERFAULTFD_IOC_NEW`.
struct NewDescriptor(UserfaultfdFlags);

// SAFETY: the request takes its flags by value, writes to no memory, and returns a new descriptor that is ours.
unsafe impl Ioctl for NewDescriptor {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        abi::NEW
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.0.bits() as usize)
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<OwnedFd> {
        // SAFETY: the request succeeded, so this is a descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_poison_is_named_as_too_old() {
        let offered = abi::FEATURE_MISSING_SHMEM | abi::FEATURE_MINOR_SHMEM;
        let message = lacking(offered).to_string();
        assert!(message.contains("UFFD_FEATURE_POISON") && message.contains("6.6"), "{message}");
    }

    #[test]
    fn what_is_used_up_is_no_lack_of_support() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(matches!(judge(errno, errno), OpenError::System(_)));
            assert!(matches!(judge(Errno::PERM, errno), OpenError::System(_)));
        }
    }

    #[test]
    fn each_refusal_has_its_own_cause() {
        let reason = |call, device| match judge(call, device) {
            OpenError::Unsupported(reason) => reason,
            OpenError::System(error) => panic!("{error}"),
        };
        assert_eq!(reason(Errno::NOSYS, Errno::NOENT), Unsupported::NoSystemCall);
        assert_eq!(reason(Errno::NOSYS, Errno::ACCESS), Unsupported::NotPermitted);
        assert_eq!(reason(Errno::PERM, Errno::NOENT), Unsupported::NotPermitted);
        assert!(matches!(reason(Errno::INVAL, Errno::INVAL), Unsupported::TooOld(_)));
    }

    #[test]
    fn the_device_gives_a_descriptor_that_works_as_well() {
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::from_bits_retain(abi::USER_MODE_ONLY);
        match from_device(flags) {
            Ok(fd) => assert_ne!(negotiate(&fd, 0).unwrap() & abi::FEATURE_MISSING_SHMEM, 0),
            Err(refused) => {
                assert!(matches!(refused, Errno::NOENT | Errno::ACCESS | Errno::PERM), "{refused}")
            }
        }
    }
}

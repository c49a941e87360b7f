//! The descriptor by which page faults are read and answered.
#![allow(unsafe_code)] // ioctls whose argument types the kernel prescribes.

use super::{OpenError, abi, open};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, Updater, ioctl};
use std::io;
use std::os::fd::OwnedFd;

/// A userfaultfd. While it is open, a fault in a range that is registered with it waits until it is answered; closing it
/// lets every access through ("fails open"), so it is closed after the last range has been unmapped.
#[derive(Debug)]
pub(crate) struct Uffd(OwnedFd);

/// How far pages were made present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// This many bytes from the start, at least a page. Those who wait there have been woken.
    Bytes(usize),
    /// None: the first page is present. Those who wait there have **not** been woken.
    Present,
    /// None: the file has no first page.
    Hole,
    /// None: the address space was changing, or another answer was under way.
    Again,
    /// None: no range that is registered spans this one.
    Replaced,
    /// None: there is no memory.
    NoMemory,
}

impl Uffd {
    /// A descriptor that no range is registered with.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open() -> Result<Uffd, OpenError> {
        open::open().map(Uffd)
    }

    /// Has faults in the range reported here: on pages the file lacks, and on pages that are not mapped.
    ///
    /// # Errors
    /// What the system says; `ENOMEM` if there is none, or too many mappings.
    ///
    /// # Safety
    /// The range is the caller's mapping, and whoever touches it copes with waiting until a fault is answered.
    pub(super) unsafe fn register(&self, start: usize, len: usize) -> io::Result<()> {
        let mode = abi::MODE_MISSING | abi::MODE_MINOR;
        let mut request = abi::Register { range: range(start, len), mode, ioctls: 0 };
        // SAFETY: UFFDIO_REGISTER reads and writes one `struct uffdio_register`, which this is.
        Ok(unsafe { ioctl(&self.0, Updater::<{ abi::REGISTER }, _>::new(&mut request)) }?)
    }

    /// Maps the pages that the file has, from `start` on.
    pub(super) fn map_present(&self, start: usize, len: usize) -> Filled {
        self.fill::<{ abi::CONTINUE }>(start, len)
    }

    /// Gives the file zeroed pages where it has none, from `start` on, and maps them.
    pub(super) fn map_zeroed(&self, start: usize, len: usize) -> Filled {
        self.fill::<{ abi::ZEROPAGE }>(start, len)
    }

    /// Has accesses to pages fail that are not present, until they are taken away.
    pub(super) fn poison(&self, start: usize, len: usize) -> Filled {
        self.fill::<{ abi::POISON }>(start, len)
    }

    /// Only the requests whose argument is a [`abi::Fill`].
    fn fill<const REQUEST: Opcode>(&self, start: usize, len: usize) -> Filled {
        const { assert!(REQUEST == abi::CONTINUE || REQUEST == abi::ZEROPAGE || REQUEST == abi::POISON) };
        let mut request = abi::Fill { range: range(start, len), mode: 0, done: 0 };
        // SAFETY: these requests read and write a structure of this form. They change nothing but pages that are not
        // present, of ranges that `register` was promised.
        let result = unsafe { ioctl(&self.0, Updater::<REQUEST, _>::new(&mut request)) };
        match (result, usize::try_from(request.done)) {
            (Ok(()), _) => Filled::Bytes(len),
            // A part: it ended at a page that is present, or at a hole.
            (Err(Errno::AGAIN), Ok(done)) if done > 0 => Filled::Bytes(done),
            (Err(Errno::AGAIN | Errno::INTR), _) => Filled::Again,
            (Err(Errno::EXIST), _) => Filled::Present,
            (Err(Errno::FAULT), _) => Filled::Hole,
            (Err(Errno::NOENT | Errno::SRCH), _) => Filled::Replaced,
            (Err(_), _) => Filled::NoMemory,
        }
    }

    /// As [`Uffd::map_present`], but leaves those waiting who wait there.
    #[cfg(test)]
    pub(super) fn map_present_silently(&self, start: usize, len: usize) {
        /// `UFFDIO_CONTINUE_MODE_DONTWAKE`.
        const DONT_WAKE: u64 = 1;
        let mut request = abi::Fill { range: range(start, len), mode: DONT_WAKE, done: 0 };
        // SAFETY: as in `fill`.
        unsafe { ioctl(&self.0, Updater::<{ abi::CONTINUE }, _>::new(&mut request)) }.unwrap();
    }

    /// Has whoever waits in the range look again.
    pub(crate) fn wake(&self, start: usize, len: usize) {
        // SAFETY: UFFDIO_WAKE reads one `struct uffdio_range`. It fails only for a range that is none.
        let _ = unsafe { ioctl(&self.0, Setter::<{ abi::WAKE }, _>::new(range(start, len))) };
    }

    /// Waits for a fault, and gives the address of the page that somebody waits for; with `second` also that of another one
    /// that is there by then. Nothing but a fault ends the wait.
    ///
    /// # Errors
    /// What the system says; it has no reason to say anything.
    pub(crate) fn read(&self, second: bool) -> io::Result<[Option<usize>; 2]> {
        let mut messages = [[0; abi::MESSAGE_BYTES]; 2];
        let room = &mut messages[..1 + usize::from(second)];
        match rustix::io::read(&self.0, room.as_flattened_mut()) {
            // What was not read is zeroes, which is no fault.
            Ok(bytes) if bytes >= abi::MESSAGE_BYTES => Ok(messages.map(|message| decode(&message))),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(Errno::INTR) => Ok([None; 2]),
            Err(error) => Err(error.into()),
        }
    }
}

fn range(start: usize, len: usize) -> abi::Range {
    abi::Range { start: start as u64, len: len as u64 }
}

/// The page that a message is about; `None` if it is about something else than a fault.
fn decode(message: &[u8]) -> Option<usize> {
    let address = message.get(abi::MESSAGE_ADDRESS..)?.first_chunk::<8>()?;
    let address = usize::try_from(u64::from_ne_bytes(*address)).ok()?;
    (message[0] == abi::EVENT_PAGEFAULT).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_no_fault_is_skipped() {
        let mut message = [0; abi::MESSAGE_BYTES];
        message[16..24].copy_from_slice(&0x7000_u64.to_ne_bytes());
        assert_eq!(decode(&message), None);
        message[0] = abi::EVENT_PAGEFAULT;
        assert_eq!(decode(&message), Some(0x7000));
    }

    #[test]
    fn nothing_is_answered_where_nothing_is_registered() {
        let uffd = Uffd::open().unwrap();
        assert_eq!(uffd.map_present(0x10_0000, 0x1000), Filled::Replaced);
        uffd.wake(0x10_0000, 0x1000);
    }
}

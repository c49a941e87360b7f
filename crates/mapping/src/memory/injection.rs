//! Where a test has a system call fail.

/// Before each system call whose failure has to leave everything in order.
///
/// # Errors
/// In this crate's own tests, if one is to fail here.
#[cfg(not(test))]
#[inline]
pub(super) fn step() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use planned::{fail_after, step, taken};

#[cfg(test)]
mod planned {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
        static TAKEN: Cell<usize> = const { Cell::new(0) };
    }

    pub(in super::super) fn step() -> std::io::Result<()> {
        TAKEN.set(TAKEN.get() + 1);
        match LEFT.get() {
            Some(0) => {
                LEFT.set(None);
                Err(std::io::ErrorKind::OutOfMemory.into())
            }
            left => {
                LEFT.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }

    /// System calls of this thread so far.
    pub(in super::super) fn taken() -> usize {
        TAKEN.get()
    }

    /// Lets `calls` system calls of this thread succeed and has the next one fail; `None`: none fails. Says whether the
    /// last failure planned has not happened.
    pub(in super::super) fn fail_after(calls: Option<usize>) -> bool {
        LEFT.replace(calls).is_some()
    }
}

//! A page of this process's own whose touch is a fault like any other: what interrupts a thread that reads faults.
#![allow(unsafe_code)] // A load from the page that this module has mapped.

use super::range::Range;
use super::{Ones, Uffd};
use std::io;
use std::os::fd::AsFd;

/// A registered page that can be rung once.
///
/// A thread in a blocking read of the descriptor takes no notice of anything but faults, and that read is the cheapest way to
/// wait for one by a tenth of a fault. So who wants its attention makes a fault.
#[derive(Debug)]
pub(crate) struct Bell(Range);

impl Bell {
    /// # Errors
    /// What the system says; nothing is left.
    pub(crate) fn new(uffd: &Uffd, ones: &Ones) -> io::Result<Bell> {
        Range::new(uffd, ones.as_fd(), 0, rustix::param::page_size()).map(Bell)
    }

    /// Reports a fault, unless the bell has been silenced, and returns when it has been.
    pub(crate) fn ring(&self) {
        // SAFETY: the page is mapped as long as `self` lives, and nothing writes to it.
        unsafe { self.0.base().as_ptr().read_volatile() };
    }

    /// From now on, and for whoever is ringing, the page is like any other. Cannot be taken back.
    pub(crate) fn silence(&self, uffd: &Uffd, ones: &Ones) {
        self.0.cover(ones);
        uffd.wake(self.0.start(), self.0.len());
    }
}

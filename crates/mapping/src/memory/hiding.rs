//! What becomes of memory that another process has: hidden, brought back, left behind, cut off.
//!
//! Nothing can be unmapped in another process. So the *device* moves: its view of an area is exchanged, at an address that
//! stays, for a file that nobody else has, and what the other process still sees is filled with all-ones.
//!
//! * [`Memory::hide`], when the function is frozen: areas of data move to a private file. Doorbells stay: a store while
//!   frozen is kept, and acted upon afterwards.
//! * [`Memory::reveal`], when it thaws: they move back, with what the device has.
//! * [`Memory::renew`], when the other process is done: everything moves to a fresh file, for good.
//! * [`Memory::sever`], when the function is gone: the view shows zeroes that nobody else has.
//!
//! What this module does **not** do: a store of the other process to a hidden area is lost, and what it has stored there it
//! reads back. It knows no gate: the first three take the proof that the device is idle.
//!
//! # When the system refuses
//! Each step leaves the device with one whole copy of each area: an area's view moves after all of it was copied, and what
//! was copied from is overwritten only then. A step that fails is tried again by calling the same function, or another; the
//! other process may see a mixture of old bytes and all-ones until then.

use super::places::Place;
use super::{Made, Memory, Severed, file, foreign, view};
use crate::{Area, Holds};
use gate::Exclusive;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

impl Memory {
    /// The present file twice, each opened for itself: for this process, and for another.
    ///
    /// Flags and position of a mere duplicate would be the other process's to set, and with `O_APPEND` nothing could be written
    /// where it belongs.
    ///
    /// # Errors
    /// What the system says: no descriptor left, or no `/proc`.
    pub(crate) fn lend(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let own = self.made()?.file.try_clone()?;
        let path = format!("/proc/self/fd/{}", own.as_raw_fd());
        let given = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok((own, given))
    }

    /// Whether `area` lies inside and consists of pages.
    pub(crate) fn has(&self, area: &Area) -> bool {
        let page = rustix::param::page_size() as u64;
        let end = area.offset.checked_add(area.size);
        let inside = self.length().is_ok_and(|length| end.is_some_and(|end| end <= length));
        inside && area.size > 0 && area.offset.is_multiple_of(page) && area.size.is_multiple_of(page)
    }

    /// Notes areas that may be hidden, so that a mistake in them is found when they are lent.
    ///
    /// # Errors
    /// One overlaps another without being the same.
    pub(crate) fn expect_hidden(&self, areas: &[Area]) -> io::Result<()> {
        let made = self.made()?;
        if self.foreign {
            return foreign::check(areas);
        }
        let data = areas.iter().filter(|area| area.holds == Holds::Data);
        let mut places = data.map(|area| made.places.of(*area));
        if places.all(|place| place.is_some()) { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Moves the areas of data among `areas` out of the shared file, and fills them there with all-ones. Does what is left
    /// to do, if anything.
    ///
    /// # Errors
    /// What the system says. Each area is hidden or not: the device has its bytes in any case.
    pub(crate) fn hide(&self, held: &impl Exclusive, areas: &[Area]) -> io::Result<()> {
        let _ = held;
        let made = self.made()?;
        for area in areas.iter().filter(|area| area.holds == Holds::Data && self.has(area)) {
            let place = made.places.of(*area).ok_or(io::ErrorKind::InvalidInput)?;
            if !place.is_hidden() {
                let private = self.private(made)?;
                file::copy(&made.file, private, place.range())?;
                self.show(made, place.range(), private.as_fd())?;
                place.set_hidden(true);
            }
            if !place.is_filled() {
                file::fill(&made.file, place.range())?;
                place.set_filled(true);
            }
        }
        Ok(())
    }

    /// Whether the areas of data among `areas` are hidden, all of them, and filled.
    pub(crate) fn is_hidden(&self, areas: &[Area]) -> bool {
        let Some(made) = self.made.get() else { return false };
        let done = |place: &Place| place.is_hidden() && place.is_filled();
        areas
            .iter()
            .filter(|area| area.holds == Holds::Data && self.has(area))
            .all(|area| made.places.find(*area).is_some_and(done))
    }

    /// Whether nothing is hidden.
    pub(crate) fn is_revealed(&self) -> bool {
        self.made.get().is_none_or(|made| made.places.hidden().next().is_none())
    }

    /// Moves what was hidden back into the shared file.
    ///
    /// # Errors
    /// As [`Memory::hide`].
    pub(crate) fn reveal(&self, held: &impl Exclusive) -> io::Result<()> {
        let _ = held;
        let Some(made) = self.made.get() else { return Ok(()) };
        let Some(private) = made.private.get() else { return Ok(()) };
        for place in made.places.hidden() {
            // From the first byte on that is brought back.
            place.set_filled(false);
            let copied = file::copy(private, &made.file, place.range());
            if let Err(error) = copied.and_then(|()| self.show(made, place.range(), made.file.as_fd())) {
                // Should the function be gone by now, nobody comes back to this.
                let _ = file::fill(&made.file, place.range());
                return Err(error);
            }
            place.set_hidden(false);
        }
        self.forget(made);
        Ok(())
    }

    /// Moves everything to a fresh file, out of reach of those who have the present one. That one is left as it is.
    ///
    /// # Errors
    /// What the system says; nothing has changed.
    pub(crate) fn renew(&self, held: &impl Exclusive) -> io::Result<()> {
        let _ = held;
        let Some(made) = self.made.get().filter(|_| !self.foreign) else { return Ok(()) };
        let length = self.length()?;
        let fresh = self.copy_of(made, length)?;
        self.show(made, 0..length, fresh.as_fd())?;
        if let Err(error) = view::exchange(&made.file, &fresh) {
            // Nothing was written meanwhile, so the old places are as good as ever. Should they not come back either, the
            // device still has a whole copy, which those who ask for the file do not get.
            self.show(made, 0..length, made.file.as_fd())?;
            self.show_hidden(made)?;
            return Err(error);
        }
        for place in made.places.iter() {
            place.set_hidden(false);
            place.set_filled(false);
        }
        self.forget(made);
        Ok(())
    }

    /// Has the device reach zeroes that nobody else has, from now on and for ever. Waits for nobody; may run beside
    /// anything.
    ///
    /// # Errors
    /// What the system says. Exchanges are over in any case; to be called again.
    pub(crate) fn sever(&self) -> io::Result<()> {
        let mut severed = self.severed.lock();
        let before = std::mem::replace(&mut *severed, Severed::Failed);
        if before != Severed::Done
            && let Some(made) = self.made.get()
        {
            made.view.show_nothing()?;
        }
        *severed = Severed::Done;
        Ok(())
    }

    /// Gives all memory back, as far as the device has it.
    pub(super) fn empty(&self, made: &Made) -> io::Result<()> {
        let severed = self.severed.lock();
        if *severed != Severed::No {
            return made.view.show_nothing();
        }
        drop(severed);
        let length = self.length()?;
        for (range, hidden) in pieces(made, length) {
            let file = made.private.get().filter(|_| hidden).unwrap_or(&made.file);
            file::empty(file, range)?;
        }
        Ok(())
    }

    /// One exchange, unless the view was cut off.
    fn show(&self, made: &Made, range: Range<u64>, file: BorrowedFd<'_>) -> io::Result<()> {
        let index = |at: u64| usize::try_from(at).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let range = index(range.start)?..index(range.end)?;
        let severed = self.severed.lock();
        if *severed != Severed::No {
            return Err(io::Error::other("the function is gone"));
        }
        made.view.show(range, file)
    }

    fn show_hidden(&self, made: &Made) -> io::Result<()> {
        let Some(private) = made.private.get() else { return Ok(()) };
        made.places.hidden().try_for_each(|place| self.show(made, place.range(), private.as_fd()))
    }

    fn private<'a>(&self, made: &'a Made) -> io::Result<&'a Arc<OwnedFd>> {
        if let Some(private) = made.private.get() {
            return Ok(private);
        }
        let file = file::make(self.name, self.length()?)?;
        Ok(made.private.get_or_init(|| Arc::new(file.into())))
    }

    /// A fresh file with all that the device has.
    fn copy_of(&self, made: &Made, length: u64) -> io::Result<File> {
        let fresh = file::make(self.name, length)?;
        for (range, hidden) in pieces(made, length) {
            let from = made.private.get().filter(|_| hidden).unwrap_or(&made.file);
            file::copy(from, &fresh, range)?;
        }
        Ok(fresh)
    }

    /// Frees what is no longer needed in the private file. Only memory is lost if that fails.
    fn forget(&self, made: &Made) {
        if let (Some(private), Ok(length)) = (made.private.get(), self.length()) {
            let _ = file::empty(private, 0..length);
        }
    }
}

/// Makes `areas` of a file that a client had read as all-ones.
///
/// # Errors
/// What the system says, for want of memory; to be called again.
pub(crate) fn blank(file: &OwnedFd, areas: &[Area]) -> io::Result<()> {
    areas.iter().try_for_each(|area| file::fill(file, area.offset..area.offset.saturating_add(area.size)))
}

/// The whole memory as ranges, in ascending order, and whether each is hidden.
fn pieces(made: &Made, length: u64) -> Vec<(Range<u64>, bool)> {
    let mut hidden: Vec<Range<u64>> = made.places.hidden().map(Place::range).collect();
    hidden.sort_by_key(|range| range.start);
    let mut pieces = Vec::with_capacity(hidden.len() * 2 + 1);
    let mut at = 0;
    for range in hidden {
        pieces.push((at..range.start, false));
        at = range.end;
        pieces.push((range, true));
    }
    pieces.push((at..length, false));
    pieces.retain(|(range, _)| !range.is_empty());
    pieces
}

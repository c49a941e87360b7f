//! What the real pages do with the kernel's calls, with the simulated kernel's.

use super::kernel::{Errno, PAGE, PAGES, Range, Shows};
use mapping::{Pages, PagesError, Window};
use std::ptr::NonNull;
use std::sync::{Arc, Weak};

/// A step that is done wrong, to show that this is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Pages are made present, and who waits for them is not woken.
    PopulateWakesNobody,
    /// Who waits is not woken when the range shows all-ones.
    CoverWakesNobody,
    /// A zap leaves the last page.
    ZapLeavesAPage,
    /// Poisoning fails where nobody looks, and who waits is not woken.
    PoisonWakesNobody,
}

/// Whose faults are answered by which window.
#[derive(Default)]
pub(crate) struct Windows(shuttle::sync::Mutex<Vec<Weak<Window>>>);

impl Windows {
    pub(crate) fn of_range(&self, number: usize) -> Option<Arc<Window>> {
        self.0.lock().unwrap().get(number).and_then(Weak::upgrade)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Window>> {
        self.0.lock().unwrap().iter().filter_map(Weak::upgrade).collect()
    }

    fn set(&self, number: usize, window: &Arc<Window>) {
        let mut windows = self.0.lock().unwrap();
        let length = windows.len().max(number + 1);
        windows.resize(length, Weak::new());
        windows[number] = Arc::downgrade(window);
    }
}

/// How pages are treated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Treatment {
    pub(crate) flaw: Option<Flaw>,
    /// A fault makes one page present, as in memory that is too large to be made present as a whole.
    pub(crate) one_by_one: bool,
}

/// The pages of a range of the simulated kernel.
pub(crate) struct Simulated {
    pub(crate) range: Arc<Range>,
    pub(crate) windows: Arc<Windows>,
    pub(crate) treatment: Treatment,
}

impl Simulated {
    fn has(&self, flaw: Flaw) -> bool {
        self.treatment.flaw == Some(flaw)
    }

    /// Makes the pages from `from` to `to` present, at least the first. True if there was anything to do.
    fn fill(&self, from: usize, to: usize) -> Result<bool, PagesError> {
        let end = self.range.make_present(from, to);
        let made = if let Err(Errno::Partial(page)) = end { page } else { to };
        match end {
            Ok(()) | Err(Errno::Partial(_)) => {
                if !self.has(Flaw::PopulateWakesNobody) {
                    self.range.wake(from, made);
                }
                Ok(true)
            }
            Err(Errno::Exists) => {
                self.range.wake(from, from + 1);
                Ok(false)
            }
            Err(Errno::NotRegistered) => Err(PagesError::Replaced),
            Err(Errno::NoMemory) => Err(PagesError::NoMemory),
        }
    }
}

fn page(offset: u64) -> usize {
    usize::try_from(offset / PAGE).unwrap()
}

impl Pages for Simulated {
    fn attach(&self, window: &Arc<Window>) {
        self.windows.set(self.range.number, window);
    }

    fn populate(&self, offset: u64) -> Result<(), PagesError> {
        let _populating = self.range.truth().populating();
        let touched = page(offset);
        if self.treatment.one_by_one {
            return self.fill(touched, touched + 1).map(drop);
        }
        // The page that somebody waits for comes first; it decides whether this has succeeded.
        let others = self.fill(touched, PAGES)?;
        if others && touched > 0 {
            let _ = self.fill(0, touched);
        }
        Ok(())
    }

    fn poison(&self, offset: u64) {
        let touched = page(offset);
        if self.has(Flaw::PoisonWakesNobody) {
            return;
        }
        if self.range.poison(touched) == Err(Errno::Exists) {
            self.range.wake(touched, touched + 1);
        }
    }

    fn zap(&self) {
        self.range.zap();
        if self.has(Flaw::ZapLeavesAPage) {
            let _present = self.range.make_present(PAGES - 1, PAGES);
        }
    }

    fn cover(&self) {
        self.range.replace(Shows::AllOnes);
        if !self.has(Flaw::CoverWakesNobody) {
            self.range.wake(0, PAGES);
        }
    }

    fn uncover(&self) -> Result<(), PagesError> {
        // Between the next two steps an access meets no fault.
        let _pattern = self.range.truth().made_present();
        self.range.replace(Shows::Unregistered);
        self.range.register();
        self.range.zap();
        Ok(())
    }

    fn wake(&self) {
        self.range.wake(0, PAGES);
    }

    fn base(&self) -> Option<NonNull<u8>> {
        None
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.range.replace(Shows::Nothing);
            self.range.wake(0, PAGES);
        }
    }
}

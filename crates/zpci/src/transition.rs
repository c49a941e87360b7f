//! The claim of who changes a function.

use crate::handle::Handle;
use crate::handles::Series;
use crate::state::Work;
use crate::view::View;
use crate::zdev::{Changed, State, Zdev};
use gate::ThreadToken;
use std::sync::Arc;
use thiserror::Error;

/// Why there is no new handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RenewError {
    /// The device that the claim was for is not configured any more.
    #[error("the device is gone")]
    Gone,
    /// No handles are left: of this function, until it is recovered or configured; or of the machine.
    #[error("no handles are left")]
    UsedUp,
}

/// Nobody else recovers, resets, enables or disables the function while this lives. Keeps nobody out who takes the device away.
#[must_use = "dropping it gives the claim back"]
pub struct Transition<'a> {
    zdev: &'a Zdev,
    /// Of the device that was configured when the claim was made: what comes later is not renewed.
    view: Option<Arc<View>>,
    work: Work,
    /// Which of the function's claims it is.
    number: u64,
}

impl<'a> Transition<'a> {
    pub(crate) fn new(zdev: &'a Zdev, view: Option<Arc<View>>, work: Work, number: u64) -> Transition<'a> {
        Transition { zdev, view, work, number }
    }

    /// Whose.
    #[must_use]
    pub fn zdev(&self) -> &'a Zdev {
        self.zdev
    }

    /// The view of the device that was configured when the claim was made.
    #[must_use]
    pub fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }

    /// What for.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// Gives the device another handle, enabled or not; all it had before name nothing. Disabling ends memory I/O without a handle. For who
    /// owns the function: takes another index when the function has used up its own. Tells of it.
    ///
    /// # Errors
    /// [`RenewError`]; the handle is as it was, or gone with the device.
    pub fn renew(&self, token: &mut ThreadToken, enable: bool) -> Result<Handle, RenewError> {
        match self.renew_in_place(enable) {
            Err(RenewError::UsedUp) => self.renew_elsewhere(token, enable),
            done => done,
        }
    }

    /// As [`Transition::renew`] for a guest: it cannot use up more than its own handles.
    ///
    /// # Errors
    /// [`RenewError`].
    pub fn renew_in_place(&self, enable: bool) -> Result<Handle, RenewError> {
        let changed = {
            let mut state = self.zdev.state().lock();
            self.require_device(&state)?;
            let old = state.handle;
            let new = state.renew(enable).ok_or(RenewError::UsedUp)?;
            Changed { old, new }
        };
        self.zdev.finish(None, changed);
        Ok(changed.new)
    }

    /// The device works again: it is not marked failed any more. The end of a recovery, before the handle by which it is found.
    pub fn clear_failure(&self) {
        if let Some(view) = &self.view {
            view.clear_failed();
        }
    }

    /// Under another index: the view is there under both before the handle changes from the one to the other.
    fn renew_elsewhere(&self, token: &mut ThreadToken, enable: bool) -> Result<Handle, RenewError> {
        let handles = self.zdev.handles();
        let series = self.zdev.allot().ok_or(RenewError::UsedUp)?;
        let index = series.index();
        handles.put(token, index, self.view.clone());
        let mut spare = Some(series);
        let changed = self.exchange(&mut spare, enable);
        // The one that is not used any more: the function's old one, or this if the device has gone meanwhile.
        if let Some(index) = spare.as_ref().map(Series::index) {
            handles.put(token, index, None);
        }
        self.zdev.finish(spare, changed.unwrap_or_default());
        changed.map(|changed| changed.new)
    }

    /// The function's series for `spare`, if the device is still there, and another handle of it.
    fn exchange(&self, spare: &mut Option<Series>, enable: bool) -> Result<Changed, RenewError> {
        let mut state = self.zdev.state().lock();
        self.require_device(&state)?;
        let old = state.handle;
        std::mem::swap(&mut state.series, spare);
        let new = state.renew(enable).ok_or(RenewError::UsedUp)?;
        Ok(Changed { old, new })
    }

    /// A claim ends with its device, also if that comes back: somebody else may have it then.
    fn require_device(&self, state: &State) -> Result<(), RenewError> {
        if self.view.is_some() && state.is_claimed_by(self.number) { Ok(()) } else { Err(RenewError::Gone) }
    }
}

impl Drop for Transition<'_> {
    fn drop(&mut self) {
        self.zdev.give_back(self.number);
    }
}

//! What stands under a function identifier now.

use crate::handle::Handle;
use crate::handles::Series;
use crate::state::{Configuration, Work};
use crate::view::View;
use std::sync::Arc;

/// What changes together.
pub(crate) struct State {
    /// There is a card, as far as anybody said.
    pub(super) present: bool,
    /// The card has gone while its device was configured, and who listens is to be told when that is taken out.
    pub(super) owes_reserved: bool,
    /// The machine has forgotten it, for good.
    pub(super) removed: bool,
    /// What instructions and commands name it by now.
    pub(crate) handle: Handle,
    /// The handles that it has not had yet; none before it had a device, after it was removed, when the machine has none left, or
    /// while somebody fills or empties the place that they lead to.
    pub(crate) series: Option<Series>,
    /// Of the device that is configured.
    pub(crate) view: Option<Arc<View>>,
    /// What somebody is doing to the device that is there now, and the number of that claim.
    pub(super) work: Option<(u64, Work)>,
    /// How many claims there were.
    pub(super) claims: u64,
}

impl State {
    /// Without a card, and without handles: they are taken when there is a device.
    pub(super) fn empty() -> State {
        State {
            present: false,
            owes_reserved: false,
            removed: false,
            handle: Handle::NONE,
            series: None,
            view: None,
            work: None,
            claims: 0,
        }
    }

    /// Whether the claim of this number has not ended, with its device or before.
    pub(crate) fn is_claimed_by(&self, number: u64) -> bool {
        self.work.is_some_and(|(of, _)| of == number)
    }

    /// The claim of this number ends, unless it has ended with its device.
    pub(super) fn give_back(&mut self, number: u64) {
        if self.is_claimed_by(number) {
            self.work = None;
        }
    }

    pub(super) fn configuration(&self) -> Configuration {
        match (&self.view, self.present) {
            (Some(_), _) => Configuration::Configured,
            (None, true) => Configuration::Standby,
            (None, false) => Configuration::Reserved,
        }
    }

    /// Gives the function, and the view that it has, the next handle, if there is one.
    pub(crate) fn renew(&mut self, enabled: bool) -> Option<Handle> {
        let handle = self.series.as_mut()?.next(enabled)?;
        self.handle = handle;
        if let Some(view) = &self.view {
            if !enabled {
                // Whoever enables it again says anew what for.
                view.set_mio(false);
            }
            view.set_handle(handle);
        }
        Some(handle)
    }

    /// Gives a function without a device the handle for that.
    pub(super) fn rest(&mut self) {
        self.handle = Handle::NONE;
        if self.present {
            self.renew(false);
        }
    }
}

/// A change of a handle, which is told when nothing is held any more.
#[derive(Clone, Copy, Default)]
pub(crate) struct Changed {
    pub(crate) old: Handle,
    pub(crate) new: Handle,
}

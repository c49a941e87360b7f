//! Drivers in this process.

use crate::binding::Binding;
use crate::effect::Removal;
use crate::ranks;
use gate::ThreadToken;
use gate::lock::Leaf;
use pci_core::Function;
use pci_core::recovery::{Channel, Handlers, Vote};
use std::sync::Arc;
use thiserror::Error;

/// Why a driver did not take a function.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// It is not for this driver, and the next one is asked.
    #[error("the function is not for this driver")]
    NotMine,
    /// It is, and does not work. The next one is asked all the same.
    #[error("{0}")]
    Failed(String),
}

/// A driver in this process. Foreign code as far as a slot is concerned: calls come from the thread that drives the slot, with nothing
/// held; a panic is caught. A call that does not return in time is left behind: whatever the driver has stays its own until
/// the call returns or the function is revoked, and it is offered no function of this slot meanwhile. So is a call for an error
/// that is out when the card is taken out by force, at once.
pub trait Driver: Send + Sync {
    /// For people.
    fn name(&self) -> &str;

    /// Whether the driver is for this function, by its identity; does not touch the device. Only then is it attached.
    fn matches(&self, function: &Function) -> bool {
        let _ = function;
        true
    }

    /// Takes the function, which is attached for it.
    ///
    /// # Errors
    /// [`ProbeError`]; nothing of the driver is left in use (law 9).
    fn probe(&self, token: &mut ThreadToken, function: &Arc<Binding>) -> Result<Box<dyn Bound>, ProbeError>;
}

/// A driver at one function. [`Bound::remove`], or [`Bound::shutdown`] in its place, is the last call, and comes exactly once: also
/// when another one did not return in time, after that has returned.
pub trait Bound: Send {
    /// Is asked to let go, the `nth` time from 1 on; everything works still. May let go at once by [`Binding::release`], or later,
    /// from another thread.
    fn request(&mut self, token: &mut ThreadToken, nth: u32);

    /// May stay after all.
    fn keep(&mut self, token: &mut ThreadToken) {
        let _ = token;
    }

    /// Ends. The function is gone already (law 8), with two exceptions: the driver is [unbound](crate::DriverCall::Unbind), and the
    /// function works still and is let go afterwards; or a call of this driver came back too late: then it was let go, and others
    /// may have it. `removal` says whether the device was still there when it went.
    fn remove(self: Box<Self>, token: &mut ThreadToken, removal: Removal);

    /// Ends because everything does. The function still works.
    fn shutdown(&mut self, token: &mut ThreadToken) {
        let _ = token;
    }

    /// Which of the following it has (AER-01). Asked once, when it has taken the function; none of the others is called.
    fn error_handlers(&self) -> Handlers {
        Handlers::empty()
    }

    /// The function has failed, and `channel` is what it is like now: frozen or gone for ever, nothing of it can be reached; normal,
    /// everything can. Stops whatever is under way, and says how it would go on.
    fn error_detected(&mut self, token: &mut ThreadToken, channel: Channel) -> Vote {
        let _ = (token, channel);
        Vote::None
    }

    /// Registers can be reached again; the function has not been reset, and does no DMA.
    fn mmio_enabled(&mut self, token: &mut ThreadToken) -> Vote {
        let _ = token;
        Vote::None
    }

    /// The function was reset, its configuration space is as before, and it does no DMA that it was not told to since. Sets it up.
    fn slot_reset(&mut self, token: &mut ThreadToken) -> Vote {
        let _ = token;
        Vote::None
    }

    /// Everything works again: goes on.
    fn resume(&mut self, token: &mut ThreadToken) {
        let _ = token;
    }

    /// There was an error that the hardware has corrected. Nothing is lost.
    fn cor_error_detected(&mut self, token: &mut ThreadToken) {
        let _ = token;
    }

    /// The function is about to be reset because somebody asks for that. Stops whatever is under way.
    fn reset_prepare(&mut self, token: &mut ThreadToken) {
        let _ = token;
    }

    /// That reset is over. Sets the function up and goes on.
    fn reset_done(&mut self, token: &mut ThreadToken) {
        let _ = token;
    }
}

/// Which drivers there are, in the order in which functions are offered to them.
#[derive(Default)]
pub struct Drivers {
    /// Rank: 84, slot drivers; a leaf, held for a copy or a push: a `Published` would need a token to be replaced, and nobody reads
    /// this often.
    list: Leaf<ranks::Drivers, Arc<[Registered]>>,
}

/// A driver, and which it calls itself: the same reference wherever it is named.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) name: Arc<str>,
    pub(crate) driver: Arc<dyn Driver>,
}

impl Drivers {
    /// None.
    #[must_use]
    pub fn new() -> Arc<Drivers> {
        Arc::new(Drivers { list: Leaf::new(Arc::from([])) })
    }

    /// Adds one at the end. Functions that are there already are not offered to it.
    pub fn add(&self, driver: Arc<dyn Driver>) {
        let name = Arc::from(driver.name());
        let mut list = self.list.lock();
        *list = list.iter().cloned().chain([Registered { name, driver }]).collect();
    }

    pub(crate) fn list(&self) -> Arc<[Registered]> {
        Arc::clone(&self.list.lock())
    }
}

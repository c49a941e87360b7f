//! Who holds what is on a card.

use gate::{Deadline, ThreadToken};

/// Somebody who may hold functions of a slot: a vfio-user server with its client, a virtual machine.
///
/// Foreign code as far as a slot is concerned: calls come from the thread that drives the slot, with nothing held; a panic is
/// caught, and a call that does not return in time is left behind, after which only [`Consumer::revoke`] is called until it has
/// returned.
pub trait Consumer: Send + Sync {
    /// For people. Called once, when it is added.
    fn describe(&self) -> String;

    /// Is asked to let go, `nth` time from 1 on. Returns soon and does not wait for the letting go: that is told by
    /// [`Event::Released`](crate::Event::Released). Everything it holds goes on working meanwhile.
    fn request(&self, token: &mut ThreadToken, nth: u32);

    /// May stay after all.
    fn keep(&self, token: &mut ThreadToken) {
        let _ = token;
    }

    /// Loses everything, by the deadline; names what was still in use then. The functions are gone already.
    fn revoke(&self, token: &mut ThreadToken, deadline: Deadline) -> Vec<String>;

    /// Whether it has something still. Does not wait.
    fn holds(&self) -> bool;
}

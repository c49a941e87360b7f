//! The driver at one function, as the slot calls it.

use std::sync::Arc;

use gate::ThreadToken;
use slot::{Bound, Removal};

use super::Users;
use super::interface::Interface;

/// One function, and who uses it.
pub(super) struct AtWork {
    interface: Arc<Interface>,
    users: Arc<dyn Users>,
}

impl AtWork {
    pub(super) fn new(interface: Arc<Interface>, users: Arc<dyn Users>) -> AtWork {
        AtWork { interface, users }
    }
}

impl Bound for AtWork {
    fn request(&mut self, token: &mut ThreadToken, nth: u32) {
        // First: whoever is told gives uses back, and takes no new ones.
        if self.interface.uses().leave() {
            self.interface.let_go(token);
        } else if !self.interface.uses().has_ended() {
            self.users.asked(token, &self.interface, nth);
        }
    }

    fn keep(&mut self, token: &mut ThreadToken) {
        if self.interface.uses().stay() {
            self.users.kept(token, &self.interface);
        }
    }

    fn remove(self: Box<Self>, token: &mut ThreadToken, _removal: Removal) {
        self.interface.uses().finish();
        self.users.went(token, &self.interface);
    }

    fn shutdown(&mut self, token: &mut ThreadToken) {
        self.interface.uses().finish();
        self.users.went(token, &self.interface);
    }
}

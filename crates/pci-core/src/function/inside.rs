//! What an internal accessor takes as proof that it may touch the function.

use super::Function;
use super::written::Stored;
use crate::access::Width;
use gate::{Held, Pass, Quiesced};

pub(super) mod sealed {
    use crate::access::Width;
    use crate::function::Function;
    use crate::function::written::Stored;
    use gate::ThreadToken;

    /// What the accessors need of a proof.
    pub trait Proof {
        /// The thread's token, to read what is published.
        fn token(&self) -> &ThreadToken;

        /// Looks at what a register gave. Who has the function to himself asks whether it answers, so all-ones are no sign to
        /// him: a reset waits for their end.
        fn look_at(&self, function: &Function, register: u16, width: Width, value: u32);

        /// Does what the proof allows of what a write asked for.
        fn settle(&self, function: &Function, stored: &Stored);
    }
}

/// A pass of a function, or the proof that it is quiesced.
///
/// A write under a pass answers what it asks for, and its caller carries that out: a reset or a power state needs
/// quiescence. Under [`Quiesced`] it is done at once, without the delays that follow.
pub trait Inside: Held + sealed::Proof {}

impl Inside for Pass<'_> {}
impl Inside for Quiesced<'_> {}

impl sealed::Proof for Pass<'_> {
    #[inline]
    fn token(&self) -> &gate::ThreadToken {
        Pass::token(self)
    }

    #[inline]
    fn look_at(&self, function: &Function, register: u16, width: Width, value: u32) {
        function.look_at_register(Pass::token(self), register, width, value);
    }

    fn settle(&self, function: &Function, stored: &Stored) {
        if let Some(change) = stored.effects.command {
            // The write was stored whatever the device makes of it; that it panicked has been noticed.
            let _told = function.call(self, |device| device.command_changed(self, change.old, change.new));
        }
        if stored.effects.msi.is_some() || stored.effects.msix.is_some() {
            let _told = function.call(self, |device| device.interrupts_changed(self));
        }
    }
}

impl sealed::Proof for Quiesced<'_> {
    #[inline]
    fn token(&self) -> &gate::ThreadToken {
        Quiesced::token(self)
    }

    #[inline]
    fn look_at(&self, _function: &Function, _register: u16, _width: Width, _value: u32) {}

    fn settle(&self, function: &Function, stored: &Stored) {
        function.carry_out(self, stored);
    }
}

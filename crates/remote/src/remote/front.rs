//! What stands between a consumer and the back end, as the supervisor sees it: one for each kind of mode.

use std::sync::Arc;

use gate::ThreadToken;

use crate::fence::{Fenced, OldServer};
use crate::link::{Commands, Link, LinkError};

/// See the module's head. Every call comes from the supervisor's thread, with nothing held, and may wait as long as calls of a link
/// take; a link that is cut ends each.
pub(super) trait Front: Send + Sync {
    /// Who serves what the back end asks for.
    fn commands(&self) -> Arc<dyn Commands>;

    /// From here on nothing uses the link. May come more than once.
    fn detach(&self, token: &mut ThreadToken);

    /// Compares what the link leads to with what the back end was, without changing anything there.
    ///
    /// # Errors
    /// It differs, or did not answer.
    fn check(&self, token: &mut ThreadToken, link: &Arc<Link>) -> Result<(), Trouble>;

    /// Sets the back end up as the last one was, and begins to use the link, at whose other end is `server`. After a failure
    /// [`Front::detach`] follows.
    ///
    /// # Errors
    /// It differs, or did not answer.
    fn replay(
        &self,
        token: &mut ThreadToken,
        link: &Arc<Link>,
        server: &Arc<OldServer>,
        fenced: Fenced,
    ) -> Result<Replayed, Trouble>;

    /// The back end does not come back. `alive`: it may still reach the consumer's memory.
    fn give_up(&self, token: &mut ThreadToken, alive: bool);

    /// The function's end: threads of its own end too.
    fn close(&self);

    /// Commands at the back end, or waiting for it, where somebody counts them. Any thread.
    fn in_flight(&self) -> usize;

    /// What of the back end's configuration space consumers do not find.
    fn left_out(&self) -> Vec<String>;
}

/// What became of the commands that were in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Executed again.
    pub(super) re_executed: u64,
    /// Answered with an error.
    pub(super) refused: u64,
}

/// Why a back end cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is another than it was.
    Differs(Vec<String>),
    /// It may go better with the next link.
    Broken(String),
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Trouble {
        Trouble::Broken(error.to_string())
    }
}

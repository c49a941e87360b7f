//! Closing the gates of everything that a reset reaches, all or none.

use crate::error::Error;
use gate::{Busy, ClosedSet, Deadline, Gate, Reason, ThreadToken};
use std::sync::Arc;
use topology::Node;

/// How long the caller waits for others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Not at all: contention is an answer, and changes nothing (RST-12).
    None,
    /// Until then.
    Until(Deadline),
}

/// Closes the gates of `nodes`; nobody has to know an order.
///
/// # Errors
/// [`Error::Busy`], [`Error::NotClosed`] or [`Error::NotThere`]; all gates are as they were.
pub(crate) fn shut(
    nodes: &[Arc<Node>],
    token: &mut ThreadToken,
    patience: Patience,
) -> Result<ClosedSet, Error> {
    let gates: Vec<Gate> = nodes.iter().map(|node| node.function.gate().clone()).collect();
    let closed = match patience {
        Patience::None => gate::try_close_all(&gates, token, Reason::Reset)
            .map_err(|error| match error.cause {
                Busy::Gone => Error::NotThere,
                cause => Error::Busy {
                    function: error.gate.name().to_owned(),
                    in_use: matches!(cause, Busy::Inside),
                },
            })?
            .park(),
        Patience::Until(deadline) => gate::close_all(&gates, token, Reason::Reset, deadline)
            .map_err(|error| Error::NotClosed { function: error.gate.name().to_owned(), cause: error.cause })?
            .park(),
    };
    // A gate outlives its function: the next device in the same place is none of ours (law 5).
    let stale = nodes.iter().any(|node| node.function.handle().is_gone());
    if stale { Err(Error::NotThere) } else { Ok(closed) }
}

//! What a function reports as it happens.

use crate::config::{Change, ResetKind};
use crate::error::ResetError;
use gate::CloseError;
use pci_spec::capability::pm::PowerState;

/// Something that an operator, or the consumer's side, wants to know of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FunctionEvent<'a> {
    /// The function was reset.
    Reset {
        /// Why.
        kind: ResetKind,
    },
    /// The function was not reset and is as it was.
    ResetFailed {
        /// Which reset.
        kind: ResetKind,
        /// What stood in the way; a drain that missed its deadline names the accesses.
        error: &'a ResetError,
    },
    /// The power state changed.
    PowerChanged(Change<PowerState>),
    /// The power state was not changed.
    PowerNotChanged {
        /// What stood in the way.
        error: &'a CloseError,
    },
    /// The function was frozen.
    Frozen {
        /// Why.
        why: &'a str,
    },
}

/// Who is told of the events of a function.
///
/// Called with the gate as the event left it, on the thread that caused the event; [`FunctionEvent::Frozen`] may come
/// from a thread that holds a pass. So it never waits.
pub trait Observer: Send + Sync {
    /// `function` is the function's name.
    fn event(&self, function: &str, event: &FunctionEvent<'_>);
}

//! Where a function comes, and who hears of it.

use std::sync::Arc;

use assign::EventSink;
use gate::Gate;

/// See the module's head.
pub(super) struct Place<F> {
    pub(super) gate: Gate,
    pub(super) events: Arc<dyn EventSink>,
    /// Sees the function before anybody else does.
    pub(super) placed: F,
}

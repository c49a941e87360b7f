//! Events that a function's device makes.

use super::ErrorCode;
use crate::view::View;
use assign::EventSink;
use std::sync::{Arc, OnceLock, Weak};

/// Passes the events of an assigned function on, and tells who listens to the machine of those that are errors: a device that found
/// itself broken, or was frozen, is in error ([`ErrorCode::ERROR`]).
///
/// A fault and the freeze that follows it are two events with one handle. Whoever recovers the function at the first finds the second
/// stale, because the function has another handle then.
pub struct Watched {
    /// Whose events they are; set once it is made. Weak: it has the device that has this.
    view: OnceLock<Weak<View>>,
    inner: Arc<dyn EventSink>,
}

impl Watched {
    /// The events of a device that is about to be made, passed on to `inner` first.
    #[must_use]
    pub fn new(inner: Arc<dyn EventSink>) -> Arc<Watched> {
        Arc::new(Watched { view: OnceLock::new(), inner })
    }

    /// Its device is that of `view`. Counts the first time only; events before this, and of a device that is not configured, are nobody's.
    pub fn belongs_to(&self, view: &Arc<View>) {
        self.view.get_or_init(|| Arc::downgrade(view));
    }
}

impl EventSink for Watched {
    fn event(&self, function: &str, event: assign::Event) {
        let is_error = matches!(event, assign::Event::Frozen { .. } | assign::Event::DeviceFault { .. });
        self.inner.event(function, event);
        let Some(view) = self.view.get().and_then(Weak::upgrade).filter(|_| is_error) else { return };
        if let Some(zdev) = view.zdev() {
            zdev.report_error_of(&view, ErrorCode::ERROR);
        }
    }
}

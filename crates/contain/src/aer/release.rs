//! Giving a port that has contained an error its link back (AER-08).
//!
//! PCIe 6.0 s6.2.11 *Downstream Port Containment (DPC)*: software waits until the link is seen to be down, and until the root port
//! is no longer busy with what was in flight; then it clears the trigger, and the link trains again. Waiting for the devices below
//! is the business of whoever resets.

use gate::Gone;
use pci_spec::extended::dpc::Status;
use std::time::Duration;

/// Between two looks at the port.
pub const RELEASE_POLL: Duration = Duration::from_millis(10);

/// A port that has contained an error, as whoever releases it reaches it.
pub trait ContainedPort {
    /// Its DPC Status register; `None` if the port does not answer.
    fn status(&mut self) -> Option<Status>;

    /// Whether it shows that its link is up; `None` if it does not show that, and there is nothing to wait for.
    fn link_is_active(&mut self) -> Option<bool>;

    /// Clears [`Status::TRIGGERED`] and [`Status::INTERRUPT`] by writing ones.
    fn clear_trigger(&mut self);

    /// Lets time pass; what is below is kept out meanwhile.
    ///
    /// # Errors
    /// [`Gone`]: the port was removed.
    fn pass(&mut self, time: Duration) -> Result<(), Gone>;
}

/// What came of releasing a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It is released; its link comes up.
    Done {
        /// The link was never seen to be down. Software goes on all the same: the port may just not show it.
        link_stayed_active: bool,
    },
    /// It contains nothing: there was no reset of its link.
    NotTriggered,
    /// Its root port stayed busy: it stays contained, and everything below is lost (*disconnect*).
    RootPortBusy,
    /// The port does not answer, or was removed.
    Lost,
}

impl Released {
    /// Whether what is below can be reached again, once it is ready.
    #[must_use]
    pub const fn is_released(self) -> bool {
        matches!(self, Released::Done { .. })
    }
}

/// Releases a port. Takes at most the two times, in steps of [`RELEASE_POLL`].
pub fn release(port: &mut dyn ContainedPort, link_inactive: Duration, root_port_busy: Duration) -> Released {
    match port.status() {
        None => return Released::Lost,
        Some(status) if !status.contains(Status::TRIGGERED) => return Released::NotTriggered,
        Some(_) => {}
    }
    let inactive = wait(port, link_inactive, |port| Some(port.link_is_active() != Some(true)));
    let Some(inactive) = inactive else { return Released::Lost };
    let idle = wait(port, root_port_busy, |port| {
        port.status().map(|status| !status.contains(Status::ROOT_PORT_BUSY))
    });
    match idle {
        None => Released::Lost,
        Some(false) => Released::RootPortBusy,
        Some(true) => {
            port.clear_trigger();
            Released::Done { link_stayed_active: !inactive }
        }
    }
}

/// Looks until it is so, for at most `limit`; `None` if the port is lost.
fn wait(
    port: &mut dyn ContainedPort,
    limit: Duration,
    is_so: impl Fn(&mut dyn ContainedPort) -> Option<bool>,
) -> Option<bool> {
    let mut left = limit;
    loop {
        if is_so(port)? {
            return Some(true);
        }
        if left.is_zero() {
            return Some(false);
        }
        let step = left.min(RELEASE_POLL);
        port.pass(step).ok()?;
        left = left.saturating_sub(step);
    }
}

//! Releasing a port that contains an error (AER-08).

use contain::aer::{ContainedPort, Released, release};
use gate::Gone;
use pci_core::{ConfigSpace, Express, ExtendedCapability, Identity};
use pci_spec::ClassCode;
use pci_spec::capability::express::PortType;
use pci_spec::extended::dpc::{Reason, Status};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A port whose link goes down, and which stops being busy, at given times.
struct Port {
    config: ConfigSpace,
    elapsed: Duration,
    link_down_at: Duration,
    idle_at: Duration,
    removed_at: Duration,
    /// It shows whether its link is up.
    shows_link: bool,
}

fn port(triggered: bool) -> Port {
    let config = ConfigSpace::bridge_builder(Identity::new(0x1b36, 0x000c, ClassCode::PCI_BRIDGE))
        .capability(Express::port(PortType::RootPort))
        .extended_capability(ExtendedCapability::Dpc)
        .build()
        .expect("a root port");
    if triggered {
        config.trigger_containment(Reason::FatalMessage, 0x0100);
    }
    let never = Duration::MAX;
    let at_once = Duration::ZERO;
    Port {
        config,
        elapsed: at_once,
        link_down_at: at_once,
        idle_at: at_once,
        removed_at: never,
        shows_link: true,
    }
}

impl ContainedPort for Port {
    fn status(&mut self) -> Option<Status> {
        self.config.set_root_port_busy(self.elapsed < self.idle_at);
        self.config.port_containment().map(|port| port.status)
    }

    fn link_is_active(&mut self) -> Option<bool> {
        self.shows_link.then_some(self.elapsed < self.link_down_at)
    }

    fn clear_trigger(&mut self) {
        let status = 0x100 + 8;
        let _effects =
            self.config.write(status, &(Status::TRIGGERED | Status::INTERRUPT).bits().to_le_bytes());
    }

    fn pass(&mut self, time: Duration) -> Result<(), Gone> {
        self.elapsed += time;
        if self.elapsed >= self.removed_at { Err(Gone) } else { Ok(()) }
    }
}

impl Port {
    fn is_triggered(&self) -> bool {
        self.config.port_containment().is_some_and(|port| port.is_triggered())
    }
}

#[test]
fn a_port_is_released_when_its_link_is_down_and_its_root_port_idle_aer_08() {
    let mut port = port(true);
    (port.link_down_at, port.idle_at) = (Duration::from_millis(300), Duration::from_millis(700));
    let released = release(&mut port, SECOND, SECOND);
    assert_eq!(released, Released::Done { link_stayed_active: false });
    assert!(released.is_released() && !port.is_triggered());
    assert_eq!((port.elapsed, port.config.link_is_active()), (Duration::from_millis(700), Some(true)));
}

#[test]
fn a_link_that_is_not_seen_to_go_down_within_a_second_is_waited_for_no_longer_aer_08() {
    let mut port = port(true);
    port.link_down_at = Duration::MAX;
    assert_eq!(release(&mut port, SECOND, SECOND), Released::Done { link_stayed_active: true });
    assert_eq!(port.elapsed, SECOND);
}

#[test]
fn a_port_that_shows_no_link_is_not_waited_for() {
    let mut port = port(true);
    (port.shows_link, port.link_down_at) = (false, Duration::MAX);
    assert_eq!(release(&mut port, SECOND, SECOND), Released::Done { link_stayed_active: false });
    assert_eq!(port.elapsed, Duration::ZERO);
}

#[test]
fn a_root_port_that_is_busy_for_longer_than_a_second_stays_contained_aer_08() {
    let mut port = port(true);
    port.idle_at = Duration::from_millis(1001);
    assert_eq!(release(&mut port, SECOND, SECOND), Released::RootPortBusy);
    assert!(port.is_triggered(), "everything below is lost");
    assert_eq!(port.elapsed, SECOND);
}

#[test]
fn a_port_that_is_removed_meanwhile_ends_the_wait() {
    let mut port = port(true);
    (port.link_down_at, port.removed_at) = (Duration::MAX, Duration::from_millis(50));
    assert_eq!(release(&mut port, SECOND, SECOND), Released::Lost);
    assert_eq!(port.elapsed, Duration::from_millis(50));
}

#[test]
fn a_port_that_contains_nothing_has_reset_nothing() {
    let mut port = port(false);
    assert_eq!(release(&mut port, SECOND, SECOND), Released::NotTriggered);
}

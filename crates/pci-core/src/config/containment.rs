//! Downstream Port Containment: a port that takes its link down when something below has failed (AER-08).
//!
//! PCIe 6.0 s6.2.11 *Downstream Port Containment (DPC)*. The registers only: the port shows what it has done and why, and that
//! its link is down, until it is released. Keeping accesses away from what is below is the business of the gates there.
//!
//! Concurrency: as everywhere in the space no locks. Whoever triggers and whoever releases write the trigger first and the
//! link last, and who releases looks at the trigger again, so the link never stays up at a port that is triggered.

use super::{ConfigSpace, halves};
use pci_spec::capability::express::{self, port};
use pci_spec::extended::dpc::{self, Reason, Status, TriggerEnable};

/// What a port shows of its containment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortContainment {
    /// The status register without its numbers.
    pub status: Status,
    /// Why it was triggered last, if that is defined.
    pub reason: Option<Reason>,
    /// Routing ID of the sender of the message that triggered it.
    pub source: u16,
    /// On what it triggers.
    pub enable: TriggerEnable,
}

impl PortContainment {
    /// Whether it contains an error now.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.status.contains(Status::TRIGGERED)
    }
}

impl ConfigSpace {
    /// What the port shows of its containment; nothing for a function that has none.
    #[must_use]
    pub fn port_containment(&self) -> Option<PortContainment> {
        let at = self.layout.positions.dpc?;
        let (status, source) = halves(self.dword(status_dword(at)));
        Some(PortContainment {
            status: Status::from_bits_truncate(status),
            reason: Reason::decode(status),
            source,
            enable: TriggerEnable::decode(self.half(at + dpc::CONTROL)),
        })
    }

    /// Contains an error: the link goes down, and the port says why. `source` is the routing ID of who reported it, where a
    /// message did. True for who was first: a port that contains an error keeps the reason of that.
    pub fn trigger_containment(&self, reason: Reason, source: u16) -> bool {
        let Some(at) = self.layout.positions.dpc else { return false };
        let why = dpc::REASON_MASK | dpc::REASON_EXTENSION_MASK;
        let triggered = (Status::TRIGGERED | Status::INTERRUPT).bits() | reason.bits();
        let trigger = |old: u32| {
            let (status, _) = halves(old);
            if status & Status::TRIGGERED.bits() != 0 {
                return old;
            }
            u32::from(status & !why | triggered) | u32::from(source) << 16
        };
        let old = self.update(status_dword(at), trigger);
        self.show_link(false);
        old.is_some_and(|old| old & u32::from(Status::TRIGGERED.bits()) == 0)
    }

    /// Shows whether the root port is still busy with what was in flight; it is to be released only when it is not.
    pub fn set_root_port_busy(&self, busy: bool) {
        if let Some(at) = self.layout.positions.dpc {
            self.set_bits(status_dword(at), u32::from(Status::ROOT_PORT_BUSY.bits()), busy);
        }
    }

    /// Whether the port's link is up; `None` where nothing shows it.
    #[must_use]
    pub fn link_is_active(&self) -> Option<bool> {
        let at = self.link_status()?;
        Some(self.half(at) & port::LINK_ACTIVE != 0)
    }

    /// A write has cleared status bits of a port: released, its link comes up.
    pub(super) fn released(&self, old: u32, new: u32) {
        if old & !new & u32::from(Status::TRIGGERED.bits()) != 0 {
            self.show_link(true);
            self.contain_still();
        }
    }

    /// A port that contains an error has no link, whatever else has happened to its registers: the trigger survives a reset.
    pub(super) fn contain_still(&self) {
        if self.port_containment().is_some_and(|port| port.is_triggered()) {
            self.show_link(false);
        }
    }

    fn show_link(&self, up: bool) {
        if let Some(at) = self.link_status() {
            self.set_bits(usize::from(at / 4), u32::from(port::LINK_ACTIVE) << 16, up);
        }
    }

    /// Offset of the Link Status register of a port with a link below. It is the upper half of its dword.
    fn link_status(&self) -> Option<u16> {
        let at = self.layout.positions.express?;
        let leads_down = self.layout.port_type().is_some_and(express::PortType::is_downstream);
        leads_down.then_some(at + express::LINK_STATUS)
    }
}

fn status_dword(at: u16) -> usize {
    usize::from((at + dpc::STATUS) / 4)
}

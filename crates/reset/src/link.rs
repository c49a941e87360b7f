//! The link below a port: how fast, whether it is up, and training it again.

use crate::facts::Facts;
use crate::hold::Hold;
use gate::Gone;
use pci_spec::Bdf;
use pci_spec::capability::express::{self, LinkSpeed, PortType, port};
use power::ready::LinkKind;
use std::time::Duration;

/// Bit of Link Status: in training. PCIe 6.0 s7.5.3.8 *Link Status Register*.
const TRAINING: u16 = 1 << 11;
/// How long training again may take.
const TRAINING_LIMIT: Duration = Duration::from_secs(1);
/// Between two looks at the link.
const POLL: Duration = Duration::from_millis(1);

/// The link below a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    port: Bdf,
    express: u16,
    max_speed: u32,
    /// The port shows whether the link is active.
    pub(crate) reports: bool,
}

impl Link {
    /// The link below `port`; `None` for conventional PCI, and inside a switch.
    pub(crate) fn below(hold: &mut dyn Hold, port: Bdf, facts: &Facts) -> Option<Link> {
        let express = facts.express().filter(|_| facts.port_type.is_some_and(PortType::is_downstream))?;
        let capabilities = hold.read_dword(port, express + express::LINK_CAPABILITIES);
        let max_speed = capabilities & express::LINK_SPEED_MASK;
        Some(Link { port, express, max_speed, reports: capabilities & port::LINK_ACTIVE_REPORTING != 0 })
    }

    /// What to wait for on this link (PWR-08).
    pub(crate) fn kind(&self) -> LinkKind {
        if self.max_speed > LinkSpeed::Gen2 as u32 {
            LinkKind::Fast
        } else {
            LinkKind::Slow { reports_active: self.reports }
        }
    }

    /// Whether it is active now; a port that does not answer has no active link.
    pub(crate) fn is_active(&self, hold: &mut dyn Hold) -> bool {
        self.status(hold).is_some_and(|status| status & port::LINK_ACTIVE != 0)
    }

    /// Trains it again, for at most a second; true if it is up then. The removal of `whom` ends the wait.
    ///
    /// # Errors
    /// [`Gone`]: the function at `whom` was removed.
    pub(crate) fn retrain(&self, hold: &mut dyn Hold, whom: Bdf) -> Result<bool, Gone> {
        let control = self.express + express::LINK_CONTROL;
        let value = hold.read_word(self.port, control);
        hold.write_word(self.port, control, value | port::RETRAIN_LINK);
        let mut waited = Duration::ZERO;
        loop {
            let status = self.status(hold);
            if status.is_some_and(|status| status & (TRAINING | port::LINK_ACTIVE) == port::LINK_ACTIVE) {
                return Ok(true);
            }
            if waited >= TRAINING_LIMIT {
                return Ok(false);
            }
            hold.pass(whom, POLL)?;
            waited += POLL;
        }
    }

    fn status(&self, hold: &mut dyn Hold) -> Option<u16> {
        let status = hold.read_word(self.port, self.express + express::LINK_STATUS);
        Some(status).filter(|status| *status != u16::MAX)
    }
}

//! Registers of the controller, through messages.

use std::time::Duration;

use gate::{Deadline, ThreadToken};
use nvme_spec::register::{
    CAP, CC, CSTS, Capabilities, Configuration, ControllerStatus, TIMEOUT_UNIT_MS, VS,
};

use super::Attempt;
use crate::link::LinkError;
use crate::nvme::error::BringUpError;
use crate::nvme::wire::BAR0;

/// The first pause between two looks, and the longest.
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(10);

/// Pauses that grow: what is quick is seen quickly, and what takes long costs nothing.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        Self(SHORTEST)
    }

    pub(super) fn next(&mut self) -> Deadline {
        let this = self.0;
        self.0 = (this * 2).min(LONGEST);
        Deadline::after(this)
    }
}

impl Attempt<'_> {
    pub(super) fn read32(&self, token: &mut ThreadToken, offset: u64) -> Result<u32, LinkError> {
        let mut bytes = [0; 4];
        self.wire.read(token, BAR0, offset, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn write32(&self, token: &mut ThreadToken, offset: u64, value: u32) -> Result<(), LinkError> {
        self.wire.write(token, BAR0, offset, &value.to_le_bytes())
    }

    pub(super) fn write64(&self, token: &mut ThreadToken, offset: u64, value: u64) -> Result<(), LinkError> {
        self.wire.write(token, BAR0, offset, &value.to_le_bytes())
    }

    pub(super) fn configure(&self, token: &mut ThreadToken, cc: Configuration) -> Result<(), LinkError> {
        self.write32(token, CC, cc.0)
    }

    pub(super) fn version(&self, token: &mut ThreadToken) -> Result<u32, LinkError> {
        self.read32(token, VS)
    }

    /// Disables the controller and waits until it is. It may have been dead until then.
    pub(super) fn disable(&self, token: &mut ThreadToken) -> Result<Capabilities, BringUpError> {
        let mut bytes = [0; 8];
        self.wire.read(token, BAR0, CAP, &mut bytes)?;
        let capabilities = Capabilities(u64::from_le_bytes(bytes));
        if capabilities.0 == u64::MAX {
            return Err(BringUpError::Fatal(u32::MAX));
        }
        self.configure(token, Configuration::default())?;
        self.wait(token, capabilities, "become idle", |csts| !csts.rdy(), false)?;
        Ok(capabilities)
    }

    /// Waits until CSTS is as wanted, for as long as CAP.TO grants and the driver's limit permits.
    pub(super) fn wait_for(
        &self,
        token: &mut ThreadToken,
        capabilities: Capabilities,
        what: &'static str,
        reached: impl Fn(ControllerStatus) -> bool,
    ) -> Result<(), BringUpError> {
        self.wait(token, capabilities, what, reached, true)
    }

    fn wait(
        &self,
        token: &mut ThreadToken,
        capabilities: Capabilities,
        what: &'static str,
        reached: impl Fn(ControllerStatus) -> bool,
        must_live: bool,
    ) -> Result<(), BringUpError> {
        let granted = Duration::from_millis(u64::from(capabilities.to().max(1)) * TIMEOUT_UNIT_MS);
        let limit = granted.min(self.core.options.ready_limit);
        let end = Deadline::after(limit);
        let mut pauses = Pauses::new();
        loop {
            let csts = self.status(token, must_live)?;
            if reached(csts) {
                return Ok(());
            }
            if end.remaining().is_none() {
                let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                return Err(BringUpError::NotReady { what, limit_ms, csts: csts.0 });
            }
            self.core.pause(token, self.number, pauses.next())?;
        }
    }

    /// CSTS. All-ones is no status; a fatal one counts only where the controller `must_live`.
    pub(super) fn status(
        &self,
        token: &mut ThreadToken,
        must_live: bool,
    ) -> Result<ControllerStatus, BringUpError> {
        let csts = self.read32(token, CSTS)?;
        if csts == u32::MAX || must_live && ControllerStatus(csts).cfs() {
            return Err(BringUpError::Fatal(csts));
        }
        Ok(ControllerStatus(csts))
    }
}

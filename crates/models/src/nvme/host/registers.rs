//! Registers in BAR 0 and the configuration space, through messages.

use std::time::{Duration, Instant};

use gate::ThreadToken;
use nvme_spec::register::{CAP, CC, CSTS, Capabilities, Configuration, ControllerStatus};
use pci_spec::{ClassCode, Command, config};
use rustix::io::Errno;
use vfio_user::client::{Client, ClientError};

use super::DriverError;

/// Region number of BAR 0.
pub(super) const BAR0: u32 = 0;
/// Region number of the configuration space.
const CONFIG: u32 = 7;
/// Unit of CAP.TO.
const CAP_TO_MS: u64 = 500;

/// The registers of one controller.
pub(super) struct Registers {
    pub(super) client: Client,
    pub(super) capabilities: Capabilities,
}

impl Registers {
    /// Checks that this is an NVMe controller, and reads CAP. It does not reach memory yet.
    pub(super) fn open(token: &mut ThreadToken, mut client: Client) -> Result<Self, DriverError> {
        let mut class = [0; 4];
        client.region_read(token, CONFIG, u64::from(config::CLASS_CODE), &mut class[..3])?;
        let class = u32::from_le_bytes(class);
        if class != ClassCode::NVME.to_u24() {
            return Err(DriverError::NotNvme(class));
        }
        let mut registers = Self { client, capabilities: Capabilities::default() };
        registers.command(token, Command::empty())?;
        registers.capabilities = Capabilities(registers.read_u64(token, CAP)?);
        if registers.capabilities.0 == u64::MAX {
            return Err(DriverError::Fatal(u32::MAX));
        }
        Ok(registers)
    }

    /// Lets the controller reach memory.
    pub(super) fn master(&mut self, token: &mut ThreadToken) -> Result<(), ClientError> {
        self.command(token, Command::BUS_MASTER)
    }

    /// As [`Registers::open`] leaves it on the way out: no more memory for the device.
    pub(super) fn close(&mut self, token: &mut ThreadToken) -> Result<(), ClientError> {
        self.command(token, Command::empty())
    }

    fn command(&mut self, token: &mut ThreadToken, also: Command) -> Result<(), ClientError> {
        let command = Command::MEMORY_SPACE | Command::INTERRUPT_DISABLE | also;
        self.client.region_write(token, CONFIG, u64::from(config::COMMAND), &command.bits().to_le_bytes())
    }

    pub(super) fn read_u32(&mut self, token: &mut ThreadToken, offset: u64) -> Result<u32, ClientError> {
        let mut bytes = [0; 4];
        self.client.region_read(token, BAR0, offset, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn read_u64(&mut self, token: &mut ThreadToken, offset: u64) -> Result<u64, ClientError> {
        let mut bytes = [0; 8];
        self.client.region_read(token, BAR0, offset, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn write_u32(
        &mut self,
        token: &mut ThreadToken,
        offset: u64,
        value: u32,
    ) -> Result<(), ClientError> {
        self.client.region_write(token, BAR0, offset, &value.to_le_bytes())
    }

    pub(super) fn write_u64(
        &mut self,
        token: &mut ThreadToken,
        offset: u64,
        value: u64,
    ) -> Result<(), ClientError> {
        self.client.region_write(token, BAR0, offset, &value.to_le_bytes())
    }

    pub(super) fn configure(
        &mut self,
        token: &mut ThreadToken,
        cc: Configuration,
    ) -> Result<(), ClientError> {
        self.write_u32(token, CC, cc.0)
    }

    /// Reads CSTS and fails if it says that the controller is dead.
    pub(super) fn check(&mut self, token: &mut ThreadToken) -> Result<ControllerStatus, DriverError> {
        let csts = self.read_u32(token, CSTS)?;
        if csts == u32::MAX || ControllerStatus(csts).cfs() {
            return Err(DriverError::Fatal(csts));
        }
        Ok(ControllerStatus(csts))
    }

    /// As [`Registers::check`], of a controller that was enabled and is to be so still.
    pub(super) fn check_running(&mut self, token: &mut ThreadToken) -> Result<(), DriverError> {
        match self.check(token) {
            Ok(csts) if csts.rdy() => Ok(()),
            Ok(csts) => Err(DriverError::WasReset(csts.0)),
            Err(DriverError::Client(ClientError::Refused { errno: Errno::IO, .. })) => {
                Err(DriverError::NotDecoded)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads CSTS until `reached` or until the time that CAP.TO grants is over.
    pub(super) fn wait_for(
        &mut self,
        token: &mut ThreadToken,
        what: &'static str,
        reached: impl Fn(ControllerStatus) -> bool,
    ) -> Result<(), DriverError> {
        self.wait(token, what, |registers, token| registers.check(token), reached)
    }

    /// As [`Registers::wait_for`], for a controller that was disabled: it may have been dead until then.
    pub(super) fn wait_until_idle(&mut self, token: &mut ThreadToken) -> Result<(), DriverError> {
        let look = |registers: &mut Self, token: &mut ThreadToken| match registers.check(token) {
            Err(DriverError::Fatal(csts)) if csts != u32::MAX => Ok(ControllerStatus(csts)),
            csts => csts,
        };
        self.wait(token, "become idle", look, |csts| !csts.rdy() && !csts.cfs())
    }

    fn wait(
        &mut self,
        token: &mut ThreadToken,
        what: &'static str,
        look: impl Fn(&mut Self, &mut ThreadToken) -> Result<ControllerStatus, DriverError>,
        reached: impl Fn(ControllerStatus) -> bool,
    ) -> Result<(), DriverError> {
        let limit_ms = u64::from(self.capabilities.to().max(1)) * CAP_TO_MS;
        let end = Instant::now() + Duration::from_millis(limit_ms);
        loop {
            let csts = look(self, token)?;
            if reached(csts) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(DriverError::NotReady { what, limit_ms, csts: csts.0 });
            }
            // Each round is a message and its reply, so this does not spin.
        }
    }
}

//! Waiting for the requests that a function has sent and not got an answer to, before it is reset (CFG-17).

use super::Function;
use crate::access::{ConfigStatus, Width};
use crate::time::Time;
use gate::{Closed, Gone, Quiesced, ThreadToken};
use pci_spec::capability::express::{self, DeviceStatus};
use std::time::Duration;

/// How long to wait before the second, third and fourth look.
pub const PENDING_POLLS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

impl Function {
    /// Waits until Device Status shows no pending transactions: four looks, 100, 200 and 400 ms apart (CFG-17). Gives
    /// the gate back with whether none is pending; a caller that resets warns if some are, and goes on.
    ///
    /// A function that is not PCI Express, or that does not answer, has none.
    ///
    /// # Errors
    /// [`Gone`]: the function was removed meanwhile.
    pub fn wait_for_pending(
        &self,
        closed: Closed,
        token: &mut ThreadToken,
        time: &dyn Time,
    ) -> Result<(Closed, bool), Gone> {
        self.wait_until_idle(closed, token, time, |quiesced| {
            let status = self.express_read(quiesced, express::DEVICE_STATUS, Width::Word)?;
            let pending = u32::from(DeviceStatus::TRANSACTIONS_PENDING.bits());
            Ok(status != Width::Word.all_ones() && status & pending != 0)
        })
    }

    /// As [`Function::wait_for_pending`], with another way to look: the Advanced Features capability has a bit of its
    /// own. A look that fails counts as idle: there is nothing to wait for.
    ///
    /// # Errors
    /// [`Gone`]: the function was removed meanwhile.
    pub fn wait_until_idle(
        &self,
        mut closed: Closed,
        token: &mut ThreadToken,
        time: &dyn Time,
        is_pending: impl Fn(&Quiesced<'_>) -> Result<bool, ConfigStatus>,
    ) -> Result<(Closed, bool), Gone> {
        for delay in PENDING_POLLS.map(Some).into_iter().chain([None]) {
            let quiesced = closed.resume(token)?;
            let idle = !is_pending(&quiesced).unwrap_or(false);
            closed = quiesced.park();
            match delay {
                Some(delay) if !idle => time.pass(token, &closed, delay)?,
                _ => return Ok((closed, idle)),
            }
        }
        Ok((closed, false))
    }
}

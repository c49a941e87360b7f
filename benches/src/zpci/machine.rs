//! A machine with one endpoint-test function, configured and with its memory decoded.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use assign::Assignment;
use gate::{Deadline, ThreadToken};
use models::endpoint;
use zpci::region::IoRegion;
use zpci::{Description, Fid, Handle, Settings, Uid, View, Zpci};

/// Longest block of the function, in bytes.
pub(super) const MAX_STORE: u16 = 128;

/// COMMAND, and memory decoding with bus mastering in it.
const COMMAND: u16 = 0x04;
const DECODING: [u8; 2] = [0x06, 0];

/// The machine.
pub(super) struct Machine {
    pub(super) zpci: Arc<Zpci>,
    pub(super) assignment: Arc<Assignment>,
    pub(super) handle: Handle,
}

impl Machine {
    /// Builds it, with the function's I/O region beside its BARs.
    ///
    /// # Errors
    /// The function cannot be built or brought in.
    pub(super) fn new(token: &mut ThreadToken) -> Result<Machine, Box<dyn Error>> {
        let zpci = Zpci::new(Settings::default());
        let zdev = zpci.add(Fid(1), Uid(1), Description::default())?;
        zdev.card(true);
        let assignment = endpoint::build("bench", &endpoint::Config::default(), Arc::new(()))?;
        let view = View::new(&zdev, &assignment, MAX_STORE);
        assignment.add_region(IoRegion::new(view.clone()))?;
        let handle = zdev.bring_in(token, view);
        assignment.function().write_config(token, COMMAND, &DECODING, soon())?;
        Ok(Machine { zpci, assignment, handle })
    }
}

/// Longer than anything takes.
pub(super) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

//! A driver for the ISM-like function in this process.
//!
//! It is a [`slot::Driver`]: a slot offers it the functions that are plugged, and [`Driver`] finds the s390 view of each and drives
//! it as an s390 would, by instructions with its function handle. Those who use the functions are [`Users`]; each function is
//! an [`Interface`] to them, with [`Buffer`]s that peers move into and [`Channel`]s to those of peers.
//!
//! # A function that is to go
//! Asked to let go, the driver takes no new uses, tells the users, and lets go with the last [`Buffer`] and [`Channel`] that
//! is given back. Everything works until then: giving back is block stores and loads. It may stay after all ([`Users::kept`]). A
//! function that is taken away answers everything with an error from then on.
//!
//! # A function that was recovered
//! Its handle is another one, and what was registered is lost. Everything ends with
//! [`Fault::InvalidHandle`](zpci::Fault::InvalidHandle) until a user calls [`Interface::restart`]. Channels belong to the handle
//! that they were opened with, so old ones never take the channels of later ones; users give them back, and old buffers too.
//!
//! What it does **not** do: it has no thread. Who waits for signals polls [`Interface::event`].
//!
//! # Concurrency
//! Any number of threads may use an interface. Nothing is locked: commands are claimed by one atomic, and a command that finds
//! another one under way is refused ([`HostError::CommandUnderWay`]). Every call to the device may wait at its gate, up to
//! [`TIMEOUT`], and takes the token.

mod bound;
mod bring_up;
mod buffer;
mod channel;
mod commands;
mod error;
mod interface;
mod uses;

use std::sync::Arc;
use std::time::Duration;

use gate::ThreadToken;
use pci_core::Function;
use slot::{Binding, Bound, ProbeError};
use zpci::Zpci;

pub use buffer::Buffer;
pub use channel::Channel;
pub use error::HostError;
pub use interface::Interface;

use super::pci::{DEVICE, VENDOR};
use bound::AtWork;

/// How long one call to the device may wait for it.
pub const TIMEOUT: Duration = Duration::from_secs(4);

/// Who uses the functions of a [`Driver`]. Called on the thread that drives the slot, with nothing held; a call that takes long
/// holds the slot up.
pub trait Users: Send + Sync {
    /// A function has come.
    fn came(&self, token: &mut ThreadToken, interface: &Arc<Interface>);

    /// It is to go, and this is the `nth` time that the driver is asked; everything works still. Give back what is in use, now or
    /// soon.
    fn asked(&self, token: &mut ThreadToken, interface: &Arc<Interface>, nth: u32);

    /// It stays after all.
    fn kept(&self, token: &mut ThreadToken, interface: &Arc<Interface>) {
        let _ = (token, interface);
    }

    /// It has gone, or the driver has to end. What is still in use of it ends with errors.
    fn went(&self, token: &mut ThreadToken, interface: &Arc<Interface>);
}

/// The driver of all ISM-like functions of a machine.
pub struct Driver {
    zpci: Arc<Zpci>,
    users: Arc<dyn Users>,
}

impl Driver {
    /// For the functions of the machine `zpci`.
    #[must_use]
    pub fn new(zpci: Arc<Zpci>, users: Arc<dyn Users>) -> Arc<Driver> {
        Arc::new(Driver { zpci, users })
    }
}

impl slot::Driver for Driver {
    fn name(&self) -> &str {
        "ism"
    }

    fn matches(&self, function: &Function) -> bool {
        let mut identity = [0; 4];
        function.config().read(0, &mut identity);
        u32::from_le_bytes(identity) == u32::from(VENDOR) | u32::from(DEVICE) << 16
    }

    fn probe(&self, token: &mut ThreadToken, function: &Arc<Binding>) -> Result<Box<dyn Bound>, ProbeError> {
        let view = self.zpci.by_function(function.function().function()).ok_or(ProbeError::NotMine)?;
        let interface = bring_up::interface(token, Arc::clone(&self.zpci), view, Arc::clone(function))
            .map_err(|error| ProbeError::Failed(error.to_string()))?;
        self.users.came(token, &interface);
        Ok(Box::new(AtWork::new(interface, Arc::clone(&self.users))))
    }
}

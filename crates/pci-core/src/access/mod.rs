//! One access to configuration space: where, how wide, how it fails; and configuration space as users name and open it.

mod address;
mod errno;
mod file;
mod presence;
mod register;
mod register_names;
mod status;
mod walk;
mod width;

pub use address::ConfigAddress;
pub use errno::Errno;
pub use file::{ConfigFile, KeepsAwake, Rights};
pub use presence::Presence;
pub use register::{LocateError, RegisterError, RegisterSpec};
pub use register_names::register_names;
pub use status::ConfigStatus;
pub use walk::{capabilities, extended_capabilities};
pub use width::Width;

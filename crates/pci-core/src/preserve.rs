//! The state of a device as bytes, so that it survives a reset.
//!
//! For whoever resets a function under a consumer that is not to notice: *quiesce, save, reset, restore, resume*. What
//! configuration space holds is not in it: that is saved and restored for every function alike.

use gate::Quiesced;
use thiserror::Error;

/// A device model whose state can be saved and restored.
pub trait Preserve: Send + Sync {
    /// The state, as a string of bytes that needs nothing else: another process of the same version may restore it.
    ///
    /// Nothing is in flight: the gate is drained, and long passes have ended too. The state stays as it is.
    ///
    /// # Errors
    /// [`PreserveError::NotNow`]: the state cannot be told.
    fn save(&self, quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError>;

    /// Brings the device to the state that was saved. Called right after a reset, with configuration space restored and
    /// the gate still closed. The bytes may come from anywhere, and are not trusted.
    ///
    /// # Errors
    /// [`PreserveError`]: the device is as after the reset.
    fn restore(&self, quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError>;
}

/// Why a device's state was not saved or not restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PreserveError {
    /// The device has no such thing.
    #[error("the device cannot save its state")]
    Unsupported,
    /// The state is of another version of the model.
    #[error("the state has version {found}; the device knows version {known}")]
    Version {
        /// What the state says.
        found: u32,
        /// What the device can restore.
        known: u32,
    },
    /// The state is of another kind of device, or of one that was made otherwise.
    #[error("the state is of another device: {0}")]
    OtherDevice(&'static str),
    /// The bytes are no state.
    #[error("the state is malformed: {0}")]
    Malformed(&'static str),
    /// The device is in no condition to do it.
    #[error("not possible now: {0}")]
    NotNow(&'static str),
    /// The device panicked over it.
    #[error("the device model has panicked")]
    DevicePanicked,
}

//! The device's state across a reset, and faults it is asked to have: foreign code, called through its function.

use super::Function;
use crate::fault::InjectError;
use crate::preserve::PreserveError;
use gate::{AccessKind, Quiesced, ThreadToken, Until};

impl Function {
    /// Saves the device's state: see [`Preserve::save`](crate::Preserve::save). Configuration space is not in it.
    ///
    /// # Errors
    /// [`PreserveError`]: there is none to keep, or the device could not tell it.
    pub fn save_device(&self, quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError> {
        self.assert_own(quiesced);
        let saved = self.call(quiesced, |device| Some(device.preserve()?.save(quiesced)));
        match saved {
            Ok(saved) => saved.unwrap_or(Err(PreserveError::Unsupported)),
            Err(_panicked) => Err(PreserveError::DevicePanicked),
        }
    }

    /// Restores it, right after a reset: see [`Preserve::restore`](crate::Preserve::restore).
    ///
    /// # Errors
    /// [`PreserveError`]: the device is as after the reset; [`PreserveError::DevicePanicked`]: in no state that anybody knows.
    pub fn restore_device(&self, quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError> {
        self.assert_own(quiesced);
        let restored = self.call(quiesced, |device| Some(device.preserve()?.restore(quiesced, state)));
        match restored {
            Ok(restored) => restored.unwrap_or(Err(PreserveError::Unsupported)),
            Err(_panicked) => Err(PreserveError::DevicePanicked),
        }
    }

    /// Makes the device have one of its faults ([`Device::faults`](crate::Device::faults)); waits to `until` while the
    /// function is blocked.
    ///
    /// # Errors
    /// [`InjectError`]; the device has no such fault, or not now.
    pub fn inject(&self, token: &mut ThreadToken, fault: &str, until: impl Until) -> Result<(), InjectError> {
        let pass = self.handle.enter(token, AccessKind::Bar, until)?;
        let injected = self.call(&pass, |device| device.inject(&pass, fault));
        drop(pass);
        injected.unwrap_or(Err(InjectError::DevicePanicked))
    }
}

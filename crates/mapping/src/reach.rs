//! Whether a region can be reached, and what a consumer meets when it cannot.

use std::time::Duration;

/// Whether software can reach a region at this moment: decoding is on and the function is awake (VF-18).
///
/// Asked under a pass, or under a leaf lock while the gate is open: it waits for nobody and takes no lock. The answer changes only with the gate closed for short passes, or is followed by such a close and
/// [`Mappings::zap`](crate::Mappings::zap) before the change counts as done (MM-I2, MM-I3).
pub trait Reach: Send + Sync {
    /// `region` is numbered as vfio numbers regions (VF-13).
    fn is_reachable(&self, region: u32) -> bool;
}

/// What a consumer's access meets while its region cannot be reached, though the function is neither frozen nor gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisabled {
    /// It fails: [`MappingError::Disabled`](crate::MappingError::Disabled), SIGBUS for a raw pointer (VF-20, MM-I5).
    #[default]
    Fail,
    /// It waits until the region can be reached, at most this long; then it fails.
    Wait(Duration),
}

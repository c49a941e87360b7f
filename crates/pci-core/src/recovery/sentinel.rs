//! Who is told of signs of failure.

use super::sign::ErrorSign;
use gate::ThreadToken;

/// Hears of signs that a function has failed.
pub trait Sentinel: Send + Sync {
    /// A sign was noticed. Called in any context: under a pass or a proof, under locks, as often as a consumer likes. So it
    /// takes no lock, allocates nothing, waits for nobody, and touches no gate (EEH-I3).
    fn noticed(&self, token: &ThreadToken, sign: ErrorSign);
}

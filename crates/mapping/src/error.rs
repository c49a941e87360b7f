//! Why something was not mapped, and why a mapped access failed.

use thiserror::Error;

/// Why an access through a [`Mapping`](crate::Mapping) failed. A caller that wants a value in any case uses all-ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MappingError {
    /// It does not lie inside the mapping.
    #[error("the access is outside the mapping")]
    OutOfRange,
    /// It is not aligned to its size.
    #[error("the access is not aligned to its size")]
    Misaligned,
    /// Decoding is off, or the function sleeps (VF-17, VF-20).
    #[error("the region is disabled")]
    Disabled,
    /// The function stayed closed, or disabled, for longer than the access may wait.
    #[error("the region could not be reached in time")]
    TimedOut,
    /// The system has no memory for the page. The next access tries again.
    #[error("there is no memory for the page")]
    NoMemory,
    /// The function is frozen, or was during the access; reads give all-ones.
    #[error("the function is frozen")]
    Frozen,
    /// The function is gone; reads give all-ones.
    #[error("the function is gone")]
    Gone,
}

/// Why something was not mapped. Nothing has changed (MM-I4).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MapError {
    /// Not aligned to pages, empty, or not inside one area (VF-19).
    #[error("the range is not part of one area that may be mapped")]
    Range,
    /// The function is gone.
    #[error("the function is gone")]
    Gone,
    /// A limit of [`MappingLimits`](crate::MappingLimits).
    #[error("no more than {limit} {what} may be mapped of one function")]
    Limit {
        /// Of what: "mappings", "bytes", "bytes by another process".
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The system refused.
    #[error("the system refused to map it: {0}")]
    System(#[from] std::io::Error),
}

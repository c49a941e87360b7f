//! Why a configuration space cannot be built.

use super::BarIndex;
use thiserror::Error;

/// Why a configuration space cannot be built as described: a mistake in the device model, never in what a guest does.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The window's size is no power of two, or out of the range of its kind.
    #[error(
        "{index}: a window of {size:#x} bytes cannot be decoded; use a power of two that its kind allows"
    )]
    BarSize {
        /// The BAR or the ROM.
        index: BarIndex,
        /// The size asked for, in bytes.
        size: u64,
    },
    /// The BAR does not exist, or it is 64-bit and there is no next one.
    #[error("{0}: there is no such register, or none after it for the upper half")]
    BarPosition(BarIndex),
    /// Two windows use the same register.
    #[error("{0} is used twice; a 64-bit BAR also takes the register after it")]
    BarTwice(BarIndex),
    /// The same capability was added twice.
    #[error("{0} is there twice")]
    DuplicateCapability(&'static str),
    /// The offset is not a multiple of 4 between the header and the end of the space.
    #[error("{name} does not fit at {offset:#x}")]
    CapabilityOffset {
        /// The capability.
        name: &'static str,
        /// Where it was to stand, in bytes.
        offset: u16,
    },
    /// Two capabilities share bytes.
    #[error("{name} at {offset:#x} overlaps another capability")]
    Overlap {
        /// The capability that came second.
        name: &'static str,
        /// Where it was to stand, in bytes.
        offset: u16,
    },
    /// Nothing is left between the header and the end of the space.
    #[error("no room is left for {0}")]
    NoRoom(&'static str),
    /// Extended capabilities exist only in PCI Express functions.
    #[error("{0} needs the PCI Express capability")]
    NeedsExpress(&'static str),
    /// MSI vectors are not 1, 2, 4, 8, 16 or 32.
    #[error("{0} MSI vectors; use 1, 2, 4, 8, 16 or 32")]
    MsiVectors(u16),
    /// MSI-X vectors are not 1 to 2048.
    #[error("{0} MSI-X vectors; use 1 to 2048")]
    MsixVectors(u16),
    /// The MSI-X table or pending bits do not lie in a memory BAR, or not at a multiple of 8.
    #[error("the MSI-X {0} does not lie within a memory BAR at a multiple of 8 bytes")]
    MsixPlace(&'static str),
    /// The MSI-X table and pending bits share bytes.
    #[error("the MSI-X table and pending bits overlap")]
    MsixOverlap,
    /// A field of the capability does not fit its register.
    #[error("{name}: {what}")]
    Field {
        /// The capability.
        name: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

//! Hot reset: a consumer resets a whole bus or slot, if everything on it is its own (VF-41 to VF-43).
//!
//! Who owns what is the assignment's to say ([`Ownership`]); the rules are here. [`check`] is pure.

use crate::bus::Reach;
use crate::error::Error;
use crate::resets::{Done, Resets};
use crate::shut::Patience;
use gate::{Deadline, ThreadToken};
use pci_core::Errno;
use pci_spec::Bdf;
use thiserror::Error;
use topology::Snapshot;

/// How a consumer knows a function: what HOT_RESET_INFO shows for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dependent {
    /// Number of its IOMMU group.
    Group(u32),
    /// Its device ID in the consumer's own numbering: positive if the consumer owns it, 0 if nobody need own it, -1
    /// if it is somebody else's.
    Device(i32),
}

/// Who owns which function.
pub trait Ownership {
    /// How the consumer knows the function; `None` if it belongs to no IOMMU group (`EPERM`).
    fn dependent(&self, at: Bdf) -> Option<Dependent>;

    /// Whether the consumer owns the function, or nobody else can.
    fn owns(&self, at: Bdf) -> bool;
}

/// A function that a hot reset hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affected {
    /// Where it is.
    pub at: Bdf,
    /// How the consumer knows it.
    pub dependent: Dependent,
}

/// What the consumer shows to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    /// The groups that it has opened, for a device opened through its group.
    Groups(&'a [u32]),
    /// What it owns, for a device opened by itself.
    Owned,
}

/// How the consumer has opened the function that it asks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Through its group.
    ByGroup,
    /// By itself.
    BySelf,
}

/// Why a hot reset was refused; nothing was changed.
#[derive(Clone, Debug, Error)]
pub enum HotResetError {
    /// More functions are hit than the consumer has room for.
    #[error("{count} functions are hit, which is more than there is room for")]
    NoRoom {
        /// How many functions are hit.
        count: usize,
    },
    /// The function is below no bridge whose slot or bus can be reset.
    #[error("there is no slot and no bus to reset")]
    NoReset,
    /// A function that is hit belongs to no group.
    #[error("{at} belongs to no IOMMU group")]
    NoGroup {
        /// Which one.
        at: Bdf,
    },
    /// The claim is of the wrong kind for how the function was opened, or names more groups than are hit.
    #[error("the claim does not fit the way in which the function was opened")]
    WrongClaim,
    /// A function that is hit is not the consumer's.
    #[error("{at} would be reset and is not the caller's")]
    NotOwned {
        /// Which one.
        at: Bdf,
    },
    /// A function that is hit is in use.
    #[error("{function} is in use")]
    InUse {
        /// Which one.
        function: String,
    },
    /// The reset itself.
    #[error(transparent)]
    Reset(#[from] Error),
}

impl HotResetError {
    /// What the consumer is told.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            HotResetError::NoRoom { .. } => Errno::ENOSPC,
            HotResetError::NoReset => Errno::ENODEV,
            HotResetError::NoGroup { .. } => Errno::EPERM,
            HotResetError::WrongClaim | HotResetError::NotOwned { .. } => Errno::EINVAL,
            HotResetError::InUse { .. } => Errno::EBUSY,
            HotResetError::Reset(error) => error.errno(),
        }
    }
}

impl Resets {
    /// The functions that a hot reset through the one at `at` hits: all that are below the bridge above it (VF-41).
    ///
    /// # Errors
    /// [`HotResetError`]; [`HotResetError::NoRoom`] if they are more than `room`.
    pub fn hot_reset_info(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        owner: &dyn Ownership,
        room: usize,
        deadline: Deadline,
    ) -> Result<Vec<Affected>, HotResetError> {
        let reach = self.hot_reach(token, snapshot, at, Patience::Until(deadline))?;
        if reach.below.len() > room {
            return Err(HotResetError::NoRoom { count: reach.below.len() });
        }
        affected(&reach, owner)
    }

    /// Resets everything that [`Resets::hot_reset_info`] lists, if the claim covers all of it (VF-42). Waits for
    /// nobody (VF-43).
    ///
    /// # Errors
    /// [`HotResetError`]; refused for contention, everything is as it was.
    pub fn hot_reset(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        owner: &dyn Ownership,
        opened: Opened,
        claim: Claim<'_>,
    ) -> Result<Done, HotResetError> {
        let reach = self.hot_reach(token, snapshot, at, Patience::None)?;
        check(&affected(&reach, owner)?, owner, opened, claim)?;
        self.power_on_all(token, snapshot, reach.bridge.address, Patience::None)?;
        self.reset_reach(token, snapshot, &reach, Patience::None).map_err(|error| match error {
            Error::Busy { function, in_use: true } => HotResetError::InUse { function },
            Error::NotResettable => HotResetError::Reset(Error::NoMethod),
            error => HotResetError::Reset(error),
        })
    }

    fn hot_reach(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        patience: Patience,
    ) -> Result<Reach, HotResetError> {
        snapshot.function(at).ok_or(Error::NotThere)?;
        let bridge = snapshot.parent(at).ok_or(HotResetError::NoReset)?.address;
        self.reach(token, snapshot, bridge, patience).map_err(|error| match error {
            Error::NotResettable => HotResetError::NoReset,
            error => HotResetError::Reset(error),
        })
    }
}

fn affected(reach: &Reach, owner: &dyn Ownership) -> Result<Vec<Affected>, HotResetError> {
    let dependent = |at| owner.dependent(at).ok_or(HotResetError::NoGroup { at });
    reach
        .below
        .iter()
        .map(|node| Ok(Affected { at: node.address, dependent: dependent(node.address)? }))
        .collect()
}

/// Whether a consumer may reset all of `affected` (VF-42).
///
/// # Errors
/// [`HotResetError::WrongClaim`] or [`HotResetError::NotOwned`]: `EINVAL`.
pub fn check(
    affected: &[Affected],
    owner: &dyn Ownership,
    opened: Opened,
    claim: Claim<'_>,
) -> Result<(), HotResetError> {
    let covers: &dyn Fn(&Affected) -> bool = match (opened, claim) {
        (Opened::ByGroup, Claim::Groups(groups)) if !groups.is_empty() && groups.len() <= affected.len() => {
            &|affected| matches!(affected.dependent, Dependent::Group(group) if groups.contains(&group))
        }
        (Opened::BySelf, Claim::Owned) => &|affected| owner.owns(affected.at),
        _ => return Err(HotResetError::WrongClaim),
    };
    match affected.iter().find(|affected| !covers(affected)) {
        Some(Affected { at, .. }) => Err(HotResetError::NotOwned { at: *at }),
        None => Ok(()),
    }
}

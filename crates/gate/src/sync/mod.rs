//! The synchronisation primitives of this crate, from one place: parking_lot and std normally, loom's under `cfg(loom)`.
//!
//! Only what the gate needs is here. Waiting takes `&mut ThreadToken` in every form, so a wait with a pass held does not
//! compile inside this crate either.
//!
//! Under loom a deadline that is still ahead never fires (loom has no clock); one that has passed is seen before the wait.

#[cfg(not(loom))]
mod native;
#[cfg(not(loom))]
pub(crate) use native::*;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub(crate) use model::*;

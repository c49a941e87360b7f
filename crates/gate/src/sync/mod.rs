//! The synchronisation primitives of this crate, from one place: parking_lot and std normally, the checker's under
//! `cfg(loom)` and `cfg(shuttle)`.
//!
//! Only what the gate needs is here. Waiting takes `&mut ThreadToken` in every form, so a wait with a pass held does not
//! compile inside this crate either.
//!
//! Under a checker a deadline that is still ahead never fires (neither has a clock); one that has passed is seen before
//! the wait. What lives as long as the process normally lives as long as one schedule there: a static with a value that a
//! schedule changes is declared with [`process_static`], a thread-local with the `thread_local` of this module.

#[cfg(not(any(loom, shuttle)))]
mod native;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use native::*;

#[cfg(any(loom, shuttle))]
mod model;
#[cfg(any(loom, shuttle))]
pub(crate) use model::*;

#[cfg(not(loom))]
mod cell;

/// A static of the process, and under a checker of the schedule: `process_static! { static NAME: Type = value; }`.
/// The value is a constant expression. Under a checker the name is not a place but dereferences to one.
macro_rules! process_static {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;) => {
        #[cfg(not(any(loom, shuttle)))]
        $(#[$attribute])*
        static $name: $type = $value;
        #[cfg(any(loom, shuttle))]
        $crate::sync::lazy_static! {
            $(#[$attribute])*
            static ref $name: $type = $value;
        }
    };
}
pub(crate) use process_static;

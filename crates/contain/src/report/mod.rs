//! What a recovery tells of itself: how it goes, how it ended, and what user space hears.
//!
//! Words only; who prints, counts or sends them is somebody else.

mod notice;
mod outcome;
mod uevent;

pub use notice::{Log, Notice, Path};
pub use outcome::{Doom, Outcome};
pub use uevent::Uevent;

//! An NVMe controller whose back end may die: commands go through shadow queues that this side owns, and survive.
//!
//! [`Driver`] implements [`models::nvme::elsewhere::Elsewhere`]: the front, which is a controller of our own, submits the guest's
//! commands verbatim, with tags for identifiers. They are copied into submission queues in memory of this process, which the back
//! end is given at addresses that the guest cannot use; data goes between the guest's memory and the back end, and is not touched
//! here. Parts:
//!
//! * [`journal`]: which commands are under way, and what becomes of them when the back end dies; pure;
//! * [`policy`]: what may be executed a second time; pure;
//! * [`features`]: what the guest has set; pure. [`identity`]: what the back end is, and how another one differs; pure;
//! * [`layout`] and [`rings`]: the shadow queues, whose completions are hostile; new memory for each back end;
//! * [`wire`]: the connection, as a trait;
//! * `bring_up`: from a connection to a controller that takes commands; `core`: what the threads share; `driver`: the rest.
//!
//! What it does **not** do: it does not connect, decide when to try again, or find out whether an old back end is over; and it
//! holds no guest memory and looks into no data.
//!
//! # Exactly once
//! A command is answered by the completion of the back end that it was last given to, or by an error that says not to try it
//! again, once ([`journal`]). It is given to another back end only after whoever calls [`Driver::bring_up`] knows that the old one
//! is over, its controller was disabled, and what it had completed was taken.
//!
//! # Concurrency
//! See `core`. One lock, of rank 104, a leaf.

mod bring_up;
mod core;
mod driver;
pub mod error;
pub mod features;
pub mod identity;
pub mod journal;
pub mod layout;
pub mod policy;
pub mod rings;
pub mod wire;

use std::time::Duration;

pub use driver::Driver;
pub use error::BringUpError;
pub use identity::Difference;
pub use journal::Replayed;
pub use wire::Wire;

/// I/O submission queues that a guest may have: they share those at the back end.
pub const GUEST_QUEUES: u16 = 64;

/// How a driver uses back ends. The same for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// I/O queue pairs at the back end, 1 to 16; fewer if the first one has fewer.
    pub queues: u16,
    /// Commands in flight on each, 1 to 4,095; fewer if the controller's queues are shorter.
    pub depth: u16,
    /// Where the queues are for the back end; [`Driver::window`] says how much that is. Page aligned.
    pub iova: u64,
    /// How long a command of the bring-up may take.
    pub command_limit: Duration,
    /// How long the controller may take to become ready or idle, whatever it says itself.
    pub ready_limit: Duration,
}

impl Default for Options {
    /// 4 queues of 1,024 commands, far above any guest's memory.
    fn default() -> Self {
        Self {
            queues: 4,
            depth: 1024,
            iova: 0xff_0000_0000,
            command_limit: Duration::from_secs(5),
            ready_limit: Duration::from_secs(20),
        }
    }
}

//! The commands by which a guest learns of its functions and enables them: "call logical processor" (ZP-02, ZP-03).
//!
//! * [`Request`] and [`Answer`] are the commands and what they give; [`Request::decode`] reads one from a request block of a guest.
//! * [`Clp`] is who carries them out: the platform. [`Zpci`](crate::Zpci) is one.
//! * [`Host`] is who asks, as the kernel of a guest does: follows lists to their end, and asks again, a bounded number of times, when
//!   the platform is busy.
//!
//! What this module does **not** do: it encodes no answers, and knows no program calls of a guest's kernel.

mod answer;
mod host;
mod pause;
mod platform;
mod request;
mod response;
mod set_function;

pub use answer::{Answer, BarInfo, Entry, FunctionInfo, ListPage, Processor};
pub use host::{ClpError, Disabled, Host};
pub use pause::Retries;
pub use platform::Clp;
pub use request::{MAX_LIST_ENTRIES, Request, SetFunction};
pub use response::Code;

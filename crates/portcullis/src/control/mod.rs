//! The control socket: how the command line talks to the daemon.
//!
//! Requests and replies are JSON documents, one a line, on a UNIX socket of mode 0600. Replies come in the order of
//! the requests of their connection. [`protocol`] has the forms, [`report`] and [`stream`] what replies carry, [`server`]
//! and [`client`] the two ends.
//!
//! It does not know what a request means: that is [`server::Operator`], implemented by the daemon.
//!
//! Concurrency: one thread accepts, and each client has a thread of its own, so that a reset that waits for one
//! function's gate delays nobody else. Their number is bounded.

pub mod back_end;
pub mod client;
pub mod containment;
pub mod line;
pub mod protocol;
pub mod report;
pub mod server;
pub mod stream;
pub mod zpci;

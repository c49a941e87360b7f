//! Who is connected to a server, for its owner.

use std::time::Instant;

/// A client, for people and for whoever decides about the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The process that connected, as this one numbers it; nothing if the kernel did not say.
    pub pid: Option<i32>,
    /// When it was given the function.
    pub since: Instant,
}

/// What happened at a server's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Visit {
    /// A client has the function.
    Attached(ClientInfo),
    /// A client has the function no longer: it left, or the function was revoked or is gone. Nothing of what it brought is
    /// in use any more, but for orphans, which the function's own events tell of.
    Released(ClientInfo),
    /// The connection has ended: of a client, or of what was a tombstone since it was released.
    Left(ClientInfo),
}

/// Told of what happens at a server's door. Called with no lock and no pass held, from the client's session or whoever
/// revokes; calls for different clients may overtake each other. It must not wait for the server.
pub trait Visits: Send + Sync {
    /// It has happened.
    fn visit(&self, visit: Visit);
}

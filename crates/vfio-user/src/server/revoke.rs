//! Taking a function away from whoever has it.
//!
//! In this order: nobody gets a hold any more; the function is *gone* for every access, which ends those that wait; what
//! the client brought is cut off, if its session sleeps, or the session does that itself as soon as its request in hand
//! returns; and then what is still inside is waited for. So a client's memory is let go at once, and whoever hangs in the
//! device costs the deadline and is named.

use std::sync::Arc;
use std::time::Duration;

use assign::{Assignment, Attached};
use gate::{Deadline, ThreadToken};

use super::clients::ClientInfo;
use super::door::FunctionSeat;
use super::seat::Revocation;

/// What a revocation left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "what was still in use is to be reported"]
pub struct Revoked {
    /// Whose function it was. Its connection goes on as a tombstone.
    pub client: Option<ClientInfo>,
    /// What was still in use at the deadline, for people. Empty: nobody has anything of the function any more.
    pub orphans: Vec<String>,
}

/// Takes the function of a seat away. `client` is who has come for it.
pub(super) fn revoke(
    seat: &FunctionSeat,
    client: Option<ClientInfo>,
    token: &mut ThreadToken,
    deadline: Deadline,
) -> Revoked {
    let (function, hold) = match seat.revoke() {
        Revocation::Again => return Revoked::default(),
        Revocation::Vacant(function) | Revocation::InHand(function) => (function, None),
        Revocation::Taken(function, hold) => (function, Some(hold)),
    };
    let gate = function.function().gate();
    let handle = function.port().handle();
    // Gone from here on, without waiting for anybody.
    let _inside = gate.retire_epoch_of(handle, token, Deadline::after(Duration::ZERO));
    let mut orphans = Vec::new();
    if let Some(hold) = hold {
        cut_off(seat, hold, token, deadline, &mut orphans);
    }
    let retired = gate.retire_epoch_of(handle, token, deadline);
    orphans.extend(retired.orphans.iter().map(|orphan| format!("an access of {}: {orphan}", gate.name())));
    if !seat.wait_until_vacant(token, "revoke", deadline) {
        orphans.push(hanging(&function, client));
    }
    Revoked { client, orphans }
}

fn cut_off(
    seat: &FunctionSeat,
    hold: Attached,
    token: &mut ThreadToken,
    deadline: Deadline,
    orphans: &mut Vec<String>,
) {
    let left = hold.detach_by(token, deadline);
    seat.vacate();
    if left > 0 {
        orphans.push(format!("{left} mappings of the client's memory, by I/O in flight"));
    }
}

fn hanging(function: &Arc<Assignment>, client: Option<ClientInfo>) -> String {
    let name = function.function().name();
    let process = client.and_then(|client| client.pid);
    let process = process.map_or_else(String::new, |process| format!(" of process {process}"));
    format!("the vfio-user session{process}: its request to {name} has not returned")
}

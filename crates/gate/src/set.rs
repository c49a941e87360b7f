//! Closing several gates at once: all of them or none.
//!
//! For a reset or a power change that hits every function behind a bridge. The caller names the gates in any order;
//! duplicates are closed once.
//!
//! * [`close_all`] first takes its turn at every gate, one after the other oldest gate first, and refuses
//!   nobody meanwhile: all gates stay open while it waits for another closer. Then it closes all of them, passes one heavy
//!   barrier for all, and drains one after the other.
//! * Turns are the only thing that is held while waiting for another, and they are taken in one order, so closers of
//!   overlapping sets, and closers of one gate, never wait for each other in a circle.
//! * Any failure puts every gate back. When one gate is retired, a wait at any other ends too: whoever waits for several
//!   gates subscribes to all of them, and waits at one.
//! * [`try_close_all`] is one trial over all gates (see `trial`): there is one moment at which all of them close.

use crate::close::{Drain, Peer, take_turn};
use crate::ownership::Ownership;
use crate::{
    Busy, CloseError, Closed, Deadline, Gate, Gone, Quiesced, Reason, Subscription, ThreadToken, Wake,
    barrier, trial,
};
use std::sync::Arc;
use thiserror::Error;

/// Why the gates could not be closed by the deadline. All of them are as they were.
#[derive(Clone, Debug, Error)]
#[error("{}: {cause}", .gate.name())]
pub struct CloseAllError {
    /// The gate at which it failed.
    pub gate: Gate,
    /// What went wrong there.
    #[source]
    pub cause: CloseError,
}

/// Why the gates could not all be closed at once. Nothing was changed, and no access was refused.
#[derive(Clone, Debug, Error)]
#[error("{}: {cause}", .gate.name())]
pub struct TryCloseAllError {
    /// The gate at which it failed.
    pub gate: Gate,
    /// What was in the way.
    #[source]
    pub cause: Busy,
}

/// Closes all `gates`, waiting for closers ahead and for what is inside, up to one deadline for everything.
///
/// # Errors
/// [`CloseAllError`] names the gate that was gone, contended or not drained; all gates are as they were.
pub fn close_all<'t>(
    gates: &[Gate],
    token: &'t mut ThreadToken,
    reason: Reason,
    deadline: Deadline,
) -> Result<QuiescedSet<'t>, CloseAllError> {
    let peers = peers(gates);
    let failed = |nth: usize, cause: CloseError| {
        // A wait at one gate also ends when another is retired: name that one.
        let retired = || peers.iter().find(|peer| peer.is_gone());
        let peer = if matches!(cause, CloseError::Gone) { retired() } else { None };
        CloseAllError { gate: Gate::of(&peer.unwrap_or(&peers[nth]).shared), cause }
    };
    let _watch = watch(&peers);
    let mut turns = Turns { peers: &peers, tickets: Vec::new() };
    for nth in 0..peers.len() {
        turns.take(nth, token, reason, deadline).map_err(|cause| failed(nth, cause))?;
    }
    let mut owned = Vec::with_capacity(peers.len());
    for nth in 0..peers.len() {
        owned.push(turns.begin(nth, token, reason).map_err(|cause| failed(nth, cause))?);
    }
    barrier::heavy();
    for (nth, ownership) in owned.iter().enumerate() {
        ownership.drain(token, Drain::All, &peers, deadline).map_err(|cause| failed(nth, cause))?;
    }
    Ok(QuiescedSet::new(owned, token, reason))
}

/// Closes all `gates` if nothing is inside any of them and nobody waits for or owns one; never waits, so passes of other
/// gates may be held.
///
/// # Errors
/// [`TryCloseAllError`]; nothing was changed then, and no access was refused because of the attempt.
pub fn try_close_all<'t>(
    gates: &[Gate],
    token: &'t ThreadToken,
    reason: Reason,
) -> Result<QuiescedSet<'t>, TryCloseAllError> {
    let peers = peers(gates);
    let shared = peers.iter().map(|peer| &peer.shared);
    match trial::try_close(shared, token, reason) {
        Ok(owned) => Ok(QuiescedSet::new(owned, token, reason)),
        Err((nth, cause)) => Err(TryCloseAllError { gate: Gate::of(&peers[nth].shared), cause }),
    }
}

/// The gates of one close, in the order in which everybody takes turns.
fn peers(gates: &[Gate]) -> Arc<[Peer]> {
    let mut peers: Vec<Peer> = gates.iter().map(|gate| Peer::new(gate.shared())).collect();
    peers.sort_by_key(|peer| peer.shared.serial);
    peers.dedup_by_key(|peer| peer.shared.serial);
    peers.into()
}

/// Lets those who wait at any of several gates look again when one of them was retired.
struct Watch(Arc<[Peer]>);

impl Wake for Watch {
    fn wake(&self) {
        if self.0.iter().any(Peer::is_gone) {
            self.0.iter().for_each(|peer| peer.shared.rouse());
        }
    }
}

/// Watches all gates until the subscriptions are dropped. What was retired before is seen by the next look.
fn watch(peers: &Arc<[Peer]>) -> Vec<Subscription> {
    let watch: Arc<dyn Wake> = Arc::new(Watch(peers.clone()));
    peers.iter().map(|peer| Subscription::new(peer.shared.clone(), watch.clone())).collect()
}

/// The turns that a closer has at the first gates of a set, until it closes them.
struct Turns<'p> {
    peers: &'p [Peer],
    tickets: Vec<u64>,
}

impl Turns<'_> {
    fn take(
        &mut self,
        nth: usize,
        token: &mut ThreadToken,
        reason: Reason,
        deadline: Deadline,
    ) -> Result<(), CloseError> {
        let (mut core, ticket) = take_turn(&self.peers[nth].shared, token, reason, self.peers, deadline)?;
        core.turn = Some(ticket);
        self.tickets.push(ticket);
        Ok(())
    }

    /// Stops entries at a gate whose turn we have.
    fn begin(&self, nth: usize, token: &ThreadToken, reason: Reason) -> Result<Ownership, CloseError> {
        let shared = &self.peers[nth].shared;
        let mut core = shared.core.lock();
        // `retire` takes turns away.
        if !core.end_turn(self.tickets[nth]) {
            return Err(CloseError::Gone);
        }
        Ok(Ownership::begin(shared, core, token, reason))
    }
}

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        for (peer, ticket) in self.peers.iter().zip(&self.tickets) {
            let given_back = peer.shared.core.lock().end_turn(*ticket);
            if given_back {
                peer.shared.closers.notify_all();
            }
        }
    }
}

/// Proofs of several gates that were closed together. Dropping it puts all of them back.
#[must_use = "dropping the proofs reopens the gates at once"]
#[derive(Debug)]
pub struct QuiescedSet<'t> {
    proofs: Vec<Quiesced<'t>>,
    token: &'t ThreadToken,
}

impl<'t> QuiescedSet<'t> {
    fn new(owned: Vec<Ownership>, token: &'t ThreadToken, reason: Reason) -> QuiescedSet<'t> {
        let proofs = owned.into_iter().map(|ownership| Quiesced::new(ownership, token, reason)).collect();
        QuiescedSet { proofs, token }
    }

    /// The proof of `gate`, if it is in the set.
    pub fn proof(&self, gate: &Gate) -> Option<&Quiesced<'t>> {
        self.proofs.iter().find(|proof| gate.is_held_by(*proof))
    }

    /// The same, to replace what a cell of that gate holds.
    pub fn proof_mut(&mut self, gate: &Gate) -> Option<&mut Quiesced<'t>> {
        self.proofs.iter_mut().find(|proof| gate.is_held_by(&**proof))
    }

    /// All proofs, each gate's once.
    pub fn iter(&self) -> impl Iterator<Item = &Quiesced<'t>> {
        self.proofs.iter()
    }

    /// The thread's token, for `try_enter` and `try_close` of other gates.
    pub fn token(&self) -> &'t ThreadToken {
        self.token
    }

    /// Keeps the gates closed without proofs, so that this thread can wait for a delay of the hardware.
    pub fn park(self) -> ClosedSet {
        ClosedSet { gates: self.proofs.into_iter().map(Quiesced::park).collect() }
    }
}

impl<'t> IntoIterator for QuiescedSet<'t> {
    type Item = Quiesced<'t>;
    type IntoIter = std::vec::IntoIter<Quiesced<'t>>;

    /// The proofs one by one, for who reopens or thaws the gates one after the other.
    fn into_iter(self) -> Self::IntoIter {
        self.proofs.into_iter()
    }
}

/// Several closed gates without proofs. `Send`; dropping it puts all of them back.
#[must_use = "dropping it reopens the gates at once"]
#[derive(Debug)]
pub struct ClosedSet {
    gates: Vec<Closed>,
}

impl ClosedSet {
    /// Makes proofs again, on whatever thread this is. Waits for nothing.
    ///
    /// # Errors
    /// [`Gone`] if any gate was retired meanwhile; all are let go then. Who wants to go on with the others calls
    /// [`ClosedSet::forget_gone`] first.
    pub fn resume(self, token: &mut ThreadToken) -> Result<QuiescedSet<'_>, Gone> {
        token.assert_holds_nothing();
        let token = &*token;
        let proofs = self.gates.into_iter().map(|closed| closed.prove(token)).collect::<Result<_, Gone>>()?;
        Ok(QuiescedSet { proofs, token })
    }

    /// Lets time pass, up to the deadline; ends at once when any of the gates is retired. An empty set has no gate to wait
    /// at, and returns at once.
    ///
    /// # Errors
    /// [`Gone`] if any gate was retired.
    pub fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), Gone> {
        let Some(first) = self.gates.first() else { return Ok(()) };
        let peers: Arc<[Peer]> = self.gates.iter().map(Closed::peer).collect();
        let _watch = watch(&peers);
        first.wait_unless(token, deadline, || self.is_gone())
    }

    /// True once any of the gates was retired.
    pub fn is_gone(&self) -> bool {
        self.gates.iter().any(Closed::is_gone)
    }

    /// Lets go of the gates that were retired, and keeps the others closed. Says how many are left.
    pub fn forget_gone(&mut self) -> usize {
        self.gates.retain(|closed| !closed.is_gone());
        self.gates.len()
    }

    /// All gates of the set.
    pub fn iter(&self) -> impl Iterator<Item = &Closed> {
        self.gates.iter()
    }
}

/// One by one, for a closer that goes on with each by itself.
impl IntoIterator for ClosedSet {
    type Item = Closed;
    type IntoIter = std::vec::IntoIter<Closed>;

    fn into_iter(self) -> Self::IntoIter {
        self.gates.into_iter()
    }
}

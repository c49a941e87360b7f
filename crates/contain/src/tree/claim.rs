//! One recovery for each PE (EEH-I7).
//!
//! A recovery *claims* a PE with all that is below it. Who wants a PE that is claimed, itself or above, joins that recovery
//! instead of beginning one: the ancestor is handled in place of the child (EEH-07). Who wants a PE below which recoveries are
//! under way is *pending* until those have ended; nobody begins one below it any more, and who is pending further down joins.
//!
//! What a claim is to others is decided by the PEs above it. Those stay the same as long as it lasts: what a recovery has, and
//! what is above that, is not moved, nor put in again below another PE. A claim that meets a move under way is pending until
//! that is over.
//!
//! # Concurrency
//! Nobody waits here, and nothing is held: a claim is an entry in a list that is under a leaf lock, taken for one decision. Who
//! has a pending claim tries again when a recovery has ended.

use super::PeTree;
use crate::pe::{Held, Holder, Key, Pe, PeAddress};
use crate::plan::PeId;
use crate::ranks;
use gate::ThreadToken;
use gate::lock::Leaf;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// Why there is no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// Nothing is there, or not any more.
    #[error("there is no PE {0}")]
    NoPe(PeAddress),
}

/// Whose recovery it is.
#[derive(Debug)]
pub enum TryClaimed {
    /// The caller's.
    Mine(Claim),
    /// Somebody's, who has the PE or one above it.
    Joined(Joined),
    /// The caller's, as soon as what is under way has ended.
    Below(PendingClaim),
}

/// The right to recover a PE and all that is below it, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it lets others recover the PE"]
pub struct Claim {
    pe: Held,
    _listed: Listed,
}

impl Claim {
    /// The PE.
    pub fn pe(&self) -> &Held {
        &self.pe
    }
}

/// The recovery of somebody else that has the PE, begun or pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    address: PeAddress,
    id: PeId,
}

impl Joined {
    /// Where the PE is that is recovered: the one that was asked for, or one above it.
    #[must_use]
    pub fn address(&self) -> PeAddress {
        self.address
    }

    /// Which PE that is. It may be one that was removed since, if another one came to its place.
    #[must_use]
    pub fn id(&self) -> PeId {
        self.id
    }
}

/// A claim on a PE below which recoveries are under way, or which was being moved. Until it is dropped nobody begins another
/// recovery of it or below it.
#[derive(Debug)]
#[must_use = "dropping it gives the claim up"]
pub struct PendingClaim {
    pe: Held,
    listed: Listed,
}

impl PendingClaim {
    /// The PE.
    pub fn pe(&self) -> &Held {
        &self.pe
    }

    /// Tries again; to be called when a recovery has ended. Never waits. It may be somebody else's by now: of one above, which
    /// came later and goes first.
    ///
    /// # Errors
    /// [`ClaimError::NoPe`] if the PE was removed; the claim is given up.
    pub fn try_ready(self, token: &ThreadToken) -> Result<TryClaimed, ClaimError> {
        let PendingClaim { pe, listed } = self;
        listed.decide(token, |found| pe.is(found))
    }
}

/// A claim in the list, and out of it when dropped.
struct Listed {
    tree: Arc<PeTree>,
    address: PeAddress,
    ticket: u64,
}

impl Listed {
    /// Decides about the claim, if the PE at its place is the one that is meant.
    fn decide(
        self,
        token: &ThreadToken,
        is_meant: impl FnOnce(&Pe) -> bool,
    ) -> Result<TryClaimed, ClaimError> {
        let claims = &self.tree.claims;
        let moves = claims.settled();
        // The picture of after that: whoever is put above the PE later is seen by the count.
        let snapshot = self.tree.snapshot(token);
        let pe = snapshot.find(self.address, Holder::Recovery).filter(|pe| is_meant(pe));
        let pe = pe.ok_or(ClaimError::NoPe(self.address))?;
        let above = snapshot.above(self.address.key()).collect();
        Ok(match claims.decide(&pe, above, moves, self.ticket) {
            Decision::Begun => TryClaimed::Mine(Claim { pe, _listed: self }),
            Decision::Pending => TryClaimed::Below(PendingClaim { pe, listed: self }),
            Decision::Joined(joined) => TryClaimed::Joined(joined),
        })
    }
}

impl std::fmt::Debug for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listed({})", self.ticket)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.tree.claims.state.lock().leave(self.address.key(), self.ticket);
    }
}

struct Entry {
    ticket: u64,
    address: PeAddress,
    id: PeId,
    /// The PEs above it, if the recovery has begun; `None` while it is pending.
    above: Option<Vec<Key>>,
}

#[derive(Default)]
struct State {
    /// By the PE that is claimed.
    entries: BTreeMap<Key, Entry>,
    /// Below which PEs how many recoveries have begun.
    begun_below: BTreeMap<Key, u32>,
    /// A move is under way; whose turn it is to publish moves alone.
    moving: bool,
    /// Moves that have begun, ever.
    moves: u64,
    /// The next claim's ticket.
    next: u64,
}

impl State {
    fn leave(&mut self, key: Key, ticket: u64) {
        // Its place may have been given up already, and taken by another.
        if self.entries.get(&key).is_none_or(|entry| entry.ticket != ticket) {
            return;
        }
        let begun = self.entries.remove(&key).and_then(|entry| entry.above);
        for above in begun.into_iter().flatten() {
            if let Some(count) = self.begun_below.get_mut(&above) {
                *count -= 1;
                if *count == 0 {
                    self.begun_below.remove(&above);
                }
            }
        }
    }

    /// Who has a PE: the nearest claim at it or above, but for the one with the ticket `own`.
    fn owner(&self, key: Key, above: &[Key], own: u64) -> Option<Joined> {
        let chain = std::iter::once(&key).chain(above);
        let mut entries = chain.filter_map(|key| self.entries.get(key));
        let entry = entries.find(|entry| entry.ticket != own)?;
        Some(Joined { address: entry.address, id: entry.id })
    }
}

/// The recoveries under way.
#[derive(Default)]
pub(super) struct Claims {
    /// Rank: 58, recovery claims; a leaf. One decision; nobody is called, nothing is dropped under it but list entries.
    state: Leaf<ranks::Claims, State>,
}

/// A move under way: claims that meet it are pending until it is dropped, after the publication.
pub(super) struct Moving<'a>(&'a Claims);

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.state.lock().moving = false;
    }
}

/// What was decided of a claim.
enum Decision {
    Begun,
    Pending,
    Joined(Joined),
}

impl Claims {
    /// Announces a move of a PE with those above it as they are; `None` if a recovery has one of those, it, or something below
    /// it. For who has the turn to publish.
    pub(super) fn begin_move(&self, key: Key, above: impl Iterator<Item = Key>) -> Option<Moving<'_>> {
        let chain: Vec<Key> = std::iter::once(key).chain(above).collect();
        let mut state = self.state.lock();
        let begun = |key: &Key| state.entries.get(key).is_some_and(|entry| entry.above.is_some());
        if chain.iter().any(begun) || state.begun_below.contains_key(&key) {
            return None;
        }
        state.moving = true;
        state.moves = state.moves.wrapping_add(1);
        Some(Moving(self))
    }

    /// How many moves have begun; `None` while one is under way.
    fn settled(&self) -> Option<u64> {
        let state = self.state.lock();
        (!state.moving).then_some(state.moves)
    }

    /// A ticket for a claim that is not in the list yet.
    fn ticket(&self) -> u64 {
        let mut state = self.state.lock();
        let ticket = state.next;
        state.next = ticket.wrapping_add(1);
        ticket
    }

    /// Decides about the claim `ticket` on `pe`, with the PEs above it as they were after `moves` moves.
    fn decide(&self, pe: &Pe, above: Vec<Key>, moves: Option<u64>, ticket: u64) -> Decision {
        let (address, id, key) = (pe.address(), pe.id(), pe.address().key());
        let mut state = self.state.lock();
        let settled = moves == Some(state.moves);
        // During a move, what is above may be elsewhere by now; who has the PE itself is certain.
        let certain = if settled { above.as_slice() } else { &[] };
        if let Some(joined) = state.owner(key, certain, ticket) {
            // In the same step, so that nobody joins what is given up.
            state.leave(key, ticket);
            return Decision::Joined(joined);
        }
        if !settled || state.begun_below.contains_key(&key) {
            state.entries.insert(key, Entry { ticket, address, id, above: None });
            return Decision::Pending;
        }
        for above in &above {
            *state.begun_below.entry(*above).or_default() += 1;
        }
        state.entries.insert(key, Entry { ticket, address, id, above: Some(above) });
        Decision::Begun
    }
}

impl PeTree {
    /// Claims a PE with all that is below it, or names the recovery that has it already. Never waits: with recoveries under way
    /// further down the claim is pending.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing is claimed.
    pub fn try_claim(
        self: &Arc<Self>,
        token: &ThreadToken,
        address: PeAddress,
    ) -> Result<TryClaimed, ClaimError> {
        let listed = Listed { tree: self.clone(), address, ticket: self.claims.ticket() };
        listed.decide(token, |_any| true)
    }
}

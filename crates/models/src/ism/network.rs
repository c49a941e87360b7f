//! The networks of this process, and who is in them.
//!
//! A network is known by its name in the whole process; functions that are given the same name reach each other. In it each
//! GID has a *seat*, and in the seat is the function that has this GID now: a device that is plugged in again sits down where
//! the last one was. Seats and networks are never taken away, so a token that names a seat names it for ever; there are as many
//! as the operator has configured.
//!
//! # Concurrency
//! Both lists only grow and are read without a lock. Who is in a seat is one weak reference under a leaf of the seat's own, held
//! for a copy: movers to different peers share nothing, and no peer is touched under it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use gate::lock::Leaf;
use thiserror::Error;

use super::member::Member;
use super::token::Token;
use crate::ranks;

/// GIDs that one network can have; their number fits a token.
pub const MAX_GIDS: usize = 256;

/// Functions that reach each other.
pub(super) struct Network {
    name: String,
    seats: Box<[OnceLock<Seat>; MAX_GIDS]>,
    /// The number of the last token. Numbers are given once.
    numbers: AtomicU64,
}

/// The place of one GID.
struct Seat {
    gid: u64,
    /// Rank: 62, ism network; a leaf: a reference cannot be looked at and upgraded in one atomic step.
    occupant: Leaf<ranks::IsmNetwork, Weak<Member>>,
}

/// Why a function cannot be in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// Another function has this GID, and has not been removed.
    #[error("another function of the network has GID {0:#x}; give each its own")]
    Taken(u64),
    /// There have been as many GIDs as there can be.
    #[error("the network has its {MAX_GIDS} GIDs already; use one of them")]
    Full,
    /// It cannot be told from none.
    #[error("a GID is not 0")]
    Zero,
}

struct Node {
    network: Arc<Network>,
    next: OnceLock<Box<Node>>,
}

static NETWORKS: OnceLock<Box<Node>> = OnceLock::new();

impl Network {
    /// The network of this name; it begins when it is first named.
    pub(super) fn named(name: &str) -> Arc<Network> {
        let mut link = &NETWORKS;
        // As many rounds as there are names, which are the operator's.
        loop {
            let new = || Box::new(Node { network: Arc::new(Network::new(name)), next: OnceLock::new() });
            let node = link.get_or_init(new);
            if node.network.name == name {
                return Arc::clone(&node.network);
            }
            link = &node.next;
        }
    }

    fn new(name: &str) -> Network {
        let seats = Box::new([const { OnceLock::new() }; MAX_GIDS]);
        Network { name: name.to_owned(), seats, numbers: AtomicU64::new(0) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The seat of a GID, which gets one if it has none.
    ///
    /// # Errors
    /// [`JoinError::Full`], [`JoinError::Zero`].
    pub(super) fn seat(&self, gid: u64) -> Result<u8, JoinError> {
        if gid == 0 {
            return Err(JoinError::Zero);
        }
        // All go the same way, and whoever comes to a place first gives it its GID: so no GID has two.
        let mut seats = (0..=u8::MAX).zip(&*self.seats);
        let mine = seats.find(|(_, seat)| seat.get_or_init(|| Seat::new(gid)).gid == gid);
        mine.map(|(number, _)| number).ok_or(JoinError::Full)
    }

    /// Sits down where `member` says.
    ///
    /// # Errors
    /// [`JoinError::Taken`].
    pub(super) fn join(&self, member: &Arc<Member>) -> Result<(), JoinError> {
        let Some(seat) = self.seats[usize::from(member.seat())].get() else { return Err(JoinError::Full) };
        let before;
        let joined = {
            let mut occupant = seat.occupant.lock();
            before = occupant.upgrade();
            if before.as_ref().is_some_and(|before| !before.is_gone()) {
                Err(JoinError::Taken(seat.gid))
            } else {
                *occupant = Arc::downgrade(member);
                Ok(())
            }
        };
        // It may be the last reference: not under the leaf.
        drop(before);
        joined
    }

    /// Who is in a seat.
    pub(super) fn member(&self, seat: u8) -> Option<Arc<Member>> {
        let seat = self.seats[usize::from(seat)].get()?;
        let member = seat.occupant.lock().upgrade();
        member.filter(|member| !member.is_gone())
    }

    /// Who has a GID.
    pub(super) fn find(&self, gid: u64) -> Option<Arc<Member>> {
        // The list has no gaps.
        let taken = self.seats.iter().map_while(OnceLock::get);
        let (number, _) = (0..=u8::MAX).zip(taken).find(|(_, seat)| seat.gid == gid)?;
        self.member(number)
    }

    /// Tokens with this number and below have been given, by another process of the same network.
    pub(super) fn were_given(&self, number: u64) {
        self.numbers.fetch_max(number, Ordering::Relaxed);
    }

    /// A token for place `dmb` of the function in `seat`; `None` once they have run out.
    pub(super) fn token(&self, seat: u8, dmb: u8) -> Option<Token> {
        Token::new(self.numbers.fetch_add(1, Ordering::Relaxed).saturating_add(1), seat, dmb)
    }
}

impl Seat {
    fn new(gid: u64) -> Seat {
        Seat { gid, occupant: Leaf::new(Weak::new()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_network() {
        let first = Network::named("a name is one network");
        let other = Network::named("a name is one network, and another another");
        assert!(Arc::ptr_eq(&first, &Network::named("a name is one network")));
        assert!(!Arc::ptr_eq(&first, &other));
    }

    #[test]
    fn a_gid_has_one_seat_for_ever_whoever_asks_first() {
        let network = Network::new("seats");
        let all: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let seats = || (1..=100).map(|gid| network.seat(gid).unwrap()).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(seats)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|seats| *seats == all[0]));
        let mut seats = all[0].clone();
        seats.sort_unstable();
        assert_eq!(seats, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_network_has_room_for_256_gids_and_none_is_zero() {
        let network = Network::new("full");
        for gid in 1..=256 {
            assert!(network.seat(gid).is_ok());
        }
        assert_eq!(network.seat(257), Err(JoinError::Full));
        assert!(network.seat(256).is_ok());
        assert_eq!(network.seat(0), Err(JoinError::Zero));
        assert!(network.find(1).is_none() && network.find(257).is_none(), "nobody sits there");
    }

    #[test]
    fn tokens_are_never_given_twice() {
        let network = Network::new("tokens");
        let first = network.token(1, 2).unwrap();
        let second = network.token(1, 2).unwrap();
        assert_ne!(first, second);
        network.numbers.store(u64::MAX >> 16, Ordering::Relaxed);
        assert_eq!(network.token(1, 2), None);
    }
}

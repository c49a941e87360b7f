//! The buffers that a function has registered for its peers to move into.
//!
//! A buffer is named by a token that its network never gives again, so one that is old reaches no other buffer. Whoever moves
//! into a buffer is *inside* it meanwhile, and unregistering answers *busy* until nobody is: once it has succeeded, nothing
//! more arrives in that memory (law 6).
//!
//! # Concurrency
//! Buffers are registered and unregistered by one thread at a time, which has the command engine; movers come from any number
//! of threads, each under a pass of the owner's gate. Nothing is locked. `word` says what a slot is and how many are inside.
//! The other fields are written only while it says *free* and read only by who is inside, so they never change under a reader.

use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::MAX_DMBS;
use super::token::Token;
use crate::saved::fields;

/// In `word`: movers may come in.
const LIVE: u64 = 1 << 32;
/// In `word`: none may any more; those inside may leave.
const CLOSING: u64 = 1 << 33;
/// In `word`, below these: how many are inside. A thread is inside once, so it never carries.
const FLAGS: u64 = LIVE | CLOSING;

#[derive(Debug, Default)]
struct Slot {
    word: AtomicU64,
    token: AtomicU64,
    address: AtomicU64,
    length: AtomicU64,
    sender: AtomicU64,
}

/// The buffers of one function.
#[derive(Debug)]
pub(super) struct Dmbs([Slot; MAX_DMBS as usize]);

/// What is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dmb {
    /// I/O address of the owner's.
    pub(super) address: u64,
    /// Bytes.
    pub(super) length: u64,
    /// GID of who may move into it.
    pub(super) sender: u64,
}

/// What is registered at a place, as it is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) place: u8,
    pub(super) token: u64,
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) sender: u64,
    /// Unregistering has begun: nobody comes in any more.
    pub(super) closing: bool,
}

fields!(Registered { place, token, address, length, sender, closing });

/// Why a buffer stays registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// There is no such buffer.
    Unknown,
    /// Somebody is inside. Nobody else comes in; the owner asks again.
    Busy,
}

/// A mover inside a buffer, until it is dropped.
#[derive(Debug)]
pub(super) struct Inside<'a>(&'a Slot);

impl Dmbs {
    pub(super) fn new() -> Dmbs {
        Dmbs(std::array::from_fn(|_| Slot::default()))
    }

    /// Registers a buffer under the token that `token` makes for its place; `None` if every place is in use.
    pub(super) fn register(&self, dmb: Dmb, token: impl FnOnce(u8) -> Option<Token>) -> Option<Token> {
        let free = |slot: &&Slot| slot.word.load(Ordering::Acquire) & FLAGS == 0;
        let (nth, slot) = (0..).zip(&self.0).find(|(_, slot)| free(slot))?;
        let token = token(nth)?;
        let Dmb { address, length, sender } = dmb;
        for (place, value) in [
            (&slot.token, token.get()),
            (&slot.address, address),
            (&slot.length, length),
            (&slot.sender, sender),
        ] {
            place.store(value, Ordering::Relaxed);
        }
        slot.word.fetch_or(LIVE, Ordering::Release);
        Some(token)
    }

    /// Unregisters a buffer.
    ///
    /// # Errors
    /// [`Kept`].
    pub(super) fn unregister(&self, token: Token) -> Result<(), Kept> {
        let slot = self.0.get(usize::from(token.dmb())).ok_or(Kept::Unknown)?;
        let registered = slot.word.load(Ordering::Acquire) & LIVE != 0;
        if !registered || slot.token.load(Ordering::Relaxed) != token.get() {
            return Err(Kept::Unknown);
        }
        slot.word.fetch_or(CLOSING, Ordering::AcqRel);
        // Acquire: what those who have left did to the memory is done.
        let freed = slot.word.compare_exchange(FLAGS, 0, Ordering::AcqRel, Ordering::Relaxed);
        freed.map(drop).map_err(|_| Kept::Busy)
    }

    /// Goes into a buffer on behalf of `sender`; `None` if there is none of this token for it.
    pub(super) fn enter(&self, token: Token, sender: u64) -> Option<(Inside<'_>, Dmb)> {
        let slot = self.0.get(usize::from(token.dmb()))?;
        // Looked at first, so that those who try again and again with an old token hold nobody up.
        if slot.word.load(Ordering::Relaxed) & FLAGS != LIVE {
            return None;
        }
        let was = slot.word.fetch_add(1, Ordering::Acquire);
        let inside = Inside(slot);
        if was & FLAGS != LIVE || slot.token.load(Ordering::Relaxed) != token.get() {
            return None;
        }
        let [address, length, allowed] =
            [&slot.address, &slot.length, &slot.sender].map(|field| field.load(Ordering::Relaxed));
        (allowed == sender).then_some((inside, Dmb { address, length, sender }))
    }

    /// How many are registered.
    pub(super) fn count(&self) -> usize {
        self.0.iter().filter(|slot| slot.word.load(Ordering::Relaxed) & FLAGS != 0).count()
    }

    /// What is registered, by place. For who has the owner's gate to himself.
    pub(super) fn registered(&self) -> Vec<Registered> {
        let registered = |(place, slot): (u8, &Slot)| {
            let Slot { word, token, address, length, sender } = slot;
            let flags = word.load(Ordering::Acquire) & FLAGS;
            let [token, address, length, sender] =
                [token, address, length, sender].map(|field| field.load(Ordering::Relaxed));
            let closing = flags & CLOSING != 0;
            (flags != 0).then_some(Registered { place, token, address, length, sender, closing })
        };
        (0..).zip(&self.0).filter_map(registered).collect()
    }

    /// Registers again what was registered. For who has the owner's gate to himself; each place is there and free.
    pub(super) fn put_back(&self, registered: &[Registered]) {
        for Registered { place, token, address, length, sender, closing } in registered {
            let Some(slot) = self.0.get(usize::from(*place)) else { continue };
            let fields = [&slot.token, &slot.address, &slot.length, &slot.sender];
            for (field, value) in fields.into_iter().zip([token, address, length, sender]) {
                field.store(*value, Ordering::Relaxed);
            }
            slot.word.store(if *closing { FLAGS } else { LIVE }, Ordering::Release);
        }
    }

    /// Forgets all. For who has the owner's gate to himself: nobody is inside.
    pub(super) fn clear(&self) {
        for slot in &self.0 {
            let Slot { word, token, address, length, sender } = slot;
            word.store(0, Ordering::Release);
            [token, address, length, sender].iter().for_each(|field| field.store(0, Ordering::Relaxed));
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.word.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DMB: Dmb = Dmb { address: 0x1000, length: 0x2000, sender: 7 };

    fn register(dmbs: &Dmbs, number: u64) -> Option<Token> {
        dmbs.register(DMB, |nth| Token::new(number, 3, nth))
    }

    #[test]
    fn a_buffer_is_entered_by_its_token_and_its_sender_only() {
        let dmbs = Dmbs::new();
        let token = register(&dmbs, 1).unwrap();
        assert_eq!(dmbs.enter(token, 7).unwrap().1, DMB);
        assert!(dmbs.enter(token, 8).is_none(), "another sender");
        assert!(dmbs.enter(Token::new(2, 3, token.dmb()).unwrap(), 7).is_none(), "another number");
        assert!(dmbs.enter(Token::new(1, 3, 1).unwrap(), 7).is_none(), "another place");
        assert!(dmbs.enter(Token::new(1, 3, u8::MAX).unwrap(), 7).is_none(), "no place");
        assert_eq!(dmbs.unregister(token), Ok(()), "refused movers have left");
    }

    #[test]
    fn a_buffer_stays_until_its_last_mover_has_left_and_lets_nobody_in_meanwhile() {
        let dmbs = Dmbs::new();
        let token = register(&dmbs, 1).unwrap();
        let first = dmbs.enter(token, 7).unwrap();
        let second = dmbs.enter(token, 7).unwrap();
        assert_eq!(dmbs.unregister(token), Err(Kept::Busy));
        assert!(dmbs.enter(token, 7).is_none());
        drop(first);
        assert_eq!(dmbs.unregister(token), Err(Kept::Busy));
        assert_eq!(dmbs.count(), 1);
        drop(second);
        assert_eq!(dmbs.unregister(token), Ok(()));
        assert_eq!(dmbs.unregister(token), Err(Kept::Unknown));
        assert_eq!(dmbs.count(), 0);
    }

    #[test]
    fn an_old_token_never_names_the_buffer_that_took_its_place() {
        let dmbs = Dmbs::new();
        let old = register(&dmbs, 1).unwrap();
        dmbs.unregister(old).unwrap();
        let new = register(&dmbs, 2).unwrap();
        assert_eq!(old.dmb(), new.dmb());
        assert!(dmbs.enter(old, 7).is_none());
        assert_eq!(dmbs.unregister(old), Err(Kept::Unknown));
        assert!(dmbs.enter(new, 7).is_some());
    }

    #[test]
    fn there_is_room_for_as_many_as_promised_and_again_after_a_reset() {
        let dmbs = Dmbs::new();
        for round in 0..2 {
            let tokens: Vec<_> = (1..=u64::from(MAX_DMBS)).map(|nth| register(&dmbs, nth).unwrap()).collect();
            assert_eq!(register(&dmbs, 99), None, "round {round}");
            dmbs.clear();
            assert!(tokens.iter().all(|token| dmbs.enter(*token, 7).is_none()));
        }
    }

    /// Movers come and go on other threads; whenever unregistering succeeds, none of them is inside.
    #[test]
    fn once_unregistering_has_succeeded_no_mover_is_inside() {
        const ROUNDS: u64 = 2_000;
        let dmbs = Dmbs::new();
        let current = AtomicU64::new(0);
        let writing = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let mover = || {
                while current.load(Ordering::Acquire) != u64::MAX {
                    let Some(token) = Token::from_raw(current.load(Ordering::Acquire)) else { continue };
                    if let Some((inside, _)) = dmbs.enter(token, 7) {
                        writing.fetch_add(1, Ordering::SeqCst);
                        std::hint::spin_loop();
                        writing.fetch_sub(1, Ordering::SeqCst);
                        drop(inside);
                    }
                }
            };
            let movers = [scope.spawn(mover), scope.spawn(mover)];
            for number in 1..=ROUNDS {
                let token = register(&dmbs, number).unwrap();
                current.store(token.get(), Ordering::Release);
                while dmbs.unregister(token).is_err() {
                    std::thread::yield_now();
                }
                assert_eq!(writing.load(Ordering::SeqCst), 0, "round {number}");
            }
            current.store(u64::MAX, Ordering::Release);
            movers.into_iter().for_each(|mover| mover.join().unwrap());
        });
    }
}

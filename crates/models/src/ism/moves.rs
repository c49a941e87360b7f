//! A move: from the function that stores a block into the memory of the peer that has registered a buffer for it.
//!
//! The mover's own pass is held by its caller. Beside it the peer's gate is entered without waiting, and the buffer; the data
//! goes through the peer's DMA map, and the signal through the peer's interrupts. So a peer that is reset, frozen or removed
//! at this moment costs the mover an error and no time, and whoever closes the peer waits for one copy of a block at most.
//!
//! Everything that can refuse is asked before the first byte is written: a move that is refused has moved nothing, unless the
//! peer's consumer truncates its memory under the copy.

use gate::{Pass, ThreadToken};
use thiserror::Error;

use super::command::Outcome;
use super::dmb::Dmb;
use super::member::Member;
use super::network::Network;
use super::statistics::Statistic;
use super::token::Token;

/// Why a block was not moved, with the number that [`Register::LastRefused`](super::Register::LastRefused) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[repr(u16)]
pub enum Refused {
    /// The channel is not open.
    #[error("the channel is not open")]
    NoChannel = 1,
    /// The block does not lie within the buffer.
    #[error("the block does not lie within the buffer")]
    Outside = 2,
    /// The buffer is not registered any more.
    #[error("the buffer is not registered any more")]
    UnknownToken = 3,
    /// The buffer's owner is gone.
    #[error("the peer is gone")]
    NoPeer = 4,
    /// The owner is being reset, or changes its power state; what it had registered may be lost.
    #[error("the peer is being reset; try again")]
    PeerBlocked = 5,
    /// The owner is frozen.
    #[error("the peer is frozen")]
    PeerFrozen = 6,
    /// The owner's consumer does not let it write there: not mapped, read-only, truncated, or bus mastering is off.
    #[error("the peer's memory cannot be written")]
    PeerMemory = 7,
}

impl Refused {
    /// The reason with this number.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Refused> {
        use Refused::{NoChannel, NoPeer, Outside, PeerBlocked, PeerFrozen, PeerMemory, UnknownToken};
        [NoChannel, Outside, UnknownToken, NoPeer, PeerBlocked, PeerFrozen, PeerMemory]
            .into_iter()
            .find(|refused| *refused as u16 == code)
    }

    /// What a command is answered that comes to the same.
    pub(super) const fn outcome(self) -> Outcome {
        match self {
            Refused::NoChannel => Outcome::NoChannel,
            Refused::Outside => Outcome::Invalid,
            Refused::UnknownToken => Outcome::UnknownToken,
            Refused::NoPeer => Outcome::NoPeer,
            Refused::PeerBlocked => Outcome::Busy,
            Refused::PeerFrozen => Outcome::PeerFrozen,
            Refused::PeerMemory => Outcome::PeerMemory,
        }
    }
}

/// What is brought to a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load<'a> {
    /// Offset in the buffer, in bytes.
    pub(super) offset: u64,
    /// Nothing for a mere signal.
    pub(super) data: &'a [u8],
    pub(super) signals: bool,
}

/// Carries `load` from `mover` into the buffer that `token` names, and counts it on both sides.
///
/// # Errors
/// [`Refused`]; counted at the mover.
pub(super) fn carry(
    network: &Network,
    mover: &Member,
    own: &Pass<'_>,
    token: Token,
    load: Load<'_>,
) -> Result<(), Refused> {
    let carried = reach(network, mover, own.token(), token, |peer, inside, dmb| {
        deliver(peer, inside, token, dmb, load)
    });
    if let Err(refused) = carried {
        mover.statistics.add(Statistic::of(refused), 1);
        return Err(refused);
    }
    let sent = [Statistic::BlocksSent, Statistic::BytesSent, Statistic::SignalsSent];
    count(mover, sent, load);
    Ok(())
}

/// Length of the buffer that `token` names, if `mover` may move into it now.
///
/// # Errors
/// [`Refused`]; not counted.
pub(super) fn look(network: &Network, mover: &Member, own: &Pass<'_>, token: Token) -> Result<u64, Refused> {
    reach(network, mover, own.token(), token, |_, _, dmb| Ok(dmb.length))
}

/// Calls `with` inside the peer's gate and inside the buffer.
fn reach<T>(
    network: &Network,
    mover: &Member,
    thread: &ThreadToken,
    token: Token,
    with: impl FnOnce(&Member, &Pass<'_>, Dmb) -> Result<T, Refused>,
) -> Result<T, Refused> {
    // If the peer's owner drops it meanwhile, this is the last reference. What goes with it is small and waits for nobody: its
    // consumer's memory went when that detached.
    let peer = network.member(token.seat()).ok_or(Refused::NoPeer)?;
    let inside = peer.enter(thread)?;
    let (_in_buffer, dmb) = peer.dmbs.enter(token, mover.gid()).ok_or(Refused::UnknownToken)?;
    with(&peer, &inside, dmb)
}

fn deliver(peer: &Member, inside: &Pass<'_>, token: Token, dmb: Dmb, load: Load<'_>) -> Result<(), Refused> {
    let Load { offset, data, signals } = load;
    let length = data.len() as u64;
    if length > dmb.length.saturating_sub(offset) {
        return Err(Refused::Outside);
    }
    let dword = if signals { peer.signal_dword(inside, token.dmb())? } else { None };
    if !data.is_empty() {
        let memory = peer.memory(inside, dmb.address.saturating_add(offset), length)?;
        memory.write_from(data).map_err(|_| Refused::PeerMemory)?;
    }
    if let Some(dword) = dword {
        // Release: who sees the dword sees the data.
        dword.store_u32_release(0, 1).map_err(|_| Refused::PeerMemory)?;
    }
    if signals {
        peer.interrupt(inside);
    }
    let received = [Statistic::BlocksReceived, Statistic::BytesReceived, Statistic::SignalsReceived];
    count(peer, received, load);
    Ok(())
}

fn count(member: &Member, [blocks, bytes, signals]: [Statistic; 3], load: Load<'_>) {
    if !load.data.is_empty() {
        member.statistics.add(blocks, 1);
        member.statistics.add(bytes, load.data.len() as u64);
    }
    if load.signals {
        member.statistics.add(signals, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_found_by_their_numbers_and_counted_apart() {
        let all: Vec<Refused> = (0..20).filter_map(Refused::from_code).collect();
        assert_eq!(
            all.iter().map(|refused| *refused as u16).collect::<Vec<_>>(),
            (1..=7).collect::<Vec<_>>()
        );
        for (nth, refused) in all.iter().enumerate() {
            assert!(all[..nth].iter().all(|other| Statistic::of(*other) != Statistic::of(*refused)));
        }
    }
}

//! What a function counts since its last reset.

use std::sync::atomic::{AtomicU64, Ordering};

use super::moves::Refused;

/// A count. Each is a register of 8 bytes in BAR 0, in this order from [`STATISTICS`](super::STATISTICS) on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Statistic {
    /// Commands carried out, whatever came of them.
    Commands,
    /// Blocks moved to peers.
    BlocksSent,
    /// Bytes in them.
    BytesSent,
    /// Signals given to peers.
    SignalsSent,
    /// Blocks that peers have moved here.
    BlocksReceived,
    /// Bytes in them.
    BytesReceived,
    /// Signals that peers have given.
    SignalsReceived,
    /// Blocks to BAR 0 that are no command.
    RefusedMalformed,
    /// Commands that arrived while another one was carried out.
    RefusedBusy,
    /// Moves on a channel that is not open.
    RefusedNoChannel,
    /// Moves beyond the end of the buffer.
    RefusedOutside,
    /// Moves to a buffer that is no longer registered.
    RefusedUnknownToken,
    /// Moves to a function that is gone.
    RefusedNoPeer,
    /// Moves to a function that was being reset or put to sleep.
    RefusedPeerBlocked,
    /// Moves to a function that is frozen.
    RefusedPeerFrozen,
    /// Moves to memory that the peer's consumer does not let it write.
    RefusedPeerMemory,
}

impl Statistic {
    /// All of them, in the order of their registers.
    pub const ALL: [Statistic; 16] = [
        Statistic::Commands,
        Statistic::BlocksSent,
        Statistic::BytesSent,
        Statistic::SignalsSent,
        Statistic::BlocksReceived,
        Statistic::BytesReceived,
        Statistic::SignalsReceived,
        Statistic::RefusedMalformed,
        Statistic::RefusedBusy,
        Statistic::RefusedNoChannel,
        Statistic::RefusedOutside,
        Statistic::RefusedUnknownToken,
        Statistic::RefusedNoPeer,
        Statistic::RefusedPeerBlocked,
        Statistic::RefusedPeerFrozen,
        Statistic::RefusedPeerMemory,
    ];

    /// Its name, for the operator.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Statistic::Commands => "commands",
            Statistic::BlocksSent => "blocks_sent",
            Statistic::BytesSent => "bytes_sent",
            Statistic::SignalsSent => "signals_sent",
            Statistic::BlocksReceived => "blocks_received",
            Statistic::BytesReceived => "bytes_received",
            Statistic::SignalsReceived => "signals_received",
            Statistic::RefusedMalformed => "refused_malformed",
            Statistic::RefusedBusy => "refused_busy",
            Statistic::RefusedNoChannel => "refused_no_channel",
            Statistic::RefusedOutside => "refused_outside",
            Statistic::RefusedUnknownToken => "refused_unknown_token",
            Statistic::RefusedNoPeer => "refused_no_peer",
            Statistic::RefusedPeerBlocked => "refused_peer_blocked",
            Statistic::RefusedPeerFrozen => "refused_peer_frozen",
            Statistic::RefusedPeerMemory => "refused_peer_memory",
        }
    }

    /// Where a refused move is counted.
    pub(super) const fn of(refused: Refused) -> Statistic {
        match refused {
            Refused::NoChannel => Statistic::RefusedNoChannel,
            Refused::Outside => Statistic::RefusedOutside,
            Refused::UnknownToken => Statistic::RefusedUnknownToken,
            Refused::NoPeer => Statistic::RefusedNoPeer,
            Refused::PeerBlocked => Statistic::RefusedPeerBlocked,
            Refused::PeerFrozen => Statistic::RefusedPeerFrozen,
            Refused::PeerMemory => Statistic::RefusedPeerMemory,
        }
    }
}

/// The counts of one function. Several threads add to them at once; no count is ordered with another.
#[derive(Debug, Default)]
pub(super) struct Statistics([AtomicU64; Statistic::ALL.len()]);

impl Statistics {
    pub(super) fn add(&self, statistic: Statistic, count: u64) {
        self.0[statistic as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self, statistic: Statistic) -> u64 {
        self.0[statistic as usize].load(Ordering::Relaxed)
    }

    /// All counts.
    pub(super) fn values(&self) -> [u64; Statistic::ALL.len()] {
        Statistic::ALL.map(|statistic| self.get(statistic))
    }

    /// Back to what they were.
    pub(super) fn put_back(&self, values: &[u64; Statistic::ALL.len()]) {
        self.0.iter().zip(values).for_each(|(count, value)| count.store(*value, Ordering::Relaxed));
    }

    /// As after power-on.
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registers_are_in_the_order_of_the_list() {
        let order: Vec<usize> = Statistic::ALL.iter().map(|statistic| *statistic as usize).collect();
        assert_eq!(order, (0..Statistic::ALL.len()).collect::<Vec<_>>());
    }
}

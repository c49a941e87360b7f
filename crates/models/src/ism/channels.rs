//! The channels that a function has open to buffers of its peers.
//!
//! A channel is the buffer's token and nothing else: what the token names is looked at anew at each move. So a channel holds
//! nothing of the peer's, and one that outlives its buffer leads nowhere.
//!
//! Concurrency: one atomic for each; opened and closed by who has the command engine.

use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::MAX_CHANNELS;
use super::token::Token;
use crate::saved::{Field, Reader, Writer};

/// No token.
const CLOSED: u64 = 0;

/// Where all channels lead, at one moment.
#[derive(Debug, Clone)]
pub(super) struct Leads([u64; MAX_CHANNELS as usize]);

impl Field for Leads {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let leads = <[u64; MAX_CHANNELS as usize]>::take(from)?;
        let possible = |lead: &u64| *lead == CLOSED || Token::from_raw(*lead).is_some();
        leads.iter().all(possible).then_some(Self(leads))
    }
}

/// The channels of one function.
#[derive(Debug, Default)]
pub(super) struct Channels([AtomicU64; MAX_CHANNELS as usize]);

impl Channels {
    /// Opens one; `None` if all are open.
    pub(super) fn open(&self, token: Token) -> Option<u16> {
        let closed = |channel: &AtomicU64| channel.load(Ordering::Relaxed) == CLOSED;
        let (number, channel) = (0..).zip(&self.0).find(|(_, channel)| closed(channel))?;
        channel.store(token.get(), Ordering::Release);
        Some(number)
    }

    /// Where an open one leads.
    pub(super) fn get(&self, channel: u16) -> Option<Token> {
        Token::from_raw(self.0.get(usize::from(channel))?.load(Ordering::Acquire))
    }

    /// False if it was not open.
    pub(super) fn close(&self, channel: u16) -> bool {
        self.0.get(usize::from(channel)).is_some_and(|place| place.swap(CLOSED, Ordering::AcqRel) != CLOSED)
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.0.iter().filter(|channel| channel.load(Ordering::Relaxed) != CLOSED).count()
    }

    /// Where all lead.
    pub(super) fn leads(&self) -> Leads {
        Leads(std::array::from_fn(|nth| {
            self.0.get(nth).map_or(CLOSED, |channel| channel.load(Ordering::Acquire))
        }))
    }

    /// Back to where they led.
    pub(super) fn put_back(&self, leads: &Leads) {
        self.0.iter().zip(leads.0).for_each(|(channel, lead)| channel.store(lead, Ordering::Release));
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|channel| channel.store(CLOSED, Ordering::Release));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_numbered_from_zero_and_used_again() {
        let channels = Channels::default();
        let token = |number| Token::new(number, 0, 0).unwrap();
        for number in 0..MAX_CHANNELS {
            assert_eq!(channels.open(token(u64::from(number) + 1)), Some(number));
        }
        assert_eq!(channels.open(token(99)), None);
        assert!(channels.close(5) && !channels.close(5) && !channels.close(MAX_CHANNELS));
        assert_eq!((channels.get(5), channels.count()), (None, usize::from(MAX_CHANNELS) - 1));
        assert_eq!(channels.open(token(99)), Some(5));
        assert_eq!(channels.get(5), Some(token(99)));
        channels.clear();
        assert_eq!(channels.count(), 0);
    }
}

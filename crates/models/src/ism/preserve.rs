//! Saving an ISM-like function and taking it up again: what it has registered and opened, its counts, and its last answer.
//!
//! Tokens stay what they were, so peers notice nothing but that the function was being reset for a while. What was moved is in
//! the consumer's memory, and no part of it.

use std::sync::atomic::Ordering;

use gate::Quiesced;
use pci_core::{Preserve, PreserveError};

use super::channels::Leads;
use super::dmb::Registered;
use super::execute::check;
use super::function::Ism;
use super::layout::{MAX_DMBS, SIGNAL_AREA_BYTES};
use super::member::NO_AREA;
use super::statistics::Statistic;
use super::token::Token;
use crate::saved::{Field, Kind, Reader, Writer};

const KIND: Kind = Kind { name: *b"PCLSism ", version: 1 };

/// See the module's head.
#[derive(Debug)]
struct State {
    network: String,
    gid: u64,
    seat: u8,
    area: u64,
    registered: Vec<Registered>,
    channels: Leads,
    statistics: [u64; Statistic::ALL.len()],
    /// Head and value.
    answer: (u64, u64),
    last_refused: u64,
}

impl State {
    /// # Errors
    /// [`PreserveError::OtherDevice`], [`PreserveError::Malformed`].
    fn check(&self, ism: &Ism) -> Result<(), PreserveError> {
        let member = ism.member();
        // Seats are given in the order in which functions come, and a token says which it is of.
        if (&*self.network, self.gid, self.seat) != (ism.network().name(), member.gid(), member.seat()) {
            return Err(PreserveError::OtherDevice("the function has another place in its network"));
        }
        let area = self.area == NO_AREA
            || (self.area.is_multiple_of(SIGNAL_AREA_BYTES)
                && self.area.checked_add(SIGNAL_AREA_BYTES).is_some());
        let ascending =
            self.registered.windows(2).all(|pair| matches!(pair, [low, high] if low.place < high.place));
        if area && ascending && self.registered.iter().all(|registered| self.can_be_registered(registered)) {
            Ok(())
        } else {
            Err(PreserveError::Malformed("a buffer or a signal area that cannot be"))
        }
    }

    fn can_be_registered(&self, registered: &Registered) -> bool {
        let Registered { place, token, address, length, sender, closing: _ } = *registered;
        let own = |token: Token| (token.seat(), token.dmb()) == (self.seat, place);
        u16::from(place) < MAX_DMBS
            && Token::from_raw(token).is_some_and(own)
            && check(address, length, sender).is_ok()
    }
}

impl Field for State {
    fn put(&self, out: &mut Writer) {
        let State { network, gid, seat, area, registered, channels, statistics, answer, last_refused } = self;
        network.put(out);
        (*gid, *seat, *area).put(out);
        out.list(registered.iter());
        channels.put(out);
        statistics.put(out);
        answer.put(out);
        last_refused.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let network = Field::take(from)?;
        let (gid, seat, area) = Field::take(from)?;
        Some(State {
            network,
            gid,
            seat,
            area,
            registered: from.list(usize::from(MAX_DMBS))?,
            channels: Field::take(from)?,
            statistics: Field::take(from)?,
            answer: Field::take(from)?,
            last_refused: Field::take(from)?,
        })
    }
}

impl Preserve for Ism {
    fn save(&self, _quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError> {
        let Ism { network, member, channels, engine, last_refused, unreachable: _ } = self;
        let state = State {
            network: network.name().to_owned(),
            gid: member.gid(),
            seat: member.seat(),
            area: member.area(),
            registered: member.dmbs.registered(),
            channels: channels.leads(),
            statistics: member.statistics.values(),
            answer: engine.answer(),
            last_refused: last_refused.load(Ordering::Relaxed),
        };
        KIND.seal(|out| state.put(out))
    }

    fn restore(&self, _quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError> {
        let state = KIND.open(state, State::take)?;
        state.check(self)?;
        let Ism { network, member, channels, engine, last_refused, unreachable: _ } = self;
        let given = state.registered.iter().filter_map(|registered| Token::from_raw(registered.token));
        network.were_given(given.map(Token::number).max().unwrap_or(0));
        member.dmbs.put_back(&state.registered);
        if state.area == NO_AREA {
            member.clear_area();
        } else {
            let _checked = member.set_area(state.area);
        }
        member.statistics.put_back(&state.statistics);
        channels.put_back(&state.channels);
        engine.put_back(state.answer);
        last_refused.store(state.last_refused, Ordering::Relaxed);
        Ok(())
    }
}

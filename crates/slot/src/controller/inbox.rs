//! What has happened at a slot and was not looked at yet. Bounded, whatever is posted (law 10).

use crate::event::{Event, OperationId, Request};
use crate::sight::Sight;
use crate::step::MAX_OPERATIONS;
use std::collections::VecDeque;

/// How many may wait to call something off.
const MAX_CANCELS: usize = 8;

/// Something that has an on and an off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Card,
    Link,
    Latch,
}

impl Level {
    fn event(self, on: bool) -> Event {
        match self {
            Level::Card => Event::Card(on),
            Level::Link => Event::Link(on),
            Level::Latch => Event::Latch(on),
        }
    }

    fn seen(self, sight: Sight) -> bool {
        match self {
            Level::Card => sight.card,
            Level::Link => sight.link,
            Level::Latch => sight.latch_open,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Asked(OperationId, Request),
    /// One or two presses: of three, the second takes back the first.
    Button(u8),
    /// The last value, and whether there were others since the first.
    Level(Level, bool, bool),
    Once(Event),
}

/// Events in their order. Each kind but requests is there once, where it came first; presses of the button once between two
/// requests.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    entries: VecDeque<Entry>,
    /// The second half of a flap.
    rest: Option<Event>,
}

impl Inbox {
    /// False if it is nothing that is posted.
    pub(super) fn push(&mut self, event: Event) -> bool {
        match event {
            Event::Asked(id, request) => self.entries.push_back(Entry::Asked(id, request)),
            Event::Button => self.press(),
            Event::Card(on) => self.change(Level::Card, on),
            Event::Link(on) => self.change(Level::Link, on),
            Event::Latch(on) => self.change(Level::Latch, on),
            Event::PowerFault | Event::Replaced | Event::Failed | Event::Released => {
                if !self.entries.contains(&Entry::Once(event)) {
                    self.entries.push_back(Entry::Once(event));
                }
            }
            Event::Powered(_)
            | Event::Configured(_)
            | Event::Revoked
            | Event::Removed
            | Event::PoweredOff
            | Event::Timer => return false,
        }
        true
    }

    /// Whether a further request of this kind would be one too many.
    pub(super) fn is_full_for(&self, request: Request) -> bool {
        let cancel = request == Request::Cancel;
        let same =
            |entry: &&Entry| matches!(entry, Entry::Asked(_, other) if cancel == (*other == Request::Cancel));
        self.entries.iter().filter(same).count() >= if cancel { MAX_CANCELS } else { MAX_OPERATIONS }
    }

    /// Whether what was in the slot is not, or was not in between, or does not work any more.
    pub(super) fn tells_of_a_loss(&self) -> bool {
        let loss = |entry: &Entry| match entry {
            Entry::Level(Level::Card | Level::Link, on, flapped) => !on || *flapped,
            Entry::Once(event) => matches!(event, Event::Replaced | Event::Failed),
            _ => false,
        };
        self.entries.iter().any(loss) || matches!(self.rest, Some(Event::Card(_) | Event::Link(_)))
    }

    /// The next thing that happened, to a slot of which that much is seen.
    pub(super) fn pop(&mut self, sight: Sight) -> Option<Event> {
        if let Some(rest) = self.rest.take() {
            return Some(rest);
        }
        match self.next()? {
            Entry::Asked(id, request) => Some(Event::Asked(id, request)),
            Entry::Once(event) => Some(event),
            Entry::Button(presses) => {
                self.rest = (presses > 1).then_some(Event::Button);
                Some(Event::Button)
            }
            Entry::Level(level, on, flapped) => {
                // What is as it was, and was different between: both changes count (HP-14, HP-17).
                let flap = flapped && level.seen(sight) == on;
                self.rest = flap.then(|| level.event(on));
                Some(level.event(on != flap))
            }
        }
    }

    /// The first entry; before news of the link, those of the card. Without a card there is no link, so what was seen of the link
    /// last would be forgotten with a card that was taken out before.
    fn next(&mut self) -> Option<Entry> {
        let link = matches!(self.entries.front()?, Entry::Level(Level::Link, ..));
        let card = |entry: &Entry| matches!(entry, Entry::Level(Level::Card, ..));
        let at = self.entries.iter().position(card).filter(|_| link);
        self.entries.remove(at.unwrap_or(0))
    }

    fn press(&mut self) {
        // Not across a request, which may be to call the first press off.
        let asked = self.entries.iter().rposition(|entry| matches!(entry, Entry::Asked(..)));
        let there =
            self.entries.iter_mut().skip(asked.map_or(0, |at| at + 1)).find_map(|entry| match entry {
                Entry::Button(presses) => Some(presses),
                _ => None,
            });
        match there {
            Some(presses) => *presses = if *presses == 1 { 2 } else { 1 },
            None => self.entries.push_back(Entry::Button(1)),
        }
    }

    fn change(&mut self, level: Level, on: bool) {
        let there = self.entries.iter_mut().find_map(|entry| match entry {
            Entry::Level(other, was, flapped) if *other == level => Some((was, flapped)),
            _ => None,
        });
        match there {
            Some((was, flapped)) => {
                *flapped |= *was != on;
                *was = on;
            }
            None => self.entries.push_back(Entry::Level(level, on, false)),
        }
    }
}

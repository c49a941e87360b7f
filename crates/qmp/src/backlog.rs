//! Events that came while nobody waited for them: the newest ones, and a count of what had to go.

use crate::message::Event;
use std::collections::VecDeque;

/// Most events that are kept.
const MAX_EVENTS: usize = 256;

/// Most bytes of lines that the kept events came in.
const MAX_BYTES: usize = 1 << 20;

/// Kept events, oldest first.
#[derive(Default)]
pub(crate) struct Backlog {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    lost: u64,
}

impl Backlog {
    /// Keeps `event`, which came in a line of `bytes` bytes; the oldest go if there is no room.
    pub(crate) fn push(&mut self, event: Event, bytes: usize) {
        self.events.push_back((event, bytes));
        self.bytes += bytes;
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            if self.pop().is_none() {
                return;
            }
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let (event, bytes) = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(event)
    }

    /// How many events were lost for want of room.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(number: usize) -> Event {
        Event { name: "X".into(), data: json!(number) }
    }

    #[test]
    fn beyond_its_number_the_oldest_are_lost_and_counted() {
        let mut backlog = Backlog::default();
        for number in 0..MAX_EVENTS + 3 {
            backlog.push(event(number), 10);
        }
        assert_eq!(backlog.lost(), 3);
        assert_eq!(backlog.pop(), Some(event(3)));
    }

    #[test]
    fn beyond_its_bytes_too_and_room_is_given_back() {
        let mut backlog = Backlog::default();
        for number in 0..5 {
            backlog.push(event(number), MAX_BYTES / 2);
        }
        assert_eq!((backlog.lost(), backlog.pop(), backlog.pop()), (3, Some(event(3)), Some(event(4))));
        backlog.push(event(7), MAX_BYTES);
        assert_eq!((backlog.lost(), backlog.pop()), (3, Some(event(7))));
    }
}

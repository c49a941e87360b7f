//! What a monitor has said of devices, for all who wait for it: numbered, the newest ones only.

use crate::message::Event;
use std::collections::VecDeque;

/// Most entries that are kept. Who misses one asks QEMU again, which tells the same.
const MAX_NEWS: usize = 256;

/// Most bytes of a device's id in an event that is kept: more is none of ours.
const MAX_ID: usize = 256;

/// What happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It has left the machine.
    Deleted,
    /// The guest says that it will not let it go.
    GuestRefused,
}

/// A place in the news: what comes after it is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(u64);

/// The news, oldest first.
#[derive(Default)]
pub(super) struct News {
    entries: VecDeque<(u64, String, What)>,
    latest: u64,
}

impl News {
    /// Where the news end now.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.latest)
    }

    /// Takes in an event; most are none of ours.
    pub(super) fn add(&mut self, event: &Event) {
        let what = match event.name.as_str() {
            "DEVICE_DELETED" => What::Deleted,
            "DEVICE_UNPLUG_GUEST_ERROR" => What::GuestRefused,
            _ => return,
        };
        let Some(device) = event.device().filter(|id| id.len() <= MAX_ID) else { return };
        self.latest += 1;
        if self.entries.len() == MAX_NEWS {
            self.entries.pop_front();
        }
        self.entries.push_back((self.latest, device.to_owned(), what));
    }

    /// The first that happened to `device` after `mark`, and the place after it.
    pub(super) fn of(&self, device: &str, mark: Mark) -> Option<(What, Mark)> {
        let mut after = self.entries.iter().filter(|(number, ..)| *number > mark.0);
        after.find(|(_, id, _)| id == device).map(|(number, _, what)| (*what, Mark(*number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(name: &str, device: &str) -> Event {
        Event { name: name.into(), data: json!({"device": device}) }
    }

    #[test]
    fn only_what_happened_to_the_device_after_the_mark_is_news() {
        let mut news = News::default();
        news.add(&event("DEVICE_DELETED", "a"));
        let mark = news.mark();
        news.add(&event("DEVICE_DELETED", "b"));
        news.add(&event("RESET", "a"));
        assert_eq!(news.of("a", mark), None);
        news.add(&event("DEVICE_UNPLUG_GUEST_ERROR", "a"));
        news.add(&event("DEVICE_DELETED", "a"));
        let (first, mark) = news.of("a", mark).unwrap();
        assert_eq!(first, What::GuestRefused);
        assert_eq!(news.of("a", mark).map(|(what, _)| what), Some(What::Deleted));
    }

    #[test]
    fn a_flood_of_events_costs_no_more_than_its_bound() {
        let mut news = News::default();
        for number in 0..10 * MAX_NEWS {
            news.add(&event("DEVICE_DELETED", &number.to_string()));
            news.add(&event("DEVICE_DELETED", &"x".repeat(MAX_ID + 1)));
        }
        assert_eq!(news.entries.len(), MAX_NEWS);
    }
}

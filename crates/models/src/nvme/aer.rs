//! Asynchronous events: requests that wait for one, and events that wait for a request.
//!
//! An event type that was reported is masked until the host has read the log page that the event names, so a misbehaving
//! guest hears of its own bad doorbells once per look at the log, and never floods itself.
//!
//! NVMe 1.4 s5.2 *Asynchronous Event Request command*.

use nvme_spec::event::Event;

use super::limits::ASYNC_EVENT_REQUESTS;
use crate::saved::{Field, Reader, Writer};

/// Events that wait at most: more than there are of our own. A back end may think of others.
const EVENTS: usize = 32;

/// Requests and events.
#[derive(Debug, Default, Clone)]
pub(super) struct AsyncEvents {
    /// Identifiers of the commands that wait, oldest first.
    requests: Vec<u16>,
    /// Events not yet reported, oldest first; each at most once, so bounded by the events there are.
    pending: Vec<Event>,
    /// For each event type that was reported, the log that the host has yet to read.
    masked: [Option<u8>; 8],
}

impl AsyncEvents {
    /// Keeps a request. Returns false if as many wait as may.
    pub(super) fn request(&mut self, cid: u16) -> bool {
        let room = self.requests.len() < ASYNC_EVENT_REQUESTS;
        if room {
            self.requests.push(cid);
        }
        room
    }

    /// Something happened. The same event again, before it was reported, is no second event.
    pub(super) fn raise(&mut self, event: Event) {
        if self.pending.len() < EVENTS && !self.pending.contains(&event) {
            self.pending.push(event);
        }
    }

    /// Takes the oldest event that may be reported, with the request that it answers.
    pub(super) fn take(&mut self) -> Option<(u16, Event)> {
        if self.requests.is_empty() {
            return None;
        }
        let at = self.pending.iter().position(|event| !self.is_masked(event))?;
        let event = self.pending.remove(at);
        if let Some(masked) = self.masked.get_mut(type_of(&event)) {
            *masked = Some(event.log_page);
        }
        Some((self.requests.remove(0), event))
    }

    /// Whether [`AsyncEvents::take`] would give something.
    pub(super) fn is_due(&self) -> bool {
        !self.requests.is_empty() && self.pending.iter().any(|event| !self.is_masked(event))
    }

    fn is_masked(&self, event: &Event) -> bool {
        self.masked.get(type_of(event)).is_some_and(Option::is_some)
    }

    /// The host has read the log page `log_page`: events of the types whose last one named it may be reported again.
    pub(super) fn log_was_read(&mut self, log_page: u8) {
        for masked in &mut self.masked {
            *masked = masked.filter(|log| *log != log_page);
        }
    }

    /// Takes the request `cid` back; false if it does not wait here.
    pub(super) fn abort(&mut self, cid: u16) -> bool {
        let found = self.requests.iter().position(|waiting| *waiting == cid);
        found.map(|at| self.requests.remove(at)).is_some()
    }

    /// Forgets everything, as a controller reset does.
    pub(super) fn reset(&mut self) {
        let Self { requests, pending, masked } = self;
        requests.clear();
        pending.clear();
        *masked = [None; 8];
    }
}

impl Field for Event {
    fn put(&self, out: &mut Writer) {
        self.to_dword0().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Event::from_dword0(u32::take(from)?).ok()
    }
}

impl Field for AsyncEvents {
    fn put(&self, out: &mut Writer) {
        let Self { requests, pending, masked } = self;
        out.list(requests.iter());
        out.list(pending.iter());
        masked.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let requests = from.list(ASYNC_EVENT_REQUESTS)?;
        let pending = from.list(EVENTS)?;
        Some(Self { requests, pending, masked: Field::take(from)? })
    }
}

fn type_of(event: &Event) -> usize {
    usize::from(event.kind.code() & 0x7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_waits_for_a_request_and_a_request_for_an_event() {
        let mut events = AsyncEvents::default();
        events.raise(Event::INVALID_DOORBELL_VALUE);
        assert_eq!(events.take(), None);
        assert!(events.request(7));
        assert!(events.is_due());
        assert_eq!(events.take(), Some((7, Event::INVALID_DOORBELL_VALUE)));
        assert!(events.request(8));
        assert_eq!(events.take(), None);
    }

    #[test]
    fn a_reported_type_stays_masked_until_its_log_is_read() {
        let mut events = AsyncEvents::default();
        assert!(events.request(1) && events.request(2) && events.request(3));
        events.raise(Event::INVALID_DOORBELL_VALUE);
        assert!(events.take().is_some());
        events.raise(Event::INVALID_DOORBELL_REGISTER);
        assert!(!events.is_due());
        events.raise(Event::NAMESPACE_ATTRIBUTE_CHANGED);
        assert_eq!(events.take(), Some((2, Event::NAMESPACE_ATTRIBUTE_CHANGED)), "another type");
        events.log_was_read(0x01);
        assert_eq!(events.take(), Some((3, Event::INVALID_DOORBELL_REGISTER)));
    }

    #[test]
    fn requests_are_limited_and_events_are_not_repeated() {
        let mut events = AsyncEvents::default();
        for cid in 0..4 {
            assert!(events.request(cid));
        }
        assert!(!events.request(4));
        for _ in 0..1000 {
            events.raise(Event::INVALID_DOORBELL_VALUE);
        }
        assert_eq!(events.pending.len(), 1);
    }

    #[test]
    fn a_back_end_that_thinks_of_ever_more_events_takes_no_more_memory() {
        let mut events = AsyncEvents::default();
        for info in 0..=u8::MAX {
            events.raise(Event { info, ..Event::INVALID_DOORBELL_VALUE });
        }
        assert_eq!(events.pending.len(), EVENTS);
    }

    #[test]
    fn an_event_of_any_type_is_unmasked_by_the_log_that_it_names_and_no_other() {
        let ana = Event { info: 3, log_page: 0x0c, ..Event::NAMESPACE_ATTRIBUTE_CHANGED };
        let mut events = AsyncEvents::default();
        assert!(events.request(1) && events.request(2));
        events.raise(ana);
        assert_eq!(events.take(), Some((1, ana)));
        events.raise(Event::NAMESPACE_ATTRIBUTE_CHANGED);
        events.log_was_read(0x04);
        assert!(!events.is_due(), "another log");
        events.log_was_read(0x0c);
        assert!(events.is_due());
    }

    #[test]
    fn an_aborted_request_is_answered_no_more() {
        let mut events = AsyncEvents::default();
        assert!(events.request(1));
        assert!(events.abort(1));
        assert!(!events.abort(1));
        events.raise(Event::INVALID_DOORBELL_VALUE);
        assert_eq!(events.take(), None);
    }
}

//! A thread that touches mapped memory without a pause, and judges every answer it gets.
#![allow(unsafe_code)] // Some access through the raw pointer, as a program may that keeps to its contract.

use std::sync::Arc;
use std::time::Duration;

use gate::ThreadToken;
use mapping::{Mapping, MappingError, OnDisabled};

use crate::device::{Device, PAGE, PAGES, WORDS};
use crate::period::{Mark, Period, State};
use crate::random::Random;
use crate::watch::{Steps, Tally};

pub(crate) struct Consumer {
    device: Arc<Device>,
    mapping: Arc<Mapping>,
    on_disabled: OnDisabled,
    by: By,
    /// Which of the words of a page is this one's.
    word: usize,
    tally: Tally,
}

/// How a consumer accesses its mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Call,
    /// Shows what the addresses show, and what reaches the device, whatever the calls look at besides. Its accesses have
    /// to wait while the function is disabled, since a raw one cannot fail.
    Pointer,
}

/// Longer than the test: whoever waits so long is stuck.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_600);

impl Consumer {
    pub(crate) fn new(
        device: &Arc<Device>,
        mapping: &Arc<Mapping>,
        on_disabled: OnDisabled,
        by: By,
        nth: usize,
    ) -> Consumer {
        assert!(nth + 1 < WORDS);
        assert!(by == By::Call || on_disabled == OnDisabled::Wait(FOR_EVER));
        let (device, mapping) = (Arc::clone(device), Arc::clone(mapping));
        Consumer { device, mapping, on_disabled, by, word: nth + 1, tally: Tally::default() }
    }

    /// Makes rounds of `pages` pages each until the device is gone, and one more then. Begins each when the operator begins
    /// its next change.
    pub(crate) fn run(mut self, pages: u64, operator: &Steps, steps: &Steps) -> Tally {
        let mut token = ThreadToken::at_thread_entry();
        let mut random = Random::new(self.word as u64);
        loop {
            steps.wait_until(|| operator.rounds() > steps.rounds() || self.is_gone());
            let last = self.is_gone();
            // Pages that differ, in an order that differs: an odd stride meets each page once.
            let (start, stride) = (random.below(PAGES), random.below(PAGES) | 1);
            for nth in 0..pages {
                self.touch(&mut token, (start + nth * stride) % PAGES, steps);
            }
            steps.round();
            if last {
                return self.tally;
            }
        }
    }

    fn is_gone(&self) -> bool {
        self.device.present.look().state == State::Gone
    }

    /// Reads the device's word, writes its own and reads it back.
    fn touch(&mut self, token: &mut ThreadToken, page: u64, steps: &Steps) {
        steps.step(page);
        let before = self.device.present.look();
        let read = self.read(token, page * PAGE);
        let after = self.device.present.look();
        let mark = read.map(|word| match Mark::of(word, page) {
            Some(Mark::Live(generation)) => generation,
            other => panic!("page {page} read {word:#018x}, {other:?}, {before:?} to {after:?}"),
        });
        self.judge("read", mark, before, after);
        if let Ok(generation) = mark {
            assert!(
                generation >= before.earliest(),
                "page {page}: {generation} is stale, {before:?} to {after:?}"
            );
            let exact = before.throughout(after).is_none() || generation == before.generation;
            assert!(exact, "page {page}: {generation}, {before:?}");
        }

        steps.step(page);
        let at = page * PAGE + 8 * self.word as u64;
        let value = steps.steps();
        let begun = self.device.present.look();
        let written = self.write(token, at, value);
        let between = self.device.present.look();
        if let Some(written) = written {
            self.judge("write", written, begun, between);
        }

        steps.step(page);
        let back = self.read(token, at);
        let ended = self.device.present.look();
        // Who has stored to a cover by pointer reads that back.
        if self.by == By::Call {
            self.judge("read back", back, between, ended);
        }
        if begun.throughout(ended) == Some(State::Enabled) {
            assert_eq!(back, Ok(value), "page {page}: what was written a moment ago, {begun:?}");
        }
    }

    fn read(&self, token: &mut ThreadToken, at: u64) -> Result<u64, MappingError> {
        let Some(address) = self.address(at) else {
            return self.mapping.read(token, at);
        };
        // SAFETY: as `address` says; nothing is held while it waits.
        let word = unsafe { address.read_volatile() };
        match (word, self.is_gone()) {
            (u64::MAX, true) => Err(MappingError::Gone),
            (u64::MAX, false) => Err(MappingError::Frozen),
            _ => Ok(word),
        }
    }

    /// `None`: it is not known what became of the store.
    fn write(&self, token: &mut ThreadToken, at: u64, value: u64) -> Option<Result<(), MappingError>> {
        let Some(address) = self.address(at) else {
            return Some(self.mapping.write(token, at, value));
        };
        // SAFETY: as `address` says; nothing is held while it waits.
        unsafe { address.write_volatile(value) };
        None
    }

    /// Of a qword in the mapping, aligned, whose accesses never fail; for who accesses by pointer.
    fn address(&self, at: u64) -> Option<*mut u64> {
        // SAFETY: the contract is kept by `read` and `write`.
        let base = unsafe { self.mapping.as_ptr() }.filter(|_| self.by == By::Pointer)?;
        assert!(at < self.mapping.size() && at.is_multiple_of(8));
        Some(base.as_ptr().wrapping_add(usize::try_from(at).unwrap()).cast())
    }

    /// Whether an access may have had this answer, that began in one period and ended in the other.
    fn judge<T: Copy + std::fmt::Debug>(
        &mut self,
        what: &'static str,
        answer: Result<T, MappingError>,
        before: Period,
        after: Period,
    ) {
        let error = answer.err();
        self.tally.count(match error {
            None => "answered",
            Some(MappingError::Disabled) => "disabled",
            Some(MappingError::TimedOut) => "timed out",
            Some(MappingError::Frozen) => "frozen",
            Some(MappingError::Gone) => "gone",
            Some(_) => "another error",
        });
        let right = match before.throughout(after) {
            Some(State::Enabled) => error.is_none(),
            Some(State::Disabled) => error == self.while_disabled(),
            Some(State::Hidden) => error == self.while_hidden(),
            Some(State::Frozen) => error == Some(MappingError::Frozen),
            Some(State::Gone) => error == Some(MappingError::Gone),
            Some(State::Changing) | None => match error {
                None | Some(MappingError::Frozen) => true,
                // Its removal has begun at least.
                Some(MappingError::Gone) => matches!(after.state, State::Changing | State::Gone),
                error => error == self.while_disabled(),
            },
        };
        assert!(right, "{what}: {answer:?}, {:?}, {before:?} to {after:?}", self.on_disabled);
    }

    /// What an access ends with while the function is disabled and what covered it when it was frozen is still there.
    fn while_hidden(&self) -> Option<MappingError> {
        match self.by {
            By::Call => self.while_disabled(),
            By::Pointer => Some(MappingError::Frozen),
        }
    }

    /// What an access ends with while the function is disabled; `None` if it does not end.
    fn while_disabled(&self) -> Option<MappingError> {
        match self.on_disabled {
            OnDisabled::Fail => Some(MappingError::Disabled),
            // No access can have succeeded, so it is no answer that was given.
            OnDisabled::Wait(FOR_EVER) => Some(MappingError::OutOfRange),
            OnDisabled::Wait(_) => Some(MappingError::TimedOut),
        }
    }
}

//! What happened, line by line: the last lines for whoever looks at a violation, and a hash of all of them, which is the
//! same for every run of a seed.

use std::collections::VecDeque;
use std::time::Duration;

/// Lines that are kept.
pub const KEPT: usize = 40;

/// FNV-1a, 64 bits: the offset basis and the prime of the published function.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The lines of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    last: VecDeque<String>,
    /// Gets every line.
    out: Option<fn(&str)>,
}

impl Trace {
    /// No line yet; each one is given to `out` as well.
    #[must_use]
    pub(crate) fn new(out: Option<fn(&str)>) -> Trace {
        Trace { hash: BASIS, last: VecDeque::with_capacity(KEPT), out }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, step: u64, now: Duration, text: &str) {
        let micros = now.as_micros();
        let mut line = self.reuse();
        // Writing to a string does not fail.
        let _ = std::fmt::Write::write_fmt(
            &mut line,
            format_args!("{step:>7} {:>6}.{:06} {text}", micros / 1_000_000, micros % 1_000_000),
        );
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        if let Some(out) = self.out {
            out(&line);
        }
        self.last.push_back(line);
    }

    fn reuse(&mut self) -> String {
        let oldest = if self.last.len() < KEPT { None } else { self.last.pop_front() };
        let mut line = oldest.unwrap_or_default();
        line.clear();
        line
    }

    /// The hash of all lines.
    #[must_use]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines, oldest first.
    #[must_use]
    pub(crate) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_all_of_them_count() {
        let mut trace = Trace::new(None);
        let mut other = Trace::new(None);
        for step in 0..100 {
            trace.line(step, Duration::from_micros(step), "same");
            other.line(step, Duration::from_micros(step), if step == 3 { "other" } else { "same" });
        }
        assert_eq!(trace.last(), other.last());
        assert_eq!(trace.last().len(), KEPT);
        assert!(trace.last()[0].starts_with("     60      0.000060"), "{:?}", trace.last()[0]);
        assert_ne!(trace.hash(), other.hash(), "a line that is not kept counts too");
    }
}

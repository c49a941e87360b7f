//! Latencies: kept as a histogram, drawn as text.

use std::fmt::Write;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Longest latency kept apart from longer ones, in nanoseconds: one minute.
const LONGEST_NS: u64 = 60_000_000_000;
/// Where the bars begin, so that doubling meets 1, 2, 4 us.
const FIRST_BOUND_NS: u64 = 125;
/// Width of the longest bar, in characters.
const WIDTH: usize = 40;

/// Latencies of one kind of command, and how much was moved when.
#[derive(Debug)]
pub struct Latency {
    /// In nanoseconds. `None` only if it could not be made, which its fixed bounds rule out.
    histogram: Option<Histogram<u64>>,
    bytes: u64,
    /// Time during which commands of this kind were running.
    busy: Duration,
    last: Option<Instant>,
}

/// The figures that are printed.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Figures {
    /// Commands.
    pub ios: u64,
    /// Commands a second.
    pub iops: f64,
    /// MiB a second.
    pub mib_s: f64,
    /// Median latency, in microseconds.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// None yet.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3).ok();
        Self { histogram, bytes: 0, busy: Duration::ZERO, last: None }
    }

    /// A command that moved `bytes` in `took`, completed now.
    pub fn record(&mut self, took: Duration, bytes: u64) {
        let now = Instant::now();
        // Commands overlap: what counts is the time since the last completion, or since this one's start if it was
        // started later than that.
        let since_last = self.last.map_or(took, |last| now.saturating_duration_since(last));
        self.busy += since_last.min(took);
        self.last = Some(now);
        self.bytes += bytes;
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(LONGEST_NS).max(1));
        }
    }

    /// The figures.
    pub fn figures(&self) -> Figures {
        let seconds = self.busy.as_secs_f64().max(1e-9);
        let histogram = self.histogram.as_ref();
        let ios = histogram.map_or(0, Histogram::len);
        let us = |quantile: f64| histogram.map_or(0.0, |h| h.value_at_quantile(quantile) as f64 / 1e3);
        Figures {
            ios,
            iops: ios as f64 / seconds,
            mib_s: self.bytes as f64 / f64::from(1 << 20) / seconds,
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: histogram.map_or(0.0, |h| h.max() as f64 / 1e3),
        }
    }

    /// The histogram as lines of text, one for each doubling of the latency.
    pub fn draw(&self) -> String {
        let mut text = String::new();
        let Some(histogram) = self.histogram.as_ref().filter(|h| !h.is_empty()) else { return text };
        let mut bars = Vec::new();
        let mut low = FIRST_BOUND_NS;
        while low * 2 <= histogram.min() {
            low *= 2;
        }
        while low <= histogram.max() {
            let high = low.saturating_mul(2);
            // The first bar takes everything below it, too.
            let from = if bars.is_empty() { 0 } else { low };
            bars.push((low, high, histogram.count_between(from, high - 1)));
            low = high;
        }
        let most = bars.iter().map(|(_, _, count)| *count).max().unwrap_or(1).max(1);
        for (low, high, count) in bars {
            let share = count as f64 / histogram.len() as f64;
            let length =
                usize::try_from(u128::from(count) * WIDTH as u128 / u128::from(most)).unwrap_or(WIDTH);
            // A bucket that is not empty must not look empty.
            let length = if count > 0 { length.max(1) } else { 0 };
            let bar = "#".repeat(length);
            let _ = writeln!(
                text,
                "  {:>9} to {:>9}  {bar:<WIDTH$}  {:6.2} %",
                time(low),
                time(high),
                100.0 * share
            );
        }
        text
    }
}

/// Nanoseconds for people, three digits at most.
fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} us", Short(ns as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", Short(ns as f64 / 1e6)),
        _ => format!("{} s", Short(ns as f64 / 1e9)),
    }
}

/// A number with three significant digits at most.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = match self.0 {
            n if n >= 100.0 || n.fract() == 0.0 => 0,
            n if n >= 10.0 => 1,
            _ => 2,
        };
        write!(f, "{:.digits$}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_the_picture() {
        let mut latency = Latency::new();
        for us in std::iter::repeat_n(3, 700).chain([100; 299]).chain([5000]) {
            latency.record(Duration::from_micros(us), 4096);
        }
        let drawn = latency.draw();
        let shares: f64 = drawn
            .lines()
            .map(|l| l.trim_end_matches(" %").rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum();
        assert!((shares - 100.0).abs() < 0.1, "{drawn}");
        assert!(drawn.lines().next().unwrap().contains(&"#".repeat(WIDTH)), "{drawn}");
        assert!(drawn.lines().last().unwrap().contains(" # "), "a rare latency is still visible\n{drawn}");
        let figures = latency.figures();
        assert_eq!(figures.ios, 1000);
        assert!((2.9..3.1).contains(&figures.p50_us) && figures.max_us > 4900.0, "{figures:?}");
    }

    #[test]
    fn nothing_recorded_draws_nothing() {
        assert_eq!(Latency::new().draw(), "");
    }
}

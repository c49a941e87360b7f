//! The log: to standard error, and never as fast as a client would like.
//!
//! Clients decide how often many lines are due (they come, go, and send nonsense). So each place in the code that logs
//! gets a burst and then about a line a second; how many were left out is said with the next one that passes.
//! Debug and trace lines are not limited: whoever asks for them wants all of them.
//!
//! Lock: `places` (rank 95, the highest: a line may be logged under any other lock but a leaf), held to look one bucket up.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use gate::lock::Leaf;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::ranks;

/// Lines that pass at once.
pub const BURST: u32 = 10;
/// How long until one more may pass.
pub const REFILL: Duration = Duration::from_secs(1);

/// Starts the log of this process; `filter` is in the syntax of `tracing`. Without effect if there is one already.
///
/// # Errors
/// Why `filter` is no filter.
pub fn start(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(Limit::default());
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(())
}

/// Whether one more line of a kind may pass.
#[derive(Debug)]
pub struct Bucket {
    left: u32,
    refilled: Instant,
    left_out: u64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self { left: BURST, refilled: now, left_out: 0 }
    }

    /// `Some(n)`: let it pass, `n` before it were left out. `None`: leave it out.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.refilled).as_secs() / REFILL.as_secs();
        if earned > 0 {
            self.left = BURST.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(BURST)));
            self.refilled = now;
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Limits each place in the code; there are as many buckets as places.
#[derive(Default)]
struct Limit {
    /// Rank: 95, log places; a leaf. A map that grows by the places in the code that log.
    places: Leaf<ranks::LogPlaces, HashMap<Identifier, Bucket>>,
}

impl<S: Subscriber> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let place = event.metadata();
        // The events of functions are limited by function and kind already; one function must not hide another's.
        if *place.level() > Level::INFO || place.target() == crate::events::TARGET {
            return true;
        }
        let now = Instant::now();
        let taken = self.places.lock().entry(place.callsite()).or_insert_with(|| Bucket::new(now)).take(now);
        if let Some(left_out @ 1..) = taken {
            // Nothing can be done if stderr is closed.
            let _ = writeln!(io::stderr().lock(), "({left_out} lines like the next were left out)");
        }
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_flood_passes_as_a_burst_and_then_as_a_trickle_with_its_count() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let passed = (0..1000).filter(|_| bucket.take(start).is_some()).count();
        assert_eq!(passed, BURST as usize);
        assert_eq!(bucket.take(start + REFILL), Some(1000 - u64::from(BURST)));
        assert_eq!(bucket.take(start + REFILL), None);
    }

    /// Counts the lines that reach it.
    #[derive(Clone, Default)]
    struct Count(Arc<Leaf<ranks::Journal, Vec<Level>>>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().push(*event.metadata().level());
        }
    }

    #[test]
    fn one_noisy_place_does_not_silence_another() {
        let count = Count::default();
        let subscriber = tracing_subscriber::registry().with(count.clone().with_filter(Limit::default()));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..1000 {
                tracing::info!("noisy");
            }
            tracing::warn!("another");
            for _ in 0..100 {
                tracing::debug!("asked for");
            }
        });
        let seen = |level| count.0.lock().iter().filter(|l| **l == level).count();
        // A slow machine may earn a line or two meanwhile.
        assert!((BURST as usize..100).contains(&seen(Level::INFO)), "{}", seen(Level::INFO));
        assert_eq!((seen(Level::WARN), seen(Level::DEBUG)), (1, 100));
    }
}

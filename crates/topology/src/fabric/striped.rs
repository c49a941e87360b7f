//! A value that every access reads and that is hardly ever replaced, for readers who have no thread token.
//!
//! One copy of the reference for each of a few stripes; a thread uses its own, so readers do not share a cache line.
//! Readers never wait: a stripe that is being written is passed over for the next, and one writer at a time writes one
//! stripe at a time. The writer of a stripe waits for the reads that run in it, each of them one register access.

#![allow(
    clippy::disallowed_types,
    reason = "stands for hardware: reached below every mechanism, also below one that holds a leaf"
)]

use parking_lot::RwLock;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const STRIPES: usize = 8;

thread_local! {
    /// The stripe of this thread.
    static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A lock of the emulated hardware; see the module's head of the fabric.
pub(super) type HardwareLock<T> = parking_lot::Mutex<T>;

/// The stripe that the next thread gets.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Alone on its cache lines.
#[repr(align(128))]
struct Stripe<T>(RwLock<Arc<T>>);

pub(super) struct Striped<T>([Stripe<T>; STRIPES]);

impl<T> Striped<T> {
    pub(super) fn new(value: T) -> Striped<T> {
        let value = Arc::new(value);
        Striped(std::array::from_fn(|_| Stripe(RwLock::new(value.clone()))))
    }

    /// Reads the value as it is now, or as it was if it is being replaced just now.
    #[inline]
    pub(super) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        let own = own_stripe();
        for offset in 0..STRIPES {
            if let Some(stripe) = self.0.get((own + offset) % STRIPES)
                && let Some(value) = stripe.0.try_read()
            {
                return look(&value);
            }
        }
        // A writer was met in every stripe, one after the other: it is done with this one by now.
        look(&self.0[0].0.read())
    }

    /// Replaces the value for everybody and gives back the old references, to be dropped where nothing is held. One
    /// caller at a time.
    pub(super) fn replace(&self, value: T) -> Vec<Arc<T>> {
        let value = Arc::new(value);
        self.0.iter().map(|stripe| std::mem::replace(&mut *stripe.0.write(), value.clone())).collect()
    }
}

#[inline]
fn own_stripe() -> usize {
    STRIPE.get().unwrap_or_else(|| {
        let stripe = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
        STRIPE.set(Some(stripe));
        stripe
    })
}

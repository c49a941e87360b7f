//! The lock whose order the compiler checks.

use super::monitor::{Kind, Monitor, MonitorGuard};
use super::{Before, Rank, RankInfo};
use crate::{Held, ThreadToken};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A lock with a rank, taken at a place that says what is held already.
///
/// ```
/// mod ranks {
///     gate::ranks! {
///         /// First.
///         pub Plan = 10, "plan", before [Table];
///         /// Second.
///         pub Table = 20, "table";
///     }
/// }
/// use gate::ThreadToken;
/// use gate::lock::Lock;
///
/// let plan: Lock<ranks::Plan, u32> = Lock::new(1);
/// let table: Lock<ranks::Table, u32> = Lock::new(0);
/// let mut token = ThreadToken::at_thread_entry();
/// let mut planned = plan.lock(&mut token);
/// let (plan, place) = planned.split();
/// *table.lock(place) = *plan;
/// ```
pub struct Lock<R, T>(Monitor<R, T>);

/// A place at which a lock of rank `R` may be taken: nothing is held ([`ThreadToken`]), or only locks that come before
/// ([`Under`]).
pub trait Below<R: Rank>: sealed::Place {}

impl<R: Rank> Below<R> for ThreadToken {}
impl<H: Before<R>, R: Rank> Below<R> for Under<H> {}

mod sealed {
    /// Only the types of this module are places.
    pub trait Place {}
    impl Place for crate::ThreadToken {}
    impl<R> Place for super::Under<R> {}
}

impl<R: Rank, T> Lock<R, T> {
    /// A free lock.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new(value: T) -> Lock<R, T> {
        Lock(Monitor::new(value))
    }

    /// A free lock.
    #[cfg(any(loom, shuttle))]
    pub fn new(value: T) -> Lock<R, T> {
        Lock(Monitor::new(value))
    }

    /// Takes the lock where nothing is held, or under a guard of a lock that comes before. The place stays borrowed until
    /// the guard is dropped: nothing that waits compiles meanwhile.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a leaf, or a lock of the same or a higher rank.
    #[inline]
    pub fn lock<'a, P: Below<R>>(&'a self, _place: &'a mut P) -> Guard<'a, R, T> {
        Guard { inner: self.0.lock(), under: Under::new() }
    }

    /// Takes the lock inside a gate: under a pass or a proof, which keep the thread's token borrowed, so that nothing
    /// that waits compiles. Two locks taken under one pass are compared while the tests run only; use
    /// [`Guard::split`] for the second.
    ///
    /// # Panics
    /// As [`Lock::lock`].
    #[inline]
    pub fn lock_inside<'a>(&'a self, _held: &'a impl Held) -> Guard<'a, R, T> {
        Guard { inner: self.0.lock(), under: Under::new() }
    }

    /// Looks at the value where no place is at hand, such as in a callback. As under a [`super::Leaf`], nothing is taken
    /// and nobody is waited for in `look`; that is checked while the tests run.
    ///
    /// # Panics
    /// As [`Lock::lock`].
    pub fn look<X>(&self, look: impl FnOnce(&T) -> X) -> X {
        look(&self.0.lock_as(Kind::Leaf))
    }

    /// The value, without locking: nobody else has the lock.
    #[cfg(not(any(loom, shuttle)))]
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<R: Rank, T: Default> Default for Lock<R, T> {
    fn default() -> Lock<R, T> {
        Lock::new(T::default())
    }
}

/// Holds a [`Lock`] until it is dropped. Bound to its thread.
#[must_use = "dropping the guard frees the lock at once"]
pub struct Guard<'a, R, T> {
    inner: MonitorGuard<'a, R, T>,
    under: Under<R>,
}

/// The place under a guard of rank `R`: locks that come after may be taken here.
pub struct Under<R> {
    rank: PhantomData<fn() -> R>,
    /// Neither `Send` nor `Sync`: the place is on this thread.
    _bound_to_thread: [*const (); 0],
}

impl<R> Under<R> {
    #[inline]
    fn new() -> Under<R> {
        Under { rank: PhantomData, _bound_to_thread: [] }
    }
}

impl<R: Rank, T> Guard<'_, R, T> {
    /// What is protected, and the place for the next lock.
    #[inline]
    pub fn split(&mut self) -> (&mut T, &mut Under<R>) {
        (&mut self.inner, &mut self.under)
    }
}

impl<R, T> Deref for Guard<'_, R, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<R, T> DerefMut for Guard<'_, R, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<R: Rank, T> std::fmt::Debug for Lock<R, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lock({:?})", RankInfo { number: R::NUMBER, name: R::NAME })
    }
}

impl<R: Rank, T: std::fmt::Debug> std::fmt::Debug for Guard<'_, R, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

impl<R: Rank> std::fmt::Debug for Under<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Under({})", R::NAME)
    }
}

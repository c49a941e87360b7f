//! Which handle names what.
//!
//! A table with a place for each index, made when it is first needed and never moved: finding it takes no lock. In the place is the
//! view that has the index now; the view itself knows which handle it has, so a handle is compared with one word that changes
//! at once (`View::handle`), and a place that is still to be emptied, or already filled, is found by nobody.
//!
//! Indexes are used again by functions that come later; their generations go on ([`Series`]). An index whose generations are used up
//! is not used again.
//!
//! What this module does **not** do: it does not decide when a handle changes (`zdev`).
//!
//! # Concurrency
//! Looking up reads one [`Published`]. Only who has an index's [`Series`] puts something in its place.

mod series;

pub(crate) use series::{Layout, Series};

use crate::handle::Handle;
use crate::ranks;
use crate::view::View;
use crate::zdev::Zdev;
use gate::lock::Leaf;
use gate::{Deadline, Published, ThreadToken};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Indexes that are made room for together.
const CHUNK: usize = 64;

/// How long who empties a place waits for those who read there. They never sleep; one that is not scheduled for so long gives back what
/// it reads by itself.
const READERS: Duration = Duration::from_millis(100);

type Place = Published<Option<Arc<View>>>;
type Chunk = Box<[OnceLock<Place>]>;

/// All handles of a machine.
pub(crate) struct Handles {
    layout: Layout,
    chunks: Box<[OnceLock<Chunk>]>,
    /// Rank: 98, zpci handles; a leaf, held to take an index or to give one back, to make a place that is new, and for a look.
    allotment: Leaf<ranks::Handles, Allotment>,
}

/// Which indexes nobody has, and who has the others.
#[derive(Default)]
struct Allotment {
    /// From here on none was ever used.
    fresh: u32,
    /// Given back, with handles left.
    free: Vec<Series>,
    /// Who has each index that was ever used, or had it last.
    owners: Vec<Weak<Zdev>>,
}

impl Handles {
    pub(crate) fn new(layout: Layout) -> Handles {
        let chunks = (layout.indexes() as usize).div_ceil(CHUNK);
        Handles {
            layout,
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            allotment: Leaf::new(Allotment::default()),
        }
    }

    /// An index that nobody else has, for `owner`; `None` when all are taken or used up.
    pub(crate) fn allot(&self, owner: &Weak<Zdev>) -> Option<Series> {
        let mut allotment = self.allotment.lock();
        if let Some(series) = allotment.free.pop() {
            if let Some(had) = allotment.owners.get_mut(series.index() as usize) {
                had.clone_from(owner);
            }
            return Some(series);
        }
        let index = allotment.fresh;
        if index >= self.layout.indexes() {
            return None;
        }
        allotment.fresh += 1;
        allotment.owners.push(Weak::clone(owner));
        // Under the lock, so that nobody ever waits for another's initialization.
        let chunk = self.chunks.get(index as usize / CHUNK)?;
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        chunk.get(index as usize % CHUNK)?.get_or_init(|| Published::new(None));
        Some(Series::all(self.layout, index))
    }

    /// Takes an index back. Its place is empty.
    pub(crate) fn give_back(&self, series: Series) {
        if !series.is_used_up() {
            self.allotment.lock().free.push(series);
        }
    }

    /// Puts `view` where the handles of `series` lead, or nothing. What was there is dropped here, if nobody reads it any more.
    pub(crate) fn put(&self, token: &mut ThreadToken, series: u32, view: Option<Arc<View>>) {
        if let Some(place) = self.place(series) {
            // A reader that is late drops what it read by itself.
            let _was = place.replace(token, view, Deadline::after(READERS));
        }
    }

    /// What `see` makes of what `handle` names now; `None` if it names nothing.
    #[inline]
    pub(crate) fn with<T>(
        &self,
        token: &ThreadToken,
        handle: Handle,
        see: impl FnOnce(&Arc<View>) -> T,
    ) -> Option<T> {
        let reading = self.place(self.layout.index(handle))?.read(token);
        reading.as_ref().filter(|view| view.is_named(handle)).map(see)
    }

    /// Who has the index of `handle`, or had it last; whether the handle is theirs is for who asks.
    pub(crate) fn owner(&self, handle: Handle) -> Option<Arc<Zdev>> {
        let owner = self.allotment.lock().owners.get(self.layout.index(handle) as usize).map(Weak::clone);
        owner?.upgrade()
    }

    #[inline]
    fn place(&self, index: u32) -> Option<&Place> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get()?.get(index % CHUNK)?.get()
    }
}

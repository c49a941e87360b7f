//! What is mapped, and how far each mapping has come at the present back end. Plain data: no lock, no connection, no clock.
//!
//! Connections are numbered. A record says at which of them it is, or is on its way to; said of any other than the present one,
//! it means nothing. So the loss of a connection changes no record, and whoever comes back from a call to a lost one finds out
//! by the number that its answer does not matter any more.
//!
//! ```text
//!  enter --(none present)--> Recorded --next--> Going(n) --accepted--> There(n)
//!    '-----(n present)--------------------------^   |  '--refused--> forgotten, or kept for a replay that failed
//!                                                    '----lost-----> Recorded
//!  Recorded, There, Going(not present) --leave--> Leaving --gone--> forgotten
//! ```
//! A mapping on its way to the present back end cannot leave: whoever unmaps waits for that one answer first.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use assign::Permissions;

/// The number of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// What is behind a mapping.
#[derive(Clone, Debug)]
pub(super) enum Backing {
    /// Nothing that could be reached.
    Nothing,
    /// The consumer's file.
    File(Arc<OwnedFd>),
}

impl Backing {
    pub(super) fn file(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Backing::Nothing => None,
            Backing::File(file) => Some(file.as_fd()),
        }
    }
}

/// A mapping as the back end is told of it.
#[derive(Clone, Debug)]
pub(super) struct Area {
    pub(super) iova: u64,
    /// Bytes; `iova + size` does not wrap.
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) permissions: Permissions,
    pub(super) backing: Backing,
}

struct Record {
    area: Area,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At no back end.
    Recorded,
    /// On its way.
    Going(Generation),
    /// Accepted.
    There(Generation),
    /// The consumer has taken it away, and waits until nobody uses it any more.
    Leaving,
}

/// What a back end said to a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it.
    Accepted,
    /// It has it not.
    Refused,
    /// Nobody knows, and nobody will.
    Lost,
}

/// What a refused mapping becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfRefused {
    /// Forgotten: its consumer is told.
    Forget,
    /// Kept: its consumer has it, and the back end is to be lost.
    Keep,
}

/// All mappings by address.
#[derive(Default)]
pub(super) struct Records {
    entries: BTreeMap<u64, Record>,
    /// Ranges that are kept free of mappings: address and bytes. A few.
    reserved: Vec<(u64, u64)>,
    connections: u64,
    present: Option<Generation>,
}

impl Records {
    /// A mapping is entered; on its way if somebody is connected, who is to be told then. Nothing if it overlaps another.
    pub(super) fn enter(&mut self, area: Area) -> Option<Entered> {
        let (iova, size) = (area.iova, area.size);
        if self.is_reserved(iova, size) || self.overlapping(iova, size).next().is_some() {
            return None;
        }
        let at = self.present.map_or(At::Recorded, At::Going);
        self.entries.insert(iova, Record { area, at });
        Some(Entered)
    }

    /// Keeps a range free of mappings, for good. False if there is one.
    pub(super) fn reserve(&mut self, iova: u64, size: u64) -> bool {
        let free = self.overlapping(iova, size).next().is_none();
        if free {
            self.reserved.push((iova, size));
        }
        free
    }

    /// Whether some of a range is kept free.
    pub(super) fn is_reserved(&self, iova: u64, size: u64) -> bool {
        let end = iova.saturating_add(size);
        self.reserved.iter().any(|(start, size)| *start < end && start.saturating_add(*size) > iova)
    }

    fn overlapping(&self, iova: u64, size: u64) -> impl Iterator<Item = &Record> {
        let end = iova.saturating_add(size);
        let upwards = self.entries.range(..end).rev().map(|(_, record)| record);
        upwards.take_while(move |record| record.area.iova.saturating_add(record.area.size) > iova)
    }

    /// Another back end is connected; it has nothing yet.
    pub(super) fn attach(&mut self) -> Generation {
        self.connections += 1;
        let generation = Generation(self.connections);
        self.present = Some(generation);
        generation
    }

    /// Nobody is connected any more.
    pub(super) fn detach(&mut self) {
        self.present = None;
    }

    pub(super) fn is_present(&self, generation: Generation) -> bool {
        self.present == Some(generation)
    }

    /// The first mapping from `from` on that this back end does not have and is not being told of: it is on its way from now on.
    pub(super) fn next(&mut self, from: u64, generation: Generation) -> Option<Area> {
        let missing = |record: &&mut Record| match record.at {
            At::Going(at) | At::There(at) => at != generation,
            At::Recorded => true,
            At::Leaving => false,
        };
        let record = self.entries.range_mut(from..).map(|(_, record)| record).find(missing)?;
        record.at = At::Going(generation);
        Some(record.area.clone())
    }

    /// Notes what a back end said to a mapping that was on its way to it. Whether the answer still counts: not if another back
    /// end is being told of the mapping by now, or the consumer has given it up.
    pub(super) fn answered(
        &mut self,
        iova: u64,
        generation: Generation,
        answer: Answer,
        refused: IfRefused,
    ) -> Noted {
        let Some(record) = self.entries.get_mut(&iova).filter(|record| record.at == At::Going(generation))
        else {
            return Noted { counts: false, forgotten: None };
        };
        record.at = match answer {
            Answer::Accepted => At::There(generation),
            Answer::Refused | Answer::Lost => At::Recorded,
        };
        let forget = answer == Answer::Refused && refused == IfRefused::Forget;
        let forgotten = if forget { self.entries.remove(&iova) } else { None };
        Noted { counts: true, forgotten: forgotten.map(|record| record.area) }
    }

    /// Whether one of these mappings is on its way to the present back end.
    pub(super) fn is_going(&self, ranges: &[(u64, u64)]) -> bool {
        let going = self.present.map(At::Going);
        ranges.iter().any(|(iova, _)| self.entries.get(iova).is_some_and(|record| Some(record.at) == going))
    }

    /// The consumer takes mappings away: no back end is told of them from now on. Those that the present one has, address and
    /// bytes.
    pub(super) fn leave(&mut self, ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let (there, going) = (self.present.map(At::There), self.present.map(At::Going));
        let mut at_present = Vec::new();
        for (iova, _) in ranges {
            let Some(record) = self.entries.get_mut(iova) else { continue };
            if Some(record.at) == there || Some(record.at) == going {
                at_present.push((*iova, record.area.size));
            }
            record.at = At::Leaving;
        }
        at_present
    }

    /// Forgets what has left; to be dropped outside of any lock.
    #[must_use]
    pub(super) fn gone(&mut self, ranges: &[(u64, u64)]) -> Vec<Area> {
        let left = |iova| match self.entries.entry(iova) {
            std::collections::btree_map::Entry::Occupied(entry) if entry.get().at == At::Leaving => {
                Some(entry.remove().area)
            }
            _ => None,
        };
        ranges.iter().map(|(iova, _)| *iova).filter_map(left).collect()
    }

    /// Mappings.
    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }
}

/// A mapping was entered.
#[must_use]
pub(super) struct Entered;

/// What became of an answer.
#[must_use]
pub(super) struct Noted {
    /// It was the one that was waited for.
    pub(super) counts: bool,
    /// The mapping is not there any more; to be dropped outside of any lock.
    pub(super) forgotten: Option<Area>,
}

//! What a recovery is to know and has not looked at yet. Bounded by the functions and PEs that there are (law 10).

use crate::containment::News;
use crate::pe::Held;
use crate::plan::FunctionId;
use crate::report::Doom;
use crate::tree::PeFunction;
use std::collections::VecDeque;
use std::sync::Arc;

/// News of one function: the last that counts.
enum Change {
    Added(Arc<PeFunction>),
    Removed,
    Bound,
}

/// News in their order, each function's and each kind once.
#[derive(Default)]
pub(super) struct Inbox {
    frozen_again: bool,
    doom: Option<Doom>,
    pes: VecDeque<Held>,
    functions: VecDeque<(FunctionId, Change)>,
}

impl Inbox {
    /// Keeps what is new, and gives back what is not, for the caller to drop with no lock held.
    pub(super) fn push(&mut self, news: News) -> Option<News> {
        match news {
            News::FrozenAgain => self.frozen_again = true,
            News::Doomed(doom) => drop(self.doom.get_or_insert(doom)),
            News::PeAdded(pe) if self.pes.iter().any(|known| known.is(&pe)) => {
                return Some(News::PeAdded(pe));
            }
            News::PeAdded(pe) => self.pes.push_back(pe),
            News::Added(function) => match self.at(function.id) {
                Some(_) => return Some(News::Added(function)),
                None => self.functions.push_back((function.id, Change::Added(function))),
            },
            News::Removed(id) => match self.at(id) {
                // Nobody has seen it come.
                Some(at) if matches!(self.functions.get(at), Some((_, Change::Added(_)))) => {
                    let (_, change) = self.functions.remove(at)?;
                    return if let Change::Added(function) = change {
                        Some(News::Added(function))
                    } else {
                        None
                    };
                }
                Some(at) => self.functions.get_mut(at)?.1 = Change::Removed,
                None => self.functions.push_back((id, Change::Removed)),
            },
            // Of who comes it is asked anyway, and who goes has nobody.
            News::Bound(id) => {
                if self.at(id).is_none() {
                    self.functions.push_back((id, Change::Bound));
                }
            }
        }
        None
    }

    pub(super) fn is_frozen_again(&self) -> bool {
        self.frozen_again
    }

    fn at(&self, id: FunctionId) -> Option<usize> {
        self.functions.iter().position(|(other, _)| *other == id)
    }

    /// The next thing to know. What comes to what is recovered before what happens to it, and the worst first.
    pub(super) fn pop(&mut self) -> Option<News> {
        if let Some(doom) = self.doom.take() {
            return Some(News::Doomed(doom));
        }
        if std::mem::take(&mut self.frozen_again) {
            return Some(News::FrozenAgain);
        }
        if let Some(pe) = self.pes.pop_front() {
            return Some(News::PeAdded(pe));
        }
        let (id, change) = self.functions.pop_front()?;
        Some(match change {
            Change::Added(function) => News::Added(function),
            Change::Removed => News::Removed(id),
            Change::Bound => News::Bound(id),
        })
    }
}

//! What a gate admits, for those who follow its state and do not enter.

use crate::Epoch;
use crate::word::{Status, Word};

/// What a gate admits of one epoch, at the moment of one look.
///
/// A refusal to an access says why it is kept out now; this says what becomes of who is kept out. So a frozen gate is
/// `Frozen` also while a closer has it, and a trial (`try_close`), which keeps nobody out until it is won, is not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Accesses enter.
    Open,
    /// A closer has the gate; it will be open again, or frozen, or gone.
    Blocked,
    /// Frozen, until somebody thaws it.
    Frozen,
    /// The device of this epoch was removed. For ever.
    Gone,
}

impl Word {
    /// What the gate admits of `epoch`.
    pub(crate) fn admission(self, epoch: Epoch) -> Admission {
        if self.epoch() != epoch {
            return Admission::Gone;
        }
        match self.status() {
            Status::Open => Admission::Open,
            // Whoever loses a trial changes nothing and tells nobody: a look that took it for a closer would have no
            // second one after it.
            Status::Blocked(_) if self.is_trial() => Admission::Open,
            Status::Blocked(_) => Admission::Blocked,
            Status::Frozen => Admission::Frozen,
            Status::Gone => Admission::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    #[test]
    fn a_trial_is_not_seen_until_it_is_won() {
        let (epoch, next) = (Epoch(7), Epoch(8));
        let blocked = Word::new(epoch, Status::Blocked(Reason::Reset), false);
        let frozen = Word::new(epoch, Status::Frozen, false);
        assert_eq!(blocked.admission(epoch), Admission::Blocked);
        assert_eq!(blocked.trial().admission(epoch), Admission::Open);
        assert_eq!(
            (frozen.admission(epoch), frozen.trial().admission(epoch)),
            (Admission::Frozen, Admission::Frozen)
        );
        assert_eq!(blocked.trial().admission(next), Admission::Gone, "law 5");
    }

    #[test]
    fn what_readers_do_with_a_word_is_not_part_of_what_it_admits() {
        // A drain of orphans, and the mark of a process without membarrier.
        let epoch = Epoch(7);
        assert_eq!(Word::new(epoch, Status::Open, true).admission(epoch), Admission::Open);
        assert_eq!(Word::new(epoch, Status::Open, false).marked().admission(epoch), Admission::Open);
    }
}

//! What a back end has to be told so that it signals what the consumer listens to. Data only.

use assign::{IrqMode, Wanted};
use vfio_user::codec::irq_index;

/// What a back end signals through our eventfds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) mode: Option<IrqMode>,
    /// Vectors from the first on.
    pub(super) vectors: usize,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Disable(u32),
    /// Vectors from `start` to before `end`.
    Wire {
        index: u32,
        start: usize,
        end: usize,
    },
}

impl Told {
    /// What it should be told. An index that is enabled has one vector at least: a client may enable it before it listens.
    pub(super) fn of(wanted: Wanted) -> Told {
        match wanted.mode {
            Some(mode) => Told { mode: Some(mode), vectors: wanted.vectors.max(1) },
            None => Told::default(),
        }
    }

    /// Whether vectors are only added: then it depends on the back end how.
    pub(super) fn grows_to(self, wanted: Told) -> bool {
        self.mode.is_some() && self.mode == wanted.mode && self.vectors < wanted.vectors
    }

    /// The messages that make `wanted` of this, and what it is then. Vectors that nobody listens to any more stay.
    pub(super) fn steps_to(self, wanted: Told, can_grow: bool) -> (Vec<Step>, Told) {
        let mut steps = Vec::new();
        let mut start = 0;
        if self.mode == wanted.mode {
            if self.vectors >= wanted.vectors {
                return (steps, self);
            }
            if can_grow {
                start = self.vectors;
            }
        }
        if let Some(mode) = self.mode
            && start == 0
        {
            steps.push(Step::Disable(index(mode)));
        }
        if let Some(mode) = wanted.mode {
            steps.push(Step::Wire { index: index(mode), start, end: wanted.vectors });
        }
        (steps, wanted)
    }
}

pub(super) fn index(mode: IrqMode) -> u32 {
    match mode {
        IrqMode::Intx => irq_index::INTX,
        IrqMode::Msi => irq_index::MSI,
        IrqMode::Msix => irq_index::MSIX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(mode: Option<IrqMode>, vectors: usize) -> Told {
        Told { mode, vectors }
    }

    #[test]
    fn each_change_takes_the_messages_it_needs_and_no_more() {
        use Step::{Disable, Wire};
        let (none, msi, msix) = (told(None, 0), Some(IrqMode::Msi), Some(IrqMode::Msix));
        let wire = |index, start, end| Wire { index, start, end };
        let table: &[(Told, Told, bool, &[Step])] = &[
            (none, none, true, &[]),
            (none, told(msi, 4), true, &[wire(1, 0, 4)]),
            (told(msi, 4), none, true, &[Disable(1)]),
            (told(msi, 4), told(msix, 1), true, &[Disable(1), wire(2, 0, 1)]),
            (told(msix, 1), told(msix, 3), true, &[wire(2, 1, 3)]),
            (told(msix, 1), told(msix, 3), false, &[Disable(2), wire(2, 0, 3)]),
            (told(msix, 3), told(msix, 1), false, &[]),
            (told(msix, 3), told(Some(IrqMode::Intx), 1), false, &[Disable(2), wire(0, 0, 1)]),
        ];
        for (from, to, can_grow, steps) in table {
            let (planned, then) = from.steps_to(*to, *can_grow);
            assert_eq!(planned, *steps, "{from:?} to {to:?}");
            assert_eq!(then.mode, to.mode);
            assert!(then.vectors >= to.vectors);
        }
    }

    #[test]
    fn an_enabled_index_has_a_vector_before_anybody_listens() {
        assert_eq!(Told::of(Wanted { mode: Some(IrqMode::Msix), vectors: 0 }), told(Some(IrqMode::Msix), 1));
        assert_eq!(Told::of(Wanted { mode: None, vectors: 7 }), told(None, 0));
    }
}

//! PEs that a recovery has, for as long as the guard lives.

use crate::pe::{Held, Holder, MARKS, MarkError, Pe};

/// Marked PEs: RECOVERING and KEEP are set together, and cleared together on every way out, as this is dropped (EEH-I5). What
/// was removed meanwhile is *invalid* from then on without a mark, and goes with the next change of the tree or with
/// [`crate::tree::PeTree::collect`].
///
/// Dropping waits for nobody, so it may happen anywhere.
#[derive(Debug, Default)]
#[must_use = "dropping it clears the marks"]
pub struct Marked {
    pes: Vec<Held>,
}

impl Marked {
    /// No marks yet.
    pub fn new() -> Marked {
        Marked::default()
    }

    /// Marks one more PE.
    ///
    /// # Errors
    /// [`MarkError`]; it is as it was.
    pub fn add(&mut self, pe: &Held) -> Result<(), MarkError> {
        // Room first: nothing comes between a mark and its place in the list.
        self.pes.reserve(1);
        let held = pe.hold_as(Holder::Recovery);
        held.state.mark()?;
        self.pes.push(held);
        Ok(())
    }

    /// Clears the marks of one PE, if this has it.
    pub fn let_go(&mut self, pe: &Pe) {
        if let Some(index) = self.pes.iter().position(|held| held.is(pe)) {
            self.pes.swap_remove(index).state.clear(MARKS);
        }
    }

    /// The PEs, in the order in which they were marked if none was let go.
    pub fn pes(&self) -> &[Held] {
        &self.pes
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        for pe in &self.pes {
            pe.state.clear(MARKS);
        }
    }
}

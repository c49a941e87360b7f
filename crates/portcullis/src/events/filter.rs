//! Which events a reader wants.

use std::collections::BTreeSet;

use super::kinds;
use crate::control::stream::{EventEntry, Subject};

/// Events about some subjects, of some kinds; by default all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    subjects: Option<BTreeSet<Subject>>,
    kinds: Vec<String>,
}

impl Filter {
    /// Only those about one of `subjects`.
    #[must_use]
    pub fn about(self, subjects: impl IntoIterator<Item = Subject>) -> Self {
        Self { subjects: Some(subjects.into_iter().collect()), ..self }
    }

    /// Only those of one of `kinds`; all if there are none.
    ///
    /// # Errors
    /// The kind that there is not: a reader would wait for it in vain.
    pub fn of_kinds(self, kinds: Vec<String>) -> Result<Self, String> {
        match kinds.iter().find(|kind| !kinds::is_known(kind)) {
            Some(unknown) => Err(unknown.clone()),
            None => Ok(Self { kinds, ..self }),
        }
    }

    pub(super) fn subjects(&self) -> Option<&BTreeSet<Subject>> {
        self.subjects.as_ref()
    }

    pub(super) fn is_about(&self, subject: &Subject) -> bool {
        self.subjects.as_ref().is_none_or(|subjects| subjects.contains(subject))
    }

    pub(super) fn wants(&self, entry: &EventEntry) -> bool {
        self.is_about(&entry.subject) && (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
    }
}

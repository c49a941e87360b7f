//! What was told, as far as it is held against the machine later.

use super::check::Rule;
use super::scene::Scene;
use contain::containment::RecoveryId;
use contain::pe::PeAddress;
use contain::report::Outcome;
use contain::watch::{Told, Watch};
use pci_spec::Bdf;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;

/// See the module's head.
#[derive(Default)]
pub(crate) struct Tape {
    /// Recoveries that have begun and not ended.
    pub(crate) running: BTreeMap<RecoveryId, PeAddress>,
    /// Those that began since somebody looked.
    pub(crate) new: Vec<(RecoveryId, PeAddress)>,
    ended: BTreeSet<RecoveryId>,
    /// Recoveries of PEs that had frozen too often, which must fail.
    pub(crate) must_fail: BTreeSet<RecoveryId>,
    /// Where PEs froze since somebody looked, in that order.
    pub(crate) froze: Vec<Bdf>,
    pub(crate) frozen: u64,
    pub(crate) given_up: u64,
    pub(crate) began: u64,
    /// Recovered, frozen again, contained, gone, failed.
    pub(crate) ends: [u64; 5],
}

impl Tape {
    /// What is wrong with that.
    fn take(&mut self, told: &Told) -> Option<(Rule, String)> {
        match told {
            Told::Frozen { function, .. } => {
                self.frozen += 1;
                self.froze.extend(function);
                None
            }
            Told::Began { id, pe } => {
                self.began += 1;
                self.new.push((*id, *pe));
                let twice = self.running.insert(*id, *pe).is_some() || self.ended.contains(id);
                twice.then(|| (Rule::EndsOnce, format!("recovery {id} of {pe} begins twice")))
            }
            Told::Ended { id, pe, outcome, .. } => {
                let nth = match outcome {
                    Outcome::Recovered => 0,
                    Outcome::FrozenAgain => 1,
                    Outcome::Contained => 2,
                    Outcome::Gone => 3,
                    Outcome::Failed(_) => 4,
                };
                if let Some(count) = self.ends.get_mut(nth) {
                    *count += 1;
                }
                self.running.remove(id);
                // What is passed through is its consumer's business, whatever its budget (EEH-21).
                if self.must_fail.remove(id) && *outcome == Outcome::Recovered {
                    let detail = format!("recovery {id} of {pe}, over its budget, ended {outcome:?}");
                    return Some((Rule::Budget, detail));
                }
                let again = !self.ended.insert(*id);
                again.then(|| (Rule::EndsOnce, format!("recovery {id} of {pe} ends twice")))
            }
            Told::PermanentFailure { .. } => {
                self.given_up += 1;
                None
            }
            _ => None,
        }
    }
}

/// Who is told.
pub(crate) struct Listener(pub(crate) Weak<Scene>);

impl Watch for Listener {
    fn tell(&self, told: &Told) {
        let Some(scene) = self.0.upgrade() else { return };
        let wrong = scene.tape.with(|tape| tape.take(told));
        match told {
            Told::Uevent { .. } | Told::Notice { .. } | Told::Log { .. } => {}
            told => scene.trace(|| format!("{told:?}")),
        }
        if let Some((rule, detail)) = wrong {
            scene.wrong(rule, detail);
        }
    }
}

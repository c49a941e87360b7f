//! Random changes against a simple model, with walks that are half done meanwhile.

use crate::support::*;
use contain::pe::{Holder, PeAddress};
use contain::tree::{Marked, Snapshot, TreeError, Walk};
use gate::ThreadToken;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u16, u16),
    Remove(u16),
    Move(u16, u16),
    Mark(u16),
    LetGo(u16),
    /// Some PEs of the walk that is under way.
    Walk(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0u16..24;
    prop_oneof![
        4 => (at.clone(), at.clone()).prop_map(|(at, parent)| Step::Insert(at, parent)),
        2 => at.clone().prop_map(Step::Remove),
        2 => (at.clone(), at.clone()).prop_map(|(at, parent)| Step::Move(at, parent)),
        1 => at.clone().prop_map(Step::Mark),
        1 => at.prop_map(Step::LetGo),
        3 => (1usize..6).prop_map(Step::Walk),
    ]
}

/// Number 0 is the host bridge.
fn place(number: u16) -> PeAddress {
    if number == 0 { phb() } else { pe(number) }
}

#[derive(Default)]
struct Model {
    parents: BTreeMap<u16, u16>,
    marked: BTreeSet<u16>,
}

impl Model {
    fn has(&self, at: u16) -> bool {
        at == 0 || self.parents.contains_key(&at)
    }

    fn is_within(&self, at: u16, above: u16) -> bool {
        at == above || self.parents.get(&at).is_some_and(|parent| self.is_within(*parent, above))
    }

    fn within(&self, above: u16) -> Vec<u16> {
        (0..24).filter(|at| self.has(*at) && self.is_within(*at, above)).collect()
    }
}

/// A walk under way: what it has met, and what has been there ever since it began.
struct HalfDone {
    walk: Walk<'static>,
    met: Vec<PeAddress>,
    throughout: BTreeSet<PeAddress>,
}

impl HalfDone {
    /// The picture is leaked, so that the walk can be kept beside what changes.
    fn begin(snapshot: Arc<Snapshot>, throughout: BTreeSet<PeAddress>) -> HalfDone {
        let snapshot: &'static Snapshot = Box::leak(Box::new(snapshot));
        HalfDone { walk: snapshot.walk(phb()), met: Vec::new(), throughout }
    }

    /// Goes on by `count`. Gives whether it has ended.
    fn go_on(&mut self, count: usize) -> bool {
        let before = self.met.len();
        self.met.extend(self.walk.by_ref().take(count).map(|visit| visit.pe().address()));
        self.met.len() < before + count
    }
}

proptest! {
    #[test]
    fn the_tree_is_what_the_model_is_and_old_pictures_are_walked_whole(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut token = ThreadToken::at_thread_entry();
        let tree = contain::tree::PeTree::new(Arc::new(pci_core::VirtualTime::default()));
        tree.insert(&mut token, [root()], soon()).unwrap();
        let mut model = Model::default();
        // Enough siblings to begin with.
        for at in 1..16 {
            tree.insert(&mut token, [bus(at, place(at / 5))], soon()).unwrap();
            model.parents.insert(at, at / 5);
        }
        let mut marked = Marked::new();
        let mut half: Option<HalfDone> = None;
        for step in steps {
            match step {
                Step::Insert(at, parent) if at != 0 => {
                    let fits = !model.has(at) && model.has(parent);
                    let done = tree.insert(&mut token, [bus(at, place(parent))], soon());
                    // What a recovery has is refused elsewhere than it was; all else is as in the model.
                    prop_assert!(fits || done.is_err());
                    if done.is_ok() {
                        model.parents.insert(at, parent);
                    } else {
                        let kept = matches!(done, Err(TreeError::Recovering(_))) && !model.marked.is_empty();
                        prop_assert!(!fits || kept);
                    }
                }
                Step::Remove(at) if at != 0 => {
                    prop_assert_eq!(tree.remove(&mut token, place(at), soon()).is_ok(), model.has(at));
                    if model.has(at) {
                        for gone in model.within(at) {
                            model.parents.remove(&gone);
                            half.iter_mut().for_each(|half| _ = half.throughout.remove(&place(gone)));
                        }
                    }
                }
                Step::Move(at, parent) if at != 0 => {
                    let may = model.has(at) && model.has(parent) && !model.is_within(parent, at);
                    let done = tree.move_below(&mut token, place(at), place(parent), soon()).is_ok();
                    let recovered = model.marked.iter().any(|marked| model.has(*marked) && model.is_within(*marked, at));
                    prop_assert!(!done || may && !recovered);
                    if done {
                        model.parents.insert(at, parent);
                    } else {
                        prop_assert!(!may || !model.marked.is_empty());
                    }
                }
                Step::Mark(at) => if let Some(pe) = tree.find(&token, place(at), Holder::Lookup) {
                    prop_assert_eq!(marked.add(&pe).is_ok(), model.marked.insert(at));
                },
                Step::LetGo(at) => {
                    let held = marked.pes().iter().find(|pe| pe.address() == place(at)).cloned();
                    held.iter().for_each(|pe| marked.let_go(pe));
                    prop_assert_eq!(held.is_some(), model.marked.remove(&at));
                    tree.collect(&mut token, soon()).unwrap();
                }
                Step::Walk(count) => {
                    let mut walk = half.take().unwrap_or_else(|| {
                        let all = model.within(0).into_iter().map(place).collect();
                        HalfDone::begin(tree.snapshot(&token), all)
                    });
                    if walk.go_on(count) {
                        let met: BTreeSet<_> = walk.met.iter().copied().collect();
                        prop_assert_eq!(met.len(), walk.met.len(), "none twice");
                        prop_assert!(met.is_superset(&walk.throughout));
                    } else {
                        half = Some(walk);
                    }
                }
                _ => {}
            }
            let snapshot = tree.snapshot(&token);
            let met: Vec<_> = snapshot.walk(phb()).map(|visit| visit.pe().address()).collect();
            for (index, at) in met.iter().enumerate() {
                let above = snapshot.parent(*at, Holder::Lookup);
                prop_assert!(above.is_none_or(|above| met[..index].contains(&above.address())), "parents first");
            }
            let mut met = met;
            met.sort_unstable();
            prop_assert_eq!(met, model.within(0).into_iter().map(place).collect::<Vec<_>>());
            for (at, parent) in &model.parents {
                let above = snapshot.parent(place(*at), Holder::Lookup).map(|above| above.address());
                prop_assert_eq!(above, Some(place(*parent)));
            }
        }
        drop(marked);
        tree.collect(&mut token, soon()).unwrap();
        prop_assert_eq!(tree.snapshot(&token).len(), model.within(0).len(), "all is collected");
    }
}

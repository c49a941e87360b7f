//! Recoveries, hot-plug and walks that meet in random schedules.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --release --test shuttle`. Shuttle fails a schedule in which everybody
//! sleeps, so every wait for a recovery ends. `SHUTTLE_ITERATIONS` is the number of schedules of each scenario.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use contain::budget::FreezeBudget;
use contain::pe::{Held, Holder, PeState};
use contain::tree::{Claim, Marked, PeFunction, PeTree, TreeError, TryClaimed};
use gate::{Deadline, ThreadToken};
use pci_core::VirtualTime;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use shuttle::{Config, Runner, thread};
use std::sync::Arc;
use std::time::Duration;

#[allow(dead_code, reason = "what the other tests need")]
#[path = "tree/support.rs"]
mod support;

use support::{bus, function, pe, phb, root};

/// Never fires under shuttle.
fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

/// A host bridge with PE 1, in it 2 and 3, and in 2 PE 4.
struct House {
    tree: Arc<PeTree>,
    /// PEs 0 to 4 that a recovery is at work on.
    busy: [AtomicBool; 5],
    /// Freezes of PE 3 that were counted, and those of them that were too many.
    counted: AtomicU32,
    exceeded: AtomicU32,
}

impl House {
    fn new() -> Arc<House> {
        let tree = Arc::new(PeTree::new(Arc::new(VirtualTime::default())));
        let mut token = ThreadToken::at_thread_entry();
        let new = [root(), bus(1, phb()), bus(2, pe(1)), bus(3, pe(1)), bus(4, pe(2))];
        tree.insert(&mut token, new, ahead()).unwrap();
        for at in 1..=3 {
            tree.add_function(&mut token, pe(3), function(at, Vec::new()), ahead()).unwrap();
        }
        let busy = std::array::from_fn(|_| AtomicBool::new(false));
        let (counted, exceeded) = (AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(House { tree, busy, counted, exceeded })
    }

    /// Claims a PE, and tries again as long as the claim is pending; nothing if somebody else has it or it was removed.
    /// Shuttle fails a schedule in which that never ends.
    fn claim(&self, token: &ThreadToken, number: u16) -> Option<Claim> {
        let mut claimed = self.tree.try_claim(token, pe(number));
        loop {
            match claimed {
                Ok(TryClaimed::Mine(claim)) => return Some(claim),
                Ok(TryClaimed::Below(pending)) => {
                    thread::yield_now();
                    claimed = pending.try_ready(token);
                }
                Ok(TryClaimed::Joined(_)) | Err(_) => return None,
            }
        }
    }

    /// Recovers a PE and all that is below it, unless somebody else does.
    fn recover(&self, number: u16) {
        let mut token = ThreadToken::at_thread_entry();
        let Some(claim) = self.claim(&token, number) else { return };
        // What comes below meanwhile is joined to this recovery.
        let snapshot = self.tree.snapshot(&token);
        let below: Vec<_> = snapshot.walk(pe(number)).map(|visit| visit.hold(Holder::Recovery)).collect();
        drop(snapshot);
        let mut marked = Marked::new();
        for held in &below {
            let busy = &self.busy[usize::from(held.address().number().unwrap())];
            assert!(!busy.swap(true, Ordering::SeqCst), "two recoveries of {}", held.address());
            let _removed_meanwhile = marked.add(held);
        }
        // A callback: whoever is called may do what it likes, so nothing is held.
        token.assert_holds_nothing();
        thread::yield_now();
        for held in marked.pes() {
            assert!(held.state().contains(PeState::RECOVERING | PeState::KEEP));
            // Removed or not, it is still in the tree.
            let orphans = self.tree.orphans(Duration::ZERO);
            assert!(orphans.iter().all(|orphan| orphan.id != held.id()), "freed while marked");
        }
        for held in &below {
            let busy = &self.busy[usize::from(held.address().number().unwrap())];
            assert!(busy.swap(false, Ordering::SeqCst));
        }
        drop((below, marked, claim));
        self.tree.collect(&mut token, ahead()).unwrap();
    }

    fn replug(&self) {
        let mut token = ThreadToken::at_thread_entry();
        self.tree.remove(&mut token, pe(2), ahead()).unwrap();
        thread::yield_now();
        self.tree.insert(&mut token, [bus(2, pe(1)), bus(4, pe(2))], ahead()).unwrap();
    }

    fn pull(&self) {
        let mut token = ThreadToken::at_thread_entry();
        self.tree.remove(&mut token, pe(4), ahead()).unwrap();
    }

    /// Moves PE 4 to and fro; what is claimed stays where it is.
    fn shuffle(&self) {
        let mut token = ThreadToken::at_thread_entry();
        for parent in [3, 2] {
            match self.tree.move_below(&mut token, pe(4), pe(parent), ahead()) {
                Ok(()) | Err(TreeError::Recovering(_)) => {}
                Err(other) => panic!("{other}"),
            }
            thread::yield_now();
        }
    }

    /// Takes the second function of PE 3 out and puts another one in.
    fn exchange(&self) {
        let mut token = ThreadToken::at_thread_entry();
        let at = function(2, Vec::new()).address;
        let out = self.tree.remove_function(&mut token, at, ahead()).unwrap();
        thread::yield_now();
        assert_eq!(out.address, at, "who has one keeps it");
        self.tree.add_function(&mut token, pe(3), function(2, Vec::new()), ahead()).unwrap();
    }

    /// Each function that stays is met once, and one that is found is in the PE that is found with it.
    fn look_at_functions(&self) {
        let token = ThreadToken::at_thread_entry();
        let snapshot = self.tree.snapshot(&token);
        let mut met = Vec::new();
        for function in snapshot.functions(pe(3)) {
            met.push(function.address.routing_id());
            thread::yield_now();
        }
        for stays in [1, 3] {
            assert_eq!(met.iter().filter(|at| **at == stays).count(), 1, "function {stays}");
        }
        assert!(met.iter().filter(|at| **at == 2).count() <= 1);
        for at in 1..=3 {
            let place = function(at, Vec::new()).address;
            let found = self.tree.of_function(&token, place, Holder::Event);
            assert!(found.is_some() || at == 2);
            let fits = |(held, function): (Held, Arc<PeFunction>)| (held.address(), function.address);
            assert!(found.map(fits).is_none_or(|found| found == (pe(3), place)));
        }
    }

    /// Isolates PE 3 and counts the freeze, as a detection does.
    fn freeze(&self) {
        let token = ThreadToken::at_thread_entry();
        let three = self.tree.find(&token, pe(3), Holder::Event).unwrap();
        let budget = FreezeBudget { max_freezes: 1, ..FreezeBudget::default() };
        if three.isolate() {
            let spent = three.freezes.add(Duration::ZERO, budget);
            self.counted.fetch_add(1, Ordering::SeqCst);
            self.exceeded.fetch_add(u32::from(spent.exceeded), Ordering::SeqCst);
            three.clear(PeState::ISOLATED);
        }
    }

    fn walk(&self) {
        let token = ThreadToken::at_thread_entry();
        let snapshot = self.tree.snapshot(&token);
        let mut met = Vec::new();
        for visit in snapshot.walk(phb()) {
            met.push(visit.pe().address());
            thread::yield_now();
        }
        for stays in [phb(), pe(1), pe(3)] {
            assert_eq!(met.iter().filter(|at| **at == stays).count(), 1, "{stays}");
        }
        let all = met.len();
        met.sort_unstable();
        met.dedup();
        assert_eq!(met.len(), all, "none twice");
    }

    /// After all: no marks, nothing kept, nothing held.
    fn check(&self, pes: usize) {
        let mut token = ThreadToken::at_thread_entry();
        self.tree.collect(&mut token, ahead()).unwrap();
        let snapshot = self.tree.snapshot(&token);
        assert_eq!(snapshot.len(), pes);
        for visit in snapshot.walk(phb()) {
            assert_eq!(visit.pe().state(), PeState::empty());
            assert!(visit.pe().holders().is_empty());
        }
        assert!(self.tree.orphans(Duration::ZERO).is_empty());
    }
}

fn explore(scenario: fn()) {
    let iterations =
        std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    Runner::new(PctScheduler::new_from_seed(7, 4, iterations), Config::new()).run(scenario);
    Runner::new(RandomScheduler::new_from_seed(7, iterations), Config::new()).run(scenario);
}

fn together(house: &Arc<House>, parts: Vec<fn(&House)>) {
    let spawn = |part: fn(&House)| {
        let house = house.clone();
        thread::spawn(move || part(&house))
    };
    let threads: Vec<_> = parts.into_iter().map(spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn recoveries_of_a_pe_its_parent_and_its_child_never_overlap_and_all_end() {
    explore(|| {
        let house = House::new();
        together(&house, vec![|h| h.recover(1), |h| h.recover(2), |h| h.recover(4), |h| h.recover(2)]);
        house.check(5);
    });
}

#[test]
fn a_re_plug_during_recoveries_and_walks_leaves_nothing_behind() {
    explore(|| {
        let house = House::new();
        together(&house, vec![|h| h.recover(2), |h| h.recover(4), House::replug, House::walk]);
        house.check(5);
    });
}

#[test]
fn a_pe_that_is_pulled_during_its_recovery_is_collected() {
    explore(|| {
        let house = House::new();
        together(&house, vec![|h| h.recover(4), House::pull, House::walk]);
        house.check(4);
    });
}

#[test]
fn recoveries_never_overlap_while_pes_are_moved_between_them() {
    explore(|| {
        let house = House::new();
        together(&house, vec![|h| h.recover(3), |h| h.recover(4), House::shuffle, |h| h.recover(2)]);
        house.check(5);
    });
}

#[test]
fn a_move_beside_a_recovery_of_all_and_a_walk_leaves_nothing_behind() {
    explore(|| {
        let house = House::new();
        together(&house, vec![|h| h.recover(1), |h| h.recover(4), House::shuffle, House::walk]);
        house.check(5);
    });
}

#[test]
fn functions_that_stay_are_met_once_while_others_come_and_go() {
    explore(|| {
        let house = House::new();
        together(&house, vec![House::exchange, House::look_at_functions, |h| h.recover(3)]);
        house.check(5);
    });
}

#[test]
fn each_freeze_is_counted_once_whoever_detects_it_at_once() {
    explore(|| {
        let house = House::new();
        together(&house, vec![House::freeze, House::freeze, House::freeze]);
        let token = ThreadToken::at_thread_entry();
        let three = house.tree.find(&token, pe(3), Holder::Operator).unwrap();
        let counted = house.counted.load(Ordering::SeqCst);
        assert!(counted >= 1);
        assert_eq!(three.freezes.freezes(), counted, "none is lost");
        assert_eq!(house.exceeded.load(Ordering::SeqCst), counted - 1);
        drop((three, token));
        house.check(5);
    });
}

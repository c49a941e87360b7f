//! Moments at which nobody does anything: everything that is under way ends, and what is left is counted.

use super::acts::{check_sum, follow};
use super::check::{self, Rule};
use super::plan::Act;
use super::scene::Scene;
use contain::containment::{Containment, Phase};
use contain::follow::place;
use contain::pe::{Holder, PeAddress, PeState};
use gate::ThreadToken;
use std::collections::BTreeSet;

/// Things that may be left to do when everybody stops, and for each function.
const PATIENCE: (usize, usize) = (5_000, 40);

impl Scene {
    /// Brings everything to rest, checks that nothing is left over, and lets everybody go on.
    pub(crate) fn come_to_rest(&self, containment: &Containment, token: &mut ThreadToken) {
        self.trace(|| "everybody stops".into());
        self.count(Act::Rest);
        self.calm.set(true);
        drop(self.holds.with(std::mem::take));
        self.looks.with(check::Looks::forget_picture);
        let deferred = self.settle(containment, token);
        check::everything(self, containment, token);
        self.looks.with(check::Looks::forget_picture);
        self.nothing_under_way(containment, token);
        self.like_the_topology(containment, token, deferred);
        self.adds_up(containment);
        self.calm.set(false);
        self.trace(|| "everybody goes on".into());
    }

    /// Gives how many functions could not be followed.
    fn settle(&self, containment: &Containment, token: &mut ThreadToken) -> usize {
        let functions = self.forest.with(|forest| forest.len());
        let most = PATIENCE.0 + PATIENCE.1 * functions;
        let mut deferred = None;
        for _ in 0..most {
            if self.alarmed.get() {
                self.take_turn(containment, token);
            } else if self.late.with(|late| !late.is_empty()) {
                self.answer_one();
            } else if self.hands.is_woken() {
                self.drive_one(token);
            } else if self.hands.next_timer().is_some() {
                self.let_time_pass();
            } else {
                let left = follow(self, containment, token);
                // What is put off is tried each time, and raises the alarm for who waits for it.
                self.take_turn(containment, token);
                let quiet = !self.hands.is_woken() && !self.alarmed.get();
                if deferred == Some(left) && quiet {
                    return left;
                }
                deferred = Some(left);
            }
        }
        let left = containment.recoveries();
        let left = left.iter().find(|it| !matches!(it.phase, Phase::Left(_)));
        self.wrong(Rule::Ends, format!("after {most} steps there is more to do: {left:?}"));
        0
    }

    fn nothing_under_way(&self, containment: &Containment, token: &ThreadToken) {
        let left = containment.recoveries().into_iter().find(|it| !matches!(it.phase, Phase::Left(_)));
        if let Some(left) = left {
            self.wrong(Rule::Ends, format!("nothing is due, and {left:?}"));
        }
        if let Some((id, pe)) = self.tape.with(|tape| tape.running.iter().next().map(|(id, pe)| (*id, *pe))) {
            self.wrong(Rule::Ends, format!("the end of {id} of {pe} was told to nobody"));
        }
        let marks = PeState::RECOVERING | PeState::KEEP | PeState::RESET | PeState::CFG_BLOCKED;
        for (pe, _) in containment.tree().snapshot(token).every(Holder::Lookup) {
            if pe.state().intersects(marks) {
                self.wrong(Rule::Marked, format!("{} is {:?} at rest", pe.address(), pe.state()));
            }
        }
        let closed = self.forest.with(|forest| {
            let left = |function: &pci_core::Function| {
                function.gate().status().owner.is_some() || function.config().is_dma_held()
            };
            forest.cards().find(|card| left(&card.node.function)).map(|card| card.node.address)
        });
        if let Some(at) = closed {
            self.wrong(Rule::GivenBack, format!("the gate of {at} is closed at rest, or its DMA held"));
        }
        if let Some(orphan) = containment.tree().orphans(std::time::Duration::ZERO).first() {
            self.wrong(Rule::Referenced, format!("{orphan:?} is held at rest"));
        }
    }

    /// Every function is where it belongs, but for those whose PE has failed and is still there.
    fn like_the_topology(&self, containment: &Containment, token: &ThreadToken, deferred: usize) {
        let topology = self.forest.with(|forest| forest.topology.clone());
        let snapshot = containment.tree().snapshot(token);
        let mut missing = 0;
        let mut used: BTreeSet<PeAddress> = BTreeSet::new();
        for node in topology.iter() {
            let place = place(&topology, node);
            let chain: Vec<PeAddress> = place.chain().map(|pe| pe.address).collect();
            used.extend(&chain);
            let found = snapshot.of_function(node.address, Holder::Lookup);
            match found.filter(|(_, function)| std::sync::Arc::ptr_eq(&function.function, &node.function)) {
                None => {
                    missing += 1;
                    let failed = chain.iter().any(|pe| snapshot.has_failed(*pe));
                    if !failed || deferred == 0 {
                        self.wrong(Rule::Followed, format!("{} is in no PE", node.address));
                    }
                }
                Some((pe, _)) => {
                    let mut above: Vec<PeAddress> =
                        snapshot.up(pe.address()).map(contain::pe::Pe::address).collect();
                    above.reverse();
                    if above != chain {
                        let at = node.address;
                        self.wrong(Rule::Followed, format!("{at} is in {above:?}, and belongs in {chain:?}"));
                    }
                }
            }
        }
        if missing != deferred {
            self.wrong(Rule::Followed, format!("{deferred} put off, and {missing} missing"));
        }
        let odd = snapshot.every(Holder::Lookup).into_iter().find(|(pe, _)| !used.contains(&pe.address()));
        if let Some((pe, _)) = odd {
            self.wrong(Rule::Followed, format!("{} is there, and nothing of it", pe.address()));
        }
    }

    fn adds_up(&self, containment: &Containment) {
        let counts = containment.statistics();
        let (frozen, given_up, began) = self.tape.with(|tape| (tape.frozen, tape.given_up, tape.began));
        let expected = [
            ("freezes", counts.freezes, frozen),
            ("failed", counts.failed, given_up),
            ("recoveries", counts.recoveries, began),
        ];
        for (what, counted, told) in expected {
            if counted != told {
                self.wrong(Rule::AddsUp, format!("{what}: {counted} counted, {told} told"));
            }
        }
        let ended = counts.recovered + counts.failed + counts.passed_through;
        if ended > counts.recoveries {
            self.wrong(Rule::AddsUp, format!("{} began, and {ended} ended", counts.recoveries));
        }
        let (noticed, signs) = (check_sum(containment), self.signs.get());
        if noticed < signs {
            self.wrong(Rule::AddsUp, format!("{signs} errors were told, and {noticed} noticed"));
        }
    }
}

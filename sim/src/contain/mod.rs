//! Containment in forests of 1 to 10,000 PEs: errors, freezes, recoveries and hot-plug, in an order that a seed decides.
//!
//! The tree, the front, the executor and the gates are the real ones. Functions, drivers, consumers and the platform are scripted: they
//! do what they should not, as often as the [`Plan`] says. After each step a few functions are held against the freezes that
//! there are, and now and then everything is ([`Rule`]); when everybody stops, nothing may be left over.
//!
//! What it does **not** do: no second thread, so it finds no race within one call of the core; a reset never takes longer than it may
//! (its gates would be waited for in real time); and slots, topology and hardware resets are the business of the other
//! [world](crate::World).

mod acts;
mod check;
mod crew;
mod device;
mod forest;
mod hardware;
mod people;
mod plan;
mod rest;
mod scene;
mod steps;
mod tape;

pub use check::{Rule, Violation};
pub use plan::{Act, Faults, Plan};

use crate::random::Random;
use contain::containment::{Containment, Parts};
use contain::detect::Alarm;
use gate::ThreadToken;
use hardware::Hardware;
use people::People;
use scene::Scene;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tape::Listener;

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Steps that were made.
    pub steps: u64,
    /// How often what was done.
    pub done: BTreeMap<Act, u64>,
    /// PEs at the beginning.
    pub pes: usize,
    /// Calls of drivers, consumers and the platform.
    pub calls: u64,
    /// Recoveries that ended: recovered, frozen again, contained, gone, failed.
    pub ends: [u64; 5],
    /// Virtual time that passed.
    pub time: Duration,
    /// Hash of the trace.
    pub hash: u64,
    /// The first thing that was not as it has to be.
    pub violation: Option<Violation>,
    /// The last lines of the trace.
    pub last: Vec<String>,
}

/// An alarm is a turn that is due.
struct Bell(Weak<Scene>);

impl Alarm for Bell {
    fn raise(&self) {
        if let Some(scene) = self.0.upgrade() {
            scene.alarmed.set(true);
        }
    }
}

/// Runs the forest of a seed for as many steps, or until something is not as it has to be. `out` gets every line of the trace.
pub fn run(token: &mut ThreadToken, seed: u64, steps: u64, out: Option<fn(&str)>) -> Outcome {
    let mut random = Random::new(seed);
    let plan = Plan::from_seed(&mut random);
    let scene = Scene::new(plan, random, out);
    let containment = containment_of(&scene);
    scene.looks.with(|looks| looks.most_freezes = scene.plan.settings.budget.max_freezes);
    let _deferred = acts::follow(&scene, &containment, token);
    let mut rest = scene.plan.rest_every;
    while scene.step.get() < steps && !scene.is_broken() {
        scene.step_once(&containment, token);
        if scene.step.get() >= rest {
            rest = scene.step.get() + scene.plan.rest_every;
            scene.come_to_rest(&containment, token);
        }
    }
    if !scene.is_broken() {
        scene.come_to_rest(&containment, token);
    }
    let (hash, last) = scene.hash_and_last();
    Outcome {
        seed,
        steps: scene.step.get(),
        done: scene.done.with(std::mem::take),
        pes: scene.plan.pes,
        calls: scene.calls.get(),
        ends: scene.tape.with(|tape| tape.ends),
        time: scene.now(),
        hash,
        violation: scene.violation.with(|violation| violation.take()),
        last,
    }
}

fn containment_of(scene: &Arc<Scene>) -> Arc<Containment> {
    let weak = Arc::downgrade(scene);
    let containment = Containment::new(Parts {
        time: scene.time.clone(),
        platform: Arc::new(Hardware(weak.clone())),
        parties: Arc::new(People(weak.clone())),
        crew: scene.hands.clone(),
        alarm: Arc::new(Bell(weak.clone())),
        watch: Arc::new(Listener(weak)),
        settings: scene.plan.settings,
    });
    let _once = scene.containment.set(Arc::downgrade(&containment));
    containment
}

//! A small world for tests, in which nothing goes wrong that the test does not do.

use crate::actions;
use crate::faults::{ConsumerFaults, HardwareFaults};
use crate::invariants::Invariant;
use crate::machine::Plugged;
use crate::plan::Plan;
use crate::random::Random;
use crate::s390::Platform;
use crate::world::{Options, World};
use gate::ThreadToken;
use slot::{Features, Settings, Told};
use std::sync::Arc;

/// A world of one slot in which nothing goes wrong, but that nobody lets go who `ignores`.
pub(crate) struct Scene {
    pub(crate) token: ThreadToken,
    pub(crate) world: Arc<World>,
}

impl Scene {
    pub(crate) fn new(drivers: usize, ignores: bool) -> Scene {
        Scene::of(drivers, ignores, None)
    }

    fn of(drivers: usize, ignores: bool, platform: Option<Platform>) -> Scene {
        let mut token = ThreadToken::at_thread_entry();
        let consumers = ConsumerFaults { ignores: u32::from(ignores) * 1000, ..ConsumerFaults::default() };
        let plan = Plan {
            slots: vec![Features::default()],
            settings: Settings::default(),
            actions: Vec::new(),
            hardware: HardwareFaults::default(),
            consumers,
            drivers,
            haste: 0,
            calm_every: u64::MAX,
            platform,
        };
        let options = Options { seed: 0, slots: 1, zpci: false, out: None, counts_process: false };
        let world = World::new(&mut token, options, Random::new(7), plan).expect("a machine");
        Scene { token, world }
    }

    /// With a card that is on.
    pub(crate) fn on(drivers: usize, ignores: bool) -> Scene {
        Scene::new(drivers, ignores).up()
    }

    /// With a card that is on, and the s390 view of it.
    pub(crate) fn on_platform() -> Scene {
        let platform = Platform { acts: Vec::new(), uids: true, generation_bits: 19, max_store: 128 };
        Scene::of(0, false, Some(platform)).up()
    }

    fn up(self) -> Scene {
        let mut scene = self;
        actions::insert(&scene.world, 0);
        for _ in 0..50 {
            scene.world.one_thing(&mut scene.token);
        }
        assert_eq!(scene.world.ledger.with(|ledger| ledger.plugged), 1, "the card is on");
        scene.world.check(&mut scene.token);
        assert!(!scene.world.is_violated(), "{:?}", scene.found());
        scene
    }

    pub(crate) fn functions(&self) -> Vec<Plugged> {
        self.world.bays[0].plugged()
    }

    pub(crate) fn tell(&self, what: &Told) {
        self.world.told(0, what);
    }

    pub(crate) fn check(&mut self) {
        self.world.check(&mut self.token);
    }

    pub(crate) fn found(&self) -> Option<Invariant> {
        self.world.ledger.with(|ledger| ledger.violation.as_ref().map(|violation| violation.invariant))
    }

    /// Takes everything apart, so that no client is left attached.
    pub(crate) fn ends_with(mut self, invariant: Invariant) {
        assert_eq!(self.found(), Some(invariant));
        self.world.take_down(&mut self.token);
    }
}

//! An NVMe back end that dies at any step, and the driver that goes on with the next one.
//!
//! The driver, its journal and the life of the back end are the real ones. The back end, the kernel that lands its writes late, the disk
//! and the guest are scripted: back ends die between any two calls, also while they are set up, complete in any order, and lie in
//! their completion queues, as often as the plan says. The guest holds every read against what it has written.
//!
//! What it does **not** do: no second thread; no guest rings and phases, which are the front end's (`models`); no sockets.

mod disk;
mod guest;
mod scene;
mod server;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use gate::ThreadToken;
use models::nvme::elsewhere::{Elsewhere, Reaped};
use nvme_spec::Status;
use remote::config::RemoteConfig;
use remote::fence::{Fenced, How, Known};
use remote::life::{Effect, Event, Life, Rules};
use remote::nvme::{Driver, Options};

pub use guest::Wrong;

use crate::random::Random;
use guest::{Guest, page};
use scene::Scene;
use server::Server;
use wire::Line;

/// Steps from one time that everything comes to rest to the next.
const REST_EVERY: u64 = 500;
/// Rounds in which everything that is under way comes to its end when nobody fails.
const ROUNDS: usize = 20_000;

/// What is known of a dead back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowledge {
    /// The next one serves only once nothing of it is under way, and says so.
    Server,
    /// Its process has ended, and no more is known.
    Ended,
    /// The same, and the operator accepts that.
    Accepted,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Steps that were made.
    pub steps: u64,
    /// Back ends that died.
    pub deaths: u64,
    /// Commands that were answered, and those of them with an error.
    pub answered: (u64, u64),
    /// Commands that were executed again.
    pub replayed: u64,
    /// Hash of the trace.
    pub hash: u64,
    /// The first thing that was not as it has to be.
    pub wrong: Option<Wrong>,
    /// The last lines of the trace.
    pub last: Vec<String>,
}

impl Outcome {
    fn failed(seed: u64, wrong: Wrong) -> Outcome {
        Outcome {
            seed,
            steps: 0,
            deaths: 0,
            answered: (0, 0),
            replayed: 0,
            hash: 0,
            wrong: Some(wrong),
            last: Vec::new(),
        }
    }
}

/// See the module's head.
struct Play {
    scene: Arc<Scene>,
    guest: Guest,
    driver: Arc<Driver>,
    life: Life,
    now: Duration,
    /// Work of the life's that is to be done next.
    work: Option<Effect>,
    line: Option<Arc<Line>>,
    known: Knowledge,
    broken: Broken,
    /// Chances in a thousand of a death and of a lie, in a step.
    deaths: u32,
    lies: u32,
    replayed: u64,
    resetting: bool,
    calm: bool,
    reaped: Vec<Reaped>,
}

/// A world in which something is broken on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Broken {
    /// Nothing is.
    #[default]
    Nothing,
    /// New back ends say that the old one's writes have landed, and do not wait for them.
    Fence,
}

/// Runs the world of a seed for as many steps, or until something is not as it has to be. `out` gets every line of the trace.
pub fn run(token: &mut ThreadToken, seed: u64, steps: u64, broken: Broken, out: Option<fn(&str)>) -> Outcome {
    let mut play = match Play::new(token, seed, broken, out) {
        Ok(play) => play,
        Err(wrong) => return Outcome::failed(seed, wrong),
    };
    let mut made = 0;
    let wrong = loop {
        if made >= steps {
            break play.come_to_rest(token).err();
        }
        made += 1;
        play.scene.world.with(|world| world.step = made);
        if let Err(wrong) = play.step(token) {
            break Some(wrong);
        }
        if made % REST_EVERY == 0
            && let Err(wrong) = play.come_to_rest(token)
        {
            break Some(wrong);
        }
    };
    let (hash, last) = play.scene.hash_and_last();
    Outcome {
        seed,
        steps: made,
        deaths: play.scene.world.with(|world| world.kills),
        answered: (play.guest.answered, play.guest.failed),
        replayed: play.replayed,
        hash,
        wrong,
        last,
    }
}

impl Play {
    /// A world with a back end that works.
    fn new(token: &mut ThreadToken, seed: u64, broken: Broken, out: Option<fn(&str)>) -> Result<Play, Wrong> {
        let mut random = Random::new(seed);
        let known =
            [Knowledge::Server, Knowledge::Server, Knowledge::Ended, Knowledge::Accepted][random.below(4)];
        let deaths = [0, 2, 10, 40][random.below(4)];
        let lies = [0, 0, 20][random.below(3)];
        let mut config = RemoteConfig::new("sim".into());
        config.queues = u16::try_from(1 + random.below(3)).unwrap_or(1);
        config.accept_late_writes = known == Knowledge::Accepted;
        config.give_up_after = Duration::MAX;
        config.budget.max_freezes = u32::MAX;
        let scene = Arc::new(Scene::new(random, out));
        scene.line(&format!("{known:?}, {} queues, {deaths} deaths and {lies} lies in 1,000", config.queues));
        let line = start(&scene);
        scene.world.with(|world| world.eager = true);
        let options = Options { queues: config.queues, depth: 64, ..Options::default() };
        let driver = Driver::open(token, Arc::clone(&line) as _, options);
        scene.world.with(|world| world.eager = false);
        let driver = driver.map_err(|error| Wrong::NotUp { why: error.to_string() })?;
        Ok(Play {
            scene,
            guest: Guest::default(),
            driver,
            life: Life::new(Rules::new(&config, seed)),
            now: Duration::ZERO,
            work: None,
            line: Some(line),
            known,
            broken,
            deaths,
            lies,
            replayed: 0,
            resetting: false,
            calm: false,
            reaped: Vec::new(),
        })
    }

    /// Something happens.
    fn step(&mut self, token: &mut ThreadToken) -> Result<(), Wrong> {
        self.now += Duration::from_millis(1);
        if !self.calm && self.scene.chance(self.deaths, 1000) {
            self.die();
        }
        if !self.calm && self.scene.chance(self.lies, 1000) {
            self.lie();
        }
        match self.scene.below(16) {
            0..=4 => self.submit(),
            5 | 6 => self.ring(token),
            7..=10 => self.serve(),
            11 | 12 => self.reap()?,
            13 => self.land(),
            14 if !self.calm && self.scene.chance(1, 50) => self.reset(),
            _ => self.live(token)?,
        }
        self.notice_loss();
        Ok(())
    }

    /// The back end dies now, or in the midst of what is asked of it next.
    fn die(&mut self) {
        let later = self.scene.chance(1, 2).then(|| u32::try_from(self.scene.below(40)).unwrap_or(0));
        self.scene.world.with(|world| match later {
            Some(calls) => world.dies_after = Some(calls),
            None => world.kill(),
        });
        self.scene.line(&format!("the back end dies: {later:?}"));
    }

    /// The back end completes what nobody has asked for.
    fn lie(&mut self) {
        self.scene.world.with(|world| {
            let Some(mut server) = world.server.take() else { return };
            let queues = server.queues();
            if let Some(queue) = queues.get(world.random.below(queues.len())) {
                // One that is under way it may well claim to have executed; that cannot be told.
                let cid = guest::TAGS + u16::try_from(world.random.below(1000)).unwrap_or(0);
                server.post(*queue, cid, (world.random.bits(), Status::SUCCESS));
            }
            world.server = Some(server);
        });
        self.scene.line("the back end lies");
    }

    /// The worker's part. A reset of the guest's is waited for in it.
    fn ring(&self, token: &mut ThreadToken) {
        self.scene.world.with(|world| world.eager = self.resetting);
        self.driver.ring(token);
        self.scene.world.with(|world| world.eager = false);
    }

    fn submit(&mut self) {
        if self.resetting || !self.driver.is_up() {
            return;
        }
        let Some((tag, queue, entry, value)) =
            self.scene.world.with(|world| self.guest.next(&mut world.random))
        else {
            return;
        };
        if let Some(value) = value {
            self.scene.world.with(|world| world.pages.insert(page(tag), value));
        }
        let taken = self.driver.submit(queue, tag, &entry);
        self.scene.line(&format!("{tag}: {:?} on {queue}, taken: {taken}", self.guest.asked(tag)));
        if !taken {
            self.guest.takes_back(tag);
        }
    }

    /// The back end takes a command, or completes one.
    fn serve(&mut self) {
        self.scene.world.with(|world| {
            let Some(mut server) = world.server.take() else { return };
            if world.random.coin() {
                server.take(&mut world.random, &mut world.disk, &world.pages);
            } else {
                server.complete(&mut world.random, &world.disk, &mut world.pages);
            }
            world.server = Some(server);
        });
    }

    /// The kernel lands a write, of whatever process; or cancels one of a dead one.
    fn land(&mut self) {
        let landed = self.scene.world.with(|world| {
            let all = world.disk.count();
            let nth = world.random.below(all);
            let alive = world.server.as_ref().map(|server| server.process);
            let dead = world.disk.process_of(nth).is_some_and(|process| Some(process) != alive);
            // What a dead one has begun takes its time, in which others overtake it.
            if dead && !world.hurries && !world.random.chance(1, 12) {
                return None;
            }
            if dead && world.random.chance(1, 4) {
                world.disk.cancel(nth);
                return None;
            }
            let write = world.disk.land(nth)?;
            if let Some(server) = &mut world.server {
                server.landed(&write);
            }
            Some((write.process, write.block, write.value, Some(write.process) != alive))
        });
        if let Some((process, block, value, true)) = landed {
            self.scene.line(&format!("{value} of dead {process} lands in block {block}"));
        }
    }

    fn reap(&mut self) -> Result<(), Wrong> {
        let mut reaped = std::mem::take(&mut self.reaped);
        self.driver.clear();
        self.driver.reap(&mut reaped);
        let mut outcome = Ok(());
        for finished in reaped.drain(..) {
            let Reaped::Finished { tag, status, .. } = finished else { continue };
            if self.resetting {
                // What was given up comes back, or does not.
                continue;
            }
            self.scene.line(&format!("{tag}: {status:?}"));
            let data = self.scene.world.with(|world| world.pages.get(&page(tag)).copied().unwrap_or(0));
            let excused = self.known == Knowledge::Ended;
            outcome = outcome.and(self.guest.answer(tag, status, data, excused));
        }
        self.reaped = reaped;
        if self.resetting && self.driver.is_settled() {
            self.resetting = false;
            self.scene.line("the guest's reset has settled");
        }
        outcome
    }

    /// The guest resets its controller. What it has written meanwhile may be there or not.
    fn reset(&mut self) {
        if self.resetting {
            return;
        }
        self.guest.forgets(self.known != Knowledge::Server);
        self.driver.abandon();
        self.resetting = true;
        self.scene.line("the guest resets its controller");
    }

    fn notice_loss(&mut self) {
        let lost = self.line.as_ref().is_some_and(|line| !line.is_alive());
        if !lost {
            return;
        }
        self.line = None;
        if self.known != Knowledge::Server {
            self.guest.writes_may_land_late();
        }
        let effects = self.life.step(self.now, Event::Lost { hung: false });
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Detach => self.driver.lost(),
                Effect::Cut => self.line = None,
                work if work.is_work() => self.work = Some(work),
                _ => {}
            }
        }
    }

    /// What is known of the dead back ends now, in this world.
    fn known(&self) -> Known {
        match self.known {
            Knowledge::Server => Known::Over(How::Server),
            Knowledge::Ended | Knowledge::Accepted => Known::Ended,
        }
    }

    /// The life of the back end goes on by one piece of work.
    fn live(&mut self, token: &mut ThreadToken) -> Result<(), Wrong> {
        let Some(work) = self.work else { return Ok(()) };
        let event = match work {
            Effect::Sleep { until } if self.now < until => {
                self.now = until;
                return Ok(());
            }
            Effect::Sleep { .. } => Event::TimeUp,
            Effect::AwaitFence { .. } => Event::Fence(Known::Ended),
            Effect::Restart => Event::Restarted,
            Effect::Connect => {
                // A server that has its image locked is not there before the last request of the old one has let it go.
                let locked =
                    self.broken != Broken::Fence && self.scene.world.with(|world| world.disk.count()) > 0;
                if self.known == Knowledge::Server && locked {
                    Event::NotConnected
                } else {
                    self.line = Some(start(&self.scene));
                    Event::Connected
                }
            }
            Effect::Check => Event::Checked(self.known()),
            Effect::Replay { fenced } => return self.bring_up(token, fenced),
            _ => return Ok(()),
        };
        self.work = None;
        let effects = self.life.step(self.now, event);
        self.carry_out(effects);
        Ok(())
    }

    fn bring_up(&mut self, token: &mut ThreadToken, fenced: Fenced) -> Result<(), Wrong> {
        self.work = None;
        let Some(line) = self.line.clone() else { return Ok(()) };
        let old = self.scene.world.with(|world| world.disk.old(line.process));
        if matches!(fenced, Fenced::Over(_)) {
            // A fence that is broken is to be found by what it lets through.
            if old > 0 && self.broken != Broken::Fence {
                return Err(Wrong::Fence { old });
            }
            self.driver.fenced();
        }
        self.scene.world.with(|world| world.eager = true);
        let replayed = self.driver.bring_up(token, Arc::clone(&line) as _, fenced);
        self.scene.world.with(|world| world.eager = false);
        self.scene.line(&format!("back end {}, {fenced}, {old} old writes: {replayed:?}", line.process));
        let event = match replayed {
            Ok(replayed) => {
                self.replayed += u64::from(replayed.re_executed);
                Event::Replayed
            }
            Err(error) if line.is_alive() => return Err(Wrong::NotUp { why: error.to_string() }),
            Err(_) => {
                self.line = None;
                Event::Broken
            }
        };
        let effects = self.life.step(self.now, event);
        self.carry_out(effects);
        Ok(())
    }

    /// Nobody fails any more, and everything comes to its end.
    fn come_to_rest(&mut self, token: &mut ThreadToken) -> Result<(), Wrong> {
        self.calm = true;
        self.scene.world.with(|world| (world.dies_after, world.hurries) = (None, true));
        for _ in 0..ROUNDS {
            self.ring(token);
            self.serve();
            self.land();
            self.reap()?;
            self.live(token)?;
            self.notice_loss();
            let is_over = self.guest.count() == 0 && self.work.is_none() && !self.resetting;
            if is_over && self.scene.world.with(|world| world.disk.count()) == 0 {
                break;
            }
        }
        self.calm = false;
        self.scene.world.with(|world| world.hurries = false);
        if self.guest.count() > 0 || self.resetting {
            return Err(Wrong::Unanswered { count: self.guest.count() });
        }
        for (block, written) in self.guest.known() {
            let read = self.scene.world.with(|world| world.disk.read(block));
            if read != written {
                return Err(Wrong::Data { block, written, read });
            }
        }
        Ok(())
    }
}

/// Starts the next back end.
fn start(scene: &Arc<Scene>) -> Arc<Line> {
    let process = scene.world.with(|world| {
        let process = world.next;
        world.next += 1;
        world.server = Some(Server::new(process));
        process
    });
    Arc::new(Line { scene: Arc::clone(scene), process })
}

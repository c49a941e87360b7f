//! The thread that keeps a back end's life: it carries out what [`Life`] says, and feeds back what came of it.

use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, ThreadToken};

use super::front::{Front, Trouble};
use super::old_servers::OldServers;
use super::shared::{Clock, News, Shared};
use super::watch::{Told, Watch};
use crate::config::RemoteConfig;
use crate::fence::{Fence, Fenced, Known, OldServer};
use crate::life::{Effect, Event, FENCE_PATIENCE, Life, State, Why};
use crate::link::{Link, LinkOptions, Loss};
use crate::restart::{Restarter, Started};

/// The configuration space's region, and bytes of it that every function has and that nothing happens by reading.
const CONFIG: u32 = 7;

/// One back end's supervisor; it belongs to its thread.
pub(super) struct Supervisor {
    pub(super) name: String,
    pub(super) config: RemoteConfig,
    pub(super) shared: Arc<Shared>,
    pub(super) watch: Arc<dyn Watch>,
    pub(super) front: Arc<dyn Front>,
    pub(super) life: Life,
    pub(super) clock: Clock,
    pub(super) restarter: Option<Restarter>,
    /// The server of the present link.
    pub(super) server: Arc<OldServer>,
    /// Servers that were lost: nothing is executed again before they are over.
    pub(super) old: OldServers,
    /// What the last replay did.
    pub(super) replayed: super::front::Replayed,
}

impl Supervisor {
    /// Until the owner lets go.
    pub(super) fn run(mut self, token: &mut ThreadToken) {
        let mut event = self.rest(token);
        while *self.life.state() != State::Closed {
            let effects = self.life.step(self.clock.now(), event);
            self.show();
            let mut result = None;
            for effect in effects {
                result = self.carry_out(token, effect);
            }
            event = match result {
                _ if self.shared.is_closing() => Event::Close,
                Some(event) => event,
                None if *self.life.state() == State::Closed => break,
                None => self.rest(token),
            };
        }
        self.show();
    }

    /// Waits for something that matters to a back end that is connected, or to one that was given up.
    ///
    /// Doorbells are posted or mapped, so a back end that hangs owes nobody a reply, and would never be found out. So it is asked
    /// something now and then, and has its limit to answer.
    fn rest(&mut self, token: &mut ThreadToken) -> Event {
        loop {
            match self.shared.wait(token, Deadline::after(self.config.hang_limit)) {
                Some(News::Close) => return Event::Close,
                Some(News::Lost(loss)) => return Event::Lost { hung: is_hung(&loss) },
                Some(News::Retry) => {}
                None => {
                    // A command that has ended is not left as a zombie for long.
                    let _ended = self.restarter.as_mut().and_then(Restarter::reap);
                    if let Some(link) = self.shared.link() {
                        // A failure is news of the link.
                        let _ = link.read(token, CONFIG, 0, &mut [0; 4]);
                    }
                }
            }
        }
    }

    fn show(&self) {
        let state = self.life.state();
        let attempts = state.away().map_or(0, |away| away.attempts);
        self.shared.record(|record| record.enter(state.name(), attempts));
    }

    /// Work gives the event that it ended with.
    fn carry_out(&mut self, token: &mut ThreadToken, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Detach => self.detach(token),
            Effect::Kill => self.kill(),
            Effect::Cut => drop(self.cut("it is not used")),
            Effect::Returned { pause } => self.returned(token, pause),
            Effect::GiveUp(why) => self.give_up(token, why),
            Effect::Release => self.release(token),
            Effect::AwaitFence { until } => {
                let deadline = self.clock.deadline(until);
                self.old.last().wait_or(token, Some(self.shared.bell()), deadline);
                return Some(Event::Fence(self.old.last().known()));
            }
            Effect::Sleep { until } => return Some(self.sleep(token, until)),
            Effect::Restart => return Some(self.restart(token)),
            Effect::Connect => return Some(self.connect(token)),
            Effect::Check => return Some(self.check(token)),
            Effect::Replay { fenced } => return Some(self.replay(token, fenced)),
        }
        None
    }

    /// The link is lost: its server is the old one from now on.
    fn detach(&mut self, token: &mut ThreadToken) {
        self.old.lost(&self.server);
        self.front.detach(token);
        let Some(loss) = self.cut("it was lost") else { return };
        self.shared.record(|record| {
            record.losses += 1;
            record.last_loss = Some(loss);
        });
        self.watch.tell(token, Told::Lost { loss });
    }

    /// Closes the link, and says how it ended if that was not by this.
    fn cut(&mut self, why: &'static str) -> Option<Loss> {
        let (link, told) = self.shared.take_link();
        let loss = told.or_else(|| link.as_ref().and_then(|link| link.loss()));
        if let Some(link) = link {
            link.cut(Loss::Cut(why));
        }
        loss
    }

    fn kill(&mut self) {
        match self.old.last().kill() {
            Ok(true) => {
                tracing::warn!(
                    function = self.name,
                    pid = self.old.last().pid(),
                    "killed a back end that hung"
                )
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(function = self.name, pid = self.old.last().pid(), %error, "cannot kill a back end that hangs");
            }
        }
    }

    /// Until then, or until the process that is waited for has ended, or the operator or the owner has something to say.
    fn sleep(&mut self, token: &mut ThreadToken, until: Duration) -> Event {
        let now = self.clock.now();
        let attempt = self.life.state().away().map_or(0, |away| away.attempts);
        self.watch.tell(token, Told::Retry { attempt, after: until.saturating_sub(now) });
        let deadline = self.clock.deadline(until);
        let old = self.old.last();
        let lives = old.known() == Known::Alive;
        if lives && old.wait_or(token, Some(self.shared.bell()), deadline) {
            return Event::Fence(old.known());
        }
        // Either something has rung, which is on the desk, or nobody's end is waited for.
        let _news = self.shared.wait(token, deadline);
        Event::TimeUp
    }

    fn restart(&mut self, token: &mut ThreadToken) -> Event {
        match self.restarter.as_mut().map(Restarter::start) {
            Some(Ok(Started::Now { .. })) => self.watch.tell(token, Told::Restarting),
            Some(Ok(Started::StillRuns { .. })) | None => {}
            Some(Err(error)) => {
                tracing::warn!(function = self.name, %error, "the command that starts the back end cannot be executed");
            }
        }
        Event::Restarted
    }

    fn connect(&mut self, token: &mut ThreadToken) -> Event {
        let options = LinkOptions {
            connect_timeout: self.config.hang_limit,
            reply_timeout: self.config.hang_limit,
            ..LinkOptions::default()
        };
        let watch = self.shared.next_link();
        let link = Link::connect(token, &self.config.upstream, options, self.front.commands(), watch);
        let server = link.ok().and_then(|link| Some((server_of(&link)?, link)));
        let Some((server, link)) = server else { return Event::NotConnected };
        self.shared.connected(&link, server.pid());
        self.server = Arc::new(server);
        Event::Connected
    }

    fn check(&mut self, token: &mut ThreadToken) -> Event {
        let Some(link) = self.shared.link() else { return Event::Broken };
        if let Err(trouble) = self.front.check(token, &link) {
            return self.trouble(token, trouble);
        }
        if link.peer().io_is_over {
            self.old.are_over();
        }
        if let Some(alive) = self.old.alive(&self.server) {
            alive.wait_or(token, Some(self.shared.bell()), Deadline::after(FENCE_PATIENCE));
        }
        Event::Checked(self.old.known(&self.server))
    }

    fn replay(&mut self, token: &mut ThreadToken, fenced: Fenced) -> Event {
        let Some(link) = self.shared.link() else { return Event::Broken };
        self.watch.tell(token, Told::Fenced { how: fenced });
        match self.front.replay(token, &link, &self.server, fenced) {
            Ok(replayed) => {
                // The device has been reset: only now is what the same process was about over.
                self.old.go_on(&self.server);
                self.replayed = replayed;
                Event::Replayed
            }
            Err(trouble) => match link.loss() {
                Some(loss) => Event::Lost { hung: is_hung(&loss) },
                None => self.trouble(token, trouble),
            },
        }
    }

    fn trouble(&mut self, token: &mut ThreadToken, trouble: Trouble) -> Event {
        match trouble {
            Trouble::Differs(differences) => {
                self.watch.tell(token, Told::Differs { differences });
                Event::Differs
            }
            Trouble::Broken(why) => {
                tracing::debug!(function = self.name, why, "an attempt to set up the back end failed");
                Event::Broken
            }
        }
    }

    fn returned(&mut self, token: &mut ThreadToken, pause: Duration) {
        let super::front::Replayed { re_executed, refused } = self.replayed;
        self.shared.record(|record| {
            record.last_pause = Some(pause);
            record.replayed += re_executed;
            record.refused += refused;
        });
        self.watch.tell(token, Told::Returned { pause, re_executed, refused });
    }

    fn give_up(&mut self, token: &mut ThreadToken, why: Why) {
        let alive = self.old.alive(&self.server).is_some();
        self.front.give_up(token, alive);
        self.watch.tell(token, Told::Failed { why });
    }

    fn release(&mut self, token: &mut ThreadToken) {
        self.front.detach(token);
        self.front.close();
        let _loss = self.cut("the function is closed");
    }
}

/// The server at the other end. Process 1 is nobody's back end: it makes sockets for those it starts.
///
/// `None`: no descriptor left.
pub(super) fn server_of(link: &Link) -> Option<OldServer> {
    let peer = link.peer();
    let (pid, pidfd) = match (peer.pid, &peer.pidfd) {
        (Some(1), _) => (None, None),
        (pid, Some(pidfd)) => (pid, Some(pidfd.try_clone().ok()?)),
        (pid, None) => (pid, None),
    };
    OldServer::new(pid, pidfd).ok()
}

fn is_hung(loss: &Loss) -> bool {
    matches!(loss, Loss::Hung { .. } | Loss::Unread)
}

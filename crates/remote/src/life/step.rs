//! The transitions.

use std::time::Duration;

use super::{Away, Effect, Event, FENCE_PATIENCE, Life, Rules, State, Why};
use crate::fence::{Fenced, Known};

/// What follows from an event: the state after it, and what is to be done.
type Next = (State, Vec<Effect>);

impl Life {
    /// Takes in what happened at `now`, by the owner's clock, and says what is to be done, in order. What does not concern the state
    /// (the result of work that something else has ended) changes nothing.
    #[must_use = "the effects are to be carried out"]
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let next = match (self.state, event) {
            (State::Closed, _) => None,
            (_, Event::Close) => Some((State::Closed, vec![Effect::Release])),
            (State::Failed(_), _) => None,
            (State::Connected, event) => self.connected(now, event),
            (State::Fencing(away), event) => self.fencing(now, away, event),
            (State::Waiting { away, .. }, event) => self.waiting(now, away, event),
            (State::Restarting(away), Event::Restarted) => Some(connect(away)),
            (State::Restarting(_), _) => None,
            (State::Connecting(away), event) => self.connecting(now, away, event),
            (State::Checking(away), event) => self.checking(now, away, event),
            (State::Replaying(away), event) => self.replaying(now, away, event),
        };
        let Some((state, effects)) = next else { return Vec::new() };
        self.state = state;
        effects
    }

    fn connected(&self, now: Duration, event: Event) -> Option<Next> {
        let Event::Lost { hung } = event else { return None };
        let mut effects = vec![Effect::Detach];
        if hung && self.rules.kill_hung {
            effects.push(Effect::Kill);
        }
        if let Some(why) = self.count_loss(now) {
            return Some(give_up(why, effects));
        }
        let until = now.saturating_add(FENCE_PATIENCE);
        effects.push(Effect::AwaitFence { until });
        Some((State::Fencing(Away { since: now, attempts: 0, restart_at: now, alive: false }), effects))
    }

    fn fencing(&self, now: Duration, mut away: Away, event: Event) -> Option<Next> {
        let Event::Fence(known) = event else { return None };
        away.alive = known == Known::Alive;
        // Never two servers at one disk: no other is started while this one lives.
        if self.rules.restarts && !away.alive && now >= away.restart_at {
            away.restart_at = now.saturating_add(self.rules.back_off.longest);
            return Some((State::Restarting(away), vec![Effect::Restart]));
        }
        Some(connect(away))
    }

    fn waiting(&self, now: Duration, away: Away, event: Event) -> Option<Next> {
        match event {
            Event::TimeUp => Some(self.unless_too_long(now, away, Vec::new()).unwrap_or_else(|| {
                // A look, and no wait: it was waited for all the time.
                (State::Fencing(away), vec![Effect::AwaitFence { until: now }])
            })),
            // Its process has ended just now: nothing is left to be waited for.
            Event::Fence(Known::Over(_) | Known::Ended) => self.fencing(now, away, event),
            _ => None,
        }
    }

    fn connecting(&self, now: Duration, away: Away, event: Event) -> Option<Next> {
        match event {
            Event::Connected => Some((State::Checking(away), vec![Effect::Check])),
            Event::NotConnected => Some(self.wait(now, away, Vec::new())),
            _ => None,
        }
    }

    fn checking(&self, now: Duration, mut away: Away, event: Event) -> Option<Next> {
        match event {
            Event::Checked(known) => {
                away.alive = known == Known::Alive;
                let Some(fenced) = fenced(known, &self.rules) else {
                    return Some(self.wait(now, away, vec![Effect::Cut]));
                };
                Some((State::Replaying(away), vec![Effect::Replay { fenced }]))
            }
            Event::Differs => Some(give_up(Why::Differs, vec![Effect::Cut])),
            Event::Broken | Event::Lost { .. } => Some(self.wait(now, away, vec![Effect::Cut])),
            _ => None,
        }
    }

    fn replaying(&self, now: Duration, away: Away, event: Event) -> Option<Next> {
        match event {
            Event::Replayed => {
                let pause = now.saturating_sub(away.since);
                Some((State::Connected, vec![Effect::Returned { pause }]))
            }
            Event::Differs => Some(give_up(Why::Differs, vec![Effect::Detach])),
            Event::Broken | Event::Lost { .. } => {
                // It has had commands: from now on it is the old server.
                let mut effects = vec![Effect::Detach];
                if self.rules.kill_hung && matches!(event, Event::Lost { hung: true }) {
                    effects.push(Effect::Kill);
                }
                match self.count_loss(now) {
                    Some(why) => Some(give_up(why, effects)),
                    None => Some(self.wait(now, away, effects)),
                }
            }
            _ => None,
        }
    }

    /// Counts a loss; gives why this was one too many.
    fn count_loss(&self, now: Duration) -> Option<Why> {
        let budget = self.rules.budget;
        let spent = self.losses.add(now, budget);
        spent.exceeded.then_some(Why::Budget { losses: spent.freezes, budget })
    }

    /// An attempt has failed: the next one comes later, or never.
    fn wait(&self, now: Duration, mut away: Away, mut effects: Vec<Effect>) -> Next {
        away.attempts = away.attempts.saturating_add(1);
        if self.is_too_long(now, &away) {
            return give_up(too_long(now, &away), effects);
        }
        let pause = self.rules.back_off.pause(away.attempts, self.rules.seed);
        let end = away.since.saturating_add(self.rules.give_up_after);
        let until = now.saturating_add(pause).min(end);
        effects.push(Effect::Sleep { until });
        (State::Waiting { away, until }, effects)
    }

    fn unless_too_long(&self, now: Duration, away: Away, effects: Vec<Effect>) -> Option<Next> {
        self.is_too_long(now, &away).then(|| give_up(too_long(now, &away), effects))
    }

    fn is_too_long(&self, now: Duration, away: &Away) -> bool {
        now.saturating_sub(away.since) >= self.rules.give_up_after
    }
}

fn connect(away: Away) -> Next {
    (State::Connecting(away), vec![Effect::Connect])
}

fn give_up(why: Why, mut effects: Vec<Effect>) -> Next {
    effects.push(Effect::GiveUp(why));
    (State::Failed(why), effects)
}

fn too_long(now: Duration, away: &Away) -> Why {
    let for_ = now.saturating_sub(away.since);
    if away.alive { Why::StillAlive { for_ } } else { Why::Away { for_ } }
}

/// What commands may count on; `None`: the old server is alive, and nothing is executed beside it.
fn fenced(known: Known, rules: &Rules) -> Option<Fenced> {
    match known {
        Known::Over(how) => Some(Fenced::Over(how)),
        Known::Ended | Known::Unknown if rules.accept_late_writes => Some(Fenced::Accepted),
        Known::Ended | Known::Unknown => Some(Fenced::Unknown),
        Known::Alive => None,
    }
}

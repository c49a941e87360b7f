//! What is to happen: the rules, and which of them hits. Pure: time is what the caller says, chance comes from the seed.
//!
//! Rules are asked in the order in which they were added. Of those that say what becomes of an access, an interrupt or the back end,
//! the first that hits decides, and those behind it are not asked. Each rule has a sequence of chances of its own, so that it hits the
//! same of its occasions whatever other rules there are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;

use super::error::AddError;
use super::fields::Place;
use super::kind::{Kind, Target};
use super::{BackEndError, Rule};

/// How many rules a function may have.
pub const MAX_RULES: usize = 64;

/// Names a rule of one function as long as that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RuleId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<RuleId, Self::Err> {
        text.parse().map(RuleId)
    }
}

/// Where a rule is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleState {
    /// Its time has not come.
    Pending,
    /// It may hit.
    Active,
    /// Its time is over, or it has hit as often as it may.
    Spent,
}

impl fmt::Display for RuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RuleState::Pending => "pending",
            RuleState::Active => "active",
            RuleState::Spent => "spent",
        })
    }
}

/// A rule as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its name.
    pub id: RuleId,
    /// What it says.
    pub rule: Rule,
    /// How often it has hit.
    pub hits: u64,
    /// Where it is in its life.
    pub state: RuleState,
    /// Why its last hit had no effect, if it had none.
    pub refused: Option<BackEndError>,
}

/// An access of a consumer to a region: `len` bytes at `offset`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) place: Place,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// A hit that is to be carried out, or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) id: RuleId,
    pub(super) kind: Kind,
    /// Zero for what has none.
    pub(super) delay: Duration,
}

/// What becomes of an access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// A fault of the back end, first of all.
    pub(super) back_end: Option<Hit>,
    /// How much longer a read takes.
    pub(super) slow: Option<Hit>,
    /// What it then comes to.
    pub(super) answer: Option<Hit>,
}

/// The rules of one function.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u64,
    added: u64,
    rules: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: RuleId,
    rule: Rule,
    /// When it may hit: from, and before.
    begins: Duration,
    ends: Duration,
    /// When it happens next by itself, if it does.
    next: Option<Duration>,
    hits: u64,
    chances: Rng,
    refused: Option<BackEndError>,
}

impl Plan {
    pub(super) const fn new(seed: u64) -> Plan {
        Plan { seed, added: 0, rules: Vec::new() }
    }

    pub(super) const fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn add(&mut self, now: Duration, rule: Rule) -> Result<RuleId, AddError> {
        if self.rules.len() >= MAX_RULES {
            return Err(AddError::Full { limit: MAX_RULES });
        }
        self.added += 1;
        let id = RuleId(self.added);
        let begins = now.saturating_add(rule.fields().after.unwrap_or_default());
        let ends = rule.fields().lasts.map_or(Duration::MAX, |lasts| begins.saturating_add(lasts));
        let next = rule.goes_by_time().then_some(begins);
        // Far apart for seeds and numbers that are not.
        let chances = Rng::with_seed(self.seed ^ id.0.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        self.rules.push(Entry { id, rule, begins, ends, next, hits: 0, chances, refused: None });
        Ok(id)
    }

    pub(super) fn remove(&mut self, id: RuleId) -> bool {
        let before = self.rules.len();
        self.rules.retain(|entry| entry.id != id);
        self.rules.len() < before
    }

    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.rules).len()
    }

    pub(super) fn has(&self, id: RuleId) -> bool {
        self.rules.iter().any(|entry| entry.id == id)
    }

    pub(super) fn list(&self, now: Duration) -> Vec<Listed> {
        let listed = |entry: &Entry| Listed {
            id: entry.id,
            rule: entry.rule,
            hits: entry.hits,
            state: entry.state(now),
            refused: entry.refused,
        };
        self.rules.iter().map(listed).collect()
    }

    /// What the last hit of a rule came to.
    pub(super) fn note(&mut self, id: RuleId, refused: Option<BackEndError>) {
        if let Some(entry) = self.rules.iter_mut().find(|entry| entry.id == id) {
            entry.refused = refused;
        }
    }

    /// The [`bits`](Target::bit) of what may still be hit.
    pub(super) fn targets(&self, now: Duration) -> u8 {
        let live = self.rules.iter().filter(|entry| entry.state(now) != RuleState::Spent);
        live.fold(0, |bits, entry| bits | entry.rule.target().bit())
    }

    /// When somebody must look at the clock again for what is to be done later; `None` if nobody need. A rule that puts interrupts
    /// off needs that until it is spent.
    pub(super) fn next_look(&self, now: Duration) -> Option<Duration> {
        let live = |entry: &&Entry| entry.rule.needs_thread() && entry.state(now) != RuleState::Spent;
        self.rules.iter().filter(live).map(|entry| entry.next.unwrap_or(entry.ends)).min()
    }

    pub(super) fn read(&mut self, now: Duration, access: Access) -> Decision {
        self.access(now, access, Target::Read)
    }

    pub(super) fn write(&mut self, now: Duration, access: Access) -> Decision {
        self.access(now, access, Target::Write)
    }

    fn access(&mut self, now: Duration, access: Access, target: Target) -> Decision {
        let mut decision = Decision::default();
        for entry in self.rules.iter_mut().filter(|entry| entry.is_at(access)) {
            let place = match entry.rule.target() {
                Target::BackEnd => &mut decision.back_end,
                same if same != target => continue,
                _ if entry.rule.kind() == Kind::ReadSlow => &mut decision.slow,
                _ => &mut decision.answer,
            };
            if place.is_none() && entry.hits(now) {
                *place = Some(entry.hit());
            }
        }
        decision
    }

    /// What becomes of an interrupt; `None` if nothing does.
    pub(super) fn interrupt(&mut self, now: Duration, vector: u16) -> Option<Hit> {
        let meant = |entry: &&mut Entry| {
            entry.rule.target() == Target::Interrupt
                && entry.rule.fields().vector.is_none_or(|only| only == vector)
        };
        self.rules.iter_mut().filter(meant).find_map(|entry| entry.hits(now).then(|| entry.hit()))
    }

    /// Whether the device's access to memory fails.
    pub(super) fn dma(&mut self, now: Duration, address: u64, len: u64) -> bool {
        let meant = |entry: &&mut Entry| {
            entry.rule.target() == Target::Dma
                && entry.rule.fields().range.is_none_or(|range| range.touches(address, len))
        };
        self.rules.iter_mut().filter(meant).any(|entry| entry.hits(now))
    }

    /// The next fault that happens by itself and is due; each call takes one out. Occasions that nobody has asked for in time are
    /// over.
    pub(super) fn due(&mut self, now: Duration) -> Option<Hit> {
        self.rules.iter_mut().find_map(|entry| entry.comes_due(now).then(|| entry.hit()))
    }
}

impl Entry {
    fn hit(&self) -> Hit {
        let delay = self.rule.fields().delay.unwrap_or_default();
        Hit { id: self.id, kind: self.rule.kind(), delay }
    }

    fn state(&self, now: Duration) -> RuleState {
        let used_up = self.rule.fields().count.is_some_and(|count| self.hits >= count);
        let has_happened = self.rule.goes_by_time() && self.next.is_none();
        if used_up || has_happened || now >= self.ends {
            RuleState::Spent
        } else if now < self.begins {
            RuleState::Pending
        } else {
            RuleState::Active
        }
    }

    fn is_at(&self, access: Access) -> bool {
        let fields = self.rule.fields();
        !self.rule.goes_by_time()
            && fields.place.is_none_or(|place| place == access.place)
            && fields.range.is_none_or(|range| range.touches(access.offset, access.len))
    }

    /// Draws, and counts.
    fn hits(&mut self, now: Duration) -> bool {
        if self.state(now) != RuleState::Active {
            return false;
        }
        let hit = self.rule.fields().probability.is_none_or(|likely| self.chances.f64() < likely);
        self.hits += u64::from(hit);
        hit
    }

    /// Whether it happens now by itself.
    fn comes_due(&mut self, now: Duration) -> bool {
        let Some(next) = self.next.filter(|next| *next <= now) else { return false };
        let hit = self.hits(now);
        let goes_on = self.state(now) != RuleState::Spent;
        let later = self.rule.fields().every.filter(|_| goes_on).map(|every| after(next, every, now));
        self.next = later.filter(|later| *later < self.ends);
        hit
    }
}

/// The first of `next + n * every` after `now`.
fn after(next: Duration, every: Duration, now: Duration) -> Duration {
    let missed = now.saturating_sub(next).as_nanos() / every.as_nanos().max(1);
    let steps = u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1;
    next.saturating_add(every.saturating_mul(steps))
}

//! Between the front and a recovery: what a recovery is given, what it is told, and how it tells of its end.

use super::{Frozen, Parts, RecoveryId};
use crate::pe::Held;
use crate::plan::{Flavour, FunctionId};
use crate::report::{Doom, Outcome};
use crate::tree::{Claim, PeFunction, PeTree, Snapshot};
use gate::ThreadToken;
use std::sync::Arc;
use std::time::Duration;

/// What a recovery begins with.
pub struct Start {
    /// Which one it is.
    pub id: RecoveryId,
    /// The tree that the PE is in.
    pub tree: Arc<PeTree>,
    /// The picture whose PEs and functions are recovered. What came or went since is told by [`News`], some of it perhaps twice.
    pub snapshot: Arc<Snapshot>,
    /// The right to recover the PE; let go before the end is told.
    pub claim: Claim,
    /// The freeze, if the error froze anything.
    pub frozen: Option<Arc<Frozen>>,
    /// By whose rules.
    pub flavour: Flavour,
    /// The PE has not frozen too often (EEH-10).
    pub within_budget: bool,
    /// It is known already that there is no way back.
    pub doom: Option<Doom>,
    /// What it works with.
    pub parts: Parts,
    /// Who is told of the end.
    pub ended: Arc<dyn OnEnd>,
}

/// Something that a recovery under way is to know.
#[derive(Clone, Debug)]
pub enum News {
    /// There was another error in what is recovered; it is frozen again.
    FrozenAgain,
    /// There is no way back.
    Doomed(Doom),
    /// A PE came to what is recovered.
    PeAdded(Held),
    /// A function did.
    Added(Arc<PeFunction>),
    /// A function left.
    Removed(FunctionId),
    /// Somebody else has a function now (EEH-18).
    Bound(FunctionId),
}

/// How a recovery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// How often the PE was reset.
    pub resets: u32,
    /// How long it took.
    pub pause: Duration,
}

/// Who is told of the end of a recovery.
pub trait OnEnd: Send + Sync {
    /// A recovery has ended. Called once, last of all, with nothing held: its claim, its marks and its gates are given back.
    fn ended(&self, id: RecoveryId, end: End);
}

/// A recovery under way.
pub trait Running: Send + Sync {
    /// Something to know. Waits for nobody and returns at once.
    fn post(&self, news: News);

    /// Where it is, for people.
    fn report(&self) -> String;
}

/// Who carries recoveries out.
pub trait Recoveries: Send + Sync {
    /// Begins a recovery, which somebody else drives. Waits for nobody.
    fn begin(&self, token: &mut ThreadToken, start: Start) -> Arc<dyn Running>;
}

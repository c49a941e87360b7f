//! All functions of one machine.

use crate::description::Description;
use crate::events::{Event, Listener, Listeners, Subscription};
use crate::handle::Handle;
use crate::handles::{Handles, Layout};
use crate::id::{Fid, Uid};
use crate::ranks;
use crate::settings::{Group, Settings};
use crate::view::View;
use crate::zdev::Zdev;
use gate::ThreadToken;
use gate::lock::Leaf;
use pci_core::Function;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use thiserror::Error;

/// How many functions a machine may have.
pub const MAX_FUNCTIONS: usize = 4096;

/// Why a machine does not take a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddError {
    /// Another one has its identifier.
    #[error("function identifier {0} is taken")]
    FidTaken(Fid),
    /// Another one has what the user calls it.
    #[error("user-defined identifier {0} is taken")]
    UidTaken(Uid),
    /// The machine has 4,096.
    #[error("the machine has no room for another function")]
    Full,
}

/// All functions of one machine.
///
/// # Concurrency
/// From any thread. Functions are found by handle without a lock, and by identifier under a leaf.
pub struct Zpci {
    settings: Settings,
    handles: Arc<Handles>,
    listeners: Arc<Listeners>,
    /// Rank: 99, zpci functions; a leaf, held for a look, a copy or an insertion.
    functions: Leaf<ranks::Functions, BTreeMap<Fid, Arc<Zdev>>>,
}

impl Zpci {
    /// A machine without functions.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Zpci> {
        let layout = Layout::new(Layout::INDEX_BITS, settings.generation_bits);
        Zpci::with_layout(settings, layout)
    }

    pub(crate) fn with_layout(settings: Settings, layout: Layout) -> Arc<Zpci> {
        Arc::new(Zpci {
            settings,
            handles: Arc::new(Handles::new(layout)),
            listeners: Listeners::new(),
            functions: Leaf::new(BTreeMap::new()),
        })
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Adds a place for a function, RESERVED.
    ///
    /// # Errors
    /// [`AddError`]; nothing was added.
    pub fn add(&self, fid: Fid, uid: Uid, description: Description) -> Result<Arc<Zdev>, AddError> {
        self.insert((fid, uid), description, None)
    }

    /// Adds virtual function `vfn`, from 1 on, of `parent`, RESERVED. It is in the parent's group and behind its channel.
    ///
    /// # Errors
    /// [`AddError`]; nothing was added.
    pub fn add_virtual(&self, parent: &Zdev, vfn: u16, fid: Fid, uid: Uid) -> Result<Arc<Zdev>, AddError> {
        self.insert((fid, uid), parent.description().clone(), Some((parent.fid(), vfn)))
    }

    /// Forgets a function, with its device if it still has one. What others have of it finds no handle any more.
    pub fn remove(&self, token: &mut ThreadToken, fid: Fid) -> Option<Arc<Zdev>> {
        let removed = self.functions.lock().remove(&fid)?;
        removed.forget(token);
        Some(removed)
    }

    /// The function of an identifier.
    #[must_use]
    pub fn find(&self, fid: Fid) -> Option<Arc<Zdev>> {
        self.functions.lock().get(&fid).cloned()
    }

    /// All, by identifier.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Zdev>> {
        self.functions.lock().values().cloned().collect()
    }

    /// The device that `handle` names now, enabled or not. `None`: invalid, stale, or of a function that is not configured.
    #[must_use]
    pub fn by_handle(&self, token: &ThreadToken, handle: Handle) -> Option<Arc<View>> {
        self.with_view(token, handle, Arc::clone)
    }

    /// What `see` makes of the device that `handle` names now: without a lock, a count of references, or a wait. `see` runs while a
    /// [`gate::Published`] is read, so it waits for nobody; it may enter a gate with `try_enter`.
    #[inline]
    pub fn with_view<T>(
        &self,
        token: &ThreadToken,
        handle: Handle,
        see: impl FnOnce(&Arc<View>) -> T,
    ) -> Option<T> {
        self.handles.with(token, handle, see)
    }

    /// The function that `handle` names now, in whatever state.
    #[must_use]
    pub fn zdev_by_handle(&self, handle: Handle) -> Option<Arc<Zdev>> {
        self.handles.owner(handle).filter(|zdev| !handle.is_none() && zdev.handle() == handle)
    }

    /// The view of `function`, if it is configured. Looks at all of them.
    #[must_use]
    pub fn by_function(&self, function: &Function) -> Option<Arc<View>> {
        let mut views = self.list().into_iter().filter_map(|zdev| zdev.view());
        views.find(|view| std::ptr::eq(&raw const **view.function(), function))
    }

    /// Whether every function is named by its user-defined identifier: all have one, and no two the same.
    #[must_use]
    pub fn uid_checking(&self) -> bool {
        self.functions.lock().values().all(|zdev| zdev.uid().is_given())
    }

    /// Has `listener` told of what happens to all functions from now on.
    pub fn listen(&self, listener: Arc<dyn Listener>) -> Subscription {
        self.listeners.add(listener)
    }

    /// Tells all who listen, with nothing held. May be called from any thread, with a pass too.
    pub fn tell(&self, event: &Event) {
        self.listeners.tell(event);
    }

    /// All behind `fid`, by identifier.
    pub(crate) fn list_behind(&self, fid: Option<Fid>) -> Vec<Arc<Zdev>> {
        let from = fid.map_or(Bound::Unbounded, Bound::Excluded);
        self.functions.lock().range((from, Bound::Unbounded)).map(|(_, zdev)| Arc::clone(zdev)).collect()
    }

    /// A group of functions.
    pub(crate) fn group(&self, id: u8) -> Option<Group> {
        self.settings.groups.iter().find(|group| group.id == id).copied()
    }

    /// An index that nobody has, if there is one, which nobody has any more then.
    #[cfg(test)]
    pub(crate) fn allot_for_test(&self) -> Option<crate::handles::Series> {
        self.handles.allot(&std::sync::Weak::new())
    }

    fn insert(
        &self,
        (fid, uid): (Fid, Uid),
        description: Description,
        parent_vfn: Option<(Fid, u16)>,
    ) -> Result<Arc<Zdev>, AddError> {
        let zdev = Zdev::new((fid, uid), description, parent_vfn, &self.handles, &self.listeners);
        let refusal = {
            let mut functions = self.functions.lock();
            let refusal = refusal(&functions, fid, uid);
            if refusal.is_none() {
                functions.insert(fid, Arc::clone(&zdev));
            }
            refusal
        };
        refusal.map_or(Ok(zdev), Err)
    }
}

fn refusal(functions: &BTreeMap<Fid, Arc<Zdev>>, fid: Fid, uid: Uid) -> Option<AddError> {
    if functions.contains_key(&fid) {
        Some(AddError::FidTaken(fid))
    } else if uid.is_given() && functions.values().any(|other| other.uid() == uid) {
        Some(AddError::UidTaken(uid))
    } else if functions.len() >= MAX_FUNCTIONS {
        Some(AddError::Full)
    } else {
        None
    }
}

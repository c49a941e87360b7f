//! The life of the process's pool of handlers.

use super::Serve;
use super::crew::{Crew, Start};
use crate::ranks;
use crate::uffd::{Ones, OpenError, Uffd, Unsupported};
use gate::lock::Leaf;
use rustix::process::{Pid, getpid};
use std::io;
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use thiserror::Error;

/// Handlers that read at the same time, if the machine has more cores than that. None of them waits for anything but faults,
/// so more are of no use.
const MOST_READERS: usize = 4;

/// Rank: 81, fault pool; a leaf. Which pool the process has is looked up and replaced in one step, which a weak reference
/// in an atomic cannot do.
static POOL: LazyLock<Leaf<ranks::FaultPool, Weak<Pool>>> = LazyLock::new(|| Leaf::new(Weak::new()));

/// Why this process never will have a pool; found out once.
static UNSUPPORTED: OnceLock<Unsupported> = OnceLock::new();

/// Why there is no mapping whose faults are answered.
#[derive(Debug, Error)]
pub(crate) enum Unavailable {
    /// There never will be: accesses have to be trapped.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The system refused; later it may not.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The descriptor and the handlers that all windows of the process share; each has a reference.
pub(crate) struct Pool {
    crew: Arc<Crew>,
    process: Pid,
}

impl Pool {
    /// The process's pool; makes it if there is none. Two who make it at once end up with the same one.
    ///
    /// # Errors
    /// [`Unavailable`]. That it is not supported is found out once, and logged then.
    pub(crate) fn get() -> Result<Arc<Pool>, Unavailable> {
        if let Some(reason) = UNSUPPORTED.get() {
            return Err(Unavailable::Unsupported(*reason));
        }
        let present = POOL.lock().upgrade();
        if let Some(pool) = present.filter(|pool| pool.is_ours()) {
            if pool.crew.is_lost() {
                return Err(Unsupported::NoHandlers.into());
            }
            return Ok(pool);
        }
        let made = Arc::new(Pool::new(handlers(), super::crew::start_thread).inspect_err(note)?);
        // Dropped after the lock is free, if another was faster.
        let mut pool = POOL.lock();
        if let Some(faster) = pool.upgrade().filter(|pool| pool.is_ours()) {
            return Ok(faster);
        }
        *pool = Arc::downgrade(&made);
        Ok(made)
    }

    /// A pool of its own.
    pub(super) fn new(handlers: usize, start: Start) -> Result<Pool, Unavailable> {
        let crew = Arc::new(Crew::new(Uffd::open()?, Ones::new()?)?);
        crew.staff(handlers, start)?;
        Ok(Pool { crew, process: getpid() })
    }

    pub(crate) fn uffd(&self) -> &Uffd {
        self.crew.uffd()
    }

    pub(crate) fn ones(&self) -> &Ones {
        self.crew.ones()
    }

    /// From now on faults in the range go to the window, as long as it lives.
    pub(crate) fn attach<S: Serve + 'static>(&self, start: usize, len: usize, window: &Arc<S>) {
        let window: Arc<dyn Serve> = Arc::<S>::clone(window);
        self.crew.table().insert(start, len, Arc::downgrade(&window));
        // Either it is in the table when the last handler gives up all windows, or it is too late and sees that here.
        if self.crew.is_lost() {
            window.abandon();
        }
    }

    /// Before the range is unmapped.
    pub(crate) fn detach(&self, start: usize) {
        self.crew.table().remove(start);
    }

    /// The child of a process that has a pool has none of its threads, and must not use its descriptor, which acts on the
    /// parent's memory.
    fn is_ours(&self) -> bool {
        getpid() == self.process
    }

    #[cfg(test)]
    pub(super) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Nobody waits for the handlers: this may be one of them. The last of them closes the descriptor.
        if self.is_ours() {
            self.crew.stop();
        }
    }
}

impl From<OpenError> for Unavailable {
    fn from(error: OpenError) -> Unavailable {
        match error {
            OpenError::Unsupported(reason) => reason.into(),
            // Says what could not be opened.
            OpenError::System(error) => io::Error::new(error.kind(), OpenError::System(error)).into(),
        }
    }
}

fn handlers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // One of them does not read.
    cores.min(MOST_READERS) + 1
}

/// One warning for each process.
fn note(error: &Unavailable) {
    if let Unavailable::Unsupported(reason) = error
        && UNSUPPORTED.set(*reason).is_ok()
    {
        tracing::warn!(%reason, "mappings are trapped: each access of a mapped region costs a call");
    }
}

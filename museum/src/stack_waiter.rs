//! Report A: a list of waiters with two owners.
//!
//! Accesses that find their function blocked put an entry that lies on their stack on a list of the machine, and take it
//! off again, under the lock that guards the block flags. Whoever unblocks a function wakes everybody on the list. At first
//! it did so under the same lock. To avoid a deadlock with the scheduler's lock the wake moved out from under it, and from
//! then on only the wait queue's own lock was held: the walk and the waiters no longer exclude each other.
//!
//! ```text
//! waiter of f                        reset of f, then reset of g
//! links its entry, sleeps
//!                                    unblocks f, wakes the entry
//!                                    unblocks g, takes the list's head: the entry
//! sees f unblocked, unlinks
//! returns: its stack is used again
//!                                    reads the entry
//! ```
//!
//! The links themselves are behind a lock of their own here, which the kernel's are not, so that loom reports nothing but
//! the use of the stack after the return. Which of the two locks a wake holds is what [`Wake`] chooses.

use crate::stack::Frame;
use loom::sync::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;

/// Which lock a wake holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The lock of the block flags, under which waiters link and unlink: as it was at first.
    UnderFlagLock,
    /// The wait queue's own: as it was reported.
    UnderQueueLock,
}

/// A thread as the scheduler sees it; this outlives the stack.
struct Task {
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Task {
    fn sleep(&self) {
        let mut woken = lock(&self.woken);
        while !*woken {
            woken = self.wake.wait(woken).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        *woken = false;
    }

    fn wake(&self) {
        *lock(&self.woken) = true;
        self.wake.notify_one();
    }
}

/// What lies on a waiter's stack.
struct Entry {
    task: Arc<Task>,
}

/// Block flags and waiters of a machine with two functions.
pub struct Machine {
    wake: Wake,
    blocked: Mutex<[bool; 2]>,
    queue_lock: Mutex<()>,
    links: Mutex<Vec<Frame<Entry>>>,
}

impl Machine {
    /// Both functions are blocked.
    pub fn blocked(wake: Wake) -> Machine {
        Machine {
            wake,
            blocked: Mutex::new([true; 2]),
            queue_lock: Mutex::new(()),
            links: Mutex::new(Vec::new()),
        }
    }

    /// A configuration access: waits while its function is blocked, and returns under no lock.
    pub fn access(&self, function: usize) {
        let mut blocked = lock(&self.blocked);
        if !blocked[function] {
            return;
        }
        let task = Arc::new(Task { woken: Mutex::new(false), wake: Condvar::new() });
        let entry = Frame::called(Entry { task: task.clone() });
        lock(&self.links).push(entry.clone());
        while blocked[function] {
            drop(blocked);
            task.sleep();
            blocked = lock(&self.blocked);
        }
        lock(&self.links).retain(|linked| !linked.same(&entry));
        drop(blocked);
        entry.returned();
    }

    /// Unblocks a function, and wakes everybody who waits for any.
    pub fn unblock(&self, function: usize) {
        let mut blocked = lock(&self.blocked);
        blocked[function] = false;
        if self.wake == Wake::UnderFlagLock {
            self.wake_all();
            return;
        }
        drop(blocked);
        let _queue = lock(&self.queue_lock);
        self.wake_all();
    }

    fn wake_all(&self) {
        let walk = lock(&self.links).clone();
        for entry in walk {
            if let Some(task) = entry.read(|entry| entry.task.clone()) {
                task.wake();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

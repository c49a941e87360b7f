//! Complaints about unplugging, each rebuilt with the locking that it was reported with.
//!
//! | no. | module | who waits for whom |
//! |---|---|---|
//! | 1 | [`close_resets`] | the port for the device's lock, the one who closes the device for the port's |
//! | 2 | [`count_shown`] | the remover for the user, the user for the lock that the remover holds |
//! | 3 | [`two_slots`] | the same through two slots and one dying process |
//! | 4 | [`two_orders`] | two who take the same two locks in two orders |
//! | 5 | [`taken_twice`] | a thread for itself |
//! | 6 | [`bus_walk`] | three who each take the next one's lock |
//! | 9 | [`kept_open`] | the remover for somebody who never lets go |
//! | 11 | [`mapped`] | nobody; what is mapped goes under a poller |
//! | 14 | [`power_tool`] | nobody; the power goes under a driver that still puts its device to rest |
//!
//! What they have in common: a lock is held while a user is waited for, or something is taken away that somebody still
//! uses. [`Order::Repaired`] changes that one thing and nothing else, which shows that it is the cause.
//!
//! Concurrency: locks are shuttle's. It fails a schedule in which everybody sleeps.

pub mod bus_walk;
pub mod close_resets;
pub mod count_shown;
pub mod held;
pub mod kept_open;
pub mod mapped;
pub mod power_tool;
pub mod taken_twice;
pub mod two_orders;
pub mod two_slots;

use shuttle::sync::{Mutex, MutexGuard};

/// In which order locks are taken and things are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As it was when somebody complained.
    AsReported,
    /// With the one thing changed that the complaint is about.
    Repaired,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

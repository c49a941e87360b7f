//! The kernel's interface to page faults: a range of addresses whose pages come and go as this process says.
//!
//! * `abi` has the structures and numbers of userfaultfd(2), ioctl_userfaultfd(2);
//! * [`Uffd`] is the descriptor: opening it, registering, answering and reading faults;
//! * [`Bell`] interrupts who reads them;
//! * [`Ones`] is the file of all-ones that a range shows when its function cannot be reached for long;
//! * `range` maps, replaces and unmaps one range of addresses;
//! * [`KernelPages`] puts these together as the real [`Pages`](crate::Pages).
//!
//! What this module does **not** do: it decides nothing. When pages may be made present is the window's business, who reads
//! the faults is `fault`'s. It does not use the crate `userfaultfd`, which needs libclang and knows no poison.
//!
//! # Concurrency
//! It has no locks: each operation is one system call, or a few that may be repeated. What the kernel orders: a page is
//! made present only in a range that is registered at that moment, so whoever is late finds it replaced.

mod abi;
mod bell;
mod descriptor;
mod ones;
mod open;
mod pages;
mod range;

pub(crate) use bell::Bell;
pub(crate) use descriptor::Uffd;
pub(crate) use ones::Ones;
pub(crate) use open::{OpenError, Unsupported};
#[cfg(test)]
pub(crate) use pages::Backing;
pub(crate) use pages::KernelPages;

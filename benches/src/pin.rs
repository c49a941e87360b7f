//! Pinning a thread to a CPU, so that "same CPU" and "the other CPU" mean what they say.

use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Pins the calling thread (and what it spawns later) to `cpu`.
///
/// # Errors
/// The error of `sched_setaffinity`, e.g. when the machine has no such CPU.
pub(crate) fn to_cpu(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)?;
    Ok(())
}

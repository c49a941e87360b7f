//! The kernel's pages for a part of a device's memory.

use crate::fault::Unavailable;
use crate::uffd::KernelPages;
use crate::{Memory, Pages, sigbus};
use std::io;
use std::sync::Arc;

/// Pages of `size` bytes of `memory` from `offset` on, which lie in one area of it; it is set up. `None`: the system
/// permits no page faults in user space.
///
/// # Errors
/// What the system says; nothing is left.
pub(super) fn open(memory: &Arc<Memory>, offset: u64, size: u64) -> io::Result<Option<Arc<dyn Pages>>> {
    match KernelPages::map(Arc::<Memory>::clone(memory), offset, size) {
        Ok(pages) => {
            // Before the first access: one that fails would end the process.
            sigbus::install();
            Ok(Some(Arc::new(pages)))
        }
        Err(Unavailable::Unsupported(_)) => Ok(None),
        Err(Unavailable::System(error)) => Err(error),
    }
}

//! What the s390 view costs: a handle in place of a reference, and a request in memory in place of a write.
//!
//! | figure | what |
//! |---|---|
//! | `pcilg` | PCI LOAD of 4 bytes by handle, divided by a read of the same register through the function |
//! | `block_store_128` | a block store of 128 bytes through the I/O region over vfio-user, the data in the client's memory, divided by a `REGION_WRITE` of the same 128 bytes to the same place |

mod block;
mod machine;
mod pcilg;

use std::error::Error;

use crate::figure::Figure;

/// Runs the interleaved rounds of both figures.
///
/// # Errors
/// The function cannot be built or served, or an access fails.
pub(crate) fn run(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    Ok(vec![pcilg::figure(rounds)?, block::figure(rounds)?])
}

//! What the relay needs of a connection.

use std::os::fd::BorrowedFd;

use gate::ThreadToken;
use vfio_user::codec::DmaMap;

use crate::link::{Link, LinkError, Loss};

/// A connection to a back end, as far as memory is concerned. [`Link`] is one. Each call ends within its hang limit.
pub trait Wire: Send + Sync {
    /// Has the back end reach memory.
    ///
    /// # Errors
    /// [`LinkError::Refused`] and [`LinkError::Request`]: it has not. Any other: nobody knows, and the connection is lost.
    fn map(
        &self,
        token: &mut ThreadToken,
        map: DmaMap,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<(), LinkError>;

    /// Takes memory away that was mapped with just this address and size. Afterwards the back end does not touch it.
    ///
    /// # Errors
    /// As [`Wire::map`]; it may still touch it.
    fn unmap(&self, token: &mut ThreadToken, iova: u64, size: u64) -> Result<(), LinkError>;

    /// Ends the connection. Waits for nobody.
    fn cut(&self, why: &'static str);
}

impl Wire for Link {
    fn map(
        &self,
        token: &mut ThreadToken,
        map: DmaMap,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<(), LinkError> {
        self.dma_map_raw(token, map, file)
    }

    fn unmap(&self, token: &mut ThreadToken, iova: u64, size: u64) -> Result<(), LinkError> {
        self.dma_unmap(token, iova, size)
    }

    fn cut(&self, why: &'static str) {
        Link::cut(self, Loss::Cut(why));
    }
}

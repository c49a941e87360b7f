//! Who serves what a back end asks for: the consumer's memory, once there is a consumer.

use std::sync::{Arc, OnceLock};

use gate::ThreadToken;
use rustix::io::Errno;

use crate::link::Commands;
use crate::relay::dma::Dma;

/// A back end is connected before the function that its memory belongs to is made. Until then there is no memory.
#[derive(Default)]
pub(super) struct Served(OnceLock<Arc<Dma>>);

impl Served {
    /// There is memory. Once.
    pub(super) fn serve(&self, dma: &Arc<Dma>) {
        let _ = self.0.set(Arc::clone(dma));
    }
}

impl Commands for Served {
    fn dma_read(&self, token: &mut ThreadToken, address: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.0.get().ok_or(Errno::FAULT)?.dma_read(token, address, data)
    }

    fn dma_write(&self, token: &mut ThreadToken, address: u64, data: &[u8]) -> Result<(), Errno> {
        self.0.get().ok_or(Errno::FAULT)?.dma_write(token, address, data)
    }
}

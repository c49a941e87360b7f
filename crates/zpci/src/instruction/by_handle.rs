//! The instructions as a machine executes them: they name a function by its handle.

use super::fault::Fault;
use super::request::{AddressSpace, Request};
use crate::view::View;
use crate::zpci::Zpci;
use gate::{Deadline, ThreadToken, Until};
use std::sync::Arc;
use std::time::Duration;

impl Zpci {
    /// PCI LOAD: `request.length` bytes of a BAR (1, 2, 4 or 8) or of configuration space (1, 2 or 4), in their order from the
    /// lowest of the answer on. Never waits, takes no lock.
    ///
    /// # Errors
    /// [`Fault`]; what was to be loaded reads as all-ones (ZP-14).
    #[inline]
    pub fn pcilg(&self, token: &ThreadToken, request: Request, offset: u64) -> Result<u64, Fault> {
        let loaded = self.with_view(token, request.handle, |view| view.try_load(token, request, offset));
        loaded.unwrap_or(Err(Fault::InvalidHandle))
    }

    /// PCI STORE: the lowest `request.length` bytes of `value`. Never waits; to a BAR it takes no lock.
    ///
    /// What a register of configuration space asks for (a reset, a power state) is carried out if nobody is inside at the
    /// moment, else the answer is *busy*: the same store again asks again.
    ///
    /// # Errors
    /// [`Fault`].
    #[inline]
    pub fn pcistg(
        &self,
        token: &mut ThreadToken,
        request: Request,
        offset: u64,
        value: u64,
    ) -> Result<(), Fault> {
        if request.space == AddressSpace::CONFIG {
            return self.store(token, request, offset, value, || Deadline::after(Duration::ZERO));
        }
        let stored =
            self.with_view(token, request.handle, |view| view.try_store(token, request, offset, value));
        stored.unwrap_or(Err(Fault::InvalidHandle))
    }

    /// PCI STORE BLOCK: `data`, of `request.length` bytes, to a BAR. The device gets it as a whole. Never waits, takes no
    /// lock.
    ///
    /// # Errors
    /// [`Fault`].
    #[inline]
    pub fn pcistb(
        &self,
        token: &ThreadToken,
        request: Request,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Fault> {
        let stored =
            self.with_view(token, request.handle, |view| view.try_store_block(token, request, offset, data));
        stored.unwrap_or(Err(Fault::InvalidHandle))
    }

    /// As [`Zpci::pcilg`], and waits at the function's gate to `until` while the function is busy. A wait ends when the thread
    /// is cancelled or the function removed, and costs no processor. A handle that became stale meanwhile reaches nothing.
    ///
    /// # Errors
    /// [`Fault`]: [`Fault::Busy`] at the deadline.
    pub fn load(
        &self,
        token: &mut ThreadToken,
        request: Request,
        offset: u64,
        until: impl Until,
    ) -> Result<u64, Fault> {
        self.view(token, request)?.load(token, request, offset, until)
    }

    /// As [`Zpci::pcistg`], and waits as [`Zpci::load`] does, for what a register asks for too.
    ///
    /// # Errors
    /// [`Fault`]: [`Fault::Busy`] at the deadline.
    pub fn store(
        &self,
        token: &mut ThreadToken,
        request: Request,
        offset: u64,
        value: u64,
        until: impl Until,
    ) -> Result<(), Fault> {
        self.view(token, request)?.store(token, request, offset, value, until)
    }

    /// As [`Zpci::pcistb`], and waits as [`Zpci::load`] does.
    ///
    /// # Errors
    /// [`Fault`]: [`Fault::Busy`] at the deadline.
    pub fn store_block(
        &self,
        token: &mut ThreadToken,
        request: Request,
        offset: u64,
        data: &[u8],
        until: impl Until,
    ) -> Result<(), Fault> {
        self.view(token, request)?.store_block(token, request, offset, data, until)
    }

    /// Kept while its gate is waited for, unlike what is read under a pass.
    fn view(&self, token: &ThreadToken, request: Request) -> Result<Arc<View>, Fault> {
        self.by_handle(token, request.handle).ok_or(Fault::InvalidHandle)
    }
}

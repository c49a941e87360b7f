//! Who asks a platform.

use super::answer::{Answer, Entry, FunctionInfo};
use super::pause::{Retries, pause};
use super::platform::Clp;
use super::request::{Request, SetFunction};
use super::response::Code;
use crate::handle::Handle;
use crate::id::Fid;
use crate::settings::Group;
use crate::zpci::MAX_FUNCTIONS;
use gate::ThreadToken;
use pci_core::Time;
use std::sync::Arc;
use thiserror::Error;

/// Why something asked of a platform was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClpError {
    /// The platform said no; or was still busy at the last try.
    #[error("the platform refused: {0}")]
    Refused(#[from] Code),
    /// The platform said something that is no answer to what it was asked, such as a list without end.
    #[error("the platform's answer makes no sense")]
    Nonsense,
}

/// How a function came to be disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabled {
    /// By this command; the handle that it has now.
    Now(Handle),
    /// Before: the handle that was given was stale, and this is the one that it has now (ZP-03). Who wanted it disabled has it.
    Already(Handle),
}

/// Gives a platform commands for a guest's kernel. A command to a platform that is busy is given again, a bounded number of times with
/// bounded waits; a thread whose waits are cancelled gives up early.
pub struct Host {
    platform: Arc<dyn Clp>,
    time: Arc<dyn Time>,
    retries: Retries,
}

impl Host {
    /// Who asks `platform`, and lets `time` pass between two tries.
    #[must_use]
    pub fn new(platform: Arc<dyn Clp>, time: Arc<dyn Time>, retries: Retries) -> Host {
        Host { platform, time, retries }
    }

    /// All functions that are not RESERVED, by identifier.
    ///
    /// # Errors
    /// [`ClpError`].
    pub fn list(&self, token: &mut ThreadToken) -> Result<Vec<Entry>, ClpError> {
        let mut all: Vec<Entry> = Vec::new();
        let mut resume = 0;
        // Each part but the last has an entry.
        for _ in 0..=MAX_FUNCTIONS {
            let Answer::List(page) = self.call(token, Request::List { resume })? else {
                return Err(ClpError::Nonsense);
            };
            let is_last = page.resume == 0;
            if all.len() + page.entries.len() > MAX_FUNCTIONS || (page.entries.is_empty() && !is_last) {
                return Err(ClpError::Nonsense);
            }
            all.extend(page.entries);
            if is_last {
                return Ok(all);
            }
            resume = page.resume;
        }
        Err(ClpError::Nonsense)
    }

    /// The handle that a function has now; `None` if it is RESERVED or not there.
    ///
    /// # Errors
    /// [`ClpError`].
    pub fn refresh(&self, token: &mut ThreadToken, fid: Fid) -> Result<Option<Handle>, ClpError> {
        Ok(self.list(token)?.into_iter().find(|entry| entry.fid == fid).map(|entry| entry.handle))
    }

    /// What a function is.
    ///
    /// # Errors
    /// [`ClpError`].
    pub fn query_function(&self, token: &mut ThreadToken, handle: Handle) -> Result<FunctionInfo, ClpError> {
        match self.call(token, Request::QueryFunction { handle })? {
            Answer::Function(info) => Ok(*info),
            _ => Err(ClpError::Nonsense),
        }
    }

    /// What a group's functions have in common.
    ///
    /// # Errors
    /// [`ClpError`].
    pub fn query_group(&self, token: &mut ThreadToken, group: u8) -> Result<Group, ClpError> {
        match self.call(token, Request::QueryGroup { group })? {
            Answer::Group(info) => Ok(info),
            _ => Err(ClpError::Nonsense),
        }
    }

    /// Enables a function with one address space for DMA, and gives the handle that it has then. With `mio`: memory I/O without a handle
    /// as well; if that is refused, the function is disabled again (law 9).
    ///
    /// # Errors
    /// [`ClpError`].
    pub fn enable(&self, token: &mut ThreadToken, handle: Handle, mio: bool) -> Result<Handle, ClpError> {
        let enabled = self.set(token, handle, SetFunction::Enable)?;
        if !mio {
            return Ok(enabled);
        }
        self.set(token, enabled, SetFunction::EnableMio).inspect_err(|_| {
            // The first refusal is the one that says what is wrong.
            let _disabled = self.set(token, enabled, SetFunction::Disable);
        })
    }

    /// Disables a function, which takes memory I/O without a handle with it.
    ///
    /// # Errors
    /// [`ClpError`]. That it is disabled already is none.
    pub fn disable(&self, token: &mut ThreadToken, fid: Fid, handle: Handle) -> Result<Disabled, ClpError> {
        match self.set(token, handle, SetFunction::Disable) {
            Ok(handle) => Ok(Disabled::Now(handle)),
            Err(ClpError::Refused(Code::Already)) => {
                let now = self.refresh(token, fid)?;
                now.map(Disabled::Already).ok_or(ClpError::Refused(Code::Handle))
            }
            Err(error) => Err(error),
        }
    }

    fn set(
        &self,
        token: &mut ThreadToken,
        handle: Handle,
        operation: SetFunction,
    ) -> Result<Handle, ClpError> {
        match self.call(token, Request::SetFunction { handle, operation, dma_spaces: 1 })? {
            Answer::Set { handle } => Ok(handle),
            _ => Err(ClpError::Nonsense),
        }
    }

    /// Gives a command until it is carried out, or refused for another reason than being busy, or given often enough.
    fn call(&self, token: &mut ThreadToken, request: Request) -> Result<Answer, ClpError> {
        let mut tries_left = self.retries.tries;
        loop {
            tries_left = tries_left.saturating_sub(1);
            match self.platform.call(token, request) {
                Err(code) if code.is_busy() && tries_left > 0 && !token.is_cancelled() => {
                    pause(&*self.time, token, self.retries.pause);
                }
                done => return done.map_err(ClpError::Refused),
            }
        }
    }
}

//! Configuration space as a file: what sysfs and the operator's tools offer.
//!
//! Offsets are clipped as a file's are, an unprivileged reader sees the standard header only, reads of registers that
//! fail give all-ones and still count (CFG-03, CFG-13), and writes need a right of their own (CFG-14). The accesses are
//! those of users: they wait while the function is blocked.
//!
//! What it does **not** do: no file descriptors and no names; a front end brings those.

use super::{Errno, Width};
use crate::error::AccessError;
use crate::function::{Function, Inside};
use gate::{AccessKind, Deadline, Refusal, ThreadToken};
use pci_spec::capability::express;
use pci_spec::{CONFIG_SPACE_SIZE, EXTENDED_CONFIG_SPACE_SIZE, config, extended};
use std::sync::Arc;

/// Bytes that anybody may read.
const OPEN_TO_ALL: usize = 64;
/// Bytes that anybody may read of a CardBus bridge.
const OPEN_TO_ALL_CARDBUS: usize = 128;
/// Layout of a CardBus bridge, in Header Type.
const HEADER_LAYOUT_CARDBUS: u8 = 0x02;

/// What the opener of the file may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// May read past the standard header: reads there can have side effects, or hang what is broken.
    pub read_all: bool,
    /// May write.
    pub write: bool,
}

/// Keeps what leads to a function awake: a bridge in D3 forwards nothing (CFG-15).
pub trait KeepsAwake: Send + Sync {
    /// Wakes it and keeps it awake until [`release`](KeepsAwake::release), which is called once for each success.
    ///
    /// # Errors
    /// What the user of the file is told; nothing is kept awake then.
    fn acquire(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), Errno>;

    /// It may sleep again, as far as this access is concerned. Never waits.
    fn release(&self);
}

/// An open configuration file of one function.
pub struct ConfigFile {
    function: Arc<Function>,
    rights: Rights,
    /// Length of the file in bytes: 256 or 4096.
    size: usize,
    /// How much of it may be read.
    readable: usize,
    awake: Option<Arc<dyn KeepsAwake>>,
}

impl ConfigFile {
    /// Opens the file; waits to the deadline while the function is blocked. `awake` is asked to keep awake what leads to
    /// the function, for the time of each access.
    ///
    /// # Errors
    /// `ETIMEDOUT`: blocked past the deadline. `ENODEV`: the function is gone. `EIO`: it is frozen. Or what `awake` answers.
    pub fn open(
        function: Arc<Function>,
        token: &mut ThreadToken,
        rights: Rights,
        awake: Option<Arc<dyn KeepsAwake>>,
        deadline: Deadline,
    ) -> Result<ConfigFile, Errno> {
        let mut file = ConfigFile { function, rights, size: 0, readable: 0, awake };
        let awake = file.keep_awake(token, deadline)?;
        let pass = file.function.handle().enter(token, AccessKind::Config, deadline);
        let pass = pass.map_err(|refusal| AccessError::from(refusal).errno())?;
        let (size, open_to_all) = (size(&file.function, &pass), open_to_all(&file.function, &pass));
        drop(pass);
        drop(awake);
        file.size = size;
        file.readable = if rights.read_all { size } else { open_to_all };
        Ok(file)
    }

    /// Length in bytes: 4096 if the extended space can be reached, else 256.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Reads up to `data.len()` bytes at `offset`; answers how many: 0 past the end of what may be read.
    ///
    /// # Errors
    /// `ETIMEDOUT`: blocked past the deadline. `ENODEV`: the function is gone. Or what keeps it awake answers. What cannot be
    /// read otherwise, because the function is frozen or the register fails, is all-ones.
    pub fn read(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        data: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize, Errno> {
        let Some((offset, length)) = clip(offset, data.len(), self.readable) else { return Ok(0) };
        let _awake = self.keep_awake(token, deadline)?;
        let data = &mut data[..length];
        match self.function.read_config(token, offset, data, deadline) {
            Ok(()) | Err(AccessError::Config(_) | AccessError::Refused(Refusal::Frozen)) => Ok(length),
            Err(error) => Err(error.errno()),
        }
    }

    /// Writes up to `data.len()` bytes at `offset` and carries out what that asks for; answers how many: 0 past the end.
    ///
    /// # Errors
    /// `EPERM` without the right to. `ETIMEDOUT`: blocked past the deadline. `ENODEV`: the function is gone. `EAGAIN`: stored,
    /// but the reset or power change was not done. Otherwise what the register or what keeps it awake answers. A frozen
    /// function drops the write without an error.
    pub fn write(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        data: &[u8],
        deadline: Deadline,
    ) -> Result<usize, Errno> {
        if !self.rights.write {
            return Err(Errno::EPERM);
        }
        let Some((offset, length)) = clip(offset, data.len(), self.size) else { return Ok(0) };
        let _awake = self.keep_awake(token, deadline)?;
        self.function.note_user_write(offset, length);
        match self.function.write_config(token, offset, &data[..length], deadline) {
            Ok(_) | Err(AccessError::Refused(Refusal::Frozen)) => Ok(length),
            Err(error) => Err(error.errno()),
        }
    }

    fn keep_awake(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Awake, Errno> {
        if let Some(awake) = &self.awake {
            awake.acquire(token, deadline)?;
        }
        Ok(Awake(self.awake.clone()))
    }
}

impl std::fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ConfigFile { function, rights, size, readable, awake: _ } = self;
        f.debug_struct("ConfigFile")
            .field("function", &function.name())
            .field("rights", rights)
            .field("size", size)
            .field("readable", readable)
            .finish_non_exhaustive()
    }
}

/// Lets go on every exit.
struct Awake(Option<Arc<dyn KeepsAwake>>);

impl Drop for Awake {
    fn drop(&mut self) {
        if let Some(awake) = &self.0 {
            awake.release();
        }
    }
}

/// The part of a request that lies below `end`, if any.
fn clip(offset: u64, length: usize, end: usize) -> Option<(u16, usize)> {
    let at = usize::try_from(offset).ok()?;
    let room = end.checked_sub(at).filter(|room| *room > 0)?;
    Some((u16::try_from(at).ok()?, length.min(room)))
}

fn open_to_all(function: &Function, held: &impl Inside) -> usize {
    let layout = function.config_read(held, config::HEADER_TYPE, Width::Byte);
    let is_cardbus = layout.is_ok_and(|layout| {
        layout & u32::from(config::HEADER_LAYOUT_MASK) == u32::from(HEADER_LAYOUT_CARDBUS)
    });
    if is_cardbus { OPEN_TO_ALL_CARDBUS } else { OPEN_TO_ALL }
}

/// Extended space needs PCI Express and a mechanism that reaches it: the dword at 0x100 then reads something.
fn size(function: &Function, held: &impl Inside) -> usize {
    let is_express = function.find_capability(held, express::ID).is_ok_and(|at| at.is_some());
    let first = function.config_read(held, extended::FIRST_OFFSET, Width::Dword);
    if is_express && first.is_ok_and(|dword| dword != Width::Dword.all_ones()) {
        EXTENDED_CONFIG_SPACE_SIZE
    } else {
        CONFIG_SPACE_SIZE
    }
}

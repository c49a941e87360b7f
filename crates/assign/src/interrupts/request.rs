//! Interrupt indexes and requests, with the validation of VF-30 and VF-31.

use std::os::fd::OwnedFd;

use pci_core::{InterruptLayout, InterruptPin};

use crate::error::{Errno, RequestError};

/// The interrupt indexes of vfio (VF-30).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IrqIndex {
    /// The INTx line, level and automasked.
    Intx = 0,
    /// MSI vectors.
    Msi = 1,
    /// MSI-X vectors.
    Msix = 2,
    /// The device's uncorrectable errors. Not offered unless [`Limits`](crate::Limits) say so: QEMU answers it by stopping the
    /// machine.
    Err = 3,
    /// A request to let the function go.
    Req = 4,
}

/// How a function interrupts at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IrqMode {
    /// The INTx line.
    Intx,
    /// MSI vectors.
    Msi,
    /// MSI-X vectors.
    Msix,
}

/// What an index offers, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqInfoFlags(pub u32);

impl IrqInfoFlags {
    /// It is signalled through an eventfd.
    pub const EVENTFD: u32 = 1 << 0;
    /// It can be masked and unmasked.
    pub const MASKABLE: u32 = 1 << 1;
    /// It masks itself when it is signalled.
    pub const AUTOMASKED: u32 = 1 << 2;
    /// Vectors cannot be added while it is enabled.
    pub const NORESIZE: u32 = 1 << 3;
}

/// The answer to an information request about an interrupt index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqInfo {
    /// What it offers.
    pub flags: IrqInfoFlags,
    /// Vectors; 0: the function has no such interrupt.
    pub count: u32,
}

/// What a request does to the vectors it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqAction {
    /// Masks them.
    Mask,
    /// Unmasks them.
    Unmask,
    /// Sets or signals what they trigger.
    Trigger,
}

/// What comes with a request.
#[derive(Debug)]
pub enum IrqData<'a> {
    /// Nothing: the action is done to every vector named; with count 0 the index is disabled.
    None,
    /// One byte a vector: the action is done where it is not zero.
    Bool(&'a [u8]),
    /// One eventfd a vector; without any, those that are set are taken away.
    Eventfd(Vec<OwnedFd>),
}

/// A SET_IRQS request.
#[derive(Debug)]
pub struct SetIrqs<'a> {
    /// The interrupt index, as the client sent it.
    pub index: u32,
    /// The first vector.
    pub start: u32,
    /// Vectors.
    pub count: u32,
    /// What to do.
    pub action: IrqAction,
    /// With what.
    pub data: IrqData<'a>,
}

const DATA_NONE: u32 = 1 << 0;
const DATA_BOOL: u32 = 1 << 1;
const DATA_EVENTFD: u32 = 1 << 2;
const ACTION_MASK: u32 = 1 << 3;
const ACTION_UNMASK: u32 = 1 << 4;
const ACTION_TRIGGER: u32 = 1 << 5;
const DATA: u32 = DATA_NONE | DATA_BOOL | DATA_EVENTFD;
const ACTION: u32 = ACTION_MASK | ACTION_UNMASK | ACTION_TRIGGER;

impl<'a> SetIrqs<'a> {
    /// A request from its wire form: `flags` as vfio defines them, `payload` the bytes after the fixed part.
    ///
    /// # Errors
    /// EINVAL: unknown flags, not exactly one data type, a payload too short. ENOTTY: not exactly one action (VF-31).
    pub fn decode(
        index: u32,
        start: u32,
        count: u32,
        flags: u32,
        payload: &'a [u8],
        fds: Vec<OwnedFd>,
    ) -> Result<SetIrqs<'a>, RequestError> {
        if flags & !(DATA | ACTION) != 0 {
            return Err(RequestError::invalid("unknown interrupt flags"));
        }
        let data = match flags & DATA {
            DATA_NONE => IrqData::None,
            DATA_BOOL => {
                let bytes = usize::try_from(count).ok().and_then(|count| payload.get(..count));
                IrqData::Bool(bytes.ok_or(RequestError::invalid("fewer bytes than vectors"))?)
            }
            DATA_EVENTFD => IrqData::Eventfd(fds),
            _ => return Err(RequestError::invalid("not exactly one interrupt data type")),
        };
        let action = match flags & ACTION {
            ACTION_MASK => IrqAction::Mask,
            ACTION_UNMASK => IrqAction::Unmask,
            ACTION_TRIGGER => IrqAction::Trigger,
            _ => return Err(RequestError::new(Errno::ENOTTY, "not exactly one interrupt action")),
        };
        Ok(SetIrqs { index, start, count, action, data })
    }

    /// The vectors named, checked against what there is.
    pub(crate) fn validate(&self, counts: &Counts) -> Result<(IrqIndex, Vectors), RequestError> {
        let index = IrqIndex::new(self.index)?;
        let max = counts.info(index).count;
        if self.start >= max || self.start.checked_add(self.count).is_none_or(|end| end > max) {
            return Err(RequestError::invalid("vectors out of range"));
        }
        match &self.data {
            IrqData::Bool(bytes) if bytes.len() != self.count as usize => {
                return Err(RequestError::invalid("not one byte a vector"));
            }
            IrqData::Eventfd(fds)
                if self.count == 0 || !(fds.is_empty() || fds.len() == self.count as usize) =>
            {
                return Err(RequestError::invalid("not one eventfd a vector"));
            }
            _ => {}
        }
        Ok((index, Vectors { start: self.start as usize, count: self.count as usize }))
    }

    /// The request that takes an index out of use.
    pub(crate) fn disables(&self) -> bool {
        self.action == IrqAction::Trigger && self.count == 0 && matches!(self.data, IrqData::None)
    }
}

/// Vectors that are known to exist.
#[derive(Clone, Copy)]
pub(crate) struct Vectors {
    pub(crate) start: usize,
    pub(crate) count: usize,
}

impl Vectors {
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start..self.start + self.count
    }
}

impl IrqIndex {
    /// The index of a number that a client sent.
    ///
    /// # Errors
    /// EINVAL: there is no such index (VF-31).
    pub fn new(index: u32) -> Result<IrqIndex, RequestError> {
        match index {
            0 => Ok(IrqIndex::Intx),
            1 => Ok(IrqIndex::Msi),
            2 => Ok(IrqIndex::Msix),
            3 => Ok(IrqIndex::Err),
            4 => Ok(IrqIndex::Req),
            _ => Err(RequestError::invalid("no such interrupt index")),
        }
    }
}

/// How many vectors each index has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    intx: u32,
    msi: u32,
    msix: u32,
    error: u32,
}

impl Counts {
    pub(crate) fn new(layout: &InterruptLayout) -> Counts {
        Counts {
            intx: u32::from(layout.intx != InterruptPin::None),
            msi: u32::from(layout.msi_vectors),
            msix: layout.msix.map_or(0, |msix| u32::from(msix.vectors)),
            error: 0,
        }
    }

    /// The same, with or without an error notifier.
    pub(crate) fn with_errors(self, offered: bool) -> Counts {
        Counts { error: offered.into(), ..self }
    }

    /// VF-30. MSI-X without NORESIZE: QEMU then adds vectors one by one instead of tearing all down for each.
    pub(crate) fn info(&self, index: IrqIndex) -> IrqInfo {
        use IrqInfoFlags as Flags;
        let (flags, count) = match index {
            IrqIndex::Intx => (Flags::EVENTFD | Flags::MASKABLE | Flags::AUTOMASKED, self.intx),
            IrqIndex::Msi => (Flags::EVENTFD | Flags::NORESIZE, self.msi),
            IrqIndex::Msix => (Flags::EVENTFD, self.msix),
            IrqIndex::Err => (Flags::EVENTFD | Flags::NORESIZE, self.error),
            IrqIndex::Req => (Flags::EVENTFD | Flags::NORESIZE, 1),
        };
        IrqInfo { flags: IrqInfoFlags(flags), count }
    }
}

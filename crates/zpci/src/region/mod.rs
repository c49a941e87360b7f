//! The I/O region: instructions of a consumer on its function, one request each.
//!
//! A consumer that is a virtual machine has instructions of its guest to carry out which no access to a BAR is the same as: a
//! block store arrives at the device in one piece. So it writes a request to a region beside the BARs, with where in its memory
//! the data is, and the host does the instruction on its behalf and moves the data through the consumer's DMA map.
//! [`IoRegion`] is that region ([`assign::AddedRegion`]), [`IoRequest`] the bytes of a request, and [`layout`] where they are.
//!
//! # What is promised
//! * Nothing is locked, here or by the caller, and nothing is held while a request waits (ZIO-I1).
//! * A request is a value of its own: what was checked is what is carried out (ZIO-I2).
//! * The handle is read inside the gate, right before the instruction: it names this device or nothing (ZIO-I3).
//! * When the function is gone, requests fail at once with ENODEV, those that wait too (ZIO-I4).
//! * A load asks to write the consumer's memory, and a block store to read it (ZIO-I5).
//!
//! # Errors of a request
//! ENODEV: there is no function. EINVAL: it begins behind the region or leaves it. EFAULT: a read that leaves the header, a
//! write that begins before the request. EIO: everything else, from a length that no instruction has to a function that is
//! frozen, disabled, or closed until the deadline.
//!
//! Flags of both operations at once, and flags that mean nothing, are EIO as well.
//!
//! # Concurrency
//! One request takes one short pass: the consumer's memory and the function are reached under it, so no reset and no change of
//! the DMA map comes between. It waits for the gate before it has read anything but its own bytes.

pub mod layout;
mod request;

use std::sync::Arc;

use assign::{AddedRegion, DmaAccess, DmaError, Errno, GuestSlice, RequestError};
use gate::{AccessKind, Deadline, Pass, Refusal, ThreadToken};
use pci_core::DeviceRegion;

use crate::instruction::{AddressSpace, Fault, Request};
use crate::view::View;
pub use layout::IoRequest;
use request::{Checked, Operation, refused};

/// Bytes of a block that most functions take at most, and so of the buffer that most requests need.
const USUAL: usize = 128;
/// Bytes of the longest block: no request crosses a page.
const LONGEST: usize = 4096;

/// The I/O region of a function. See the module's head.
pub struct IoRegion {
    view: Arc<View>,
}

impl IoRegion {
    /// The region of the function that `view` is of: for the assignment of that same function
    /// ([`assign::Assignment::add_region`]).
    #[must_use]
    pub fn new(view: Arc<View>) -> Arc<IoRegion> {
        Arc::new(IoRegion { view })
    }

    /// Fails if there is no function: it has not been brought in yet, or is gone.
    fn check_present(&self) -> Result<(), RequestError> {
        if self.view.function().handle().is_gone() || self.view.handle().is_none() {
            Err(GONE)
        } else {
            Ok(())
        }
    }

    /// Carries a request out, under one pass.
    fn execute(
        &self,
        token: &mut ThreadToken,
        request: Checked,
        until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError> {
        let pass = self.view.function().handle().enter(token, AccessKind::Bar, until).map_err(kept_out)?;
        match request.operation {
            Operation::Load => self.load(&pass, request),
            Operation::StoreBlock if usize::from(request.length) <= USUAL => {
                self.store_block::<USUAL>(&pass, request)
            }
            Operation::StoreBlock => self.store_block::<LONGEST>(&pass, request),
        }
    }

    fn load(&self, pass: &Pass<'_>, request: Checked) -> Result<(), RequestError> {
        let length = usize::from(request.length);
        // First: what a device forgets when it is read is not read for nothing.
        let target = self.memory(pass, request, DmaAccess::Write)?;
        let value = self.view.load_within(pass, self.instruction(request), request.offset);
        let bytes = value.map_err(|fault| self.failed(fault))?.to_le_bytes();
        target.write_from(bytes.get(..length).unwrap_or(&bytes)).map_err(out_of_reach)
    }

    /// `N`: bytes of its buffer, on the stack.
    fn store_block<const N: usize>(&self, pass: &Pass<'_>, request: Checked) -> Result<(), RequestError> {
        let mut buffer = [0; N];
        let block = buffer.get_mut(..usize::from(request.length)).ok_or(refused("the block is too long"))?;
        self.memory(pass, request, DmaAccess::Read)?.read_into(block).map_err(out_of_reach)?;
        self.view
            .store_block_within(pass, self.instruction(request), request.offset, block)
            .map_err(|fault| self.failed(fault))
    }

    /// The instruction, with the handle that the function has now (ZIO-I3).
    fn instruction(&self, request: Checked) -> Request {
        Request::new(self.view.handle(), AddressSpace::from_code(request.space), request.length)
    }

    /// The data, in the consumer's memory.
    fn memory<'p>(
        &'p self,
        pass: &'p Pass<'_>,
        request: Checked,
        access: DmaAccess,
    ) -> Result<GuestSlice<'p>, RequestError> {
        let port = self.view.port().ok_or(refused("the function has no consumer"))?;
        let memory = port.dma().resolve_for_consumer(pass, request.address, request.length.into(), access);
        memory.map_err(out_of_reach)
    }

    /// What a consumer is told of an instruction that was not done.
    #[cold]
    fn failed(&self, fault: Fault) -> RequestError {
        let told = match fault {
            Fault::Gone => GONE,
            Fault::Check(_) => refused("there is no such instruction"),
            Fault::Error(_) | Fault::Busy | Fault::InvalidHandle => {
                refused("the function did not carry the instruction out")
            }
        };
        // What failed because the function was taken away meanwhile met none.
        self.check_present().err().unwrap_or(told)
    }
}

impl AddedRegion for IoRegion {
    fn region(&self) -> DeviceRegion {
        DeviceRegion { kind: layout::KIND, subtype: layout::SUBTYPE, size: layout::SIZE, writable: true }
    }

    /// The header, which waits for nothing.
    fn read(
        &self,
        _token: &mut ThreadToken,
        offset: u64,
        data: &mut [u8],
        _until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError> {
        self.check_present()?;
        let start = request::check_read(offset, data.len())?;
        let header = layout::header(self.view.max_store());
        for (byte, value) in data.iter_mut().zip(header.iter().skip(start)) {
            *byte = *value;
        }
        Ok(())
    }

    fn write(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        data: &[u8],
        until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError> {
        self.check_present()?;
        let request = request::check(request::take_up(offset, data)?, self.view.max_store())?;
        self.execute(token, request, until)
    }
}

const GONE: RequestError = RequestError::new(Errno::ENODEV, "the function is gone");

/// What a consumer is told of a gate that did not let its request in.
#[cold]
fn kept_out(refusal: Refusal) -> RequestError {
    match refusal {
        Refusal::Gone | Refusal::StaleEpoch { .. } => GONE,
        Refusal::Frozen => refused("the function is frozen"),
        Refusal::Blocked(_) => refused("the function was busy past the deadline"),
    }
}

/// What a consumer is told of memory that the host cannot use for it.
#[cold]
fn out_of_reach(error: DmaError) -> RequestError {
    match error {
        DmaError::Denied => refused("the client's memory does not permit this direction"),
        _ => refused("the address is not memory of the client"),
    }
}

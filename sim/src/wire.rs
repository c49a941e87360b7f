//! What a client brings to a function: memory for DMA, and eventfds for interrupts.

use crate::consumer::Guest;
use crate::world::World;
use assign::{Attached, DmaMapFlags, DmaMapRequest, IrqAction, IrqData, IrqIndex, RequestError, SetIrqs};
use gate::ThreadToken;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::io;
use std::os::fd::OwnedFd;

/// Name of the memory that clients bring, by which its mappings are counted.
pub(crate) const MEMORY: &str = "sim-client";
/// Bytes that a client maps at a time.
const PAGE: u64 = 4096;
/// Mappings of one client.
const MAPPINGS: usize = 4;

/// Maps something, unmaps everything, or wires the interrupt.
pub(crate) fn carry_out(world: &World, token: &mut ThreadToken, slot: usize) {
    let guest: &Guest = &world.guests[slot];
    let (what, at) = world.random.with(|random| (random.below(4), random.below(MAPPINGS)));
    let iova = u64::try_from(at).unwrap_or(0) * PAGE;
    let done = guest.work(|attached| match what {
        0 => attached.dma_unmap_all(token),
        1 => attached.set_irqs(token, wired(eventfd(0, EventfdFlags::CLOEXEC).ok())),
        _ => map(attached, token, iova),
    });
    if let Some(Err(error)) = done {
        world.trace(|| format!("slot {slot}: the client is refused: {error}"));
    }
}

/// Maps a page of memory of its own.
pub(crate) fn map(attached: &Attached, token: &mut ThreadToken, iova: u64) -> Result<(), RequestError> {
    let flags = DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE | DmaMapFlags::ACCESS_MMAP);
    match memory() {
        Ok(fd) => attached.dma_map(token, DmaMapRequest { flags, offset: 0, iova, size: PAGE, fd: Some(fd) }),
        Err(_) => Ok(()),
    }
}

fn wired(fd: Option<OwnedFd>) -> SetIrqs<'static> {
    let data = IrqData::Eventfd(fd.into_iter().collect());
    SetIrqs { index: IrqIndex::Msi as u32, start: 0, count: 1, action: IrqAction::Trigger, data }
}

fn memory() -> io::Result<OwnedFd> {
    let fd = memfd_create(MEMORY, MemfdFlags::CLOEXEC)?;
    ftruncate(&fd, PAGE)?;
    Ok(fd)
}

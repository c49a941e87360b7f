//! Instructions: loads, stores and block stores by whoever knows a handle, or did once (ZP-13, ZP-14).

use super::S390;
use super::act::Site;
use crate::card::BAR_BYTES;
use crate::invariants::Invariant;
use crate::machine::at_once;
use gate::{Admission, ThreadToken};
use pci_spec::config;
use std::sync::Arc;
use zpci::{AddressSpace, Fault, Handle, Request, Status, View};

/// Lengths of single loads and stores, and some that are none.
const LENGTHS: [u16; 7] = [8, 8, 4, 2, 1, 3, 16];
/// Lengths of blocks.
const BLOCKS: [u16; 6] = [128, 64, 8, 256, 12, 0];

/// Something that is done to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Load,
    Store,
    Block,
}

pub(super) fn carry_out(on: &Site<'_>, token: &mut ThreadToken) {
    let slot = &on.function;
    let handle = on.some_handle(slot.zdev().handle());
    let (kind, space, length, offset, waits) = on.world.random.with(|random| {
        let kind = [Kind::Load, Kind::Load, Kind::Store, Kind::Block][random.below(4)];
        let lengths: &[u16] = if kind == Kind::Block { &BLOCKS } else { &LENGTHS };
        let space = [0, 0, 0, 0, 1, 2, 6, 15][random.below(8)];
        let offset = [0, 0, 8, BAR_BYTES - 8, BAR_BYTES, 4, u64::MAX - 7][random.below(7)];
        (kind, space, lengths[random.below(lengths.len())], offset, random.coin())
    });
    let request = Request::new(handle, AddressSpace::from_code(space), length);
    let view = on.s390.zpci.by_handle(token, handle);
    let expected = view.as_ref().map_or(Some(Fault::InvalidHandle), |view| refusal(view, handle));
    let zpci = &on.s390.zpci;
    let done = match (kind, waits) {
        (Kind::Load, false) => zpci.pcilg(token, request, offset),
        (Kind::Load, true) => zpci.load(token, request, offset, at_once()),
        // What a register asks for may take time: see `configure`.
        (Kind::Store, _) if space == AddressSpace::CONFIG.code() => return configure(on, token, handle),
        (Kind::Store, false) => {
            zpci.pcistg(token, request, offset, on.s390.number(view.as_ref())).map(|()| 0)
        }
        (Kind::Store, true) => {
            zpci.store(token, request, offset, on.s390.number(view.as_ref()), at_once()).map(|()| 0)
        }
        (Kind::Block, waits) => {
            let block = on.s390.block(view.as_ref(), length);
            match waits {
                false => zpci.pcistb(token, request, offset, &block).map(|()| 0),
                true => zpci.store_block(token, request, offset, &block, at_once()).map(|()| 0),
            }
        }
    };
    on.trace(|| format!("{kind:?} {request:?} at {offset:#x}: {done:x?}"));
    check(on, (request, offset), expected, done);
    if let (Kind::Load, Ok(value), Some(view)) = (kind, done, view)
        && (space, length, offset % 8) == (0, 8, 0)
    {
        on.world.check_reached(on.s390, value, &view);
    }
}

/// A register is written that asks for something: that memory is decoded, or not; a reset.
fn configure(on: &Site<'_>, token: &mut ThreadToken, handle: Handle) {
    let decodes = on.world.random.with(|random| random.chance(3, 4));
    let value = if decodes { 6 } else { 0 };
    let request = Request::new(handle, AddressSpace::CONFIG, 2);
    let done =
        on.timed("a register write", || on.s390.zpci.pcistg(token, request, config::COMMAND.into(), value));
    on.trace(|| format!("{handle} writes {value} to its command register: {done:?}"));
}

/// Why no instruction of this handle does anything, by what the function is now.
fn refusal(view: &View, handle: Handle) -> Option<Fault> {
    let admission = view.function().handle().admission();
    match () {
        () if admission == Admission::Gone => Some(Fault::Gone),
        () if !handle.is_enabled() => Some(Fault::Error(Status::NotEnabled)),
        () if view.has_failed() => Some(Fault::Error(Status::InError)),
        () if admission == Admission::Frozen => Some(Fault::Error(Status::Blocked)),
        () if admission == Admission::Blocked => Some(Fault::Busy),
        () => None,
    }
}

/// An instruction was answered as the function's state says; a program check may come before all that.
pub(super) fn check(on: &Site<'_>, what: (Request, u64), expected: Option<Fault>, done: Result<u64, Fault>) {
    let right = match (expected, done) {
        (_, Err(Fault::Check(_))) => true,
        // Of a function that has gone it may say what else is wrong with it.
        (Some(Fault::Gone), Err(fault)) => {
            matches!(fault, Fault::Gone | Fault::Error(Status::NotEnabled | Status::InError))
        }
        (Some(expected), Err(fault)) => fault == expected,
        (Some(_), Ok(_)) => false,
        (None, Ok(_)) => true,
        // What the function's registers say of its space.
        (None, Err(fault)) => matches!(fault, Fault::Error(Status::NotAvailable | Status::InvalidSpace)),
    };
    if !right {
        let detail = format!("{what:x?} is answered with {done:x?} instead of {expected:?}");
        on.violated(Invariant::Answered, detail);
    }
}

impl S390 {
    /// The number of the device that a view is of, if it was ever read.
    fn number(&self, view: Option<&Arc<View>>) -> u64 {
        view.and_then(|view| self.book.with(|book| book.number(view.function()))).unwrap_or(0)
    }

    /// A block for the device that a view is of: it says so at the start.
    pub(super) fn block(&self, view: Option<&Arc<View>>, length: u16) -> Vec<u8> {
        let number = self.number(view).to_le_bytes();
        number.into_iter().cycle().take(length.into()).collect()
    }
}

//! The I/O region: what a client of a function writes there, sense or nonsense, in time or long after it has lost the function.

use super::act::Site;
use crate::invariants::Invariant;
use crate::machine::at_once;
use assign::{Assignment, Errno};
use gate::{AccessKind, Admission, ThreadToken};
use std::sync::Arc;
use zpci::View;
use zpci::region::layout::REQUEST_START;
use zpci::region::{IoRegion, IoRequest};

/// The region's number: the devices of a world have none of their own.
const REGION: u32 = 9;
/// Bytes of a page of clients' memory; they map a handful.
const PAGE: u64 = 4096;

/// A client of the slot, or one that clings to what it had, writes a request.
pub(super) fn request(on: &Site<'_>, token: &mut ThreadToken) {
    let clings = on.world.plan.consumers.clings;
    let clings = on.world.random.with(|random| random.chance(clings, 1000));
    let request = some_request(on);
    if clings {
        return stale(on, token, request);
    }
    let guest = &on.world.guests[on.slot];
    guest.attach(on.world, token);
    guest.work(|attached| {
        if on.world.random.with(crate::random::Random::coin) {
            // What it has there already is as good.
            let _mapped = crate::wire::map(attached, token, request.address / PAGE * PAGE);
        }
        carry_out(on, token, attached, request);
    });
}

fn some_request(on: &Site<'_>) -> IoRequest {
    on.world.random.with(|random| {
        let flags = [1, 1, 2, 2, 3, 0][random.below(6)];
        let lengths: &[u16] =
            if flags == IoRequest::READ { &[8, 8, 4, 1, 0, 9] } else { &[128, 64, 8, 12, 0] };
        let page = u64::try_from(random.below(5)).unwrap_or(0) * PAGE;
        IoRequest {
            flags,
            address: page + [0, 0, 64, 4, PAGE - 8][random.below(5)],
            offset: [0, 0, 8, 4096, 4][random.below(5)],
            length: lengths[random.below(lengths.len())],
            space: [0, 0, 0, 1, 6, 15][random.below(6)],
        }
    })
}

/// A request to a function that a client has, which may be gone all the same.
fn carry_out(on: &Site<'_>, token: &mut ThreadToken, function: &Assignment, request: IoRequest) {
    let at = REQUEST_START;
    let done = function.region_write(token, REGION, at, &request.encode()).map_err(|error| error.errno);
    on.trace(|| format!("the client asks for {request:x?}: {done:?}"));
    let Some(view) = on.s390.zpci.by_function(function.function()) else {
        // It has none of its own any more: whatever it asks for ends so, and at once (ZIO-I4).
        if done != Err(Errno::ENODEV) {
            on.violated(Invariant::Answered, format!("a request to what has gone: {done:?}"));
        }
        return;
    };
    let admission = function.function().handle().admission();
    let works = view.is_enabled() && !view.has_failed() && admission == Admission::Open;
    let right = match done {
        Ok(()) => works,
        Err(Errno::ENODEV) => admission == Admission::Gone,
        Err(errno) => errno == Errno::EIO && admission != Admission::Gone,
    };
    if !right {
        let detail = format!("{request:x?} to {view:?}, which is {admission:?}: {done:?}");
        on.violated(Invariant::Answered, detail);
    }
    let whole = (request.flags, request.length, request.space, request.offset % 8);
    if done.is_ok() && whole == (IoRequest::READ, 8, 0, 0) {
        check_memory(on, token, &view, request.address);
    }
}

/// What was loaded into the client's memory is of the device that the client has.
fn check_memory(on: &Site<'_>, token: &mut ThreadToken, view: &Arc<View>, address: u64) {
    let mut bytes = [0; 8];
    let Some(port) = view.port() else { return };
    let memory = view.function().handle().try_enter(token, AccessKind::Dma).ok().and_then(|pass| {
        let slice = port.dma().resolve_for_consumer(&pass, address, 8, assign::DmaAccess::Read).ok()?;
        slice.read_into(&mut bytes).ok()
    });
    if memory.is_some() {
        on.world.check_reached(on.s390, u64::from_le_bytes(bytes), view);
    }
}

/// A request to a region that was of a device which has gone: it ends at once, and nowhere (ZIO-I3, ZIO-I4).
fn stale(on: &Site<'_>, token: &mut ThreadToken, request: IoRequest) {
    let views = on.s390.stale.with(|stale| stale.clone());
    let Some(view) = on.world.random.with(|random| random.pick(&views).cloned()) else { return };
    let region = IoRegion::new(view);
    let region: &dyn assign::AddedRegion = &*region;
    let done = region.write(token, REQUEST_START, &request.encode(), &mut at_once);
    if done.map_err(|error| error.errno) != Err(Errno::ENODEV) {
        on.violated(Invariant::DeadHandle, format!("{request:x?} to what has gone: {done:?}"));
    }
}

//! A session's hold on its function, in its hand or at rest in its seat.
//!
//! What a client asks for is done by the function while there is a hold, and by the *tombstone* when there is none any
//! more: it acknowledges what a function would do. The two agree at every moment: a request that finds the function gone
//! on its way is asked again, and then of the tombstone ([`Hold::end_if_over`]).

use std::sync::Arc;

use assign::{Attached, Patience, RequestError, Requests};
use gate::{Deadline, ThreadToken};
use rustix::io::Errno;

use super::door::{Door, FunctionSeat};
use super::facts::Facts;
use super::seat::Unavailable;
use crate::codec::RegionAccess;

/// See the module's head.
pub(super) struct Hold<'a> {
    seat: &'a Arc<FunctionSeat>,
    /// Who is told when the hold has ended.
    door: Option<&'a Door>,
    hand: Option<Attached>,
    /// The seat is this session's, though its hold may have been taken away or have ended.
    seated: bool,
    /// The time that the commands which have arrived share.
    pub(super) patience: Patience,
}

impl<'a> Hold<'a> {
    /// No hold yet.
    pub(super) fn new(seat: &'a Arc<FunctionSeat>, door: Option<&'a Door>) -> Hold<'a> {
        Hold { seat, door, hand: None, seated: false, patience: Patience::new() }
    }

    /// Attaches, unless somebody else has the function.
    ///
    /// # Errors
    /// `EBUSY`: somebody has it. `ENODEV`: it was revoked, or is gone. Else as [`assign::Assignment::attach`].
    pub(super) fn attach(&mut self, token: &mut ThreadToken) -> Result<Facts, Errno> {
        let function = self.seat.claim().map_err(|unavailable| match unavailable {
            Unavailable::Taken => Errno::BUSY,
            Unavailable::Revoked => Errno::NODEV,
        })?;
        match function.attach(token) {
            Ok(attached) => {
                (self.hand, self.seated) = (Some(attached), true);
                Ok(Facts::of(&function))
            }
            Err(error) => {
                let gone = function.is_gone();
                drop(function);
                self.seat.vacate();
                Err(if gone { Errno::NODEV } else { refusal(error) })
            }
        }
    }

    /// The function, for a command whose time is that of all that have arrived; unless it was revoked or the hold has been
    /// given up.
    #[inline]
    fn requests(&mut self) -> Option<Requests<'_>> {
        if self.hand.is_none() {
            self.hand = self.seat.take();
        }
        let Hold { hand, patience, .. } = self;
        Some(hand.as_ref()?.requests(patience))
    }

    /// The same without its time.
    pub(super) fn function(&mut self) -> Option<&mut Attached> {
        if self.hand.is_none() {
            self.hand = self.seat.take();
        }
        self.hand.as_mut()
    }

    /// Reads the function within that time, or all-ones if it is not there any more.
    #[inline]
    pub(super) fn read(
        &mut self,
        token: &mut ThreadToken,
        facts: &Facts,
        access: RegionAccess,
        data: &mut [u8],
    ) -> Result<(), Errno> {
        match self.requests() {
            Some(mut requests) => {
                requests.region_read(token, access.region, access.offset, data).map_err(errno)
            }
            None => facts.read(access.region, access.offset, data),
        }
    }

    /// Writes to the function within that time; of one that is not there any more nothing is written.
    #[inline]
    pub(super) fn write(
        &mut self,
        token: &mut ThreadToken,
        facts: &Facts,
        access: RegionAccess,
        data: &[u8],
    ) -> Result<(), Errno> {
        match self.requests() {
            Some(mut requests) => {
                requests.region_write(token, access.region, access.offset, data).map_err(errno)
            }
            None => facts.write(access.region, access.offset, data),
        }
    }

    /// Has the function do something, within the time that the commands which have arrived share. A tombstone acknowledges.
    pub(super) fn act(
        &mut self,
        token: &mut ThreadToken,
        action: impl FnOnce(&mut Requests<'_>, &mut ThreadToken) -> Result<(), RequestError>,
    ) -> Result<(), Errno> {
        self.requests().map_or(Ok(()), |mut requests| action(&mut requests, token).map_err(errno))
    }

    /// As [`Hold::act`], for what takes something back from the function: a tombstone acknowledges that when whoever revokes
    /// has done it, for the client goes on as if nothing reached its memory any more.
    ///
    /// # Errors
    /// `ETIMEDOUT`: that is not so yet.
    pub(super) fn act_and_settle(
        &mut self,
        token: &mut ThreadToken,
        facts: &Facts,
        action: impl FnOnce(&mut Requests<'_>, &mut ThreadToken) -> Result<(), RequestError>,
    ) -> Result<(), Errno> {
        self.act(token, action)?;
        if self.hand.is_some()
            || self.seat.wait_until_vacant(token, "unmap", Deadline::after(facts.unmap_timeout))
        {
            return Ok(());
        }
        Err(Errno::TIMEDOUT)
    }

    /// Lays the hold down before anything that waits for the client, so that it can be taken away meanwhile. If it was
    /// revoked while it was in hand, it ends here.
    #[inline]
    pub(super) fn rest(&mut self, token: &mut ThreadToken) {
        if let Some(attached) = self.hand.take()
            && let Some(revoked) = self.seat.rest(attached)
        {
            self.end(token, revoked);
        }
    }

    /// Gives up a hold in hand whose function is gone or was revoked; from then on the tombstone answers. False: the function is
    /// there, or the tombstone answers already.
    #[cold]
    pub(super) fn end_if_over(&mut self, token: &mut ThreadToken) -> bool {
        match self.hand.take_if(|attached| attached.is_gone() || self.seat.is_revoked()) {
            Some(attached) => {
                self.end(token, attached);
                true
            }
            None => false,
        }
    }

    /// Gives the hold up, if there is one.
    pub(super) fn give_up(&mut self, token: &mut ThreadToken) {
        if let Some(attached) = self.take_up() {
            self.end(token, attached);
        }
    }

    fn take_up(&mut self) -> Option<Attached> {
        if self.seated { self.hand.take().or_else(|| self.seat.take()) } else { None }
    }

    #[cold]
    fn end(&self, token: &mut ThreadToken, attached: Attached) {
        attached.detach(token);
        self.vacate();
    }

    fn vacate(&self) {
        self.seat.vacate();
        if let Some(door) = self.door {
            door.released(self.seat);
        }
    }

    /// The seat that the hold is of.
    pub(super) fn seat(&self) -> &'a Arc<FunctionSeat> {
        self.seat
    }

    /// Where the client came in.
    pub(super) fn door(&self) -> Option<&'a Door> {
        self.door
    }
}

impl Drop for Hold<'_> {
    /// A session that has panicked: the hold ends on a thread of its own, and keeps others out until then.
    fn drop(&mut self) {
        if let Some(attached) = self.take_up() {
            drop(attached);
            self.vacate();
        }
    }
}

fn refusal(error: assign::AttachError) -> Errno {
    match error {
        assign::AttachError::Busy => Errno::BUSY,
        assign::AttachError::Refused(error) => errno(error),
    }
}

/// The number that an error reply carries.
pub(super) fn errno(error: RequestError) -> Errno {
    Errno::from_raw_os_error(error.errno.raw())
}

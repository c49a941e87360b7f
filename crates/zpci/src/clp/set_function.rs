//! Enabling and disabling for a guest.

use super::request::SetFunction;
use super::response::Code;
use crate::handle::Handle;
use crate::state::{Configuration, Work};
use crate::transition::{RenewError, Transition};
use crate::zdev::Zdev;
use crate::zpci::Zpci;

impl From<RenewError> for Code {
    fn from(error: RenewError) -> Code {
        match error {
            RenewError::Gone => Code::Handle,
            RenewError::UsedUp => Code::Resources,
        }
    }
}

impl Zpci {
    /// Gives the handle that the function has then. The claim is held from before `handle` is looked at until the end (law 9).
    pub(super) fn set_function(
        &self,
        zdev: &Zdev,
        handle: Handle,
        operation: SetFunction,
        dma_spaces: u8,
    ) -> Result<Handle, Code> {
        let claim = claim(zdev)?;
        if zdev.handle() != handle {
            return Err(Code::Handle);
        }
        if zdev.configuration() != Configuration::Configured {
            return Err(Code::HandleForOperation);
        }
        match operation {
            SetFunction::Enable => self.enable(&claim, handle, dma_spaces),
            SetFunction::Disable => disable(&claim, handle),
            SetFunction::EnableMio => self.set_mio(&claim, handle, true),
            SetFunction::DisableMio => self.set_mio(&claim, handle, false),
        }
    }

    fn enable(&self, claim: &Transition<'_>, handle: Handle, dma_spaces: u8) -> Result<Handle, Code> {
        let view = claim.view().ok_or(Code::Handle)?;
        if view.has_failed() {
            return Err(Code::PermanentError);
        }
        if handle.is_enabled() {
            return Err(Code::Already);
        }
        let most = self.group(claim.zdev().description().group).map_or(1, |group| group.dma_spaces.max(1));
        if !(1..=most).contains(&dma_spaces) {
            return Err(Code::DmaSpaces);
        }
        Ok(claim.renew_in_place(true)?)
    }

    fn set_mio(&self, claim: &Transition<'_>, handle: Handle, enable: bool) -> Result<Handle, Code> {
        // The handle may be that of a device that came after the claim was made.
        let view = claim.view().filter(|view| view.is_named(handle)).ok_or(Code::Handle)?;
        let can = self.group(claim.zdev().description().group).is_some_and(|group| group.has_mio);
        if !can || !handle.is_enabled() {
            return Err(Code::HandleForOperation);
        }
        if view.has_failed() && enable {
            return Err(Code::PermanentError);
        }
        if view.is_mio_enabled() == enable {
            return Err(Code::Already);
        }
        view.set_mio(enable);
        Ok(handle)
    }
}

/// A guest that is told that the function is busy asks again; it is never kept waiting (ZP-03).
fn claim(zdev: &Zdev) -> Result<Transition<'_>, Code> {
    zdev.begin(Work::SetFunction).ok_or_else(|| match zdev.work() {
        Some(Work::Recovery) => Code::RecoveryPending,
        Some(Work::Reset | Work::SetFunction) | None => Code::Busy,
    })
}

/// Also of a function that has failed: it is on its way out.
fn disable(claim: &Transition<'_>, handle: Handle) -> Result<Handle, Code> {
    if !handle.is_enabled() {
        return Err(Code::Already);
    }
    Ok(claim.renew_in_place(false)?)
}

#[cfg(all(test, not(any(loom, shuttle))))]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use crate::model::view;
    use crate::{Description, Fid, Settings, Uid};
    use gate::ThreadToken;
    use std::sync::Arc;

    const ALL: [SetFunction; 4] =
        [SetFunction::Enable, SetFunction::Disable, SetFunction::EnableMio, SetFunction::DisableMio];

    fn configured(token: &mut ThreadToken) -> (Arc<Zpci>, Arc<Zdev>) {
        let zpci = Zpci::new(Settings::default());
        let zdev = zpci.add(Fid(1), Uid::NONE, Description::default()).unwrap();
        zdev.bring_in(token, view(&zdev));
        (zpci, zdev)
    }

    /// It was another's, or this one's, when the function was looked for.
    #[test]
    fn a_handle_that_became_stale_before_the_claim_changes_nothing() {
        let token = &mut ThreadToken::at_thread_entry();
        let (zpci, zdev) = configured(token);
        let stale = zdev.handle();
        let now = zdev.begin(Work::Reset).unwrap().renew(token, true).unwrap();
        for operation in ALL {
            assert_eq!(zpci.set_function(&zdev, stale, operation, 1), Err(Code::Handle), "{operation:?}");
            assert_eq!(zdev.handle(), now);
        }
        assert!(!zdev.view().unwrap().is_mio_enabled());
    }

    /// Law 5.
    #[test]
    fn a_claim_of_the_last_device_changes_nothing_by_a_handle_of_the_next() {
        let token = &mut ThreadToken::at_thread_entry();
        let (zpci, zdev) = configured(token);
        let last = zdev.view().unwrap();
        let claim = zdev.begin(Work::SetFunction).unwrap();
        zdev.take_out(token);
        let handle = zdev.bring_in(token, view(&zdev));
        for enable in [true, false] {
            assert_eq!(zpci.set_mio(&claim, handle, enable), Err(Code::Handle));
        }
        assert_eq!(disable(&claim, handle), Err(Code::Handle));
        let disabled = zdev.begin(Work::SetFunction).unwrap().renew_in_place(false).unwrap();
        assert_eq!(zpci.enable(&claim, disabled, 1), Err(Code::Handle));
        assert!(!last.is_mio_enabled() && !zdev.view().unwrap().is_mio_enabled());
        assert_eq!(zdev.handle(), disabled);
    }
}

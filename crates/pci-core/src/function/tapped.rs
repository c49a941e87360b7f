//! The tap on a function's accesses ([`Tap`]). All of it is off the way of a function that has none.

use super::Function;
use crate::config::{BarIndex, ConfigEffects};
use crate::error::AccessError;
use crate::tap::{ReadVerdict, Tap, TapAt, WriteVerdict};
use gate::{Deadline, ThreadToken, Until};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl Function {
    /// Has `tap` judge the accesses that begin from now on. One, and for as long as the function lives: false if there is one
    /// already.
    pub fn tap(&self, tap: Arc<dyn Tap>) -> bool {
        let installed = self.tap.set(tap).is_ok();
        if installed {
            self.way.tapped();
        }
        installed
    }

    /// Reads a BAR of a function about which something is not plain.
    #[cold]
    #[inline(never)]
    pub(super) fn read_bar_specially(
        &self,
        token: &mut ThreadToken,
        bar: BarIndex,
        offset: u64,
        data: &mut [u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        if self.way.is_tapped() {
            match self.judge_read(token, TapAt::Bar(bar), offset, data.len()) {
                ReadVerdict::Pass => {}
                ReadVerdict::Fail => return Err(AccessError::Injected),
                ReadVerdict::AllOnes => {
                    self.check_inside(bar, offset, data.len())?;
                    data.fill(0xff);
                    self.look_at_bar(token, bar, offset, data);
                    return Ok(());
                }
            }
        }
        if self.way.waits() {
            return self.wait_to_read_bar(token, bar, offset, data, until);
        }
        self.access_bar(token, bar, (offset, data.len()), until, |pass| -> Result<(), AccessError> {
            self.check_plain(bar)?;
            Ok(self.read_device(pass, bar, offset, data)?)
        })
    }

    /// Writes a BAR of a function about which something is not plain.
    #[cold]
    #[inline(never)]
    pub(super) fn write_bar_specially(
        &self,
        token: &mut ThreadToken,
        bar: BarIndex,
        offset: u64,
        data: &[u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        self.as_judged(token, (TapAt::Bar(bar), offset, data), until, |token, deadline| {
            if self.way.waits() {
                return self.wait_to_write_bar(token, bar, offset, data, deadline);
            }
            self.access_bar(token, bar, (offset, data.len()), deadline, |pass| -> Result<(), AccessError> {
                self.check_plain(bar)?;
                Ok(self.call(pass, |device| device.write_bar(pass, bar, offset, data))?)
            })
        })
    }

    /// What the tap makes of a read of configuration space; `None`: it goes on.
    #[cold]
    #[inline(never)]
    pub(super) fn tapped_config_read(
        &self,
        token: &mut ThreadToken,
        offset: u16,
        data: &mut [u8],
    ) -> Option<Result<(), AccessError>> {
        match self.judge_read(token, TapAt::Config, offset.into(), data.len()) {
            ReadVerdict::Pass => None,
            ReadVerdict::Fail => Some(Err(AccessError::Injected)),
            ReadVerdict::AllOnes => {
                data.fill(0xff);
                self.look_at_config(token, offset, data);
                Some(Ok(()))
            }
        }
    }

    /// The same of a region of the device's own.
    #[cold]
    #[inline(never)]
    pub(super) fn tapped_region_read(
        &self,
        token: &mut ThreadToken,
        nth: usize,
        offset: u64,
        data: &mut [u8],
    ) -> Option<Result<(), AccessError>> {
        match self.judge_read(token, TapAt::Own(nth), offset, data.len()) {
            ReadVerdict::Pass => None,
            ReadVerdict::Fail => Some(Err(AccessError::Injected)),
            ReadVerdict::AllOnes => {
                data.fill(0xff);
                Some(Ok(()))
            }
        }
    }

    /// Does a write of configuration space as the tap wants it.
    #[cold]
    #[inline(never)]
    pub(super) fn tapped_config_write(
        &self,
        token: &mut ThreadToken,
        offset: u16,
        data: &[u8],
        deadline: Deadline,
    ) -> Result<ConfigEffects, AccessError> {
        self.as_judged(token, (TapAt::Config, offset.into(), data), deadline, |token, deadline| {
            self.put_config(token, offset, data, deadline)
        })
    }

    /// Does a write never, once or twice. Twice it has the effects of the first time: the second one changes nothing more that
    /// anybody would have to hear of.
    pub(super) fn as_judged<R: Default>(
        &self,
        token: &mut ThreadToken,
        (at, offset, data): (TapAt, u64, &[u8]),
        until: impl Until,
        mut write: impl FnMut(&mut ThreadToken, Deadline) -> Result<R, AccessError>,
    ) -> Result<R, AccessError> {
        let verdict =
            if self.way.is_tapped() { self.judge_write(token, at, offset, data) } else { WriteVerdict::Pass };
        match verdict {
            WriteVerdict::Pass => write(token, until.deadline()),
            WriteVerdict::Drop => Ok(R::default()),
            WriteVerdict::Twice => {
                let deadline = until.deadline();
                let done = write(token, deadline)?;
                write(token, deadline)?;
                Ok(done)
            }
        }
    }

    /// A tap is no part of the function: if it panics the access goes on as if there were none.
    fn judge_read(&self, token: &mut ThreadToken, at: TapAt, offset: u64, length: usize) -> ReadVerdict {
        let Some(tap) = self.tap.get() else { return ReadVerdict::Pass };
        catch_unwind(AssertUnwindSafe(|| tap.read(token, at, offset, length))).unwrap_or_default()
    }

    fn judge_write(&self, token: &mut ThreadToken, at: TapAt, offset: u64, data: &[u8]) -> WriteVerdict {
        let Some(tap) = self.tap.get() else { return WriteVerdict::Pass };
        catch_unwind(AssertUnwindSafe(|| tap.write(token, at, offset, data))).unwrap_or_default()
    }
}

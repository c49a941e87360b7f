//! A consumer whose mapping is a script: what it meets when it touches its page, and what is done to that page, in one list
//! with what is done to the device.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]
#![allow(clippy::disallowed_types, reason = "the script's lock guards plain lines and is taken under leaves")]

use gate::{Deadline, Pass, Quiesced, ThreadToken};
use mapping::{MapRequest, Mapping, MappingError, Memory, OnDisabled, Pages, PagesError, Trap, Window};
use pci_core::{BarIndex, Change, Device, DeviceRegion, Function, PowerState, ResetKind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// What is done to the page and to the device, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Told to stop when this goes, so that a check that fails does not leave other threads running.
#[derive(Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Sets it when dropped.
    pub(crate) fn at_the_end(&self) -> AtTheEnd<'_> {
        AtTheEnd(self)
    }
}

pub(crate) struct AtTheEnd<'a>(&'a Stop);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

/// What an access meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meets {
    Device,
    Failure,
    AllOnes,
    /// It waits in the kernel.
    Waits,
}

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
const POISONED: u8 = 2;
const COVERED: u8 = 3;

/// One page.
#[derive(Debug, Default)]
pub(crate) struct Script {
    lines: Lines,
    page: AtomicU8,
    window: OnceLock<Weak<Window>>,
}

impl Script {
    fn set(&self, page: u8, line: &str) {
        self.page.store(page, Ordering::SeqCst);
        if !line.is_empty() {
            self.lines.add(line);
        }
    }

    /// As the consumer's processor does it: a page that is not there is a fault.
    pub(crate) fn touch(&self, token: &mut ThreadToken) -> Meets {
        if self.page.load(Ordering::SeqCst) == ABSENT {
            let window = self.window.get().and_then(Weak::upgrade).unwrap();
            let _waits_until = window.fault(token, 0);
        }
        self.look()
    }

    /// What is there without a fault.
    pub(crate) fn look(&self) -> Meets {
        match self.page.load(Ordering::SeqCst) {
            PRESENT => Meets::Device,
            POISONED => Meets::Failure,
            COVERED => Meets::AllOnes,
            _ => Meets::Waits,
        }
    }
}

impl Pages for Script {
    fn attach(&self, window: &Arc<Window>) {
        let _first = self.window.set(Arc::downgrade(window));
    }

    fn populate(&self, _offset: u64) -> Result<(), PagesError> {
        // A cover that came between wins, as in the kernel.
        let populated = self
            .page
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |page| (page != COVERED).then_some(PRESENT));
        populated.map(drop).map_err(|_| PagesError::Replaced)
    }

    fn poison(&self, _offset: u64) {
        self.set(POISONED, "");
    }

    fn zap(&self) {
        if self.page.load(Ordering::SeqCst) != COVERED {
            self.set(ABSENT, "zap");
        }
    }

    fn cover(&self) {
        self.set(COVERED, "cover");
    }

    fn uncover(&self) -> Result<(), PagesError> {
        self.set(ABSENT, "uncover");
        Ok(())
    }

    fn wake(&self) {}

    fn base(&self) -> Option<NonNull<u8>> {
        None
    }
}

/// Nothing is trapped here.
pub(crate) struct NoTrap;

impl Trap for NoTrap {
    fn read(
        &self,
        _token: &mut ThreadToken,
        _region: u32,
        _offset: u64,
        _data: &mut [u8],
        _until: Deadline,
    ) -> Result<(), MappingError> {
        Err(MappingError::Disabled)
    }

    fn write(
        &self,
        _token: &mut ThreadToken,
        _region: u32,
        _offset: u64,
        _data: &[u8],
        _until: Deadline,
    ) -> Result<(), MappingError> {
        Err(MappingError::Disabled)
    }
}

/// A request for the first page of `region`.
pub(crate) fn request(region: u32, memory: &Arc<Memory>, on_disabled: OnDisabled) -> MapRequest {
    MapRequest {
        owner: "test".into(),
        region,
        memory: memory.clone(),
        offset: 0,
        size: 4096,
        on_disabled,
        trap: Arc::new(NoTrap),
    }
}

/// A consumer that has mapped a page of a function's region by a script.
pub(crate) struct Consumer {
    pub(crate) script: Arc<Script>,
    _mapping: Mapping,
}

impl Consumer {
    pub(crate) fn of(function: &Function, region: u32, lines: &Lines) -> Consumer {
        let memory = Memory::new("test", 4096);
        let script = Arc::new(Script { lines: lines.clone(), ..Script::default() });
        let request = request(region, &memory, OnDisabled::Fail);
        let mapping = function.mappings().map_on(request, script.clone()).unwrap();
        Consumer { script, _mapping: mapping }
    }

    pub(crate) fn touch(&self, token: &mut ThreadToken) -> Meets {
        self.script.touch(token)
    }
}

/// A device that tells what is done to it, in the same lines.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) lines: Lines,
    pub(crate) regions: Vec<DeviceRegion>,
}

impl Device for Told {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, kind: ResetKind) {
        self.lines.add(kind.to_string());
    }

    fn power_changed(&self, _quiesced: &Quiesced<'_>, change: Change<PowerState>) {
        self.lines.add(format!("{:?} to {:?}", change.old, change.new));
    }

    fn regions(&self) -> &[DeviceRegion] {
        &self.regions
    }

    fn read_region(&self, _pass: &Pass<'_>, nth: usize, offset: u64, data: &mut [u8]) {
        self.lines.add(format!("read {nth} {offset:#x}"));
        data.fill(0x5a);
    }

    fn write_region(&self, _pass: &Pass<'_>, nth: usize, offset: u64, data: &[u8]) {
        self.lines.add(format!("write {nth} {offset:#x} {data:x?}"));
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

//! One device: its memory, and who maps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gate::{Deadline, Gate, Handle, ThreadToken};
use mapping::{MapRequest, Mapping, MappingError, MappingLimits, Mappings, Memory, OnDisabled, Reach, Trap};

use crate::period::{Mark, Present};

/// Pages of the BAR: 16 MiB.
pub(crate) const PAGES: u64 = 4_096;
pub(crate) const PAGE: u64 = 4_096;
/// Consumers have a qword each at the start of every page, behind the device's own.
pub(crate) const WORDS: usize = 9;
const BAR: u32 = 0;

pub(crate) struct Device {
    pub(crate) gate: Gate,
    pub(crate) handle: Handle,
    pub(crate) mappings: Mappings,
    pub(crate) memory: Arc<Memory>,
    pub(crate) decoding: Arc<Decoding>,
    pub(crate) present: Present,
}

/// The memory-enable bit.
#[derive(Default)]
pub(crate) struct Decoding(AtomicBool);

impl Decoding {
    pub(crate) fn set(&self, on: bool) {
        self.0.store(on, Ordering::Release);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Reach for Decoding {
    fn is_reachable(&self, region: u32) -> bool {
        assert_eq!(region, BAR);
        self.is_on()
    }
}

impl Device {
    /// In the slot of `gate`, disabled.
    pub(crate) fn new(gate: &Gate) -> Device {
        let decoding = Arc::new(Decoding::default());
        let reach: Arc<dyn Reach> = Arc::<Decoding>::clone(&decoding);
        let memory = Memory::new("stressed", PAGES * PAGE);
        memory.set_up().unwrap();
        Device {
            gate: gate.clone(),
            handle: gate.handle(),
            mappings: Mappings::new(gate, reach, MappingLimits::default()),
            memory,
            decoding,
            present: Present::default(),
        }
    }

    /// The whole BAR.
    pub(crate) fn map(&self, owner: &str, on_disabled: OnDisabled) -> Mapping {
        let request = MapRequest {
            owner: owner.to_owned(),
            region: BAR,
            memory: Arc::clone(&self.memory),
            offset: 0,
            size: PAGES * PAGE,
            on_disabled,
            trap: Arc::new(NoTrap),
        };
        self.mappings.map(request).unwrap()
    }

    /// Writes the mark to every page.
    pub(crate) fn mark(&self, mark: Mark) {
        for page in 0..PAGES {
            self.memory.write(page * PAGE, &mark.word(page).to_le_bytes());
        }
    }

    /// What consumers have stored in all pages, and the device's marks.
    pub(crate) fn contents(&self) -> Vec<[u8; 8 * WORDS]> {
        let page = |page| {
            let mut words = [0; 8 * WORDS];
            self.memory.read(page * PAGE, &mut words);
            words
        };
        (0..PAGES).map(page).collect()
    }
}

/// Mappings of this test are never trapped: it ends before it uses one that is.
struct NoTrap;

impl Trap for NoTrap {
    fn read(
        &self,
        _: &mut ThreadToken,
        _: u32,
        _: u64,
        _: &mut [u8],
        _: Deadline,
    ) -> Result<(), MappingError> {
        unreachable!("a mapping with page faults was read by call")
    }

    fn write(&self, _: &mut ThreadToken, _: u32, _: u64, _: &[u8], _: Deadline) -> Result<(), MappingError> {
        unreachable!("a mapping with page faults was written by call")
    }
}

//! Mappings as a consumer in this process has them: everything that a fault, a populate and a zap really cost.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::{Deadline, Gate, Reason, ThreadToken};
use mapping::{
    MapRequest, Mapping, MappingError, MappingLimits, MappingState, Mappings, Memory, OnDisabled, Reach, Trap,
};

/// Nobody disables anything here.
struct Always;

impl Reach for Always {
    fn is_reachable(&self, _region: u32) -> bool {
        true
    }
}

/// Never asked: a mapping that is none is refused.
struct NoTrap;

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

/// A function whose memory is mapped by a number of windows of one size, one after the other.
pub(super) struct Ours {
    gate: Gate,
    mappings: Mappings,
    windows: Vec<Mapping>,
}

impl Ours {
    /// Maps all windows. The threads that answer their faults run on the CPUs of the caller.
    ///
    /// # Errors
    /// Something cannot be mapped, or only by trapping.
    pub(super) fn new(count: usize, size: usize) -> Result<Ours, Box<dyn Error>> {
        let (size, total) = (size as u64, (count * size) as u64);
        let memory = Memory::new("bench", total);
        memory.set_up()?;
        // Memory that was never written is not there, and would have to be made first.
        let data = vec![0x5a; size as usize];
        (0..count as u64).for_each(|window| memory.write(window * size, &data));
        let gate = Gate::new("bench");
        let limits = MappingLimits { mappings: count, ..MappingLimits::default() };
        let mappings = Mappings::new(&gate, Arc::new(Always), limits);
        let map = |window: u64| {
            mappings.map(MapRequest {
                owner: String::from("bench"),
                region: 0,
                memory: Arc::clone(&memory),
                offset: window * size,
                size,
                on_disabled: OnDisabled::Fail,
                trap: Arc::new(NoTrap),
            })
        };
        let windows = (0..count as u64).map(map).collect::<Result<Vec<_>, _>>()?;
        let ours = Ours { gate, mappings, windows };
        if ours.mappings.report().iter().any(|window| window.state == MappingState::Trapped) {
            return Err("userfaultfd is not permitted here".into());
        }
        Ok(ours)
    }

    /// Loads the word at `offset` of a window.
    ///
    /// # Errors
    /// [`MappingError`].
    pub(super) fn touch(
        &self,
        token: &mut ThreadToken,
        window: usize,
        offset: usize,
    ) -> Result<u32, MappingError> {
        let Some(window) = self.windows.get(window) else { return Err(MappingError::OutOfRange) };
        window.read::<u32>(token, offset as u64)
    }

    /// Takes all pages away under a closed gate. The time of the zap alone.
    ///
    /// # Errors
    /// The gate does not close.
    pub(super) fn zap(&self, token: &mut ThreadToken) -> Result<Duration, Box<dyn Error>> {
        let deadline = Deadline::after(Duration::from_secs(60));
        let held =
            self.gate.close_short(token, Reason::Remap, deadline).map_err(|error| error.to_string())?;
        let start = Instant::now();
        self.mappings.zap(&held);
        Ok(start.elapsed())
    }

    /// Faults answered so far. Takes all pages away first: whoever answers a fault counts it when whoever faulted may have
    /// gone on already, and a closed gate waits for that.
    ///
    /// # Errors
    /// As [`Ours::zap`].
    pub(super) fn faults(&self, token: &mut ThreadToken) -> Result<u64, Box<dyn Error>> {
        self.zap(token)?;
        Ok(self.mappings.report().iter().map(|window| window.faults).sum())
    }
}

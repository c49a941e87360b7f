//! Mapping a region for a consumer in this process (VF-19).

use std::sync::Arc;

use gate::{Deadline, Refusal, ThreadToken};
use mapping::{MapError, Mapping, MappingError, OnDisabled, Trap};
use pci_core::{AccessError, Function, Mappable};

use super::Assignment;
use crate::error::{Errno, RequestError, of_system};
use crate::region::RegionIndex;

/// A part of a region that a consumer in this process wants to map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionMapRequest {
    /// Who asks, for the operator.
    pub owner: String,
    /// Region, numbered as vfio numbers them.
    pub region: u32,
    /// Offset in the region, in bytes; a multiple of the page size.
    pub offset: u64,
    /// Bytes; a multiple of the page size, and not 0.
    pub size: u64,
    /// What accesses meet while the region cannot be reached.
    pub on_disabled: OnDisabled,
}

impl Assignment {
    /// Maps a part of a region for a consumer in this process. The mapping follows the function wherever it goes: to
    /// disabled memory, into a freeze, to its end (VF-20). It belongs to whoever holds it: a consumer that leaves drops it
    /// first.
    ///
    /// Where the system permits no page faults in user space, every access is a call through the gate instead; a log line
    /// says so once.
    ///
    /// # Errors
    /// EINVAL: there is no such region, or the range is empty, not aligned to pages, or not inside one area that may be
    /// mapped. ENOSPC: a limit of [`mapping::MappingLimits`]. ENODEV: nobody is attached, or the function
    /// is gone. Else the errno of the system. Nothing has changed.
    pub fn map(&self, request: RegionMapRequest) -> Result<Mapping, RequestError> {
        let RegionMapRequest { owner, region, offset, size, on_disabled } = request;
        self.require_attached()?;
        let index = RegionIndex::new(region)?;
        self.region_size(index)?;
        let Mappable { memory, areas } =
            self.mappable(index).ok_or(RequestError::invalid("nothing of the region may be mapped"))?;
        let inside = |area: &mapping::Area| {
            let ends = (offset.checked_add(size), area.offset.checked_add(area.size));
            offset >= area.offset && matches!(ends, (Some(end), Some(limit)) if end <= limit)
        };
        if !areas.iter().any(inside) {
            return Err(OUTSIDE);
        }
        let trap = Arc::new(Trapped(Arc::clone(&self.function)));
        let request = mapping::MapRequest { owner, region, memory, offset, size, on_disabled, trap };
        self.function.mappings().map(request).map_err(|error| refused(&error))
    }

    /// What may be mapped of a region, if anything. A region that cannot be written is not mapped: a mapping could not
    /// keep anybody from it. Nor is one that was added: there is no memory behind it, only requests.
    pub(super) fn mappable(&self, region: RegionIndex) -> Option<Mappable> {
        let writable = match region {
            RegionIndex::Bar(bar) => self.function.config().window_size(bar).is_some(),
            RegionIndex::Device(nth) => {
                self.added(region).is_none() && self.device_region(nth).is_some_and(|own| own.writable)
            }
            RegionIndex::Rom | RegionIndex::Config => false,
        };
        let mappable = writable.then(|| self.function.device().mappable(region.number()))??;
        (!mappable.areas.is_empty()).then_some(mappable)
    }
}

const OUTSIDE: RequestError =
    RequestError::invalid("the range is not whole pages inside one area that may be mapped");

/// What vfio's mmap says.
fn refused(error: &MapError) -> RequestError {
    match error {
        MapError::Range => OUTSIDE,
        MapError::Gone => RequestError::new(Errno::ENODEV, "the function is gone"),
        MapError::Limit { .. } => {
            RequestError::new(Errno::ENOSPC, "no more of the function's memory may be mapped")
        }
        MapError::System(error) => RequestError::new(of_system(error), "the system refused to map it"),
        _ => RequestError::new(Errno::EIO, "the region could not be mapped"),
    }
}

/// Accesses to a region by call.
struct Trapped(Arc<Function>);

impl Trap for Trapped {
    fn read(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
        until: Deadline,
    ) -> Result<(), MappingError> {
        let read = match RegionIndex::new(region) {
            Ok(RegionIndex::Bar(bar)) => self.0.read_bar(token, bar, offset, data, until),
            Ok(RegionIndex::Device(_)) => self.0.read_region(token, region, offset, data, until),
            Ok(RegionIndex::Rom | RegionIndex::Config) | Err(_) => Err(AccessError::OutOfRange),
        };
        read.map_err(|error| failed(&error))
    }

    fn write(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
        until: Deadline,
    ) -> Result<(), MappingError> {
        let written = match RegionIndex::new(region) {
            Ok(RegionIndex::Bar(bar)) => self.0.write_bar(token, bar, offset, data, until),
            Ok(RegionIndex::Device(_)) => self.0.write_region(token, region, offset, data, until),
            Ok(RegionIndex::Rom | RegionIndex::Config) | Err(_) => Err(AccessError::OutOfRange),
        };
        written.map_err(|error| failed(&error))
    }
}

/// What a mapping says of an access that failed.
fn failed(error: &AccessError) -> MappingError {
    match error {
        AccessError::Refused(Refusal::Frozen) => MappingError::Frozen,
        AccessError::Refused(Refusal::Gone | Refusal::StaleEpoch { .. }) => MappingError::Gone,
        AccessError::Refused(Refusal::Blocked(_)) => MappingError::TimedOut,
        AccessError::Misaligned => MappingError::Misaligned,
        AccessError::OutOfRange | AccessError::NoWindow(_) | AccessError::NoRegion(_) => {
            MappingError::OutOfRange
        }
        _ => MappingError::Disabled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate::{Gate, Pass, Quiesced};
    use mapping::Memory;
    use pci_core::{BarIndex, BarKind, ConfigSpace, Device, DeviceRegion, Identity, ResetKind};
    use std::time::Duration;

    const REGIONS: [DeviceRegion; 1] = [DeviceRegion { kind: 0, subtype: 0, size: 4096, writable: true }];
    const BAR0: u32 = 0;
    const OWN: u32 = 9;

    /// Has the same memory behind its BAR and its own region.
    struct Fake(Arc<Memory>);

    impl Device for Fake {
        fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &mut [u8]) {
            self.0.read(offset, data);
        }
        fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &[u8]) {
            self.0.write(offset, data);
        }
        fn regions(&self) -> &[DeviceRegion] {
            &REGIONS
        }
        fn read_region(&self, _pass: &Pass<'_>, _nth: usize, offset: u64, data: &mut [u8]) {
            self.0.read(offset, data);
        }
        fn write_region(&self, _pass: &Pass<'_>, _nth: usize, offset: u64, data: &[u8]) {
            self.0.write(offset, data);
        }
        fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}
        fn describe(&self) -> Vec<(String, String)> {
            Vec::new()
        }
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    fn read(trap: &Trapped, token: &mut ThreadToken, region: u32) -> Result<u32, MappingError> {
        let mut data = [0; 4];
        trap.read(token, region, 8, &mut data, soon()).map(|()| u32::from_le_bytes(data))
    }

    #[test]
    fn an_access_by_call_meets_what_a_mapped_one_would() {
        let mut token = ThreadToken::at_thread_entry();
        let identity = Identity::new(1, 1, pci_spec::ClassCode::NVME);
        let bar = BarIndex::new(0).unwrap();
        let config = ConfigSpace::builder(identity).bar(bar, BarKind::Memory32, 4096).build().unwrap();
        let fake = Arc::new(Fake(Memory::new("fake", 4096)));
        let function = Arc::new(Function::new("fake", Gate::new("fake"), Arc::new(config), fake));
        let trap = Trapped(Arc::clone(&function));
        // Decoding is off.
        assert_eq!(read(&trap, &mut token, BAR0), Err(MappingError::Disabled));
        assert_eq!(read(&trap, &mut token, OWN), Ok(0));
        function.write_config(&mut token, pci_spec::config::COMMAND, &[2, 0], soon()).unwrap();
        for (value, region) in [(7_u32, BAR0), (8, OWN)] {
            trap.write(&mut token, region, 8, &value.to_le_bytes(), soon()).unwrap();
            assert_eq!(read(&trap, &mut token, region), Ok(value));
        }
        for region in [1, 6, 7, 8, 10, u32::MAX] {
            assert_eq!(read(&trap, &mut token, region), Err(MappingError::OutOfRange), "region {region}");
        }
        function.gate().freeze();
        assert_eq!(read(&trap, &mut token, BAR0), Err(MappingError::Frozen));
        assert_eq!(trap.write(&mut token, OWN, 8, &[0; 4], soon()), Err(MappingError::Frozen));
        function.gate().thaw();
        assert_eq!(read(&trap, &mut token, OWN), Ok(8));
        let _orphans = function.gate().retire(&mut token, soon());
        assert_eq!(read(&trap, &mut token, BAR0), Err(MappingError::Gone));
    }
}

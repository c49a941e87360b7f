//! Functions, hardware that takes no time, and a containment over them.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contain::budget::FreezeBudget;
use contain::containment::{Containment, Parts};
use contain::detect::Alarm;
use contain::party::{Consumer, Parties, Party};
use contain::pe::{Pe, PeAddress, PeKind};
use contain::plan::{FunctionId, PlatformState, Policy, Queried, Thaw, Traffic};
use contain::platform::{ClosedFunctions, Platform, ResetRequest};
use contain::report::Log;
use contain::settings::Settings;
use contain::tree::{NewPe, PeFunction};
use contain::watch::Watch;
use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use pci_core::{
    BarIndex, BarKind, ConfigSpace, Device, Function, Identity, Preserve, PreserveError, RealTime, ResetKind,
};
use pci_spec::{Bdf, ClassCode};
use slot::Crew;

/// The PE that has all functions.
pub(super) const PE: PeAddress = PeAddress::new(0, 0x100);

/// A device with a register, which is its whole state.
#[derive(Default)]
pub(super) struct Register(AtomicU32);

impl Device for Register {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        let value = self.0.load(Ordering::Relaxed).to_le_bytes();
        data.iter_mut().zip(value).for_each(|(to, from)| *to = from);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn preserve(&self) -> Option<&dyn Preserve> {
        Some(self)
    }
}

impl Preserve for Register {
    fn save(&self, _quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError> {
        Ok(self.0.load(Ordering::Relaxed).to_le_bytes().to_vec())
    }

    fn restore(&self, _quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError> {
        let state = state.try_into().map_err(|_| PreserveError::Malformed("not a number"))?;
        self.0.store(u32::from_le_bytes(state), Ordering::Relaxed);
        Ok(())
    }
}

/// Hardware that always answers, and is reset in no time.
struct AtOnce;

impl Platform for AtOnce {
    fn is_present(&self, _: &mut ThreadToken, _: &[Arc<PeFunction>]) -> bool {
        true
    }

    fn state(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) -> Queried {
        Queried::Is(PlatformState::MMIO_ACTIVE | PlatformState::DMA_ACTIVE)
    }

    fn thaw(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>], _: Traffic) -> Thaw {
        Thaw::Done
    }

    fn reset(
        &self,
        token: &mut ThreadToken,
        request: &ResetRequest<'_>,
        closed: &mut ClosedFunctions,
        _: Deadline,
    ) -> bool {
        request.functions.iter().all(|function| {
            let reset = |function: &Function, quiesced: &Quiesced<'_>| {
                function.reset_quiesced(quiesced, ResetKind::FunctionLevel)
            };
            closed.with(token, function.id, reset) == Some(true)
        })
    }

    fn restore_config(
        &self,
        _: &mut ThreadToken,
        _: &Pe,
        _: &[Arc<PeFunction>],
        _: &mut ClosedFunctions,
        _: Deadline,
    ) -> bool {
        true
    }

    fn unfreeze(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) -> bool {
        true
    }

    fn clear_error_status(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) {}

    fn remove(&self, _: &mut ThreadToken, _: &Arc<PeFunction>) {}

    fn log(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>], _: Log) -> String {
        String::new()
    }
}

/// Every function is a virtual machine's.
struct Machines;

impl Parties for Machines {
    fn of(&self, _: &mut ThreadToken, _: &Arc<PeFunction>) -> Arc<dyn Party> {
        Arc::new(Consumer::new("machine", Policy::SaveAndRestore))
    }
}

pub(super) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// A function with one BAR that is decoded.
pub(super) fn function(name: &str) -> Result<Arc<Function>, Box<dyn Error>> {
    let bar = BarIndex::new(0).ok_or("no BAR 0")?;
    let config = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME));
    let config = config.bar(bar, BarKind::Memory64, 0x4000).build()?;
    let device = Arc::new(Register::default());
    Ok(Arc::new(Function::new(name, Gate::new(name), Arc::new(config), device)))
}

/// A containment with one PE of that many functions.
pub(super) struct House {
    pub(super) containment: Arc<Containment>,
    pub(super) functions: Vec<(Bdf, Arc<Function>)>,
}

impl House {
    pub(super) fn new(
        token: &mut ThreadToken,
        functions: u16,
        (crew, alarm, watch): (Arc<dyn Crew>, Arc<dyn Alarm>, Arc<dyn Watch>),
    ) -> Result<House, Box<dyn Error>> {
        // Nothing is to be given up, however often it fails.
        let budget = FreezeBudget { max_freezes: u32::MAX, ..FreezeBudget::default() };
        let containment = Containment::new(Parts {
            time: Arc::new(RealTime::default()),
            platform: Arc::new(AtOnce),
            parties: Arc::new(Machines),
            crew,
            alarm,
            watch,
            settings: Settings { budget, time_scale: 0.0, ..Settings::default() },
        });
        let root = PeAddress::phb(0);
        let pes = [
            NewPe { address: root, kind: PeKind::Phb, parent: None },
            NewPe { address: PE, kind: PeKind::Bus, parent: Some(root) },
        ];
        let tree = containment.tree();
        tree.insert(token, pes, soon())?;
        let mut house = House { containment: containment.clone(), functions: Vec::new() };
        for number in 0..functions {
            let address = Bdf::from_routing_id(0, 0x100 + number);
            let function = function(&address.to_string())?;
            house.functions.push((address, function.clone()));
            let (id, bars) = (FunctionId(number.into()), Vec::new());
            tree.add_function(token, PE, PeFunction { id, address, function, bars }, soon())?;
        }
        Ok(house)
    }
}

//! Containment of a root bus with a bridge PE and two PEs below, over hardware that does as it is told.
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use contain::address_cache::{BarRange, Space};
use contain::containment::{Containment, News, Parts, Recoveries, Running, Start};
use contain::party::{Nobody, Parties, Party};
use contain::pe::{Holder, Pe, PeAddress, PeKind};
use contain::plan::{Flavour, FunctionId, PlatformState, Queried, Reset, Thaw, Traffic};
use contain::platform::{ClosedFunctions, Platform, ResetRequest};
use contain::report::Log;
use contain::settings::Settings;
use contain::tree::{NewPe, PeFunction};
use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use parking_lot::Mutex;
use pci_core::{BarIndex, ConfigSpace, Device, Express, Function, Identity, ResetKind, VirtualTime};
use pci_spec::{Bdf, ClassCode};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ABOVE: PeAddress = PeAddress::new(0, 0x0100);
pub(crate) const OURS: PeAddress = PeAddress::new(0, 0x0200);

pub(crate) fn function_at(routing_id: u16) -> Bdf {
    Bdf::from_routing_id(0, routing_id)
}

struct Plain;

impl Device for Plain {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Hardware that writes down what is asked of it, and fails at what it is told to fail at.
#[derive(Default)]
pub(crate) struct Hardware {
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) fails_at: Mutex<Option<&'static str>>,
    pub(crate) queried: Mutex<Option<Queried>>,
}

impl Hardware {
    fn ask(&self, what: &str, more: &str) -> bool {
        self.asked.lock().push(format!("{what}{more}"));
        *self.fails_at.lock() != Some(what)
    }
}

impl Platform for Hardware {
    fn is_present(&self, _token: &mut ThreadToken, _functions: &[Arc<PeFunction>]) -> bool {
        true
    }

    fn state(&self, _token: &mut ThreadToken, _pe: &Pe, _functions: &[Arc<PeFunction>]) -> Queried {
        self.queried.lock().unwrap_or(Queried::Is(PlatformState::MMIO_ACTIVE | PlatformState::DMA_ACTIVE))
    }

    fn thaw(
        &self,
        _token: &mut ThreadToken,
        _pe: &Pe,
        _functions: &[Arc<PeFunction>],
        traffic: Traffic,
    ) -> Thaw {
        if self.ask("thaw", &format!(" {traffic:?}")) { Thaw::Done } else { Thaw::Failed }
    }

    fn reset(
        &self,
        _token: &mut ThreadToken,
        request: &ResetRequest<'_>,
        closed: &mut ClosedFunctions,
        _deadline: Deadline,
    ) -> bool {
        let all_closed = request.functions.iter().all(|function| closed.is_closed(function.id));
        let how = match request.how {
            Reset::Hot { hold, settle } => format!(" hot {hold:?} {settle:?}"),
            Reset::Fundamental { .. } => " fundamental".to_owned(),
            other => format!(" {other:?}"),
        };
        self.ask("reset", &how) && all_closed
    }

    fn restore_config(
        &self,
        _token: &mut ThreadToken,
        _pe: &Pe,
        functions: &[Arc<PeFunction>],
        closed: &mut ClosedFunctions,
        _deadline: Deadline,
    ) -> bool {
        self.ask("restore", "") && functions.iter().all(|function| closed.is_closed(function.id))
    }

    fn unfreeze(&self, _token: &mut ThreadToken, _pe: &Pe, _functions: &[Arc<PeFunction>]) -> bool {
        self.ask("unfreeze", "")
    }

    fn clear_error_status(&self, _token: &mut ThreadToken, _pe: &Pe, _functions: &[Arc<PeFunction>]) {}

    fn remove(&self, _token: &mut ThreadToken, _function: &Arc<PeFunction>) {}

    fn log(&self, _token: &mut ThreadToken, _pe: &Pe, _functions: &[Arc<PeFunction>], _log: Log) -> String {
        String::new()
    }
}

struct Alone;

impl Parties for Alone {
    fn of(&self, _token: &mut ThreadToken, _function: &Arc<PeFunction>) -> Arc<dyn Party> {
        Arc::new(Nobody)
    }
}

/// Recoveries that begin and do nothing more.
#[derive(Default)]
pub(crate) struct Begun(Mutex<Vec<Start>>);

struct Idle;

impl Running for Idle {
    fn post(&self, _news: News) {}

    fn report(&self) -> String {
        "idle".into()
    }
}

impl Recoveries for Begun {
    fn begin(&self, _token: &mut ThreadToken, start: Start) -> Arc<dyn Running> {
        self.0.lock().push(start);
        Arc::new(Idle)
    }
}

impl Begun {
    pub(crate) fn list(&self) -> Vec<(PeAddress, Flavour)> {
        self.0.lock().iter().map(|start| (start.claim.pe().address(), start.flavour)).collect()
    }
}

pub(crate) struct House {
    pub(crate) containment: Arc<Containment>,
    pub(crate) hardware: Arc<Hardware>,
    pub(crate) begun: Arc<Begun>,
    pub(crate) token: ThreadToken,
}

impl House {
    /// Times of resets are a tenth of what they are.
    pub(crate) fn new() -> House {
        let (hardware, begun) = (Arc::new(Hardware::default()), Arc::new(Begun::default()));
        let parts = Parts {
            time: Arc::new(VirtualTime::default()),
            platform: hardware.clone(),
            parties: Arc::new(Alone),
            crew: Arc::new(slot::ByHand),
            alarm: Arc::new(()),
            watch: Arc::new(()),
            settings: Settings { time_scale: 0.1, ..Settings::default() },
        };
        let containment = Containment::with(parts, begun.clone());
        let mut token = ThreadToken::at_thread_entry();
        let pe = |address, kind, parent| NewPe { address, kind, parent };
        let new = [
            pe(PeAddress::phb(0), PeKind::Phb, None),
            pe(ABOVE, PeKind::Bus, Some(PeAddress::phb(0))),
            pe(OURS, PeKind::Bus, Some(ABOVE)),
        ];
        let soon = Deadline::after(Duration::from_secs(20));
        let tree = containment.tree().clone();
        let _held = tree.insert(&mut token, new, soon).unwrap();
        for (routing_id, address) in [(0x0100, ABOVE), (0x0200, OURS), (0x0201, OURS)] {
            tree.add_function(&mut token, address, function(routing_id), soon).unwrap();
        }
        House { containment, hardware, begun, token }
    }

    pub(crate) fn function(&self, routing_id: u16) -> Arc<PeFunction> {
        let found = self.containment.tree().of_function(&self.token, function_at(routing_id), Holder::Lookup);
        found.unwrap().1
    }

    pub(crate) fn turn(&mut self) {
        self.containment.turn(&mut self.token);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.hardware.asked.lock())
    }
}

fn function(routing_id: u16) -> PeFunction {
    let identity = Identity::new(0x1b36, 0x0010, ClassCode::NVME);
    let config = ConfigSpace::builder(identity).capability(Express::default()).aer().build().unwrap();
    let function = Function::new("f", Gate::new("f"), Arc::new(config), Arc::new(Plain));
    let first = 0x8000_0000 + u64::from(routing_id) * 0x1000;
    let bars = vec![BarRange { space: Space::Memory, first, last: first + 0xfff }];
    let (id, address) = (FunctionId(routing_id.into()), function_at(routing_id));
    PeFunction { id, address, function: Arc::new(function), bars }
}

//! A house with one segment:
//!
//! ```text
//! PHB: 00:01.0 (bridge)
//!  +-- 0018: 00:03.0, 00:03.1                       a device on the root bus
//!  +-- 0100: 01:00.0, 01:00.1, 01:02.0 (bridge)     the bus below 00:01.0
//!       +-- 0180: 01:10.0                           a virtual function of 01:00.0
//!       +-- 0200: 02:00.0                           the bus below 01:02.0
//! ```

use crate::script::{Mine, Script};
use contain::containment::{Containment, Parts, Recoveries};
use contain::detect::Check;
use contain::follow::Followed;
use contain::party::{Nobody, Parties, Party};
use contain::pe::{Holder, Pe, PeAddress, PeState};
use contain::plan::{FunctionId, Queried, Thaw, Traffic};
use contain::platform::{ClosedFunctions, Platform, ResetRequest};
use contain::report::Log;
use contain::settings::Settings;
use contain::tree::PeFunction;
use contain::watch::{Told, Watch};
use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use parking_lot::Mutex;
use pci_core::{
    BarIndex, BarKind, ConfigSpace, Device, ErrorSign, Function, Identity, ResetKind, VirtualTime,
};
use pci_spec::{Bdf, ClassCode};
use slot::{Crew, Driven};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;
use topology::{Node, NodeKind, Snapshot};

pub(crate) const SIGN: ErrorSign = ErrorSign::DeviceFault("test");

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

/// Hardware that always answers.
#[derive(Default)]
pub(crate) struct Healthy {
    pub(crate) arrived: Mutex<Vec<Bdf>>,
    pub(crate) left: Mutex<Vec<FunctionId>>,
}

impl Platform for Healthy {
    fn is_present(&self, _: &mut ThreadToken, _: &[Arc<PeFunction>]) -> bool {
        true
    }

    fn state(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) -> Queried {
        use contain::plan::PlatformState;
        Queried::Is(PlatformState::MMIO_ACTIVE | PlatformState::DMA_ACTIVE)
    }

    fn thaw(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>], _: Traffic) -> Thaw {
        Thaw::Done
    }

    fn reset(&self, _: &mut ThreadToken, _: &ResetRequest<'_>, _: &mut ClosedFunctions, _: Deadline) -> bool {
        true
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

    fn arrived(&self, _: &mut ThreadToken, function: &Arc<PeFunction>) {
        self.arrived.lock().push(function.address);
    }

    fn left(&self, _: &mut ThreadToken, function: FunctionId) {
        self.left.lock().push(function);
    }
}

struct Unused;

impl Parties for Unused {
    fn of(&self, _: &mut ThreadToken, _: &Arc<PeFunction>) -> Arc<dyn Party> {
        Arc::new(Nobody)
    }
}

/// What was told.
#[derive(Default)]
pub(crate) struct Tape(pub(crate) Mutex<Vec<Told>>, pub(crate) Mutex<Option<Hook>>);

/// Called with what is told.
pub(crate) type Hook = Box<dyn Fn(&Told) + Send>;

impl Watch for Tape {
    fn tell(&self, told: &Told) {
        if let Some(hook) = &*self.1.lock() {
            hook(told);
        }
        self.0.lock().push(told.clone());
    }
}

/// Who is woken, for a test to drive.
#[derive(Default)]
pub(crate) struct Hands {
    woken: Mutex<VecDeque<Arc<dyn Driven>>>,
    timers: Mutex<Vec<(Duration, Weak<dyn Driven>)>>,
}

impl Crew for Hands {
    fn wake(&self, driven: &Arc<dyn Driven>) {
        self.woken.lock().push_back(driven.clone());
    }

    fn wake_at(&self, driven: &Weak<dyn Driven>, when: Duration) {
        self.timers.lock().push((when, driven.clone()));
    }
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(crate) fn at(text: &str) -> Bdf {
    format!("0000:{text}").parse().unwrap()
}

pub(crate) fn pe(number: u16) -> PeAddress {
    PeAddress::new(0, number)
}

pub(crate) fn phb() -> PeAddress {
    PeAddress::phb(0)
}

pub(crate) fn new_function(name: &str) -> Arc<Function> {
    let config = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME));
    let config = config.bar(BarIndex::new(0).unwrap(), BarKind::Memory64, 0x4000).build().unwrap();
    Arc::new(Function::new(name, Gate::new(name), Arc::new(config), Arc::new(Plain)))
}

pub(crate) fn bridge(secondary: u8, subordinate: u8) -> NodeKind {
    NodeKind::Bridge { secondary, subordinate, slot: true }
}

pub(crate) struct House {
    pub(crate) containment: Arc<Containment>,
    pub(crate) token: ThreadToken,
    pub(crate) time: Arc<VirtualTime>,
    pub(crate) script: Arc<Script>,
    pub(crate) tape: Arc<Tape>,
    pub(crate) hands: Arc<Hands>,
    pub(crate) platform: Arc<Healthy>,
    pub(crate) nodes: BTreeMap<Bdf, Node>,
}

impl House {
    pub(crate) fn new() -> House {
        House::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> House {
        let script = Arc::new(Script::default());
        House::carried_out_by(
            settings,
            |parts| Containment::with(parts, script.clone() as Arc<dyn Recoveries>),
            script.clone(),
        )
    }

    /// With the executor of recoveries.
    pub(crate) fn real(settings: Settings) -> House {
        House::carried_out_by(settings, Containment::new, Arc::default())
    }

    fn carried_out_by(
        settings: Settings,
        make: impl FnOnce(Parts) -> Arc<Containment>,
        script: Arc<Script>,
    ) -> House {
        let time = Arc::new(VirtualTime::default());
        let (tape, hands) = (Arc::new(Tape::default()), Arc::new(Hands::default()));
        let platform = Arc::new(Healthy::default());
        let parts = Parts {
            time: time.clone(),
            platform: platform.clone(),
            parties: Arc::new(Unused),
            crew: hands.clone(),
            alarm: Arc::new(()),
            watch: tape.clone(),
            settings,
        };
        let containment = make(parts);
        let token = ThreadToken::at_thread_entry();
        let nodes = BTreeMap::new();
        let mut house = House { containment, token, time, script, tape, hands, platform, nodes };
        house.plug("00:01.0", bridge(1, 2));
        for endpoint in ["00:03.0", "00:03.1", "01:00.0", "01:00.1", "02:00.0"] {
            house.plug(endpoint, NodeKind::Endpoint);
        }
        house.plug("01:02.0", bridge(2, 2));
        house.plug("01:10.0", NodeKind::Virtual { physical: at("01:00.0") });
        house.follow();
        house
    }

    /// Into the topology; nobody follows yet.
    pub(crate) fn plug(&mut self, text: &str, kind: NodeKind) -> Arc<Function> {
        let function = new_function(text);
        let node = Node { address: at(text), function: function.clone(), kind };
        self.nodes.insert(node.address, node);
        function
    }

    pub(crate) fn unplug(&mut self, text: &str) {
        self.nodes.remove(&at(text)).unwrap();
    }

    pub(crate) fn topology(&self) -> Snapshot {
        Snapshot::of(self.nodes.values().cloned())
    }

    pub(crate) fn follow(&mut self) -> Followed {
        let topology = self.topology();
        self.containment.follow(&mut self.token, &topology, soon()).unwrap()
    }

    pub(crate) fn function(&self, text: &str) -> Arc<Function> {
        self.nodes[&at(text)].function.clone()
    }

    pub(crate) fn id(&self, text: &str) -> FunctionId {
        let found = self.containment.tree().of_function(&self.token, at(text), Holder::Lookup);
        found.unwrap().1.id
    }

    pub(crate) fn state(&self, address: PeAddress) -> PeState {
        self.containment.tree().find(&self.token, address, Holder::Lookup).unwrap().state()
    }

    /// As hardware is noticed to fail: through the function's own sentinel.
    pub(crate) fn fail(&self, text: &str) {
        self.function(text).notice(&self.token, SIGN);
    }

    pub(crate) fn notice(&self, text: &str) -> Check {
        self.containment.notice(&self.token, at(text), SIGN)
    }

    pub(crate) fn turn(&mut self) {
        self.containment.turn(&mut self.token);
    }

    pub(crate) fn fail_and_turn(&mut self, text: &str) {
        self.fail(text);
        self.turn();
    }

    /// The functions that nothing gets into, in ascending order.
    pub(crate) fn frozen(&self) -> Vec<String> {
        let frozen = self.nodes.values().filter(|node| node.function.handle().is_contained());
        frozen.map(|node| node.address.to_string().trim_start_matches("0000:").to_owned()).collect()
    }

    pub(crate) fn begun(&self) -> Vec<Arc<Mine>> {
        self.script.begun.lock().clone()
    }

    pub(crate) fn last(&self) -> Arc<Mine> {
        self.begun().pop().unwrap()
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.tape.0.lock().clone()
    }

    /// Drives whatever is woken, and lets time pass to the next timer, until nothing is left to do.
    pub(crate) fn drive(&mut self) {
        loop {
            let woken = self.hands.woken.lock().pop_front();
            if let Some(driven) = woken {
                driven.drive(&mut self.token);
                continue;
            }
            if self.containment.turn(&mut self.token) {
                continue;
            }
            let next = {
                let mut timers = self.hands.timers.lock();
                timers.sort_by_key(|(when, _)| *when);
                if timers.is_empty() { None } else { Some(timers.remove(0)) }
            };
            let Some((when, driven)) = next else { return };
            let now = pci_core::Time::now(&*self.time);
            self.time.advance(when.saturating_sub(now));
            if let Some(driven) = driven.upgrade() {
                driven.drive(&mut self.token);
            }
        }
    }
}

/// All functions of the house, as [`House::frozen`] names them.
pub(crate) const ALL: [&str; 8] =
    ["00:01.0", "00:03.0", "00:03.1", "01:00.0", "01:00.1", "01:02.0", "01:10.0", "02:00.0"];
/// Those in PE 0100 and below.
pub(crate) const BUS_1: [&str; 5] = ["01:00.0", "01:00.1", "01:02.0", "01:10.0", "02:00.0"];

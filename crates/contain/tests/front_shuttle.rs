//! Errors, recoveries and hot-plug that meet in random schedules, through the front of containment.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --release --test front_shuttle`. `SHUTTLE_ITERATIONS` is the number of schedules.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]
#![allow(clippy::disallowed_types, reason = "test code; nothing that the scheduler sees happens under it")]

use contain::containment::{Containment, End, News, Parts, Recoveries, Running, Start, Then};
use contain::party::{Nobody, Parties, Party};
use contain::pe::{Holder, Pe, PeAddress, PeState};
use contain::plan::{Queried, Thaw, Traffic};
use contain::platform::{ClosedFunctions, Platform, ResetRequest};
use contain::report::{Log, Outcome};
use contain::settings::Settings;
use contain::tree::PeFunction;
use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use pci_core::{BarIndex, ConfigSpace, Device, ErrorSign, Function, Identity, ResetKind, VirtualTime};
use pci_spec::{Bdf, ClassCode};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use topology::{Node, NodeKind, Snapshot};

const SIGN: ErrorSign = ErrorSign::DeviceFault("test");

/// Never fires under shuttle.
fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

struct Plain;

impl Device for Plain {
    fn read_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &[u8]) {}

    fn reset(&self, _: &Quiesced<'_>, _: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Nobody is asked: recoveries are carried out by the test.
struct Unused;

impl Parties for Unused {
    fn of(&self, _: &mut ThreadToken, _: &Arc<PeFunction>) -> Arc<dyn Party> {
        Arc::new(Nobody)
    }
}

impl Platform for Unused {
    fn is_present(&self, _: &mut ThreadToken, _: &[Arc<PeFunction>]) -> bool {
        true
    }

    fn state(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) -> Queried {
        Queried::Failed
    }

    fn thaw(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>], _: Traffic) -> Thaw {
        Thaw::Failed
    }

    fn reset(&self, _: &mut ThreadToken, _: &ResetRequest<'_>, _: &mut ClosedFunctions, _: Deadline) -> bool {
        false
    }

    fn restore_config(
        &self,
        _: &mut ThreadToken,
        _: &Pe,
        _: &[Arc<PeFunction>],
        _: &mut ClosedFunctions,
        _: Deadline,
    ) -> bool {
        false
    }

    fn unfreeze(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) -> bool {
        false
    }

    fn clear_error_status(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) {}

    fn remove(&self, _: &mut ThreadToken, _: &Arc<PeFunction>) {}

    fn log(&self, _: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>], _: Log) -> String {
        String::new()
    }
}

#[derive(Default)]
struct Script(Mutex<VecDeque<Start>>);

struct Deaf;

impl Running for Deaf {
    fn post(&self, _: News) {}

    fn report(&self) -> String {
        String::new()
    }
}

impl Recoveries for Script {
    fn begin(&self, _: &mut ThreadToken, start: Start) -> Arc<dyn Running> {
        self.0.lock().unwrap().push_back(start);
        Arc::new(Deaf)
    }
}

impl Script {
    /// Carries out one recovery, if one has begun: it hears nothing, so whatever comes after the thaw is for the front to find.
    fn carry_one_out(&self) -> bool {
        let start = self.0.lock().unwrap().pop_front();
        let Some(Start { id, claim, frozen, ended, .. }) = start else { return false };
        let frozen = frozen.unwrap();
        assert!(claim.pe().state().contains(PeState::ISOLATED));
        assert!(frozen.functions().iter().all(|function| function.function.handle().is_contained()));
        frozen.thaw();
        drop(claim);
        ended.ended(id, End { outcome: Outcome::Recovered, resets: 1, pause: Duration::ZERO });
        true
    }
}

fn node(bus: u8, devfn: u8, kind: NodeKind) -> Node {
    let config = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME)).build().unwrap();
    let function = Function::new("f", Gate::new("f"), Arc::new(config), Arc::new(Plain));
    let address = Bdf::from_routing_id(0, u16::from(bus) << 8 | u16::from(devfn));
    Node { address, function: Arc::new(function), kind }
}

fn bridge(devfn: u8, bus: u8, secondary: u8, subordinate: u8) -> Node {
    node(bus, devfn, NodeKind::Bridge { secondary, subordinate, slot: true })
}

fn front(script: &Arc<Script>) -> Arc<Containment> {
    let parts = Parts {
        time: Arc::new(VirtualTime::default()),
        platform: Arc::new(Unused),
        parties: Arc::new(Unused),
        crew: Arc::new(slot::ByHand),
        alarm: Arc::new(()),
        watch: Arc::new(()),
        settings: Settings::default(),
    };
    Containment::with(parts, script.clone())
}

/// A bus with a function, a bus below it with another one, and one that is plugged there.
fn errors_meet_recoveries_and_hot_plug() {
    let script = Arc::new(Script::default());
    let containment = front(&script);
    let mut token = ThreadToken::at_thread_entry();
    let upper = node(1, 0, NodeKind::Endpoint);
    let lower = node(2, 0, NodeKind::Endpoint);
    let late = node(2, 1, NodeKind::Endpoint);
    let before = Snapshot::of([bridge(8, 0, 1, 2), upper.clone(), bridge(16, 1, 2, 2), lower.clone()]);
    let after = before.with([Arc::new(late.clone())]);
    containment.follow(&mut token, &before, ahead()).unwrap();

    let functions = [upper.function.clone(), lower.function.clone(), late.function.clone()];
    let guest = thread::spawn(move || {
        let token = ThreadToken::at_thread_entry();
        for function in [&lower.function, &upper.function, &lower.function] {
            function.notice(&token, SIGN);
            thread::yield_now();
        }
    });
    let (owner, carried) = (containment.clone(), script.clone());
    let recovery = thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        for _ in 0..3 {
            let _carried_out = carried.carry_one_out();
            owner.turn(&mut token);
        }
    });
    let owner = containment.clone();
    let plug = thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        owner.follow(&mut token, &after, ahead()).unwrap();
    });
    for _ in 0..2 {
        containment.turn(&mut token);
    }
    for thread in [guest, recovery, plug] {
        thread.join().unwrap();
    }
    // Everything ends: each recovery that began is carried out, and none is waited for in vain.
    for _ in 0..32 {
        let turned = containment.turn(&mut token);
        if !script.carry_one_out() && !turned {
            break;
        }
    }
    assert_eq!(containment.recoveries(), []);
    for function in functions {
        assert!(!function.handle().is_contained(), "left frozen");
    }
    for report in containment.pes(&token) {
        assert_eq!(report.state, PeState::empty(), "{}", report.address);
    }
    // A freeze without a recovery of its own was merged into another one.
    let statistics = containment.statistics();
    assert!(statistics.recoveries <= statistics.freezes, "{statistics:?}");
    assert!(statistics.freezes - statistics.recoveries <= statistics.joined, "{statistics:?}");
    containment.stop(&mut token, ahead());
}

/// An operator thaws a PE that stays frozen, and another one freezes it.
fn a_thaw_meets_a_freeze() {
    let containment = front(&Arc::new(Script::default()));
    let mut token = ThreadToken::at_thread_entry();
    let card = node(1, 0, NodeKind::Endpoint);
    let topology = Snapshot::of([bridge(8, 0, 1, 1), card.clone()]);
    containment.follow(&mut token, &topology, ahead()).unwrap();
    let pe = PeAddress::new(0, 0x0100);
    containment.freeze(&mut token, pe, "first", Then::Stay).unwrap();
    let thaws = containment.clone();
    let thaw = thread::spawn(move || {
        thaws.thaw(&mut ThreadToken::at_thread_entry(), pe).unwrap_or_default();
    });
    let freezes = containment.clone();
    let freeze = thread::spawn(move || {
        freezes.freeze(&mut ThreadToken::at_thread_entry(), pe, "second", Then::Stay).unwrap_or_default();
    });
    for thread in [thaw, freeze] {
        thread.join().unwrap();
    }
    let state = containment.tree().find(&token, pe, Holder::Lookup).unwrap().state();
    let contained = card.function.handle().is_contained();
    assert_eq!(state.contains(PeState::ISOLATED), contained, "what is frozen is shown so, and nothing else");
    if contained {
        containment.thaw(&mut token, pe).unwrap();
    }
    assert!(!card.function.handle().is_contained());
    containment.stop(&mut token, ahead());
}

fn iterations() -> usize {
    std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

#[test]
fn a_pe_that_is_thawed_and_frozen_at_once_shows_what_it_is() {
    let scheduler = RandomScheduler::new(iterations());
    Runner::new(scheduler, Config::default()).run(a_thaw_meets_a_freeze);
    let scheduler = PctScheduler::new(3, iterations());
    Runner::new(scheduler, Config::default()).run(a_thaw_meets_a_freeze);
}

#[test]
fn no_error_is_lost_and_nothing_stays_frozen_whatever_meets() {
    let scheduler = RandomScheduler::new(iterations());
    Runner::new(scheduler, Config::default()).run(errors_meet_recoveries_and_hot_plug);
    let scheduler = PctScheduler::new(3, iterations());
    Runner::new(scheduler, Config::default()).run(errors_meet_recoveries_and_hot_plug);
}

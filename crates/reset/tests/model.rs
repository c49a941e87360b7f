//! The whole reset of one function against a model of a few lines: any capabilities, any quirks, any list of methods,
//! devices that answer sooner, later or never after each of them, and a removal at any moment.

mod machine;

use gate::GateState;
use machine::{NEVER, Plan, Rig, Script, bdf, bridge, endpoint_of, ms, soon};
use pci_core::{Af, Errno, Express, Pm};
use pci_spec::capability::express::PortType;
use proptest::prelude::*;
use reset::{Error, Method, MethodList, Quirks};
use std::time::Duration;

const PORT: &str = "0000:00:01.0";
const EP: &str = "0000:01:00.0";
const BESIDE: &str = "0000:01:00.1";

/// Everything that is random.
#[derive(Clone, Debug)]
struct Case {
    flr: bool,
    af: bool,
    pm: Option<bool>,
    neighbour: bool,
    no_flr: bool,
    no_pm: bool,
    no_bus: bool,
    list: Option<Vec<Method>>,
    script: Script,
    pull: Option<Duration>,
}

/// The quirks of a device, which its device ID tells.
fn quirks(_: u16, device: u16) -> Quirks {
    Quirks {
        no_flr: device & 1 != 0,
        no_pm_reset: device & 2 != 0,
        no_bus_reset: device & 4 != 0,
        special_flr: None,
    }
}

impl Case {
    fn rig(&self) -> Rig {
        let bits = u16::from(self.no_flr) | u16::from(self.no_pm) << 1 | u16::from(self.no_bus) << 2;
        let mut config =
            endpoint_of(0x5600 | bits).capability(Express { flr: self.flr, ..Express::default() });
        if self.af {
            config = config.capability(Af::default());
        }
        if let Some(no_soft_reset) = self.pm {
            config = config.capability(Pm { no_soft_reset, ..Pm::default() });
        }
        let port = bridge().capability(Express::port(PortType::RootPort));
        let mut plan = Plan::new().quirks(quirks).bridge(PORT, port, Script::default(), (1, 1), false);
        plan = plan.endpoint(EP, config, self.script);
        if self.neighbour {
            plan = plan.endpoint(BESIDE, endpoint_of(0x5600), Script::default());
        }
        plan.build()
    }

    fn has(&self, method: Method) -> bool {
        match method {
            Method::DeviceSpecific | Method::Acpi | Method::CxlBus => false,
            Method::Flr => self.flr && !self.no_flr,
            Method::AfFlr => self.af && !self.no_flr,
            Method::Pm => self.pm == Some(false) && !self.no_pm,
            Method::Bus => !self.neighbour && !self.no_bus,
        }
    }

    fn methods(&self) -> Vec<Method> {
        let chosen = self.list.clone().unwrap_or(Method::ALL.to_vec());
        chosen.into_iter().filter(|method| self.has(*method)).collect()
    }
}

/// What time it is, and until when the device does not answer.
#[derive(Default)]
struct Model {
    now: Duration,
    silent_until: Duration,
}

impl Model {
    /// PWR-09a: waits of 1, 2, 4 ... ms while the next one is at most 60 s.
    fn wait(&mut self) -> bool {
        let mut wait = ms(1);
        while self.now < self.silent_until {
            if wait > ms(60_000) {
                return false;
            }
            self.now += wait;
            wait *= 2;
        }
        true
    }

    fn hit(&mut self, then: Duration) {
        if self.now >= self.silent_until {
            self.silent_until = self.now.saturating_add(then);
        }
    }

    fn attempt(&mut self, method: Method, script: &Script) -> bool {
        match method {
            Method::Flr | Method::AfFlr => {
                self.hit(if method == Method::Flr { script.flr } else { script.af_flr });
                self.now += ms(100);
            }
            Method::Pm if self.now < self.silent_until => return false,
            Method::Pm => {
                self.now += ms(10);
                self.hit(script.pm);
                self.now += ms(10);
            }
            _ => {
                self.now += ms(2);
                self.silent_until = self.now.saturating_add(script.bus);
                self.now += ms(20 + 100);
            }
        }
        self.wait()
    }

    fn run(&mut self, case: &Case) -> Option<Method> {
        case.methods().into_iter().find(|method| self.attempt(*method, &case.script))
    }
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(ms(0)), Just(ms(50)), Just(ms(300)), Just(ms(5000)), Just(NEVER)]
}

fn script() -> impl Strategy<Value = Script> {
    (time(), time(), time(), time(), any::<bool>()).prop_map(|(flr, af_flr, pm, bus, retries)| Script {
        flr,
        af_flr,
        pm,
        bus,
        retries,
        ..Script::default()
    })
}

fn case() -> impl Strategy<Value = Case> {
    let has = (any::<bool>(), any::<bool>(), any::<Option<bool>>(), prop::bool::weighted(0.2));
    let broken = (prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let list = prop::option::of(prop::collection::vec(prop::sample::select(Method::ALL.to_vec()), 0..=7));
    let pull = prop::option::of(prop_oneof![0..500_u64, 0..300_000_u64].prop_map(ms));
    (has, broken, list, script(), pull).prop_map(|(has, broken, list, script, pull)| Case {
        flr: has.0,
        af: has.1,
        pm: has.2,
        neighbour: has.3,
        no_flr: broken.0,
        no_pm: broken.1,
        no_bus: broken.2,
        list,
        script,
        pull,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn every_reset_ends_as_in_the_model(case in case()) {
        let mut rig = case.rig();
        let list = choose(&mut rig, &case);
        let before = rig.bytes(EP);
        if let Some(when) = case.pull {
            rig.pull(EP, when);
        }
        let mut model = Model::default();
        let expected = if list.iter().next().is_some() { model.run(&case) } else { None };
        let removed = case.pull.is_some_and(|when| model.now >= when && model.now > Duration::ZERO);
        let outcome = rig.reset(EP);
        let gate = rig.function(EP).gate().status().state;
        match outcome {
            _ if removed => {
                let error = outcome.expect_err("removed");
                prop_assert!(matches!(error, Error::Removed), "{error}");
                prop_assert_eq!(gate, GateState::Gone);
            }
            Ok(done) => {
                prop_assert_eq!((done.method, done.not_restored), (expected, 0));
                prop_assert_eq!(rig.bytes(EP), before);
                prop_assert_eq!(gate, GateState::Open);
            }
            Err(error) => {
                prop_assert_eq!((error.errno(), expected), (Errno::ENOTTY, None));
                prop_assert_eq!(gate, GateState::Open);
                if model.now >= model.silent_until {
                    prop_assert_eq!(rig.bytes(EP), before);
                }
            }
        }
        if !removed {
            prop_assert_eq!(rig.now_ms(), model.now.as_millis());
        }
        prop_assert!(rig.is_open(PORT) && (!case.neighbour || rig.is_open(BESIDE)));
        prop_assert!(rig.bus_resets(PORT).last().is_none_or(|control| control & 0x40 == 0));
        // Whoever was told to stop is told to go on, unless there is nobody left.
        let told = |what: &str| rig.told().iter().filter(|line| line.ends_with(what)).count();
        let began = told("about to be reset");
        prop_assert!(removed || began == told(": reset") + told(": not reset"));
    }
}

/// Writes the list; what the function does not have is left out, as it would be refused.
fn choose(rig: &mut Rig, case: &Case) -> MethodList {
    if let Some(list) = &case.list {
        let names: Vec<&str> =
            list.iter().filter(|method| case.has(**method)).map(|method| method.name()).collect();
        let written =
            rig.resets.set_methods(&mut rig.token, &rig.snapshot, bdf(EP), &names.join(" "), soon());
        assert!(written.expect("there").is_ok());
    }
    rig.resets.methods(&mut rig.token, &rig.snapshot, bdf(EP), soon()).expect("there")
}

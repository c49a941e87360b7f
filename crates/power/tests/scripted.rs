//! Power changes over scripted hardware: refusals, silence, slow functions, failing firmware.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use gate::Gone;
use pci_core::{Change, ConfigStatus, Errno, PowerDelays, PowerState, PowerStep, Width};
use pci_spec::Bdf;
use pci_spec::capability::pm::Capabilities;
use power::ready::NotReady;
use power::{Facts, Hold, Platform, PowerError, Quirks, State, change, pme};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CAPABILITY: u16 = 0x40;
const PMCSR: u16 = 0x44;

fn at() -> Bdf {
    Bdf::from_routing_id(0, 8)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One function that does as it is told, apart from what the test sets.
struct Script {
    facts: Facts,
    /// PMCSR; all-ones while it does not answer.
    control: u16,
    /// What a write of a state leads to, if not to that state.
    stuck_in: Option<PowerState>,
    /// It answers nothing before this time.
    silent_until: Duration,
    silent: bool,
    now: Duration,
    gone_at: Option<Duration>,
    /// What no register tells.
    noted: Option<State>,
    done: Vec<String>,
}

impl Script {
    fn new(facts: Facts) -> Script {
        Script {
            facts,
            control: 0,
            stuck_in: None,
            silent_until: Duration::ZERO,
            silent: false,
            now: Duration::ZERO,
            gone_at: None,
            noted: None,
            done: Vec::new(),
        }
    }

    fn answers(&self) -> bool {
        !self.silent && self.now >= self.silent_until
    }
}

fn facts() -> Facts {
    Facts {
        pm: Some(CAPABILITY),
        capabilities: Capabilities::D1 | Capabilities::D2 | Capabilities::PME_D3HOT,
        keeps_state: false,
        ready_after_power: false,
        delays: PowerDelays::default(),
        is_virtual: false,
        has_platform: false,
        quirks: Quirks::default(),
    }
}

impl Hold for Script {
    fn facts(&self, _: Bdf) -> Facts {
        self.facts
    }
    fn state(&self, _: Bdf) -> State {
        self.noted.unwrap_or(PowerState::decode(self.control).into())
    }
    fn note(&mut self, _: Bdf, state: State) {
        let told = state.register().is_some() && self.facts.pm.is_some();
        self.noted = if told { None } else { Some(state) };
    }
    fn read(&mut self, _: Bdf, register: u16, _: Width) -> Result<u32, ConfigStatus> {
        let value = if register == PMCSR { self.control } else { 0x1b36 };
        Ok(u32::from(if self.answers() { value } else { u16::MAX }))
    }
    fn write(&mut self, _: Bdf, register: u16, _: Width, value: u32) -> Result<(), ConfigStatus> {
        assert_eq!(register, PMCSR);
        let value = u16::try_from(value).unwrap();
        let state = self.stuck_in.unwrap_or(PowerState::decode(value));
        let status = self.control & 0x8000 & !value;
        self.control = value & 0x0100 | status | state.bits();
        self.done.push(format!("write {value:#06x}"));
        Ok(())
    }
    fn pass(&mut self, _: Bdf, duration: Duration) -> Result<(), Gone> {
        self.now += duration;
        self.done.push(format!("{} us", duration.as_micros()));
        if self.gone_at.is_some_and(|gone| self.now >= gone) { Err(Gone) } else { Ok(()) }
    }
    fn is_disconnected(&self, _: Bdf) -> bool {
        false
    }
    fn save(&mut self, _: Bdf) {
        self.done.push("save".into());
    }
    fn restore(&mut self, _: Bdf) {
        self.done.push("restore".into());
    }
    fn lose_power(&mut self, at: Bdf) {
        self.silent = true;
        self.control = 0;
        self.note(at, State::D3Cold);
        self.done.push("power gone".into());
    }
    fn regain_power(&mut self, at: Bdf) {
        self.silent = false;
        self.note(at, State::D0);
        self.done.push("power back".into());
    }
    fn tell(&mut self, _: Bdf, step: PowerStep) {
        self.done.push(step.to_string());
    }
    fn changed(&mut self, _: Bdf, Change { old, new }: Change<State>) {
        self.done.push(format!("{old} to {new}"));
    }
}

/// Firmware that fails when it is told to.
#[derive(Debug, Default)]
struct Acpi(AtomicBool);

impl Platform for Acpi {
    fn manages(&self, _: Bdf) -> bool {
        true
    }
    fn is_powered(&self, _: Bdf) -> bool {
        true
    }
    fn set_state(&self, _: Bdf, _: State) -> Result<(), Errno> {
        if self.0.load(Ordering::SeqCst) { Err(Errno::EIO) } else { Ok(()) }
    }
}

#[test]
fn pwr_04_the_delay_follows_the_write() {
    let mut script = Script::new(facts());
    assert_eq!(change(&mut script, None, at(), State::D3Hot).unwrap(), State::D3Hot);
    assert_eq!(script.done, ["save", "write 0x0003", "10000 us", "D0 to D3hot"]);
}

#[test]
fn pwr_03_a_function_that_reads_all_ones_counts_as_cold() {
    let mut script = Script::new(facts());
    script.silent = true;
    let error = change(&mut script, None, at(), State::D3Hot).unwrap_err();
    assert_eq!((error.errno(), script.state(at())), (Errno::EIO, State::D3Cold));
    assert_eq!(
        script.done,
        ["save", "unable to change power state from D0 to D3hot, device inaccessible", "D0 to D3cold"],
        "nothing was written"
    );
    script.done.clear();
    let error = change(&mut script, None, at(), State::D0).unwrap_err();
    assert_eq!((error.errno(), script.state(at())), (Errno::EIO, State::D3Cold));
    script.silent = false;
    assert_eq!(change(&mut script, None, at(), State::D0).unwrap(), State::D0, "it is there again");
}

#[test]
fn pwr_06_a_function_that_refuses_keeps_its_real_state_and_the_operator_hears_of_it() {
    let mut script = Script::new(facts());
    script.stuck_in = Some(PowerState::D0);
    assert_eq!(change(&mut script, None, at(), State::D3Hot).unwrap(), State::D0);
    assert_eq!(script.done.last().unwrap(), "Refused to change power state from D0 to D3hot");
    script.stuck_in = Some(PowerState::D2);
    assert_eq!(change(&mut script, None, at(), State::D3Hot).unwrap(), State::D2);
    assert_eq!(script.state(at()), State::D2);
    script.stuck_in = Some(PowerState::D2);
    script.done.clear();
    assert_eq!(change(&mut script, None, at(), State::D0).unwrap(), State::D2);
    assert!(!script.done.contains(&"restore".into()), "a function that stays down is not restored");
}

#[test]
fn pwr_05_a_function_that_lost_its_state_has_a_minute_to_get_ready_and_is_restored_then() {
    let mut script = Script::new(facts());
    script.control = 3;
    script.silent_until = ms(0);
    change(&mut script, None, at(), State::D0).unwrap();
    assert_eq!(script.done, ["write 0x0000", "10000 us", "restore", "D3hot to D0"]);
}

#[test]
fn pwr_05_a_slow_function_is_waited_for_in_doubling_steps() {
    let mut script = Script::new(Facts { has_platform: true, ..facts() });
    script.noted = Some(State::D3Cold);
    script.silent_until = ms(2000);
    change(&mut script, Some(&Acpi::default()), at(), State::D0).unwrap();
    assert_eq!(script.now, ms(100 + 2047), "PWR-09");
    assert!(script.done.contains(&"not ready 1023 ms after resume; waiting".into()), "{:?}", script.done);
    assert!(script.done.contains(&"ready 2047 ms after resume".into()), "{:?}", script.done);
}

#[test]
fn pwr_09a_a_function_that_never_gets_ready_is_given_up() {
    let mut script = Script::new(facts());
    script.noted = Some(State::D3Cold);
    script.silent_until = Duration::MAX;
    let error = change(&mut script, Some(&Acpi::default()), at(), State::D0).unwrap_err();
    assert!(
        matches!(error, PowerError::NotReady(NotReady::TimedOut(after)) if after == ms(65_535)),
        "{error}"
    );
    assert_eq!(error.errno(), Errno::ENOTTY);
    assert!(!script.done.contains(&"restore".into()));
}

#[test]
fn a_removal_during_the_delay_ends_the_change() {
    // Law 4
    let mut script = Script::new(facts());
    script.gone_at = Some(ms(5));
    let error = change(&mut script, None, at(), State::D3Hot).unwrap_err();
    assert_eq!(error.errno(), Errno::ENODEV);
    assert_eq!(script.done, ["save", "write 0x0003", "10000 us", "D0 to D3hot"], "and nothing is read back");
}

#[test]
fn firmware_that_fails_leaves_the_function_where_its_register_says() {
    let mut script = Script::new(facts());
    let acpi = Acpi::default();
    acpi.0.store(true, Ordering::SeqCst);
    let error = change(&mut script, Some(&acpi), at(), State::D3Cold).unwrap_err();
    assert_eq!((error.errno(), script.state(at())), (Errno::EIO, State::D3Hot));
    assert!(!script.done.contains(&"power gone".into()));
}

#[test]
fn firmware_alone_takes_the_same_time_as_the_register() {
    let unmanaged = Facts { pm: None, capabilities: Capabilities::empty(), ..facts() };
    let mut script = Script::new(unmanaged);
    let acpi = Acpi::default();
    assert_eq!(change(&mut script, Some(&acpi), at(), State::D3Hot).unwrap(), State::D3Hot);
    assert_eq!(script.now, ms(10));
    assert_eq!(change(&mut script, Some(&acpi), at(), State::D0).unwrap(), State::D0);
    assert_eq!(script.now, ms(20));
    let error = change(&mut script, None, at(), State::D3Hot).unwrap_err();
    assert_eq!(error.errno(), Errno::EIO, "PWR-02");
}

#[test]
fn a_write_of_the_state_leaves_an_event_and_its_enable_alone() {
    let mut script = Script::new(facts());
    script.control = 0x8100;
    change(&mut script, None, at(), State::D3Hot).unwrap();
    assert_eq!(script.control, 0x8103, "PME status is cleared by writing 1, which this does not");
}

#[test]
fn pwr_10_an_event_is_taken_once_and_only_if_it_was_enabled() {
    let mut script = Script::new(facts());
    script.control = 0x8003;
    assert!(!pme::take(&mut script, at()), "status without enable");
    assert_eq!(script.control, 0x0003, "cleared all the same");
    assert!(pme::arm(&mut script, at(), true));
    assert_eq!(script.control & 0x8100, 0x0100);
    assert!(!pme::take(&mut script, at()));
    script.control |= 0x8000;
    assert!(pme::take(&mut script, at()));
    assert_eq!(script.control, 0x0003, "disabled until it is armed again");
    assert!(!pme::take(&mut script, at()));
    script.silent = true;
    assert!(!pme::arm(&mut script, at(), true) && !pme::take(&mut script, at()), "all-ones is no event");
}

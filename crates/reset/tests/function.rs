//! Resets of one function: which method, how long, what is saved and restored, and who is kept out meanwhile.

mod machine;

use gate::{AccessKind, Deadline, GateState};
use machine::{AT_ONCE, NEVER, Plan, Rig, Script, bdf, bridge, endpoint, ms, soon};
use pci_core::{
    Af, Command, ConfigSpaceBuilder, Errno, Express, ExtendedCapability, Msi, Pm, PowerState, ResetKind,
};
use pci_spec::capability::express::{self, LinkSpeed, PortType};
use pci_spec::extended::cxl_port;
use pci_spec::{aer, config};
use reset::{Error, Lack, ListError, Method, Quirks};
use std::time::Duration;

const EP: &str = "0000:01:00.0";
const PORT: &str = "0000:00:01.0";

fn flr() -> ConfigSpaceBuilder {
    endpoint().capability(Express::default())
}

fn port() -> ConfigSpaceBuilder {
    bridge().capability(Express::port(PortType::RootPort))
}

/// An endpoint below a root port.
fn below_port(config: ConfigSpaceBuilder, script: Script) -> Rig {
    with_port(port(), Script::default(), config, script)
}

fn with_port(port: ConfigSpaceBuilder, link: Script, config: ConfigSpaceBuilder, script: Script) -> Rig {
    Plan::new().bridge(PORT, port, link, (1, 1), false).endpoint(EP, config, script).build()
}

/// An endpoint on the root bus: nothing above it can reset it.
fn alone(config: ConfigSpaceBuilder, script: Script) -> Rig {
    Plan::new().endpoint(EP, config, script).build()
}

fn method(rig: &mut Rig) -> Option<Method> {
    rig.reset(EP).expect("a reset").method
}

#[test]
fn rst_05_flr_waits_100_ms_and_then_until_the_function_answers() {
    let mut rig = alone(flr(), Script { flr: ms(300), ..Script::default() });
    let before = rig.bytes(EP);
    assert_eq!(method(&mut rig), Some(Method::Flr));
    // 100 ms, then 1 + 2 + ... + 128 = 255 ms.
    assert_eq!(rig.now_ms(), 355);
    assert_eq!(rig.bytes(EP), before, "all is as it was");
    assert_eq!(*rig.silicon[&bdf(EP)].resets.lock(), [ResetKind::FunctionLevel]);
    assert!(rig.is_open(EP));
}

#[test]
fn rst_05_a_function_with_immediate_readiness_is_not_waited_for() {
    let mut rig = alone(flr().immediate_readiness(), Script::default());
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert_eq!(rig.now_ms(), 0);
}

#[test]
fn rst_05_flr_needs_the_capability_and_no_quirk() {
    let without = endpoint().capability(Express { flr: false, ..Express::default() });
    let mut rig = alone(without, Script::default());
    assert!(matches!(rig.reset(EP), Err(Error::NoMethod)));
    let quirks = |_, _| Quirks { no_flr: true, ..Quirks::default() };
    drop(rig);
    let mut rig = Plan::new().quirks(quirks).endpoint(EP, flr(), Script::default()).build();
    let error = rig.reset(EP).expect_err("a refusal");
    assert_eq!(error.errno(), Errno::ENOTTY);
    assert!(rig.machine.written.lock().is_empty(), "nothing was touched");
}

#[test]
fn rst_06_af_flr_needs_both_bits_and_waits_as_flr_does() {
    let mut rig =
        alone(endpoint().capability(Af::default()), Script { af_flr: ms(120), ..Script::default() });
    assert_eq!(method(&mut rig), Some(Method::AfFlr));
    assert_eq!(rig.now_ms(), 100 + 31);
    let half = Af { transactions_pending: false, ..Af::default() };
    drop(rig);
    let mut rig = alone(endpoint().capability(half), Script::default());
    assert!(matches!(rig.reset(EP), Err(Error::NoMethod)));
}

#[test]
fn rst_07_a_pm_reset_goes_to_d3hot_and_back_with_10_ms_each() {
    let mut rig = alone(endpoint().capability(Pm::default()), Script { pm: ms(40), ..Script::default() });
    let before = rig.bytes(EP);
    assert_eq!(method(&mut rig), Some(Method::Pm));
    // 10 + 10, of which the second counts for the 40 as well, then 1 + 2 + 4 + 8 + 16.
    assert_eq!(rig.now_ms(), 20 + 31);
    assert_eq!(rig.bytes(EP), before);
    assert_eq!(*rig.silicon[&bdf(EP)].resets.lock(), [ResetKind::PowerUp]);
}

#[test]
fn rst_07_no_soft_reset_and_a_quirk_rule_it_out() {
    let keeps = Pm { no_soft_reset: true, ..Pm::default() };
    let mut rig = alone(endpoint().capability(keeps), Script::default());
    assert!(matches!(rig.reset(EP), Err(Error::NoMethod)));
    let quirks = |_, _| Quirks { no_pm_reset: true, ..Quirks::default() };
    let config = endpoint().capability(Pm::default());
    drop(rig);
    let mut rig = Plan::new().quirks(quirks).endpoint(EP, config, Script::default()).build();
    assert!(matches!(rig.reset(EP), Err(Error::NoMethod)));
}

#[test]
fn rst_01_rst_02_a_function_that_does_not_answer_is_reset_by_the_next_method() {
    let config = flr().capability(Af::default()).capability(Pm::default());
    let script = Script { flr: NEVER, ..Script::default() };
    let mut rig = below_port(config, script);
    // FLR never answers, and takes the function out of the others' reach; the bus brings it back.
    assert_eq!(method(&mut rig), Some(Method::Bus));
    assert!(
        rig.told().contains(&format!("{EP}: not ready 65535 ms after FLR; giving up")),
        "{:?}",
        rig.told()
    );
    assert!(rig.told().contains(&format!("{EP}: not ready 65535 ms after AF_FLR; giving up")));
    assert!(rig.is_open(EP) && rig.is_open(PORT));
}

#[test]
fn rst_02_another_error_than_enotty_ends_the_reset() {
    let config = endpoint().capability(Pm::default());
    let mut rig = below_port(config, Script { insomniac: true, ..Script::default() });
    let asleep = rig.config(EP).set_power_state(PowerState::D3Hot);
    assert!(asleep.is_some());
    // It cannot be woken, so it is not in D0: EINVAL, and the bus is not tried (RST-07).
    let error = rig.reset(EP).expect_err("a failure");
    assert_eq!(error.errno(), Errno::EINVAL);
    assert!(rig.bus_resets(PORT).is_empty());
    assert!(rig.is_open(EP));
}

#[test]
fn rst_10_messages_come_above_a_second_and_name_the_numbers_of_pwr_09a() {
    let mut rig = alone(flr(), Script { flr: ms(100 + 3000), ..Script::default() });
    assert_eq!(method(&mut rig), Some(Method::Flr));
    let said: Vec<String> = rig.told().into_iter().filter(|line| line.contains("ready")).collect();
    assert_eq!(
        said,
        [
            format!("{EP}: not ready 1023 ms after FLR; waiting"),
            format!("{EP}: not ready 2047 ms after FLR; waiting"),
            format!("{EP}: ready 4095 ms after FLR"),
        ]
    );
    drop(rig);
    let mut rig = alone(flr(), Script { flr: ms(600), ..Script::default() });
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert!(rig.told().iter().all(|line| !line.contains("ready")), "nothing to say below a second");
}

#[test]
fn rst_10_a_function_that_never_answers_is_given_up_after_65535_ms() {
    for retries in [true, false] {
        let mut rig = alone(flr(), Script { flr: NEVER, retries, ..Script::default() });
        let error = rig.reset(EP).expect_err("a failure");
        assert_eq!(error.errno(), Errno::ENOTTY);
        assert_eq!(rig.now_ms(), 100 + 65_535);
        assert!(rig.told().contains(&format!("{EP}: not ready 65535 ms after FLR; giving up")));
        assert_eq!(rig.told().last(), Some(&format!("{EP}: not reset")));
        assert!(rig.is_open(EP), "the gate is open on every exit");
    }
}

#[test]
fn rst_10_a_link_that_is_down_is_trained_again_once_at_the_mark_of_one_second() {
    let link = Script { needs_training: true, ..Script::default() };
    let mut rig = with_port(port(), link, flr(), Script { flr: NEVER, ..Script::default() });
    let list = rig.resets.set_methods(&mut rig.token, &rig.snapshot, bdf(EP), "flr", soon());
    assert_eq!(list.expect("known"), Ok(None));
    assert!(rig.reset(EP).is_err());
    // 100, 1023, trained again at once, then the whole series anew (PWR-09a).
    assert_eq!(rig.now_ms(), 100 + 1023 + 65_535);
    let trained = rig.told().iter().filter(|line| line.contains("trained again")).count();
    assert_eq!(trained, 1);
    assert!(rig.is_open(PORT), "the port was taken for it and let go");
}

#[test]
fn rst_10_a_link_that_is_up_is_left_alone() {
    let mut rig = below_port(flr(), Script { flr: NEVER, ..Script::default() });
    let list = rig.resets.set_methods(&mut rig.token, &rig.snapshot, bdf(EP), "flr", soon());
    assert_eq!(list.expect("known"), Ok(None));
    assert!(rig.reset(EP).is_err());
    let base = rig.config(PORT).find_capability(0x10).expect("PCI Express");
    assert!(rig.writes(PORT, base + express::LINK_CONTROL).is_empty());
}

#[test]
fn cfg_17_outstanding_requests_are_looked_at_four_times_and_then_only_warned_of() {
    let mut rig = alone(flr(), Script { pending: 2, ..Script::default() });
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert_eq!(rig.clock.waits.lock()[..2], [ms(100), ms(200)]);
    assert_eq!(rig.now_ms(), 300 + 100);
    drop(rig);
    let mut rig = alone(flr(), Script { pending: 3, ..Script::default() });
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert!(rig.told().iter().all(|line| !line.contains("pending")), "the fourth look found none");
    drop(rig);
    let mut rig = alone(flr(), Script { pending: 100, ..Script::default() });
    assert_eq!(method(&mut rig), Some(Method::Flr), "the reset is done all the same");
    assert_eq!(rig.clock.waits.lock()[..4], [ms(100), ms(200), ms(400), ms(100)]);
    assert!(rig.told().contains(&format!("{EP}: transactions still pending; resetting anyway")));
}

#[test]
fn rst_08_the_bus_is_refused_on_a_root_bus_for_a_bridge_with_others_and_with_a_quirk() {
    let lack = |rig: &mut Rig, at: &str| {
        let probed = rig.resets.probe(&mut rig.token, &rig.snapshot, bdf(at), soon()).expect("probed");
        probed.into_iter().find(|(method, _)| *method == Method::Bus).expect("listed").1
    };
    assert_eq!(lack(&mut alone(endpoint(), Script::default()), EP), Err(Lack::RootBus));
    let mut rig = below_port(endpoint(), Script::default());
    assert_eq!(lack(&mut rig, EP), Ok(()));
    drop(rig);
    let two = below_port_plan().endpoint("0000:01:00.1", endpoint(), Script::default());
    assert_eq!(lack(&mut two.build(), EP), Err(Lack::NotAlone));
    let quirks = |_, _| Quirks { no_bus_reset: true, ..Quirks::default() };
    assert_eq!(lack(&mut below_port_plan().quirks(quirks).build(), EP), Err(Lack::Broken));
    let nested = Plan::new().bridge(PORT, port(), Script::default(), (1, 2), false).bridge(
        EP,
        bridge().capability(Express::port(PortType::UpstreamPort)),
        Script::default(),
        (2, 2),
        false,
    );
    assert_eq!(lack(&mut nested.build(), EP), Err(Lack::Bridge));
}

fn below_port_plan() -> Plan {
    Plan::new().bridge(PORT, port(), Script::default(), (1, 1), false).endpoint(
        EP,
        endpoint(),
        Script::default(),
    )
}

#[test]
fn rst_09_the_bus_is_held_in_reset_for_2_ms() {
    let slow = Express { link_speed: LinkSpeed::Gen2, ..Express::port(PortType::RootPort) };
    let mut rig = with_port(bridge().capability(slow), Script::default(), endpoint(), Script::default());
    let before = rig.bytes(EP);
    assert_eq!(method(&mut rig), Some(Method::Bus));
    assert_eq!(rig.bus_resets(PORT), [0x40, 0x00]);
    let when: Vec<u128> = {
        let written = rig.machine.written.lock();
        written.iter().filter(|write| write.at == bdf(PORT)).map(|write| write.when.as_millis()).collect()
    };
    assert_eq!(when, [0, 2]);
    assert_eq!(rig.now_ms(), 2 + 100, "PWR-08: up to 5 GT/s");
    assert_eq!(*rig.silicon[&bdf(EP)].resets.lock(), [ResetKind::DeviceReset], "an emulated device is told");
    assert_eq!(rig.bytes(EP), before);
}

#[test]
fn pwr_08_above_5_gt_the_time_counts_from_the_link() {
    let link = Script { link: ms(500), ..Script::default() };
    let mut rig = with_port(port(), link, endpoint(), Script::default());
    assert_eq!(method(&mut rig), Some(Method::Bus));
    assert_eq!(rig.now_ms(), 2 + 500 + 100);
    let down = Script { link: NEVER, ..Script::default() };
    drop(rig);
    let mut rig = with_port(port(), down, endpoint(), Script::default());
    let error = rig.reset(EP).expect_err("a failure");
    assert_eq!((error.errno(), rig.now_ms()), (Errno::ENOTTY, 2 + 20 + 1000));
    assert_eq!(rig.bus_resets(PORT), [0x40, 0x00], "the bus does not stay in reset");
}

#[test]
fn pwr_08_conventional_pci_gets_1100_ms() {
    let mut rig = with_port(bridge(), Script::default(), endpoint(), Script::default());
    assert_eq!(method(&mut rig), Some(Method::Bus));
    assert_eq!(rig.now_ms(), 2 + 1100);
}

#[test]
fn rst_08_a_slot_is_tried_before_the_bus_and_sees_no_removal() {
    let slot = pci_core::Slot { number: 1, hot_plug: true, surprise: true, present: true };
    let port = Express { slot: Some(slot), ..Express::port(PortType::RootPort) };
    let mut rig = Plan::new()
        .bridge(PORT, bridge().capability(port), Script::default(), (1, 1), true)
        .endpoint(EP, endpoint(), Script::default())
        .build();
    let base = rig.config(PORT).find_capability(0x10).expect("PCI Express");
    let told = express::port::SlotControl::PRESENCE_ENABLE | express::port::SlotControl::LINK_STATE_ENABLE;
    let _ = rig.config(PORT).write(base + express::SLOT_CONTROL, &told.bits().to_le_bytes());
    let before = rig.bytes(PORT);
    assert_eq!(method(&mut rig), Some(Method::Bus));
    let writes = rig.writes(PORT, base + express::SLOT_CONTROL);
    assert_eq!(writes.len(), 2);
    assert_eq!(writes[0] & u32::from(told.bits()), 0, "told of nothing meanwhile (HP-16)");
    assert_eq!(writes[1] & u32::from(told.bits()), u32::from(told.bits()));
    assert_eq!(rig.writes(PORT, base + express::SLOT_STATUS), [0x0108]);
    assert_eq!(rig.bytes(PORT), before);
}

#[test]
fn rst_11_the_steps_come_in_order() {
    let mut rig = alone(flr(), Script::default());
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert_eq!(rig.told(), [format!("{EP}: about to be reset"), format!("{EP}: reset")]);
    let base = rig.config(EP).find_capability(0x10).expect("PCI Express");
    let order: Vec<u16> = rig.machine.written.lock().iter().map(|write| write.register).collect();
    let first_two = [config::COMMAND, base + express::DEVICE_CONTROL];
    assert_eq!(order[..2], first_two, "COMMAND before the reset");
    assert_eq!(rig.writes(EP, config::COMMAND), [0x0400, 0x0006], "INTx off, and restored");
}

#[test]
fn rst_11_a_sleeping_function_is_woken_first_and_keeps_what_it_had() {
    let config = flr().capability(Pm::default()).aer();
    let mut rig = alone(config, Script { pm: ms(30), ..Script::default() });
    let before = rig.bytes(EP);
    let d3hot = [PowerState::D3Hot.bits().to_le_bytes()[0], 0];
    let power = rig.config(EP).find_capability(0x01).expect("power management");
    let written = rig.function(EP).write_config(&mut rig.token, power + 4, &d3hot, soon());
    assert!(written.is_ok());
    assert_eq!(rig.config(EP).power_state(), PowerState::D3Hot);
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert_eq!(rig.config(EP).power_state(), PowerState::D0);
    assert_eq!(rig.bytes(EP), before, "BARs and COMMAND outlived both (PWR-05)");
}

#[test]
fn rst_12_contention_changes_nothing() {
    let mut rig = alone(flr(), Script::default());
    let probed = rig.resets.probe(&mut rig.token, &rig.snapshot, bdf(EP), soon());
    assert!(probed.is_ok());
    let before = rig.bytes(EP);
    let function = rig.function(EP);
    let inside = function.handle().enter_long(&mut rig.token, AccessKind::Dma, "a command", soon());
    let inside = inside.expect("open");
    let refused = rig.resets.try_reset_function(&mut rig.token, &rig.snapshot, bdf(EP));
    let error = refused.expect_err("in use");
    assert_eq!(error.errno(), Errno::EAGAIN);
    assert!(rig.told().is_empty() && rig.machine.written.lock().is_empty());
    assert_eq!(rig.bytes(EP), before);
    assert!(rig.is_open(EP));
    drop(inside);
    let done = rig.resets.try_reset_function(&mut rig.token, &rig.snapshot, bdf(EP));
    assert_eq!(done.expect("free now").method, Some(Method::Flr));
}

#[test]
fn rst_12_the_blocking_form_names_who_was_inside_at_its_deadline() {
    let mut rig = alone(flr(), Script::default());
    let function = rig.function(EP);
    let inside = function.handle().enter_long(&mut rig.token, AccessKind::Dma, "a command", soon());
    let _inside = inside.expect("open");
    let soon = Deadline::after(Duration::from_millis(1));
    let error = rig.resets.reset_function(&mut rig.token, &rig.snapshot, bdf(EP), soon).expect_err("in use");
    assert_eq!(error.errno(), Errno::ETIMEDOUT);
    assert!(error.to_string().contains(EP), "{error}");
    assert!(rig.told().is_empty() && rig.is_open(EP));
}

#[test]
fn rst_13_a_caller_that_has_the_gate_keeps_it_and_nothing_is_saved() {
    let mut rig = alone(flr(), Script::default());
    let probed = rig.resets.probe(&mut rig.token, &rig.snapshot, bdf(EP), soon());
    assert!(probed.is_ok());
    let function = rig.function(EP);
    let closed = function.gate().close(&mut rig.token, gate::Reason::Recovery, soon()).expect("open").park();
    let (closed, done) = rig.resets.reset_closed(&mut rig.token, &rig.snapshot, bdf(EP), closed);
    assert_eq!(done.expect("reset"), Method::Flr);
    assert!(!rig.is_open(EP), "still the caller's");
    assert_eq!(rig.command(EP), Command::empty(), "not restored");
    assert!(rig.writes(EP, config::COMMAND).is_empty());
    drop(closed);
    assert!(rig.is_open(EP));
}

#[test]
fn flr_of_an_idle_function_blocks_only_that_function() {
    let mut rig = below_port_plan_with(flr(), Script { flr: ms(700), ..Script::default() });
    let others = ["0000:01:00.1", PORT];
    rig.clock.kept_out.lock().push(rig.function(EP).handle().clone());
    rig.clock.let_in.lock().extend(others.map(|at| rig.function(at).handle().clone()));
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert!(rig.clock.waits.lock().len() > 5, "they were looked at while time passed");
}

fn below_port_plan_with(config: ConfigSpaceBuilder, script: Script) -> Rig {
    Plan::new()
        .bridge(PORT, port(), Script::default(), (1, 1), false)
        .endpoint(EP, config, script)
        .endpoint("0000:01:00.1", flr(), Script::default())
        .build()
}

#[test]
fn a_removal_ends_the_wait_at_once_and_leaves_the_others_open() {
    // Law 4, law 9, PWR-09.
    for when in [ms(0), ms(50), ms(101), ms(400), ms(20_000)] {
        let mut rig = below_port_plan_with(flr(), Script { flr: NEVER, ..Script::default() });
        rig.pull(EP, when);
        let error = rig.reset(EP).expect_err("removed");
        assert_eq!(error.errno(), Errno::ENOTTY);
        assert!(matches!(error, Error::Removed));
        assert_eq!(rig.clock.now_at_least(when), when, "at once");
        assert!(rig.told().iter().all(|line| !line.ends_with("giving up")), "nobody waited it out");
        assert_eq!(rig.function(EP).gate().status().state, GateState::Gone);
        assert!(rig.is_open(PORT) && rig.is_open("0000:01:00.1"));
        let again = rig.reset(EP).expect_err("gone");
        assert_eq!(again.errno(), Errno::ENODEV);
    }
}

#[test]
fn rst_16_the_embedders_procedures_come_first_and_may_pass() {
    use machine::procedures::Scripted;
    let run = |answer: Result<Duration, Errno>| {
        let rig = alone(flr(), Script::default());
        let Rig { resets, .. } = rig;
        Rig { resets: resets.with_procedures(Scripted::new(answer)), ..rig }
    };
    let mut rig = run(Ok(ms(7)));
    assert_eq!(method(&mut rig), Some(Method::DeviceSpecific));
    assert_eq!(rig.now_ms(), 7);
    drop(rig);
    assert_eq!(method(&mut run(Err(Errno::ENOTTY))), Some(Method::Flr), "RST-02");
    let error = run(Err(Errno::EIO)).reset(EP).expect_err("a failure");
    assert_eq!(error.errno(), Errno::EIO);
}

#[test]
fn rst_16_a_known_device_gets_the_time_it_needs() {
    let quirks = |_, _| Quirks {
        special_flr: Some(reset::SpecialFlr { extra: Duration::from_millis(250) }),
        ..Quirks::default()
    };
    let mut rig = Plan::new().quirks(quirks).endpoint(EP, flr(), Script::default()).build();
    assert_eq!(method(&mut rig), Some(Method::DeviceSpecific));
    assert_eq!(rig.now_ms(), 350);
}

#[test]
fn rst_17_the_mask_of_a_cxl_port_is_lifted_for_the_time_of_the_reset() {
    for (outcome, script) in [(true, Script::default()), (false, Script { bus: NEVER, ..Script::default() })]
    {
        let cxl = port().extended_capability(ExtendedCapability::CxlPort);
        let mut rig = with_port(cxl, Script::default(), endpoint(), script);
        let control = rig.config(PORT).find_extended(0x23).expect("CXL") + cxl_port::CONTROL;
        let probed = rig.resets.probe(&mut rig.token, &rig.snapshot, bdf(EP), soon()).expect("probed");
        assert_eq!(probed[5], (Method::Bus, Err(Lack::Masked)), "RST-09");
        let done = rig.reset(EP);
        assert_eq!(done.is_ok(), outcome);
        if let Ok(done) = done {
            assert_eq!(done.method, Some(Method::CxlBus));
        }
        assert_eq!(rig.writes(PORT, control), [1, 0], "set, and restored on every exit");
    }
}

#[test]
fn rst_17_a_port_that_lets_resets_through_is_reset_as_any_other() {
    let cxl = port().extended_capability(ExtendedCapability::CxlPort);
    let mut rig = with_port(cxl, Script::default(), endpoint(), Script::default());
    let control = rig.config(PORT).find_extended(0x23).expect("CXL") + cxl_port::CONTROL;
    let _ = rig.config(PORT).write(control, &[1, 0]);
    assert_eq!(method(&mut rig), Some(Method::Bus));
    assert!(rig.writes(PORT, control).is_empty());
}

#[test]
fn rst_18_everything_that_software_sets_survives() {
    let config = flr()
        .capability(Pm::default())
        .capability(Msi::new(4))
        .aer()
        .extended_capability(ExtendedCapability::Ltr)
        .extended_capability(ExtendedCapability::L1Substates)
        .extended_capability(ExtendedCapability::Ptm)
        .extended_capability(ExtendedCapability::VirtualChannel)
        .extended_capability(ExtendedCapability::Pasid { width: 20 })
        .extended_capability(ExtendedCapability::Pri { capacity: 32 })
        .extended_capability(ExtendedCapability::Ats);
    let mut rig = alone(config, Script::default());
    fill(&rig);
    let before = rig.bytes(EP);
    let done = rig.reset(EP).expect("a reset");
    assert_eq!((done.method, done.not_restored), (Some(Method::Flr), 0));
    let after = rig.bytes(EP);
    let lost: Vec<usize> = (0..4096).filter(|at| before[*at] != after[*at]).collect();
    assert!(lost.is_empty(), "lost at {lost:x?}");
}

/// Writes ones to all registers beyond the header whose bits stay; the power state and what starts a reset are left
/// alone.
fn fill(rig: &Rig) {
    let config = rig.config(EP);
    let power = config.find_capability(0x01).expect("power management");
    let express = config.find_capability(0x10).expect("PCI Express");
    for at in (0x40..0x400).step_by(2) {
        if at == power + 4 || at == express + express::DEVICE_CONTROL {
            continue;
        }
        let _ = config.write(at, &[0xff, 0xff]);
    }
    let _ = config.write(express + express::DEVICE_CONTROL, &[0x1f, 0x59]);
}

#[test]
fn rst_19_capabilities_are_restored_in_linuxs_order() {
    let services = pci_spec::extended::acs::ISOLATION;
    let config = flr()
        .capability(Pm::default())
        .capability(Msi::new(4))
        .extended_capability(ExtendedCapability::Acs(services))
        .aer()
        .extended_capability(ExtendedCapability::Ptm)
        .extended_capability(ExtendedCapability::VirtualChannel)
        .extended_capability(ExtendedCapability::Ats)
        .extended_capability(ExtendedCapability::Pri { capacity: 32 })
        .extended_capability(ExtendedCapability::Pasid { width: 20 })
        .extended_capability(ExtendedCapability::L1Substates)
        .extended_capability(ExtendedCapability::Ltr);
    let mut rig = alone(config, Script::default());
    fill(&rig);
    rig.machine.written.lock().clear();
    assert_eq!(method(&mut rig), Some(Method::Flr));
    let space = rig.config(EP);
    let extended = |id| space.find_extended(id).expect("built in");
    let ids = [0x18, 0x1e, 0x1b, 0x13, 0x0f, 0x02, 0x1f, 0x01, 0x0d];
    let mut starts: Vec<(u16, u16)> = ids.into_iter().map(|id| (extended(id), id)).collect();
    starts.extend(
        [0x10, 0x05].map(|id| (space.find_capability(id).expect("built in"), u16::from(id) | 0xff00)),
    );
    starts.push((0, 0xffff));
    // Each write by the capability that it lies in, runs of one counted once; the first two begin the reset.
    let owner = |register: u16| starts.iter().filter(|(at, _)| *at <= register).max().expect("the header").1;
    let mut order: Vec<u16> =
        rig.machine.written.lock()[2..].iter().map(|write| owner(write.register)).collect();
    order.dedup();
    // LTR, L1SS, PCIe, PASID, PRI, ATS, VC, PTM, AER, header, MSI, ACS. AER is sticky, and so only cleared, if at all.
    let expected = [0x18, 0x1e, 0xff10, 0x1b, 0x13, 0x0f, 0x02, 0x1f, 0xffff, 0xff05, 0x0d];
    assert_eq!(order, expected, "{order:x?}");
}

#[test]
fn rst_19_errors_of_the_time_before_are_forgotten_and_masks_restored() {
    let mut rig = alone(flr().aer(), Script::default());
    let base = rig.config(EP).find_extended(1).expect("AER");
    let _ = rig.config(EP).write(base + aer::UNCORRECTABLE_MASK, &[0x10, 0x50, 0, 0]);
    rig.config(EP).record_uncorrectable(aer::Uncorrectable::COMPLETION_TIMEOUT, [1, 2, 3, 4]);
    let at = usize::from(base);
    assert_ne!(rig.bytes(EP)[at + 4..at + 8], [0; 4]);
    let before = rig.bytes(EP)[at + 8..at + 12].to_vec();
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert_eq!(rig.bytes(EP)[at + 4..at + 8], [0; 4]);
    assert_eq!(rig.bytes(EP)[at + 8..at + 12], before);
}

#[test]
fn rst_19_a_bar_is_written_up_to_eleven_times_a_millisecond_apart() {
    let mut rig = alone(flr(), Script { deaf_bars: 4, ..Script::default() });
    let before = rig.bytes(EP);
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert_eq!(rig.bytes(EP), before);
    assert_eq!(rig.now_ms(), 100 + 4);
    drop(rig);
    let mut rig = alone(flr(), Script { deaf_bars: 1000, ..Script::default() });
    let done = rig.reset(EP).expect("a reset");
    assert_eq!(done.not_restored, 2, "both BARs are reported, not hidden");
    assert_eq!(rig.writes(EP, config::BAR0).len(), 11);
    assert!(rig.told().iter().any(|line| line.contains("register 0x010")), "{:?}", rig.told());
}

#[test]
fn rst_19_only_registers_that_changed_are_written() {
    let mut rig = alone(flr(), Script::default());
    assert_eq!(method(&mut rig), Some(Method::Flr));
    let written: Vec<u16> = rig.machine.written.lock().iter().map(|write| write.register).collect();
    let base = rig.config(EP).find_capability(0x10).expect("PCI Express");
    // COMMAND off, the reset, then upwards: interrupt line, BARs from the top, COMMAND.
    let expected = [config::COMMAND, base + 8, config::INTERRUPT_LINE, 0x18, config::BAR0, config::COMMAND];
    assert_eq!(written, expected);
}

#[test]
fn rst_03_a_function_without_enabled_methods_is_not_reset() {
    let mut rig = alone(flr(), Script::default());
    let written = rig.resets.set_methods(&mut rig.token, &rig.snapshot, bdf(EP), "", soon());
    assert!(written.expect("known").is_ok());
    assert_eq!(rig.reset(EP).expect_err("disabled").errno(), Errno::ENOTTY);
    let refused = rig.resets.set_methods(&mut rig.token, &rig.snapshot, bdf(EP), "pm", soon());
    assert_eq!(refused.expect("known"), Err(ListError::Unsupported(Method::Pm)));
    let written = rig.resets.set_methods(&mut rig.token, &rig.snapshot, bdf(EP), "default", soon());
    assert!(written.expect("known").is_ok());
    let list = rig.resets.methods(&mut rig.token, &rig.snapshot, bdf(EP), soon()).expect("known");
    assert_eq!(list.to_string(), "flr");
}

#[test]
fn rst_04_only_one_asks_for_a_reset() {
    assert!(reset::check_request("1\n").is_ok());
    for text in ["", "0", "2", "11", "yes", "1 1"] {
        assert_eq!(reset::check_request(text).expect_err("no request").errno(), Errno::EINVAL, "{text:?}");
    }
}

#[test]
fn a_frozen_function_is_reset_and_thawed() {
    let mut rig = alone(flr(), Script::default());
    assert!(rig.function(EP).freeze("an error"));
    assert_eq!(method(&mut rig), Some(Method::Flr));
    assert!(rig.is_open(EP));
}

#[test]
fn a_frozen_function_stays_frozen_if_its_reset_fails() {
    let mut rig = alone(flr(), Script { flr: NEVER, ..Script::default() });
    assert!(rig.function(EP).freeze("an error"));
    assert!(rig.reset(EP).is_err());
    assert_eq!(rig.function(EP).gate().status().state, GateState::Frozen);
}

#[test]
fn a_function_that_hangs_is_reset_by_its_bus_and_gets_its_old_facts() {
    let mut rig = below_port(flr(), Script::default());
    let probed = rig.resets.probe(&mut rig.token, &rig.snapshot, bdf(EP), soon());
    assert!(probed.is_ok());
    rig.machine.hang(EP);
    assert_eq!(method(&mut rig), Some(Method::Bus));
    assert!(rig.is_open(EP));
    let _ = AT_ONCE;
}

#[test]
fn an_unknown_address_is_no_function() {
    let mut rig = alone(flr(), Script::default());
    assert_eq!(rig.reset("0000:09:00.0").expect_err("nobody").errno(), Errno::ENODEV);
}

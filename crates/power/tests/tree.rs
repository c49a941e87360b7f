//! Power of bridges and what is below them, in a topology with a switch.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use gate::{AccessKind, GateState, Reason, Refusal, ThreadToken};
use pci_core::{AccessError, Command, Errno, Pm};
use pci_spec::Bdf;
use pci_spec::capability::express::PortType;
use power::{Emulated, Platform, Power, PowerError, Quirks, State};
use std::sync::Arc;
use std::time::Duration;
use support::{Board, Clock, Journal, World, at, patient, wait_until};

fn root() -> Bdf {
    at(0, 1, 0)
}

fn endpoint() -> Bdf {
    at(3, 0, 0)
}

/// What the platform was asked for, told to the journal.
struct Told {
    journal: Journal,
    platform: Emulated,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Platform for Told {
    fn manages(&self, at: Bdf) -> bool {
        self.platform.manages(at)
    }
    fn is_powered(&self, at: Bdf) -> bool {
        self.platform.is_powered(at)
    }
    fn set_state(&self, at: Bdf, state: State) -> Result<(), Errno> {
        let method = power::method(state).unwrap_or("nothing");
        self.journal.write(format!("{at}: {method} for {state}"));
        self.platform.set_state(at, state)
    }
}

fn platform(world: &World, managed: &[Bdf]) -> Power {
    let platform = Emulated::managing(managed.iter().copied());
    world.power().on(Arc::new(Told { journal: world.journal.clone(), platform }))
}

fn below() -> [Bdf; 5] {
    [at(1, 0, 0), at(2, 0, 0), at(2, 1, 0), at(3, 0, 0), at(4, 0, 0)]
}

#[test]
fn pwr_07_a_bridge_in_d3cold_takes_everything_below_along() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    world.set_up(token, endpoint());
    let power = platform(&world, &[root()]);
    let reached = power.set_state(&world.snapshot, root(), State::D3Cold, token, patient());
    assert_eq!(reached.unwrap(), State::D3Cold);
    for function in below() {
        assert_eq!(world.state(function), State::D3Cold, "{function}");
        let mut data = [0; 4];
        world.function(function).read_config(token, 0, &mut data, patient()).unwrap();
        assert_eq!(data, [0xff; 4], "{function}");
        assert_eq!(world.function(function).gate().status().state, GateState::Open);
    }
    assert_eq!((world.state(at(0, 2, 0)), world.state(at(5, 0, 0))), (State::D0, State::D0), "not its own");
    assert_eq!(world.clock.micros(), 10_000, "one delay: the bridge's way to D3hot");
}

#[test]
fn a_subtree_comes_back_parents_first_with_its_headers_restored() {
    // PWR-05, PWR-07, PWR-08
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    world.set_up(token, endpoint());
    let power = platform(&world, &[root()]);
    power.set_state(&world.snapshot, root(), State::D3Cold, token, patient()).unwrap();
    let before = world.clock.micros();
    world.journal.take();
    // A function deep below is asked for: the bridge above wakes first, and with it all the others.
    assert_eq!(power.set_state(&world.snapshot, endpoint(), State::D0, token, patient()).unwrap(), State::D0);
    let cold = |at: Bdf| format!("{at}: D3cold to D0");
    let expected = [
        format!("{}: _PS0 for D0", root()),
        cold(at(1, 0, 0)),
        cold(at(2, 0, 0)),
        cold(at(2, 1, 0)),
        cold(at(3, 0, 0)),
        cold(at(4, 0, 0)),
    ];
    let journal: Vec<_> = world.journal.take().into_iter().filter(|line| *line != cold(root())).collect();
    assert_eq!(journal, expected);
    let f = world.function(endpoint()).config();
    assert_eq!(
        (f.bar_address(pci_core::BarIndex::new(0).unwrap()), f.command()),
        (Some(0xfeb0_0000), Command::MEMORY_SPACE | Command::BUS_MASTER)
    );
    let numbers = world.function(at(1, 0, 0)).config().bus_numbers().unwrap();
    assert_eq!((numbers.secondary, numbers.subordinate), (2, 4));
    // 100 ms for the bridge itself, and 20 + 100 ms for each of the three links.
    assert_eq!(world.clock.micros() - before, (100 + 3 * 120) * 1000);
}

#[test]
fn pwr_07_nobody_below_gets_in_while_the_power_of_the_bridge_comes_or_goes() {
    // CFG-I10 for the whole subtree, and for what firmware does.
    for to in [State::D3Cold, State::D0] {
        let world = World::switch();
        let token = &mut ThreadToken::at_thread_entry();
        world.set_up(token, endpoint());
        let power = platform(&world, &[root()]);
        if to == State::D0 {
            power.set_state(&world.snapshot, root(), State::D3Cold, token, patient()).unwrap();
        }
        std::thread::scope(|scope| {
            let still = world.clock.stand_still();
            let changer = scope.spawn(|| {
                let token = &mut ThreadToken::at_thread_entry();
                power.set_state(&world.snapshot, root(), to, token, patient())
            });
            wait_until("the delay begins", || world.clock.is_delaying());
            for function in below() {
                let gate = world.function(function).gate().status();
                assert_eq!(gate.state, GateState::Blocked(Reason::PowerChange), "{function}");
                let refused = world.function(function).handle().try_enter(token, AccessKind::Config);
                assert!(matches!(refused, Err(Refusal::Blocked(Reason::PowerChange))));
            }
            let mut data = [0; 4];
            world.function(at(5, 0, 0)).read_config(token, 0, &mut data, patient()).unwrap();
            assert_eq!(data, [0x36, 0x1b, 0x10, 0x00], "another subtree is not blocked");
            let reader = scope.spawn(|| {
                let token = &mut ThreadToken::at_thread_entry();
                let mut data = [0; 4];
                world.function(endpoint()).read_config(token, 0, &mut data, patient()).map(|()| data)
            });
            let gate = world.function(endpoint()).gate();
            wait_until("the reader waits", || gate.status().waiting_accesses == 1);
            assert!(!reader.is_finished() && !changer.is_finished());
            drop(still);
            assert_eq!(changer.join().unwrap().unwrap(), to);
            let expected = if to == State::D0 { [0x36, 0x1b, 0x10, 0x00] } else { [0xff; 4] };
            assert_eq!(reader.join().unwrap().unwrap(), expected);
        });
    }
}

#[test]
fn an_access_in_flight_below_keeps_the_power_of_the_bridge_on() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let power = platform(&world, &[root()]);
    let handle = world.function(endpoint()).handle().clone();
    let flight = handle.enter_long(token, AccessKind::Dma, "a command", patient()).unwrap();
    let error = power.try_set_state(&world.snapshot, root(), State::D3Cold, token).unwrap_err();
    assert_eq!(error.errno(), Errno::EAGAIN, "{error}");
    assert!(world.states().iter().all(|(_, state)| *state == State::D0), "all or nothing");
    assert_eq!(world.journal.take(), Vec::<String>::new());
    assert!(below().iter().all(|at| world.function(*at).gate().status().state == GateState::Open));
    drop(flight);
    power.try_set_state(&world.snapshot, root(), State::D3Cold, token).unwrap();
}

#[test]
fn a_function_removed_meanwhile_drops_out_and_the_others_go_on() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let power = platform(&world, &[root()]);
    std::thread::scope(|scope| {
        let still = world.clock.stand_still();
        let changer = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            power.set_state(&world.snapshot, root(), State::D3Cold, token, patient())
        });
        wait_until("the delay begins", || world.clock.is_delaying());
        assert!(world.function(endpoint()).gate().retire(token, patient()).orphans.is_empty());
        assert!(!changer.is_finished(), "the bridge is still there");
        drop(still);
        assert_eq!(changer.join().unwrap().unwrap(), State::D3Cold);
    });
    assert_eq!(world.state(at(4, 0, 0)), State::D3Cold);
    std::thread::scope(|scope| {
        let still = world.clock.stand_still();
        let changer = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            power.set_state(&world.snapshot, at(0, 2, 0), State::D3Hot, token, patient())
        });
        wait_until("the delay begins", || world.clock.is_delaying());
        let _ = world.function(at(0, 2, 0)).gate().retire(token, patient());
        assert!(matches!(changer.join().unwrap(), Err(PowerError::Gone)), "law 4: it was the bridge itself");
        drop(still);
    });
}

#[test]
fn a_slot_whose_own_power_is_off_stays_dark_when_the_bridge_above_wakes() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let power = platform(&world, &[root(), at(2, 1, 0)]);
    power.set_state(&world.snapshot, at(2, 1, 0), State::D3Cold, token, patient()).unwrap();
    power.set_state(&world.snapshot, root(), State::D3Cold, token, patient()).unwrap();
    power.set_state(&world.snapshot, root(), State::D0, token, patient()).unwrap();
    assert_eq!(world.state(endpoint()), State::D0);
    assert_eq!((world.state(at(2, 1, 0)), world.state(at(4, 0, 0))), (State::D3Cold, State::D3Cold));
    power.set_state(&world.snapshot, at(4, 0, 0), State::D0, token, patient()).unwrap();
    assert!(world.states().iter().all(|(_, state)| *state == State::D0));
}

#[test]
fn pwr_08_a_silent_function_below_a_woken_bridge_is_cut_off() {
    let world = Board::new().bridge(root(), PortType::RootPort, 1, 1).silent(at(1, 0, 0)).build();
    let token = &mut ThreadToken::at_thread_entry();
    let power = platform(&world, &[root()]);
    power.set_state(&world.snapshot, root(), State::D3Cold, token, patient()).unwrap();
    world.journal.take();
    assert_eq!(power.set_state(&world.snapshot, root(), State::D0, token, patient()).unwrap(), State::D0);
    assert_eq!(world.function(at(1, 0, 0)).gate().status().state, GateState::Gone);
    assert_eq!(world.function(root()).gate().status().state, GateState::Open, "the bridge itself is well");
    let journal = world.journal.take();
    let line = format!("{}: not ready 65535 ms after resume; giving up", at(1, 0, 0));
    assert!(journal.contains(&line), "PWR-09a: {journal:?}");
    let disconnected = power::State::Unknown;
    assert_eq!(world.state(at(1, 0, 0)), disconnected);
    let error = power.set_state(&world.snapshot, at(1, 0, 0), State::D0, token, patient()).unwrap_err();
    assert_eq!(error.errno(), Errno::ENODEV);
}

#[test]
fn cfg_15_an_operators_access_wakes_what_is_above_and_leaves_a_sleeper_asleep() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let power = platform(&world, &[root()]);
    power.set_state(&world.snapshot, at(5, 0, 0), State::D3Hot, token, patient()).unwrap();
    power.set_state(&world.snapshot, at(0, 2, 0), State::D3Hot, token, patient()).unwrap();
    power.wake_for_config(&world.snapshot, at(5, 0, 0), token, patient()).unwrap();
    assert_eq!((world.state(at(0, 2, 0)), world.state(at(5, 0, 0))), (State::D0, State::D3Hot));
    power.set_state(&world.snapshot, root(), State::D3Cold, token, patient()).unwrap();
    power.wake_for_config(&world.snapshot, endpoint(), token, patient()).unwrap();
    assert_eq!((world.state(root()), world.state(endpoint())), (State::D0, State::D0));
    let mut data = [0; 2];
    world.function(endpoint()).read_config(token, 0, &mut data, patient()).unwrap();
    assert_eq!(data, [0x36, 0x1b]);
    assert!(matches!(
        power.wake_for_config(&world.snapshot, at(9, 0, 0), token, patient()),
        Err(PowerError::NoFunction)
    ));
}

#[test]
fn vf_48_a_physical_function_with_virtual_functions_goes_to_no_d3() {
    let (bridge, physical) = (at(0, 1, 0), at(1, 0, 0));
    let world = Board::new()
        .bridge(bridge, PortType::RootPort, 1, 1)
        .physical(physical, Pm { d1: true, ..Pm::default() })
        .virtual_function(at(1, 0, 1), physical)
        .build();
    let token = &mut ThreadToken::at_thread_entry();
    let power = platform(&world, &[bridge]);
    for (function, to) in [(physical, State::D3Hot), (physical, State::D3Cold), (bridge, State::D3Cold)] {
        let error = power.set_state(&world.snapshot, function, to, token, patient()).unwrap_err();
        assert_eq!(error.errno(), Errno::EBUSY, "{function} {to}");
        assert!(matches!(error, PowerError::HasVirtualFunctions(1)));
    }
    assert_eq!(power.set_state(&world.snapshot, physical, State::D1, token, patient()).unwrap(), State::D1);
    assert!(world.journal.take().iter().all(|line| line.contains("D1")));
}

#[test]
fn pwr_02_a_bridge_that_breaks_d1_keeps_everything_below_from_it() {
    let world = Board::new()
        .bridge(at(0, 1, 0), PortType::RootPort, 1, 1)
        .endpoint(at(1, 0, 0), Pm { d1: true, ..Pm::default() })
        .build();
    let token = &mut ThreadToken::at_thread_entry();
    let broken = |function: Bdf| Quirks { no_d1_d2: function == at(0, 1, 0), no_d3: false };
    let power = world.power().with_quirks(broken);
    assert_eq!(
        power.set_state(&world.snapshot, at(1, 0, 0), State::D1, token, patient()).unwrap(),
        State::D0
    );
    let power = world.power();
    assert_eq!(
        power.set_state(&world.snapshot, at(1, 0, 0), State::D1, token, patient()).unwrap(),
        State::D1
    );
}

#[test]
fn vf_17_memory_fails_in_d3_and_works_again_in_d0() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    world.set_up(token, endpoint());
    let power = world.power();
    let bar = pci_core::BarIndex::new(0).unwrap();
    let read =
        |token: &mut ThreadToken| world.function(endpoint()).read_bar(token, bar, 0, &mut [0; 4], patient());
    assert!(read(token).is_ok());
    power.set_state(&world.snapshot, endpoint(), State::D3Hot, token, patient()).unwrap();
    assert!(matches!(read(token), Err(AccessError::MemoryDisabled(_))));
    power.set_state(&world.snapshot, endpoint(), State::D0, token, patient()).unwrap();
    assert!(read(token).is_ok(), "PWR-05: BARs and COMMAND are back");
}

#[test]
fn pwr_02_d3cold_without_a_platform_ends_in_d3hot() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let power = world.power();
    let reached = power.set_state(&world.snapshot, endpoint(), State::D3Cold, token, patient()).unwrap();
    assert_eq!((reached, world.state(endpoint())), (State::D3Hot, State::D3Hot));
    let error = power.set_state(&world.snapshot, endpoint(), State::D2, token, patient()).unwrap_err();
    assert_eq!(error.errno(), Errno::EINVAL);
}

#[test]
fn firmware_alone_moves_a_function_without_power_management_under_the_closed_gate() {
    // PWR-02, CFG-I10, VF-17
    let function = at(0, 3, 0);
    let world = Board::new().unmanaged(function).build();
    let token = &mut ThreadToken::at_thread_entry();
    world.set_up(token, function);
    let error = world.power().set_state(&world.snapshot, function, State::D3Hot, token, patient());
    assert_eq!(error.unwrap_err().errno(), Errno::EIO);
    let power = platform(&world, &[function]);
    std::thread::scope(|scope| {
        let still = world.clock.stand_still();
        let changer = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            power.set_state(&world.snapshot, function, State::D3Hot, token, patient())
        });
        wait_until("the delay begins", || world.clock.is_delaying());
        let state = world.function(function).gate().status().state;
        assert_eq!(state, GateState::Blocked(Reason::PowerChange));
        drop(still);
        assert_eq!(changer.join().unwrap().unwrap(), State::D3Hot);
    });
    assert_eq!(world.state(function), State::D3Hot);
    let bar = pci_core::BarIndex::new(0).unwrap();
    let read = world.function(function).read_bar(token, bar, 0, &mut [0; 4], patient());
    assert!(matches!(read, Err(AccessError::MemoryDisabled(_))), "{read:?}");
    power.set_state(&world.snapshot, function, State::D0, token, patient()).unwrap();
    world.function(function).read_bar(token, bar, 0, &mut [0; 4], patient()).unwrap();
    let at = function;
    assert_eq!(
        world.journal.take(),
        [
            format!("{at}: _PS3 for D3hot"),
            format!("{at}: D0 to D3hot"),
            format!("{at}: _PS0 for D0"),
            format!("{at}: D3hot to D0")
        ]
    );
}

#[test]
fn the_real_clock_takes_the_real_time() {
    let mut board = Board::new();
    let world = board.endpoint(at(0, 3, 0), Pm::default()).build();
    let token = &mut ThreadToken::at_thread_entry();
    let power = Power::new(Arc::new(pci_core::RealTime::default()));
    let begun = std::time::Instant::now();
    power.set_state(&world.snapshot, at(0, 3, 0), State::D3Hot, token, patient()).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(10), "PWR-04");
    let _: &Clock = &world.clock;
}

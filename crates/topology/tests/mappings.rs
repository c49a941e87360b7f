//! Mapped memory of functions that a scan sizes, and of virtual functions.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

#[path = "../../pci-core/tests/mapped/mod.rs"]
mod mapped;
mod support;

use gate::{AccessKind, Gone, Reason, ThreadToken};
use mapped::{Consumer, Lines, Meets};
use pci_core::{BarKind, ResetKind, SrIov, StaysClosed, Time, VirtualTime};
use pci_spec::capability::express::PortType;
use pci_spec::{config, extended};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;
use support::*;
use topology::Topology;
use topology::enumerate::Problem;
use topology::fabric::PlugId;

#[test]
fn vf_20_a_scan_that_sizes_a_function_in_use_takes_its_page_away_and_leaves_no_failure_behind() {
    let mut machine = Machine::new();
    let used = function("used", &endpoint().bar(bar(0), BarKind::Memory64, 4096));
    machine.root(0, &used);
    let lines = Lines::default();
    let consumer = Consumer::of(&used, 0, &lines);
    used.write_config(&mut machine.token, config::COMMAND, &[0x02], soon()).unwrap();
    assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
    lines.take();
    assert_eq!(machine.rescan().problems, []);
    assert_eq!(lines.take(), ["zap"]);
    assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
    assert_eq!(machine.rescan().problems, []);
    assert_eq!(lines.take(), [""; 0], "it is known by now, and not sized again");
}

#[test]
fn a_scan_names_a_function_whose_pages_it_could_not_take_away() {
    let mut machine = Machine::new();
    let used = function("used", &endpoint().bar(bar(0), BarKind::Memory64, 4096));
    machine.root(0, &used);
    let consumer = Consumer::of(&used, 0, &Lines::default());
    used.write_config(&mut machine.token, config::COMMAND, &[0x02], soon()).unwrap();
    assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
    let (used_by, (inside, entered), (leave, left)) = (used.clone(), mpsc::channel(), mpsc::channel::<()>());
    std::thread::scope(|scope| {
        // Moved in, so that a check that fails lets go of the thread.
        let leave = leave;
        scope.spawn(move || {
            let token = gate::ThreadToken::at_thread_entry();
            let _pass = used_by.handle().try_enter(&token, AccessKind::Bar).unwrap();
            inside.send(()).unwrap();
            let _left = left.recv();
        });
        entered.recv().unwrap();
        let deadline = gate::Deadline::after(std::time::Duration::from_millis(1));
        let scanned = Topology::rescan(&machine.topology, &mut machine.token, 0, deadline).unwrap();
        assert_eq!(scanned.problems, [Problem::StillMapped(at("00:00.0"))]);
        assert_eq!(consumer.script.look(), Meets::Device);
        drop(leave);
    });
    used.write_config(&mut machine.token, config::INTERRUPT_LINE, &[1], soon()).unwrap();
    assert_eq!(consumer.script.look(), Meets::Waits, "with the next write");
}

#[test]
fn the_page_of_a_virtual_function_lives_as_long_as_that_and_over_resets_of_the_physical_one() {
    // VF-18, RST-19
    let mut machine = Machine::new();
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    let vfs = SrIov::new(2, 0x1234).bar(bar(0), BarKind::Memory64, 4096);
    let physical = function("pf", &endpoint().extended_capability(sr_iov(vfs)));
    machine.below(slot, 0, &physical);
    assert_eq!(machine.rescan().problems, []);
    let pf = at("01:00.0");
    let added = machine.topology.set_num_vfs(&mut machine.token, pf, 1, soon()).unwrap().added;
    let function = &added[0].function;
    function.write_config(&mut machine.token, config::COMMAND, &[0x02], soon()).unwrap();
    let consumer = Consumer::of(function, 0, &Lines::default());
    assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
    for kind in [ResetKind::DeviceReset, ResetKind::PowerCycle] {
        physical.reset(&mut machine.token, kind, soon()).unwrap();
        assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
        assert!(function.config().decodes(bar(0)), "nor did it lose its memory enable");
    }
    machine.topology.set_num_vfs(&mut machine.token, pf, 0, soon()).unwrap();
    assert_eq!(consumer.touch(&mut machine.token), Meets::AllOnes);
}

#[test]
fn law_5_the_page_of_a_virtual_function_goes_with_its_physical_one_however_that_is_removed() {
    let removals: [fn(&mut Machine, PlugId); 3] = [
        |machine, plugged| {
            machine.fabric.unplug(plugged);
            machine.rescan();
        },
        |machine, _| drop(machine.topology.remove(&mut machine.token, at("01:00.0"), soon()).unwrap()),
        |machine, _| drop(machine.topology.remove_segment(&mut machine.token, 0, soon()).unwrap()),
    ];
    for remove in removals {
        let mut machine = Machine::new();
        let slot = machine.root(0, &port("root port", PortType::RootPort));
        let vfs = SrIov::new(1, 0x1234).bar(bar(0), BarKind::Memory64, 4096);
        let physical = function("pf", &endpoint().extended_capability(sr_iov(vfs)));
        let plugged = machine.below(slot, 0, &physical);
        assert_eq!(machine.rescan().problems, []);
        let set = machine.topology.set_num_vfs(&mut machine.token, at("01:00.0"), 1, soon()).unwrap();
        let function = &set.added[0].function;
        function.write_config(&mut machine.token, config::COMMAND, &[0x02], soon()).unwrap();
        let consumer = Consumer::of(function, 0, &Lines::default());
        assert_eq!(consumer.touch(&mut machine.token), Meets::Device);
        remove(&mut machine, plugged);
        assert_eq!(consumer.script.look(), Meets::AllOnes);
    }
}

/// Looks at a page while time passes.
#[derive(Debug, Default)]
struct Looks {
    time: VirtualTime,
    page: OnceLock<Arc<mapped::Script>>,
}

impl Time for Looks {
    fn now(&self) -> Duration {
        self.time.now()
    }

    fn pass(&self, token: &mut ThreadToken, closed: &dyn StaysClosed, time: Duration) -> Result<(), Gone> {
        if let Some(page) = self.page.get() {
            assert_eq!(page.touch(token), Meets::AllOnes, "its successors are switched on");
        }
        self.time.pass(token, closed, time)
    }
}

#[test]
fn a_virtual_function_that_a_reset_has_switched_off_does_not_come_back_with_its_successors() {
    // VF-18, law 5: their memory enable is one.
    let looks = Arc::new(Looks::default());
    let mut machine = Machine::on(looks.clone());
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    let vfs = SrIov::new(2, 0x1234).bar(bar(0), BarKind::Memory64, 4096);
    let physical = function("pf", &endpoint().extended_capability(sr_iov(vfs)));
    machine.below(slot, 0, &physical);
    assert_eq!(machine.rescan().problems, []);
    let pf = at("01:00.0");
    let old = machine
        .topology
        .set_num_vfs(&mut machine.token, pf, 1, soon())
        .unwrap()
        .added
        .remove(0)
        .function
        .clone();
    old.write_config(&mut machine.token, config::COMMAND, &[0x02], soon()).unwrap();
    let consumer = Consumer::of(&old, 0, &Lines::default());
    let quiesced = physical.gate().close(&mut machine.token, Reason::Reset, soon()).unwrap();
    let addresses = physical.config().sr_iov_layout().unwrap().at + extended::sr_iov::VF_BAR0;
    let mut saved = [0; 24];
    physical.config().read(addresses, &mut saved);
    physical.reset_quiesced(&quiesced, ResetKind::FunctionLevel);
    let _ = physical.config().write(addresses, &saved);
    drop(quiesced);
    assert!(looks.page.set(consumer.script.clone()).is_ok());
    let new = machine.topology.set_num_vfs(&mut machine.token, pf, 2, soon()).unwrap().added;
    assert_eq!(new.len(), 2);
    assert_eq!(consumer.touch(&mut machine.token), Meets::AllOnes);
}

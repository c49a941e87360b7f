//! A controller whose commands are executed elsewhere, with its worker: data of several namespaces, a back end that dies at
//! any moment and comes back, and everything that a guest does meanwhile.

mod back_end;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gate::{Deadline, Reason, ThreadToken};
use models::nvme::host::{DoorbellChoice, Driver, Options};
use models::nvme::{Config, DoorbellStyle, InterruptStyle};
use nvme_spec::identify::{Controller, NamespaceList};
use nvme_spec::register::{CC, ShutdownStatus};
use nvme_spec::{AdminOpcode, NvmOpcode};
use pci_core::ResetKind;
use vfio_user::client::{Client, ClientOptions};
use vfio_user::server::{Server, ServerOptions, Stop};
use zerocopy::FromBytes;

use crate::guest::{ENABLED, Guest, Pair, admin, assert_ok, io, pattern};
use back_end::{BackEnd, NAMESPACES};

fn front(doorbells: DoorbellStyle) -> (Arc<BackEnd>, Guest) {
    let config = Config { doorbells, ..Config::default() };
    let (back, assignment) = BackEnd::with_front(&config);
    let mut guest = Guest::of(assignment, &config);
    guest.enable();
    (back, guest)
}

fn identify(guest: &mut Guest, cns: u32) -> Vec<u8> {
    let page = guest.pages(1);
    let mut command = admin(AdminOpcode::Identify);
    (command.cdw10, command.prp1) = (cns.into(), page.into());
    assert_ok(&guest.run_admin(command));
    guest.load(page, 4096)
}

/// Writes and reads back a page on each namespace.
fn use_namespaces(guest: &mut Guest, pair: &mut Pair, seed: u8) {
    let buffer = guest.pages(1);
    for nsid in 1..=NAMESPACES {
        guest.store(buffer, &pattern(4096, seed ^ nsid as u8));
        let mut write = io(NvmOpcode::Write, 8, 8, buffer);
        write.nsid = nsid.into();
        assert_ok(&guest.run(pair, write));
    }
    for nsid in 1..=NAMESPACES {
        let mut read = io(NvmOpcode::Read, 8, 8, buffer);
        read.nsid = nsid.into();
        assert_ok(&guest.run(pair, read));
        assert!(guest.load(buffer, 4096) == pattern(4096, seed ^ nsid as u8), "namespace {nsid}");
    }
}

/// Waits until the back end has this many commands.
#[track_caller]
fn wait_for_commands(guest: &mut Guest, back: &BackEnd, count: usize) {
    guest.wait("commands at the back end", |_| back.holds() == count);
}

#[test]
fn a_guest_sees_the_namespaces_of_the_back_end_and_their_data() {
    for doorbells in [DoorbellStyle::Mapped, DoorbellStyle::Trapped] {
        let (_back, mut guest) = front(doorbells);
        let controller = Controller::read_from_bytes(&identify(&mut guest, 1)).unwrap();
        assert_eq!((&controller.sn[..6], controller.nn.get(), controller.mdts), (&b"BACK-1"[..], 3, 1));
        let list = NamespaceList::read_from_bytes(&identify(&mut guest, 2)).unwrap();
        assert_eq!(list.nsid[..4].iter().map(|nsid| nsid.get()).collect::<Vec<_>>(), [1, 2, 3, 0]);
        let mut pair = guest.make_pair(1, 32, 0);
        use_namespaces(&mut guest, &mut pair, 0x55);
    }
}

#[test]
fn commands_wait_for_a_back_end_that_died_and_the_guest_sees_a_pause() {
    let (back, mut guest) = front(DoorbellStyle::Trapped);
    let mut pair = guest.make_pair(1, 32, 0);
    for round in 0..20 {
        back.die();
        let buffer = guest.pages(1);
        guest.store(buffer, &pattern(4096, round));
        let cid = guest.submit(&mut pair, io(NvmOpcode::Write, 16, 8, buffer));
        wait_for_commands(&mut guest, &back, 1);
        // Registers, and the commands of the front, are as alive as ever.
        assert!(guest.status().rdy() && guest.peek(&pair).is_none());
        identify(&mut guest, 1);
        back.come_back();
        let answer = guest.complete(&mut pair);
        assert_ok(&answer);
        assert_eq!(answer.cid.get(), cid);
        assert!(guest.peek(&pair).is_none());
    }
    use_namespaces(&mut guest, &mut pair, 1);
    guest.wait("a worker that rests", |_| !back.is_readable());
}

#[test]
fn a_guest_that_resets_its_controller_gets_it_back_with_the_back_end() {
    let (back, mut guest) = front(DoorbellStyle::Mapped);
    let mut pair = guest.make_pair(1, 32, 0);
    back.die();
    let buffer = guest.pages(1);
    guest.submit(&mut pair, io(NvmOpcode::Write, 0, 8, buffer));
    wait_for_commands(&mut guest, &back, 1);
    guest.write32(CC, ENABLED & !1);
    assert!(guest.status().rdy(), "the command may still be executed");
    back.come_back();
    guest.wait("the end of the reset", |guest| !guest.status().rdy());
    assert!(guest.peek(&pair).is_none(), "answered in another life");
    guest.enable();
    let mut pair = guest.make_pair(1, 32, 0);
    use_namespaces(&mut guest, &mut pair, 2);
    assert_eq!(back.inner().abandoned, 1);
}

#[test]
fn a_function_level_reset_and_a_reboot_need_no_back_end_and_the_next_driver_waits_for_it() {
    let (back, mut guest) = front(DoorbellStyle::Trapped);
    let mut pair = guest.make_pair(1, 32, 0);
    back.die();
    let buffer = guest.pages(1);
    guest.submit(&mut pair, io(NvmOpcode::Write, 0, 8, buffer));
    wait_for_commands(&mut guest, &back, 1);
    let assignment = Arc::clone(&guest.assignment);
    assignment.reset(&mut guest.token).unwrap();
    assert_eq!(guest.status().0, 0);
    // The next one is attached, and enables at once.
    guest.detach();
    guest.attach();
    guest.map();
    guest.set_command(0x6);
    guest.write32(nvme_spec::register::AQA, 31 << 16 | 31);
    guest.write64(nvme_spec::register::ASQ, guest.admin.submission);
    guest.write64(nvme_spec::register::ACQ, guest.admin.completion);
    guest.write32(CC, ENABLED);
    assert!(!guest.status().rdy() && !guest.status().cfs());
    guest.write32(CC, ENABLED & !1);
    back.come_back();
    guest.enable();
    let mut pair = guest.make_pair(1, 32, 0);
    use_namespaces(&mut guest, &mut pair, 3);
}

#[test]
fn a_shutdown_flushes_the_back_end_once_it_is_there() {
    let (back, mut guest) = front(DoorbellStyle::Trapped);
    let mut pair = guest.make_pair(1, 32, 0);
    use_namespaces(&mut guest, &mut pair, 4);
    back.die();
    guest.write32(CC, ENABLED | 1 << 14);
    wait_for_commands(&mut guest, &back, 1);
    assert_eq!(guest.status().shst(), ShutdownStatus::Occurring.bits());
    back.come_back();
    guest.wait("the shutdown", |guest| guest.status().shst() == ShutdownStatus::Complete.bits());
    assert_eq!(back.inner().flushes, 1);
}

#[test]
fn a_recovery_of_the_function_leaves_commands_at_a_silent_back_end() {
    let (back, mut guest) = front(DoorbellStyle::Trapped);
    let mut pair = guest.make_pair(1, 32, 0);
    back.die();
    let buffer = guest.pages(1);
    guest.store(buffer, &pattern(4096, 9));
    for nth in 0..8 {
        guest.submit(&mut pair, io(NvmOpcode::Write, nth * 8, 8, buffer));
    }
    wait_for_commands(&mut guest, &back, 8);
    let function = Arc::clone(guest.assignment.function());
    let deadline = Deadline::after(Duration::from_secs(30));
    let quiesced = function.gate().close(&mut guest.token, Reason::Reset, deadline).unwrap();
    let state = function.save_device(&quiesced).unwrap();
    assert!(function.reset_quiesced(&quiesced, ResetKind::FunctionLevel));
    let _effects = function.config().write(4, &6_u16.to_le_bytes());
    function.restore_device(&quiesced, &state).unwrap();
    drop(quiesced);
    back.come_back();
    let mut seen: Vec<u16> =
        (0..8).map(|_| guest.complete(&mut pair)).map(|answer| answer.cid.get()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), guest.peek(&pair).is_some(), back.inner().abandoned), (8, false, 0));
    use_namespaces(&mut guest, &mut pair, 5);
}

#[test]
fn a_controller_that_is_dropped_abandons_what_is_elsewhere_and_waits_for_nobody() {
    let (back, mut guest) = front(DoorbellStyle::Trapped);
    let mut pair = guest.make_pair(1, 32, 0);
    back.die();
    let buffer = guest.pages(1);
    guest.submit(&mut pair, io(NvmOpcode::Write, 0, 8, buffer));
    wait_for_commands(&mut guest, &back, 1);
    drop(guest);
    assert!(back.inner().abandoned > 0);
}

/// A server for the front, until it is dropped.
struct Socket {
    stop: Stop,
    server: Option<JoinHandle<()>>,
    directory: tempfile::TempDir,
}

impl Socket {
    fn new(assignment: Arc<assign::Assignment>) -> Socket {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::bind(directory.path(), assignment, ServerOptions::default()).unwrap();
        let stop = Stop::new().unwrap();
        let switch = stop.clone();
        let server = std::thread::spawn(move || {
            server.run(&mut ThreadToken::at_thread_entry(), &switch).unwrap();
        });
        Socket { stop, server: Some(server), directory }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }
}

#[test]
fn a_driver_on_the_wire_works_with_each_kind_of_doorbell_and_interrupt() {
    let mut token = ThreadToken::at_thread_entry();
    for (doorbells, interrupts, choice) in [
        (DoorbellStyle::Trapped, InterruptStyle::Msi, DoorbellChoice::Best),
        (DoorbellStyle::Mapped, InterruptStyle::Msix, DoorbellChoice::Best),
        (DoorbellStyle::Trapped, InterruptStyle::Intx, DoorbellChoice::Best),
    ] {
        let config = Config { doorbells, interrupts, ..Config::default() };
        let (back, assignment) = BackEnd::with_front(&config);
        let socket = Socket::new(assignment);
        let client = Client::connect(&mut token, socket.directory.path(), ClientOptions::default()).unwrap();
        let options = Options { doorbells: choice, ..Options::default() };
        let mut driver = Driver::start(&mut token, client, &options).unwrap();
        let data = pattern(4096, 7);
        driver.write(&mut token, 40, &data, false).unwrap();
        driver.flush(&mut token).unwrap();
        let mut found = vec![0; 4096];
        driver.read(&mut token, 40, &mut found).unwrap();
        assert!(found == data, "{interrupts:?}");
        assert_eq!(back.inner().flushes, 1);
        driver.stop(&mut token).unwrap();
    }
}

//! Lies of whoever is there when the function connects again.

use gate::ThreadToken;
use remote::config::Mode;
use rustix::io::Errno;
use vfio_user::codec::{CapabilityHeader, Command};
use zerocopy::IntoBytes;

use crate::belongings::{Belongings, alone};
use crate::between::{Act, Lie, Line, Then, files};
use crate::lies::any;
use crate::message::Message;
use crate::rig::conversation::version;
use crate::stack::until;
use crate::vm::Vm;

const MODES: [Mode; 3] = [Mode::Replay, Mode::Reset, Mode::Passthrough];

/// What is to come of a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The attempt fails, and the next one, which is honest, does not.
    Returns,
    /// The back end is another one: it is given up for good.
    GivenUp,
    /// Either.
    Settles,
}

use End::{GivenUp, Returns, Settles};

/// In these modes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    All,
    /// Everything is forwarded, so all of it is looked at.
    Forwarded,
    Replay,
}

struct Case(In, Lie, End);

fn case(of: In, name: &'static str, about: fn(&Message) -> bool, act: Act, end: End) -> Case {
    Case(of, Lie { name, about, act, after: 0, times: 1 }, end)
}

fn is_version(message: &Message) -> bool {
    message.command() == Some(Command::Version)
}

fn is_device(message: &Message) -> bool {
    message.command() == Some(Command::DeviceGetInfo)
}

fn is_region(message: &Message) -> bool {
    message.command() == Some(Command::DeviceGetRegionInfo)
}

fn is_bar2(message: &Message) -> bool {
    is_region(message) && message.dword(8) == 2
}

fn is_irq(message: &Message) -> bool {
    message.command() == Some(Command::DeviceGetIrqInfo)
}

fn is_set_irqs(message: &Message) -> bool {
    message.command() == Some(Command::DeviceSetIrqs)
}

fn is_map(message: &Message) -> bool {
    message.command() == Some(Command::DmaMap)
}

/// Some of the configuration space.
fn is_config(message: &Message) -> bool {
    message.command() == Some(Command::RegionRead) && message.dword(8) == 7
}

fn is_bar0(message: &Message) -> bool {
    message.command() == Some(Command::RegionRead) && message.dword(8) == 0
}

fn says(line: &Line, bytes: &[u8]) -> Then {
    line.send(bytes);
    Then::GoesOn
}

/// The data of an answer to a read is this byte, over and over.
fn reads_as(line: &Line, message: &Message, byte: u8) -> Then {
    let data = vec![byte; message.payload().len() - 16];
    says(line, &message.put(16, &data))
}

/// The first attempt is lied to; later ones are not.
fn cases() -> Vec<Case> {
    [versions(), shapes(), registers(), refusals()].into_iter().flatten().collect()
}

fn versions() -> Vec<Case> {
    let says_version = |name, act| case(In::All, name, is_version, act, Returns);
    vec![
        says_version("no version", |line, m| says(line, &m.with(&[]))),
        says_version("no end of text", |line, m| says(line, &m.with(&version(0, 1, "{}")))),
        says_version("broken text", |line, m| says(line, &m.with(&version(0, 1, "{\"capabilities\":\0")))),
        says_version("no text at all", |line, m| says(line, &m.with(&[0, 0, 1, 0, 0xff, 0xfe, 0]))),
        says_version("deep text", |line, m| says(line, &m.with(&version(0, 1, &("[".repeat(8000) + "\0"))))),
        says_version("a higher major", |line, m| says(line, &m.with(&version(1, 0, "{}\0")))),
        says_version("a higher minor", |line, m| says(line, &m.with(&version(0, 2, "{}\0")))),
        says_version("a refusal", |line, m| says(line, m.header().error_reply(Errno::BUSY).as_bytes())),
        says_version("ones", |line, _| says(line, &[0xff; 4096])),
        says_version("silence", |_, _| Then::IsSilent),
        case(
            In::All,
            "descriptors",
            is_version,
            |line, m| {
                line.send_with(&m.bytes, &files(64));
                Then::GoesOn
            },
            Returns,
        ),
        case(
            In::All,
            "limits of nothing",
            is_version,
            |line, m| {
                let text =
                    "{\"capabilities\":{\"max_data_xfer_size\":0,\"max_msg_fds\":0,\"max_dma_maps\":0}}\0";
                says(line, &m.with(&version(0, 1, text)))
            },
            Settles,
        ),
        case(
            In::All,
            "limits of everything",
            is_version,
            |line, m| {
                let most = u64::MAX;
                let text = format!(
                    "{{\"capabilities\":{{\"max_data_xfer_size\":{most},\"max_msg_fds\":{most},\"max_dma_maps\":{most}}}}}\0"
                );
                says(line, &m.with(&version(0, 1, &text)))
            },
            Settles,
        ),
    ]
}

/// What it says it is.
fn shapes() -> Vec<Case> {
    let forwarded = |name, about, act, end| case(In::Forwarded, name, about, act, end);
    vec![
        forwarded("regions without number", is_device, |line, m| says(line, &m.put(8, &[0xff; 4])), Settles),
        forwarded("no regions", is_device, |line, m| says(line, &m.put(8, &[0; 4])), Settles),
        forwarded("no function of PCI", is_device, |line, m| says(line, &m.put(4, &[0; 4])), Settles),
        forwarded("another region", is_region, |line, m| says(line, &m.put(8, &[9])), Returns),
        forwarded("a region of everything", is_bar2, |line, m| says(line, &m.put(16, &[0xff; 8])), Settles),
        forwarded("a region of an odd size", is_bar2, |line, m| says(line, &m.put(16, &[1, 0x10])), Settles),
        forwarded(
            "a smaller region",
            is_bar2,
            |line, m| says(line, &m.put(16, &0x1000u64.to_ne_bytes())),
            GivenUp,
        ),
        forwarded("capabilities in a circle", is_region, circle, Returns),
        forwarded(
            "capabilities beyond the end",
            is_region,
            |line, m| says(line, &m.put(12, &[0xff; 4])[..].to_vec().also(|bytes| bytes[20] |= 8)),
            Returns,
        ),
        case(In::Forwarded, "always more room", is_region, more_room, Returns),
        forwarded(
            "a file that is not there",
            is_bar2,
            |line, m| {
                let flagged = m.bytes.clone().also(|bytes| bytes[20] |= 4);
                line.send_with(&flagged, &files(1));
                Then::GoesOn
            },
            Settles,
        ),
        forwarded("another interrupt", is_irq, |line, m| says(line, &m.put(8, &[9])), Returns),
        case(
            In::All,
            "interrupts without number",
            is_irq,
            |line, m| says(line, &m.put(12, &[0xff; 4])),
            Settles,
        ),
        case(In::All, "no interrupts", is_irq, |line, m| says(line, &m.put(12, &[0; 4])), Settles),
    ]
}

/// Changes a value on its way.
trait Also: Sized {
    fn also(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Also for Vec<u8> {}

fn circle(line: &Line, message: Message) -> Then {
    let cap = |next| CapabilityHeader { id: 9, version: 1, next };
    let caps = [cap(48).as_bytes(), &[0; 8], cap(32).as_bytes(), &[0; 8]].concat();
    let bytes = message.put(32, &caps).also(|bytes| {
        bytes[16..20].copy_from_slice(&64u32.to_ne_bytes());
        bytes[20] |= 8;
        bytes[28..32].copy_from_slice(&32u32.to_ne_bytes());
    });
    says(line, &bytes)
}

/// Twice what was asked for, each time.
fn more_room(line: &Line, message: Message) -> Then {
    let argsz = message.dword(0).saturating_mul(2).max(64);
    says(line, &message.put(0, &argsz.to_ne_bytes()))
}

/// What its registers read as.
fn registers() -> Vec<Case> {
    vec![
        case(
            In::All,
            "a configuration space of ones",
            is_config,
            |line, m| reads_as(line, &m, 0xff),
            Settles,
        ),
        case(In::All, "a configuration space of zeroes", is_config, |line, m| reads_as(line, &m, 0), Settles),
        case(
            In::All,
            "capabilities of the function in a circle",
            is_config,
            |line, m| {
                if m.payload().len() < 16 + 0x100 {
                    line.pass_on(&m);
                    return Then::GoesOn;
                }
                let looping = m
                    .put(16 + 0x34, &[0x40])
                    .also(|bytes| bytes[32 + 0x40..32 + 0x42].copy_from_slice(&[1, 0x40]));
                says(line, &looping)
            },
            Settles,
        ),
        case(In::Replay, "registers of ones", is_bar0, |line, m| reads_as(line, &m, 0xff), Settles),
        case(In::Replay, "registers of zeroes", is_bar0, |line, m| reads_as(line, &m, 0), Settles),
    ]
}

fn refusals() -> Vec<Case> {
    let refuses: Act = |line, m| says(line, m.header().error_reply(Errno::PERM).as_bytes());
    let refused = |of, name, about, end| case(of, name, about, refuses, end);
    vec![
        refused(In::Forwarded, "no device", is_device, Returns),
        refused(In::Forwarded, "a region that may not be asked for", is_region, Settles),
        refused(In::All, "an interrupt that may not be asked for", is_irq, Settles),
        refused(In::All, "no interrupt", is_set_irqs, Settles),
        refused(In::All, "no memory", is_map, Settles),
        refused(In::All, "no configuration space", is_config, Settles),
        refused(In::Replay, "no registers", is_bar0, Settles),
    ]
}

fn play(token: &mut ThreadToken, mode: Mode, lie: Lie, end: End) {
    let name = lie.name;
    let mut vm = Vm::start(token, mode);
    vm.between.arm(lie);
    vm.between.cut();
    until(name, || {
        vm.pokes(token);
        vm.between.told() >= lie.times && vm.is_settled()
    });
    match end {
        Returns => assert!(!vm.is_given_up(), "{name}"),
        GivenUp => assert!(vm.is_given_up(), "{name}"),
        Settles => {}
    }
    if !vm.is_given_up() {
        vm.works(token, name);
    }
    vm.leave(token);
}

#[test]
#[ignore = "many minutes, since an unmap waits 4 s for a server that lives; `cargo xtask deep` runs it"]
fn who_lies_about_what_it_is_is_tried_again_or_given_up_and_the_vm_lives() {
    let _alone = alone();
    let mut token = ThreadToken::at_thread_entry();
    for mode in MODES {
        Vm::start(&mut token, mode).leave(&mut token);
        let before = Belongings::count();
        for Case(of, lie, end) in cases() {
            let replay = mode == Mode::Replay;
            if of == In::All || (of == In::Replay) == replay {
                play(&mut token, mode, lie, end);
                before.are_all(lie.name);
            }
        }
    }
}

#[test]
fn a_back_end_may_leave_at_any_message_of_the_second_connection() {
    let _alone = alone();
    let mut token = ThreadToken::at_thread_entry();
    for mode in MODES {
        let mut vm = Vm::start(&mut token, mode);
        for after in 0.. {
            vm.between.arm(Lie { name: "it leaves", about: any, act: |_, _| Then::Leaves, after, times: 1 });
            let losses = vm.losses();
            vm.between.cut();
            until("a loss", || vm.losses() > losses);
            until("a back end", || vm.is_settled());
            assert!(!vm.is_given_up(), "after {after} messages");
            // So many come before everything is set up.
            let all = vm.between.told() == 0;
            vm.between.disarm();
            vm.works(&mut token, "it left");
            if all {
                assert!(after > 8, "only {after} messages");
                break;
            }
        }
        vm.leave(&mut token);
    }
}

#[test]
fn another_back_end_is_given_up_and_the_vm_lives() {
    let _alone = alone();
    let mut token = ThreadToken::at_thread_entry();
    for mode in MODES {
        let mut vm = Vm::start(&mut token, mode);
        let other = vm.another();
        vm.between.replace(other.path());
        vm.between.cut();
        until("the end", || {
            vm.pokes(&mut token);
            vm.is_given_up()
        });
        vm.pokes(&mut token);
        vm.leave(&mut token);
        drop(other);
    }
}

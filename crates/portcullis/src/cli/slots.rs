//! Slots, operations and virtual machines on the command line: what can be said, and how it is followed to its end.
//!
//! What takes its time is an operation of the daemon, which goes on whether somebody waits for it or not. A command waits
//! by asking again and again for a moment, so it can be interrupted at any time and takes nothing with it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::{Exit, Failure};
use super::grammar::{Global, Target};
use super::{print_json, print_text, text};
use crate::control::client::Client;
use crate::control::protocol::{Card, Request, Touch};
use crate::control::report::{OperationReport, SlotReport, SlotSummary, VmReport};

/// How long one question for an operation waits, in milliseconds.
const LOOK: u64 = 500;

/// Verbs of `slot`.
#[derive(Debug, Subcommand)]
pub enum SlotVerb {
    /// List the slots with their states, devices, backings and consumers
    List,
    /// Show one slot: what it does now, its card, and who uses it
    Show(Slot),
    /// Put a card into a slot and bring it up
    #[command(after_help = PLUG_HELP)]
    Plug(Plug),
    /// Take the card away from its consumers and out of the slot
    #[command(after_help = UNPLUG_HELP)]
    Unplug(Unplug),
    /// Switch a slot on or off; the card stays in it
    #[command(after_help = SLOT_POWER_HELP)]
    Power(SlotPower),
    /// Press the attention button: five seconds later the slot goes on or off
    Button(Slot),
    /// Pull the card out, with nobody asked
    #[command(after_help = EJECT_HELP)]
    Eject(Slot),
    /// Open or close the latch that holds the card
    Latch(Latch),
    /// Call off a button that was pressed, or an unplug whose consumer is still asked
    Cancel(Slot),
}

/// Verbs of `operation`.
#[derive(Debug, Subcommand)]
pub enum OperationVerb {
    /// List the operations under way, and the latest that have ended
    List,
    /// Wait for one, with its progress
    Wait(Operation),
}

/// Verbs of `vm`.
#[derive(Debug, Subcommand)]
pub enum VmVerb {
    /// Make a virtual machine known by its monitor
    #[command(after_help = VM_HELP)]
    Add(VmAdd),
    /// List the virtual machines that are known
    List,
    /// Forget a virtual machine; what is plugged into it stays
    Remove(VmName),
    /// Plug a function into a virtual machine
    #[command(after_help = VM_HELP)]
    Attach(Attach),
    /// Take a function out of its virtual machine
    #[command(after_help = VM_HELP)]
    Detach(Detach),
}

/// One slot.
#[derive(Debug, Clone, Args)]
pub struct Slot {
    /// Name of the slot, or address of a function in it
    #[arg(value_name = "SLOT")]
    pub slot: String,
}

/// Whether to wait for the end of an operation.
#[derive(Debug, Clone, Copy, Args)]
pub struct Waiting {
    /// Do not wait for the end; `portcullis operation wait` does
    #[arg(long)]
    pub no_wait: bool,
}

/// How consumers are treated on the way off.
#[derive(Debug, Clone, Copy, Args)]
pub struct Patience {
    /// How long consumers are asked before all is taken from them [default: 60]
    #[arg(long, value_name = "SECONDS", conflicts_with = "force", value_parser = seconds())]
    pub timeout: Option<u32>,
    /// Ask nobody: take everything away at once
    #[arg(long)]
    pub force: bool,
}

/// A day is long enough for anybody.
fn seconds() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=86_400)
}

impl Patience {
    pub(super) fn millis(self) -> Option<u64> {
        if self.force { Some(0) } else { self.timeout.map(|seconds| u64::from(seconds) * 1000) }
    }
}

/// `slot plug`.
#[derive(Debug, Clone, Args)]
pub struct Plug {
    /// The slot.
    #[command(flatten)]
    pub slot: Slot,
    /// The device, as in a file [default: the card that was there last]
    #[arg(long, value_name = "TOML")]
    pub device: Option<String>,
    /// What holds its data, as in a file
    #[arg(long, value_name = "TOML", requires = "device")]
    pub backing: Option<String>,
    /// Whether to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

pub(super) const PLUG_HELP: &str = "\
A client that connects to the slot's socket before is refused and may try again; afterwards it finds
the new function. Clients that lost an earlier card stay with that one and reach nothing.

Examples:
  portcullis plug disk0
  portcullis plug bay1 --device '{ model = \"nvme\" }' --backing '{ kind = \"memory\", size = \"1GiB\" }'
  portcullis plug bay1 --device '{ model = \"endpoint-test\" }' --no-wait";

/// `slot unplug`.
#[derive(Debug, Clone, Args)]
pub struct Unplug {
    /// The slot.
    #[command(flatten)]
    pub slot: Slot,
    /// How the consumers are treated.
    #[command(flatten)]
    pub patience: Patience,
    /// Whether to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

pub(super) const UNPLUG_HELP: &str = "\
Consumers are asked to let go, reminded every ten seconds, and at the deadline everything is taken
from them: memory, interrupts and registers, which read all-ones from then on. A vfio-user client
keeps its connection. Until then everything they do works, and `portcullis cancel` calls it off.

Examples:
  portcullis unplug disk0
  portcullis unplug disk0 --timeout 5
  portcullis unplug 01:00.0 --force
  portcullis unplug disk0 --no-wait && portcullis events -f";

/// `slot power`.
#[derive(Debug, Clone, Args)]
pub struct SlotPower {
    /// The slot.
    #[command(flatten)]
    pub slot: Slot,
    /// on or off
    #[arg(value_name = "on|off")]
    pub state: OnOff,
    /// How the consumers are treated.
    #[command(flatten)]
    pub patience: Patience,
    /// Whether to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// On.
    On,
    /// Off.
    Off,
}

pub(super) const SLOT_POWER_HELP: &str = "\
Examples:
  portcullis slot power disk0 off
  portcullis slot power disk0 on";

pub(super) const EJECT_HELP: &str = "\
As if the card was torn out: its functions are gone from this moment, and then their consumers are
told. Put it back with `portcullis plug SLOT`.

Examples:
  portcullis eject disk0";

/// `slot latch`.
#[derive(Debug, Clone, Args)]
pub struct Latch {
    /// The slot.
    #[command(flatten)]
    pub slot: Slot,
    /// open or closed
    #[arg(value_name = "open|closed")]
    pub position: LatchPosition,
}

/// Open or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LatchPosition {
    /// Open.
    Open,
    /// Closed.
    Closed,
}

/// `operation wait`.
#[derive(Debug, Clone, Args)]
pub struct Operation {
    /// Its number
    #[arg(value_name = "N")]
    pub id: u64,
}

/// One virtual machine.
#[derive(Debug, Clone, Args)]
pub struct VmName {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `vm add`.
#[derive(Debug, Clone, Args)]
pub struct VmAdd {
    /// Its name, of your choice
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The socket of its monitor: QEMU's `-qmp unix:SOCKET,server=on,wait=off`
    #[arg(long, value_name = "SOCKET")]
    pub qmp: PathBuf,
}

/// `vm attach`.
#[derive(Debug, Clone, Args)]
pub struct Attach {
    /// The function.
    #[command(flatten)]
    pub target: Target,
    /// The virtual machine, as `vm add` named it
    #[arg(value_name = "VM")]
    pub vm: String,
    /// The bus there: the id of a `pcie-root-port`, or it cannot be unplugged
    #[arg(long, value_name = "BUS")]
    pub bus: Option<String>,
    /// Whether to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `vm detach`.
#[derive(Debug, Clone, Args)]
pub struct Detach {
    /// The function.
    #[command(flatten)]
    pub target: Target,
    /// How the guest is treated.
    #[command(flatten)]
    pub patience: Patience,
    /// Whether to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

pub(super) const VM_HELP: &str = "\
Start QEMU with a monitor for Portcullis, shared guest memory, and root ports for what is to come:
  -qmp unix:vm0.qmp,server=on,wait=off
  -object memory-backend-memfd,id=mem,size=1G,share=on -machine q35,memory-backend=mem
  -device pcie-root-port,id=rp0,chassis=1

Examples:
  portcullis vm add vm0 --qmp vm0.qmp
  portcullis attach disk0 vm0 --bus rp0
  portcullis detach disk0
  portcullis detach disk0 --timeout 10    take it from a guest that does not let go";

/// What is asked of the daemon about slots, operations and virtual machines.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub enum SlotAction {
    /// A list of slots.
    Slots,
    /// One slot.
    Show(Request),
    /// Something that takes its time.
    Operation(Request, bool),
    /// Several of them at once.
    Operations(Request),
    /// The end of one, by its number.
    Wait(u64),
    /// Virtual machines.
    Vms,
    /// One virtual machine.
    Vm(Request),
}

impl From<SlotVerb> for SlotAction {
    fn from(verb: SlotVerb) -> Self {
        let touch = |slot: Slot, touch| Self::Show(Request::SlotTouch { slot: slot.slot, touch });
        match verb {
            SlotVerb::List => Self::Slots,
            SlotVerb::Show(it) => Self::Show(Request::SlotShow { slot: it.slot }),
            SlotVerb::Plug(it) => it.into(),
            SlotVerb::Unplug(it) => it.into(),
            SlotVerb::Power(it) => {
                let (on, timeout_ms) = (it.state == OnOff::On, it.patience.millis());
                let request = Request::SlotPower { slot: it.slot.slot, on, timeout_ms };
                Self::Operation(request, it.waiting.no_wait)
            }
            SlotVerb::Button(it) => touch(it, Touch::Button),
            SlotVerb::Eject(it) => touch(it, Touch::Eject),
            SlotVerb::Latch(Latch { slot, position: LatchPosition::Open }) => touch(slot, Touch::OpenLatch),
            SlotVerb::Latch(Latch { slot, position: LatchPosition::Closed }) => {
                touch(slot, Touch::CloseLatch)
            }
            SlotVerb::Cancel(it) => Self::Operation(Request::SlotCancel { slot: it.slot }, false),
        }
    }
}

impl From<Plug> for SlotAction {
    fn from(it: Plug) -> Self {
        let backing = it.backing;
        // The daemon stands in a directory of its own.
        let base = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let card = it.device.map(|device| Card { device, backing, base });
        Self::Operation(Request::SlotPlug { slot: it.slot.slot, card }, it.waiting.no_wait)
    }
}

impl From<Unplug> for SlotAction {
    fn from(it: Unplug) -> Self {
        let request = Request::SlotUnplug { slot: it.slot.slot, timeout_ms: it.patience.millis() };
        Self::Operation(request, it.waiting.no_wait)
    }
}

impl From<Attach> for SlotAction {
    fn from(it: Attach) -> Self {
        let request = Request::VmAttach { target: it.target.target, vm: it.vm, bus: it.bus };
        Self::Operation(request, it.waiting.no_wait)
    }
}

impl From<Detach> for SlotAction {
    fn from(it: Detach) -> Self {
        let request = Request::VmDetach { target: it.target.target, timeout_ms: it.patience.millis() };
        Self::Operation(request, it.waiting.no_wait)
    }
}

impl From<OperationVerb> for SlotAction {
    fn from(verb: OperationVerb) -> Self {
        match verb {
            OperationVerb::List => Self::Operations(Request::OperationList {}),
            OperationVerb::Wait(it) => Self::Wait(it.id),
        }
    }
}

impl From<VmVerb> for SlotAction {
    fn from(verb: VmVerb) -> Self {
        match verb {
            VmVerb::Add(it) => {
                // As for paths of a card.
                let qmp = std::path::absolute(&it.qmp).unwrap_or(it.qmp);
                Self::Vm(Request::VmAdd { name: it.name, qmp })
            }
            VmVerb::List => Self::Vms,
            VmVerb::Remove(it) => Self::Vm(Request::VmRemove { name: it.name }),
            VmVerb::Attach(it) => it.into(),
            VmVerb::Detach(it) => it.into(),
        }
    }
}

pub(super) fn run(global: &Global, action: SlotAction) -> Result<(), Failure> {
    let mut client = Client::connect(&global.control_socket())?;
    let json = global.json;
    match action {
        SlotAction::Slots => {
            let list: Vec<SlotSummary> = client.ask(&Request::SlotList {})?;
            if json { print_json(&list) } else { print_text(&text::slots(&list)) }
        }
        SlotAction::Show(request) => {
            let slot: SlotReport = client.ask(&request)?;
            if json { print_json(&slot) } else { print_text(&text::slot(&slot)) }
        }
        SlotAction::Operation(request, no_wait) => {
            let operation: OperationReport = client.ask(&request)?;
            let operation = if no_wait { operation } else { wait(&mut client, operation, json)? };
            tell(&operation, json)
        }
        SlotAction::Operations(request) => {
            let mut list: Vec<OperationReport> = client.ask(&request)?;
            if request == (Request::Rescan {}) {
                list = list
                    .into_iter()
                    .map(|operation| wait(&mut client, operation, json))
                    .collect::<Result<_, _>>()?;
            }
            if json { print_json(&list) } else { print_text(&text::operations(&list)) }
        }
        SlotAction::Wait(id) => {
            let operation: OperationReport = client.ask(&Request::OperationWait { id, timeout_ms: 0 })?;
            tell(&wait(&mut client, operation, json)?, json)
        }
        SlotAction::Vms => {
            let list: Vec<VmReport> = client.ask(&Request::VmList {})?;
            if json { print_json(&list) } else { print_text(&text::vms(&list)) }
        }
        SlotAction::Vm(request) => {
            let vm: VmReport = client.ask(&request)?;
            if json { print_json(&vm) } else { print_text(&text::vms(std::slice::from_ref(&vm))) }
        }
    }
}

/// Follows an operation to its end.
fn wait(client: &mut Client, operation: OperationReport, json: bool) -> Result<OperationReport, Failure> {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {prefix}: {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar.set_prefix(format!("{} {}", operation.request, operation.slot));
    let mut operation = operation;
    while operation.finished.is_none() {
        bar.set_message(operation.detail.clone());
        let asked = Instant::now();
        operation = client.ask(&Request::OperationWait { id: operation.id, timeout_ms: LOOK })?;
        // Too many wait there; so this one does here.
        if operation.finished.is_none() && asked.elapsed() < Duration::from_millis(LOOK / 2) {
            std::thread::sleep(Duration::from_millis(LOOK / 2));
        }
    }
    bar.finish_and_clear();
    Ok(operation)
}

/// Prints an operation, and ends as it did.
fn tell(operation: &OperationReport, json: bool) -> Result<(), Failure> {
    let exit = match operation.finished.as_deref() {
        None | Some("done") => Exit::Done,
        Some(
            "cancelled" | "wrong-state" | "too-late" | "too-many" | "no-card" | "latch-open" | "refused",
        ) => Exit::Busy,
        Some(_) => Exit::Failed,
    };
    if json {
        print_json(operation)?;
    } else if exit == Exit::Done {
        print_text(&text::operation(operation))?;
    }
    match exit {
        Exit::Done => Ok(()),
        exit => Err(Failure::new(exit, text::operation(operation).trim_end())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::grammar::{Action, CommandLine};
    use super::*;
    use clap::Parser;

    fn action(words: &str) -> SlotAction {
        let words = ["portcullis"].into_iter().chain(words.split(' '));
        match Action::from(CommandLine::try_parse_from(words).unwrap().command) {
            Action::Slots(action) => action,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_verb_means_the_same_as_noun_and_verb() {
        for (plain, full) in [
            ("plug x", "slot plug x"),
            ("unplug x --force", "slot unplug x --force"),
            ("eject x", "slot eject x"),
            ("button x", "slot button x"),
            ("cancel x", "slot cancel x"),
            ("attach x vm --bus rp0", "vm attach x vm --bus rp0"),
            ("detach x --timeout 3", "vm detach x --timeout 3"),
        ] {
            assert_eq!(action(plain), action(full), "{plain}");
        }
    }

    #[test]
    fn force_asks_nobody_and_no_timeout_is_the_daemons_choice() {
        let timeout = |words| match action(words) {
            SlotAction::Operation(Request::SlotUnplug { timeout_ms, .. }, _) => timeout_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!(timeout("unplug x"), None);
        assert_eq!(timeout("unplug x --force"), Some(0));
        assert_eq!(timeout("unplug x --timeout 5"), Some(5000));
        for wrong in ["unplug x --timeout 0", "unplug x --force --timeout 5", "plug x --backing {}"] {
            let words = ["portcullis"].into_iter().chain(wrong.split(' '));
            assert!(CommandLine::try_parse_from(words).is_err(), "{wrong}");
        }
    }
}

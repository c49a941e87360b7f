//! The grammar of the command line: `portcullis NOUN VERB [TARGET]`, and plain verbs for everyday use.
//!
//! A new noun gets a variant of [`Command`] and an enum of verbs; a verb becomes plain only if it is used daily
//! and cannot be mistaken. Both forms end in the same [`Action`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::back_end::{BACK_END_HELP, BackEnd, BackEndAction};
use super::containment::{
    AER_HELP, ContainmentAction, EEH_HELP, FREEZE_HELP, INJECT_HELP, Inject, PE_HELP, Pe, PeTarget, PeVerb,
    RECOVER_HELP,
};
use super::events::{EVENTS_HELP, Events};
use super::proxy::{PROXY_HELP, Proxy};
use super::slots;
use super::zpci::{ZPCI_HELP, Zpci, ZpciAction};
use crate::control::protocol::{Request, ResetChoice};

const AFTER_HELP: &str = "\
Examples:
  portcullis serve                       serve one 1 GiB NVMe disk; prints how to attach it to a VM
  portcullis serve lab.toml              serve what the file describes
  portcullis proxy --upstream /run/spdk/disk0 --listen /run/vm1/disk0.sock
  portcullis ls                          what is served, in which state, and who uses it
  portcullis show 0000:01:00.0           all about one function (`01:00.0` or its slot works too)
  portcullis dump | lspci -vvv -F /dev/stdin
  portcullis config 01:00.0 COMMAND      one register
  portcullis reset 01:00.0               `reset-method` says by which methods
  portcullis power 01:00.0 D3hot         and D0 to wake it
  portcullis events 01:00.0              what happened to it lately, and what operators did
  portcullis events -f                   what happens, as it happens
  portcullis exercise $XDG_RUNTIME_DIR/portcullis/disk0/cntrl
  portcullis --json function list        the same for programs: one JSON document on one line

Exit codes:
  0  done                     3  no daemon answers on the control socket
  1  failed                   4  no such function or slot
  2  wrong usage or file      5  refused for now: busy, in use, or not ready before the deadline";

/// Hands PCI functions to virtual machines and keeps both alive.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = AFTER_HELP, max_term_width = 110)]
pub struct CommandLine {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes, before or after it.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print one JSON document on one line instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// The daemon's directory [default: $XDG_RUNTIME_DIR/portcullis]
    #[arg(long, global = true, value_name = "DIR", env = "PORTCULLIS_RUN_DIR", hide_env_values = true)]
    pub run_dir: Option<PathBuf>,
    /// The daemon's control socket [default: control.sock in there]
    #[arg(long, global = true, value_name = "SOCKET", env = "PORTCULLIS_CONTROL", hide_env_values = true)]
    pub control: Option<PathBuf>,
}

/// Nouns, and the plain verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the functions that FILE describes; without FILE, one NVMe disk
    #[command(after_help = SERVE_HELP)]
    Serve(Serve),
    /// Serve one function of another vfio-user server, and outlive that server
    #[command(after_help = PROXY_HELP)]
    Proxy(Proxy),
    /// List the functions (function list)
    Ls,
    /// Show one function: configuration, gate, client, DMA, interrupts (function show)
    Show(Target),
    /// Print configuration spaces as `lspci -F FILE` reads them (function dump)
    #[command(after_help = DUMP_HELP)]
    Dump(OptionalTarget),
    /// List who holds what and waits for what (lock list)
    #[command(after_help = LOCKS_HELP)]
    Locks,
    /// Reset one function, once what is in flight has ended (function reset)
    #[command(after_help = RESET_HELP)]
    Reset(Reset),
    /// Show or choose the methods that `reset` tries (function reset-method)
    #[command(after_help = RESET_METHOD_HELP)]
    ResetMethod(ResetMethod),
    /// Show or change the power state of one function (function power)
    #[command(after_help = POWER_HELP)]
    Power(Power),
    /// Enable or disable virtual functions (function numvfs)
    #[command(after_help = NUMVFS_HELP)]
    Numvfs(NumVfs),
    /// Read or write one configuration register (function config)
    #[command(after_help = CONFIG_HELP)]
    Config(Register),
    /// Freeze what fails together: reads give all-ones until `thaw` (pe freeze)
    #[command(after_help = FREEZE_HELP)]
    Freeze(PeTarget),
    /// End a freeze, with the devices as they are (pe thaw)
    #[command(after_help = FREEZE_HELP)]
    Thaw(PeTarget),
    /// Recover from an error, or as if there had been one, and wait for it (pe recover)
    #[command(after_help = RECOVER_HELP)]
    Recover(PeTarget),
    /// Give a function or a PE a fault, or list those there are (pe inject)
    #[command(after_help = INJECT_HELP)]
    Inject(Inject),
    /// Show counters, budget and history of containment
    #[command(after_help = EEH_HELP)]
    Eeh,
    /// List what was removed and is still held, with its holders
    Orphans,
    /// Show the errors that a function has reported (function aer)
    #[command(after_help = AER_HELP)]
    Aer(Target),
    /// Take one function away from its client for good (function revoke)
    #[command(after_help = REVOKE_HELP)]
    Revoke(Target),
    /// Put a card into a slot and bring it up (slot plug)
    #[command(after_help = slots::PLUG_HELP)]
    Plug(slots::Plug),
    /// Take the card away from its consumers and out of the slot (slot unplug)
    #[command(after_help = slots::UNPLUG_HELP)]
    Unplug(slots::Unplug),
    /// Pull a card out, with nobody asked (slot eject)
    #[command(after_help = slots::EJECT_HELP)]
    Eject(slots::Slot),
    /// Press the attention button of a slot (slot button)
    Button(slots::Slot),
    /// Call off a button that was pressed, or an unplug (slot cancel)
    Cancel(slots::Slot),
    /// Find what has appeared and gone, and bring up the cards of slots that are off
    Rescan,
    /// Plug a function into a virtual machine (vm attach)
    #[command(after_help = slots::VM_HELP)]
    Attach(slots::Attach),
    /// Take a function out of its virtual machine (vm detach)
    #[command(after_help = slots::VM_HELP)]
    Detach(slots::Detach),
    /// List what happened, or follow what happens (event list)
    #[command(after_help = EVENTS_HELP)]
    Events(Events),
    /// Drive an NVMe socket with verified reads and writes, without a virtual machine
    #[command(after_help = EXERCISE_HELP)]
    Exercise(Exercise),
    /// Functions: list, show, dump, reset, power, numvfs, config, aer, revoke, ...
    #[command(subcommand)]
    Function(FunctionVerb),
    /// PEs, which fail together: list, show, freeze, thaw, recover, inject
    #[command(after_help = PE_HELP)]
    Pe(Pe),
    /// Back ends of remote functions: list, show, retry
    #[command(after_help = BACK_END_HELP)]
    Backend(BackEnd),
    /// Slots: list, show, plug, unplug, power, button, eject, latch, cancel
    #[command(subcommand)]
    Slot(slots::SlotVerb),
    /// Operations: list, wait
    #[command(subcommand)]
    Operation(slots::OperationVerb),
    /// Virtual machines: add, list, remove, attach, detach
    #[command(subcommand)]
    Vm(slots::VmVerb),
    /// The s390 view: list, show, configure, deconfigure, recover, reset, report-error
    #[command(after_help = ZPCI_HELP)]
    Zpci(Zpci),
    /// Events: list
    #[command(subcommand)]
    Event(EventVerb),
    /// Locks and waits: list
    #[command(subcommand)]
    Lock(LockVerb),
}

/// Verbs of `function`.
#[derive(Debug, Subcommand)]
pub enum FunctionVerb {
    /// List the functions
    List,
    /// Show one function
    Show(Target),
    /// Print configuration spaces as `lspci -F FILE` reads them
    Dump(OptionalTarget),
    /// Reset one function, once what is in flight has ended
    #[command(after_help = RESET_HELP)]
    Reset(Reset),
    /// Show or choose the methods that `reset` tries, in their order
    #[command(after_help = RESET_METHOD_HELP)]
    ResetMethod(ResetMethod),
    /// Show or change the power state
    #[command(after_help = POWER_HELP)]
    Power(Power),
    /// Enable or disable virtual functions
    #[command(after_help = NUMVFS_HELP)]
    Numvfs(NumVfs),
    /// Read or write one configuration register
    #[command(after_help = CONFIG_HELP)]
    Config(Register),
    /// Show the errors that it has reported
    #[command(after_help = AER_HELP)]
    Aer(Target),
    /// Take the function away from its client for good
    #[command(after_help = REVOKE_HELP)]
    Revoke(Target),
}

/// Verbs of `event`.
#[derive(Debug, Subcommand)]
pub enum EventVerb {
    /// List what happened lately, oldest first; `-f` follows
    #[command(after_help = EVENTS_HELP)]
    List(Events),
}

/// Verbs of `lock`.
#[derive(Debug, Subcommand)]
pub enum LockVerb {
    /// List who holds what and waits for what, since when, and who holds that
    #[command(after_help = LOCKS_HELP)]
    List,
}

const LOCKS_HELP: &str = "\
One line for each thread that waits, longest first, then what is held: closed gates, and
accesses that somebody waits for. It is answered while everything else is stuck. Waits that
last longer than `threshold` of [watchdog] are logged as well.

Examples:
  portcullis locks
  portcullis --json locks";

/// One function or slot.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Address (0000:01:00.0, or 01:00.0 in segment 0) or name of the slot
    #[arg(value_name = "BDF")]
    pub target: String,
}

/// One function or slot, or all.
#[derive(Debug, Clone, Args)]
pub struct OptionalTarget {
    /// Address (0000:01:00.0, or 01:00.0 in segment 0) or name of the slot [default: all]
    #[arg(value_name = "BDF")]
    pub target: Option<String>,
}

/// `reset`.
#[derive(Debug, Clone, Args)]
pub struct Reset {
    /// The function.
    #[command(flatten)]
    pub target: Target,
    /// Only this method, in use or not [default: those in use, in their order]
    #[arg(long, value_name = "METHOD", conflicts_with_all = ["attempt", "subordinate"])]
    pub method: Option<String>,
    /// Reset everything below this bridge instead of the bridge
    #[arg(long)]
    pub subordinate: bool,
    /// Give up at once, with nothing changed, if the function is in use
    #[arg(long = "try")]
    pub attempt: bool,
}

const RESET_HELP: &str = "\
Configuration space is saved before and restored after, so a driver finds its registers as they
were; the device itself starts anew, and a client's driver has to bring it up again. Exit code 5
says that what was in flight did not end in time, and nothing was changed.

Methods: device_specific, acpi, flr, af_flr, pm, bus, cxl_bus (`portcullis reset-method BDF` says
which there are).

Examples:
  portcullis reset 01:00.0
  portcullis reset 01:00.0 --method bus
  portcullis reset disk0 --try
  portcullis reset 00:01.0 --subordinate";

impl Reset {
    /// What the daemon is asked for.
    pub fn choice(&self) -> ResetChoice {
        let attempt = self.attempt;
        match &self.method {
            Some(method) => ResetChoice::Method { method: method.clone() },
            None if self.subordinate => ResetChoice::Subordinate { attempt },
            None => ResetChoice::Usual { attempt },
        }
    }
}

/// `reset-method`.
#[derive(Debug, Clone, Args)]
pub struct ResetMethod {
    /// The function.
    #[command(flatten)]
    pub target: Target,
    /// Methods in their order, separated by commas; `default` for all; "" for none
    #[arg(value_name = "LIST")]
    pub list: Option<String>,
}

const RESET_METHOD_HELP: &str = "\
Examples:
  portcullis reset-method 01:00.0              what there is, what is in use, and why not the rest
  portcullis reset-method 01:00.0 flr,bus
  portcullis reset-method 01:00.0 default
  portcullis reset-method 01:00.0 \"\"           no reset at all";

/// `power`.
#[derive(Debug, Clone, Args)]
pub struct Power {
    /// The function.
    #[command(flatten)]
    pub target: Target,
    /// D0, D1, D2, D3hot or D3cold [default: show the state]
    #[arg(value_name = "STATE")]
    pub state: Option<String>,
}

const POWER_HELP: &str = "\
A bridge that goes to D3cold takes everything below it along. Whoever uses a function that is not
in D0 reads all-ones or errors until it is back; D3hot and D3cold cost the device its state.

Examples:
  portcullis power 01:00.0
  portcullis power 01:00.0 D3hot
  portcullis power 00:01.0 D3cold";

/// `numvfs`.
#[derive(Debug, Clone, Args)]
pub struct NumVfs {
    /// The physical function.
    #[command(flatten)]
    pub target: Target,
    /// Virtual functions to have; 0 removes them [default: show how many there are]
    #[arg(value_name = "N")]
    pub count: Option<u16>,
}

const NUMVFS_HELP: &str = "\
A number other than 0 can only be changed by way of 0, as everywhere. The function is woken.

Examples:
  portcullis numvfs 03:00.0
  portcullis numvfs 03:00.0 4
  portcullis numvfs 03:00.0 0";

/// `config`.
#[derive(Debug, Clone, Args)]
pub struct Register {
    /// The function.
    #[command(flatten)]
    pub target: Target,
    /// `REGISTER[.b|.w|.l][=VALUE]`, numbers in hexadecimal
    #[arg(value_name = "REG")]
    pub register: String,
}

const CONFIG_HELP: &str = "\
A register is an offset or a name as setpci knows them, with an offset if wanted: COMMAND,
CAP_PM+4.w, ECAP_AER+4.l. The access waits while the function is blocked, like everybody's, and
wakes a function without power. A write that would do half of what `reset`, `power` or `numvfs`
does (such as Secondary Bus Reset of a bridge) is refused.

Examples:
  portcullis config 01:00.0 VENDOR_ID
  portcullis config 01:00.0 4.w
  portcullis config 01:00.0 COMMAND=0006
  portcullis config 01:00.0 CAP_EXP+8.w";

const REVOKE_HELP: &str = "\
For a client this is a device that was pulled: reads give all-ones, writes go nowhere, what it has
mapped shows all-ones and reaches nothing. Its connection stays, so that a virtual machine lives
on. The function comes back when the daemon is started anew.

Example:
  portcullis revoke 01:00.0";

/// `serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// TOML file with the slots; without it one NVMe disk of 1 GiB in the run directory
    #[arg(value_name = "FILE.toml")]
    pub file: Option<PathBuf>,
    /// Read and check FILE, serve nothing
    #[arg(long, requires = "file")]
    pub check: bool,
}

const SERVE_HELP: &str = "\
Examples:
  portcullis serve
  portcullis serve lab.toml
  portcullis serve --check lab.toml
  portcullis --run-dir /run/lab serve lab.toml

SIGTERM, SIGINT and SIGHUP end every session, flush the backings and remove the sockets; a second
signal stops waiting. PORTCULLIS_LOG sets the log filter (such as `debug` or `vfio_user=trace`);
the log goes to stderr.";

const DUMP_HELP: &str = "\
Examples:
  portcullis dump > all.txt; lspci -vvv -F all.txt
  portcullis dump 01:00.0 | lspci -xxxx -F /dev/stdin";

/// `exercise`.
#[derive(Debug, Clone, Args)]
pub struct Exercise {
    /// vfio-user socket of an NVMe controller, or the directory that holds `cntrl`
    #[arg(value_name = "SOCKET")]
    pub socket: PathBuf,
    /// Stop after so many seconds [default: 5, or no limit with --size]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: Option<u32>,
    /// Write and read back so much data, e.g. 256MiB, then stop
    #[arg(long, value_name = "SIZE", value_parser = size_argument)]
    pub size: Option<u64>,
    /// Commands in flight
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub depth: u16,
    /// Bytes of each read and write, e.g. 4KiB
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = size_argument)]
    pub block: u64,
    /// Overwrite the disk's contents although it is not known to be empty
    #[arg(long)]
    pub overwrite: bool,
}

const EXERCISE_HELP: &str = "\
Writes a pattern that depends on the place and the round, reads it back and compares every byte.
THIS OVERWRITES THE DISK. A disk whose first 64 KiB are neither zero nor this command's own pattern
is refused unless --overwrite is given; so is one that holds anything else where 16 samples look.

Examples:
  portcullis exercise $XDG_RUNTIME_DIR/portcullis/disk0/cntrl
  portcullis exercise /run/lab/disk0 --seconds 30 --depth 128
  portcullis --json exercise /run/lab/disk0/cntrl --size 1GiB --block 128KiB";

fn size_argument(text: &str) -> Result<u64, String> {
    crate::config::size::parse_size(text)
        .map_err(|error| format!("{error}; write a number and a unit such as 4KiB or 1GiB"))
}

/// What is to be done, whichever way it was said.
#[derive(Debug)]
pub enum Action {
    /// Run the daemon.
    Serve(Serve),
    /// Run the daemon with one remote function.
    Proxy(Proxy),
    /// Ask the daemon about back ends.
    BackEnd(BackEndAction),
    /// Run the host driver.
    Exercise(Exercise),
    /// Ask the daemon.
    FunctionList,
    /// Ask the daemon.
    FunctionShow(Target),
    /// Ask the daemon.
    FunctionDump(OptionalTarget),
    /// Ask the daemon.
    FunctionReset(Reset),
    /// Ask the daemon.
    FunctionResetMethod(ResetMethod),
    /// Ask the daemon.
    FunctionPower(Power),
    /// Ask the daemon.
    FunctionNumVfs(NumVfs),
    /// Ask the daemon.
    FunctionConfig(Register),
    /// Ask the daemon.
    FunctionRevoke(Target),
    /// Ask the daemon about slots, operations and virtual machines.
    Slots(slots::SlotAction),
    /// Ask the daemon about the s390 view.
    Zpci(ZpciAction),
    /// Ask the daemon about containment.
    Containment(ContainmentAction),
    /// Read and follow the stream of events.
    EventList(Events),
    /// Ask the daemon.
    LockList,
}

impl From<Command> for Action {
    fn from(command: Command) -> Self {
        match command {
            Command::Serve(serve) => Self::Serve(serve),
            Command::Proxy(it) => Self::Proxy(it),
            Command::Backend(it) => Self::BackEnd(it.into()),
            Command::Exercise(exercise) => Self::Exercise(exercise),
            Command::Ls | Command::Function(FunctionVerb::List) => Self::FunctionList,
            Command::Show(target) | Command::Function(FunctionVerb::Show(target)) => {
                Self::FunctionShow(target)
            }
            Command::Dump(target) | Command::Function(FunctionVerb::Dump(target)) => {
                Self::FunctionDump(target)
            }
            Command::Reset(it) | Command::Function(FunctionVerb::Reset(it)) => Self::FunctionReset(it),
            Command::ResetMethod(it) | Command::Function(FunctionVerb::ResetMethod(it)) => {
                Self::FunctionResetMethod(it)
            }
            Command::Power(it) | Command::Function(FunctionVerb::Power(it)) => Self::FunctionPower(it),
            Command::Numvfs(it) | Command::Function(FunctionVerb::Numvfs(it)) => Self::FunctionNumVfs(it),
            Command::Config(it) | Command::Function(FunctionVerb::Config(it)) => Self::FunctionConfig(it),
            Command::Freeze(it) => Self::Containment(PeVerb::Freeze(it).into()),
            Command::Thaw(it) => Self::Containment(PeVerb::Thaw(it).into()),
            Command::Recover(it) => Self::Containment(PeVerb::Recover(it).into()),
            Command::Inject(it) => Self::Containment(PeVerb::Inject(it).into()),
            Command::Pe(it) => Self::Containment(it.into()),
            Command::Eeh => Self::Containment(ContainmentAction::Eeh),
            Command::Orphans => Self::Containment(ContainmentAction::Orphans),
            Command::Aer(it) | Command::Function(FunctionVerb::Aer(it)) => {
                Self::Containment(ContainmentAction::aer(it))
            }
            Command::Revoke(it) | Command::Function(FunctionVerb::Revoke(it)) => Self::FunctionRevoke(it),
            Command::Zpci(it) => Self::Zpci(it.into()),
            Command::Slot(verb) => Self::Slots(verb.into()),
            Command::Operation(verb) => Self::Slots(verb.into()),
            Command::Vm(verb) => Self::Slots(verb.into()),
            Command::Plug(it) => Self::Slots(it.into()),
            Command::Unplug(it) => Self::Slots(it.into()),
            Command::Eject(it) => Self::Slots(slots::SlotVerb::Eject(it).into()),
            Command::Button(it) => Self::Slots(slots::SlotVerb::Button(it).into()),
            Command::Cancel(it) => Self::Slots(slots::SlotVerb::Cancel(it).into()),
            Command::Rescan => Self::Slots(slots::SlotAction::Operations(Request::Rescan {})),
            Command::Attach(it) => Self::Slots(it.into()),
            Command::Detach(it) => Self::Slots(it.into()),
            Command::Events(it) | Command::Event(EventVerb::List(it)) => Self::EventList(it),
            Command::Locks | Command::Lock(LockVerb::List) => Self::LockList,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_plain_verb_means_the_same_as_noun_and_verb() {
        let action = |words: &[&str]| {
            let words = std::iter::once("portcullis").chain(words.iter().copied());
            format!("{:?}", Action::from(CommandLine::try_parse_from(words).unwrap().command))
        };
        for (plain, full) in [
            ("ls", "function list"),
            ("locks", "lock list"),
            ("events x -f --kind reset", "event list x -f --kind reset"),
            ("show x", "function show x"),
            ("dump", "function dump"),
            ("reset x --method flr", "function reset x --method flr"),
            ("reset x --subordinate --try", "function reset x --subordinate --try"),
            ("reset-method x flr,pm", "function reset-method x flr,pm"),
            ("power x D0", "function power x D0"),
            ("numvfs x 4", "function numvfs x 4"),
            ("config x COMMAND=6", "function config x COMMAND=6"),
            ("aer x", "function aer x"),
            ("revoke x", "function revoke x"),
        ] {
            let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
            assert_eq!(action(&words(plain)), action(&words(full)));
        }
    }

    #[test]
    fn help_fits_a_terminal_of_100_columns() {
        fn all(mut command: clap::Command, long: &mut Vec<String>) {
            let text = command.render_help().to_string();
            // clap appends defaults and environment to the options, and cannot break them without another dependency.
            let own = text.lines().filter(|line| !line.contains("[env: "));
            long.extend(own.filter(|line| line.chars().count() > 100).map(str::to_owned));
            command.get_subcommands().cloned().for_each(|command| all(command, long));
        }
        let mut long = Vec::new();
        all(CommandLine::command(), &mut long);
        assert!(long.is_empty(), "{long:#?}");
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for words in [["portcullis", "--json", "ls"], ["portcullis", "ls", "--json"]] {
            assert!(CommandLine::try_parse_from(words).unwrap().global.json);
        }
    }
}

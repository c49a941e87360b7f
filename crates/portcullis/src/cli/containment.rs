//! Containment on the command line: PEs, freezes, recoveries, injected errors; what can be said, and how it is shown.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::grammar::{Global, Target};
use super::show;
use super::text::{duration, or_dash, table};
use crate::control::back_end::{InjectionEntry, InjectionsCleared};
use crate::control::containment::{
    AerReport, EehReport, FaultEntry, Injected, OrphanEntry, PeChange, PeReport, PeSummary, Recovered,
    RecoveryEntry,
};
use crate::control::protocol::Request;

/// `pe`, with or without a verb.
#[derive(Debug, Clone, Args)]
pub struct Pe {
    /// What to do; without, the table.
    #[command(subcommand)]
    pub verb: Option<PeVerb>,
}

/// Verbs of `pe`.
#[derive(Debug, Clone, Subcommand)]
pub enum PeVerb {
    /// List the PEs with their states, functions and freezes
    List,
    /// Show one PE: budget, holders, history
    Show(PeTarget),
    /// Freeze a PE with all that is below it
    #[command(after_help = FREEZE_HELP)]
    Freeze(PeTarget),
    /// End a freeze, with the devices as they are
    #[command(after_help = FREEZE_HELP)]
    Thaw(PeTarget),
    /// Recover a PE as after an error, and wait for it
    #[command(after_help = RECOVER_HELP)]
    Recover(PeTarget),
    /// Give a function or a PE a fault
    #[command(after_help = INJECT_HELP)]
    Inject(Inject),
}

/// A PE, or a function in it.
#[derive(Debug, Clone, Args)]
pub struct PeTarget {
    /// PE (0000:0100, 0000:phb), or address or slot name of a function in it
    #[arg(value_name = "PE|BDF")]
    pub target: String,
}

/// `inject`.
#[derive(Debug, Clone, Args)]
pub struct Inject {
    /// What fails.
    #[command(flatten)]
    pub target: PeTarget,
    /// A device's fault, a rule, TYPE:FUNCTION:ADDRESS:MASK, or aer:ERROR [default: list]
    #[arg(value_name = "FAULT")]
    pub fault: Option<String>,
    /// List the rules that it has, with how often they have struck
    #[arg(long, conflicts_with_all = ["fault", "clear"])]
    pub rules: bool,
    /// End the rule with this number, or `all`
    #[arg(long, value_name = "ID", conflicts_with = "fault")]
    pub clear: Option<String>,
}

pub(super) const PE_HELP: &str = "\
A PE (partitionable endpoint) is what fails together: a card, what is below a bridge, a virtual
function. Commands that take a PE take the address or slot of a function in it as well.

Examples:
  portcullis pe
  portcullis pe show 01:00.0
  portcullis pe show 0000:phb";

pub(super) const FREEZE_HELP: &str = "\
Of a frozen PE, and of all below it, functions read all-ones; writes, DMA and interrupts are
dropped and counted. So does what clients have mapped, but for doorbells, whose stores count from
the thaw on. No reset ends that: `thaw` does, with the devices as they are, or `recover`.

Examples:
  portcullis freeze 01:00.0
  portcullis thaw 01:00.0
  portcullis freeze 0000:phb";

pub(super) const RECOVER_HELP: &str = "\
The PE is frozen if it is not, its drivers are told, its devices are reset, and thawed. A device
whose client is a virtual machine is saved before and restored after, so that its driver sees a
pause; `on_error` of its slot says otherwise. This counts as a freeze: more than `max_freezes`
within `window` are permanent, and the functions are taken away.

Examples:
  portcullis recover disk0
  portcullis recover 0000:0100";

pub(super) const INJECT_HELP: &str = "\
A device's own faults are made by the device, and found as real ones are. TYPE:FUNCTION:ADDRESS:MASK
is as in Linux: type 0 (32 bit) or 1 (64 bit), function 0 to 19, address and mask in hexadecimal; it
freezes the PE. `aer:` and the name of an error, as `portcullis aer` shows them, reports that error.

A rule is KIND[:KEY=VALUE,...] and lasts until it is cleared or spent. Kinds: irq-delay, irq-drop,
irq-duplicate, read-slow, read-fail, read-ones, write-drop, write-duplicate, dma-error, and of a
remote device desync, hang, kill. Keys: probability=0.1, count=100, bar=0 (or config, own=0),
range=0x0-0xfff, vector=1, delay=5ms, after=1s, for=10s, every=30s.

Examples:
  portcullis inject disk0                  which faults it has
  portcullis inject disk0 controller-fatal
  portcullis inject 0000:0100 0:6:0:0
  portcullis inject 01:00.0 aer:CmpltTO
  portcullis inject disk0 irq-drop:probability=0.01,count=100
  portcullis inject disk0 kill:after=10s
  portcullis inject disk0 --rules
  portcullis inject disk0 --clear all";

pub(super) const EEH_HELP: &str = "\
`[containment]` of the daemon's file sets the budget and the times.

Examples:
  portcullis eeh
  portcullis --json eeh";

pub(super) const AER_HELP: &str = "\
Example:
  portcullis aer 01:00.0";

/// What is asked of the daemon about containment.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub enum ContainmentAction {
    /// The table of PEs.
    List,
    /// One PE.
    Show(String),
    /// Freezes or thaws one.
    Change(Request),
    /// Recovers one.
    Recover(String),
    /// The faults of a function.
    Faults(String),
    /// Injects one.
    Inject(Request),
    /// The rules of a function.
    Rules(String),
    /// Ends a rule, or all.
    Clear(Request),
    /// Counters and history.
    Eeh,
    /// What was removed and is held.
    Orphans,
    /// The errors of a function.
    Aer(String),
}

impl From<Pe> for ContainmentAction {
    fn from(it: Pe) -> Self {
        match it.verb.unwrap_or(PeVerb::List) {
            PeVerb::List => Self::List,
            PeVerb::Show(it) => Self::Show(it.target),
            PeVerb::Freeze(it) => Self::Change(Request::PeFreeze { target: it.target }),
            PeVerb::Thaw(it) => Self::Change(Request::PeThaw { target: it.target }),
            PeVerb::Recover(it) => Self::Recover(it.target),
            PeVerb::Inject(Inject { target: PeTarget { target }, fault, rules, clear }) => {
                match (fault, clear) {
                    (Some(fault), _) => Self::Inject(Request::PeInject { target, fault }),
                    (None, Some(id)) => {
                        Self::Clear(Request::InjectClear { target, id: Some(id).filter(|id| id != "all") })
                    }
                    (None, None) if rules => Self::Rules(target),
                    (None, None) => Self::Faults(target),
                }
            }
        }
    }
}

impl From<PeVerb> for ContainmentAction {
    fn from(verb: PeVerb) -> Self {
        Pe { verb: Some(verb) }.into()
    }
}

impl ContainmentAction {
    /// `aer`, of one function.
    pub fn aer(it: Target) -> Self {
        Self::Aer(it.target)
    }
}

pub(super) fn run(global: &Global, action: ContainmentAction) -> Result<(), Failure> {
    match action {
        ContainmentAction::List => {
            show(global, &Request::PeList {}, |list: &Vec<PeSummary>| pes(list)).map(drop)
        }
        ContainmentAction::Show(target) => show(global, &Request::PeShow { target }, pe).map(drop),
        ContainmentAction::Change(request) => show(global, &request, changed).map(drop),
        ContainmentAction::Recover(target) => {
            let done: Recovered = show(global, &Request::PeRecover { target }, recovered)?;
            match done.outcome.as_str() {
                "recovered" | "gone" => Ok(()),
                "under-way" | "contained" => Err(Failure::new(Exit::Busy, "")),
                _ => Err(Failure::new(Exit::Failed, "")),
            }
        }
        ContainmentAction::Faults(target) => {
            show(global, &Request::PeFaults { target }, |list: &Vec<FaultEntry>| faults(list)).map(drop)
        }
        ContainmentAction::Inject(request) => show(global, &request, |done: &Injected| {
            format!("{}: {} was injected\n", done.target, done.fault)
        })
        .map(drop),
        ContainmentAction::Rules(target) => {
            show(global, &Request::InjectRules { target }, |list: &Vec<InjectionEntry>| rules(list)).map(drop)
        }
        ContainmentAction::Clear(request) => show(global, &request, |done: &InjectionsCleared| {
            let rules = if done.cleared == 1 { "rule is" } else { "rules are" };
            format!("{}: {} {rules} gone\n", done.target, done.cleared)
        })
        .map(drop),
        ContainmentAction::Eeh => show(global, &Request::EehShow {}, eeh).map(drop),
        ContainmentAction::Orphans => {
            show(global, &Request::OrphanList {}, |list: &Vec<OrphanEntry>| orphans(list)).map(drop)
        }
        ContainmentAction::Aer(target) => show(global, &Request::FunctionAer { target }, aer).map(drop),
    }
}

fn pes(list: &[PeSummary]) -> String {
    let row = |it: &PeSummary| {
        let state = it.state.iter().cloned().chain(it.recovery.clone()).collect::<Vec<_>>().join(", ");
        let functions = match it.functions.as_slice() {
            [] => String::new(),
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        let state = if state.is_empty() { String::from("works") } else { state };
        let parent = or_dash(&it.parent);
        vec![it.pe.clone(), it.kind.clone(), parent, state, it.freezes.to_string(), or_dash(&functions)]
    };
    table(&["PE", "KIND", "PARENT", "STATE", "FREEZES", "FUNCTIONS"], list.iter().map(row).collect())
}

fn pe(report: &PeReport) -> String {
    let it = &report.summary;
    let state = if it.state.is_empty() { String::from("works") } else { it.state.join(", ") };
    let fields = [
        ("kind", it.kind.clone()),
        ("parent", or_dash(&it.parent)),
        ("children", or_dash(&report.children.join(", "))),
        ("functions", or_dash(&it.functions.join(", "))),
        ("state", state),
        ("recovery", it.recovery.clone().unwrap_or_else(|| String::from("-"))),
        ("freezes", format!("{} of {} in {} s", it.freezes, report.max_freezes, report.window_s)),
        ("held by", or_dash(&counts(&report.holders))),
    ];
    let mut text = format!("{}\n", it.pe);
    for (name, value) in fields {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<10} {value}");
    }
    text + &history(&report.history)
}

fn counts(counts: &BTreeMap<String, u32>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn history(list: &[RecoveryEntry]) -> String {
    let row = |it: &RecoveryEntry| {
        let outcome =
            if it.detail.is_empty() { it.outcome.clone() } else { format!("{}: {}", it.outcome, it.detail) };
        let ago = duration(it.ago_ms.saturating_mul(1000));
        vec![it.pe.clone(), ago, duration(it.pause_us), it.resets.to_string(), it.sign.clone(), outcome]
    };
    if list.is_empty() {
        return String::new();
    }
    let head = ["PE", "AGO", "PAUSE", "RESETS", "SIGN", "OUTCOME"];
    format!("\n{}", table(&head, list.iter().map(row).collect()))
}

fn changed(change: &PeChange) -> String {
    let mut text = if change.changed {
        let count = change.functions.len();
        let functions = if count == 1 { "function" } else { "functions" };
        format!("{} {} in {}: {count} {functions}\n", change.pe, change.done, duration(change.took_us))
    } else {
        format!("{} was {} already\n", change.pe, change.done)
    };
    if !change.mappings_followed {
        text.push_str("what its clients have mapped does not show it yet; it will\n");
    }
    text
}

fn recovered(done: &Recovered) -> String {
    let resets = if done.resets == 1 { "1 reset".into() } else { format!("{} resets", done.resets) };
    let pe = &done.pe;
    match (done.outcome.as_str(), done.pause_us) {
        ("under-way", _) => {
            format!("{pe}: its recovery goes on; `portcullis pe show {pe}` says where it is\n")
        }
        ("contained", _) => {
            format!("{pe}: it stays frozen, as its consumers want it; `portcullis thaw {pe}` ends that\n")
        }
        ("recovered", Some(pause)) => {
            format!("{pe}: recovered with {resets}; it was frozen for {}\n", duration(pause))
        }
        (outcome, _) if done.detail.is_empty() => format!("{pe}: {outcome}\n"),
        (outcome, _) => format!("{pe}: {outcome}: {}\n", done.detail),
    }
}

fn faults(list: &[FaultEntry]) -> String {
    if list.is_empty() {
        return String::from("its device has no faults of its own; see `portcullis inject --help`\n");
    }
    table(&["FAULT", "ABOUT"], list.iter().map(|it| vec![it.fault.clone(), it.about.clone()]).collect())
}

fn rules(list: &[InjectionEntry]) -> String {
    if list.is_empty() {
        return String::from("nothing is injected; see `portcullis inject --help`\n");
    }
    let row = |it: &InjectionEntry| {
        let state =
            if it.refused.is_empty() { it.state.clone() } else { format!("{}: {}", it.state, it.refused) };
        vec![it.id.clone(), it.rule.clone(), it.hits.to_string(), state]
    };
    table(&["ID", "RULE", "HITS", "STATE"], list.iter().map(row).collect())
}

fn eeh(report: &EehReport) -> String {
    let on = |is: bool| if is { "on" } else { "off" };
    let mut text = format!(
        "containment {}, recovery {}, {} freezes in {} s are recovered from, {} PEs\n",
        on(report.enabled),
        on(report.recover),
        report.max_freezes,
        report.window_s,
        report.pes
    );
    for (name, count) in &report.statistics {
        let _ = writeln!(text, "  {name:<28} {count}");
    }
    for (pe, phase) in &report.under_way {
        let _ = writeln!(text, "{pe} is being recovered: {phase}");
    }
    text + &history(&report.history)
}

fn orphans(list: &[OrphanEntry]) -> String {
    if list.is_empty() {
        return String::from("nothing that was removed is still held\n");
    }
    let row = |it: &OrphanEntry| {
        let overdue = if it.overdue { "overdue" } else { "-" };
        let age = duration(it.age_ms.saturating_mul(1000));
        vec![it.name.clone(), age, overdue.to_owned(), or_dash(&counts(&it.holders))]
    };
    table(&["NAME", "GONE FOR", "STATE", "HELD BY"], list.iter().map(row).collect())
}

fn aer(report: &AerReport) -> String {
    let mut text = format!("{}\n", report.address);
    let kinds =
        [("correctable", &report.correctable), ("nonfatal", &report.nonfatal), ("fatal", &report.fatal)];
    let words = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    for (kind, counts) in kinds {
        let _ = writeln!(text, "  {kind:<12} {}", or_dash(&words(counts)));
    }
    if let Some(total) = &report.root_port {
        let _ = writeln!(text, "  {:<12} {}", "all below", or_dash(&words(total)));
    }
    report.records.iter().for_each(|record| text.extend(["  ", record.as_str(), "\n"]));
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::grammar::{Action, CommandLine};
    use super::*;

    fn action(words: &str) -> ContainmentAction {
        let words = ["portcullis"].into_iter().chain(words.split(' '));
        match Action::from(CommandLine::try_parse_from(words).unwrap().command) {
            Action::Containment(action) => action,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_verb_means_the_same_as_noun_and_verb() {
        for words in ["freeze x", "thaw x", "recover x", "inject x", "inject x all-ones"] {
            assert_eq!(action(words), action(&format!("pe {words}")), "{words}");
        }
        assert_eq!(action("pe"), action("pe list"));
    }

    #[test]
    fn without_a_fault_the_faults_are_listed() {
        assert_eq!(action("inject disk0"), ContainmentAction::Faults(String::from("disk0")));
        let injected = Request::PeInject { target: String::from("disk0"), fault: String::from("hang") };
        assert_eq!(action("inject disk0 hang"), ContainmentAction::Inject(injected));
    }

    #[test]
    fn rules_are_listed_and_cleared() {
        let target = || String::from("disk0");
        assert_eq!(action("inject disk0 --rules"), ContainmentAction::Rules(target()));
        let clear = |id| ContainmentAction::Clear(Request::InjectClear { target: target(), id });
        assert_eq!(action("inject disk0 --clear all"), clear(None));
        assert_eq!(action("inject disk0 --clear 3"), clear(Some(String::from("3"))));
    }

    #[test]
    fn a_recovery_is_told_with_how_it_ended() {
        let done = |outcome: &str, detail: &str| Recovered {
            pe: String::from("0000:0100"),
            outcome: outcome.to_owned(),
            detail: detail.to_owned(),
            resets: 1,
            pause_us: Some(23_400),
            took_us: 24_000,
        };
        let text = recovered(&done("recovered", ""));
        assert_eq!(text, "0000:0100: recovered with 1 reset; it was frozen for 23.4 ms\n");
        let text = recovered(&done("failed", "no reset brought it back"));
        assert_eq!(text, "0000:0100: failed: no reset brought it back\n");
    }
}

//! The s390 view on the command line: what can be said, and how it is shown.

use std::fmt::Write;

use clap::{Args, Subcommand};

use super::exit::Failure;
use super::grammar::Global;
use super::slots::{Patience, SlotAction, Waiting};
use super::text::{or_dash, table};
use super::{print_json, print_text};
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::control::zpci::{ErrorReported, RecoverDone, ZpciReport, ZpciSummary};

/// `zpci`, with or without a verb.
#[derive(Debug, Clone, Args)]
pub struct Zpci {
    /// What to do; without, the table.
    #[command(subcommand)]
    pub verb: Option<ZpciVerb>,
}

/// Verbs of `zpci`.
#[derive(Debug, Clone, Subcommand)]
pub enum ZpciVerb {
    /// List the functions with their IDs, handles, states and addresses
    List,
    /// Show one function as Query PCI Function and Query PCI Function Group tell it
    Show(FunctionId),
    /// Configure a function: bring up the card that it is on
    #[command(after_help = CONFIGURE_HELP)]
    Configure(Configure),
    /// Deconfigure a function: take the card that it is on away from its consumers
    #[command(after_help = CONFIGURE_HELP)]
    Deconfigure(Deconfigure),
    /// Recover a function: disable, reset and enable it, under another handle
    #[command(after_help = RECOVER_HELP)]
    Recover(FunctionId),
    /// Reset a configured function that nobody else resets or recovers
    #[command(after_help = RESET_HELP)]
    Reset(FunctionId),
    /// Report an error of the adapter to whoever maintains it
    #[command(after_help = REPORT_HELP)]
    ReportError(ReportError),
}

pub(super) const ZPCI_HELP: &str = "\
FID is the function ID, in hexadecimal: it names a place for ever, while the handle is another one
each time the function is enabled. A handle whose highest bit is 0 is not enabled.

Examples:
  portcullis zpci
  portcullis zpci show 00000100
  portcullis zpci deconfigure 100 --timeout 5
  portcullis zpci configure 100
  portcullis --json zpci";

const CONFIGURE_HELP: &str = "\
A function that stands on a card with others comes and goes with them. One with virtual functions
is not deconfigured (`portcullis numvfs SLOT 0` first).

Examples:
  portcullis zpci deconfigure 00000100
  portcullis zpci deconfigure 100 --force
  portcullis zpci configure 100 --no-wait";

const RECOVER_HELP: &str = "\
The function is disabled, reset with its configuration space kept, thawed if it was frozen, and
enabled under another handle; whoever has it keeps it, and its driver starts the device anew.
While one recovers a function, a second one does nothing.

Examples:
  portcullis zpci recover 00000100
  portcullis zpci recover 100";

const RESET_HELP: &str = "\
The handle is another one afterwards, and a freeze is over. A function in permanent error is
refused: `portcullis zpci recover` may end that.

Example:
  portcullis zpci reset 00000100";

const REPORT_HELP: &str = "\
Actions: 0 asks for a reset of the adapter, 1 for its repair, 2 is for information.

Example:
  portcullis zpci report-error 100 --action 1 --data 'link errors'";

/// One function by its ID.
#[derive(Debug, Clone, Args)]
pub struct FunctionId {
    /// Function ID, in hexadecimal, as `portcullis zpci` shows it
    #[arg(value_name = "FID", value_parser = function_id)]
    pub fid: u32,
}

/// `zpci configure`.
#[derive(Debug, Clone, Args)]
pub struct Configure {
    /// The function.
    #[command(flatten)]
    pub fid: FunctionId,
    /// Whether to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `zpci deconfigure`.
#[derive(Debug, Clone, Args)]
pub struct Deconfigure {
    /// The function.
    #[command(flatten)]
    pub fid: FunctionId,
    /// How the consumers are treated.
    #[command(flatten)]
    pub patience: Patience,
    /// Whether to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `zpci report-error`.
#[derive(Debug, Clone, Args)]
pub struct ReportError {
    /// The function.
    #[command(flatten)]
    pub fid: FunctionId,
    /// What is asked for: 0 to 2
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub action: u8,
    /// What is known of the error, in at most 512 bytes
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = report_data)]
    pub data: String,
}

fn function_id(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let sound = (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    match u32::from_str_radix(digits, 16) {
        Ok(fid) if sound => Ok(fid),
        _ => Err(String::from("write 1 to 8 hexadecimal digits, as `portcullis zpci` shows them")),
    }
}

/// With every byte of it escaped the request is still a line that the daemon takes.
fn report_data(text: &str) -> Result<String, String> {
    const LONGEST: usize = 512;
    match text.len() {
        0..=LONGEST => Ok(text.to_owned()),
        length => Err(format!("it has {length} bytes; write at most {LONGEST}")),
    }
}

/// What is asked of the daemon about the s390 view.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub enum ZpciAction {
    /// The table.
    List,
    /// One function.
    Show(Request),
    /// Recovers or resets one.
    Recover(Request),
    /// Reports an error.
    Report(Request),
    /// Something that takes its time.
    Slot(SlotAction),
}

impl From<Zpci> for ZpciAction {
    fn from(it: Zpci) -> Self {
        match it.verb.unwrap_or(ZpciVerb::List) {
            ZpciVerb::List => Self::List,
            ZpciVerb::Show(it) => Self::Show(Request::ZpciShow { fid: it.shown() }),
            ZpciVerb::Configure(it) => {
                let request = Request::ZpciConfigure { fid: it.fid.shown() };
                Self::Slot(SlotAction::Operation(request, it.waiting.no_wait))
            }
            ZpciVerb::Deconfigure(it) => {
                let (fid, timeout_ms) = (it.fid.shown(), it.patience.millis());
                let request = Request::ZpciDeconfigure { fid, timeout_ms };
                Self::Slot(SlotAction::Operation(request, it.waiting.no_wait))
            }
            ZpciVerb::Recover(it) => Self::Recover(Request::ZpciRecover { fid: it.shown() }),
            ZpciVerb::Reset(it) => Self::Recover(Request::ZpciReset { fid: it.shown() }),
            ZpciVerb::ReportError(it) => {
                let ReportError { fid, action, data } = it;
                Self::Report(Request::ZpciReportError { fid: fid.shown(), action, data })
            }
        }
    }
}

impl FunctionId {
    fn shown(&self) -> String {
        format!("{:08x}", self.fid)
    }
}

pub(super) fn run(global: &Global, action: ZpciAction) -> Result<(), Failure> {
    let json = global.json;
    let connect = || Client::connect(&global.control_socket());
    match action {
        ZpciAction::Slot(action) => super::slots::run(global, action),
        ZpciAction::List => {
            let list: Vec<ZpciSummary> = connect()?.ask(&Request::ZpciList {})?;
            if json { print_json(&list) } else { print_text(&functions(&list)) }
        }
        ZpciAction::Show(request) => {
            let report: ZpciReport = connect()?.ask(&request)?;
            if json { print_json(&report) } else { print_text(&function(&report)) }
        }
        ZpciAction::Recover(request) => {
            let done: RecoverDone = connect()?.ask(&request)?;
            if json { print_json(&done) } else { print_text(&recovered(&done)) }
        }
        ZpciAction::Report(request) => {
            let reported: ErrorReported = connect()?.ask(&request)?;
            let text = format!(
                "{}: action {} was reported, with {} bytes\n",
                reported.fid, reported.action, reported.bytes
            );
            if json { print_json(&reported) } else { print_text(&text) }
        }
    }
}

fn functions(list: &[ZpciSummary]) -> String {
    let row = |it: &ZpciSummary| {
        vec![
            it.fid.clone(),
            or_dash(&it.uid),
            it.handle.clone(),
            it.state.clone(),
            or_dash(&it.function),
            or_dash(&it.address),
            it.virtual_function.map_or_else(|| String::from("-"), |number| number.to_string()),
            or_dash(&it.slot),
        ]
    };
    let head = ["FID", "UID", "HANDLE", "STATE", "FUNCTION", "ADDRESS", "VFN", "SLOT"];
    table(&head, list.iter().map(row).collect())
}

fn function(report: &ZpciReport) -> String {
    let it = &report.summary;
    let yes = |is: bool| String::from(if is { "yes" } else { "no" });
    let bars: Vec<String> =
        report.bars.iter().map(|bar| format!("BAR {} of 2^{} bytes", bar.bar, bar.log2_size)).collect();
    let of = match (&it.parent, it.virtual_function) {
        (Some(parent), Some(number)) => format!("virtual function {number} of {parent}"),
        _ => String::from("physical function"),
    };
    let fields = [
        ("state", it.state.clone()),
        ("function", or_dash(&it.function)),
        ("address", or_dash(&it.address)),
        ("slot", or_dash(&it.slot)),
        ("type", of),
        ("uid", or_dash(&it.uid)),
        ("handle", format!("{}{}", it.handle, if report.enabled { ", enabled" } else { ", not enabled" })),
        ("group", format!("{}, blocks of at most {} bytes", report.group, report.max_store)),
        ("bars", or_dash(&bars.join(", "))),
        ("dma", format!("{} to {}", report.dma_start, report.dma_end)),
        ("io region", yes(it.io_region)),
    ];
    let mut text = format!("{}\n", it.fid);
    for (name, value) in fields {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<10} {value}");
    }
    text
}

fn recovered(done: &RecoverDone) -> String {
    let took = done.took_us as f64 / 1000.0;
    match done.outcome.as_str() {
        "not-configured" => format!("{}: it is not configured, so there is nothing to recover\n", done.fid),
        "already-running" => format!("{}: somebody recovers or resets it already\n", done.fid),
        outcome => format!("{}: {outcome} in {took:.1} ms; its handle is {}\n", done.fid, done.handle),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::grammar::{Action, CommandLine};
    use super::*;

    fn action(words: &str) -> ZpciAction {
        let words = ["portcullis"].into_iter().chain(words.split(' '));
        match Action::from(CommandLine::try_parse_from(words).unwrap().command) {
            Action::Zpci(action) => action,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_verb_it_is_the_table() {
        assert_eq!(action("zpci"), ZpciAction::List);
        assert_eq!(action("zpci list"), ZpciAction::List);
    }

    #[test]
    fn a_function_id_is_hexadecimal_however_it_is_written() {
        let shown = ZpciAction::Show(Request::ZpciShow { fid: String::from("0000010a") });
        for words in ["zpci show 10a", "zpci show 0x10A", "zpci show 0000010a"] {
            assert_eq!(action(words), shown, "{words}");
        }
        for wrong in ["zpci show", "zpci show xyz", "zpci show 123456789", "zpci show +1", "zpci show 0x"] {
            let words = ["portcullis"].into_iter().chain(wrong.split(' '));
            assert!(CommandLine::try_parse_from(words).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_report_asks_for_one_of_three_actions() {
        assert!(matches!(action("zpci report-error 1 --action 2 --data x"), ZpciAction::Report(_)));
        for wrong in ["zpci report-error 1", "zpci report-error 1 --action 3"] {
            let words = ["portcullis"].into_iter().chain(wrong.split(' '));
            assert!(CommandLine::try_parse_from(words).is_err(), "{wrong}");
        }
    }
}

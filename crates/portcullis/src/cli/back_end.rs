//! Back ends on the command line: what can be said, and how it is shown.

use std::fmt::Write;

use super::exit::Failure;
use super::grammar::{Global, Target};
use super::show;
use super::text::{duration, or_dash, table};
use crate::control::back_end::BackEndReport;
use crate::control::protocol::Request;
use clap::{Args, Subcommand};

/// `backend`, with or without a verb.
#[derive(Debug, Clone, Args)]
pub struct BackEnd {
    /// What to do; without, the table.
    #[command(subcommand)]
    pub verb: Option<BackEndVerb>,
}

/// Verbs of `backend`.
#[derive(Debug, Clone, Subcommand)]
pub enum BackEndVerb {
    /// List the remote functions with their back ends, losses and pauses
    List,
    /// Show one
    Show(Target),
    /// Try to reconnect at once instead of after the back-off
    Retry(Target),
}

pub(super) const BACK_END_HELP: &str = "\
A remote function (model = \"remote\") is executed by another vfio-user server, its back end. One
that dies, hangs or answers nonsense is lost, and the function waits for it to return. After
`give_up_after`, or more losses than `max_losses` within `window`, that is final and its card is
taken out; `portcullis slot power SLOT on` brings it up anew.

Examples:
  portcullis backend
  portcullis backend show disk0
  portcullis backend retry disk0
  portcullis events disk0 --kind back-end-returned";

/// What is asked of the daemon about back ends.
#[derive(Debug)]
pub enum BackEndAction {
    /// The table.
    List,
    /// One of them, and what is done to it.
    One(Request),
}

impl From<BackEnd> for BackEndAction {
    fn from(it: BackEnd) -> Self {
        match it.verb.unwrap_or(BackEndVerb::List) {
            BackEndVerb::List => Self::List,
            BackEndVerb::Show(it) => Self::One(Request::BackEndShow { target: it.target }),
            BackEndVerb::Retry(it) => Self::One(Request::BackEndRetry { target: it.target }),
        }
    }
}

pub(super) fn run(global: &Global, action: BackEndAction) -> Result<(), Failure> {
    match action {
        BackEndAction::List => {
            show(global, &Request::BackEndList {}, |list: &Vec<BackEndReport>| all(list)).map(drop)
        }
        BackEndAction::One(request) => show(global, &request, one).map(drop),
    }
}

fn pause(report: &BackEndReport) -> String {
    report.last_pause_us.map_or_else(|| String::from("-"), duration)
}

fn all(list: &[BackEndReport]) -> String {
    if list.is_empty() {
        return String::from("no function has a back end\n");
    }
    let row = |it: &BackEndReport| {
        vec![
            it.slot.clone(),
            it.mode.clone(),
            it.state.clone(),
            duration(it.for_ms.saturating_mul(1000)),
            it.losses.to_string(),
            pause(it),
            it.upstream.clone(),
        ]
    };
    let head = ["SLOT", "MODE", "STATE", "FOR", "LOSSES", "LAST PAUSE", "UPSTREAM"];
    table(&head, list.iter().map(row).collect())
}

fn one(it: &BackEndReport) -> String {
    let fields = [
        ("slot", it.slot.clone()),
        ("upstream", it.upstream.clone()),
        ("mode", it.mode.clone()),
        ("state", format!("{} for {}", it.state, duration(it.for_ms.saturating_mul(1000)))),
        ("process", it.pid.map_or_else(|| String::from("-"), |pid| pid.to_string())),
        ("attempts", it.attempts.to_string()),
        ("losses", it.losses.to_string()),
        ("last loss", or_dash(&it.last_loss)),
        ("last pause", pause(it)),
        ("replayed", it.replayed.to_string()),
        ("refused", it.refused.to_string()),
        ("left out", or_dash(&it.left_out.join(", "))),
    ];
    let mut text = format!("{}\n", it.address);
    for (name, value) in fields {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<10} {value}");
    }
    text
}

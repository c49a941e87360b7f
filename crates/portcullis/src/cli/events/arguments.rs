//! What can be said.

use clap::Args;

/// `events`.
#[derive(Debug, Clone, Args)]
pub struct Events {
    /// Address or name of a function, name of a slot or of a virtual machine [default: all]
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Go on with what happens from now on, until interrupted
    #[arg(long, short)]
    pub follow: bool,
    /// Only events with numbers above N, or only new ones (`now`)
    #[arg(long, value_name = "N", default_value = "0", value_parser = since)]
    pub since: Since,
    /// Only events of these kinds
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    pub kinds: Vec<String>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Follow for so many seconds; exit code 5 if that is too short for --count
    #[arg(long, value_name = "SECONDS", requires = "follow", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: Option<u64>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// After this number.
    Number(u64),
    /// With the next event.
    Now,
}

fn since(text: &str) -> Result<Since, String> {
    match text {
        "now" => Ok(Since::Now),
        number => number.parse().map(Since::Number).map_err(|_| String::from("write a number, or `now`")),
    }
}

pub(in crate::cli) const EVENTS_HELP: &str = "\
Events are numbered from 1 on; the latest 4096 are kept, and of each function and slot the latest
64 in any case. Where some are missing, a line says how many. `!` stands before what somebody
should look at. With --json and -f each event is one line, and so is a gap:
{\"gap\":{\"missed\":12,\"next\":40}}.

Exit code 0 when interrupted or when nobody reads any more, 3 when the daemon ends.

Examples:
  portcullis events
  portcullis events 01:00.0 --since 120
  portcullis events -f --json | jq 'select(.severity == \"warning\")'
  portcullis events disk0 -f --since now --kind released,revoked --count 1 --timeout 30";

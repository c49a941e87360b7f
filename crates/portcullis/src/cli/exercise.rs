//! `portcullis exercise`: the plan from the command line, progress on the way, figures at the end.

use std::fmt::Write as _;
use std::time::Duration;

use gate::ThreadToken;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::io::Errno;
use vfio_user::client::ClientError;

use super::exit::{Exit, Failure};
use super::grammar::{Exercise, Global};
use super::{print_json, print_text};
use crate::config::size::{describe_size, format_size};
use crate::exercise::latency::{Figures, Latency};
use crate::exercise::{ExerciseError, Outcome, Plan, exercise};

/// How long without any limit given.
const DEFAULT_SECONDS: u32 = 5;

pub(super) fn run(global: &Global, options: &Exercise) -> Result<(), Failure> {
    let seconds = options.seconds.or(options.size.is_none().then_some(DEFAULT_SECONDS));
    let plan = Plan {
        time: seconds.map(|seconds| Duration::from_secs(u64::from(seconds))),
        size: options.size,
        depth: options.depth,
        block: options.block,
        overwrite: options.overwrite,
    };
    let bar = progress_bar(global.json);
    let mut token = ThreadToken::at_thread_entry();
    let outcome = exercise(&mut token, &options.socket, &plan, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let outcome = outcome.map_err(|error| failure(&error))?;
    if global.json { print_json(&document(&plan, &outcome)) } else { print_text(&summary(&plan, &outcome)) }
}

/// On stderr, and only if that is a terminal.
fn progress_bar(hidden: bool) -> ProgressBar {
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(1), target);
    match ProgressStyle::with_template(
        "writing, reading back, comparing  {wide_bar} {percent:>3} %  {elapsed}",
    ) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn failure(error: &ExerciseError) -> Failure {
    let exit = match error {
        ExerciseError::Connect(ClientError::Refused { errno: Errno::BUSY, .. }) => Exit::Busy,
        ExerciseError::Connect(_) => Exit::Unreachable,
        ExerciseError::Plan(_) => Exit::Usage,
        ExerciseError::ForeignData(_) => Exit::Busy,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn summary(plan: &Plan, outcome: &Outcome) -> String {
    let disk = &outcome.identity;
    let size = describe_size(disk.blocks.saturating_mul(disk.block_size as u64));
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}, serial {}: {size} in blocks of {} bytes",
        disk.model, disk.serial, disk.block_size
    );
    let (verified, seconds) = (describe_size(outcome.verified), outcome.elapsed.as_secs_f64());
    let _ = writeln!(text, "{verified} written, read back and found as written, in {seconds:.1} s");
    let _ = writeln!(
        text,
        "{} at a time, {} each, {} doorbells\n",
        plan.depth,
        format_size(plan.block),
        disk.doorbells
    );
    let _ = writeln!(text, "            IOPS      MiB/s     p50 us     p99 us   p99.9 us     max us");
    for (name, latency) in [("write", &outcome.writes), ("read", &outcome.reads)] {
        let f = latency.figures();
        let _ = writeln!(
            text,
            "{name:<6}{:>10.0} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1}",
            f.iops, f.mib_s, f.p50_us, f.p99_us, f.p999_us, f.max_us
        );
    }
    let drawn = |name: &str, latency: &Latency| format!("\nlatency of {name}\n{}", latency.draw());
    text.push_str(&drawn("writes", &outcome.writes));
    text.push_str(&drawn("reads", &outcome.reads));
    text
}

fn document(plan: &Plan, outcome: &Outcome) -> serde_json::Value {
    let disk = &outcome.identity;
    let (write, read): (Figures, Figures) = (outcome.writes.figures(), outcome.reads.figures());
    serde_json::json!({
        "model": disk.model,
        "serial": disk.serial,
        "blocks": disk.blocks,
        "block_size": disk.block_size,
        "doorbells": disk.doorbells,
        "depth": plan.depth,
        "block": plan.block,
        "seconds": outcome.elapsed.as_secs_f64(),
        "verified_bytes": outcome.verified,
        "write": write,
        "read": read,
    })
}

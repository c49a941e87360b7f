//! `portcullis serve`: from the command line to a daemon, and from a signal to its end.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use remote::config::{Mode as ReplayMode, RemoteConfig};
use rustix::fs::Mode;

use super::exit::{Exit, Failure};
use super::grammar::{Global, Serve};
use super::{print_json, print_text};
use crate::config::size::format_size;
use crate::config::{Config, DaemonConfig, DeviceConfig};
use crate::daemon::signals::Signals;
use crate::daemon::{Daemon, Place};
use crate::events::Journal;
use crate::run_dir::{RunDir, RunDirError};
use crate::{command_lines, log};

pub(super) fn run(global: &Global, serve: &Serve) -> Result<(), Failure> {
    let config = match &serve.file {
        Some(file) => Some(read_file(file)?),
        None => None,
    };
    if let (true, Some(config)) = (serve.check, &config) {
        let (slots, word) = (config.slots.len(), if config.slots.len() == 1 { "slot" } else { "slots" });
        return print_text(&format!("{slots} {word}, nothing wrong in the file\n"));
    }
    let from_file = config.as_ref().and_then(|config| config.daemon.run_dir.clone());
    let path = global.run_dir.clone().or(from_file).unwrap_or_else(|| global.run_dir());
    start_log(config.as_ref().map(|config| &config.daemon))?;
    serve_here(global, &path, |run_dir| config.unwrap_or_else(|| Config::built_in(run_dir)))
}

/// Serves in the foreground until a signal ends it. What is served may depend on the
/// run directory.
pub(super) fn serve_here(
    global: &Global,
    run_dir: &Path,
    config: impl FnOnce(&Path) -> Config,
) -> Result<(), Failure> {
    // Before any other thread is started, so that none of them is interrupted.
    let system = |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot take signals: {error}"));
    let mut signals = Signals::block().map_err(system)?;
    // Sockets and images are for this user only, also in the moment before their mode is set.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let mut token = ThreadToken::at_thread_entry();

    let run_dir = RunDir::hold(run_dir)?;
    let config = config(run_dir.path());
    let drain_deadline = config.daemon.drain_deadline;
    let journal = Arc::new(Journal::default());
    let daemon = Daemon::start(&mut token, config, run_dir, &journal)
        .map_err(|complaints| Failure::new(Exit::Failed, complaints.to_string()))?;
    announce(global, &daemon.places())?;

    let signal = signals.wait(&mut token).map_err(system)?;
    tracing::info!("{signal}: ending every session and flushing, for at most {} s", drain_deadline.as_secs());
    end_at_once_on_second_signal(signals, daemon.sockets());
    end(daemon, &mut token, drain_deadline)
}

fn read_file(file: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let message = format!("cannot read {}: {error}\nfix: name a readable TOML file", file.display());
        Failure::new(Exit::Usage, message)
    })?;
    Config::parse(file, &text).map_err(|complaints| Failure::new(Exit::Usage, complaints.to_string()))
}

pub(super) fn start_log(config: Option<&DaemonConfig>) -> Result<(), Failure> {
    let from_file = config.and_then(|config| config.log.clone());
    let wanted = std::env::var("PORTCULLIS_LOG").ok().or(from_file).unwrap_or_else(|| String::from("info"));
    log::start(&wanted).map_err(|error| {
        let fix = "fix: write a level such as `info`, or `vfio_user=trace`";
        Failure::new(Exit::Usage, format!("`{wanted}` is no log filter: {error}\n{fix}"))
    })
}

/// Says what is served and how to attach it. A line `ready` ends it, for those who wait for the daemon.
fn announce(global: &Global, places: &[Arc<Place>]) -> Result<(), Failure> {
    if global.json {
        let served: Vec<_> = places.iter().map(|place| announcement(place)).collect();
        return print_json(&serde_json::json!({ "ready": true, "slots": served }));
    }
    let mut text = String::new();
    for place in places {
        let size = if place.size() == 0 { String::new() } else { format!(", {}", format_size(place.size())) };
        let model = if place.model().is_empty() { "empty" } else { place.model() };
        let _ = writeln!(
            text,
            "{} {} ({model}{size})\n  socket {}\n",
            place.address,
            place.name,
            place.socket.display()
        );
    }
    if let [place] = places {
        let qemu = command_lines::qemu(&place.socket);
        let cloud_hypervisor = command_lines::cloud_hypervisor(&place.socket);
        let _ = writeln!(text, "attach it to QEMU 10.1 or newer:\n{qemu}\n");
        let _ = writeln!(text, "or to cloud-hypervisor:\n{cloud_hypervisor}\n");
        let replays = |remote: &RemoteConfig| remote.mode == ReplayMode::Replay;
        let is_nvme = match place.device() {
            Some(DeviceConfig::Nvme { .. }) => true,
            Some(DeviceConfig::Remote { remote }) => replays(&remote),
            _ => false,
        };
        if is_nvme {
            let socket = command_lines::shell_quoted(&place.socket.display().to_string());
            let _ =
                writeln!(text, "or see it work without a virtual machine:\nportcullis exercise {socket}\n");
        }
    } else {
        text.push_str("attach them as docs/operations.md says; `--json` prints the command lines of each\n");
    }
    text.push_str("ready\n");
    print_text(&text)
}

fn announcement(place: &Place) -> serde_json::Value {
    serde_json::json!({
        "slot": place.name,
        "address": place.address.to_string(),
        "model": place.model(),
        "size": place.size(),
        "socket": place.socket,
        "qemu": command_lines::qemu(&place.socket),
        "cloud_hypervisor": command_lines::cloud_hypervisor(&place.socket),
    })
}

/// A second signal means now: sockets are removed, sessions are cut, nothing is waited for.
fn end_at_once_on_second_signal(mut signals: Signals, sockets: Vec<PathBuf>) {
    let watch = move || {
        let mut token = ThreadToken::at_thread_entry();
        let Ok(signal) = signals.wait(&mut token) else { return };
        tracing::error!("{signal} again: ending without waiting; the disks may not be flushed");
        for socket in sockets {
            let _ = std::fs::remove_file(socket);
        }
        std::process::exit(Exit::Failed as i32);
    };
    if let Err(error) = std::thread::Builder::new().name("second-signal".into()).spawn(watch) {
        tracing::warn!("a second signal will not be noticed: {error}");
    }
}

fn end(daemon: Daemon, token: &mut ThreadToken, drain_deadline: Duration) -> Result<(), Failure> {
    let left_over = daemon.drain(token, Deadline::after(drain_deadline));
    if left_over.is_empty() {
        tracing::info!("everything is flushed and closed");
        return Ok(());
    }
    let message =
        format!("not everything ended in {} s:\n  {}", drain_deadline.as_secs(), left_over.join("\n  "));
    Err(Failure::new(Exit::Failed, message))
}

impl From<RunDirError> for Failure {
    fn from(error: RunDirError) -> Self {
        let exit = if matches!(error, RunDirError::InUse(_)) { Exit::Busy } else { Exit::Failed };
        Self::new(exit, error.to_string())
    }
}

//! `portcullis proxy`: the daemon with one remote function, without a file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use remote::config::{Mode, RemoteConfig};

use super::exit::{Exit, Failure};
use super::grammar::Global;
use super::serve::{serve_here, start_log};
use crate::config::{Config, DeviceConfig, restart_command};

/// Name of its only slot.
const SLOT: &str = "proxy0";

/// `proxy`.
#[derive(Debug, Clone, Args)]
pub struct Proxy {
    /// Socket of the server whose function it is, or its directory
    #[arg(long, value_name = "SOCKET")]
    pub upstream: PathBuf,
    /// Socket for the virtual machine; made here
    #[arg(long, value_name = "SOCKET")]
    pub listen: PathBuf,
    /// What a new server means: replay, passthrough, reset [default: replay]
    #[arg(long, value_enum, default_value_t = ModeChoice::Replay, hide_default_value = true, hide_possible_values = true)]
    pub mode: ModeChoice,
    /// Kill a server that hangs, so that what it had in flight is over
    #[arg(long)]
    pub kill_hung: bool,
    /// Give it this fault from the start on; may be repeated (see `inject`)
    #[arg(long, value_name = "RULE")]
    pub inject: Vec<String>,
    /// Command that starts the server again when it is lost; the last option
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true, trailing_var_arg = true)]
    pub restart: Vec<OsString>,
}

/// `--mode`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModeChoice {
    /// NVMe: what was in flight is executed again; the machine sees a pause
    Replay,
    /// Queues and doorbells are the server's own; the device is reset
    Passthrough,
    /// The same, but nothing of the server's memory is passed on
    Reset,
}

impl From<ModeChoice> for Mode {
    fn from(choice: ModeChoice) -> Self {
        match choice {
            ModeChoice::Replay => Mode::Replay,
            ModeChoice::Passthrough => Mode::Passthrough,
            ModeChoice::Reset => Mode::Reset,
        }
    }
}

pub(super) const PROXY_HELP: &str = "\
The virtual machine connects to --listen and keeps its device while the server behind --upstream
is killed, restarted or upgraded. In `replay` (NVMe) what was in flight is executed again and the
machine sees a pause; otherwise queues and doorbells are the server's, and the device is reset.
`portcullis serve` does the same for many, from a file. The run directory is SOCKET.d beside
--listen unless --run-dir names one; commands about this proxy take the same --run-dir.

Examples:
  portcullis proxy --upstream /run/spdk/disk0 --listen /run/vm1/disk0.sock
  portcullis proxy --upstream a.sock --listen b.sock --mode passthrough
  portcullis proxy --upstream a.sock --listen b.sock --restart systemctl restart spdk
  portcullis --run-dir b.sock.d backend";

pub(super) fn run(global: &Global, proxy: Proxy) -> Result<(), Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .map_err(|error| usage(format!("cannot make {} absolute: {error}", path.display())))
    };
    let (upstream, listen) = (absolute(&proxy.upstream)?, absolute(&proxy.listen)?);
    if upstream == listen {
        return Err(usage(String::from("--upstream and --listen are the same socket\nfix: name two")));
    }
    let mut remote = RemoteConfig::new(upstream);
    remote.mode = proxy.mode.into();
    remote.kill_hung = proxy.kill_hung;
    if !proxy.restart.is_empty() {
        let command = restart_command(proxy.restart);
        remote.restart =
            Some(command.ok_or_else(|| usage(String::from("--restart has no program, or too many words")))?);
    }
    for rule in &proxy.inject {
        let rule = rule.parse::<remote::inject::Rule>();
        rule.map_err(|error| usage(format!("--inject: {error}")))?;
    }
    let mut run_dir = listen.clone().into_os_string();
    run_dir.push(".d");
    let mut config = Config::one_slot(SLOT, DeviceConfig::Remote { remote: Box::new(remote) });
    for slot in &mut config.slots {
        slot.socket = Some(listen.clone());
        slot.inject.clone_from(&proxy.inject);
    }
    let run_dir = global.run_dir.clone().unwrap_or_else(|| PathBuf::from(run_dir));
    start_log(None)?;
    serve_here(global, &run_dir, |_| config)
}

//! The daemon's configuration: what is served, where, and on which backing.
//!
//! [`Config::parse`] reads TOML and answers with *all* complaints at once, each with its place and its fix.
//! [`Config::built_in`] is what `portcullis serve` without a file serves.
//!
//! It opens nothing and checks nothing outside the text: whether an image exists or a socket is busy is found by
//! [`crate::daemon`], which then points back here through [`Position`].

mod backing;
mod containment;
mod device;
pub mod diagnostic;
mod document;
mod endpoint;
mod ism;
mod remote;
mod section;
pub mod size;
#[cfg(test)]
mod tests;
mod watchdog;
mod zpci;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pci_spec::Bdf;

pub use containment::{ContainmentConfig, OnError};
pub use diagnostic::{Diagnostic, Diagnostics, Position};
pub use remote::restart_command;
pub use zpci::ZpciConfig;

/// Longest `drain_deadline` accepted, in seconds.
pub const MAX_DRAIN_DEADLINE_S: u64 = 600;
/// `drain_deadline` unless configured, in seconds.
pub const DEFAULT_DRAIN_DEADLINE_S: u64 = 10;
/// The watchdog's `threshold` unless configured, in seconds.
pub const DEFAULT_WATCHDOG_THRESHOLD_S: u64 = 10;
/// The shortest and the longest `threshold` of the watchdog.
pub const WATCHDOG_THRESHOLDS: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);
/// Longest slot name, in bytes: the socket's path must fit the 108 bytes of a UNIX socket address.
pub const MAX_NAME_LEN: usize = 32;
/// Most slots of one daemon.
pub const MAX_SLOTS: usize = 256;

/// Everything the daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Settings of the daemon itself.
    pub daemon: DaemonConfig,
    /// Settings of the watchdog.
    pub watchdog: WatchdogConfig,
    /// What happens to functions that fail.
    pub containment: ContainmentConfig,
    /// The slots, in the order of the file.
    pub slots: Vec<SlotConfig>,
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonConfig {
    /// Where sockets live; `None` for the user's own directory ([`crate::run_dir::default_path`]).
    pub run_dir: Option<PathBuf>,
    /// Log filter in the syntax of `tracing` (`info`, `debug`, `vfio_user=trace`).
    pub log: Option<String>,
    /// How long stopping may take before what is still in flight is given up and named.
    pub drain_deadline: Duration,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        let drain_deadline = Duration::from_secs(DEFAULT_DRAIN_DEADLINE_S);
        Self { run_dir: None, log: None, drain_deadline }
    }
}

/// `[watchdog]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchdogConfig {
    /// Waits that last as long as this are logged; `None`: none are.
    pub threshold: Option<Duration>,
}

impl Default for WatchdogConfig {
    fn default() -> Self {
        Self { threshold: Some(Duration::from_secs(DEFAULT_WATCHDOG_THRESHOLD_S)) }
    }
}

/// One `[[slot]]`: a place where a function is plugged. Several at the functions of one device are one slot, whose card
/// comes and goes as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotConfig {
    /// Its name: also the name of its directory, `<run_dir>/<name>/cntrl`.
    pub name: String,
    /// Where the function stands.
    pub address: Bdf,
    /// `socket`: where its clients connect; `None`: at `cntrl` in its directory.
    pub socket: Option<PathBuf>,
    /// What is plugged in at the start; `None`: nothing.
    pub device: Option<DeviceConfig>,
    /// `inject`: faults that it is given from the start on.
    pub inject: Vec<String>,
    /// What the port of the slot has.
    pub port: PortConfig,
    /// How the function shows in the s390 view.
    pub zpci: ZpciConfig,
    /// `on_error`: what happens to the function when it fails.
    pub on_error: OnError,
    /// Where the slot was configured; `None` if built in.
    pub position: Option<Position>,
    /// Where its backing was configured; `None` if built in.
    pub backing_position: Option<Position>,
}

/// What the hot-plug port of a slot has beside a power controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortConfig {
    /// `attention_button = true`: a card that is put in waits for the button.
    pub attention_button: bool,
    /// `latch = true`: a latch holds the card.
    pub latch: bool,
}

/// `device = { model = ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceConfig {
    /// `model = "nvme"`.
    Nvme {
        /// The controller.
        controller: models::nvme::Config,
        /// What holds its data.
        backing: BackingConfig,
    },
    /// `model = "endpoint-test"`.
    EndpointTest {
        /// The device, without its ROM.
        endpoint: models::endpoint::Config,
        /// The image that it shows as its ROM; a relative path begins at the configuration file's directory.
        rom: Option<PathBuf>,
    },
    /// `model = "ism"`.
    Ism {
        /// The device.
        ism: models::ism::Config,
    },
    /// `model = "remote"`.
    Remote {
        /// The back end, and how it is lived with.
        remote: Box<::remote::config::RemoteConfig>,
    },
}

impl DeviceConfig {
    /// The model's name as the file writes it.
    pub fn model(&self) -> &'static str {
        match self {
            Self::Nvme { .. } => "nvme",
            Self::EndpointTest { .. } => "endpoint-test",
            Self::Ism { .. } => "ism",
            Self::Remote { .. } => "remote",
        }
    }

    /// Whether its consumers cannot do without the zPCI I/O region: its BARs take blocks only.
    pub fn needs_io_region(&self) -> bool {
        matches!(self, Self::Ism { .. })
    }

    /// Makes it one of several functions of a device.
    pub fn stands_beside_others(&mut self) {
        match self {
            Self::Nvme { controller, .. } => controller.multi_function = true,
            Self::EndpointTest { endpoint, .. } => endpoint.multi_function = true,
            Self::Ism { ism } => ism.multi_function = true,
            Self::Remote { remote } => remote.nvme.multi_function = true,
        }
    }
}

/// `backing = { kind = ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackingConfig {
    /// `kind = "memory"`: gone when the daemon ends.
    Memory {
        /// Bytes.
        size: u64,
    },
    /// `kind = "file"`: an image, created sparse if it does not exist.
    File {
        /// A relative path begins at the configuration file's directory.
        path: PathBuf,
        /// Bytes; `None` takes the length of the file, which must then exist.
        size: Option<u64>,
    },
}

impl Config {
    /// Reads `text`, the contents of `file`.
    ///
    /// # Errors
    /// All complaints about the text, in the order of the file.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Diagnostics> {
        document::parse(file, text)
    }

    /// Reads what is to be plugged into a slot later: the values of `device` and `backing` as they stand in a file.
    /// Relative paths begin at `base`.
    ///
    /// # Errors
    /// All complaints about the two, at their places in them.
    pub fn parse_card(base: &Path, device: &str, backing: Option<&str>) -> Result<DeviceConfig, Diagnostics> {
        document::parse_card(base, device, backing)
    }

    /// One NVMe disk `disk0` at 0000:01:00.0 on a sparse file of 1 GiB in `run_dir`.
    pub fn built_in(run_dir: &Path) -> Self {
        let backing = BackingConfig::File { path: run_dir.join("disk0.img"), size: Some(1 << 30) };
        Self::one_slot("disk0", DeviceConfig::Nvme { controller: models::nvme::Config::default(), backing })
    }

    /// One slot at 0000:01:00.0 with `device` in it, and everything else as it is without being configured.
    pub fn one_slot(name: &str, device: DeviceConfig) -> Self {
        let slot = SlotConfig {
            name: name.to_owned(),
            address: Bdf::from_routing_id(0, 0x0100),
            socket: None,
            device: Some(device),
            inject: Vec::new(),
            port: PortConfig::default(),
            zpci: ZpciConfig::default(),
            on_error: OnError::default(),
            position: None,
            backing_position: None,
        };
        Self {
            daemon: DaemonConfig::default(),
            watchdog: WatchdogConfig::default(),
            containment: ContainmentConfig::default(),
            slots: vec![slot],
        }
    }
}

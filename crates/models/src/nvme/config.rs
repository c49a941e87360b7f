//! What an operator chooses about an NVMe controller, and the limits nobody chooses.
//!
//! Pure data: building the controller is [`super::build`]'s task, parsing a file is the daemon's.

use std::time::Duration;

use super::limits::{MODEL_BYTES, SERIAL_BYTES};

/// How the controller raises interrupts. The function's capability list offers exactly this one kind (and INTx
/// beside it only when INTx is chosen), so a guest driver has no choice to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InterruptStyle {
    /// The pin INTA#, level-triggered. One vector.
    Intx,
    /// Message-signalled interrupts, 32 vectors. The default: QEMU 11.1.3 aborts when a vfio-user function with
    /// MSI-X is unplugged.
    #[default]
    Msi,
    /// MSI-X, one vector per queue pair.
    Msix,
}

/// How doorbell writes reach the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DoorbellStyle {
    /// Each doorbell write is a message, which wakes the worker. With Doorbell Buffer Config a busy guest sends
    /// none. The default, for two reasons: an idle function costs no CPU time at all, and a region that may be
    /// mapped turns posted writes off for the whole device in QEMU.
    #[default]
    Trapped,
    /// The doorbell page is offered for mapping. A store there wakes nobody, so the worker polls it. Polling
    /// initiators such as SPDK's accept nothing else.
    Mapped,
}

/// Size of a logical block: what LBA format 0 of the namespace says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlockSize {
    /// 512 bytes, understood by every guest and boot loader.
    #[default]
    B512,
    /// 4,096 bytes.
    B4096,
}

impl BlockSize {
    /// Base-two logarithm of the size in bytes, as the LBA format states it.
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            Self::B512 => 9,
            Self::B4096 => 12,
        }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        1 << self.shift()
    }
}

/// How the worker waits for doorbells when there is no work.
///
/// The worker spins for `spin` after the last work it found. In the mapped style it then sleeps, a quarter of
/// the time it has been idle so far, from `shortest_sleep` up to `longest_sleep`; in the trapped style it
/// parks until a doorbell write wakes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polling {
    /// How long to spin after the last work.
    pub spin: Duration,
    /// First sleep after spinning (mapped doorbells only).
    pub shortest_sleep: Duration,
    /// Longest sleep, and so the longest time for which a store to a mapped doorbell goes unseen. One look at
    /// the doorbells costs 5 to 20 us with the wake-up: every 4 ms keeps an idle controller under 1 % of a core.
    pub longest_sleep: Duration,
}

impl Polling {
    /// The choice for `style` that the configuration uses unless told otherwise.
    #[must_use]
    pub const fn for_style(style: DoorbellStyle) -> Self {
        let spin_us = match style {
            // Long enough for the next command of a guest that waits for each.
            DoorbellStyle::Mapped => 100,
            // A wake-up is one message, so spinning pays only for the tail of a burst.
            DoorbellStyle::Trapped => 10,
        };
        Self {
            spin: Duration::from_micros(spin_us),
            shortest_sleep: Duration::from_micros(10),
            longest_sleep: Duration::from_millis(4),
        }
    }
}

/// An NVMe controller with one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The kind of interrupt offered.
    pub interrupts: InterruptStyle,
    /// How doorbells arrive.
    pub doorbells: DoorbellStyle,
    /// Logical block size of the namespace.
    pub block_size: BlockSize,
    /// Serial number, 1 to 20 printable ASCII characters. `None`: derived from the function's name, so that it
    /// is the same after a restart.
    pub serial: Option<String>,
    /// Model number, 1 to 40 printable ASCII characters.
    pub model: String,
    /// How the worker waits. `None`: [`Polling::for_style`] of `doorbells`.
    pub polling: Option<Polling>,
    /// Other functions of the same device stand beside it.
    pub multi_function: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interrupts: InterruptStyle::default(),
            doorbells: DoorbellStyle::default(),
            block_size: BlockSize::default(),
            serial: None,
            model: String::from("Portcullis NVMe"),
            polling: None,
            multi_function: false,
        }
    }
}

/// Why a [`Config`] cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The serial number does not fit its field.
    #[error("serial number {0:?} must be 1 to 20 printable ASCII characters")]
    Serial(String),
    /// The model number does not fit its field.
    #[error("model number {0:?} must be 1 to 40 printable ASCII characters")]
    Model(String),
    /// The sleeps of the polling choice are out of order or out of range.
    #[error("polling must sleep for 1 us to 100 ms, the shortest sleep no longer than the longest")]
    Polling,
}

impl Config {
    /// Checks the text fields and the polling choice.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(serial) = &self.serial
            && !printable(serial, SERIAL_BYTES)
        {
            return Err(ConfigError::Serial(serial.clone()));
        }
        if !printable(&self.model, MODEL_BYTES) {
            return Err(ConfigError::Model(self.model.clone()));
        }
        let polling = self.polling();
        let in_range = polling.shortest_sleep >= Duration::from_micros(1)
            && polling.shortest_sleep <= polling.longest_sleep
            && polling.longest_sleep <= Duration::from_millis(100);
        if in_range { Ok(()) } else { Err(ConfigError::Polling) }
    }

    /// The polling choice in force.
    #[must_use]
    pub fn polling(&self) -> Polling {
        self.polling.unwrap_or(Polling::for_style(self.doorbells))
    }

    /// The serial number in force for a function called `name`.
    #[must_use]
    pub fn serial_for(&self, name: &str) -> String {
        self.serial.clone().unwrap_or_else(|| format!("PCLS{:016X}", fnv1a_64(name.as_bytes())))
    }
}

fn printable(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// The 64-bit FNV-1a hash: a stable number from a name, not a secret.
pub(super) fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_is_valid() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn a_serial_number_that_does_not_fit_its_field_is_refused() {
        for serial in ["", "123456789012345678901", "caf\u{e9}", "a\nb"] {
            let config = Config { serial: Some(serial.into()), ..Config::default() };
            assert_eq!(config.check(), Err(ConfigError::Serial(serial.into())));
        }
    }

    #[test]
    fn a_derived_serial_number_fits_and_depends_on_the_name_only() {
        let config = Config::default();
        assert_eq!(config.serial_for("disk0"), config.serial_for("disk0"));
        assert_ne!(config.serial_for("disk0"), config.serial_for("disk1"));
        assert!(printable(&config.serial_for("disk0"), SERIAL_BYTES));
    }

    #[test]
    fn sleeps_out_of_order_are_refused() {
        let mut polling = Polling::for_style(DoorbellStyle::Mapped);
        polling.shortest_sleep = polling.longest_sleep * 2;
        let config = Config { polling: Some(polling), ..Config::default() };
        assert_eq!(config.check(), Err(ConfigError::Polling));
    }
}

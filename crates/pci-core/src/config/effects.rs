//! What a write to configuration space asks of its surroundings.

use super::sr_iov::SrIovState;
use pci_spec::Command;
use pci_spec::capability::pm::PowerState;
use pci_spec::capability::{msi, msix};

/// A register before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<T> {
    /// The value before.
    pub old: T,
    /// The value after.
    pub new: T,
}

impl<T: PartialEq> Change<T> {
    /// The change, unless both are the same.
    pub(super) fn between(old: T, new: T) -> Option<Change<T>> {
        if old == new { None } else { Some(Change { old, new }) }
    }
}

/// What a write to configuration space changed beyond stored bits, and what it asks for.
///
/// The default is "nothing", which is what nearly all writes answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigEffects {
    /// COMMAND changed.
    pub command: Option<Change<Command>>,
    /// A power state is asked for, and the function has it. Not yet entered: see
    /// [`ConfigSpace::set_power_state`](super::ConfigSpace::set_power_state).
    pub power: Option<Change<PowerState>>,
    /// A function level reset is asked for (RST-05, RST-06, CAP-11, CAP-12). Not yet done.
    pub flr: bool,
    /// A BAR or the ROM has another value: another address, or decoding of the ROM on or off.
    pub bars_moved: bool,
    /// MSI was enabled or disabled, or given another number of vectors.
    pub msi: Option<Change<MsiState>>,
    /// MSI-X was enabled, disabled, masked or unmasked as a whole.
    pub msix: Option<Change<MsixState>>,
    /// A bridge holds, or no longer holds, everything below it in reset (RST-09). What is below is not reset yet.
    pub secondary_bus_reset: Option<Change<bool>>,
    /// A bridge has other bus numbers: what is below it is reached at other addresses.
    pub bus_numbers_changed: bool,
    /// A port forwards, or no longer forwards, to all 256 functions of the device below.
    pub ari_forwarding: Option<Change<bool>>,
    /// Virtual functions came or went, or their memory was switched on or off. Who asks for that has closed them as well,
    /// and has taken away what is mapped of them ([`Function::zap`](crate::Function::zap)).
    pub sr_iov: Option<Change<SrIovState>>,
}

impl ConfigEffects {
    /// Whether the function's own memory is decoded now and was not before, or the other way round: what consumers have
    /// mapped of it is to be taken away (VF-20). The memory of virtual functions is theirs: see `sr_iov`.
    #[must_use]
    pub fn changes_decoding(&self) -> bool {
        let memory = |change: Change<Command>| (change.old ^ change.new).contains(Command::MEMORY_SPACE);
        self.command.is_some_and(memory)
    }
}

/// How software has set MSI up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsiState {
    /// MSI is on.
    pub enabled: bool,
    /// Vectors that software grants, a power of two, at most what the function asks for.
    pub vectors: u16,
}

impl MsiState {
    pub(super) fn decode(control: u16) -> MsiState {
        MsiState {
            enabled: control & msi::Control::ENABLE.bits() != 0,
            vectors: msi::vectors_enabled(control).unwrap_or(msi::MAX_VECTORS),
        }
    }
}

/// How software has set MSI-X up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsixState {
    /// MSI-X is on.
    pub enabled: bool,
    /// All vectors are masked, whatever the table says.
    pub masked: bool,
}

impl MsixState {
    pub(super) fn decode(control: u16) -> MsixState {
        let control = msix::Control::from_bits_retain(control);
        MsixState {
            enabled: control.contains(msix::Control::ENABLE),
            masked: control.contains(msix::Control::FUNCTION_MASK),
        }
    }
}

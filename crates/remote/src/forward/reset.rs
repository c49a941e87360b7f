//! How the back end is reset.

use gate::ThreadToken;
use pci_spec::capability::express::{self, DeviceControl};

use crate::link::LinkError;
use crate::picture::{CONFIG, Picture, Upstream};

/// The way it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// `DEVICE_RESET`.
    Command,
    /// Function level reset, by this register of its configuration space.
    FunctionLevel { control: u16 },
    /// None: its state outlives a reset of ours.
    None,
}

impl Reset {
    pub(super) fn of(picture: &Picture) -> Reset {
        if picture.resets() {
            return Reset::Command;
        }
        match picture.capability(express::ID).filter(|_| picture.config_space().layout().has_flr()) {
            Some(at) => Reset::FunctionLevel { control: at + express::DEVICE_CONTROL },
            None => Reset::None,
        }
    }

    pub(super) fn post(self, token: &mut ThreadToken, upstream: &dyn Upstream) -> Result<(), LinkError> {
        match self {
            Reset::Command => upstream.post_reset(token),
            Reset::FunctionLevel { control } => {
                let value = DeviceControl::INITIATE_FUNCTION_LEVEL_RESET.bits().to_le_bytes();
                upstream.post(token, CONFIG, control.into(), &value)
            }
            Reset::None => Ok(()),
        }
    }
}

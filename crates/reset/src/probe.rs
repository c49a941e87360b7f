//! Which methods a function has, and why not the others: pure.

use crate::facts::Facts;
use crate::hold::Reader;
use crate::method::Method;
use crate::quirks::Quirks;
use pci_spec::Bdf;
use pci_spec::extended::cxl_port;
use thiserror::Error;

/// Why a function does not have a method. The errno is `ENOTTY`, "try the next" (RST-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Lack {
    /// No procedure of its own is known.
    #[error("no procedure is known for this device")]
    NoProcedure,
    /// The firmware has no `_RST`.
    #[error("the firmware has no _RST for it")]
    NoFirmware,
    /// The function does not have the capability.
    #[error("it has no {0} capability")]
    NoCapability(&'static str),
    /// It has the capability, which does not offer the reset.
    #[error("it does not offer function level reset")]
    NotOffered,
    /// It is known not to work.
    #[error("it is known not to work with this device")]
    Broken,
    /// Going to D3hot and back loses nothing.
    #[error("it keeps its state over D3hot (No_Soft_Reset)")]
    KeepsState,
    /// There is no bridge above.
    #[error("it is on a root bus")]
    RootBus,
    /// The reset would reach what is below.
    #[error("it is a bridge")]
    Bridge,
    /// The reset would reach others.
    #[error("others are on the same bus")]
    NotAlone,
    /// A CXL port keeps the reset from its bus.
    #[error("the CXL port above masks the reset of its bus")]
    Masked,
    /// The bridge above is not a CXL port.
    #[error("the bridge above is not a CXL port")]
    NotCxl,
    /// The function does not answer, so what it has cannot be seen.
    #[error("it does not answer")]
    Silent,
}

/// What is around the function, beside what it has itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The embedder has a procedure for the device.
    pub(crate) procedure: bool,
    /// The firmware has `_RST` for it.
    pub(crate) firmware: bool,
    /// There is a bridge above.
    pub(crate) below_bridge: bool,
    /// The bridge above has a hot-plug slot.
    pub(crate) slot: bool,
    /// Others are on the same bus.
    pub(crate) others: bool,
    /// The bridge above, or something on the bus, does not come back from the reset of the bus (RST-15).
    pub(crate) bus_broken: bool,
    /// What the bridge above is, as to CXL.
    pub(crate) cxl: CxlPort,
}

/// What a bridge is, as to CXL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CxlPort {
    /// No CXL port.
    #[default]
    No,
    /// One that lets the reset of its bus through.
    Open,
    /// One that masks it.
    Masked,
}

impl CxlPort {
    /// What the bridge is now; the mask may change at any time while the bridge is not held.
    pub(crate) fn read(reader: &mut dyn Reader, bridge: Bdf, facts: &Facts) -> CxlPort {
        let Some(extension) = facts.cxl_port else { return CxlPort::No };
        let control = reader.read_word(bridge, extension + cxl_port::CONTROL);
        // A port that does not answer masks nothing.
        if control & cxl_port::UNMASK_SECONDARY_BUS_RESET != 0 { CxlPort::Open } else { CxlPort::Masked }
    }

    /// As if nothing were masked, for a method that looks for itself.
    pub(crate) fn unmasked_if(self, method: Method) -> CxlPort {
        if self == CxlPort::Masked && method == Method::Bus { CxlPort::Open } else { self }
    }
}

/// Whether the function has the method.
///
/// # Errors
/// [`Lack`] says why not.
pub(crate) fn probe(
    method: Method,
    facts: Option<&Facts>,
    quirks: Quirks,
    around: Surroundings,
) -> Result<(), Lack> {
    match method {
        Method::DeviceSpecific if around.procedure => Ok(()),
        Method::Acpi => need(around.firmware, Lack::NoFirmware),
        Method::Bus => bus(facts, quirks, around),
        Method::CxlBus => cxl_bus(facts, quirks, around),
        Method::DeviceSpecific | Method::Flr | Method::AfFlr | Method::Pm => {
            own(method, facts.ok_or(Lack::Silent)?, quirks)
        }
    }
}

fn own(method: Method, facts: &Facts, quirks: Quirks) -> Result<(), Lack> {
    match method {
        Method::DeviceSpecific => {
            need(quirks.special_flr.is_some() && facts.express().is_some(), Lack::NoProcedure)
        }
        Method::Flr => {
            need(!quirks.no_flr, Lack::Broken)?;
            facts.express().ok_or(Lack::NoCapability("PCI Express"))?;
            need(facts.flr, Lack::NotOffered)
        }
        Method::AfFlr => {
            need(!quirks.no_flr, Lack::Broken)?;
            facts.advanced_features().ok_or(Lack::NoCapability("Advanced Features"))?;
            need(facts.af_flr, Lack::NotOffered)
        }
        Method::Pm => {
            need(!quirks.no_pm_reset, Lack::Broken)?;
            facts.power().ok_or(Lack::NoCapability("Power Management"))?;
            need(!facts.no_soft_reset, Lack::KeepsState)
        }
        Method::Acpi | Method::Bus | Method::CxlBus => Ok(()),
    }
}

/// The reset of the slot or of the bus, as a reset of one function (RST-08).
fn bus(facts: Option<&Facts>, quirks: Quirks, around: Surroundings) -> Result<(), Lack> {
    need(around.below_bridge, Lack::RootBus)?;
    need(!facts.is_some_and(|facts| facts.bridge), Lack::Bridge)?;
    need(!around.others, Lack::NotAlone)?;
    need(!quirks.no_bus_reset && !around.bus_broken, Lack::Broken)?;
    need(around.cxl != CxlPort::Masked, Lack::Masked)
}

fn cxl_bus(facts: Option<&Facts>, quirks: Quirks, around: Surroundings) -> Result<(), Lack> {
    need(around.below_bridge, Lack::RootBus)?;
    need(around.cxl != CxlPort::No, Lack::NotCxl)?;
    bus(facts, quirks, Surroundings { cxl: CxlPort::Open, ..around })
}

fn need(condition: bool, otherwise: Lack) -> Result<(), Lack> {
    if condition { Ok(()) } else { Err(otherwise) }
}

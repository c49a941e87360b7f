//! Looking at a function while everybody else goes on.

use crate::hold::Reader;
use crate::shut::Patience;
use gate::{AccessKind, Pass, Refusal, ThreadToken};
use pci_core::Width;
use pci_spec::Bdf;
use topology::Node;

/// Reads registers of one function under one pass: what is read belongs together, as no reset, power change or freeze
/// comes in between. Everything else reads all-ones.
pub(crate) struct Peek<'p> {
    node: &'p Node,
    pass: Pass<'p>,
}

impl<'p> Peek<'p> {
    /// Enters the function.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot be looked at now.
    pub(crate) fn new(
        token: &'p mut ThreadToken,
        node: &'p Node,
        patience: Patience,
    ) -> Result<Peek<'p>, Refusal> {
        let handle = node.function.handle();
        let pass = match patience {
            Patience::None => handle.try_enter(token, AccessKind::Config)?,
            Patience::Until(deadline) => handle.enter(token, AccessKind::Config, deadline)?,
        };
        Ok(Peek { node, pass })
    }

    /// Writes a register that asks nothing of the device; lost if it cannot be written.
    pub(crate) fn write(&mut self, register: u16, width: Width, value: u32) {
        let _written = self.node.function.config_write(&self.pass, register, width, value);
    }
}

impl Reader for Peek<'_> {
    fn read(&mut self, at: Bdf, register: u16, width: Width) -> u32 {
        if at != self.node.address {
            return width.all_ones();
        }
        self.node.function.config_read(&self.pass, register, width).unwrap_or(width.all_ones())
    }
}

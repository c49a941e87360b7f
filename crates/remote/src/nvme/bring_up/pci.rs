//! The function around the controller: its class, COMMAND, and the one interrupt.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use gate::ThreadToken;
use pci_spec::capability::id;
use pci_spec::{ClassCode, Command, config};
use vfio_user::codec::irq_index;

use super::{Attempt, tolerate};
use crate::link::LinkError;
use crate::nvme::error::BringUpError;
use crate::nvme::wire::CONFIG;

/// Capabilities that are looked at: more do not fit behind the header.
const CAPABILITIES: usize = 48;
/// MSI: Message Control bit 0 (PCI Local Bus 3.0 s6.8.1.3 Message Control for MSI, "MSI Enable").
const MSI_ENABLE: u16 = 1 << 0;
/// MSI-X: Message Control bit 15 (s6.8.2.3 Message Control for MSI-X, "MSI-X Enable").
const MSIX_ENABLE: u16 = 1 << 15;

impl Attempt<'_> {
    pub(super) fn check_class(&self, token: &mut ThreadToken) -> Result<(), BringUpError> {
        let mut class = [0; 4];
        let [first, second, third, _] = &mut class;
        let mut bytes = [0; 3];
        self.wire.read(token, CONFIG, u64::from(config::CLASS_CODE), &mut bytes)?;
        [*first, *second, *third] = bytes;
        let class = u32::from_le_bytes(class);
        if class == ClassCode::NVME.to_u24() { Ok(()) } else { Err(BringUpError::NotNvme(class)) }
    }

    /// Lets the controller reach memory.
    pub(super) fn master(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        let mut command = Command::MEMORY_SPACE | Command::BUS_MASTER;
        if !self.core.pin.load(Ordering::Relaxed) {
            command |= Command::INTERRUPT_DISABLE;
        }
        self.wire.write(token, CONFIG, u64::from(config::COMMAND), &command.bits().to_le_bytes())
    }

    /// Has vector 0 of the best kind of interrupt signalled through the driver's own event. True: it is a pin.
    pub(super) fn wire_interrupt(&self, token: &mut ThreadToken) -> Result<bool, BringUpError> {
        let event = self.core.event.as_fd();
        for index in [irq_index::MSIX, irq_index::MSI, irq_index::INTX] {
            if self.wire.vectors(token, index)? == 0 {
                continue;
            }
            self.wire.signal(token, index, event)?;
            match index {
                irq_index::MSIX => self.set_control(token, id::MSI_X, MSIX_ENABLE)?,
                irq_index::MSI => self.set_control(token, id::MSI, MSI_ENABLE)?,
                _ => {}
            }
            let pin = index == irq_index::INTX;
            self.core.pin.store(pin, Ordering::Relaxed);
            return Ok(pin);
        }
        Err(BringUpError::Unsupported("it has no interrupt"))
    }

    /// Sets a bit of a capability's Message Control, for back ends that look there (SPDK does).
    fn set_control(&self, token: &mut ThreadToken, wanted: u8, bit: u16) -> Result<(), BringUpError> {
        let mut space = [0; 256];
        self.wire.read(token, CONFIG, 0, &mut space)?;
        let byte = |at: usize| space.get(at).copied().unwrap_or(0);
        let mut at = usize::from(byte(usize::from(config::CAPABILITIES_POINTER)) & !3);
        for _ in 0..CAPABILITIES {
            if at < 0x40 {
                break;
            }
            if byte(at) == wanted {
                let control = u16::from_le_bytes([byte(at + 2), byte(at + 3)]) | bit;
                return tolerate(self.wire.write(token, CONFIG, at as u64 + 2, &control.to_le_bytes()));
            }
            at = usize::from(byte(at + 1) & !3);
        }
        Ok(())
    }
}

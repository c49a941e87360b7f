//! From a function that the slot has given to one that is ready to be used.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use assign::{DmaMapFlags, DmaMapRequest, IrqAction, IrqData, SetIrqs};
use gate::ThreadToken;
use mapping::Memory;
use pci_spec::Command as PciCommand;
use rustix::event::EventfdFlags;
use slot::Binding;
use zpci::{Handle, View, Zpci};

use super::super::command::Command;
use super::super::layout::{MAGIC, Register, VERSION};
use super::commands::{self, Commands, Turn};
use super::error::HostError;
use super::interface::{BASE, Interface, MEMORY_BYTES, Parts};

/// The configuration space as vfio numbers regions.
const CONFIG_REGION: u32 = 7;
/// MSI as vfio numbers interrupts.
const MSI: u32 = 1;

/// Sets the function up. What was mapped and wired when it fails goes with the hold, which the slot takes back.
pub(super) fn interface(
    token: &mut ThreadToken,
    zpci: Arc<Zpci>,
    view: Arc<View>,
    binding: Arc<Binding>,
) -> Result<Arc<Interface>, HostError> {
    let memory = Memory::new("ism-driver", MEMORY_BYTES);
    memory.set_up().map_err(|error| HostError::System(error.kind()))?;
    map(token, &binding, &memory)?;
    let event = wire(token, &binding)?;
    let commands = Commands::default();
    let handle = start(token, &zpci, &view, &binding, &commands.claim()?)?;
    let gid = commands::load(token, &zpci, handle, Register::Gid)?;
    Ok(Interface::new(Parts { zpci, view, binding, gid, memory, event, handle }))
}

/// Begins a session: the function is reset, so that nothing of an earlier one is left in it, and signals are noted.
pub(super) fn start(
    token: &mut ThreadToken,
    zpci: &Zpci,
    view: &View,
    binding: &Binding,
    turn: &Turn<'_>,
) -> Result<Handle, HostError> {
    let function = binding.function();
    function.reset(token)?;
    let command = PciCommand::MEMORY_SPACE | PciCommand::BUS_MASTER;
    let at = u64::from(pci_spec::config::COMMAND);
    function.region_write(token, CONFIG_REGION, at, &command.bits().to_le_bytes())?;
    let handle = view.handle();
    let identity = commands::load(token, zpci, handle, Register::Identity)?;
    if identity != u64::from(MAGIC) | u64::from(VERSION) << 32 {
        return Err(HostError::Protocol);
    }
    turn.ask(token, zpci, handle, Command::SetSignalArea { address: BASE })?;
    Ok(handle)
}

/// The device may write the driver's memory, and does not read it.
fn map(token: &mut ThreadToken, binding: &Binding, memory: &Memory) -> Result<(), HostError> {
    let file =
        memory.file(0).and_then(|file| file.try_clone()).map_err(|error| HostError::System(error.kind()))?;
    let flags = DmaMapFlags(DmaMapFlags::WRITE);
    let request = DmaMapRequest { flags, offset: 0, iova: BASE, size: MEMORY_BYTES, fd: Some(file) };
    Ok(binding.function().dma_map(token, request)?)
}

/// An event that signals raise.
fn wire(token: &mut ThreadToken, binding: &Binding) -> Result<OwnedFd, HostError> {
    let system = |error: std::io::Error| HostError::System(error.kind());
    let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
    let event = rustix::event::eventfd(0, flags).map_err(|error| system(error.into()))?;
    let data = IrqData::Eventfd(vec![event.try_clone().map_err(system)?]);
    let request = SetIrqs { index: MSI, start: 0, count: 1, action: IrqAction::Trigger, data };
    binding.function().set_irqs(token, request)?;
    Ok(event)
}

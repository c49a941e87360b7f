//! The function as its gate's owner calls it.

use std::sync::Arc;

use assign::{EventSink, Port};
use gate::{Gate, Pass, Quiesced};
use pci_core::{BarIndex, Device, ResetKind, VirtualFunction};

use super::commands;
use super::memory::Memory;
use super::pci::{self, MEMORY_BAR, MEMORY_BYTES, REGISTER_BAR};
use super::registers::{Command, Register, Registers, touches};

/// A physical or a virtual endpoint-test function.
pub(super) struct Endpoint {
    port: Arc<Port>,
    registers: Registers,
    memory: Memory,
    /// Where virtual functions report.
    events: Arc<dyn EventSink>,
}

impl Endpoint {
    pub(super) fn new(port: Arc<Port>, events: Arc<dyn EventSink>) -> Endpoint {
        Endpoint { port, registers: Registers::default(), memory: Memory::new(MEMORY_BYTES), events }
    }
}

impl Device for Endpoint {
    fn read_bar(&self, pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &mut [u8]) {
        match bar.get() {
            REGISTER_BAR => {
                self.registers.read(offset, data);
                // The handler of a level-triggered interrupt asks what happened, and with that the line goes down.
                if touches(Register::Status, offset, data.len()) {
                    self.port.interrupts().set_intx(pass, false);
                }
            }
            MEMORY_BAR => self.memory.read(offset, data),
            _ => data.fill(0),
        }
    }

    fn write_bar(&self, pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &[u8]) {
        match bar.get() {
            REGISTER_BAR => {
                self.registers.write(offset, data);
                if touches(Register::Command, offset, data.len()) {
                    let command = Command::from_bits_truncate(self.registers.get(Register::Command));
                    commands::run(&self.registers, &self.port, pass, command);
                }
            }
            MEMORY_BAR => self.memory.write(offset, data),
            _ => {}
        }
    }

    fn reset(&self, quiesced: &Quiesced<'_>, _kind: ResetKind) {
        let Endpoint { port, registers, memory, events: _ } = self;
        port.interrupts().set_intx(quiesced, false);
        registers.clear();
        memory.clear();
    }

    fn virtual_function(&self, _index: u16, gate: &Gate) -> Option<VirtualFunction> {
        let config = Arc::new(pci::virtual_function().ok()?);
        let port = Port::new(gate, Arc::clone(&config), Arc::clone(&self.events));
        let device = Arc::new(Endpoint::new(port, Arc::clone(&self.events)));
        Some(VirtualFunction { config, device })
    }

    fn describe(&self) -> Vec<(String, String)> {
        let hexadecimal = |register| format!("{:#010x}", self.registers.get(register));
        vec![
            ("status".into(), hexadecimal(Register::Status)),
            ("size".into(), self.registers.get(Register::Size).to_string()),
            ("checksum".into(), hexadecimal(Register::Checksum)),
        ]
    }
}

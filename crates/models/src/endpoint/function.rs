//! The function as its gate's owner calls it.

use std::sync::Arc;

use assign::{EventSink, Port};
use gate::{Gate, Pass, Quiesced};
use mapping::{Area, Holds, Memory};
use pci_core::{
    BarIndex, Device, DeviceRegion, FIRST_DEVICE_REGION, FaultName, InjectError, Mappable, Preserve,
    ResetKind, VirtualFunction,
};

use super::Config;
use super::commands;
use super::faults::{FAULTS, Faults};
use super::history::{HISTORY, History};
use super::pci::{self, MEMORY_BAR, REGISTER_BAR, VF_MEMORY_BYTES};
use super::registers::{Command, Register, Registers, touches};

/// The memory BAR as vfio numbers regions.
const MEMORY_REGION: u32 = MEMORY_BAR as u32;

/// A physical or a virtual endpoint-test function.
pub(super) struct Endpoint {
    port: Arc<Port>,
    registers: Registers,
    memory: Arc<Memory>,
    history: History,
    faults: Faults,
    rom: Option<Arc<[u8]>>,
    /// Whether consumers may map what is memory.
    mapped: bool,
    /// Where virtual functions report.
    events: Arc<dyn EventSink>,
}

impl Endpoint {
    pub(super) fn physical(port: Arc<Port>, events: Arc<dyn EventSink>, config: &Config) -> Endpoint {
        Endpoint { rom: config.rom.clone(), ..Endpoint::new(port, events, config.memory, config.mapped) }
    }

    fn new(port: Arc<Port>, events: Arc<dyn EventSink>, memory: u64, mapped: bool) -> Endpoint {
        Endpoint {
            port,
            registers: Registers::default(),
            memory: Memory::new("endpoint-bar2", memory),
            history: History::new(),
            faults: Faults::default(),
            rom: None,
            mapped,
            events,
        }
    }

    pub(super) fn port(&self) -> &Port {
        &self.port
    }

    pub(super) fn registers(&self) -> &Registers {
        &self.registers
    }

    /// What is behind the memory BAR.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// What lies beyond the image reads all-ones (VF-16).
    fn read_rom(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        let image = self.rom.as_deref().unwrap_or_default();
        let rest = usize::try_from(offset).ok().and_then(|offset| image.get(offset..)).unwrap_or_default();
        data.iter_mut().zip(rest).for_each(|(byte, image)| *byte = *image);
    }
}

impl Device for Endpoint {
    fn read_bar(&self, pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &mut [u8]) {
        if self.faults.stand_in_the_way() {
            data.fill(0xff);
            return;
        }
        match bar.get() {
            REGISTER_BAR => {
                self.registers.read(offset, data);
                // The handler of a level-triggered interrupt asks what happened, and with that the line goes down.
                if touches(Register::Status, offset, data.len()) {
                    self.registers.set_line(false);
                    self.port.interrupts().set_intx(pass, false);
                }
            }
            MEMORY_BAR => self.memory.read(offset, data),
            _ if bar == BarIndex::ROM => self.read_rom(offset, data),
            _ => data.fill(0),
        }
    }

    fn write_bar(&self, pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &[u8]) {
        if self.faults.stand_in_the_way() {
            return;
        }
        match bar.get() {
            REGISTER_BAR => {
                self.registers.write(offset, data);
                if touches(Register::Command, offset, data.len()) {
                    let command = Command::from_bits_truncate(self.registers.get(Register::Command));
                    commands::run(&self.registers, &self.port, pass, command);
                    self.history.add(command, &self.registers);
                }
            }
            MEMORY_BAR => self.memory.write(offset, data),
            _ => {}
        }
    }

    fn reset(&self, quiesced: &Quiesced<'_>, _kind: ResetKind) {
        let Endpoint { port, registers, memory, history, faults, rom: _, mapped: _, events: _ } = self;
        faults.clear();
        port.interrupts().set_intx(quiesced, false);
        registers.clear();
        memory.clear();
        history.clear();
    }

    fn never_all_ones(&self, bar: BarIndex, offset: u64, length: usize) -> bool {
        // Memory may hold anything.
        bar.get() == REGISTER_BAR && Registers::never_all_ones(offset, length)
    }

    fn preserve(&self) -> Option<&dyn Preserve> {
        Some(self)
    }

    fn faults(&self) -> &'static [FaultName] {
        FAULTS
    }

    fn inject(&self, pass: &Pass<'_>, fault: &str) -> Result<(), InjectError> {
        self.faults.inject(&self.port, pass, fault, self.registers.get_wide(Register::Source))
    }

    fn mappable(&self, region: u32) -> Option<Mappable> {
        let memory = match region {
            MEMORY_REGION => &self.memory,
            FIRST_DEVICE_REGION => self.history.memory(),
            _ => return None,
        };
        let area = Area { offset: 0, size: memory.size(), holds: Holds::Data };
        self.mapped.then(|| Mappable { memory: Arc::clone(memory), areas: vec![area] })
    }

    fn regions(&self) -> &[DeviceRegion] {
        &[HISTORY]
    }

    fn read_region(&self, _pass: &Pass<'_>, _nth: usize, offset: u64, data: &mut [u8]) {
        self.history.memory().read(offset, data);
    }

    fn write_region(&self, _pass: &Pass<'_>, _nth: usize, offset: u64, data: &[u8]) {
        self.history.memory().write(offset, data);
    }

    fn virtual_function(&self, _index: u16, gate: &Gate) -> Option<VirtualFunction> {
        let config = Arc::new(pci::virtual_function().ok()?);
        let port = Port::new(gate, Arc::clone(&config), Arc::clone(&self.events));
        let events = Arc::clone(&self.events);
        let device = Arc::new(Endpoint::new(port, events, VF_MEMORY_BYTES, self.mapped));
        Some(VirtualFunction { config, device })
    }

    fn describe(&self) -> Vec<(String, String)> {
        let hexadecimal = |register| format!("{:#010x}", self.registers.get(register));
        let mut start = [0; 8];
        self.memory.read(0, &mut start);
        vec![
            ("status".into(), hexadecimal(Register::Status)),
            ("size".into(), self.registers.get(Register::Size).to_string()),
            ("checksum".into(), hexadecimal(Register::Checksum)),
            // Enough to see whether a consumer's stores arrive.
            ("memory_start".into(), format!("{:#018x}", u64::from_le_bytes(start))),
        ]
    }
}

//! What a command does: move data through the consumer's memory and tell the outcome.
//!
//! Runs under the pass of the write that starts it, so a reset waits for it and never overlaps it.

use assign::{DmaError, Port};
use gate::Pass;
use pci_spec::config::InterruptPin;

use super::registers::{Command, Register, Registers, Status};

/// Most bytes that one command moves; a longer one fails. It bounds the time of the write that starts it (about 1 ms).
pub const MAX_TRANSFER: u32 = 4 << 20;
/// Bytes moved at a time.
const PIECE: usize = 4096;
/// Vectors that the function offers.
pub(super) const VECTORS: u16 = 32;

/// Runs the commands in `command` and raises the interrupt that the registers ask for.
pub(super) fn run(registers: &Registers, port: &Port, pass: &Pass<'_>, command: Command) {
    let transfer = Transfer { registers, port, pass };
    let mut status = Status::empty();
    if command.contains(Command::READ) {
        status |= transfer.read();
    }
    if command.contains(Command::WRITE) {
        status |= transfer.write();
    }
    if command.contains(Command::COPY) {
        status |= transfer.copy();
    }
    let asked = Command::RAISE_INTX | Command::RAISE_MSI | Command::RAISE_MSIX;
    if status.is_empty() && !command.intersects(asked) {
        return;
    }
    registers.set(Register::Status, (status | Status::INTERRUPT_RAISED).bits());
    registers.set(Register::Command, 0);
    raise(registers, port, pass);
}

/// Raises the interrupt of the kind and number in the registers; one that the function does not have is not raised.
fn raise(registers: &Registers, port: &Port, pass: &Pass<'_>) {
    let number = registers.get(Register::InterruptNumber);
    match registers.get(Register::InterruptType) {
        // A virtual function has no such line.
        0 if port.config().interrupt_layout().intx != InterruptPin::None => {
            registers.set_line(true);
            port.interrupts().set_intx(pass, true);
        }
        1 | 2 => {
            if let Ok(number @ 1..=VECTORS) = u16::try_from(number) {
                port.interrupts().signal(pass, number - 1);
            }
        }
        _ => {}
    }
}

struct Transfer<'a> {
    registers: &'a Registers,
    port: &'a Port,
    pass: &'a Pass<'a>,
}

impl Transfer<'_> {
    /// Reads the consumer's memory; succeeds if its checksum is the one in the register.
    fn read(&self) -> Status {
        let expected = self.registers.get(Register::Checksum);
        let source = self.registers.get_wide(Register::Source);
        let mut sum = Checksum::new();
        let read = self.pieces(|at, piece| {
            self.port.dma().read(self.pass, address(source, at)?, piece)?;
            sum.add(piece);
            Ok(())
        });
        match read {
            Ok(()) if sum.get() == expected => Status::READ_SUCCESS,
            Ok(()) => Status::READ_FAIL,
            Err(Failure::Address) => Status::READ_FAIL | Status::SOURCE_INVALID,
            Err(Failure::Length) => Status::READ_FAIL,
        }
    }

    /// Writes a pattern to the consumer's memory and tells its checksum.
    fn write(&self) -> Status {
        let destination = self.registers.get_wide(Register::Destination);
        let mut pattern = Pattern::new(destination);
        let mut sum = Checksum::new();
        let written = self.pieces(|at, piece| {
            pattern.fill(piece);
            sum.add(piece);
            Ok(self.port.dma().write(self.pass, address(destination, at)?, piece)?)
        });
        match written {
            Ok(()) => {
                self.registers.set(Register::Checksum, sum.get());
                Status::WRITE_SUCCESS
            }
            Err(Failure::Address) => Status::WRITE_FAIL | Status::DESTINATION_INVALID,
            Err(Failure::Length) => Status::WRITE_FAIL,
        }
    }

    /// Copies within the consumer's memory, from low to high addresses and a piece at a time. Where the ranges overlap and
    /// the destination is the higher one, what was copied first is copied again, as it would be by a simple DMA engine.
    fn copy(&self) -> Status {
        let source = self.registers.get_wide(Register::Source);
        let destination = self.registers.get_wide(Register::Destination);
        let mut invalid = Status::SOURCE_INVALID;
        let copied = self.pieces(|at, piece| {
            invalid = Status::SOURCE_INVALID;
            self.port.dma().read(self.pass, address(source, at)?, piece)?;
            invalid = Status::DESTINATION_INVALID;
            Ok(self.port.dma().write(self.pass, address(destination, at)?, piece)?)
        });
        match copied {
            Ok(()) => Status::COPY_SUCCESS,
            Err(Failure::Address) => Status::COPY_FAIL | invalid,
            Err(Failure::Length) => Status::COPY_FAIL,
        }
    }

    /// Calls `step` with each piece of the size in the register and its offset.
    fn pieces(&self, mut step: impl FnMut(u64, &mut [u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let size = self.registers.get(Register::Size);
        if size > MAX_TRANSFER {
            return Err(Failure::Length);
        }
        let mut buffer = [0; PIECE];
        let mut at = 0;
        while at < size as usize {
            let piece = &mut buffer[..PIECE.min(size as usize - at)];
            step(at as u64, piece)?;
            at += piece.len();
        }
        Ok(())
    }
}

enum Failure {
    /// The consumer has no memory there, or not for this.
    Address,
    /// The command asks for more than [`MAX_TRANSFER`].
    Length,
}

impl From<DmaError> for Failure {
    fn from(_: DmaError) -> Failure {
        Failure::Address
    }
}

/// `offset` bytes after `start`; a transfer does not go on at address 0 beyond the last one.
fn address(start: u64, offset: u64) -> Result<u64, Failure> {
    start.checked_add(offset).ok_or(Failure::Address)
}

/// The CRC-32 that Linux's driver compares: the usual polynomial without the final inversion.
struct Checksum(crc32fast::Hasher);

impl Checksum {
    fn new() -> Checksum {
        Checksum(crc32fast::Hasher::new())
    }

    fn add(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn get(&self) -> u32 {
        !self.0.clone().finalize()
    }
}

/// Bytes that differ from place to place and from address to address (xorshift64).
struct Pattern(u64);

impl Pattern {
    fn new(seed: u64) -> Pattern {
        Pattern(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    fn fill(&mut self, data: &mut [u8]) {
        for chunk in data.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

//! The three servers, each in a process of its own.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use assign::{Assignment, Limits, Port};
use gate::{Gate, Pass, Quiesced, ThreadToken};
use pci_core::{BarIndex, BarKind, ConfigSpace, Device, Function, Identity, ResetKind};
use rust_vmm_vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, ServerBackend, ServerRegion};
use vfio_user::server::{Server, ServerOptions, Stop};

use crate::pin;

/// BAR 0 of every contender: 4 KiB of registers.
const BAR_SIZE: u64 = 4096;
/// Bytes of a REGION_READ request for any length, and of its reply for 4 bytes (which is also a REGION_WRITE of 4 bytes).
const SHORT: usize = 32;
const LONG: usize = 36;
const REGION_WRITE: u8 = 10;

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Contender {
    /// `recv` and `send` of the same sizes, and nothing else.
    Floor,
    /// Portcullis.
    Ours,
    /// The server of the rust-vmm crate `vfio_user`.
    Peer,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contender::Floor => "floor",
            Contender::Ours => "ours",
            Contender::Peer => "peer",
        })
    }
}

/// Serves one client on `socket`, on the CPU of the client.
///
/// # Errors
/// The socket cannot be made, or the contender fails.
pub(crate) fn serve(contender: Contender, socket: &Path) -> Result<(), Box<dyn Error>> {
    pin::to_cpu(super::CPU)?;
    match contender {
        Contender::Floor => Ok(floor(socket)?),
        Contender::Ours => ours(socket),
        Contender::Peer => peer(socket),
    }
}

/// Takes what has arrived with one `recv`, and answers each request in it by one `send` of the right size.
///
/// No header is looked at but for the command, which tells a read (32 bytes, answered by 36) from a write (the reverse).
fn floor(socket: &Path) -> io::Result<()> {
    let (mut stream, _) = UnixListener::bind(socket)?.accept()?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    let reply_bytes = [0; LONG];
    loop {
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            got => filled += got,
        }
        let mut at = 0;
        while filled - at >= SHORT {
            let (request, reply) = if buffer[at + 2] == REGION_WRITE { (LONG, SHORT) } else { (SHORT, LONG) };
            if filled - at < request {
                break;
            }
            stream.write_all(&reply_bytes[..reply])?;
            at += request;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

/// Registers that are plain memory.
struct Registers([AtomicU32; BAR_SIZE as usize / 4]);

impl Registers {
    fn new() -> Registers {
        Registers([const { AtomicU32::new(0) }; BAR_SIZE as usize / 4])
    }

    fn at(&self, offset: u64) -> &AtomicU32 {
        &self.0[(offset / 4) as usize % self.0.len()]
    }
}

impl Device for Registers {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &mut [u8]) {
        let value = self.at(offset).load(Ordering::Relaxed).to_le_bytes();
        data.iter_mut().zip(value).for_each(|(to, from)| *to = from);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &[u8]) {
        if let Ok(value) = data.try_into() {
            self.at(offset).store(u32::from_le_bytes(value), Ordering::Relaxed);
        }
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

fn ours(socket: &Path) -> Result<(), Box<dyn Error>> {
    let class = pci_spec::ClassCode::new(0xff, 0, 0);
    let config = ConfigSpace::builder(Identity::new(0x1234, 0x0001, class))
        .bar(BarIndex::new(0).ok_or("BAR 0 exists")?, BarKind::Memory32, BAR_SIZE)
        .build()?;
    let (gate, config) = (Gate::new("bench"), Arc::new(config));
    let port = Port::new(&gate, config.clone(), Arc::new(()));
    let function = Function::new("bench", gate, config, Arc::new(Registers::new()));
    let assignment = Assignment::new(Arc::new(function), port, Limits::default());
    let server = Server::bind(socket, assignment, ServerOptions::default())?;
    // Never thrown: the bench kills this process.
    Ok(server.run(&mut ThreadToken::at_thread_entry(), &Stop::new()?)?)
}

impl ServerBackend for Registers {
    fn region_read(&mut self, _region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let value = self.at(offset).load(Ordering::Relaxed).to_le_bytes();
        data.iter_mut().zip(value).for_each(|(to, from)| *to = from);
        Ok(())
    }

    fn region_write(&mut self, _region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Ok(value) = data.try_into() {
            self.at(offset).store(u32::from_le_bytes(value), Ordering::Relaxed);
        }
        Ok(())
    }

    fn dma_map(&mut self, _: DmaMapFlags, _: u64, _: u64, _: u64, _: Option<File>) -> io::Result<()> {
        Ok(())
    }

    fn dma_unmap(&mut self, _: DmaUnmapFlags, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_irqs(&mut self, _: u32, _: u32, _: u32, _: u32, _: Vec<File>) -> io::Result<()> {
        Ok(())
    }
}

fn peer(socket: &Path) -> Result<(), Box<dyn Error>> {
    let mut region =
        ServerRegion { region_info: Default::default(), sparse_areas: Vec::new(), mmap_fd: None };
    region.region_info.size = BAR_SIZE;
    region.region_info.flags = 3;
    let irqs = vec![IrqInfo { index: 0, flags: 0, count: 0 }];
    let server = rust_vmm_vfio_user::Server::new(socket, true, irqs, vec![region])?;
    Ok(server.run(&mut Registers::new())?)
}

//! A block store through the I/O region against a `REGION_WRITE` of the same bytes to the same place, by the same client to the same
//! server: the one sends where in its memory the bytes are, and the host fetches them through the DMA map and stores them as one
//! block.
//!
//! Client and server are threads on one CPU, and take turns. They are started anew several times, as in `wire`: a pair settles
//! into one of a few speeds when it starts.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use gate::ThreadToken;
use vfio_user::client::{Client, ClientOptions, SharedMemory};
use vfio_user::server::{Server, ServerOptions, Stop};
use zpci::region::layout::{IoRequest, REQUEST_START};

use super::machine::{MAX_STORE, Machine};
use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

const OPS: usize = 2_000;
const STARTS: usize = 5;
const CPU: usize = 0;
/// The memory BAR, which keeps what is stored.
const BAR: u8 = 2;
/// Of the device's own there is one region, so ours is the second after the nine of vfio.
const IO_REGION: u32 = 10;
/// Where the client's memory is for the device, and its size.
const IOVA: u64 = 0x10_0000;
const MEMORY: usize = 64 << 10;

/// The figure.
///
/// # Errors
/// The function cannot be served, or a request fails.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    pin::to_cpu(CPU)?;
    let (mut writes, mut blocks, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let token = &mut ThreadToken::at_thread_entry();
        let served = Served::start(token)?;
        let mut consumer = Consumer::connect(token, &served)?;
        consumer.check(token)?;
        for _ in 0..rounds.div_ceil(STARTS) {
            let (floor, ours) = (consumer.writes(token)?, consumer.block_stores(token)?);
            writes.push(floor);
            blocks.push(ours);
            ratios.push(ours / floor);
        }
    }
    Ok(Figure {
        figure: "block_store_128",
        value: median(&mut ratios),
        unit: "x write",
        limit: 1.3,
        better: Better::Lower,
        ours: median(&mut blocks),
        floor: median(&mut writes),
        peer: None,
        raw_unit: "us",
        peer_is: None,
    })
}

/// The function on a socket.
struct Served {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Served {
    fn start(token: &mut ThreadToken) -> Result<Served, Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("zpci.sock");
        let stop = Arc::new(Stop::new()?);
        let machine = Machine::new(token)?;
        let server = Server::bind(&socket, machine.assignment.clone(), ServerOptions::default())?;
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                // Its view is of the machine.
                let _machine = machine;
                if let Err(error) = server.run(&mut ThreadToken::at_thread_entry(), &stop) {
                    eprintln!("bench: {error}");
                }
            }
        });
        Ok(Served { stop, thread: Some(thread), socket, _dir: dir })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request of the client.
type Way = fn(&mut Consumer, &mut ThreadToken) -> Result<(), Box<dyn Error>>;

/// The client, with its data in memory that the device may reach.
struct Consumer {
    client: Client,
    memory: SharedMemory,
    data: [u8; MAX_STORE as usize],
    request: [u8; 32],
}

impl Consumer {
    fn connect(token: &mut ThreadToken, served: &Served) -> Result<Consumer, Box<dyn Error>> {
        let mut client = Client::connect(token, &served.socket, ClientOptions::default())?;
        let memory = SharedMemory::new(MEMORY)?;
        client.dma_map(token, IOVA, &memory)?;
        let data = std::array::from_fn(|at| at as u8 ^ 0x5a);
        memory.write(0, &data)?;
        let request =
            IoRequest { flags: IoRequest::BLOCKW, address: IOVA, offset: 0, length: MAX_STORE, space: BAR };
        Ok(Consumer { client, memory, data, request: request.encode() })
    }

    /// Each way stores the data.
    fn check(&mut self, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
        let mut read = [0; MAX_STORE as usize];
        for way in [Consumer::write, Consumer::block_store] {
            self.client.region_write(token, BAR.into(), 0, &[0; MAX_STORE as usize])?;
            way(self, token)?;
            self.client.region_read(token, BAR.into(), 0, &mut read)?;
            if read != self.data {
                return Err("the data did not arrive".into());
            }
        }
        self.memory.read(0, &mut read)?;
        if read == self.data { Ok(()) } else { Err("a store changed its source".into()) }
    }

    fn write(&mut self, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
        Ok(self.client.region_write(token, BAR.into(), 0, &self.data)?)
    }

    fn block_store(&mut self, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
        Ok(self.client.region_write(token, IO_REGION, REQUEST_START, &self.request)?)
    }

    fn writes(&mut self, token: &mut ThreadToken) -> Result<f64, Box<dyn Error>> {
        self.median_of(token, Consumer::write)
    }

    fn block_stores(&mut self, token: &mut ThreadToken) -> Result<f64, Box<dyn Error>> {
        self.median_of(token, Consumer::block_store)
    }

    /// One after the other; the median in microseconds.
    fn median_of(&mut self, token: &mut ThreadToken, way: Way) -> Result<f64, Box<dyn Error>> {
        let mut samples = Vec::with_capacity(OPS);
        for _ in 0..OPS {
            let start = Instant::now();
            way(self, token)?;
            samples.push(start.elapsed().as_nanos() as f64 / 1e3);
        }
        Ok(median(&mut samples))
    }
}

//! NVMe over vfio-user with mapped doorbells and a polling client, against a shared-memory ring that does the same copy.
//!
//! Ours: the daemon's threads on one CPU, the host driver of `models` on the other, a memory backing, real sockets and shared
//! memory between them. The floor is [`ring`]. Both read random blocks of the same amount of memory at the same depth.

mod idle;
mod ring;

use std::error::Error;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gate::ThreadToken;
use models::nvme::host::{Driver, Io, Options};
use models::nvme::{Backing, Config, DoorbellStyle};
pub(crate) use ring::Load;
use ring::Random;
use vfio_user::client::Client;
use vfio_user::server::{Server, ServerOptions, Stop};

use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

const SERVER_CPU: usize = 0;
const CLIENT_CPU: usize = 1;
/// Bytes of the disk.
pub(crate) const CAPACITY: usize = 256 << 20;
const ROUND: Duration = Duration::from_millis(300);
const DEPTH_MAX: usize = 128;
const SPDK: &str =
    "SPDK 26.09-pre, its own target and client, measured earlier on a like machine, not in this run";

/// One figure: its name, bytes and depth, and what SPDK did (operations per second).
const LOADS: [(&str, usize, usize, f64); 4] = [
    ("randread_4k_qd1", 4 << 10, 1, 732e3),
    ("randread_4k_qd32", 4 << 10, 32, 1_476e3),
    ("randread_4k_qd128", 4 << 10, 128, 1_454e3),
    ("read_128k_qd32", 128 << 10, 32, 8_962.0 * 8.0),
];

/// The controller under test, served on a socket.
struct Disk {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
    socket: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Disk {
    fn serve() -> Result<Disk, Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("nvme.sock");
        let stop = Arc::new(Stop::new()?);
        let config = Config { doorbells: DoorbellStyle::Mapped, ..Config::default() };
        let backing = Backing::memory(CAPACITY as u64)?;
        let assignment = models::nvme::build("bench", &config, backing, Arc::new(()))?;
        let server = Server::bind(&socket, assignment, ServerOptions::default())?;
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                // Inherited by the session's thread and the controller's worker.
                let _ = pin::to_cpu(SERVER_CPU);
                if let Err(error) = server.run(&mut ThreadToken::at_thread_entry(), &stop) {
                    eprintln!("bench: {error}");
                }
            }
        });
        Ok(Disk { stop, thread: Some(thread), socket, _dir: dir })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes every block once: memory that was never written is one page of zeros, which is no fair thing to read.
pub(crate) fn fill(driver: &mut Driver, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
    let data = vec![0x5a; driver.identity().max_transfer];
    let blocks = (data.len() / driver.identity().block_size) as u64;
    let mut lba = 0;
    while lba < driver.identity().blocks {
        driver.write(token, lba, &data, false)?;
        lba += blocks;
    }
    Ok(())
}

/// Runs `load` on the disk; operations per second.
pub(crate) fn drive(driver: &mut Driver, token: &mut ThreadToken, load: Load) -> Result<f64, Box<dyn Error>> {
    let per_read = (load.bytes / driver.identity().block_size) as u32;
    let places = driver.identity().blocks / u64::from(per_read);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut read = move || Io::Read { lba: random.below(places) * u64::from(per_read), blocks: per_read };
    let mut ready = Vec::with_capacity(DEPTH_MAX);
    for slot in 0..load.depth {
        driver.submit(0, slot as u16, read())?;
    }
    driver.ring(token, 0)?;
    let (start, mut operations, mut in_flight, mut next_look) = (Instant::now(), 0_u64, load.depth, 1024);
    let mut over = false;
    let mut rate = 0.0;
    while in_flight > 0 {
        let mut failed = None;
        let got = driver.poll(token, 0, |completed| {
            if !completed.status.is_success() {
                failed = Some(completed.status);
            }
            ready.push(completed.slot);
        })?;
        if let Some(status) = failed {
            return Err(format!("a read failed: {status}").into());
        }
        if got == 0 {
            std::hint::spin_loop();
            continue;
        }
        operations += got as u64;
        if operations >= next_look && !over {
            next_look = operations + 1024;
            over = start.elapsed() >= load.for_time;
            rate = operations as f64 / start.elapsed().as_secs_f64();
        }
        for slot in ready.drain(..) {
            if over {
                in_flight -= 1;
            } else {
                driver.submit(0, slot, read())?;
            }
        }
        driver.ring(token, 0)?;
    }
    Ok(rate)
}

/// Runs the interleaved rounds.
///
/// # Errors
/// The disk cannot be served, or a command fails.
pub(crate) fn run(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let disk = Disk::serve()?;
    let token = &mut ThreadToken::at_thread_entry();
    let options = Options { depth: DEPTH_MAX as u16, max_transfer: 128 << 10, ..Options::default() };
    let client = Client::connect(token, &disk.socket, vfio_user::client::ClientOptions::default())?;
    let mut driver = Driver::start(token, client, &options)?;
    pin::to_cpu(CLIENT_CPU)?;
    fill(&mut driver, token)?;
    let mut figures = Vec::new();
    for (figure, bytes, depth, spdk) in LOADS {
        let load = Load { bytes, depth, capacity: CAPACITY, for_time: ROUND };
        let (mut floor, mut own) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            floor.push(ring::run(load, SERVER_CPU, CLIENT_CPU));
            own.push(drive(&mut driver, token, load)?);
        }
        let mut ratios: Vec<f64> = own.iter().zip(&floor).map(|(own, floor)| own / floor).collect();
        let (floor, own) = (median(&mut floor), median(&mut own));
        // Small reads are counted, large ones weighed.
        let (scale, raw_unit) =
            if bytes > 4096 { (bytes as f64 / f64::from(1 << 30), "GiB/s") } else { (1.0, "IOPS") };
        figures.push(Figure {
            figure,
            value: median(&mut ratios),
            unit: "x ring",
            limit: 0.8,
            better: Better::Higher,
            ours: own * scale,
            floor: floor * scale,
            peer: Some(spdk * scale),
            raw_unit,
            peer_is: Some(SPDK),
        });
    }
    figures.extend(idle::run(&mut driver, token)?);
    driver.stop(token)?;
    Ok(figures)
}

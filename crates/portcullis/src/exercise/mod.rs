//! Drives an NVMe socket with verified reads and writes, without a virtual machine.
//!
//! Rounds: write an area in scattered order with a pattern that depends on place and round, flush, read everything
//! back in the same order and compare every byte. It stops at its time or size limit, and always reads back what it
//! wrote last.
//!
//! It works on any vfio-user NVMe controller, not only on Portcullis' own. One thread, polling.

pub mod latency;

use std::path::Path;
use std::time::{Duration, Instant};

use gate::ThreadToken;
use models::nvme::host::{Completed, Driver, DriverError, Identity, Io, Options, pattern};
use nvme_spec::Status;
use rustix::io::Errno;
use vfio_user::client::{Client, ClientError, ClientOptions};

use latency::Latency;

/// Area that is written and read in turns, unless the size limit asks for more, in bytes.
const AREA: u64 = 64 << 20;
/// What is looked at for foreign data at each end of the disk, in bytes.
const EDGE: u64 = 64 << 10;
/// Places in between that are looked at for foreign data.
const SAMPLES: u64 = 16;
/// How often progress is reported.
const REPORT_EVERY: Duration = Duration::from_millis(50);
/// How often the controller is asked whether it is still there while nothing is completed.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// How long one command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Stop after this long.
    pub time: Option<Duration>,
    /// Stop after so many bytes have been written and read back.
    pub size: Option<u64>,
    /// Commands in flight.
    pub depth: u16,
    /// Bytes of each transfer.
    pub block: u64,
    /// Overwrite foreign data.
    pub overwrite: bool,
}

/// Why it could not be done, or what was found.
#[derive(Debug, thiserror::Error)]
pub enum ExerciseError {
    /// No connection.
    #[error(
        "{0}\nfix: name the socket that `portcullis serve` printed, or its directory; only one client can use it at a time"
    )]
    Connect(ClientError),
    /// Somebody else reset the controller, or changed its power state or its COMMAND register.
    #[error(
        "{0}\nfix: run it again once nobody resets the function or changes its power; what was flushed before is kept \
         (`portcullis events` tells what was done)"
    )]
    Interfered(DriverError),
    /// The driver or the controller failed.
    #[error(transparent)]
    Driver(DriverError),
    /// The transfer size does not suit the disk.
    #[error("{0}")]
    Plan(String),
    /// Something else's data would be lost.
    #[error(
        "the disk holds data at block {0} that this command did not write, and it would be overwritten\n\
         fix: name a disk that may be overwritten, or add --overwrite"
    )]
    ForeignData(u64),
    /// A command failed.
    #[error("{what} of block {lba} failed: {status}")]
    Command {
        /// `write`, `read` or `flush`.
        what: &'static str,
        /// First block.
        lba: u64,
        /// How it ended.
        status: Status,
    },
    /// What was read is not what was written.
    #[error("the disk returned wrong data: {0}")]
    Mismatch(#[from] pattern::Mismatch),
    /// Nothing was completed for too long.
    #[error("no command was completed for {} s", COMMAND_TIMEOUT.as_secs())]
    Stalled,
}

impl From<DriverError> for ExerciseError {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::WasReset(_) | DriverError::NotDecoded => Self::Interfered(error),
            // A doorbell found it out first.
            DriverError::Client(ClientError::Refused { errno: Errno::IO, .. }) => {
                Self::Interfered(DriverError::NotDecoded)
            }
            error => Self::Driver(error),
        }
    }
}

/// What was measured.
#[derive(Debug)]
pub struct Outcome {
    /// The controller.
    pub identity: Identity,
    /// From the first write to the last read.
    pub elapsed: Duration,
    /// Bytes read back and found as written.
    pub verified: u64,
    /// Times of the writes.
    pub writes: Latency,
    /// Times of the reads.
    pub reads: Latency,
}

/// How far it has got: done and in all, in bytes or (with a time limit only) in milliseconds.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Does `plan` on the controller at `socket`.
///
/// # Errors
/// [`ExerciseError`]; what was written until then stays.
pub fn exercise(
    token: &mut ThreadToken,
    socket: &Path,
    plan: &Plan,
    progress: Progress<'_>,
) -> Result<Outcome, ExerciseError> {
    let client = Client::connect(token, socket, ClientOptions::default()).map_err(ExerciseError::Connect)?;
    let transfer = usize::try_from(plan.block).unwrap_or(usize::MAX);
    let options =
        Options { depth: plan.depth, max_transfer: transfer, timeout: COMMAND_TIMEOUT, ..Options::default() };
    let mut driver = Driver::start(token, client, &options)?;
    let area = Area::new(driver.identity(), plan)?;
    if !plan.overwrite {
        look_for_foreign_data(token, &mut driver, &area)?;
    }
    let mut run = Run {
        outcome: Outcome {
            identity: driver.identity().clone(),
            elapsed: Duration::ZERO,
            verified: 0,
            writes: Latency::new(),
            reads: Latency::new(),
        },
        driver,
        area,
        data: vec![0; transfer],
        slots: vec![InFlight { index: 0, since: Instant::now() }; usize::from(plan.depth)],
        completed: Vec::with_capacity(usize::from(plan.depth)),
    };
    run.rounds(token, plan, progress)?;
    run.driver.stop(token)?;
    Ok(run.outcome)
}

/// The part of the disk that is written and read: `count` transfers of `blocks` blocks from block 0 on.
#[derive(Debug)]
struct Area {
    count: u64,
    blocks: u32,
    block_size: usize,
    disk_blocks: u64,
    /// Has no factor in common with `count`, so multiples of it visit every transfer once.
    stride: u64,
}

impl Area {
    fn new(identity: &Identity, plan: &Plan) -> Result<Self, ExerciseError> {
        let block_size = identity.block_size as u64;
        if plan.block == 0
            || !plan.block.is_multiple_of(block_size)
            || plan.block > identity.max_transfer as u64
        {
            return Err(ExerciseError::Plan(format!(
                "transfers of {} bytes are not possible on this disk\nfix: choose a multiple of {block_size} up to {} for --block",
                plan.block, identity.max_transfer
            )));
        }
        let per_transfer = plan.block / block_size;
        let wanted = plan.size.unwrap_or(AREA).div_ceil(plan.block);
        let count = wanted.min(identity.blocks / per_transfer);
        if count == 0 {
            return Err(ExerciseError::Plan(
                "the disk is smaller than one transfer\nfix: choose a smaller --block".into(),
            ));
        }
        let blocks = u32::try_from(per_transfer).unwrap_or(u32::MAX);
        let stride = coprime_stride(count);
        Ok(Self { count, blocks, block_size: identity.block_size, disk_blocks: identity.blocks, stride })
    }

    /// First block of the `n`th transfer in scattered order.
    fn lba(&self, n: u64) -> u64 {
        let index = u128::from(n) * u128::from(self.stride) % u128::from(self.count);
        u64::try_from(index).unwrap_or(0) * u64::from(self.blocks)
    }

    fn bytes(&self) -> u64 {
        self.count * u64::from(self.blocks) * self.block_size as u64
    }
}

/// A number near the golden section of `count` that has no factor in common with it.
fn coprime_stride(count: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let start = (count / 8 * 5).max(1);
    (start..=start + count).find(|stride| gcd(*stride, count) == 1).unwrap_or(1)
}

fn look_for_foreign_data(
    token: &mut ThreadToken,
    driver: &mut Driver,
    area: &Area,
) -> Result<(), ExerciseError> {
    let edge = (EDGE / area.block_size as u64).min(area.disk_blocks);
    let step = (area.disk_blocks / SAMPLES).max(1);
    let samples = (0..SAMPLES).map(|n| n * step).filter(|lba| *lba < area.disk_blocks);
    let places = (0..edge).chain(area.disk_blocks - edge..area.disk_blocks).chain(samples);
    let mut block = vec![0; area.block_size];
    for lba in places {
        driver.read(token, lba, &mut block)?;
        if !pattern::is_ours_or_empty(&block) {
            return Err(ExerciseError::ForeignData(lba));
        }
    }
    Ok(())
}

/// A transfer in flight.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    index: u64,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Write,
    Read,
}

struct Run {
    driver: Driver,
    area: Area,
    outcome: Outcome,
    /// One transfer's data, to fill and to compare.
    data: Vec<u8>,
    slots: Vec<InFlight>,
    completed: Vec<Completed>,
}

impl Run {
    fn rounds(
        &mut self,
        token: &mut ThreadToken,
        plan: &Plan,
        progress: Progress<'_>,
    ) -> Result<(), ExerciseError> {
        let start = Instant::now();
        let end = plan.time.map(|time| start + time);
        let goal = plan.size.map(|size| size.min(self.area.bytes()));
        for round in 0_u64.. {
            let written = self.pass(token, Pass::Write, round, self.area.count, end, &mut |done| {
                report(progress, start, plan.time, goal.map(|goal| (done, 2 * goal)));
            })?;
            self.driver.flush(token)?;
            // What was written is read back even if the time is over.
            self.pass(token, Pass::Read, round, written, None, &mut |done| {
                report(progress, start, plan.time, goal.map(|goal| (goal + done, 2 * goal)));
            })?;
            if goal.is_some() || end.is_some_and(|end| Instant::now() >= end) {
                break;
            }
        }
        self.outcome.elapsed = start.elapsed();
        Ok(())
    }

    /// Writes or reads the first `count` transfers, or fewer if `end` comes first. Returns how many.
    fn pass(
        &mut self,
        token: &mut ThreadToken,
        pass: Pass,
        round: u64,
        count: u64,
        end: Option<Instant>,
        report: &mut dyn FnMut(u64),
    ) -> Result<u64, ExerciseError> {
        let mut free: Vec<u16> = (0..).take(self.slots.len()).collect();
        let (mut issued, mut done, mut limit) = (0, 0, count);
        let mut last_progress = Instant::now();
        let (mut last_report, mut last_check) = (last_progress, last_progress);
        while done < limit || done < issued {
            while issued < limit
                && let Some(slot) = free.pop()
            {
                self.issue(pass, slot, issued, round)?;
                issued += 1;
            }
            self.driver.ring(token, 0)?;
            self.completed.clear();
            let completed = &mut self.completed;
            self.driver.poll(token, 0, |one| completed.push(one))?;
            let now = Instant::now();
            if self.completed.is_empty() {
                if now.duration_since(last_progress) > COMMAND_TIMEOUT {
                    return Err(ExerciseError::Stalled);
                }
                if now.duration_since(last_progress.max(last_check)) > CHECK_EVERY {
                    last_check = now;
                    self.driver.check(token)?;
                }
                // The controller may need this CPU to go on.
                std::thread::yield_now();
            } else {
                last_progress = now;
            }
            for at in 0..self.completed.len() {
                let one = self.completed[at];
                self.finish(pass, one, round, now)?;
                free.push(one.slot);
                done += 1;
            }
            if end.is_some_and(|end| now >= end) {
                limit = issued.max(1);
            }
            if now.duration_since(last_report) >= REPORT_EVERY {
                last_report = now;
                report(done * self.data.len() as u64);
            }
        }
        Ok(done)
    }

    fn issue(&mut self, pass: Pass, slot: u16, index: u64, round: u64) -> Result<(), ExerciseError> {
        let (lba, blocks) = (self.area.lba(index), self.area.blocks);
        let io = match pass {
            Pass::Write => {
                pattern::fill(&mut self.data, self.area.block_size, lba, round);
                self.driver.fill(0, slot, &self.data)?;
                Io::Write { lba, blocks, fua: false }
            }
            Pass::Read => Io::Read { lba, blocks },
        };
        self.driver.submit(0, slot, io)?;
        self.slots[usize::from(slot)] = InFlight { index, since: Instant::now() };
        Ok(())
    }

    fn finish(&mut self, pass: Pass, one: Completed, round: u64, now: Instant) -> Result<(), ExerciseError> {
        let InFlight { index, since } = self.slots[usize::from(one.slot)];
        let lba = self.area.lba(index);
        let took = now.saturating_duration_since(since);
        let (what, latency) = match pass {
            Pass::Write => ("write", &mut self.outcome.writes),
            Pass::Read => ("read", &mut self.outcome.reads),
        };
        if !one.status.is_success() {
            return Err(ExerciseError::Command { what, lba, status: one.status });
        }
        latency.record(took, self.data.len() as u64);
        if pass == Pass::Read {
            self.driver.take(0, one.slot, &mut self.data)?;
            pattern::check(&self.data, self.area.block_size, lba, round)?;
            self.outcome.verified += self.data.len() as u64;
        }
        Ok(())
    }
}

fn report(
    progress: &mut dyn FnMut(u64, u64),
    start: Instant,
    time: Option<Duration>,
    bytes: Option<(u64, u64)>,
) {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match (bytes, time) {
        (Some((done, all)), _) => progress(done, all),
        (None, Some(time)) => progress(millis(start.elapsed().min(time)), millis(time)),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scattered_order_visits_every_transfer_once() {
        for count in [1, 2, 3, 7, 8, 100, 4096, 16_384] {
            let stride = coprime_stride(count);
            let area = Area { count, blocks: 8, block_size: 512, disk_blocks: 8 * count, stride };
            let mut seen: Vec<u64> = (0..count).map(|n| area.lba(n)).collect();
            seen.sort_unstable();
            assert!(seen.iter().zip(0..).all(|(lba, n)| *lba == 8 * n), "{count}");
        }
    }
}

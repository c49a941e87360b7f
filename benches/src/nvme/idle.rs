//! What an idle disk with mapped doorbells costs, and what its first command then waits.
//!
//! Nobody is woken by a store to a mapped page, so the worker looks at it from time to time: seldom enough to cost little, often
//! enough to answer soon. Both sides of that bargain are printed.

use std::error::Error;
use std::time::{Duration, Instant};

use gate::ThreadToken;
use models::nvme::host::{Driver, Io};
use models::nvme::{DoorbellStyle, Polling};
use rustix::time::{ClockId, clock_gettime};

use crate::figure::{Better, Figure};
use crate::stats::median;

/// Long enough for the worker to have backed off to its longest sleep.
const SETTLE: Duration = Duration::from_millis(200);
const OBSERVE: Duration = Duration::from_secs(5);
const WAKE_UPS: usize = 50;

fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// Percent of a core that the whole process takes while this thread sleeps.
fn idle_percent() -> f64 {
    std::thread::sleep(SETTLE);
    let (start, before) = (Instant::now(), cpu_time());
    std::thread::sleep(OBSERVE);
    (cpu_time() - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0
}

/// Microseconds from the doorbell to the completion of one read after a pause.
fn wake_up_us(driver: &mut Driver, token: &mut ThreadToken) -> Result<f64, Box<dyn Error>> {
    std::thread::sleep(SETTLE);
    let start = Instant::now();
    driver.submit(0, 0, Io::Read { lba: 0, blocks: 1 })?;
    driver.ring(token, 0)?;
    while driver.poll(token, 0, |_| ())? == 0 {
        if start.elapsed() > Duration::from_secs(5) {
            return Err("an idle disk did not answer in 5 s".into());
        }
        std::hint::spin_loop();
    }
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

/// Measures both.
pub(super) fn run(driver: &mut Driver, token: &mut ThreadToken) -> Result<[Figure; 2], Box<dyn Error>> {
    let percent = idle_percent();
    let mut samples = Vec::with_capacity(WAKE_UPS);
    for _ in 0..WAKE_UPS {
        samples.push(wake_up_us(driver, token)?);
    }
    let wake_up = median(&mut samples);
    let stated = Polling::for_style(DoorbellStyle::Mapped).longest_sleep.as_secs_f64() * 1e6;
    let figure = |figure, value, unit, limit| Figure {
        figure,
        value,
        unit,
        limit,
        better: Better::Lower,
        ours: value,
        floor: 0.0,
        peer: None,
        raw_unit: unit,
        peer_is: None,
    };
    Ok([figure("idle_core", percent, "% core", 1.0), figure("idle_wake_up_p50", wake_up, "us", stated)])
}

//! A back end that is killed with -9 and started again, under a client in `replay` that always has one read in flight.
//!
//! Counted is from the kill to the first read that is completed by the next back end, less what that took itself from its start until
//! clients could connect.

use std::error::Error;
use std::time::{Duration, Instant};

use gate::ThreadToken;
use models::nvme::host::{Driver, Io, Options};
use remote::config::Mode;
use vfio_user::client::{Client, ClientOptions};

use super::back_end::{BackEnd, Kind};
use super::front::Front;
use super::{CLIENT_CPU, SERVER_CPU};
use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

/// Commands before each kill, so that the disk is at work.
const WARM: usize = 1000;
/// How long a disk may be away.
const AWAY: Duration = Duration::from_secs(30);

/// Has `count` reads done, one after the other; when the last one was over.
fn read(driver: &mut Driver, token: &mut ThreadToken, count: usize) -> Result<Instant, Box<dyn Error>> {
    for _ in 0..count {
        driver.submit(0, 0, Io::Read { lba: 0, blocks: 1 })?;
        driver.ring(token, 0)?;
        finish(driver, token)?;
    }
    Ok(Instant::now())
}

/// Waits for the one that is in flight.
fn finish(driver: &mut Driver, token: &mut ThreadToken) -> Result<Instant, Box<dyn Error>> {
    let start = Instant::now();
    let mut status = None;
    while driver.poll(token, 0, |completed| status = Some(completed.status))? == 0 {
        if start.elapsed() > AWAY {
            return Err("the disk does not come back".into());
        }
        std::hint::spin_loop();
    }
    match status {
        Some(status) if status.is_success() => Ok(Instant::now()),
        other => Err(format!("a read failed: {other:?}").into()),
    }
}

/// The figure.
///
/// # Errors
/// A disk cannot be made, or does not come back.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    let token = &mut ThreadToken::at_thread_entry();
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("disk.sock");
    let mut back_end = BackEnd::start(Kind::Nvme, socket.clone())?;
    back_end.ready()?;
    let front = Front::open(token, &socket, Mode::Replay, SERVER_CPU)?;
    let client = Client::connect(token, &front.socket, ClientOptions::default())?;
    let mut driver = Driver::start(token, client, &Options { timeout: AWAY, ..Options::default() })?;
    pin::to_cpu(CLIENT_CPU)?;
    let (mut whole, mut own, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    let milliseconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    for _ in 0..rounds {
        read(&mut driver, token, WARM)?;
        let killed = Instant::now();
        back_end.kill()?;
        driver.submit(0, 0, Io::Read { lba: 0, blocks: 1 })?;
        driver.ring(token, 0)?;
        let started = Instant::now();
        back_end = BackEnd::start(Kind::Nvme, socket.clone())?;
        let ready = back_end.ready()?;
        let back = finish(&mut driver, token)?;
        whole.push(milliseconds(killed, back));
        own.push(milliseconds(started, ready));
        ours.push(milliseconds(killed, back) - milliseconds(started, ready));
    }
    driver.stop(token)?;
    front.close(token)?;
    Ok(Figure {
        figure: "backend_restart_ms",
        value: median(&mut ours),
        unit: "ms",
        limit: 300.0,
        better: Better::Lower,
        ours: median(&mut whole),
        floor: median(&mut own),
        peer: None,
        raw_unit: "ms",
        peer_is: None,
    })
}

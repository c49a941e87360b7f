//! `REGION_READ` of 4 bytes of registers that are forwarded: client, proxy and back end take turns on one CPU, as client and server do
//! in `wire`.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use gate::ThreadToken;
use remote::config::Mode;

use super::back_end::{BackEnd, Kind};
use super::front::Front;
use crate::figure::{Better, Figure};
use crate::stats::median;
use crate::{pin, wire};

const OPS: usize = 5_000;
/// Pairs of processes settle into one of a few speeds when they start, so rounds of one start measure luck.
const STARTS: usize = 3;
const START: Duration = Duration::from_secs(10);

fn connect(socket: &Path) -> Result<wire::client::Client, Box<dyn Error>> {
    let deadline = Instant::now() + START;
    loop {
        match wire::client::Client::connect(socket, true) {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The figure.
///
/// # Errors
/// A back end does not start, or a reply has the wrong size.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    let token = &mut ThreadToken::at_thread_entry();
    pin::to_cpu(wire::CPU)?;
    let (mut direct, mut proxied) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let dir = tempfile::tempdir()?;
        let bare = BackEnd::start(Kind::Registers, dir.path().join("bare.sock"))?;
        let behind = BackEnd::start(Kind::Registers, dir.path().join("behind.sock"))?;
        let mut to_bare = connect(&bare.socket)?;
        let front = Front::open(token, &behind.socket, Mode::Passthrough, wire::CPU)?;
        let mut to_front = connect(&front.socket)?;
        for _ in 0..rounds.div_ceil(STARTS) {
            direct.push(to_bare.read4(OPS)?);
            proxied.push(to_front.read4(OPS)?);
        }
        drop(to_front);
        front.close(token)?;
    }
    let mut ratios: Vec<f64> =
        proxied.iter().zip(&direct).map(|(proxied, direct)| proxied / direct).collect();
    Ok(Figure {
        figure: "read4",
        value: median(&mut ratios),
        unit: "x direct",
        limit: 2.0,
        better: Better::Lower,
        ours: median(&mut proxied),
        floor: median(&mut direct),
        peer: None,
        raw_unit: "us",
        peer_is: None,
    })
}

//! vfio-user messages: a raw socket ping-pong of the same sizes is the floor, the rust-vmm server the peer.
//!
//! Each server is a process of its own, pinned to the CPU of the client; the client is the same code for all of them and sends
//! the same bytes, so the only difference between the columns is what the server does between `recv` and `send`.

pub(crate) mod client;
mod contender;

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub(crate) use contender::{Contender, serve};

use rustix::process::{Pid, Signal, kill_process};

use crate::figure::{Better, Figure};
use crate::stats::median;
use crate::{pin, wire::client::Client};

const OPS: usize = 5_000;
const PIPELINE: usize = 32;
const STARTS: usize = 5;
/// How long a contender's process may live, in seconds.
const SERVER_LIMIT_S: &str = "120";
/// Where client and servers take turns.
pub(crate) const CPU: usize = 0;

/// What one contender did in one kind of round, one sample a round, in microseconds per operation.
#[derive(Default)]
struct Samples {
    read: Vec<f64>,
    write: Vec<f64>,
    pipelined: Vec<f64>,
}

struct Server {
    child: Child,
    client: Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        // `timeout` passes it on to the contender.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn start(contender: Contender, dir: &Path) -> Result<Server, Box<dyn Error>> {
    let socket = dir.join(format!("{contender}.sock"));
    let child = Command::new("timeout")
        .arg(SERVER_LIMIT_S)
        .arg(std::env::current_exe()?)
        .arg("serve")
        .arg(contender.to_string())
        .arg(&socket)
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Client::connect(&socket, contender != Contender::Floor) {
            Ok(client) => return Ok(Server { child, client }),
            Err(error) if Instant::now() > deadline => return Err(format!("{contender}: {error}").into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Runs the interleaved rounds, on several fresh starts of the three servers: a pair of processes settles into one of a few speeds
/// when it starts and keeps it, so rounds of one start alone measure luck.
///
/// # Errors
/// A server that does not start, or a reply of the wrong size.
pub(crate) fn run(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    pin::to_cpu(CPU)?;
    let contenders = [Contender::Floor, Contender::Ours, Contender::Peer];
    let mut all = contenders.map(|_| Samples::default());
    for _ in 0..STARTS {
        let dir = tempfile::tempdir()?;
        let mut servers = Vec::new();
        for contender in contenders {
            servers.push(start(contender, dir.path())?);
        }
        for _ in 0..rounds.div_ceil(STARTS) {
            for (server, samples) in servers.iter_mut().zip(&mut all) {
                samples.read.push(server.client.read4(OPS)?);
                samples.write.push(server.client.write4(OPS)?);
                samples.pipelined.push(server.client.read4_pipelined(OPS, PIPELINE)?);
            }
        }
    }
    let [f, o, p] = &mut all;
    let figure = |name,
                  limit,
                  samples: fn(&mut Samples) -> &mut Vec<f64>,
                  floor: &mut Samples,
                  ours: &mut Samples,
                  peer: &mut Samples| {
        // Each round of ours against the floor's round beside it.
        let mut ratios: Vec<f64> =
            samples(ours).iter().zip(samples(floor).iter()).map(|(o, f)| o / f).collect();
        let (floor, ours, peer) = (median(samples(floor)), median(samples(ours)), median(samples(peer)));
        Figure {
            figure: name,
            value: median(&mut ratios),
            unit: "x floor",
            limit,
            better: Better::Lower,
            ours,
            floor,
            peer: Some(peer),
            raw_unit: "us",
            peer_is: Some("rust-vmm vfio_user 0.1.7"),
        }
    };
    Ok(vec![
        figure("read4_same_cpu", 1.15, |s| &mut s.read, f, o, p),
        figure("write4_same_cpu", 1.15, |s| &mut s.write, f, o, p),
        figure("read4_pipelined", 1.2, |s| &mut s.pipelined, f, o, p),
    ])
}

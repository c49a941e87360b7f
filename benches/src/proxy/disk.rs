//! NVMe 4 KiB random reads at depth 32 with a polling client: `passthrough` and `replay` against the back end directly.
//!
//! In `passthrough` the client's doorbells and queues are the back end's own memory, and nothing of the proxy is on the way. In
//! `replay` a worker of the proxy copies each command and each completion, and shares the back end's CPU.

use std::error::Error;
use std::time::{Duration, Instant};

use gate::ThreadToken;
use models::nvme::host::{Driver, Options};
use remote::config::Mode;
use vfio_user::client::{Client, ClientOptions};

use super::back_end::{BackEnd, Kind};
use super::front::Front;
use super::profile::{Profile, Tasks};
use super::{CLIENT_CPU, SERVER_CPU, told};
use crate::figure::{Better, Figure};
use crate::nvme::{self, CAPACITY, Load};
use crate::pin;
use crate::stats::median;

const LOAD: Load =
    Load { bytes: 4 << 10, depth: 32, capacity: CAPACITY, for_time: Duration::from_millis(300) };

/// A disk and its driver, with a proxy between or without.
struct Disk {
    driver: Driver,
    front: Option<Front>,
    back_end: BackEnd,
}

impl Disk {
    fn start(
        token: &mut ThreadToken,
        dir: &std::path::Path,
        mode: Option<Mode>,
    ) -> Result<Disk, Box<dyn Error>> {
        let name = mode.map_or("direct", Mode::name);
        let mut back_end = BackEnd::start(Kind::Nvme, dir.join(format!("{name}.sock")))?;
        back_end.ready()?;
        let front = match mode {
            Some(mode) => Some(Front::open(token, &back_end.socket, mode, SERVER_CPU)?),
            None => None,
        };
        let socket = front.as_ref().map_or(&back_end.socket, |front| &front.socket);
        let client = Client::connect(token, socket, ClientOptions::default())?;
        let mut driver = Driver::start(token, client, &Options::default())?;
        pin::to_cpu(CLIENT_CPU)?;
        nvme::fill(&mut driver, token)?;
        Ok(Disk { driver, front, back_end })
    }

    fn stop(self, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
        self.driver.stop(token)?;
        self.front.map_or(Ok(()), |front| front.close(token))
    }
}

/// Rounds of `mode` beside rounds without a proxy: operations per second of both, and the last round's profile.
struct Pair {
    direct: Vec<f64>,
    proxied: Vec<f64>,
    profile: Profile,
}

fn measure(token: &mut ThreadToken, mode: Mode, rounds: usize) -> Result<Pair, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // One after the other, so that no idle disk looks at its doorbells while another is measured.
    let (mut direct, mut proxied, mut profile) = (Vec::new(), Vec::new(), Profile::default());
    let mut bare = Disk::start(token, dir.path(), None)?;
    let mut behind = Disk::start(token, dir.path(), Some(mode))?;
    for _ in 0..rounds {
        direct.push(nvme::drive(&mut bare.driver, token, LOAD)?);
        let counting = Tasks::of(behind.back_end.pid())?.count();
        let start = Instant::now();
        let rate = nvme::drive(&mut behind.driver, token, LOAD)?;
        profile = counting.since(rate * start.elapsed().as_secs_f64())?;
        proxied.push(rate);
    }
    bare.stop(token)?;
    behind.stop(token)?;
    Ok(Pair { direct, proxied, profile })
}

fn ratio(figure: &'static str, limit: f64, pair: &mut Pair) -> Figure {
    let rates = pair.proxied.iter().zip(&pair.direct);
    let mut ratios: Vec<f64> = rates.map(|(proxied, direct)| proxied / direct).collect();
    Figure {
        figure,
        value: median(&mut ratios),
        unit: "x direct",
        limit,
        better: Better::Higher,
        ours: median(&mut pair.proxied),
        floor: median(&mut pair.direct),
        peer: None,
        raw_unit: "IOPS",
        peer_is: None,
    }
}

/// The figures of both modes. That of `replay` has no limit, and its profile beside it: what one command costs, in all threads of the
/// proxy and of the back end together; system calls and messages are left out where the kernel does not count them for us.
///
/// # Errors
/// A disk cannot be made, or a command fails.
pub(super) fn figures(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let token = &mut ThreadToken::at_thread_entry();
    let mut through = measure(token, Mode::Passthrough, rounds)?;
    let mut replayed = measure(token, Mode::Replay, rounds)?;
    let mut figures =
        vec![ratio("passthrough_4k", 0.95, &mut through), ratio("replay_4k", 0.0, &mut replayed)];
    let Profile { calls, messages, front_cpu_us, back_end_cpu_us } = replayed.profile;
    let counts = [("replay_calls", "calls/op", calls), ("replay_messages", "msgs/op", messages)];
    figures.extend(counts.into_iter().filter_map(|(name, unit, count)| Some(told(name, unit, count?, 0.0))));
    figures.push(told("replay_front_cpu", "us/op", front_cpu_us, 0.0));
    figures.push(told("replay_back_end_cpu", "us/op", back_end_cpu_us, through.profile.back_end_cpu_us));
    Ok(figures)
}

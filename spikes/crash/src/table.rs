//! Runs every candidate at every point, and prints what was counted.

use crate::client::Verdict;
use crate::keeper::{cost, count_points, exchange, storm};
use crate::server::Candidate;

#[derive(Default)]
struct Counts {
    ok: u64,
    lost: u64,
    duplicated: u64,
    torn: u64,
}

impl Counts {
    fn add(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Ok => &mut self.ok,
            Verdict::Lost => &mut self.lost,
            Verdict::Duplicated => &mut self.duplicated,
            Verdict::Torn => &mut self.torn,
        } += 1;
    }

    fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.torn == 0
    }

    fn print(&self, candidate: Candidate, what: &str, deaths: u64) {
        println!(
            "{:<12} {:<22} {:>7} {:>7} {:>7} {:>7} {:>7}",
            candidate.name(),
            what,
            deaths,
            self.ok,
            self.lost,
            self.duplicated,
            self.torn
        );
    }
}

/// Runs the candidates; true if the exact candidates are exact.
///
/// # Errors
/// The experiment itself fails.
pub(crate) fn run(candidates: &[Candidate], stride: u64, storms: u64) -> Result<bool, String> {
    println!("kill -9 of real servers in a scripted exchange; exchanges by what the client saw\n");
    println!(
        "{:<12} {:<22} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "candidate", "killed", "deaths", "ok", "lost", "twice", "torn"
    );
    let mut exact = true;
    for &candidate in candidates {
        let clean = points(candidate, stride)? & pairs(candidate, stride)? & storms_of(candidate, storms)?;
        exact &= clean || !candidate.is_exact();
    }
    println!("\nread and reply, client and server on one CPU, us (median)");
    for &candidate in candidates {
        println!("{:<12} {:.2}", candidate.name(), cost(candidate, 21)?);
    }
    println!(
        "\n{}",
        if exact {
            "nothing lost, twice or torn by a candidate that must be exact"
        } else {
            "NOT exact: see the table"
        }
    );
    Ok(exact)
}

/// Once at every point, messages byte by byte and whole.
fn points(candidate: Candidate, stride: u64) -> Result<bool, String> {
    let mut clean = true;
    for (chunk, what) in [(1, "at each byte"), (usize::MAX, "at each step")] {
        let mut counts = Counts::default();
        let last = count_points(candidate, chunk)?;
        let step = if chunk == 1 { stride } else { 1 };
        let mut deaths = 0;
        for at in (1..=last).step_by(usize::try_from(step).unwrap_or(1)) {
            if let Some(verdict) = exchange(candidate, chunk, &[at])? {
                deaths += 1;
                counts.add(verdict);
            }
        }
        counts.print(candidate, what, deaths);
        clean &= counts.is_clean();
    }
    Ok(clean)
}

/// The server that takes over is killed, too, at each of its first points: recovery must bear its own end.
fn pairs(candidate: Candidate, stride: u64) -> Result<bool, String> {
    const SECOND: u64 = 12;
    let mut counts = Counts::default();
    let mut deaths = 0;
    let last = count_points(candidate, usize::MAX)?;
    for first in (1..=last).step_by(usize::try_from(stride).unwrap_or(1)) {
        for second in 1..=SECOND {
            if let Some(verdict) = exchange(candidate, usize::MAX, &[first, second])? {
                deaths += 2;
                counts.add(verdict);
            }
        }
    }
    counts.print(candidate, "at a step, and again", deaths);
    Ok(counts.is_clean())
}

fn storms_of(candidate: Candidate, storms: u64) -> Result<bool, String> {
    let mut counts = Counts::default();
    let mut deaths = 0;
    for seed in 0..storms {
        let (verdict, killed) = storm(candidate, seed, 40)?;
        deaths += u64::from(killed);
        counts.add(verdict);
    }
    counts.print(candidate, "from outside, random", deaths);
    Ok(counts.is_clean())
}

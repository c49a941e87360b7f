//! A walk over 100,000 PEs at rest, and while another thread removes and inserts PEs as fast as it can.
//!
//! Rounds at rest and under churn take turns on the same tree, which is churned before the first one: in a tree that was just
//! built everything lies in a row, and a walk of it tells of the allocator. Each visit looks at the state of its PE.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use contain::pe::{PeAddress, PeKind, PeState};
use contain::tree::{NewPe, PeTree, TreeError};
use gate::ThreadToken;
use pci_core::RealTime;

use super::house::soon;
use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

const SEGMENTS: u16 = 2;
const BUSES: u16 = 250;
const DEVICES: u16 = 199;
/// Walks of one round.
const WALKS: u32 = 5;
/// Changes before the first round: each device is exchanged about twice.
const AGE: u64 = 400_000;

fn pes() -> Vec<NewPe> {
    let mut pes = Vec::new();
    for segment in 0..SEGMENTS {
        let root = PeAddress::phb(segment);
        pes.push(NewPe { address: root, kind: PeKind::Phb, parent: None });
        for bus in 0..BUSES {
            let above = PeAddress::new(segment, bus << 8);
            pes.push(NewPe { address: above, kind: PeKind::Bus, parent: Some(root) });
            pes.extend((1..=DEVICES).map(|number| device(segment, bus, number)));
        }
    }
    pes
}

fn device(segment: u16, bus: u16, number: u16) -> NewPe {
    let (address, above) = (PeAddress::new(segment, bus << 8 | number), PeAddress::new(segment, bus << 8));
    NewPe { address, kind: PeKind::Device, parent: Some(above) }
}

/// Who changes the tree.
struct Churn {
    tree: PeTree,
    on: AtomicBool,
    stop: AtomicBool,
    changes: AtomicU64,
}

impl Churn {
    /// A device goes, and one comes in its place.
    fn exchange(&self, token: &mut ThreadToken, random: u32) -> Result<(), TreeError> {
        let (segment, bus) = (random as u16 % SEGMENTS, (random >> 4) as u16 % BUSES);
        let new = device(segment, bus, 1 + (random >> 16) as u16 % DEVICES);
        self.tree.remove(token, new.address, soon())?;
        self.tree.insert(token, [new], soon())?;
        self.changes.fetch_add(2, Ordering::Relaxed);
        Ok(())
    }

    fn run(&self) -> Result<(), TreeError> {
        // With one CPU the walker is interrupted by it, which the figure shows.
        let _one_cpu = pin::to_cpu(1);
        let token = &mut ThreadToken::at_thread_entry();
        let mut random = 1u32;
        while !self.stop.load(Ordering::Relaxed) {
            if self.on.load(Ordering::Relaxed) || self.changes.load(Ordering::Relaxed) < AGE {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                self.exchange(token, random >> 1)?;
            } else {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }

    /// Nanoseconds for each PE of [`WALKS`] walks.
    fn walks(&self, token: &ThreadToken) -> f64 {
        let (mut visited, mut frozen) = (0u32, 0u32);
        let start = Instant::now();
        for _ in 0..WALKS {
            let snapshot = self.tree.snapshot(token);
            for segment in 0..SEGMENTS {
                for visit in snapshot.walk(PeAddress::phb(segment)) {
                    visited += 1;
                    frozen += u32::from(visit.pe().state().contains(PeState::ISOLATED));
                }
            }
        }
        std::hint::black_box(frozen);
        start.elapsed().as_nanos() as f64 / f64::from(visited.max(1))
    }

    /// The time for each PE at rest and under churn, and the ratio of the two, of each round.
    fn rounds(&self, token: &ThreadToken, rounds: usize) -> [Vec<f64>; 3] {
        while self.changes.load(Ordering::Relaxed) < AGE {
            std::thread::yield_now();
        }
        let (mut quiet, mut churned, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let at_rest = self.walks(token);
            self.on.store(true, Ordering::Relaxed);
            let changing = self.walks(token);
            self.on.store(false, Ordering::Relaxed);
            quiet.push(at_rest);
            churned.push(changing);
            ratios.push(changing / at_rest);
        }
        [quiet, churned, ratios]
    }
}

/// The two figures.
///
/// # Errors
/// The tree refuses a change.
pub(super) fn figures(rounds: usize) -> Result<[Figure; 2], Box<dyn Error>> {
    pin::to_cpu(0)?;
    let tree = PeTree::new(Arc::new(RealTime::default()));
    let token = &mut ThreadToken::at_thread_entry();
    tree.insert(token, pes(), soon())?;
    let churn =
        Churn { tree, on: AtomicBool::new(false), stop: AtomicBool::new(false), changes: AtomicU64::new(0) };
    let [mut quiet, mut churned, mut ratios] = std::thread::scope(|scope| {
        let changing = scope.spawn(|| churn.run());
        let measured = churn.rounds(token, rounds);
        churn.stop.store(true, Ordering::Relaxed);
        changing.join().map_err(|_| "the thread that changes the tree panicked")??;
        Ok::<_, Box<dyn Error>>(measured)
    })?;
    let (floor, ours) = (median(&mut quiet), median(&mut churned));
    let (best, raw_unit) = (Better::Higher, "ns per PE");
    Ok([
        Figure {
            better: best,
            ours,
            floor,
            raw_unit,
            ..super::figure("traversal_mpes_per_s", "M PEs/s", 1e3 / ours, 5.0)
        },
        Figure {
            ours,
            floor,
            raw_unit,
            ..super::figure("traversal_churn", "x quiet", median(&mut ratios), 1.5)
        },
    ])
}

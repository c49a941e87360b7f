//! How fast 100,000 PEs are walked, quiet and while another thread removes and inserts PEs; and what a change costs.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a measurement"
)]

use contain::pe::{PeAddress, PeKind};
use contain::tree::{NewPe, PeTree};
use gate::{Deadline, ThreadToken};
use pci_core::RealTime;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SEGMENTS: u16 = 2;
const BUSES: u16 = 250;
const DEVICES: u16 = 199;
const ROUNDS: u32 = 30;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn pes() -> Vec<NewPe> {
    let mut pes = Vec::new();
    for segment in 0..SEGMENTS {
        let root = PeAddress::phb(segment);
        pes.push(NewPe { address: root, kind: PeKind::Phb, parent: None });
        for bus in 0..BUSES {
            let above = PeAddress::new(segment, bus << 8);
            pes.push(NewPe { address: above, kind: PeKind::Bus, parent: Some(root) });
            let device = |number| NewPe {
                address: PeAddress::new(segment, bus << 8 | number),
                kind: PeKind::Device,
                parent: Some(above),
            };
            pes.extend((1..=DEVICES).map(device));
        }
    }
    pes
}

/// The best and the median round, in nanoseconds for each PE.
fn walk(tree: &PeTree, token: &ThreadToken) -> (f64, f64) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            let snapshot = tree.snapshot(token);
            let visited: u32 = (0..SEGMENTS)
                .map(|segment| u32::try_from(snapshot.walk(PeAddress::phb(segment)).count()).unwrap())
                .sum();
            began.elapsed().as_secs_f64() * 1e9 / f64::from(visited)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[0], rounds[rounds.len() / 2])
}

fn churn(tree: &PeTree, stop: &AtomicBool, changes: &AtomicU64) {
    let mut token = ThreadToken::at_thread_entry();
    let mut at = 1u32;
    while !stop.load(Ordering::Relaxed) {
        at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let bus = (at >> 8) as u16 % BUSES;
        let address = PeAddress::new(0, bus << 8 | (1 + (at >> 20) as u16 % DEVICES));
        tree.remove(&mut token, address, soon()).unwrap();
        let new = NewPe { address, kind: PeKind::Device, parent: Some(PeAddress::new(0, bus << 8)) };
        tree.insert(&mut token, [new], soon()).unwrap();
        changes.fetch_add(2, Ordering::Relaxed);
    }
}

fn main() {
    let mut token = ThreadToken::at_thread_entry();
    let tree = PeTree::new(Arc::new(RealTime::default()));
    let began = Instant::now();
    let count = tree.insert(&mut token, pes(), soon()).unwrap().len();
    println!("{count} PEs put in, in {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    let (best, median) = walk(&tree, &token);
    println!("quiet: {best:.0} ns best, {median:.0} ns median for each PE, {:.1} M PEs/s", 1e3 / median);
    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| churn(&tree, &stop, &changes));
        let began = Instant::now();
        let (best, churned) = walk(&tree, &token);
        let changes = changes.load(Ordering::Relaxed) as f64;
        println!("churn: {best:.0} ns best, {churned:.0} ns median, {:.2} of quiet", churned / median);
        println!("{:.1} us for each change meanwhile", began.elapsed().as_secs_f64() * 1e6 / changes);
        stop.store(true, Ordering::Relaxed);
    });
}

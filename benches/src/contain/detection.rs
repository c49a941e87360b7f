//! What detection adds to a good read: one look at what was read, which is in the cache by then.
//!
//! Every read of a function is looked at, so there is none without it to compare with. What is compared is the read and the same
//! read with a second such look, of the same shape as the first.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use gate::ThreadToken;
use pci_core::{BarIndex, Command, ErrorSign, Function, Sentinel};

use super::house;
use crate::figure::Figure;
use crate::pin;
use crate::stats::median;

const TURNS: u32 = 2_000_000;
/// Short, and one of either in turn, so that a noisy neighbour hits both.
const PIECE: u32 = 10_000;

struct Unexpected;

impl Sentinel for Unexpected {
    fn noticed(&self, _token: &ThreadToken, sign: ErrorSign) {
        suspect(sign);
    }
}

/// Nothing is wrong with the function, so that this is never called.
#[cold]
#[inline(never)]
fn suspect(what: impl std::fmt::Debug) {
    eprintln!("bench: a good read was suspected: {what:?}");
}

/// The figure.
///
/// # Errors
/// The function cannot be built or read.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    pin::to_cpu(0)?;
    let token = &mut ThreadToken::at_thread_entry();
    let function = house::function("watched")?;
    function.watch_errors(Arc::new(Unexpected));
    let decoding = Command::MEMORY_SPACE.bits().to_le_bytes();
    function.write_config(token, pci_spec::config::COMMAND, &decoding, house::soon())?;
    let (mut plain, mut looked_at, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (mut once, mut twice) = (0.0, 0.0);
        for _ in 0..TURNS / PIECE {
            once += reads(&function, token, |_| ())?;
            twice += reads(&function, token, |data| {
                if let [.., u8::MAX] = data {
                    suspect(data);
                }
            })?;
        }
        let turns = f64::from(TURNS);
        plain.push(once / turns);
        looked_at.push(twice / turns);
        added.push((twice - once) / turns);
    }
    let (ours, floor) = (median(&mut looked_at), median(&mut plain));
    // Less than nothing is what the clock and the neighbours make of nothing.
    let value = median(&mut added).max(0.0);
    Ok(Figure { ours, floor, ..super::figure("detection_ns", "ns", value, 1.0) })
}

/// Nanoseconds for a piece of reads.
#[inline(always)]
fn reads(function: &Function, token: &mut ThreadToken, look: impl Fn(&[u8])) -> Result<f64, Box<dyn Error>> {
    let bar = BarIndex::new(0).ok_or("no BAR 0")?;
    let mut data = [0; 4];
    let start = Instant::now();
    for _ in 0..PIECE {
        function.read_bar(token, bar, black_box(0x1c), &mut data, house::soon)?;
        look(black_box(&data));
    }
    Ok(start.elapsed().as_nanos() as f64)
}

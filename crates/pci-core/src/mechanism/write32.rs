//! A bridge that can write only whole dwords.
//!
//! A narrower write reads the dword, replaces the bytes and writes it back (CFG-05). Bits of the other bytes that are
//! cleared by writing 1 are cleared by that: nothing can be done about it here, so the first such write to a function
//! is reported.

use super::ops::check_register;
use super::{BridgeEvent, BridgeObserver, ConfigOps};
use crate::access::{ConfigAddress, ConfigStatus, Width};
use crate::config::{CONFIG_SIZE, ConfigEffects};
use crate::ranks;
use gate::lock::Leaf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const FUNCTIONS: usize = 1 << 16;

/// Whole-dword writes over other operations, normally ECAM.
///
/// Writes are serialised per bridge, since a dword write in the middle of a read-modify-write would be undone; reads are
/// not. The operations below take no lock that comes before "config mechanism".
pub struct Write32Only<O> {
    below: O,
    observer: Option<Arc<dyn BridgeObserver>>,
    /// One bit for each function that a narrow write was reported for.
    reported: Box<[AtomicU64]>,
    /// Rank 72. A read-modify-write below is two operations: an atomic cannot cover both.
    turn: Leaf<ranks::Mechanism, ()>,
}

impl<O: ConfigOps> Write32Only<O> {
    /// Over `below`; `observer` is told of the first narrow write to each function.
    pub fn new(below: O, observer: Option<Arc<dyn BridgeObserver>>) -> Write32Only<O> {
        let reported = (0..FUNCTIONS / 64).map(|_| AtomicU64::new(0)).collect();
        Write32Only { below, observer, reported, turn: Leaf::new(()) }
    }

    /// Reports the first narrow write to a function, with no lock held.
    fn report(&self, at: ConfigAddress, width: Width) {
        let Some(observer) = &self.observer else { return };
        let bit = 1 << (at.devfn % 64);
        let word = usize::from(at.bus) * 4 + usize::from(at.devfn / 64);
        let Some(reported) = self.reported.get(word) else { return };
        if reported.load(Ordering::Relaxed) & bit == 0 && reported.fetch_or(bit, Ordering::Relaxed) & bit == 0
        {
            observer.event(&BridgeEvent::NarrowWrite { at, width });
        }
    }
}

impl<O: ConfigOps> ConfigOps for Write32Only<O> {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        self.below.read(at, width)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        check_register(at.register, width, CONFIG_SIZE)?;
        if width == Width::Dword {
            let _turn = self.turn.lock();
            return self.below.write(at, width, value);
        }
        self.report(at, width);
        let shift = 8 * u32::from(at.register % 4);
        let lanes = width.all_ones() << shift;
        let dword = ConfigAddress { register: at.register & !3, ..at };
        let _turn = self.turn.lock();
        let old = self.below.read(dword, Width::Dword)?;
        self.below.write(dword, Width::Dword, old & !lanes | value << shift & lanes)
    }
}

impl<O: std::fmt::Debug> std::fmt::Debug for Write32Only<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Write32Only { below, observer: _, reported: _, turn } = self;
        f.debug_struct("Write32Only").field("below", below).field("turn", turn).finish_non_exhaustive()
    }
}

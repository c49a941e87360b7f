//! The part of a configuration header that software sets up, kept over a power state that loses it.

use super::{Function, Inside};
use crate::access::Width;
use gate::Quiesced;
use pci_spec::config;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The header's dwords.
const DWORDS: usize = 16;
/// COMMAND and STATUS: put back last, by its lower half, for the upper one is cleared by writing 1.
const COMMAND: usize = config::COMMAND as usize / 4;
/// In a bridge: I/O window below, and above it secondary status, which is cleared by writing 1. In an endpoint: BAR 3.
const SECONDARY_STATUS: usize = 7;
/// Header type, in the third byte.
const HEADER_TYPE: usize = config::HEADER_TYPE as usize / 4;

/// Values saved under a proof or a pass and put back under a proof, which excludes everybody else; atomic only so that
/// the function is `Sync`.
#[derive(Debug, Default)]
pub(super) struct SavedHeader {
    values: [AtomicU32; DWORDS],
    is_saved: AtomicBool,
}

impl Function {
    /// Saves what software has set up in the header: BARs, bus numbers and windows, COMMAND. Replaces what was saved.
    ///
    /// Done by itself on the way to D3hot (PWR-05). A function that does not answer leaves what was saved before.
    pub fn save_header(&self, held: &impl Inside) {
        let mut values = [0; DWORDS];
        for (offset, value) in (0_u16..).step_by(4).zip(&mut values) {
            match self.config_read(held, offset, Width::Dword) {
                Ok(read) => *value = read,
                Err(_) => return,
            }
        }
        // Not by the vendor ID: that of a virtual function always reads all-ones (CAP-04).
        if values[COMMAND] == Width::Dword.all_ones() {
            return;
        }
        for (saved, value) in self.power.header.values.iter().zip(values) {
            saved.store(value, Ordering::Relaxed);
        }
        self.power.header.is_saved.store(true, Ordering::Release);
    }

    /// Puts the saved header back, COMMAND last, and forgets it. Writes only what differs. False if none was saved.
    pub fn restore_header(&self, quiesced: &Quiesced<'_>) -> bool {
        let header = &self.power.header;
        if !header.is_saved.swap(false, Ordering::AcqRel) {
            return false;
        }
        let saved = |dword: usize| header.values[dword].load(Ordering::Relaxed);
        let is_bridge = saved(HEADER_TYPE) >> 16 & u32::from(config::HEADER_LAYOUT_MASK)
            == u32::from(config::HEADER_LAYOUT_BRIDGE);
        for dword in (0..DWORDS).rev().filter(|dword| *dword != COMMAND) {
            let width = if is_bridge && dword == SECONDARY_STATUS { Width::Word } else { Width::Dword };
            self.put_back(quiesced, dword, width, saved(dword));
        }
        self.put_back(quiesced, COMMAND, Width::Word, saved(COMMAND));
        true
    }

    fn put_back(&self, quiesced: &Quiesced<'_>, dword: usize, width: Width, value: u32) {
        let Ok(register) = u16::try_from(dword * 4) else { return };
        let value = value & width.all_ones();
        if self.config_read(quiesced, register, width) != Ok(value) {
            // A function that refuses the write is no worse off than without it.
            let _effects = self.config_write_quiesced(quiesced, register, width, value);
        }
    }
}

//! Resets of the configuration space: what goes back to its power-on value and what stays.

use super::ConfigSpace;
use super::layout::Bits;
use pci_spec::extended::sr_iov;
use std::fmt;
use std::ops::Range;

/// Why a function is reset, which decides what survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetKind {
    /// A guest set the bit in Device Control (RST-05). PCIe 6.0 s6.6.2 *Function Level Reset*.
    FunctionLevel,
    /// The way back from D3hot to D0 of a function that loses its state (PWR-05, RST-07).
    PowerUp,
    /// The consumer's DEVICE_RESET, or the operator's. A conventional reset: PCIe 6.0 s6.6.1 *Conventional Reset*.
    DeviceReset,
    /// The consumer has gone and the next one must find nothing of it (VF-03). A conventional reset.
    ClientGone,
    /// Power was lost; nothing survives.
    PowerCycle,
}

impl fmt::Display for ResetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResetKind::FunctionLevel => "function level reset",
            ResetKind::PowerUp => "reset on power-up from D3hot",
            ResetKind::DeviceReset => "device reset",
            ResetKind::ClientGone => "reset after the client left",
            ResetKind::PowerCycle => "power cycle",
        })
    }
}

impl ResetKind {
    /// The bits of a dword that keep their value.
    fn kept(self, bits: &Bits) -> u32 {
        match self {
            ResetKind::FunctionLevel | ResetKind::PowerUp => bits.sticky | bits.kept_by_flr,
            ResetKind::DeviceReset | ResetKind::ClientGone => bits.sticky,
            ResetKind::PowerCycle => 0,
        }
    }
}

impl ConfigSpace {
    /// Sets every register back to its power-on value, except what survives a reset of this kind: sticky registers
    /// (error records, PME if it works without power), and for a function level reset also what belongs to the link.
    ///
    /// COMMAND is 0 afterwards and the BARs are unset. Needs quiescence.
    pub fn reset(&self, kind: ResetKind) {
        self.reset_but(kind, 0..0);
    }

    /// As [`ConfigSpace::reset`], but virtual functions stay set up: at no moment does anybody find them gone (RST-19).
    pub(crate) fn reset_but_virtual_functions(&self, kind: ResetKind) {
        let at = self.layout.sr_iov().map(|layout| usize::from(layout.at));
        let set_up = at.map(|at| at + usize::from(sr_iov::CONTROL)..at + usize::from(sr_iov::LENGTH));
        let dwords = set_up.map_or(0..0, |bytes| bytes.start / 4..bytes.end / 4);
        self.reset_but(kind, dwords);
    }

    fn reset_but(&self, kind: ResetKind, kept: Range<usize>) {
        for (dword, initial) in self.layout.initial.iter().enumerate() {
            if kept.contains(&dword) {
                continue;
            }
            let rule = self.layout.rule(dword);
            let kept = rule.map_or(0, |rule| kind.kept(&rule.bits));
            let reset = |old| old & kept | initial & !kept;
            if let (Some(old), Some(rule)) = (self.update(dword, reset), rule) {
                self.count_if_routing(rule.register, old, reset(old));
            }
        }
        self.contain_still();
    }
}

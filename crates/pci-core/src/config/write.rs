//! Writes: which bits take a value, and what the write asks for.

use super::bridge::routing_bits;
use super::effects::{Change, ConfigEffects, MsiState, MsixState};
use super::layout::{Register, Rule};
use super::sr_iov::SrIovState;
use super::{ConfigSpace, command_of, halves};
use pci_spec::capability::pm::{self, PowerState};
use pci_spec::capability::{af, express, msi};

impl ConfigSpace {
    /// Writes `data` at `offset` and says what that asks for.
    ///
    /// Any offset and length. Only the bytes written are touched: a byte write to a register whose bits are cleared
    /// by writing 1 leaves its other byte alone. Read-only bits and unclaimed bytes ignore the write. A function
    /// level reset and a change of the power state are only asked for in the answer: they need quiescence. A function
    /// without power ignores everything.
    #[must_use = "a reset or a power change that a write asks for is carried out by the caller"]
    pub fn write(&self, offset: u16, data: &[u8]) -> ConfigEffects {
        let mut effects = ConfigEffects::default();
        if !self.is_powered() {
            return effects;
        }
        let mut at = usize::from(offset);
        let mut rest = data;
        while !rest.is_empty() && at / 4 < self.values.len() {
            let lane = at % 4;
            let (piece, tail) = rest.split_at(rest.len().min(4 - lane));
            let (mut value, mut lanes) = ([0; 4], [0; 4]);
            value[lane..lane + piece.len()].copy_from_slice(piece);
            lanes[lane..lane + piece.len()].fill(0xff);
            let written = Written { value: u32::from_le_bytes(value), lanes: u32::from_le_bytes(lanes) };
            self.write_dword(at / 4, written, &mut effects);
            at += piece.len();
            rest = tail;
        }
        effects
    }

    fn write_dword(&self, dword: usize, written: Written, effects: &mut ConfigEffects) {
        let Some(rule) = self.layout.rule(dword) else { return };
        let Some(old) = self.update(dword, |old| rule.apply(old, written)) else { return };
        let new = rule.apply(old, written);
        self.count_if_routing(rule.register, old, new);
        match rule.register {
            Register::Plain => {}
            Register::Command => effects.command = Change::between(command_of(old), command_of(new)),
            Register::Bar => effects.bars_moved |= old != new,
            Register::PowerControl => effects.power = self.power_request(old, written),
            Register::ResetControl => {
                let flr = u32::from(express::DeviceControl::INITIATE_FUNCTION_LEVEL_RESET.bits());
                effects.flr |= written.value & flr != 0;
            }
            Register::MsiControl => {
                let state = |dword| MsiState::decode(halves(dword).1);
                effects.msi = Change::between(state(old), state(new));
            }
            Register::MsixControl => {
                let state = |dword| MsixState::decode(halves(dword).1);
                effects.msix = Change::between(state(old), state(new));
            }
            Register::AfControl => effects.flr |= written.value & u32::from(af::INITIATE_FLR) != 0,
            Register::BusNumbers => effects.bus_numbers_changed = old != new,
            Register::BridgeControl => {
                let held = |dword| dword & routing_bits(Register::BridgeControl) != 0;
                effects.secondary_bus_reset = Change::between(held(old), held(new));
            }
            Register::DeviceControl2 => {
                let forwards = |dword| dword & routing_bits(Register::DeviceControl2) != 0;
                effects.ari_forwarding = Change::between(forwards(old), forwards(new));
            }
            Register::DpcStatus => self.released(old, new),
            Register::SrIovControl => effects.sr_iov = self.sr_iov_change(old, new),
        }
    }

    fn sr_iov_change(&self, old: u32, new: u32) -> Option<Change<SrIovState>> {
        let num_vfs = self.sr_iov()?.num_vfs;
        let state = |dword| SrIovState::decode(halves(dword).0, num_vfs);
        Change::between(state(old), state(new))
    }

    /// The change of power state that a write to PMCSR asks for. One that the function cannot make is discarded
    /// without an error (PCIe 6.0 s7.5.2.2 *Power Management Control/Status Register*; PWR-02, PWR-06).
    fn power_request(&self, old: u32, written: Written) -> Option<Change<PowerState>> {
        if written.lanes & u32::from(pm::POWER_STATE_MASK) == 0 {
            return None;
        }
        let old = PowerState::decode(halves(old).0);
        let new = PowerState::decode(halves(written.value).0);
        Change::between(old, new).filter(|_| self.layout.power.allows(old, new))
    }

    /// Enters a power state that a write has asked for, and answers the change; nothing if the function is in it or
    /// cannot go there from where it is now. Needs quiescence: a change holds off every access (CFG-I10).
    ///
    /// The caller resets the function if [`wakes_to_reset`](ConfigSpace::wakes_to_reset) says so.
    pub fn set_power_state(&self, state: PowerState) -> Option<Change<PowerState>> {
        let old = self.power_state();
        let offset = self.layout.positions.power_control?;
        let change = Change::between(old, state).filter(|_| self.layout.power.allows(old, state))?;
        let clear = u32::from(pm::POWER_STATE_MASK);
        self.update(usize::from(offset / 4), |dword| dword & !clear | u32::from(state.bits()))?;
        Some(change)
    }

    /// Whether a change of power state loses the function's state: D3hot to D0 without `No_Soft_Reset` (PWR-05).
    #[must_use]
    pub fn wakes_to_reset(&self, change: Change<PowerState>) -> bool {
        change.old == PowerState::D3Hot && change.new == PowerState::D0 && !self.layout.power.no_soft_reset
    }
}

/// A write to one dword.
#[derive(Clone, Copy)]
struct Written {
    /// The bytes in their lanes; 0 in the lanes that are not written.
    value: u32,
    /// All-ones in each byte that is written.
    lanes: u32,
}

impl Rule {
    fn apply(&self, old: u32, written: Written) -> u32 {
        let stored = self.bits.writable & written.lanes;
        let new = (old & !stored | written.value & stored) & !(written.value & self.bits.clear);
        if self.register == Register::MsiControl { grant_at_most_asked(new) } else { new }
    }
}

/// Limits the vectors that software grants to those the function asks for (CAP-14).
fn grant_at_most_asked(dword: u32) -> u32 {
    const ASKED: u32 = (msi::MULTIPLE_MESSAGE_CAPABLE_MASK as u32) << 16;
    const GRANTED: u32 = (msi::MULTIPLE_MESSAGE_ENABLE_MASK as u32) << 16;
    let most = (dword & ASKED) << (GRANTED.trailing_zeros() - ASKED.trailing_zeros());
    dword & !GRANTED | (dword & GRANTED).min(most)
}

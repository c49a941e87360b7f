//! The configuration space against a model of bytes and masks written down by hand.

mod support;

use pci_core::{CONFIG_SIZE, ConfigEffects, ConfigSpace, PowerState, ResetKind};
use pci_spec::Status;
use pci_spec::aer::Correctable;
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::full;

/// Offset of the first byte, then the bytes' masks.
type Masks = &'static [(usize, &'static [u8])];

/// Of the function that `full` builds.
const WRITABLE: Masks = &[
    (0x04, &[0x47, 0x05]),
    (0x0c, &[0xff]),
    (0x10, &[0x00, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    (0x18, &[0xc0, 0xff, 0xff, 0xff]),
    (0x24, &[0xfe, 0xff, 0xff, 0xff]),
    (0x30, &[0x01, 0x00, 0xff, 0xff]),
    (0x3c, &[0xff]),
    (0x45, &[0x01]),
    (0x4a, &[0x71]),
    (0x4c, &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    (0x58, &[0x0f]),
    (0x63, &[0xc0]),
    (0x74, &[0xff, 0x79]),
    (0x7c, &[0xcb]),
    (0x94, &[0x10]),
    (0x9c, &[0x0f]),
    (0xab, &[0xff, 0x0f]),
    (0x108, &[0x10, 0xf0, 0x5f, 0x00, 0x10, 0xf0, 0x5f, 0x00]),
    (0x114, &[0xc1, 0xf1]),
];
const CLEARED_BY_ONE: Masks = &[
    (0x07, &[0xf9]),
    (0x45, &[0x80]),
    (0x76, &[0x0f]),
    (0x104, &[0x10, 0xf0, 0x5f, 0x00]),
    (0x110, &[0xc1, 0xf1]),
];
const STICKY: Masks = &[
    (0x45, &[0x81]),
    (0x9c, &[0x0f]),
    (0x104, &[0x10, 0xf0, 0x5f, 0x00, 0x10, 0xf0, 0x5f, 0x00, 0x10, 0xf0, 0x5f, 0x00]),
    (0x110, &[0xc1, 0xf1, 0x00, 0x00, 0xc1, 0xf1]),
];
const KEPT_BY_FLR: Masks = &[(0x74, &[0xe0]), (0x7c, &[0xcb])];

fn spread(masks: Masks) -> BTreeMap<usize, u8> {
    masks.iter().flat_map(|(at, masks)| (*at..).zip(masks.iter().copied())).collect()
}

struct Model {
    bytes: Vec<u8>,
    fresh: Vec<u8>,
    writable: BTreeMap<usize, u8>,
    clear: BTreeMap<usize, u8>,
    sticky: BTreeMap<usize, u8>,
    kept_by_flr: BTreeMap<usize, u8>,
}

fn mask(masks: &BTreeMap<usize, u8>, at: usize) -> u8 {
    masks.get(&at).copied().unwrap_or(0)
}

impl Model {
    fn new(fresh: Vec<u8>) -> Model {
        Model {
            bytes: fresh.clone(),
            fresh,
            writable: spread(WRITABLE),
            clear: spread(CLEARED_BY_ONE),
            sticky: spread(STICKY),
            kept_by_flr: spread(KEPT_BY_FLR),
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        for (at, byte) in (offset..).zip(data.iter().copied()) {
            let Some(value) = self.bytes.get_mut(at) else { return };
            let writable = mask(&self.writable, at);
            *value = (*value & !writable | byte & writable) & !(byte & mask(&self.clear, at));
            if at == 0x4a && *value >> 4 & 7 > 2 {
                *value = *value & 0x8f | 2 << 4;
            }
        }
    }

    fn reset(&mut self, kind: ResetKind) {
        for at in 0..self.bytes.len() {
            let kept = match kind {
                ResetKind::FunctionLevel => mask(&self.sticky, at) | mask(&self.kept_by_flr, at),
                ResetKind::DeviceReset => mask(&self.sticky, at),
                _ => 0,
            };
            self.bytes[at] = self.bytes[at] & kept | self.fresh[at] & !kept;
        }
    }

    /// What a write of `data` at `offset` has asked for, given the bytes before it.
    fn check(&self, before: &[u8], offset: usize, data: &[u8], effects: &ConfigEffects) {
        let written = |at: usize| at.checked_sub(offset).and_then(|index| data.get(index)).copied();
        let changed = |range: std::ops::Range<usize>| before[range.clone()] != self.bytes[range];
        assert_eq!(effects.flr, written(0x75).is_some_and(|byte| byte & 0x80 != 0));
        assert_eq!(effects.command.is_some(), changed(0x04..0x06));
        assert_eq!(effects.bars_moved, changed(0x10..0x28) || changed(0x30..0x34));
        assert_eq!(effects.msi.is_some(), changed(0x4a..0x4b));
        assert_eq!(effects.msix.is_some(), changed(0x63..0x64));
        let asked = written(0x44).map(|byte| byte & 3);
        let now = before[0x44] & 3;
        let granted = match (now, asked) {
            (0, Some(1 | 3)) | (1, Some(0 | 3)) | (3, Some(0)) => asked,
            _ => None,
        };
        assert_eq!(effects.power.map(|change| change.new as u8), granted);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write { offset: u16, data: Vec<u8> },
    Reset(ResetKind),
    Power(PowerState),
    Intx(bool),
    Status(u16),
    Correctable(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let offset = prop_oneof![8 => 0..0x140_u16, 1 => 0..0x1100_u16, 1 => any::<u16>()];
    let byte = prop_oneof![Just(0xff), Just(0x00), any::<u8>()];
    let data = prop::collection::vec(byte, 0..24);
    let kinds = [ResetKind::FunctionLevel, ResetKind::DeviceReset, ResetKind::PowerCycle];
    let states = [PowerState::D0, PowerState::D1, PowerState::D2, PowerState::D3Hot];
    prop_oneof![
        12 => (offset, data).prop_map(|(offset, data)| Op::Write { offset, data }),
        1 => prop::sample::select(kinds.to_vec()).prop_map(Op::Reset),
        1 => prop::sample::select(states.to_vec()).prop_map(Op::Power),
        1 => any::<bool>().prop_map(Op::Intx),
        1 => any::<u16>().prop_map(Op::Status),
        1 => any::<u32>().prop_map(Op::Correctable),
    ]
}

fn whole(config: &ConfigSpace) -> Vec<u8> {
    let mut bytes = vec![0; CONFIG_SIZE];
    config.read(0, &mut bytes);
    bytes
}

fn apply(config: &ConfigSpace, model: &mut Model, op: Op) {
    match op {
        Op::Write { offset, data } => {
            let before = model.bytes.clone();
            model.write(usize::from(offset), &data);
            let effects = config.write(offset, &data);
            model.check(&before, usize::from(offset), &data, &effects);
        }
        Op::Reset(kind) => {
            config.reset(kind);
            model.reset(kind);
        }
        Op::Power(state) => {
            if let Some(change) = config.set_power_state(state) {
                assert_eq!(change.old as u8, model.bytes[0x44] & 3);
                model.bytes[0x44] = model.bytes[0x44] & !3 | state as u8;
            }
        }
        Op::Intx(asserted) => {
            config.set_intx_status(asserted);
            model.bytes[0x06] = model.bytes[0x06] & !8 | u8::from(asserted) << 3;
        }
        Op::Status(bits) => {
            config.record_status(Status::from_bits_truncate(bits));
            model.bytes[0x07] |= bits.to_le_bytes()[1] & 0xf9;
        }
        Op::Correctable(bits) => {
            config.record_correctable(Correctable::from_bits_truncate(bits));
            let [low, high, _, _] = bits.to_le_bytes();
            model.bytes[0x110] |= low & 0xc1;
            model.bytes[0x111] |= high & 0xf1;
            model.bytes[0x76] |= u8::from(low & 0xc1 != 0 || high & 0xf1 != 0);
        }
    }
}

proptest! {
    #[test]
    fn the_space_behaves_as_bytes_under_masks(ops in prop::collection::vec(op(), 1..60)) {
        let config = full().build().unwrap();
        let mut model = Model::new(whole(&config));
        for op in ops {
            let text = format!("{op:?}");
            apply(&config, &mut model, op);
            let bytes = whole(&config);
            let differs = (0..CONFIG_SIZE).find(|at| bytes[*at] != model.bytes[*at]);
            prop_assert_eq!(differs, None, "after {}", text);
        }
    }

    #[test]
    fn any_read_is_a_window_on_the_same_bytes(offset in any::<u16>(), length in 0..300_usize) {
        let config = full().build().unwrap();
        let mut bytes = whole(&config);
        bytes.resize(usize::from(u16::MAX) + 301, 0xff);
        let mut piece = vec![0; length];
        config.read(offset, &mut piece);
        prop_assert_eq!(&piece[..], &bytes[usize::from(offset)..usize::from(offset) + length]);
    }
}

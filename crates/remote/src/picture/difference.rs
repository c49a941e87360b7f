//! How a back end differs from the one that was there before, as far as its consumer would notice.

use std::fmt;

use pci_core::{BarIndex, BarKind, Capability, Identity};
use pci_spec::capability::id;

use super::Picture;
use super::capabilities::Carried;
use super::regions::{Window, bars};

/// One difference. What a consumer cannot notice, such as interrupt vectors beyond those that it was shown, is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A number in the header.
    Number {
        /// Which.
        what: &'static str,
        /// Before.
        was: u32,
        /// Now.
        now: u32,
    },
    /// A BAR, or the ROM, has another size or is gone or new.
    Size {
        /// Which.
        window: BarIndex,
        /// Bytes before; 0: there was none.
        was: u64,
        /// Bytes now.
        now: u64,
    },
    /// A BAR is of another kind.
    Kind {
        /// Which.
        window: BarIndex,
        /// Before.
        was: BarKind,
        /// Now.
        now: BarKind,
    },
    /// A region of the device's own is another one, or is gone or new.
    Region {
        /// As the back end numbers it.
        number: u32,
    },
    /// There are fewer vectors.
    Vectors {
        /// MSI or MSI-X.
        kind: &'static str,
        /// Before.
        was: u16,
        /// Now.
        now: u16,
    },
    /// A capability has changed, or has moved, or is gone or new.
    Capability {
        /// Its identifier.
        id: u8,
        /// What has become of it.
        what: &'static str,
    },
    /// The ROM has other bytes.
    Image,
    /// It can no longer be reset.
    NoReset,
    /// The consumer has the last back end's memory of a region mapped, and would go on reaching that.
    Memory {
        /// As vfio numbers it.
        region: u32,
    },
}

/// A size as people write it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let Bytes(bytes) = *self;
        match UNITS.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift) {
            Some((shift, unit)) => write!(f, "{} {unit}", bytes >> shift),
            None => write!(f, "{bytes} bytes"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Number { what, was, now } => write!(f, "the {what} is {now:#x}, was {was:#x}"),
            Difference::Size { window, was: 0, now } => write!(f, "{window} is new, with {}", Bytes(*now)),
            Difference::Size { window, was, now: 0 } => write!(f, "{window} is gone, had {}", Bytes(*was)),
            Difference::Size { window, was, now } => {
                write!(f, "{window} has {}, was {}", Bytes(*now), Bytes(*was))
            }
            Difference::Kind { window, was, now } => {
                write!(f, "{window} is {}, was {}", kind(*now), kind(*was))
            }
            Difference::Region { number } => write!(f, "region {number} is another one"),
            Difference::Vectors { kind, was, now } => write!(f, "{kind} has {now} vectors, was {was}"),
            Difference::Capability { id, what } => {
                write!(f, "{} {what}", id::name(*id).unwrap_or("a capability"))
            }
            Difference::Image => f.write_str("the ROM has other bytes"),
            Difference::NoReset => f.write_str("it can no longer be reset"),
            Difference::Memory { region } => write!(
                f,
                "the consumer still has the memory of the last one mapped, of region {region}, and cannot be given another"
            ),
        }
    }
}

fn kind(kind: BarKind) -> &'static str {
    match kind {
        BarKind::Memory32 => "32-bit memory",
        BarKind::Memory64 => "64-bit memory",
        BarKind::Memory64Prefetchable => "prefetchable 64-bit memory",
        BarKind::Io => "I/O ports",
    }
}

/// All differences, of which there are no more than there are places to differ in.
pub(super) fn between(was: &Picture, now: &Picture) -> Vec<Difference> {
    let mut found = Vec::new();
    numbers(&was.shape.identity, &now.shape.identity, &mut found);
    if was.shape.pin != now.shape.pin {
        let (was, now) = (was.shape.pin.to_byte().into(), now.shape.pin.to_byte().into());
        found.push(Difference::Number { what: "interrupt pin", was, now });
    }
    for (window, (was, now)) in bars().zip(was.shape.windows.iter().zip(&now.shape.windows)) {
        windows(window, was.as_ref(), now.as_ref(), &mut found);
    }
    rom(was, now, &mut found);
    regions(was, now, &mut found);
    capabilities(&was.shape.carried, &now.shape.carried, &mut found);
    if was.shape.serial != now.shape.serial {
        let [was, now] = [was, now].map(|of| of.shape.serial.map_or(0, low));
        found.push(Difference::Number { what: "serial number (its lower half)", was, now });
    }
    if was.resets && !now.resets {
        found.push(Difference::NoReset);
    }
    found
}

fn low(serial: u64) -> u32 {
    let [a, b, c, d, ..] = serial.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn numbers(was: &Identity, now: &Identity, found: &mut Vec<Difference>) {
    let all = |id: &Identity| {
        [
            ("vendor ID", id.vendor.into()),
            ("device ID", id.device.into()),
            ("class code", id.class.to_u24()),
            ("revision", id.revision.into()),
            ("subsystem vendor ID", id.subsystem_vendor.into()),
            ("subsystem ID", id.subsystem.into()),
        ]
    };
    for ((what, was), (_, now)) in all(was).into_iter().zip(all(now)) {
        if was != now {
            found.push(Difference::Number { what, was, now });
        }
    }
}

fn windows(window: BarIndex, was: Option<&Window>, now: Option<&Window>, found: &mut Vec<Difference>) {
    let bytes = |window: Option<&Window>| window.map_or(0, |window| window.bytes);
    if bytes(was) != bytes(now) {
        found.push(Difference::Size { window, was: bytes(was), now: bytes(now) });
    }
    if let (Some(was), Some(now)) = (was, now)
        && was.kind != now.kind
    {
        found.push(Difference::Kind { window, was: was.kind, now: now.kind });
    }
}

fn rom(was: &Picture, now: &Picture, found: &mut Vec<Difference>) {
    let bytes = |of: &Picture| of.shape.rom.unwrap_or(0);
    if bytes(was) != bytes(now) {
        found.push(Difference::Size { window: BarIndex::ROM, was: bytes(was), now: bytes(now) });
    } else if was.rom != now.rom {
        found.push(Difference::Image);
    }
}

fn regions(was: &Picture, now: &Picture, found: &mut Vec<Difference>) {
    let (was, now) = (&was.own, &now.own);
    let both = was.iter().chain(now).filter(|region| !(was.contains(region) && now.contains(region)));
    let mut numbers: Vec<u32> = both.map(|region| region.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    found.extend(numbers.into_iter().map(|number| Difference::Region { number }));
}

fn capabilities(was: &[Carried], now: &[Carried], found: &mut Vec<Difference>) {
    for old in was {
        match now.iter().find(|new| new.id == old.id && new.at == old.at) {
            Some(new) => found.extend(changed(old, new)),
            None if now.iter().any(|new| new.id == old.id) => {
                found.push(Difference::Capability { id: old.id, what: "has moved" });
            }
            None => found.push(Difference::Capability { id: old.id, what: "is gone" }),
        }
    }
    let new = now.iter().filter(|new| !was.iter().any(|old| new.id == old.id));
    found.extend(new.map(|new| Difference::Capability { id: new.id, what: "is new" }));
}

fn changed(old: &Carried, new: &Carried) -> Option<Difference> {
    let vectors = |kind, was: u16, now: u16, same| match same {
        true if now >= was => None,
        true => Some(Difference::Vectors { kind, was, now }),
        false => Some(Difference::Capability { id: old.id, what: "has changed" }),
    };
    match (&old.capability, &new.capability) {
        (Capability::Msi(was), Capability::Msi(now)) => {
            let same = pci_core::Msi { vectors: was.vectors, ..*now } == *was;
            vectors("MSI", was.vectors, now.vectors, same)
        }
        (Capability::Msix(was), Capability::Msix(now)) => {
            let same = pci_core::Msix { vectors: was.vectors, ..*now } == *was;
            vectors("MSI-X", was.vectors, now.vectors, same)
        }
        (was, now) if was == now => None,
        _ => Some(Difference::Capability { id: old.id, what: "has changed" }),
    }
}

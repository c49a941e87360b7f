//! A machine with places for functions, and devices to put there.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "test code")]

use assign::{Assignment, EventSink, Limits, Port};
use gate::{Gate, Pass, Quiesced};
use parking_lot::Mutex;
use pci_core::{BarIndex, BarKind, ConfigSpace, Device, Function, Identity, ResetKind};
use std::sync::Arc;
use zpci::{Description, Event, Fid, Listener, Settings, Uid, View, Zdev, Zpci};

pub(crate) const VENDOR: u16 = 0x1b36;
pub(crate) const DEVICE: u16 = 0x0010;
pub(crate) const MAX_STORE: u16 = 128;

/// Answers every byte of its windows with 0x5a. Holds on to the port, as a device that can do something does.
struct Plain(Arc<Port>);

impl Device for Plain {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0x5a);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        vec![("port".to_owned(), format!("{:?}", self.0.handle().admission()))]
    }
}

/// A function with two windows: BAR 0 of 16 KiB and 64 bits, BAR 2 of 4 KiB.
pub(crate) fn assignment(name: &str, events: Arc<dyn EventSink>) -> Arc<Assignment> {
    let bar = |index| BarIndex::new(index).unwrap();
    let identity = Identity::new(VENDOR, DEVICE, pci_spec::ClassCode::NVME);
    let config = ConfigSpace::builder(identity)
        .bar(bar(0), BarKind::Memory64, 0x4000)
        .bar(bar(2), BarKind::Memory32, 0x1000)
        .build()
        .unwrap();
    let config = Arc::new(config);
    let gate = Gate::new(name);
    let port = Port::new(&gate, Arc::clone(&config), events);
    let device = Arc::new(Plain(Arc::clone(&port)));
    let function = Arc::new(Function::new(name, gate, config, device));
    Assignment::new(function, port, Limits::default())
}

/// A device for `zdev`, which nobody sees yet.
pub(crate) fn device(zdev: &Arc<Zdev>, name: &str) -> Arc<View> {
    View::new(zdev, &assignment(name, Arc::new(())), MAX_STORE)
}

pub(crate) fn machine() -> Arc<Zpci> {
    Zpci::new(Settings::default())
}

/// A machine whose indexes have so many bits of generations.
pub(crate) fn machine_of(generation_bits: u32) -> Arc<Zpci> {
    Zpci::new(Settings { generation_bits, ..Settings::default() })
}

/// A place with a card, in STANDBY.
pub(crate) fn place(zpci: &Zpci, fid: u32) -> Arc<Zdev> {
    let zdev = zpci.add(Fid(fid), Uid::NONE, Description::default()).unwrap();
    zdev.card(true);
    zdev
}

/// Remembers what it is told.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<Event>>);

impl Recorder {
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Listener for Recorder {
    fn event(&self, event: &Event) {
        self.0.lock().push(*event);
    }
}

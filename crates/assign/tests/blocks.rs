//! What a consumer is told of a device that takes blocks only.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use assign::{Assignment, Errno, Limits, Port, RegionFlags};
use gate::{Gate, Pass, Quiesced, ThreadToken};
use pci_core::{
    BarAccess, BarIndex, BarKind, Command, ConfigSpace, Device, DeviceRegion, Function, Identity, ResetKind,
};

const ALL: u32 = RegionFlags::READ | RegionFlags::WRITE;

struct Fake(BarAccess);

impl Device for Fake {
    fn bar_access(&self) -> BarAccess {
        self.0
    }

    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0x5a);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn regions(&self) -> &[DeviceRegion] {
        &[DeviceRegion { kind: 0x8000_1b36, subtype: 1, size: 0x1000, writable: true }]
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

fn assignment(access: BarAccess) -> Arc<Assignment> {
    let gate = Gate::new("test");
    let builder = ConfigSpace::builder(Identity::new(0x1234, 0x4953, pci_spec::ClassCode::NETWORK_OTHER));
    let builder = builder.bar(BarIndex::new(0).unwrap(), BarKind::Memory32, 0x1000).rom(0x800);
    let config = Arc::new(builder.build().unwrap());
    let port = Port::new(&gate, Arc::clone(&config), Arc::new(()));
    let function = Arc::new(Function::new("test", gate, config, Arc::new(Fake(access))));
    Assignment::new(function, port, Limits::default())
}

#[test]
fn what_a_consumer_may_read_or_write_is_what_it_is_told_vf_13() {
    let mut token = ThreadToken::at_thread_entry();
    let plain =
        [(0, ALL, 0x1000), (1, 0, 0), (6, RegionFlags::READ, 0x800), (7, ALL, 4096), (9, ALL, 0x1000)];
    let blocks = [(0, 0, 0x1000), (1, 0, 0), (6, 0, 0x800), (7, ALL, 4096), (9, ALL, 0x1000)];
    for (access, table) in [(BarAccess::Plain, plain), (BarAccess::BlockStore, blocks)] {
        let assignment = assignment(access);
        let _attached = assignment.attach(&mut token).unwrap();
        let memory = Command::MEMORY_SPACE.bits().to_le_bytes();
        assignment.region_write(&mut token, 7, 4, &memory).unwrap();
        // The ROM is read once it is enabled.
        assignment.region_write(&mut token, 7, 0x30, &1_u32.to_le_bytes()).unwrap();
        for (index, flags, size) in table {
            let info = assignment.region_info(index).unwrap();
            assert_eq!((info.flags.0, info.size), (flags, size), "{access:?}, region {index}");
            if size == 0 {
                continue;
            }
            let read = assignment.region_read(&mut token, index, 0, &mut [0; 4]);
            assert_eq!(read.is_ok(), flags & RegionFlags::READ != 0, "{access:?}, region {index}: {read:?}");
        }
        let written = assignment.region_write(&mut token, 0, 0, &[0; 4]);
        let errno = written.err().map(|error| error.errno);
        assert_eq!(errno, (access == BarAccess::BlockStore).then_some(Errno::EIO));
    }
}

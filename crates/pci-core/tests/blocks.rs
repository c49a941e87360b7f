//! Accesses under a pass, and a device that takes loads and whole blocks only.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use gate::{AccessKind, Deadline, Gate, Pass, Quiesced, Refusal, ThreadToken};
use pci_core::{
    AccessError, BarAccess, BarIndex, BarKind, BlockRefused, Command, ConfigEffects, ConfigSpace,
    ConfigStatus, Device, Dropped, Errno, Express, ExtendedCapability, Function, PowerState, ResetKind,
    SrIov, Width,
};
use pci_spec::extended;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use support::{bar, full, identity};

const COMMAND: u16 = 0x04;
const PMCSR: u16 = 0x44;
/// Where [`Fake`] takes no block, and where it has no room for one.
const NOT_HERE: u64 = 0x800;
const NO_ROOM: u64 = 0x1000;

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Tells what reaches it; its BARs read as their offset.
struct Fake(BarAccess, mpsc::Sender<String>);

impl Device for Fake {
    fn bar_access(&self) -> BarAccess {
        self.0
    }

    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &mut [u8]) {
        data.fill(offset.to_le_bytes()[0]);
    }

    fn write_bar(&self, _pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &[u8]) {
        let _ = self.1.send(format!("write {bar} {offset:#x} {}", data.len()));
    }

    fn store_block(
        &self,
        pass: &Pass<'_>,
        bar: BarIndex,
        offset: u64,
        data: &[u8],
    ) -> Result<(), BlockRefused> {
        match offset {
            NOT_HERE => Err(BlockRefused::NotAccepted),
            NO_ROOM => Err(BlockRefused::NoResources),
            _ if self.0 == BarAccess::Plain => {
                self.write_bar(pass, bar, offset, data);
                Ok(())
            }
            _ => {
                let _ = self.1.send(format!("block {bar} {offset:#x} {}", data.len()));
                Ok(())
            }
        }
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// With memory decoding on.
fn world(access: BarAccess) -> (Function, mpsc::Receiver<String>, ThreadToken) {
    let (told, heard) = mpsc::channel();
    let config = Arc::new(full().build().unwrap());
    let function = Function::new("f", Gate::new("f"), config, Arc::new(Fake(access, told)));
    let mut token = ThreadToken::at_thread_entry();
    function.write_config(&mut token, COMMAND, &[0x06], patient()).unwrap();
    (function, heard, token)
}

fn enter<'t>(function: &'t Function, token: &'t ThreadToken) -> Pass<'t> {
    function.handle().try_enter(token, AccessKind::Bar).unwrap()
}

#[test]
fn a_plain_access_to_a_device_that_takes_blocks_is_refused() {
    let (f, heard, mut token) = world(BarAccess::BlockStore);
    let token = &mut token;
    let mut data = [0; 4];
    for window in [bar(0), bar(2), BarIndex::ROM] {
        let read = f.read_bar(token, window, 4, &mut data, patient()).unwrap_err();
        assert!(matches!(read, AccessError::NotPlain(at) if at == window), "{read}");
        assert_eq!((read.errno(), data), (Errno::EIO, [0xff; 4]));
    }
    let write = f.write_bar(token, bar(0), 4, &data, patient()).unwrap_err();
    assert!(matches!(write, AccessError::NotPlain(_)) && write.errno() == Errno::EIO, "{write}");
    let store = f.store_bar(&enter(&f, token), bar(0), 4, &data).unwrap_err();
    assert!(matches!(store, AccessError::NotPlain(_)), "{store}");
    assert_eq!(f.dropped(), Dropped { bar_reads: 3, bar_writes: 2, ..Dropped::default() });
    assert_eq!(heard.try_iter().count(), 0);
}

#[test]
fn a_device_that_takes_blocks_says_first_what_any_other_says() {
    // CFG-03: who is gone is gone, and does not say how it would like to be written.
    let (f, _, mut token) = world(BarAccess::BlockStore);
    let token = &mut token;
    let read = |token: &mut ThreadToken, window| {
        f.read_bar(token, window, 0x3f_fffc, &mut [0; 4], patient()).unwrap_err()
    };
    assert!(matches!(read(token, bar(1)), AccessError::NoWindow(_)));
    assert!(matches!(read(token, bar(0)), AccessError::OutOfRange));
    f.write_config(token, PMCSR, &[3], patient()).unwrap();
    assert!(matches!(read(token, bar(4)), AccessError::MemoryDisabled(_)));
    f.freeze("test");
    assert!(matches!(read(token, bar(4)), AccessError::Refused(Refusal::Frozen)));
    let _nobody_is_inside = f.disconnect(token, patient());
    assert!(matches!(read(token, bar(4)), AccessError::Refused(Refusal::Gone)));
}

#[test]
fn loads_and_blocks_reach_a_device_that_takes_blocks() {
    let (f, heard, token) = world(BarAccess::BlockStore);
    let mut data = [0; 8];
    f.load_bar(&enter(&f, &token), bar(0), 0x18, &mut data).unwrap();
    assert_eq!(data, [0x18; 8]);
    f.store_block(&enter(&f, &token), bar(0), 0x40, &[0; 128]).unwrap();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["block BAR 0 0x40 128"]);
    assert_eq!(f.dropped(), Dropped::default());
}

#[test]
fn every_other_device_takes_a_block_as_one_write() {
    /// Does not say anything about blocks.
    struct Silent(mpsc::Sender<(u64, usize)>);
    impl Device for Silent {
        fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &mut [u8]) {}
        fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &[u8]) {
            let _ = self.0.send((offset, data.len()));
        }
        fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}
        fn describe(&self) -> Vec<(String, String)> {
            Vec::new()
        }
    }
    let (told, heard) = mpsc::channel();
    let config = Arc::new(full().build().unwrap());
    let f = Function::new("f", Gate::new("f"), config, Arc::new(Silent(told)));
    let token = &mut ThreadToken::at_thread_entry();
    f.write_config(token, COMMAND, &[0x06], patient()).unwrap();
    f.read_bar(token, bar(0), 0, &mut [0; 4], patient()).unwrap();
    f.write_bar(token, bar(0), 0, &[0; 4], patient()).unwrap();
    f.store_bar(&enter(&f, token), bar(0), 8, &[0; 8]).unwrap();
    f.store_block(&enter(&f, token), bar(0), 16, &[0; 256]).unwrap();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [(0, 4), (8, 8), (16, 256)]);
}

#[test]
fn what_a_device_says_of_a_block_reaches_who_stored_it() {
    let (f, heard, token) = world(BarAccess::BlockStore);
    for (at, why) in [(NOT_HERE, BlockRefused::NotAccepted), (NO_ROOM, BlockRefused::NoResources)] {
        let refused = f.store_block(&enter(&f, &token), bar(0), at, &[0; 64]).unwrap_err();
        assert!(matches!(&refused, AccessError::Block(said) if *said == why), "{refused}");
        assert_eq!(refused.errno(), Errno::EIO);
    }
    assert_eq!(f.dropped(), Dropped { bar_writes: 2, ..Dropped::default() });
    assert_eq!(heard.try_iter().count(), 0);
}

#[test]
fn an_access_under_a_pass_is_refused_for_what_refuses_any_access() {
    // CFG-03, VF-17
    let (f, heard, mut token) = world(BarAccess::Plain);
    let refused = |token: &ThreadToken, window, offset, length: usize| {
        let pass = &enter(&f, token);
        let mut data = vec![0; length];
        let load = f.load_bar(pass, window, offset, &mut data).unwrap_err();
        assert!(data.iter().all(|byte| *byte == 0xff));
        for write in [f.store_bar(pass, window, offset, &data), f.store_block(pass, window, offset, &data)] {
            assert_eq!(write.unwrap_err().to_string(), load.to_string());
        }
        load
    };
    assert!(matches!(refused(&token, bar(1), 0, 4), AccessError::NoWindow(_)));
    for (offset, length) in [(0x3ffd, 4), (0x4001, 0), (u64::MAX, 4)] {
        assert!(matches!(refused(&token, bar(0), offset, length), AccessError::OutOfRange));
    }
    for rom in [
        f.store_bar(&enter(&f, &token), BarIndex::ROM, 0, &[0]),
        f.store_block(&enter(&f, &token), BarIndex::ROM, 0, &[0]),
    ] {
        assert!(matches!(rom, Err(AccessError::ReadOnly)));
    }
    f.write_config(&mut token, PMCSR, &[3], patient()).unwrap();
    assert_eq!(f.config().power_state(), PowerState::D3Hot);
    assert!(matches!(refused(&token, bar(0), 0, 4), AccessError::MemoryDisabled(_)));
    assert_eq!(heard.try_iter().count(), 0);
    assert_eq!(f.dropped(), Dropped { bar_reads: 5, bar_writes: 12, ..Dropped::default() });
}

#[test]
fn who_enters_himself_has_his_refusals_counted() {
    let (f, _, _) = world(BarAccess::Plain);
    let mut data = [0; 4];
    f.read_was_refused(AccessKind::Bar, &mut data);
    assert_eq!(data, [0xff; 4]);
    f.read_was_refused(AccessKind::Config, &mut data);
    f.write_was_refused(AccessKind::Config);
    f.write_was_refused(AccessKind::Bar);
    assert_eq!(f.dropped(), Dropped { config_reads: 1, config_writes: 1, bar_reads: 1, bar_writes: 1 });
}

#[test]
fn vf_48_who_writes_a_register_under_a_pass_as_a_user_does_not_set_virtual_functions_up() {
    let sr_iov = SrIov::new(8, 0x1234).bar(bar(0), BarKind::Memory64, 16 << 10);
    let config = ConfigSpace::builder(identity())
        .capability(Express::default())
        .extended_capability(ExtendedCapability::SrIov(sr_iov))
        .build()
        .unwrap();
    let at = config.find_extended(extended::id::SR_IOV).unwrap();
    let (told, _heard) = mpsc::channel();
    let f = Function::new("f", Gate::new("f"), Arc::new(config), Arc::new(Fake(BarAccess::Plain, told)));
    let token = ThreadToken::at_thread_entry();
    let pass = enter(&f, &token);
    let write =
        |register, width, value| f.user_config_write(&pass, register, width, value).map(|w| w.effects());
    assert_eq!(write(at + extended::sr_iov::NUM_VFS, Width::Word, 3), Ok(ConfigEffects::default()));
    assert_eq!(write(at + extended::sr_iov::CONTROL, Width::Word, 9), Ok(ConfigEffects::default()));
    assert_eq!(f.config_read(&pass, at + extended::sr_iov::NUM_VFS, Width::Word), Ok(0));
    let command = write(COMMAND, Width::Word, 0x0006).unwrap().command;
    assert_eq!(command.map(|change| change.new), Some(f.config().command()));
    assert_eq!(
        write(COMMAND, Width::Dword, 0).unwrap().command.map(|change| change.new),
        Some(Command::empty())
    );
    for (register, width) in [(2, Width::Dword), (1, Width::Word), (4096, Width::Byte)] {
        assert_eq!(write(register, width, 0), Err(ConfigStatus::BadRegisterNumber));
    }
}

//! What can be asked of a back end that behaves.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::channel;

use gate::ThreadToken;
use remote::link::LinkError;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use vfio_user::client::SharedMemory;
use vfio_user::codec::{Command, DmaMap, SetIrqsFlags, irq_index};

use crate::rig::plain::{BAR0, CONFIG, VECTORS};
use crate::rig::{Memory, Plain, Rig, Told};

#[test]
fn everything_that_can_be_asked_is_answered() {
    let mut token = ThreadToken::at_thread_entry();
    let (give, take) = channel();
    let rig = Rig::start(move |conversation| {
        let mut plain = Plain::default();
        plain.serve(conversation);
        give.send(plain).unwrap();
    });
    let told = Arc::new(Told::default());
    let link = rig.link(&mut token, &told);
    assert_eq!(link.version(), (0, 1));
    assert_eq!(link.capabilities().max_msg_fds, 8);
    assert_eq!(link.device_info(&mut token).unwrap().num_regions, 9);
    assert_eq!(link.region_info(&mut token, 0).unwrap().info.size, BAR0);
    assert_eq!(link.irq_info(&mut token, irq_index::MSIX).unwrap().count, VECTORS);
    let refused = LinkError::Refused { command: Command::DeviceGetIrqInfo, errno: Errno::INVAL };
    assert_eq!(link.irq_info(&mut token, 5).unwrap_err(), refused);

    link.write(&mut token, 0, 0x10, &[1, 2, 3, 4]).unwrap();
    link.post(&mut token, 0, 0x14, &[5, 6, 7, 8]).unwrap();
    let mut data = [0; 8];
    link.read(&mut token, 0, 0x10, &mut data).unwrap();
    assert_eq!(data, [1, 2, 3, 4, 5, 6, 7, 8]);
    link.read(&mut token, CONFIG, 0, &mut data[..4]).unwrap();
    assert_eq!(data[..4], [0x34, 0x12, 0xe8, 0x11]);

    let memory = SharedMemory::new(4096).unwrap();
    let map = DmaMap { argsz: 32, flags: 3, offset: 0, address: 0x9000, size: 4096 };
    link.dma_map_raw(&mut token, map, Some(memory.as_fd())).unwrap();
    link.dma_unmap(&mut token, 0x9000, 4096).unwrap();
    let refused = LinkError::Refused { command: Command::DmaUnmap, errno: Errno::NOENT };
    assert_eq!(link.dma_unmap(&mut token, 0x9000, 4096), Err(refused));
    link.dma_unmap_all(&mut token).unwrap();

    link.irq_action(&mut token, irq_index::INTX, 0, 1, SetIrqsFlags::ACTION_UNMASK).unwrap();
    link.disable_irqs(&mut token, irq_index::INTX).unwrap();
    link.post_reset(&mut token).unwrap();
    link.reset(&mut token).unwrap();
    assert_eq!(link.loss(), None);
    drop(link);
    let plain = take.recv().unwrap();
    assert_eq!((plain.resets, plain.maps.len()), (2, 0));
    assert_eq!(told.losses(), []);
}

#[test]
fn more_eventfds_than_one_message_takes_go_in_several() {
    let mut token = ThreadToken::at_thread_entry();
    for (fds, most) in [("1", 1), ("8", 8), ("0", 1), ("4294967295", 64)] {
        let (give, take) = channel();
        let rig = Rig::start(move |conversation| {
            let mut plain = Plain::default();
            let mut sizes = Vec::new();
            if !conversation.negotiate(&format!("{{\"max_msg_fds\":{fds}}}")) {
                return;
            }
            plain.serve_until(conversation, |request| {
                sizes.push(request.fds.len());
                false
            });
            give.send((sizes, plain)).unwrap();
        });
        let link = rig.link(&mut token, &Arc::new(Told::default()));
        let eventfds: Vec<_> = (0..20).map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap()).collect();
        let borrowed: Vec<_> = eventfds.iter().map(AsFd::as_fd).collect();
        link.set_irq_eventfds(&mut token, irq_index::MSIX, 2, &borrowed).unwrap();
        drop(link);
        let (sizes, plain) = take.recv().unwrap();
        assert!(sizes.iter().all(|size| *size <= most), "{fds}: {sizes:?}");
        let set = plain.eventfds[irq_index::MSIX as usize].iter().flatten().count();
        assert_eq!((sizes.iter().sum::<usize>(), set), (20, 20), "{fds}");
    }
}

#[test]
fn what_no_message_can_carry_is_not_sent_and_the_link_goes_on() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::start(|conversation| {
        if conversation.negotiate("{\"max_data_xfer_size\":4096}") {
            Plain::default().serve_until(conversation, |_| false);
        }
    });
    let told = Arc::new(Told::default());
    let link = rig.link(&mut token, &told);
    let mut data = vec![0; 4097];
    assert!(matches!(link.read(&mut token, 0, 0, &mut data), Err(LinkError::Request(_))));
    assert!(matches!(link.write(&mut token, 0, 0, &data), Err(LinkError::Request(_))));
    assert!(matches!(link.post(&mut token, 0, 0, &data), Err(LinkError::Request(_))));
    link.read(&mut token, 0, 0, &mut data[..4096]).unwrap();
    drop(link);
    assert_eq!(told.losses(), []);
}

#[test]
fn nobody_at_the_path_and_a_refusal_are_no_losses() {
    let mut token = ThreadToken::at_thread_entry();
    let rig = Rig::start(|conversation| {
        let Some(request) = conversation.receive() else { return };
        let refusal = request.refusal(Errno::BUSY);
        conversation.send(&refusal);
    });
    let told = Arc::new(Told::default());
    let memory = Arc::new(Memory::default());
    let busy = rig.link_within(&mut token, crate::rig::LONG, &memory, &told);
    let refused = LinkError::Refused { command: Command::Version, errno: Errno::BUSY };
    assert_eq!(busy.unwrap_err(), refused);
    let options = remote::link::LinkOptions::default();
    let nobody = rig.path().with_file_name("nobody");
    for path in [nobody, "x".repeat(200).into()] {
        let error = remote::link::Link::connect(&mut token, &path, options, memory.clone(), told.clone())
            .unwrap_err();
        assert!(matches!(error, LinkError::Connect { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
    assert_eq!(told.losses(), []);
}

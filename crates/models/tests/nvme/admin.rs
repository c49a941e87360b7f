//! Identify, features, logs, queue management, Abort.

use models::nvme::backing::FileOptions;
use models::nvme::{Backing, BlockSize, Config, DoorbellStyle};
use nvme_spec::identify::{Controller, Namespace, NamespaceList};
use nvme_spec::log::{CommandEffects, Effects, ErrorEntry, FirmwareSlot, SmartHealth};
use nvme_spec::{AdminOpcode, Doorbell, NSID_ALL, NvmOpcode, Status, SubmissionEntry, VERSION_1_4};
use zerocopy::FromBytes;

use crate::guest::{BASE, Guest, admin, assert_failed, assert_ok, entry, io};

fn identify(guest: &mut Guest, cns: u32, nsid: u32) -> Result<Vec<u8>, Status> {
    let page = guest.pages(1);
    let mut command = admin(AdminOpcode::Identify);
    (command.nsid, command.cdw10, command.prp1) = (nsid.into(), cns.into(), page.into());
    let answer = guest.run_admin(command);
    if answer.status().is_success() { Ok(guest.load(page, 4096)) } else { Err(answer.status()) }
}

fn log(guest: &mut Guest, lid: u32, bytes: usize) -> Result<Vec<u8>, Status> {
    let pages = guest.pages(2);
    let mut command = admin(AdminOpcode::GetLogPage);
    let dwords = u32::try_from(bytes / 4 - 1).unwrap();
    (command.cdw10, command.prp1, command.prp2) =
        ((lid | dwords << 16).into(), pages.into(), (pages + 4096).into());
    let answer = guest.run_admin(command);
    if answer.status().is_success() { Ok(guest.load(pages, bytes)) } else { Err(answer.status()) }
}

fn features(guest: &mut Guest, opcode: AdminOpcode, cdw10: u32, cdw11: u32) -> Result<u32, Status> {
    let mut command = admin(opcode);
    (command.cdw10, command.cdw11) = (cdw10.into(), cdw11.into());
    let answer = guest.run_admin(command);
    if answer.status().is_success() { Ok(answer.dw0.get()) } else { Err(answer.status()) }
}

#[track_caller]
fn assert_status<T: std::fmt::Debug>(result: Result<T, Status>, status: Status) {
    let found = result.unwrap_err();
    assert!(found.is(status), "{found:?} instead of {status:?}");
}

#[test]
fn identify_says_what_the_controller_is() {
    let config = Config { serial: Some("S123".into()), block_size: BlockSize::B4096, ..Config::default() };
    let mut guest = Guest::ready(&config, Backing::memory(1 << 20).unwrap());
    let page = identify(&mut guest, 1, 0).unwrap();
    let controller = Controller::read_from_bytes(&page).unwrap();
    assert_eq!(&controller.sn, b"S123                ");
    assert_eq!((controller.ver.get(), controller.nn.get(), controller.mdts), (VERSION_1_4, 1, 8));
    assert_eq!(controller.vwc & 1, 0, "memory has no cache that could be lost");
    assert_eq!(controller.oacs.get(), 1 << 8);
    assert_eq!(controller.oncs.get(), 0b1100);
    assert!(controller.subnqn.starts_with(b"nqn.2014-08.org.nvmexpress:uuid:"));
    let namespace = Namespace::read_from_bytes(&identify(&mut guest, 0, 1).unwrap()).unwrap();
    assert_eq!((namespace.nsze.get(), namespace.format().block_size()), (256, Some(4096)));
    let list = NamespaceList::read_from_bytes(&identify(&mut guest, 2, 0).unwrap()).unwrap();
    assert_eq!((list.nsid[0].get(), list.nsid[1].get()), (1, 0));
    let list = NamespaceList::read_from_bytes(&identify(&mut guest, 2, 1).unwrap()).unwrap();
    assert_eq!(list.nsid[0].get(), 0);
    let descriptors = identify(&mut guest, 3, 1).unwrap();
    assert_eq!(descriptors[..2], [3, 16]);
    assert_status(identify(&mut guest, 0, 2), Status::INVALID_NAMESPACE_OR_FORMAT);
    assert_status(identify(&mut guest, 3, 0), Status::INVALID_NAMESPACE_OR_FORMAT);
    assert_status(identify(&mut guest, 2, NSID_ALL), Status::INVALID_NAMESPACE_OR_FORMAT);
    assert_status(identify(&mut guest, 0x42, 0), Status::INVALID_FIELD);
}

#[test]
fn shadow_doorbells_are_offered_only_where_doorbells_are_trapped() {
    let config = Config { doorbells: DoorbellStyle::Mapped, ..Config::default() };
    let mut guest = Guest::ready(&config, Backing::memory(1 << 20).unwrap());
    let controller = Controller::read_from_bytes(&identify(&mut guest, 1, 0).unwrap()).unwrap();
    assert_eq!(controller.oacs.get(), 0);
    assert_failed(&guest.run_admin(admin(AdminOpcode::DoorbellBufferConfig)), Status::INVALID_OPCODE);
}

#[test]
fn bad_admin_commands_get_their_own_status_and_are_in_the_error_log() {
    let mut guest = Guest::memory_disk();
    assert_failed(&guest.run_admin(entry(0xc1, 0)), Status::INVALID_OPCODE);
    assert_failed(&guest.run_admin(admin(AdminOpcode::FormatNvm)), Status::INVALID_OPCODE);
    let fused = SubmissionEntry { flags: 1, ..admin(AdminOpcode::Identify) };
    let answer = guest.run_admin(fused);
    assert_failed(&answer, Status::INVALID_FIELD);
    assert!(answer.status().dnr() && answer.status().more());
    let mut unmapped = admin(AdminOpcode::Identify);
    (unmapped.cdw10, unmapped.prp1) = (1.into(), (BASE - 4096).into());
    assert_failed(&guest.run_admin(unmapped), Status::DATA_TRANSFER_ERROR);
    let entries = log(&mut guest, 1, 4096).unwrap();
    let newest = ErrorEntry::read_from_bytes(&entries[..64]).unwrap();
    assert_eq!(newest.error_count.get(), 4);
    assert!(Status::from_bits(newest.status_and_phase.get()).is(Status::DATA_TRANSFER_ERROR));
    assert_eq!(ErrorEntry::read_from_bytes(&entries[4 * 64..5 * 64]).unwrap(), ErrorEntry::default());
    assert_status(log(&mut guest, 0x77, 512), Status::INVALID_LOG_PAGE);
}

#[test]
fn logs_tell_the_truth() {
    let mut guest = Guest::memory_disk();
    let mut pair = guest.make_pair(1, 16, 0);
    let buffer = guest.pages(1);
    for opcode in [NvmOpcode::Write, NvmOpcode::Read, NvmOpcode::Read] {
        assert_ok(&guest.run(&mut pair, io(opcode, 0, 8, buffer)));
    }
    let smart = SmartHealth::read_from_bytes(&log(&mut guest, 2, 512).unwrap()).unwrap();
    assert_eq!((smart.host_read_commands.get(), smart.host_write_commands.get()), (2, 1));
    assert_eq!((smart.data_units_read.get(), smart.data_units_written.get()), (1, 1));
    assert_eq!((smart.critical_warning, smart.power_cycles.get()), (0, 1));
    let firmware = FirmwareSlot::read_from_bytes(&log(&mut guest, 3, 512).unwrap()).unwrap();
    assert_eq!((firmware.afi, &firmware.frs[0][..3]), (1, &b"0.1"[..]));
    assert_eq!(log(&mut guest, 4, 4096).unwrap(), vec![0; 4096]);
    let effects = CommandEffects::read_from_bytes(&log(&mut guest, 5, 4096).unwrap()).unwrap();
    // Exactly the opcodes that are not answered with "invalid opcode".
    for opcode in 0..=255u8 {
        let listed = effects.iocs[usize::from(opcode)].get() & Effects::CSUPP.bits() != 0;
        let answer = guest.run(&mut pair, entry(opcode, 0));
        assert_eq!(!answer.status().is(Status::INVALID_OPCODE), listed, "opcode {opcode:#x}");
    }
    assert_eq!(log(&mut guest, 3, 8192).unwrap()[512..], [0; 7680], "beyond the end");
}

#[test]
fn features_are_kept_until_the_reset_and_cannot_be_saved() {
    use AdminOpcode::{GetFeatures, SetFeatures};
    let mut guest = Guest::memory_disk();
    let queues = features(&mut guest, SetFeatures, 7, 0x000f_000f).unwrap();
    assert_eq!(queues, 0x003f_003f);
    assert_status(features(&mut guest, SetFeatures, 7, 0xffff_0000), Status::INVALID_FIELD);
    assert_eq!(features(&mut guest, SetFeatures, 0x0b, 0x1ff), Ok(0));
    assert_eq!(features(&mut guest, GetFeatures, 0x0b, 0), Ok(0x1ff));
    assert_eq!(features(&mut guest, GetFeatures, 0x0b | 1 << 8, 0), Ok(0), "the default");
    assert_eq!(features(&mut guest, GetFeatures, 0x0b | 3 << 8, 0), Ok(4), "changeable, nothing else");
    assert_status(features(&mut guest, SetFeatures, 0x0b | 1 << 31, 0), Status::FEATURE_NOT_SAVEABLE);
    assert_status(features(&mut guest, GetFeatures, 6, 0), Status::INVALID_FIELD);
    assert_status(features(&mut guest, SetFeatures, 2, 1), Status::INVALID_FIELD);
    assert_status(features(&mut guest, GetFeatures, 0x7f, 0), Status::INVALID_FIELD);
    assert_eq!(features(&mut guest, GetFeatures, 9, 3), Ok(3));
    assert_status(features(&mut guest, GetFeatures, 9, 32), Status::INVALID_FIELD);
    guest.make_pair(1, 16, 0);
    assert_status(features(&mut guest, SetFeatures, 7, 0), Status::COMMAND_SEQUENCE_ERROR);
    guest.disable();
    guest.enable();
    assert_eq!(features(&mut guest, GetFeatures, 0x0b, 0), Ok(0));
}

#[test]
fn a_threshold_below_the_temperature_is_an_event_and_a_warning() {
    let mut guest = Guest::memory_disk();
    let request = guest.submit_admin(admin(AdminOpcode::AsyncEventRequest));
    assert_eq!(features(&mut guest, AdminOpcode::SetFeatures, 0x0b, 2), Ok(0));
    let mut command = admin(AdminOpcode::SetFeatures);
    (command.cdw10, command.cdw11) = (4.into(), 300.into());
    guest.submit_admin(command);
    let answers = [guest.complete_admin(), guest.complete_admin()];
    let event = answers.iter().find(|answer| answer.cid.get() == request).unwrap();
    assert_eq!(event.dw0.get(), 0x0002_0101);
    assert_eq!(log(&mut guest, 2, 512).unwrap()[0], 2);
}

#[test]
fn the_write_cache_of_a_file_can_be_turned_off() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let options = FileOptions { size: Some(1 << 20), ..FileOptions::default() };
    let backing = Backing::file(&dir.path().join("disk"), &options).unwrap();
    let mut guest = Guest::ready(&Config::default(), backing);
    assert_eq!(features(&mut guest, AdminOpcode::GetFeatures, 6, 0), Ok(1));
    assert_eq!(features(&mut guest, AdminOpcode::SetFeatures, 6, 0), Ok(0));
    assert_eq!(features(&mut guest, AdminOpcode::GetFeatures, 6, 0), Ok(0));
    let mut pair = guest.make_pair(1, 16, 0);
    let buffer = guest.pages(1);
    assert_ok(&guest.run(&mut pair, io(NvmOpcode::Write, 0, 8, buffer)));
    assert_ok(&guest.run(&mut pair, io(NvmOpcode::WriteZeroes, 0, 8, 0)));
}

#[test]
fn queues_are_made_and_deleted_by_the_rules() {
    let mut guest = Guest::memory_disk();
    let page = guest.pages(1);
    let create = |guest: &mut Guest, opcode, cdw10: u32, cdw11: u32, prp1: u64, status| {
        let mut command = admin(opcode);
        (command.cdw10, command.cdw11, command.prp1) = (cdw10.into(), cdw11.into(), prp1.into());
        let answer = guest.run_admin(command);
        assert!(answer.status().is(status), "{:?} for {cdw10:#x} {cdw11:#x}", answer.status());
    };
    use AdminOpcode::{CreateIoCompletionQueue as Cq, CreateIoSubmissionQueue as Sq};
    use AdminOpcode::{DeleteIoCompletionQueue as DelCq, DeleteIoSubmissionQueue as DelSq};
    let g = &mut guest;
    create(g, Cq, 15 << 16, 1, page, Status::INVALID_QUEUE_IDENTIFIER);
    create(g, Cq, 15 << 16 | 65, 1, page, Status::INVALID_QUEUE_IDENTIFIER);
    create(g, Cq, 1, 1, page, Status::INVALID_QUEUE_SIZE);
    create(g, Cq, 4096 << 16 | 1, 1, page, Status::INVALID_QUEUE_SIZE);
    create(g, Cq, 15 << 16 | 1, 0, page, Status::INVALID_FIELD);
    create(g, Cq, 15 << 16 | 1, 1, page + 8, Status::PRP_OFFSET_INVALID);
    create(g, Cq, 15 << 16 | 1, 3 | 32 << 16, page, Status::INVALID_INTERRUPT_VECTOR);
    create(g, Sq, 15 << 16 | 1, 1 | 1 << 16, page, Status::COMPLETION_QUEUE_INVALID);
    create(g, Cq, 15 << 16 | 1, 1, page, Status::SUCCESS);
    create(g, Cq, 15 << 16 | 1, 1, page, Status::INVALID_QUEUE_IDENTIFIER);
    create(g, Sq, 15 << 16 | 1, 1, page, Status::INVALID_QUEUE_IDENTIFIER);
    create(g, Sq, 15 << 16 | 1, 1 | 1 << 16, page, Status::SUCCESS);
    create(g, Sq, 15 << 16 | 1, 1 | 1 << 16, page, Status::INVALID_QUEUE_IDENTIFIER);
    create(g, DelCq, 1, 0, 0, Status::INVALID_QUEUE_DELETION);
    create(g, DelCq, 0, 0, 0, Status::INVALID_QUEUE_IDENTIFIER);
    create(g, DelSq, 2, 0, 0, Status::INVALID_QUEUE_IDENTIFIER);
    create(g, DelSq, 1, 0, 0, Status::SUCCESS);
    create(g, DelSq, 1, 0, 0, Status::INVALID_QUEUE_IDENTIFIER);
    create(g, DelCq, 1, 0, 0, Status::SUCCESS);
    create(g, Cq, 15 << 16 | 64, 1, page, Status::SUCCESS);
}

#[test]
fn a_command_that_still_waits_in_its_queue_can_be_aborted() {
    let mut guest = Guest::memory_disk();
    // A completion queue with room for one answer: the second command has to wait.
    let mut pair = guest.make_pair(1, 2, 0);
    let mut delete = admin(AdminOpcode::DeleteIoSubmissionQueue);
    delete.cdw10 = 1.into();
    assert_ok(&guest.run_admin(delete));
    let ring = guest.pages(1);
    let mut create = admin(AdminOpcode::CreateIoSubmissionQueue);
    (create.prp1, create.cdw10, create.cdw11) = (ring.into(), (1 | 15 << 16).into(), (1 | 1 << 16).into());
    assert_ok(&guest.run_admin(create));
    let mut wide = crate::guest::Pair { submission: ring, entries: 16, ..pair.clone() };
    let first = guest.put(&mut wide, entry(NvmOpcode::Flush.code(), 1));
    let second = guest.put(&mut wide, entry(NvmOpcode::Flush.code(), 1));
    guest.ring(Doorbell::SubmissionTail(1), wide.tail);
    guest.wait("the first answer", |guest| guest.peek(&pair).is_some());
    let mut abort = admin(AdminOpcode::Abort);
    abort.cdw10 = (1 | u32::from(second) << 16).into();
    assert_eq!(guest.run_admin(abort).dw0.get() & 1, 0, "aborted");
    abort.cdw10 = (1 | u32::from(first) << 16).into();
    assert_eq!(guest.run_admin(abort).dw0.get() & 1, 1, "answered already");
    let answer = guest.complete(&mut pair);
    assert_eq!(answer.cid.get(), first);
    assert_ok(&answer);
    let answer = guest.complete(&mut pair);
    assert_eq!(answer.cid.get(), second);
    assert_failed(&answer, Status::ABORT_REQUESTED);
}

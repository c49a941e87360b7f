//! From a connected client to a ready controller. NVMe Base 1.4 s7.6.1 Initialization.

use gate::ThreadToken;
use nvme_spec::command::{COMPLETION_ENTRY_SHIFT, SUBMISSION_ENTRY_SHIFT};
use nvme_spec::feature::{FeatureId, NumberOfQueues};
use nvme_spec::identify::{self, Cns, OptionalAdmin};
use nvme_spec::register::{ACQ, AQA, ASQ, AdminQueueAttributes, CAP_CSS_NVM, Configuration};
use nvme_spec::{AdminOpcode, Doorbell, SubmissionEntry};
use vfio_user::client::{Client, ClientError, Region, SharedMemory};
use vfio_user::codec::{RegionInfoFlags, SparseArea};
use zerocopy::FromBytes;

use super::admin::Admin;
use super::doorbells::{DoorbellChoice, Doorbells};
use super::layout::{self, ADMIN_CQ, ADMIN_ENTRIES, ADMIN_SQ, IDENTIFY, Layout, PAGE, iova};
use super::queue::Queue;
use super::registers::{BAR0, Registers};
use super::ring::{Half, Ring};
use super::{Driver, DriverError, Identity, Options, commands};

impl Driver {
    /// Takes the controller behind `client` into use: resets and enables it, identifies it and its first namespace,
    /// and makes the I/O queues.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn start(token: &mut ThreadToken, client: Client, options: &Options) -> Result<Self, DriverError> {
        options.check()?;
        let mut registers = Registers::open(token, client)?;
        disable(token, &mut registers)?;
        let layout = plan(&registers, options)?;
        let memory = SharedMemory::new(layout.length()).map_err(ClientError::Memory)?;
        registers.client.dma_map(token, layout::IOVA, &memory)?;
        registers.master(token)?;
        let mapped = mapped_doorbells(token, &mut registers, layout.queues, options.doorbells)?;
        enable(token, &mut registers)?;
        let half = |at| Half { at, entries: ADMIN_ENTRIES };
        let mut admin = Admin {
            ring: Ring::new(0, half(ADMIN_SQ), half(ADMIN_CQ)),
            registers,
            memory,
            doorbells: mapped.unwrap_or(Doorbells::Trapped),
            timeout: options.timeout,
            next_cid: 0,
        };
        let (identity, controller) = identify(token, &mut admin)?;
        let shadow = matches!(options.doorbells, DoorbellChoice::Best | DoorbellChoice::Shadow);
        if shadow && matches!(admin.doorbells, Doorbells::Trapped) {
            configure_shadow(token, &mut admin, &controller, options.doorbells)?;
        }
        set_queue_count(token, &mut admin, layout.queues)?;
        let mut queues = Vec::with_capacity(usize::from(layout.queues));
        for index in 0..layout.queues {
            queues.push(create_queue(token, &mut admin, &layout, index)?);
        }
        // A slot's buffer may be larger than what the controller takes.
        let max_transfer = identity.max_transfer.min(layout.transfer);
        let identity = Identity { max_transfer, doorbells: admin.doorbells.name(), ..identity };
        Ok(Self { admin, queues, layout, identity })
    }
}

/// Sizes from what is wanted and what CAP allows.
fn plan(registers: &Registers, options: &Options) -> Result<Layout, DriverError> {
    let cap = registers.capabilities;
    if cap.css() & CAP_CSS_NVM == 0 {
        return Err(DriverError::Unsupported("it has no NVM command set"));
    }
    if cap.mpsmin() != 0 {
        return Err(DriverError::Unsupported("its smallest page is larger than 4 KiB"));
    }
    // MQES is 0's based, and one entry always stays free.
    if options.depth > cap.mqes() {
        return Err(DriverError::Unsupported("its queues have fewer entries than were asked for"));
    }
    let transfer = options.max_transfer.next_multiple_of(PAGE);
    Ok(Layout { queues: options.queues, depth: options.depth, entries: options.depth + 1, transfer })
}

/// Maps the doorbells if that was asked for and offered.
fn mapped_doorbells(
    token: &mut ThreadToken,
    registers: &mut Registers,
    queues: u16,
    choice: DoorbellChoice,
) -> Result<Option<Doorbells>, DriverError> {
    if !matches!(choice, DoorbellChoice::Best | DoorbellChoice::Mapped) {
        return Ok(None);
    }
    let stride = registers.capabilities.dstrd();
    let start = Doorbell::SubmissionTail(0).offset(stride);
    let end = Doorbell::CompletionHead(queues).offset(stride) + 4;
    let region = registers.client.region_info(token, BAR0)?;
    let area = mappable(&region)
        .into_iter()
        .find(|area| area.offset <= start && area.offset.checked_add(area.size).is_some_and(|to| end <= to));
    match area {
        Some(area) => Ok(Some(Doorbells::Mapped { area: region.map(&area)?, start: area.offset })),
        None if choice == DoorbellChoice::Mapped => Err(DriverError::NoSuchDoorbells("mapped")),
        None => Ok(None),
    }
}

/// The areas that may be mapped; a mappable region without a list may be mapped as a whole.
fn mappable(region: &Region) -> Vec<SparseArea> {
    if !region.flags().contains(RegionInfoFlags::MMAP) || region.fd.is_none() {
        return Vec::new();
    }
    if region.areas.is_empty() {
        return vec![SparseArea { offset: 0, size: region.info.size }];
    }
    region.areas.clone()
}

/// Before it is given any memory: a user that has left without a word left it running, and it would look for that one's
/// queues, and complete what it finds, in the memory of this one.
fn disable(token: &mut ThreadToken, registers: &mut Registers) -> Result<(), DriverError> {
    registers.configure(token, Configuration::default())?;
    registers.wait_until_idle(token)
}

fn enable(token: &mut ThreadToken, registers: &mut Registers) -> Result<(), DriverError> {
    let size = ADMIN_ENTRIES - 1;
    let aqa = AdminQueueAttributes::default().with_asqs(size).with_acqs(size);
    registers.write_u32(token, AQA, aqa.0)?;
    registers.write_u64(token, ASQ, iova(ADMIN_SQ))?;
    registers.write_u64(token, ACQ, iova(ADMIN_CQ))?;
    let cc = Configuration::default()
        .with_en(true)
        .with_iosqes(SUBMISSION_ENTRY_SHIFT)
        .with_iocqes(COMPLETION_ENTRY_SHIFT);
    registers.configure(token, cc)?;
    registers.wait_for(token, "become ready", |csts| csts.rdy())
}

fn identify(
    token: &mut ThreadToken,
    admin: &mut Admin,
) -> Result<(Identity, identify::Controller), DriverError> {
    let controller: identify::Controller = identify_structure(token, admin, Cns::Controller, 0)?;
    let list: identify::NamespaceList = identify_structure(token, admin, Cns::ActiveNamespaceList, 0)?;
    let nsid = list.nsid[0].get();
    if nsid == 0 {
        return Err(DriverError::Unsupported("it has no namespace"));
    }
    let namespace: identify::Namespace = identify_structure(token, admin, Cns::Namespace, nsid)?;
    let block_size = namespace.format().block_size().and_then(|size| usize::try_from(size).ok());
    let block_size = block_size
        .filter(|size| (512..=PAGE).contains(size) && namespace.format().ms.get() == 0)
        .ok_or(DriverError::Unsupported("its blocks are not plain blocks of 512 bytes to 4 KiB"))?;
    let max_transfer = match controller.mdts {
        0 => layout::MAX_TRANSFER,
        shift => {
            PAGE.checked_shl(u32::from(shift)).map_or(layout::MAX_TRANSFER, |m| m.min(layout::MAX_TRANSFER))
        }
    };
    let identity = Identity {
        model: trimmed(&controller.mn),
        serial: trimmed(&controller.sn),
        firmware: trimmed(&controller.fr),
        nsid,
        blocks: namespace.nsze.get(),
        block_size,
        max_transfer,
        volatile_cache: controller.vwc & identify::VWC_PRESENT != 0,
        doorbells: "trapped",
    };
    Ok((identity, controller))
}

/// Asks for one of the structures of a page each.
fn identify_structure<T: FromBytes>(
    token: &mut ThreadToken,
    admin: &mut Admin,
    cns: Cns,
    nsid: u32,
) -> Result<T, DriverError> {
    let entry = commands::identify(cns, nsid, iova(IDENTIFY));
    admin.execute(token, cns.name(), entry)?;
    let mut page = [0; PAGE];
    admin.memory.read(IDENTIFY, &mut page).map_err(ClientError::Memory)?;
    T::read_from_prefix(&page)
        .map(|(structure, _)| structure)
        .map_err(|_| DriverError::Unsupported("an Identify structure is longer than a page"))
}

/// Printable text of a padded field; whatever else a controller puts there is shown as `?`.
fn trimmed(field: &[u8]) -> String {
    let text: String =
        field.iter().map(|&b| if (0x20..0x7f).contains(&b) { b as char } else { '?' }).collect();
    text.trim_end_matches([' ', '?']).to_owned()
}

fn configure_shadow(
    token: &mut ThreadToken,
    admin: &mut Admin,
    controller: &identify::Controller,
    choice: DoorbellChoice,
) -> Result<(), DriverError> {
    let offered =
        OptionalAdmin::from_bits_retain(controller.oacs.get()).contains(OptionalAdmin::DOORBELL_BUFFER);
    match (offered, choice) {
        (true, _) => {}
        (false, DoorbellChoice::Shadow) => return Err(DriverError::NoSuchDoorbells("shadow")),
        (false, _) => return Ok(()),
    }
    let entry = SubmissionEntry {
        opcode: AdminOpcode::DoorbellBufferConfig.code(),
        prp1: iova(layout::SHADOW_DOORBELLS).into(),
        prp2: iova(layout::EVENT_INDEXES).into(),
        ..SubmissionEntry::default()
    };
    admin.execute(token, AdminOpcode::DoorbellBufferConfig.name(), entry)?;
    admin.doorbells = Doorbells::Shadow;
    Ok(())
}

fn set_queue_count(token: &mut ThreadToken, admin: &mut Admin, wanted: u16) -> Result<(), DriverError> {
    let entry = commands::set_queue_count(wanted);
    let completion = admin.execute(token, FeatureId::NumberOfQueues.name(), entry)?;
    let given = NumberOfQueues(completion.dw0.get());
    if given.submission().min(given.completion()) < wanted - 1 {
        return Err(DriverError::Unsupported("it has fewer I/O queues than were asked for"));
    }
    Ok(())
}

fn create_queue(
    token: &mut ThreadToken,
    admin: &mut Admin,
    layout: &Layout,
    index: u16,
) -> Result<Queue, DriverError> {
    let qid = index + 1;
    // Polled: no interrupt.
    let completion =
        commands::create_completion_queue(qid, layout.entries, iova(layout.completion(index)), None);
    admin.execute(token, AdminOpcode::CreateIoCompletionQueue.name(), completion)?;
    let submission = commands::create_submission_queue(qid, layout.entries, iova(layout.submission(index)));
    admin.execute(token, AdminOpcode::CreateIoSubmissionQueue.name(), submission)?;
    Queue::new(&admin.memory, layout, index)
}

//! From a connection to a controller that takes commands. NVMe Base 1.4 s7.6.1 Initialization.
//!
//! The steps, in order: the function is found to be an NVMe controller and reset; the controller is disabled, which is where
//! everything of an earlier life has ended; it is given memory, wired to the one interrupt and enabled; it is identified and
//! compared with the one that the guest knows; the guest's features are set again; the I/O queues and event requests are made;
//! and what was under way is decided about.
//!
//! Every answer is hostile: sizes and lists are bounded, and every wait has an end. A loss of the connection ends each of
//! them at once ([`super::core::Core::pause`]).

mod admin;
mod identify;
mod pci;
mod registers;

use std::sync::Arc;

use gate::ThreadToken;
use models::nvme::host::commands;
use nvme_spec::Doorbell;
use nvme_spec::SubmissionEntry;
use nvme_spec::command::{COMPLETION_ENTRY_SHIFT, SUBMISSION_ENTRY_SHIFT};
use nvme_spec::feature::SetCdw10;
use nvme_spec::register::{ACQ, AQA, ASQ, AdminQueueAttributes, CAP_CSS_NVM, Capabilities, Configuration};

use super::core::Core;
use super::error::BringUpError;
use super::identity::{Difference, Identity};
use super::journal::Replayed;
use super::layout::{Layout, MAX_QUEUES};
use super::rings::{Due, EVENTS, FIRST_EVENT, Rings};
use super::wire::{BAR0, Wire};
use crate::link::LinkError;

/// One attempt to bring a back end up.
pub(super) struct Attempt<'a> {
    core: &'a Core,
    wire: Arc<dyn Wire>,
    number: u64,
    next_cid: u16,
}

/// What a controller is told to use.
struct Made {
    rings: Rings,
    layout: Layout,
    capabilities: Capabilities,
    version: u32,
    /// Event requests that the controller takes, less one.
    last_event: u8,
}

impl<'a> Attempt<'a> {
    /// Ends whatever other attempt there is.
    pub(super) fn begin(core: &'a Core, wire: Arc<dyn Wire>) -> Self {
        let number = core.begin();
        Self::begun(core, wire, number)
    }

    /// One that was begun, and has this number.
    pub(super) fn begun(core: &'a Core, wire: Arc<dyn Wire>, number: u64) -> Self {
        Self { core, wire, number, next_cid: 0 }
    }

    /// All steps. `again`: this connection has been up before, and its controller is only reset. `writes`: see
    /// [`super::journal::Journal::replay`]. `memory` gives it the guest's memory, once it is known to be what the guest knows.
    pub(super) fn run(
        mut self,
        token: &mut ThreadToken,
        again: bool,
        writes: bool,
        memory: impl FnOnce(&mut ThreadToken) -> Result<(), BringUpError>,
    ) -> Result<Replayed, BringUpError> {
        self.check_class(token)?;
        if !again {
            self.reset(token)?;
        }
        let capabilities = self.disable(token)?;
        self.core.quiet(self.number)?;
        if again {
            self.forget_memory(token)?;
        }
        let mut made = self.make(token, capabilities)?;
        self.enable(token, &made)?;
        let identity = self.identify(token, &mut made)?;
        self.compare(&identity)?;
        self.set_features(token, &mut made)?;
        self.create_queues(token, &mut made)?;
        memory(token)?;
        let (replayed, due) = self.core.install(self.number, made.rings, identity, writes)?;
        self.post(token, &due)?;
        self.core.rise(self.number, &self.wire)?;
        Ok(replayed)
    }

    /// A function that cannot be reset has its controller disabled next, which is what counts.
    fn reset(&self, token: &mut ThreadToken) -> Result<(), BringUpError> {
        tolerate(self.wire.reset(token))
    }

    /// The memory of the generation before, at the same connection.
    fn forget_memory(&self, token: &mut ThreadToken) -> Result<(), BringUpError> {
        let length = self.core.with(|state| state.mapped);
        tolerate(self.wire.unmap(token, self.core.options.iova, length))
    }

    fn make(&self, token: &mut ThreadToken, capabilities: Capabilities) -> Result<Made, BringUpError> {
        if capabilities.css() & CAP_CSS_NVM == 0 {
            return Err(BringUpError::Unsupported("it has no NVM command set"));
        }
        if capabilities.mpsmin() != 0 {
            return Err(BringUpError::Unsupported("its smallest page is larger than 4 KiB"));
        }
        let options = &self.core.options;
        let layout = Layout::new(options.queues, options.depth, capabilities);
        let stride = capabilities.dstrd();
        let mut rings = Rings::new(&layout, stride).map_err(BringUpError::Memory)?;
        let start = Doorbell::SubmissionTail(0).offset(stride);
        let end = Doorbell::CompletionHead(layout.queues()).offset(stride) + 4;
        if let Some(area) = self.wire.doorbells(token, start, end)? {
            rings.use_mapped(area);
        }
        self.wire.map(token, options.iova, rings.memory())?;
        self.core.with(|state| state.mapped = layout.length() as u64);
        if self.wire_interrupt(token)? {
            rings.be_eager();
        }
        self.master(token)?;
        let version = self.version(token)?;
        Ok(Made { rings, layout, capabilities, version, last_event: 0 })
    }

    fn enable(&self, token: &mut ThreadToken, made: &Made) -> Result<(), BringUpError> {
        let (submission, completion) = made.layout.pair(0);
        let sizes = AdminQueueAttributes::default()
            .with_asqs(submission.entries - 1)
            .with_acqs(completion.entries - 1);
        self.write32(token, AQA, sizes.0)?;
        self.write64(token, ASQ, self.iova(submission.at))?;
        self.write64(token, ACQ, self.iova(completion.at))?;
        let cc = Configuration::default()
            .with_en(true)
            .with_iosqes(SUBMISSION_ENTRY_SHIFT)
            .with_iocqes(COMPLETION_ENTRY_SHIFT);
        self.configure(token, cc)?;
        self.wait_for(token, made.capabilities, "become ready", |csts| csts.rdy() && !csts.cfs())
    }

    /// Compared with what the guest was told, if it was told anything yet.
    fn compare(&self, now: &Identity) -> Result<(), BringUpError> {
        let differences = self.core.with(|state| {
            let namespaces = !state.reshaped;
            state.identity.as_ref().map(|known| known.compare(now, namespaces))
        });
        match differences {
            Some(list) if !list.is_empty() => Err(BringUpError::Differs(list)),
            _ => Ok(()),
        }
    }

    fn set_features(&mut self, token: &mut ThreadToken, made: &mut Made) -> Result<(), BringUpError> {
        let (entries, forgotten) =
            self.core.with(|state| (state.features.commands().to_vec(), state.features.forgotten()));
        if forgotten > 0 {
            tracing::warn!(
                forgotten,
                "features that the guest has set are at their defaults at the new back end"
            );
        }
        for entry in entries {
            match self.execute(token, made, "Set Features", entry) {
                Err(BringUpError::Command { .. }) => {
                    let feature = SetCdw10(entry.cdw10.get()).fid();
                    return Err(BringUpError::Differs(vec![Difference::Feature(feature)]));
                }
                other => drop(other?),
            }
        }
        Ok(())
    }

    fn create_queues(&mut self, token: &mut ThreadToken, made: &mut Made) -> Result<(), BringUpError> {
        for qid in 1..=made.layout.queues().min(MAX_QUEUES) {
            let (submission, completion) = made.layout.pair(qid);
            let iova = self.iova(completion.at);
            let entry = commands::create_completion_queue(qid, completion.entries, iova, Some(0));
            self.execute(token, made, "Create I/O Completion Queue", entry)?;
            let entry = commands::create_submission_queue(qid, submission.entries, self.iova(submission.at));
            self.execute(token, made, "Create I/O Submission Queue", entry)?;
        }
        let events = u16::from(made.last_event).saturating_add(1).min(EVENTS);
        for cid in FIRST_EVENT..FIRST_EVENT + events {
            made.rings.ask_for_event(cid);
        }
        Ok(())
    }

    fn post(&self, token: &mut ThreadToken, due: &Due) -> Result<(), LinkError> {
        for (offset, value) in due.iter() {
            self.wire.post(token, BAR0, offset, &value.to_le_bytes())?;
        }
        Ok(())
    }

    /// The back end's address of an offset in the shared memory.
    fn iova(&self, offset: usize) -> u64 {
        self.core.options.iova + offset as u64
    }

    fn choose_cid(&mut self, entry: &mut SubmissionEntry) -> u16 {
        let cid = self.next_cid;
        self.next_cid = (cid + 1) % FIRST_EVENT;
        entry.cid = cid.into();
        cid
    }
}

/// A refusal that changes nothing.
fn tolerate(result: Result<(), LinkError>) -> Result<(), BringUpError> {
    match result {
        Ok(()) | Err(LinkError::Refused { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

//! Which admin commands the controller executes itself though its commands are executed elsewhere.
//!
//! Its own are those about what it has and the back end has not: queues, doorbells, interrupts, the order of service, and who
//! waits for events. All others go to the back end as they are.

use nvme_spec::command::SubmissionEntry;
use nvme_spec::feature::{FeatureId, GetCdw10, SetCdw10};
use nvme_spec::identify::{Cdw10, Cns};
use nvme_spec::{AdminOpcode, Status, log};

use super::super::engine::{Cx, Engine, FABRICS, Outcome};
use nvme_spec::queue::ADMIN_QUEUE;

/// Who executes an admin command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Executor {
    Front,
    BackEnd,
    /// Nobody: it is not offered.
    Nobody(Status),
}

impl Engine {
    /// Executes an admin command, or sends it elsewhere.
    pub(in super::super) fn administer_or_forward(
        &mut self,
        cx: &mut Cx<'_>,
        entry: &SubmissionEntry,
    ) -> Result<Outcome, Status> {
        match executor(entry) {
            Executor::Front => self.administer(cx, entry),
            Executor::BackEnd => self.forward(ADMIN_QUEUE, entry, log_read(entry)),
            Executor::Nobody(status) => Err(status),
        }
    }
}

fn executor(entry: &SubmissionEntry) -> Executor {
    if entry.opcode == FABRICS {
        return Executor::Nobody(Status::INVALID_OPCODE);
    }
    // What is in no table may be of the vendor, or of a later version: the back end's to judge.
    let Ok(opcode) = AdminOpcode::try_from(entry.opcode) else { return Executor::BackEnd };
    match opcode {
        AdminOpcode::DeleteIoSubmissionQueue
        | AdminOpcode::CreateIoSubmissionQueue
        | AdminOpcode::DeleteIoCompletionQueue
        | AdminOpcode::CreateIoCompletionQueue
        | AdminOpcode::Abort
        | AdminOpcode::AsyncEventRequest
        | AdminOpcode::DoorbellBufferConfig => Executor::Front,
        AdminOpcode::KeepAlive
        | AdminOpcode::DirectiveSend
        | AdminOpcode::DirectiveReceive
        | AdminOpcode::VirtualizationManagement => Executor::Nobody(Status::INVALID_OPCODE),
        AdminOpcode::Identify if Cdw10(entry.cdw10.get()).cns() == Cns::Controller.code() => Executor::Front,
        AdminOpcode::SetFeatures => of_feature(SetCdw10(entry.cdw10.get()).fid()),
        AdminOpcode::GetFeatures => of_feature(GetCdw10(entry.cdw10.get()).fid()),
        _ => Executor::BackEnd,
    }
}

fn of_feature(id: u8) -> Executor {
    match FeatureId::try_from(id) {
        Ok(
            FeatureId::Arbitration
            | FeatureId::NumberOfQueues
            | FeatureId::InterruptCoalescing
            | FeatureId::InterruptVectorConfiguration,
        ) => Executor::Front,
        // A back end that takes the place of another one would know of neither.
        Ok(FeatureId::HostMemoryBuffer | FeatureId::KeepAliveTimer) => {
            Executor::Nobody(Status::INVALID_FIELD)
        }
        _ => Executor::BackEnd,
    }
}

/// The log page whose events may be reported again once this command has succeeded.
fn log_read(entry: &SubmissionEntry) -> Option<u8> {
    let asked = log::Cdw10(entry.cdw10.get());
    (entry.opcode == AdminOpcode::GetLogPage.code() && !asked.rae()).then_some(asked.lid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(opcode: u8, cdw10: u32) -> Executor {
        executor(&SubmissionEntry { opcode, cdw10: cdw10.into(), ..SubmissionEntry::default() })
    }

    #[test]
    fn nothing_about_queues_doorbells_or_interrupts_goes_to_the_back_end_and_all_else_does() {
        let own = [0x00, 0x01, 0x04, 0x05, 0x08, 0x0c, 0x7c];
        let refused = [0x18, 0x19, 0x1a, 0x1c, 0x7f];
        for opcode in 0..=u8::MAX {
            let expected = match opcode {
                _ if own.contains(&opcode) => Executor::Front,
                _ if refused.contains(&opcode) => Executor::Nobody(Status::INVALID_OPCODE),
                _ => Executor::BackEnd,
            };
            assert_eq!(of(opcode, 0), expected, "{opcode:#04x}");
        }
        for cns in 0..=0xff {
            assert_eq!(
                of(0x06, cns),
                if cns == 1 { Executor::Front } else { Executor::BackEnd },
                "CNS {cns:#04x}"
            );
        }
        for (opcode, id) in [0x09, 0x0a].into_iter().flat_map(|opcode| (0..=0xff).map(move |id| (opcode, id)))
        {
            let expected = match id {
                0x01 | 0x07 | 0x08 | 0x09 => Executor::Front,
                0x0d | 0x0f => Executor::Nobody(Status::INVALID_FIELD),
                _ => Executor::BackEnd,
            };
            assert_eq!(of(opcode, id), expected, "{opcode:#04x}, feature {id:#04x}");
        }
    }

    #[test]
    fn a_log_page_is_read_unless_its_event_is_retained() {
        let read = |opcode, cdw10: u32| {
            log_read(&SubmissionEntry { opcode, cdw10: cdw10.into(), ..SubmissionEntry::default() })
        };
        assert_eq!(read(0x02, 0x0c), Some(0x0c));
        assert_eq!(read(0x02, 1 << 15 | 0x0c), None);
        assert_eq!(read(0x06, 0x0c), None);
    }
}

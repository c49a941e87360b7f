//! The admin commands that bring up a controller's queues, as values.
//!
//! `cid` is left 0: whoever submits one chooses it.

use nvme_spec::feature::{FeatureId, NumberOfQueues, SetCdw10};
use nvme_spec::identify::{self, Cns};
use nvme_spec::queue::{CreateCdw10, CreateCompletionCdw11, CreateSubmissionCdw11};
use nvme_spec::{AdminOpcode, SubmissionEntry};

/// Identify: the structure `cns` of namespace `nsid` to the page at `iova`.
#[must_use]
pub fn identify(cns: Cns, nsid: u32, iova: u64) -> SubmissionEntry {
    SubmissionEntry {
        opcode: AdminOpcode::Identify.code(),
        nsid: nsid.into(),
        prp1: iova.into(),
        cdw10: identify::Cdw10::default().with_cns(cns.code()).0.into(),
        ..SubmissionEntry::default()
    }
}

/// Set Features, a feature whose value is dword 11.
#[must_use]
pub fn set_feature(feature: FeatureId, value: u32) -> SubmissionEntry {
    SubmissionEntry {
        opcode: AdminOpcode::SetFeatures.code(),
        cdw10: SetCdw10::default().with_fid(feature.code()).0.into(),
        cdw11: value.into(),
        ..SubmissionEntry::default()
    }
}

/// Set Features, Number of Queues: `count` pairs, at least 1. Dword 0 of the completion says what was given.
#[must_use]
pub fn set_queue_count(count: u16) -> SubmissionEntry {
    let last = count.saturating_sub(1);
    let value = NumberOfQueues::default().with_submission(last).with_completion(last);
    set_feature(FeatureId::NumberOfQueues, value.0)
}

/// Create I/O Completion Queue `qid` of `entries` (at least 2) at `iova`, with an interrupt vector or polled.
#[must_use]
pub fn create_completion_queue(qid: u16, entries: u16, iova: u64, vector: Option<u16>) -> SubmissionEntry {
    let interrupt = CreateCompletionCdw11::default().with_pc(true).with_ien(vector.is_some());
    SubmissionEntry {
        opcode: AdminOpcode::CreateIoCompletionQueue.code(),
        prp1: iova.into(),
        cdw10: size(qid, entries).0.into(),
        cdw11: interrupt.with_iv(vector.unwrap_or(0)).0.into(),
        ..SubmissionEntry::default()
    }
}

/// Create I/O Submission Queue `qid` of `entries` (at least 2) at `iova`, which completes to the completion queue of the same
/// number.
#[must_use]
pub fn create_submission_queue(qid: u16, entries: u16, iova: u64) -> SubmissionEntry {
    SubmissionEntry {
        opcode: AdminOpcode::CreateIoSubmissionQueue.code(),
        prp1: iova.into(),
        cdw10: size(qid, entries).0.into(),
        cdw11: CreateSubmissionCdw11::default().with_pc(true).with_cqid(qid).0.into(),
        ..SubmissionEntry::default()
    }
}

fn size(qid: u16, entries: u16) -> CreateCdw10 {
    CreateCdw10::default().with_qid(qid).with_qsize(entries.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_commands_encode_as_the_specification_lays_them_out() {
        let completion = create_completion_queue(3, 1024, 0x1000, Some(5));
        assert_eq!((completion.cdw10.get(), completion.cdw11.get()), (0x03ff_0003, 0x0005_0003));
        assert_eq!(create_completion_queue(3, 2, 0, None).cdw11.get(), 1, "contiguous, and polled");
        let submission = create_submission_queue(3, 1024, 0x2000);
        assert_eq!((submission.cdw10.get(), submission.cdw11.get()), (0x03ff_0003, 0x0003_0001));
        assert_eq!((set_queue_count(8).cdw10.get(), set_queue_count(8).cdw11.get()), (7, 0x0007_0007));
        assert_eq!(identify(Cns::Controller, 0, 0x3000).cdw10.get(), 1);
    }
}

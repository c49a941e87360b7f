//! All queues of a controller, by identifier.

use nvme_spec::queue::ADMIN_QUEUE;

use super::limits::QUEUES;
use super::queue::{CompletionQueue, SubmissionQueue};

/// The queues that exist. Empty, and without memory, while the controller is disabled.
#[derive(Debug, Default)]
pub(super) struct Queues {
    submission: Vec<Option<SubmissionQueue>>,
    completion: Vec<Option<CompletionQueue>>,
    /// Identifiers of the submission queues that exist, in the order of service.
    live: Vec<u16>,
    /// Identifiers of the completion queues that exist.
    live_completion: Vec<u16>,
}

impl Queues {
    /// The admin queues, and room for the others.
    pub(super) fn enable(&mut self, submission: SubmissionQueue, completion: CompletionQueue) {
        self.clear();
        self.submission.resize_with(QUEUES, || None);
        self.completion.resize_with(QUEUES, || None);
        self.add_completion(ADMIN_QUEUE, completion);
        self.add_submission(ADMIN_QUEUE, submission);
    }

    pub(super) fn clear(&mut self) {
        let Self { submission, completion, live, live_completion } = self;
        submission.clear();
        completion.clear();
        live.clear();
        live_completion.clear();
    }

    #[inline]
    pub(super) fn submission(&mut self, qid: u16) -> Option<&mut SubmissionQueue> {
        self.submission.get_mut(usize::from(qid))?.as_mut()
    }

    #[inline]
    pub(super) fn completion(&mut self, qid: u16) -> Option<&mut CompletionQueue> {
        self.completion.get_mut(usize::from(qid))?.as_mut()
    }

    /// A submission queue with the completion queue that it answers to.
    #[inline]
    pub(super) fn pair(&mut self, qid: u16) -> Option<(&mut SubmissionQueue, &mut CompletionQueue)> {
        let submission = self.submission.get_mut(usize::from(qid))?.as_mut()?;
        let completion = self.completion.get_mut(usize::from(submission.cq))?.as_mut()?;
        Some((submission, completion))
    }

    /// Identifier of the submission queue that is `nth` in the order of service.
    #[inline]
    pub(super) fn nth_live(&self, nth: usize) -> Option<u16> {
        self.live.get(nth).copied()
    }

    #[inline]
    pub(super) fn live_count(&self) -> usize {
        self.live.len()
    }

    /// Identifier of the `nth` completion queue that exists.
    #[inline]
    pub(super) fn nth_completion(&self, nth: usize) -> Option<u16> {
        self.live_completion.get(nth).copied()
    }

    /// The completion queues that exist.
    pub(super) fn completions(&self) -> impl Iterator<Item = &CompletionQueue> {
        self.completion.iter().flatten()
    }

    /// The submission queues as they are, with their identifiers, in the order of service.
    pub(super) fn every_submission(&self) -> Vec<(u16, SubmissionQueue)> {
        let queue = |qid: &u16| Some((*qid, self.submission.get(usize::from(*qid))?.clone()?));
        self.live.iter().filter_map(queue).collect()
    }

    /// The completion queues as they are, with their identifiers.
    pub(super) fn every_completion(&self) -> Vec<(u16, CompletionQueue)> {
        let queue = |qid: &u16| Some((*qid, self.completion.get(usize::from(*qid))?.clone()?));
        self.live_completion.iter().filter_map(queue).collect()
    }

    /// Puts back what was there: identifiers are in range, and each is there once.
    pub(super) fn put_back(
        &mut self,
        submission: Vec<(u16, SubmissionQueue)>,
        completion: Vec<(u16, CompletionQueue)>,
    ) {
        self.clear();
        self.submission.resize_with(QUEUES, || None);
        self.completion.resize_with(QUEUES, || None);
        for (qid, queue) in completion {
            self.add_completion(qid, queue);
        }
        for (qid, queue) in submission {
            // Its completion queue counts it already.
            if let Some(place) = self.submission.get_mut(usize::from(qid)) {
                *place = Some(queue);
                self.live.push(qid);
            }
        }
    }

    /// Whether any I/O queue exists.
    pub(super) fn any_io(&self) -> bool {
        self.live_completion.iter().any(|qid| *qid != ADMIN_QUEUE)
    }

    /// The identifier is in range and not in use. The caller has checked that its completion queue exists.
    pub(super) fn add_submission(&mut self, qid: u16, queue: SubmissionQueue) {
        if let Some(completion) = self.completion(queue.cq) {
            completion.users += 1;
        }
        if let Some(place) = self.submission.get_mut(usize::from(qid)) {
            *place = Some(queue);
            self.live.push(qid);
        }
    }

    /// The identifier is in range and not in use.
    pub(super) fn add_completion(&mut self, qid: u16, queue: CompletionQueue) {
        if let Some(place) = self.completion.get_mut(usize::from(qid)) {
            *place = Some(queue);
            self.live_completion.push(qid);
        }
    }

    pub(super) fn remove_submission(&mut self, qid: u16) {
        let Some(queue) = self.submission.get_mut(usize::from(qid)).and_then(Option::take) else { return };
        self.live.retain(|live| *live != qid);
        if let Some(completion) = self.completion(queue.cq) {
            completion.users = completion.users.saturating_sub(1);
        }
    }

    pub(super) fn remove_completion(&mut self, qid: u16) {
        if let Some(place) = self.completion.get_mut(usize::from(qid)) {
            *place = None;
            self.live_completion.retain(|live| *live != qid);
        }
    }
}

//! The journal against a simple model: whatever happens, each tag is answered exactly once.

use std::collections::BTreeMap;

use nvme_spec::command::{Fuse, Psdt};
use nvme_spec::{Status, SubmissionEntry};
use proptest::prelude::*;
use remote::nvme::journal::{ADMIN, Answer, Journal};
use remote::nvme::policy::Repeat;

const TAGS: u16 = 6;
const OPCODES: [u8; 7] = [0x00, 0x01, 0x02, 0x09, 0x0d, 0x7d, 0xc0];

#[derive(Clone, Debug)]
enum Step {
    Submit {
        queue: u16,
        tag: u16,
        opcode: u8,
        fused: bool,
    },
    Refuse {
        tag: u16,
    },
    /// A completion, honest or not: of this generation or one of the last ones.
    Complete {
        back: u32,
        queue: u16,
        tag: u16,
    },
    Take,
    /// The back end died; the next one has come, the fence permits writes or not, and its rings have so much room.
    Replay {
        writes: bool,
        room: usize,
    },
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let tag = 0..TAGS + 1;
    let queue = 0..3_u16;
    prop_oneof![
        6 => (queue.clone(), tag.clone(), prop::sample::select(&OPCODES[..]), prop::bool::weighted(0.1))
            .prop_map(|(queue, tag, opcode, fused)| Step::Submit { queue, tag, opcode, fused }),
        1 => tag.clone().prop_map(|tag| Step::Refuse { tag }),
        6 => (0..3_u32, queue, tag).prop_map(|(back, queue, tag)| Step::Complete { back, queue, tag }),
        3 => Just(Step::Take),
        2 => (any::<bool>(), prop_oneof![4 => Just(99_usize), 1 => 0..3_usize])
            .prop_map(|(writes, room)| Step::Replay { writes, room }),
        1 => Just(Step::Forget),
    ]
}

/// What the model knows of one tag in use.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    UnderWay { queue: u16, generation: u32, entry: SubmissionEntry, number: usize },
    Answered(Status),
}

/// The model: a map, lists, and counters of what every tag was given and has got back.
#[derive(Default)]
struct Model {
    tags: BTreeMap<u16, Known>,
    answers: Vec<u16>,
    submitted: usize,
    answered: usize,
    forgotten: usize,
}

impl Model {
    fn add(&mut self, tag: u16, known: Known) -> bool {
        let free = tag < TAGS && !self.tags.contains_key(&tag);
        if free {
            self.submitted += 1;
            self.tags.insert(tag, known);
        }
        free
    }

    fn replay(&mut self, generation: u32, writes: bool, room: usize) -> (Vec<(u16, u16)>, u32) {
        let mut old: Vec<(usize, u16)> = Vec::new();
        for (tag, known) in &self.tags {
            if let Known::UnderWay { number, .. } = known {
                old.push((*number, *tag));
            }
        }
        old.sort_unstable();
        let (mut given, mut refused) = (Vec::new(), 0);
        for (_, tag) in old {
            let Some(Known::UnderWay { queue, generation: of, entry, .. }) = self.tags.get_mut(&tag) else {
                continue;
            };
            let repeat = Repeat::of(*queue == ADMIN, entry);
            let again = repeat == Repeat::Harmless || repeat == Repeat::Write && writes;
            if again && given.len() < room {
                given.push((*queue, tag));
                *of = generation;
            } else {
                refused += 1;
                self.answers.push(tag);
                self.tags.insert(tag, Known::Answered(repeat.refusal()));
            }
        }
        (given, refused)
    }
}

fn run(steps: Vec<Step>) {
    let mut journal = Journal::new(TAGS);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Submit { queue, tag, opcode, fused } => {
                let fuse = if fused { Fuse::First } else { Fuse::Normal };
                let flags = SubmissionEntry::flags(fuse, Psdt::Prp);
                let entry = SubmissionEntry { opcode, flags, cid: tag.into(), ..Default::default() };
                let (generation, number) = (journal.generation(), model.submitted);
                let known = Known::UnderWay { queue, generation, entry, number };
                assert_eq!(journal.submit(queue, tag, &entry), model.add(tag, known));
            }
            Step::Refuse { tag } => {
                let status = Status::INVALID_OPCODE;
                let noted = model.add(tag, Known::Answered(status));
                assert_eq!(journal.refuse(tag, status), noted);
                if noted {
                    model.answers.push(tag);
                }
            }
            Step::Complete { back, queue, tag } => {
                let claimed = journal.generation().wrapping_sub(back);
                let genuine = matches!(model.tags.get(&tag), Some(Known::UnderWay { queue: of, generation, .. })
                    if *of == queue && *generation == claimed);
                match journal.complete(claimed, queue, tag) {
                    Ok(entry) => assert!(genuine && entry.cid.get() == tag, "a forged completion counted"),
                    Err(_) => assert!(!genuine, "a genuine completion was lost"),
                }
                if genuine {
                    model.tags.remove(&tag);
                    model.answered += 1;
                }
            }
            Step::Take => take(&mut journal, &mut model),
            Step::Replay { writes, room } => {
                let generation = journal.begin_generation();
                let (expected, refused) = model.replay(generation, writes, room);
                let mut given = Vec::new();
                let done = journal.replay(writes, |queue, entry| {
                    let fits = given.len() < room;
                    if fits {
                        given.push((queue, entry.cid.get()));
                    }
                    fits
                });
                assert_eq!((done.re_executed as usize, done.refused), (expected.len(), refused));
                assert_eq!(given, expected, "in the order of submission");
            }
            Step::Forget => {
                let under_way =
                    model.tags.values().filter(|known| matches!(known, Known::UnderWay { .. })).count();
                assert_eq!(journal.forget() as usize, under_way);
                model.forgotten += model.tags.len();
                model.tags.clear();
                model.answers.clear();
            }
        }
        let under_way = model.tags.values().filter(|known| matches!(known, Known::UnderWay { .. })).count();
        assert_eq!(journal.under_way(), under_way);
        assert_eq!(journal.is_empty(), model.tags.is_empty());
    }
    // The end: every back end dies, and one comes that takes nothing. Then everything has an answer.
    journal.begin_generation();
    model.replay(journal.generation(), false, 0);
    let _ = journal.replay(false, |_, _| false);
    while !model.answers.is_empty() {
        take(&mut journal, &mut model);
    }
    assert!(journal.is_empty() && journal.take().is_none());
    assert_eq!(model.submitted, model.answered + model.forgotten, "each exactly once");
}

fn take(journal: &mut Journal, model: &mut Model) {
    let expected = (!model.answers.is_empty()).then(|| model.answers.remove(0));
    let expected = expected.map(|tag| match model.tags.remove(&tag) {
        Some(Known::Answered(status)) => Answer { tag, dw0: 0, status },
        other => panic!("the model is wrong: {other:?}"),
    });
    model.answered += usize::from(expected.is_some());
    assert_eq!(journal.take(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_tag_is_answered_exactly_once_whatever_back_ends_do(steps in prop::collection::vec(step(), 0..80)) {
        run(steps);
    }
}

fn entry(tag: u16, opcode: u8) -> SubmissionEntry {
    SubmissionEntry { opcode, cid: tag.into(), ..SubmissionEntry::default() }
}

/// Writes are not executed again before it is known that the old server is over, and the guest is told not to retry.
#[test]
fn a_write_whose_back_end_may_still_write_is_a_write_fault() {
    let mut journal = Journal::new(4);
    assert!(journal.submit(1, 0, &entry(0, 0x01)) && journal.submit(1, 1, &entry(1, 0x02)));
    journal.begin_generation();
    let mut given = Vec::new();
    let done = journal.replay(false, |_, entry| {
        given.push(entry.cid.get());
        true
    });
    assert_eq!((done.re_executed, done.refused, given), (1, 1, vec![1]));
    let status = Status::WRITE_FAULT.with_dnr(true);
    assert_eq!(journal.take(), Some(Answer { tag: 0, dw0: 0, status }));
}

#[test]
fn what_an_old_generation_completes_late_answers_nothing() {
    let mut journal = Journal::new(4);
    let first = journal.generation();
    assert!(journal.submit(1, 0, &entry(0, 0x02)));
    let second = journal.begin_generation();
    assert_eq!(journal.replay(true, |_, _| true).re_executed, 1);
    assert!(journal.complete(first, 1, 0).is_err());
    assert!(journal.complete(second, 2, 0).is_err(), "another queue");
    assert!(journal.complete(second, 1, 0).is_ok());
    assert!(journal.complete(second, 1, 0).is_err(), "twice");
}

/// What the old back end had completed before it died is taken first, and is not executed again.
#[test]
fn what_was_completed_before_the_death_is_not_executed_again() {
    let mut journal = Journal::new(4);
    let first = journal.generation();
    assert!(journal.submit(1, 0, &entry(0, 0x01)) && journal.submit(1, 1, &entry(1, 0x01)));
    assert!(journal.complete(first, 1, 0).is_ok());
    journal.begin_generation();
    let mut given = Vec::new();
    let _ = journal.replay(true, |_, entry| {
        given.push(entry.cid.get());
        true
    });
    assert_eq!(given, [1]);
}

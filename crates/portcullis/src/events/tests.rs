use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use proptest::prelude::*;

use super::kept::MAX_SHARES;
use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn patient() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Later than anybody here is patient: what ends such a wait is not its deadline.
fn far() -> Deadline {
    Deadline::after(10 * PATIENCE)
}

fn from(after: u64) -> Cursor {
    Cursor { stream: None, after: Some(after) }
}

fn function(name: &str) -> Subject {
    Subject::Function(name.to_owned())
}

fn slot(name: &str) -> Subject {
    Subject::Slot(name.to_owned())
}

fn about(subjects: &[Subject]) -> Filter {
    Filter::default().about(subjects.iter().cloned())
}

/// Events of a client.
fn noise(journal: &Journal, function: &str, count: u64) {
    (0..count).for_each(|_| journal.event(function, Event::ClientAttached));
}

/// Everything above `after`, piece by piece.
fn all(journal: &Journal, after: u64, filter: &Filter, limit: usize) -> Vec<StreamItem> {
    let mut cursor = from(after);
    let mut items = Vec::new();
    loop {
        let page = journal.read(&cursor, filter, limit);
        assert!(page.items.iter().filter(|item| matches!(item, StreamItem::Event(_))).count() <= limit);
        items.extend(page.items);
        if page.next == page.last {
            return items;
        }
        assert!(Some(page.next) > cursor.after, "no progress");
        cursor = Cursor { stream: Some(page.stream), after: Some(page.next) };
    }
}

fn numbers(items: &[StreamItem]) -> Vec<u64> {
    let number = |item: &StreamItem| match item {
        StreamItem::Event(event) => Some(event.sequence),
        StreamItem::Gap { .. } => None,
    };
    items.iter().filter_map(number).collect()
}

fn gaps(items: &[StreamItem]) -> Vec<Gap> {
    let gap = |item: &StreamItem| match item {
        StreamItem::Event(_) => None,
        StreamItem::Gap { gap } => Some(*gap),
    };
    items.iter().filter_map(gap).collect()
}

fn gap(missed: u64, next: u64) -> Gap {
    Gap { missed: Some(missed), next, restarted: false }
}

#[test]
fn a_noisy_function_displaces_its_own_events_and_those_of_the_ring_only() {
    let journal = Journal::default();
    journal.event("quiet", Event::ClientAttached);
    journal.event("noisy", Event::Operator { detail: String::from("looked") });
    journal.slot("noisy", kinds::slot::REVOKED, Severity::Warning, "revoked");
    noise(&journal, "noisy", 2 * RING);
    let last = 3 + 2 * RING;
    let items = all(&journal, 0, &Filter::default(), MAX_PAGE);
    let newest = last - RING + 1..=last;
    assert_eq!(numbers(&items), [1, 2, 3].into_iter().chain(newest).collect::<Vec<_>>());
    assert_eq!(gaps(&items), [gap(RING, 4 + RING)]);
    let share = all(&journal, 0, &about(&[slot("noisy")]), MAX_PAGE);
    assert_eq!((numbers(&share), gaps(&share)), (vec![3], vec![]), "a slot's events have no gap");
}

#[test]
fn what_the_ring_has_let_go_a_share_keeps_up_to_its_bound() {
    let journal = Journal::default();
    noise(&journal, "early", 3 * SHARE as u64);
    noise(&journal, "late", RING);
    let items = all(&journal, 0, &about(&[function("early")]), MAX_PAGE);
    let kept = 2 * SHARE as u64 + 1..=3 * SHARE as u64;
    assert_eq!(numbers(&items), kept.collect::<Vec<_>>());
    assert_eq!(gaps(&items), [gap(2 * SHARE as u64, 2 * SHARE as u64 + 1)]);
    assert_eq!(journal.list(&about(&[function("early")])).len(), SHARE);
}

#[test]
fn a_subject_beyond_the_bound_displaces_the_one_silent_longest_and_leaves_a_gap() {
    let journal = Journal::default();
    for n in 0..MAX_SHARES {
        noise(&journal, &format!("f{n}"), 1);
        noise(&journal, "f0", 1);
    }
    noise(&journal, "f0", RING);
    noise(&journal, "one more", 1);
    let known = |name: &str| journal.knows(&about(&[function(name)]));
    assert!(known("f0") && !known("f1") && known("f2") && known("one more"));
    let items = all(&journal, 0, &about(&[function("f1")]), MAX_PAGE);
    assert!(numbers(&items).is_empty());
    assert!(!gaps(&items).is_empty(), "it had an event");
}

#[test]
fn what_a_displaced_subject_had_lost_before_is_not_forgotten() {
    let journal = Journal::default();
    let share = SHARE as u64;
    noise(&journal, "first", 36);
    noise(&journal, "other", 1);
    noise(&journal, "first", share);
    noise(&journal, "other", 1);
    // So many that there is no room for one more, and that the ring has let go of the first 36.
    (2..MAX_SHARES).for_each(|n| noise(&journal, &format!("f{n}"), 1));
    noise(&journal, "f2", RING + 36 - journal.list(&Filter::default()).len() as u64);
    noise(&journal, "one more", 1);
    let first = about(&[function("first")]);
    assert!(!journal.knows(&first));
    let items = all(&journal, 0, &first, MAX_PAGE);
    assert_eq!((gaps(&items), numbers(&items)), (vec![gap(36, 37)], (38..38 + share).collect()));
}

#[test]
fn a_burst_within_the_ring_is_read_whole_and_in_order() {
    let journal = Journal::default();
    noise(&journal, "f", RING);
    let items = all(&journal, 0, &Filter::default(), 100);
    assert_eq!((numbers(&items), gaps(&items)), ((1..=RING).collect::<Vec<_>>(), vec![]));
    noise(&journal, "f", 1);
    assert_eq!(gaps(&all(&journal, 0, &Filter::default(), 100)), [gap(1, 2)], "and not one more");
}

#[test]
fn followers_of_a_burst_that_is_longer_than_the_ring_account_for_every_number() {
    const EVENTS: u64 = 10_000;
    let journal = Arc::new(Journal::default());
    let follow = |journal: Arc<Journal>| {
        let mut token = ThreadToken::at_thread_entry();
        let (mut cursor, mut seen) = (from(0), 0);
        while seen < EVENTS {
            let page = journal.wait(&mut token, &cursor, &Filter::default(), MAX_PAGE, far()).unwrap();
            assert!(!page.items.is_empty(), "not in time");
            for item in &page.items {
                match item {
                    StreamItem::Event(event) => {
                        assert_eq!(event.sequence, seen + 1);
                        seen += 1;
                    }
                    StreamItem::Gap { gap } => {
                        assert_eq!(gap.next, seen + gap.missed.unwrap() + 1);
                        seen = gap.next - 1;
                    }
                }
            }
            assert_eq!(page.next, seen);
            cursor = Cursor { stream: Some(page.stream), after: Some(page.next) };
        }
    };
    let followers: Vec<_> = (0..4)
        .map(|_| {
            let journal = Arc::clone(&journal);
            std::thread::spawn(move || follow(journal))
        })
        .collect();
    let writers: Vec<_> = ["one", "two"]
        .map(|name| {
            let journal = Arc::clone(&journal);
            std::thread::spawn(move || noise(&journal, name, EVENTS / 2))
        })
        .into();
    for thread in writers.into_iter().chain(followers) {
        until(|| thread.is_finished());
        thread.join().unwrap();
    }
    assert_eq!(journal.waiters(), 0);
}

#[test]
fn events_of_a_function_and_of_its_slot_are_in_the_order_of_their_numbers() {
    let journal = Journal::default();
    journal.slot("disk0", kinds::slot::UNPLUG_REQUESTED, Severity::Info, "asked");
    journal.event("disk0", Event::ClientDetached { orphans: 0 });
    journal.slot("disk0", kinds::slot::RELEASED, Severity::Info, "let go");
    journal.vm("guest", kinds::vm::DEVICE_UNPLUGGED, Severity::Info, "disk0");
    let list = journal.list(&about(&[slot("disk0"), function("disk0"), Subject::Vm("guest".into())]));
    let kinds: Vec<&str> = list.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["unplug-requested", "client-detached", "released", "device-unplugged"]);
    assert_eq!(list.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_wait_ends_with_an_event_that_is_wanted_and_with_no_other() {
    let journal = Arc::new(Journal::default());
    let waiting = std::thread::spawn({
        let journal = Arc::clone(&journal);
        move || {
            let mut token = ThreadToken::at_thread_entry();
            let filter = about(&[slot("a")]).of_kinds(vec![String::from("revoked")]).unwrap();
            journal.wait(&mut token, &Cursor::default(), &filter, MAX_PAGE, far()).unwrap()
        }
    });
    until(|| journal.waiters() == 1);
    noise(&journal, "a", 10);
    journal.slot("a", kinds::slot::RELEASED, Severity::Info, "another kind");
    journal.slot("b", kinds::slot::REVOKED, Severity::Info, "another slot");
    assert_eq!(journal.waiters(), 1);
    journal.slot("a", kinds::slot::REVOKED, Severity::Info, "this");
    until(|| waiting.is_finished());
    let page = waiting.join().unwrap();
    assert_eq!((numbers(&page.items), page.next, journal.waiters()), (vec![13], 13, 0));
}

#[test]
fn a_wait_has_an_end_without_events_too() {
    let journal = Journal::default();
    noise(&journal, "f", 3);
    let mut token = ThreadToken::at_thread_entry();
    let soon = Deadline::after(Duration::from_millis(20));
    let page = journal.wait(&mut token, &from(3), &Filter::default(), MAX_PAGE, soon).unwrap();
    assert_eq!((page.items, page.next, page.last, page.ended), (vec![], 3, 3, false));
    assert_eq!(journal.waiters(), 0);
}

#[test]
fn waiters_are_bounded_and_the_end_wakes_all_of_them() {
    let journal = Arc::new(Journal::default());
    let wait = |deadline| {
        let journal = Arc::clone(&journal);
        move || {
            let mut token = ThreadToken::at_thread_entry();
            journal.wait(&mut token, &from(0), &Filter::default(), MAX_PAGE, deadline)
        }
    };
    let waiting: Vec<_> = (0..MAX_WAITERS).map(|_| std::thread::spawn(wait(far()))).collect();
    until(|| journal.waiters() == MAX_WAITERS);
    assert_eq!(wait(Deadline::after(Duration::from_secs(1)))(), Err(TooManyWaiters));
    assert!(wait(Deadline::after(Duration::ZERO))().is_ok(), "who does not wait needs no place");
    journal.end();
    for thread in waiting {
        until(|| thread.is_finished());
        let page = thread.join().unwrap().unwrap();
        assert!(page.ended && page.items.is_empty());
    }
    assert_eq!(journal.waiters(), 0);
    assert!(wait(patient())().unwrap().ended, "nobody waits after the end");
}

#[test]
fn a_reader_of_an_earlier_daemon_is_told_that_numbers_begin_again() {
    let (earlier, journal) = (Journal::default(), Journal::default());
    noise(&earlier, "f", 5);
    noise(&journal, "f", 7);
    let page = earlier.read(&from(0), &Filter::default(), MAX_PAGE);
    let cursor = Cursor { stream: Some(page.stream), after: Some(page.next) };
    let restarted = Gap { missed: None, next: 1, restarted: true };
    // By the stream's name, though its number exists here too; and by a number that does not exist yet.
    for cursor in [cursor, from(8), from(u64::MAX)] {
        let page = journal.read(&cursor, &Filter::default(), MAX_PAGE);
        assert_eq!(page.items[0], StreamItem::Gap { gap: restarted });
        assert_eq!(numbers(&page.items), [1, 2, 3, 4, 5, 6, 7]);
    }
    let same = Cursor { stream: Some(journal.stream.clone()), after: Some(5) };
    assert_eq!(numbers(&journal.read(&same, &Filter::default(), MAX_PAGE).items), [6, 7]);
}

#[test]
fn a_page_has_room_in_a_reply_whatever_its_texts_are() {
    let journal = Journal::default();
    let (name, text) = ("\u{1}".repeat(2 * MAX_NAME), "\u{1}".repeat(2 * MAX_TEXT));
    for _ in 0..MAX_PAGE {
        journal.event(&name, Event::Notice { detail: text.clone() });
    }
    let page = journal.read(&from(0), &Filter::default(), usize::MAX);
    assert_eq!(numbers(&page.items).len(), MAX_PAGE);
    // As if there were a gap before each of them.
    let with_gaps = serde_json::to_string(&page).unwrap().len() + MAX_PAGE * 64;
    assert!(with_gaps < crate::control::protocol::MAX_REPLY_LEN, "{with_gaps}");
}

#[test]
fn a_kind_that_there_is_not_is_refused() {
    assert_eq!(Filter::default().of_kinds(vec!["reset".into(), "rest".into()]).unwrap_err(), "rest");
}

/// Waits for a condition of another thread.
fn until(mut condition: impl FnMut() -> bool) {
    let end = patient();
    while !condition() {
        assert!(end.remaining().is_some(), "still not so");
        std::thread::yield_now();
    }
}

/// What one step of the model test records.
#[derive(Clone, Debug)]
struct Burst {
    subject: usize,
    operator: bool,
    count: u64,
}

fn bursts() -> impl Strategy<Value = Vec<Burst>> {
    let count = prop_oneof![4 => 1..5_u64, 2 => 50..80_u64, 1 => 1000..RING + 200];
    let burst = (0..4_usize, any::<bool>(), count).prop_map(|(subject, operator, count)| Burst {
        subject,
        operator,
        count,
    });
    proptest::collection::vec(burst, 1..25)
}

/// What has happened, all of it: subject and whether an operator did it; the index is the number less one.
type Model = Vec<(usize, bool)>;

fn record(journal: &Journal, model: &mut Model, burst: &Burst) {
    for _ in 0..burst.count {
        model.push((burst.subject, burst.operator));
        let event =
            if burst.operator { Event::Operator { detail: String::new() } } else { Event::ClientAttached };
        journal.event(&format!("f{}", burst.subject), event);
    }
}

/// Numbers that are to be kept: the latest of all, and the latest of each subject and source.
fn to_keep(model: &Model) -> BTreeSet<u64> {
    let mut of_share = std::collections::HashMap::new();
    let mut kept = BTreeSet::new();
    for (index, key) in model.iter().enumerate().rev() {
        let later = of_share.entry(key).or_insert(0_usize);
        *later += 1;
        if *later <= SHARE || (model.len() - index) as u64 <= RING {
            kept.insert(index as u64 + 1);
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_gets_what_is_kept_and_the_exact_number_of_what_is_not(
        bursts in bursts(), limit in 1..700_usize, start in any::<proptest::sample::Index>(),
    ) {
        let (journal, mut model) = (Journal::default(), Model::new());
        bursts.iter().for_each(|burst| record(&journal, &mut model, burst));
        let kept = to_keep(&model);
        let after = start.index(model.len() + 1) as u64;
        let items = all(&journal, after, &Filter::default(), limit.min(MAX_PAGE));
        let mut place = after;
        let mut numbers = kept.range(after + 1..);
        for item in &items {
            match item {
                StreamItem::Gap { gap } => {
                    prop_assert!(gap.missed > Some(0));
                    prop_assert_eq!(gap.next, place + 1 + gap.missed.unwrap());
                    place = gap.next - 1;
                }
                StreamItem::Event(event) => {
                    prop_assert_eq!(Some(&event.sequence), numbers.next());
                    prop_assert_eq!(event.sequence, place + 1, "neither a hole nor a repetition");
                    place = event.sequence;
                }
            }
        }
        prop_assert_eq!((numbers.next(), place), (None, model.len() as u64));
    }

    #[test]
    fn a_reader_of_one_subject_gets_all_that_is_kept_and_a_gap_wherever_something_is_not(
        bursts in bursts(), limit in 1..700_usize, which in 0..4_usize,
    ) {
        let (journal, mut model) = (Journal::default(), Model::new());
        bursts.iter().for_each(|burst| record(&journal, &mut model, burst));
        let (kept, wanted) = (to_keep(&model), |number: u64| model[usize::try_from(number).unwrap() - 1].0 == which);
        let filter = about(&[function(&format!("f{which}"))]);
        let items = all(&journal, 0, &filter, limit.min(MAX_PAGE));
        let expected: Vec<u64> = kept.iter().copied().filter(|number| wanted(*number)).collect();
        prop_assert_eq!(numbers(&items), expected);
        let mut lost: BTreeSet<u64> =
            (1..=model.len() as u64).filter(|number| wanted(*number) && !kept.contains(number)).collect();
        let some_lost = !lost.is_empty();
        let mut place = 0;
        for item in &items {
            match item {
                StreamItem::Event(event) => place = event.sequence,
                StreamItem::Gap { gap } => {
                    lost.retain(|number| !(place < *number && *number < gap.next));
                    place = gap.next - 1;
                }
            }
        }
        prop_assert!(lost.is_empty(), "lost without a gap: {lost:?}");
        prop_assert!(some_lost || gaps(&items).is_empty(), "a gap where nothing was lost");
    }

    #[test]
    fn a_follower_that_reads_now_and_then_accounts_for_every_number(
        steps in proptest::collection::vec((bursts(), 0..4_usize), 1..6),
    ) {
        let (journal, mut model) = (Journal::default(), Model::new());
        let (mut cursor, mut events, mut missed) = (from(0), 0, 0);
        for (bursts, pages) in steps {
            bursts.iter().for_each(|burst| record(&journal, &mut model, burst));
            for _ in 0..pages {
                let page = journal.read(&cursor, &Filter::default(), MAX_PAGE);
                events += numbers(&page.items).len() as u64;
                missed += gaps(&page.items).iter().filter_map(|gap| gap.missed).sum::<u64>();
                prop_assert_eq!(events + missed, page.next);
                cursor = Cursor { stream: Some(page.stream), after: Some(page.next) };
            }
        }
    }
}

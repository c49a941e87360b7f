//! The two merge tables, all of both, against their rules in words.

use contain::merge::{Rule, Vote};

fn pairs() -> impl Iterator<Item = (Vote, Vote)> {
    Vote::ALL.into_iter().flat_map(|so_far| Vote::ALL.into_iter().map(move |next| (so_far, next)))
}

#[test]
fn votes_have_the_numbers_of_linux_aer_02() {
    let numbers = Vote::ALL.map(|vote| vote as u8);
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    let words = Vote::ALL.map(|vote| vote.to_string());
    assert_eq!(words, ["none", "can recover", "need reset", "disconnect", "recovered", "no AER driver"]);
}

#[test]
fn containment_merges_by_priority_eeh_12() {
    let priority = |vote| match vote {
        Vote::None => 1,
        Vote::NoAerDriver => 2,
        Vote::Recovered => 3,
        Vote::CanRecover => 4,
        Vote::Disconnect => 5,
        Vote::NeedReset => 6,
    };
    for (so_far, next) in pairs() {
        let higher = if priority(next) > priority(so_far) { next } else { so_far };
        assert_eq!(Rule::Eeh.merge(so_far, next), higher, "{so_far}, then {next}");
    }
}

#[test]
fn aer_merges_by_what_may_be_replaced_aer_03() {
    for (so_far, next) in pairs() {
        let merged = Rule::Aer.merge(so_far, next);
        let expected = match (so_far, next) {
            (Vote::NoAerDriver, _) | (_, Vote::NoAerDriver) => Vote::NoAerDriver,
            (other, Vote::None) | (Vote::None, other) => other,
            (Vote::CanRecover | Vote::Recovered, next) => next,
            (Vote::Disconnect, Vote::NeedReset) => Vote::NeedReset,
            (so_far, _) => so_far,
        };
        assert_eq!(merged, expected, "{so_far}, then {next}");
    }
}

#[test]
fn the_tables_differ_in_nine_places_and_only_where_a_driver_is_missing_or_has_recovered() {
    let differ: Vec<_> =
        pairs().filter(|(a, b)| Rule::Eeh.merge(*a, *b) != Rule::Aer.merge(*a, *b)).collect();
    let expected = [
        (Vote::CanRecover, Vote::Recovered),
        (Vote::CanRecover, Vote::NoAerDriver),
        (Vote::NeedReset, Vote::NoAerDriver),
        (Vote::Disconnect, Vote::NoAerDriver),
        (Vote::Recovered, Vote::NoAerDriver),
        (Vote::NoAerDriver, Vote::CanRecover),
        (Vote::NoAerDriver, Vote::NeedReset),
        (Vote::NoAerDriver, Vote::Disconnect),
        (Vote::NoAerDriver, Vote::Recovered),
    ];
    assert_eq!(differ, expected);
}

#[test]
fn only_for_containment_the_order_of_the_answers_means_nothing() {
    for (a, b) in pairs() {
        assert_eq!(Rule::Eeh.merge(a, b), Rule::Eeh.merge(b, a));
    }
    let matters: Vec<_> =
        pairs().filter(|(a, b)| Rule::Aer.merge(*a, *b) != Rule::Aer.merge(*b, *a)).collect();
    let recovered_last = (Vote::CanRecover, Vote::Recovered);
    assert_eq!(matters, [recovered_last, (Vote::Recovered, Vote::CanRecover)]);
}

#[test]
fn both_tables_merge_in_groups_as_they_do_one_by_one() {
    for rule in [Rule::Eeh, Rule::Aer] {
        for (a, b) in pairs() {
            for c in Vote::ALL {
                assert_eq!(rule.merge(rule.merge(a, b), c), rule.merge(a, rule.merge(b, c)), "{a}, {b}, {c}");
            }
        }
    }
}

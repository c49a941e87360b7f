//! All answers of two functions, and all that a thaw can come to, against the rules of EEH-11 to EEH-17 and of AER-03 to AER-06
//! written down once more, as one reads them.

use crate::owner::{FATAL, FROZEN, NON_FATAL, NORMAL, Owner, aware, scope};
use contain::merge::Vote;
use contain::plan::{Call, Flavour, Thaw};
use contain::report::Outcome;

/// What two functions answer to the error, and what the first of them answers afterwards; the other one then says nothing.
#[derive(Clone, Copy, Debug)]
struct Answers {
    errors: [Vote; 2],
    mmio: Vote,
    reset: Vote,
}

fn all_answers() -> impl Iterator<Item = Answers> {
    let four = (0..6_usize.pow(4)).map(|n| [n % 6, n / 6 % 6, n / 36 % 6, n / 216].map(|i| Vote::ALL[i]));
    four.map(|[first, second, mmio, reset]| Answers { errors: [first, second], mmio, reset })
}

fn run(flavour: Flavour, answers: Answers, thaws: [Thaw; 2]) -> (bool, usize) {
    let error = if flavour.is_frozen() { FROZEN } else { NORMAL };
    let mut owner = Owner::new(scope(flavour, &[aware(1), aware(2)]))
        .says(1, error, answers.errors[0])
        .says(2, error, answers.errors[1])
        .says(1, Call::MmioEnabled, answers.mmio)
        .says(2, Call::MmioEnabled, Vote::None)
        .says(1, Call::SlotReset, answers.reset)
        .says(2, Call::SlotReset, Vote::None);
    [owner.mmio, owner.dma] = thaws;
    (owner.run() == Outcome::Recovered, owner.resets_ordered())
}

/// Whether it recovers, and how many resets that takes.
fn eeh(answers: Answers, [mmio, dma]: [Thaw; 2]) -> (bool, usize) {
    let one_says = |vote| answers.errors.contains(&vote);
    let reset = (matches!(answers.reset, Vote::Recovered | Vote::None), 1);
    if one_says(Vote::NeedReset) {
        return reset;
    }
    if one_says(Vote::Disconnect) {
        return (false, 0);
    }
    if !one_says(Vote::CanRecover) && !one_says(Vote::Recovered) {
        // Somebody says that nobody is there; or nobody says anything, and all drivers are unbound.
        return if one_says(Vote::NoAerDriver) { (false, 0) } else { (true, 1) };
    }
    match (mmio, answers.mmio, dma) {
        (Thaw::NeedsReset, ..) | (Thaw::Done, Vote::NeedReset, _) => reset,
        (Thaw::Failed, ..) | (Thaw::Done, Vote::Disconnect, _) => (false, 0),
        (Thaw::Done, _, Thaw::Done) => (true, 0),
        (Thaw::Done, _, Thaw::NeedsReset) => reset,
        (Thaw::Done, _, Thaw::Failed) => (false, 0),
    }
}

fn aer(fatal: bool, answers: Answers) -> (bool, usize) {
    let [first, second] = answers.errors;
    let one_says = |vote| answers.errors.contains(&vote);
    let reset = (matches!(answers.reset, Vote::Recovered | Vote::None), 1);
    let gives_up = one_says(Vote::NoAerDriver) || one_says(Vote::Disconnect) && !one_says(Vote::NeedReset);
    if gives_up {
        return (false, usize::from(fatal));
    }
    if fatal || one_says(Vote::NeedReset) {
        return reset;
    }
    // Who says nothing is passed over; the last one who says something is heard.
    let last = if second == Vote::None { first } else { second };
    if last == Vote::Recovered {
        return (true, 0);
    }
    match answers.mmio {
        Vote::NeedReset => reset,
        Vote::Recovered | Vote::None => (true, 0),
        Vote::CanRecover | Vote::Disconnect | Vote::NoAerDriver => (false, 0),
    }
}

#[test]
fn containment_ends_as_its_rules_say_for_all_answers_eeh_11_to_eeh_17() {
    let all = [Thaw::Done, Thaw::NeedsReset, Thaw::Failed];
    for answers in all_answers() {
        for thaws in all.into_iter().flat_map(|mmio| all.map(|dma| [mmio, dma])) {
            let came = run(Flavour::Eeh, answers, thaws);
            assert_eq!(came, eeh(answers, thaws), "{answers:?}, {thaws:?}");
        }
    }
}

#[test]
fn aer_ends_as_its_rules_say_for_all_answers_aer_03_to_aer_06() {
    for (flavour, fatal) in [(FATAL, true), (NON_FATAL, false)] {
        for answers in all_answers() {
            let came = run(flavour, answers, [Thaw::Done; 2]);
            assert_eq!(came, aer(fatal, answers), "{flavour:?}, {answers:?}");
        }
    }
}

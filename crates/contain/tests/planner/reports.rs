//! What a recovery tells of itself.

use crate::owner::{FROZEN, Owner, aware, function};
use contain::merge::Vote;
use contain::plan::{Effect, FunctionId, Role};
use contain::report::{Doom, Log, Notice, Path, Uevent};

fn of<T>(owner: &Owner, pick: impl Fn(&Effect) -> Option<T>) -> Vec<T> {
    owner.log.iter().filter_map(pick).collect()
}

fn notice(effect: &Effect) -> Option<Notice> {
    match effect {
        Effect::Tell(notice) => Some(*notice),
        _ => None,
    }
}

fn uevent(effect: &Effect) -> Option<(FunctionId, Uevent)> {
    match effect {
        Effect::Uevent(id, uevent) => Some((*id, *uevent)),
        _ => None,
    }
}

#[test]
fn user_space_hears_linuxs_words_aer_07() {
    let words =
        [Uevent::Begin, Uevent::Success, Uevent::Failed].map(|u| (u.error_event(), u.device_online()));
    assert_eq!(words, [("BEGIN_RECOVERY", 0), ("SUCCESSFUL_RECOVERY", 1), ("FAILED_RECOVERY", 0)]);
}

#[test]
fn user_space_hears_of_the_beginning_and_of_the_end_aer_07() {
    let id = FunctionId(1);
    let mut owner = Owner::eeh(&[aware(1)]);
    owner.run();
    assert_eq!(of(&owner, uevent), [(id, Uevent::Begin), (id, Uevent::Success)]);

    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::Disconnect);
    owner.run();
    assert_eq!(of(&owner, uevent), [(id, Uevent::Begin), (id, Uevent::Failed)]);
}

#[test]
fn a_recovery_tells_which_way_it_takes() {
    let notices = |mut owner: Owner| {
        owner.run();
        of(&owner, notice)
    };
    let can = Owner::eeh(&[aware(1)]);
    assert_eq!(notices(can), [Notice::Began, Notice::Taking(Path::CanRecover)]);
    let need = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    let expected = [Notice::Began, Notice::Taking(Path::NeedReset), Notice::Resetting { nth: 1 }];
    assert_eq!(notices(need), expected);
    let hot_plug = Owner::eeh(&[function(1, Role::Unaware)]);
    let expected = [Notice::Began, Notice::Taking(Path::HotPlug), Notice::Resetting { nth: 1 }];
    assert_eq!(notices(hot_plug), expected);
    let fails = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::Disconnect);
    let doom = Doom::Voted(Vote::Disconnect);
    assert_eq!(notices(fails), [Notice::Began, Notice::Failing(doom)]);
    assert_eq!(doom.to_string(), "its drivers and consumers answered: disconnect");
}

#[test]
fn the_state_of_the_hardware_is_written_down_once_before_it_is_touched_eeh_11_eeh_17() {
    let log = |effect: &Effect| match effect {
        Effect::Log(log) => Some(*log),
        Effect::Thaw(_) => Some(Log::Permanent),
        _ => None,
    };
    let mut owner = Owner::eeh(&[aware(1)]);
    owner.run();
    assert_eq!(of(&owner, log)[0], Log::Temporary);
    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::Disconnect);
    owner.run();
    assert_eq!(of(&owner, log), [Log::Permanent]);
}

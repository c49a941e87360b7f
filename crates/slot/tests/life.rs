//! The life of a slot, one behaviour a test.

use slot::{
    BLINK, CARD_AND_LINK_WAIT, Cause, Effect, Event, Features, Finished, Lamp, Leaving, Notice, OperationId,
    POWER_OFF_WAIT, REMIND, Removal, Request, Settings, Slot, State,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A slot whose owner answers by hand.
struct Bench {
    slot: Slot,
    now: Duration,
}

impl Bench {
    fn new(features: Features) -> Bench {
        Bench { slot: Slot::new(features, &Settings::default()), now: SECOND }
    }

    fn on(features: Features) -> Bench {
        let mut bench = Bench::new(features);
        bench.send(Event::Card(true));
        if features.attention_button {
            bench.send(Event::Asked(OperationId(1000), Request::Enable));
        }
        bench.send(Event::Powered(true));
        bench.send(Event::Link(true));
        bench.send(Event::Configured(true));
        assert_eq!(bench.slot.state(), State::On);
        bench
    }

    fn send(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.slot.step(self.now, event, &mut effects);
        effects
    }

    fn ask(&mut self, id: u64, request: Request) -> Vec<Effect> {
        self.send(Event::Asked(OperationId(id), request))
    }

    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.send(Event::Timer)
    }
}

fn unplug(seconds: u64) -> Request {
    Request::Disable { timeout: Duration::from_secs(seconds) }
}

fn ended(effects: &[Effect]) -> Vec<(u64, Finished)> {
    let end = |effect: &Effect| match effect {
        Effect::Finish(id, how) => Some((id.0, *how)),
        _ => None,
    };
    effects.iter().filter_map(end).collect()
}

const BUTTON: Features = Features { power_controller: true, attention_button: true, latch: true };

#[test]
fn a_card_that_is_put_in_comes_up_by_itself_hp_08() {
    let mut bench = Bench::new(Features::default());
    let effects = bench.send(Event::Card(true));
    assert!(effects.ends_with(&[Effect::ApplyPower]), "{effects:?}");
    let effects = bench.send(Event::Powered(true));
    assert_eq!(effects, [Effect::SetTimer(bench.now + CARD_AND_LINK_WAIT)]);
    assert!(bench.send(Event::Link(true)).contains(&Effect::Configure));
    let effects = bench.send(Event::Configured(true));
    assert_eq!(effects, [Effect::PowerLamp(Lamp::On), Effect::Tell(Notice::On)]);
}

#[test]
fn with_a_button_a_card_waits_for_it_and_blinks_for_five_seconds_hp_07() {
    let mut bench = Bench::new(BUTTON);
    assert_eq!(bench.send(Event::Card(true)), [Effect::Tell(Notice::Card(true))]);
    let effects = bench.send(Event::Button);
    assert_eq!(effects[..2], [Effect::PowerLamp(Lamp::Blink), Effect::SetTimer(bench.now + BLINK)]);
    assert_eq!(bench.pass(BLINK - Duration::from_millis(1)), []);
    assert!(bench.pass(Duration::from_millis(1)).contains(&Effect::ApplyPower));
}

#[test]
fn a_second_press_within_five_seconds_cancels_hp_07() {
    for (mut bench, state) in [(Bench::new(BUTTON), State::Off), (Bench::on(BUTTON), State::On)] {
        bench.send(Event::Button);
        let effects = bench.send(Event::Button);
        assert!(effects.contains(&Effect::StopTimer), "{effects:?}");
        assert!(effects.contains(&Effect::Tell(Notice::ButtonCancelled)));
        assert_eq!(bench.slot.state(), state);
        assert_eq!(bench.pass(BLINK), []);
    }
}

#[test]
fn what_the_slot_is_not_in_a_state_for_is_refused_hp_08() {
    let mut bench = Bench::new(BUTTON);
    assert_eq!(ended(&bench.ask(1, Request::Enable)), [(1, Finished::NoCard)]);
    assert_eq!(ended(&bench.ask(2, unplug(1))), [(2, Finished::WrongState)]);
    bench.send(Event::Card(true));
    bench.send(Event::Latch(true));
    assert_eq!(ended(&bench.ask(3, Request::Enable)), [(3, Finished::LatchOpen)]);
    bench.send(Event::Latch(false));
    assert_eq!(ended(&bench.ask(4, Request::Enable)), []);
    assert_eq!(ended(&bench.ask(5, Request::Enable)), [(5, Finished::WrongState)]);
    assert_eq!(ended(&bench.ask(6, unplug(1))), [(6, Finished::WrongState)]);
    assert_eq!(ended(&bench.ask(7, Request::Cancel)), [(7, Finished::TooLate)]);
    let mut bench = Bench::on(BUTTON);
    assert_eq!(ended(&bench.ask(8, Request::Enable)), [(8, Finished::WrongState)]);
    bench.send(Event::Button);
    assert_eq!(ended(&bench.ask(9, Request::Enable)), [(9, Finished::WrongState)]);
}

#[test]
fn a_slot_without_power_or_link_is_off_again_and_can_be_tried_anew_hp_08() {
    for (events, how) in [
        (vec![Event::Powered(false)], Finished::PowerFault),
        (vec![Event::PowerFault], Finished::PowerFault),
        (vec![Event::Powered(true), Event::PowerFault], Finished::PowerFault),
        (vec![Event::Powered(true), Event::Card(false)], Finished::NoCard),
        (vec![Event::Powered(true), Event::Link(true), Event::Configured(false)], Finished::NotConfigured),
        (vec![Event::Powered(true), Event::Link(true), Event::Link(false)], Finished::Lost),
    ] {
        let mut bench = Bench::new(BUTTON);
        bench.send(Event::Card(true));
        bench.ask(1, Request::Enable);
        let effects: Vec<_> = events.iter().flat_map(|event| bench.send(*event)).collect();
        assert_eq!(ended(&effects), [(1, how)], "{events:?}");
        bench.send(Event::Removed);
        bench.send(Event::PoweredOff);
        bench.pass(POWER_OFF_WAIT);
        assert_eq!(bench.slot.state(), State::Off, "{events:?}");
        bench.send(Event::Card(true));
        assert_eq!(ended(&bench.ask(2, Request::Enable)), [], "{events:?}");
    }
    let mut bench = Bench::new(Features::default());
    bench.send(Event::Card(true));
    bench.send(Event::Powered(true));
    let effects = bench.pass(CARD_AND_LINK_WAIT);
    assert!(effects.contains(&Effect::Tell(Notice::NotOn(Finished::NoLink))), "{effects:?}");
    assert!(effects.ends_with(&[Effect::CutPower]));
}

#[test]
fn an_unplug_climbs_the_ladder_and_power_is_off_for_a_second_hp_09_hp_13() {
    let mut bench = Bench::on(Features::default());
    let effects = bench.ask(1, unplug(25));
    assert!(effects.contains(&Effect::Ask { nth: 1 }) && !effects.contains(&Effect::Revoke));
    assert!(bench.pass(REMIND).contains(&Effect::Ask { nth: 2 }));
    assert!(bench.pass(REMIND).contains(&Effect::Ask { nth: 3 }));
    let effects = bench.pass(5 * SECOND);
    assert!(effects.contains(&Effect::Tell(Notice::Revoking(Cause::Deadline))));
    assert!(effects.ends_with(&[Effect::Revoke]) && !effects.contains(&Effect::Disconnect));
    assert!(bench.send(Event::Revoked).ends_with(&[Effect::Remove(Removal::Orderly)]));
    assert_eq!(bench.send(Event::Removed), [Effect::Tell(Notice::Removed), Effect::CutPower]);
    assert_eq!(bench.send(Event::PoweredOff), [Effect::SetTimer(bench.now + POWER_OFF_WAIT)]);
    let effects = bench.pass(POWER_OFF_WAIT);
    assert_eq!(ended(&effects), [(1, Finished::Done)]);
    assert_eq!(bench.slot.state(), State::Off);
}

#[test]
fn a_consumer_that_lets_go_is_not_asked_again() {
    let mut bench = Bench::on(Features::default());
    bench.ask(1, unplug(25));
    let effects = bench.send(Event::Released);
    assert_eq!(effects, [Effect::StopTimer, Effect::Tell(Notice::Released), Effect::Revoke]);
    assert_eq!(bench.pass(REMIND), []);
}

#[test]
fn no_time_at_all_begins_with_the_revocation() {
    let mut bench = Bench::on(Features::default());
    let effects = bench.ask(1, unplug(0));
    assert!(effects.contains(&Effect::Tell(Notice::Revoking(Cause::Forced))));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Ask { .. })));
}

#[test]
fn a_second_unplug_may_be_in_more_of_a_hurry_and_both_end_hp_03() {
    let mut bench = Bench::on(Features::default());
    bench.ask(1, unplug(60));
    bench.ask(2, unplug(120));
    let due = |bench: &Bench| match bench.slot.state() {
        State::Leaving(Leaving::Asked { deadline, .. }) => deadline - bench.now,
        other => panic!("{other:?}"),
    };
    assert_eq!(due(&bench), 60 * SECOND);
    bench.ask(3, unplug(5));
    assert_eq!(due(&bench), 5 * SECOND);
    assert!(bench.ask(4, unplug(0)).ends_with(&[Effect::Revoke]));
    assert_eq!(bench.ask(5, unplug(0)), []);
    bench.send(Event::Revoked);
    bench.send(Event::Removed);
    bench.send(Event::PoweredOff);
    let done = |id| (id, Finished::Done);
    assert_eq!(ended(&bench.pass(POWER_OFF_WAIT)), [1, 2, 3, 4, 5].map(done));
}

#[test]
fn an_unplug_can_be_called_off_until_the_revocation() {
    let mut bench = Bench::on(Features::default());
    bench.ask(1, unplug(60));
    let effects = bench.ask(2, Request::Cancel);
    assert_eq!(ended(&effects), [(1, Finished::Cancelled), (2, Finished::Done)]);
    assert!(effects.contains(&Effect::Keep));
    assert_eq!(bench.slot.state(), State::On);
    bench.ask(3, unplug(0));
    assert_eq!(ended(&bench.ask(4, Request::Cancel)), [(4, Finished::TooLate)]);
}

#[test]
fn a_card_that_is_pulled_is_disconnected_before_anything_else_hp_12() {
    for prepare in [vec![], vec![Event::Button], vec![Event::Asked(OperationId(1), unplug(60))]] {
        for lost in [Event::Card(false), Event::Link(false)] {
            let mut bench = Bench::on(BUTTON);
            prepare.iter().for_each(|event| drop(bench.send(*event)));
            let effects = bench.send(lost);
            let mut acts = effects.iter().filter(|effect| !matches!(effect, Effect::Tell(_)));
            assert_eq!(acts.clone().next(), Some(&Effect::Disconnect), "{effects:?}");
            assert_eq!(acts.next_back(), Some(&Effect::Revoke));
            let effects = bench.send(Event::Revoked);
            assert!(effects.contains(&Effect::Remove(Removal::Surprise)));
        }
    }
}

#[test]
fn a_card_pulled_while_it_is_revoked_or_removed_is_not_touched_any_more() {
    let mut bench = Bench::on(Features::default());
    bench.ask(1, unplug(0));
    assert!(bench.send(Event::Card(false)).contains(&Effect::Disconnect));
    assert!(bench.send(Event::Revoked).contains(&Effect::Remove(Removal::Surprise)));
    let mut bench = Bench::on(Features::default());
    bench.ask(1, unplug(0));
    bench.send(Event::Revoked);
    assert!(bench.send(Event::Card(false)).contains(&Effect::Disconnect));
}

#[test]
fn a_link_that_comes_back_brings_the_card_back_hp_14() {
    let mut bench = Bench::on(Features { power_controller: false, ..Features::default() });
    bench.send(Event::Link(false));
    bench.send(Event::Link(true));
    bench.send(Event::Revoked);
    bench.send(Event::Removed);
    let effects = bench.send(Event::PoweredOff);
    assert!(effects.ends_with(&[Effect::ApplyPower]), "{effects:?}");
}

#[test]
fn another_card_is_a_removal_and_an_addition_hp_15() {
    let mut bench = Bench::on(BUTTON);
    let effects = bench.send(Event::Replaced);
    assert!(effects.contains(&Effect::Disconnect));
    bench.send(Event::Revoked);
    bench.send(Event::Removed);
    bench.send(Event::PoweredOff);
    assert!(bench.pass(POWER_OFF_WAIT).ends_with(&[Effect::ApplyPower]));
}

#[test]
fn an_unplug_that_was_asked_for_is_not_undone_by_a_link_that_flaps_hp_17() {
    let mut bench = Bench::on(Features::default());
    bench.ask(1, unplug(0));
    bench.send(Event::Revoked);
    bench.send(Event::Link(false));
    bench.send(Event::Link(true));
    bench.send(Event::Removed);
    bench.send(Event::PoweredOff);
    let effects = bench.pass(POWER_OFF_WAIT);
    assert_eq!(bench.slot.state(), State::Off, "{effects:?}");
}

#[test]
fn an_unplug_of_a_card_that_leaves_already_keeps_it_from_coming_back_hp_17() {
    for unplugged in [false, true] {
        let mut bench = Bench::on(Features { power_controller: false, ..Features::default() });
        bench.send(Event::Link(false));
        bench.send(Event::Link(true));
        if unplugged {
            bench.ask(1, unplug(60));
        }
        bench.send(Event::Revoked);
        bench.send(Event::Removed);
        bench.send(Event::PoweredOff);
        assert_eq!(bench.slot.state() == State::Off, unplugged);
    }
}

#[test]
fn more_than_may_wait_are_refused() {
    let mut bench = Bench::on(Features::default());
    let refused: Vec<_> = (0..100).flat_map(|id| ended(&bench.ask(id, unplug(60)))).collect();
    assert_eq!(refused.len(), 100 - slot::MAX_OPERATIONS);
    assert!(refused.iter().all(|(_, how)| *how == Finished::TooMany));
}

#[test]
fn a_card_that_has_failed_is_not_brought_back_by_its_link_but_by_whoever_wants_it_eeh_17() {
    let mut bench = Bench::on(Features { power_controller: false, ..Features::default() });
    let effects = bench.send(Event::Failed);
    assert_eq!(effects[0], Effect::Disconnect, "HP-12");
    assert_eq!(bench.slot.state(), State::Leaving(Leaving::Revoking(Cause::Failed)));
    assert_eq!(bench.send(Event::Failed), bench.send(Event::Failed), "once is enough");
    bench.send(Event::Link(false));
    bench.send(Event::Link(true));
    assert!(bench.send(Event::Revoked).contains(&Effect::Remove(Removal::Surprise)));
    bench.send(Event::Removed);
    bench.send(Event::PoweredOff);
    assert_eq!(bench.slot.state(), State::Off, "it stays off");
    assert!(bench.ask(1, Request::Enable).contains(&Effect::ApplyPower));
    // What has failed while it came up, or was leaving in order, is not touched any more either.
    let mut bench = Bench::on(Features::default());
    bench.ask(1, unplug(0));
    bench.send(Event::Failed);
    assert!(bench.send(Event::Revoked).contains(&Effect::Remove(Removal::Surprise)));
    let mut bench = Bench::new(Features::default());
    assert!(bench.send(Event::Failed).is_empty(), "there is nothing");
}

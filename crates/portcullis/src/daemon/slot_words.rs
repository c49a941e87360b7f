//! What happens at a slot, in words.

use std::time::Duration;

use ::slot::{Cause, Failure, Finished, Leaving, Notice, Powering, Report, Request, State, Told};

use super::operations::Outcome;
use crate::control::stream::Severity;
use crate::events::Journal;
use crate::events::kinds::slot as kinds;

/// A state's name for programs.
pub(super) fn state_name(state: State) -> &'static str {
    match state {
        State::Off => "off",
        State::BlinkingOn { .. } => "blinking-on",
        State::PoweringOn(_) => "powering-on",
        State::On => "on",
        State::BlinkingOff { .. } => "blinking-off",
        State::Leaving(Leaving::Asked { .. }) => "asked",
        State::Leaving(Leaving::Revoking(_)) => "revoking",
        State::Leaving(Leaving::Removing { .. }) => "removing",
        State::Leaving(Leaving::CuttingPower { .. }) => "cutting-power",
    }
}

/// What a slot does now, and until when.
pub(super) fn state_detail(report: &Report, now: Duration) -> String {
    let left = |until: Duration| seconds(until.saturating_sub(now));
    let called = report.calling.as_ref().map(|call| {
        format!(
            "; {} of {} has been running for {}",
            call.call,
            call.who,
            seconds(now.saturating_sub(call.since))
        )
    });
    let state = match report.state {
        State::Off if report.sight.card && report.features.attention_button => {
            String::from("a card is in it; press the attention button")
        }
        State::Off if report.sight.card => String::from("a card is in it, without power"),
        State::Off => String::from("no card"),
        State::BlinkingOn { until } => {
            format!("goes on in {}, unless the button is pressed again", left(until))
        }
        State::PoweringOn(Powering::Power) => String::from("is given power"),
        State::PoweringOn(Powering::CardAndLink { until }) => {
            format!("waits for card and link for {} more", left(until))
        }
        State::PoweringOn(Powering::Configure) => String::from("finds what is on the card"),
        State::On => String::from("everything works"),
        State::BlinkingOff { until } => {
            format!("goes off in {}, unless the button is pressed again", left(until))
        }
        State::Leaving(Leaving::Asked { times, deadline, .. }) => {
            let asked = if times == 1 { String::from("once") } else { format!("{times} times") };
            format!("consumers were asked to let go {asked}; in {} all is taken from them", left(deadline))
        }
        State::Leaving(Leaving::Revoking(_)) => String::from("everything is taken away"),
        State::Leaving(Leaving::Removing { .. }) => String::from("is taken out of the topology"),
        State::Leaving(Leaving::CuttingPower { until: Some(until) }) => {
            format!("without power in {}", left(until))
        }
        State::Leaving(Leaving::CuttingPower { until: None }) => String::from("its power is cut"),
    };
    state + &called.unwrap_or_default()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// How what an operator has asked for ended. `complaint` is why the hardware could not do it, if it could not.
pub(super) fn outcome(request: Request, how: Finished, complaint: Option<&str>) -> Outcome {
    let done = match request {
        Request::Enable => "it is on",
        Request::Disable { .. } => "it is off, and nobody has anything of it any more",
        Request::Cancel => "called off",
    };
    let wrong = match request {
        Request::Enable => "the slot is on, or on its way",
        Request::Disable { .. } => "the slot is off, or not on yet",
        Request::Cancel => "there is nothing to call off",
    };
    let complaint = complaint.map(|why| format!(": {why}")).unwrap_or_default();
    match how {
        Finished::Done => Outcome::new("done", done),
        Finished::Cancelled => Outcome::new("cancelled", "called off; the slot is as it was"),
        Finished::WrongState => Outcome::new("wrong-state", wrong),
        Finished::NoCard => Outcome::new("no-card", "there is no card in the slot"),
        Finished::LatchOpen => Outcome::new("latch-open", "the latch is open; close it first"),
        Finished::PowerFault => Outcome::new("power-fault", "the slot got no power"),
        Finished::NoLink => Outcome::new("no-link", "the card did not come up in time"),
        Finished::NotConfigured => {
            Outcome::new("not-configured", format!("the card could not be brought up{complaint}"))
        }
        Finished::TooLate => {
            Outcome::new("too-late", "it cannot be called off any more, or there is nothing to")
        }
        Finished::TooMany => Outcome::new("too-many", "too many wait for this slot; wait for one of them"),
        Finished::Lost => Outcome::new("lost", "the card was taken out, or failed, meanwhile"),
        Finished::ShutDown => Outcome::new("shut-down", "the daemon ends"),
    }
}

/// Puts what happened into the journal.
pub(super) fn tell(journal: &Journal, slot: &str, what: &Told) {
    let (kind, severity, text) = match what {
        Told::Notice(notice) => notice_words(notice),
        Told::Operation(_, request, ended) => operation_words(*request, *ended),
        Told::Orphan(what) => {
            (kinds::ORPHAN, Severity::Warning, format!("still in use, and cut off: {what}"))
        }
        Told::Callback { who, call, how } => callback_words(who, call, how),
    };
    journal.slot(slot, kind, severity, text);
}

fn notice_words(notice: &Notice) -> (&'static str, Severity, String) {
    use Severity::{Info, Warning};
    let (kind, severity, text) = match notice {
        Notice::ButtonPressed { on: true } => {
            (kinds::BUTTON, Info, "the attention button was pressed: it goes on")
        }
        Notice::ButtonPressed { on: false } => {
            (kinds::BUTTON, Info, "the attention button was pressed: it goes off")
        }
        Notice::ButtonCancelled => (kinds::BUTTON, Info, "called off: nothing happens"),
        Notice::ButtonIgnored => {
            (kinds::BUTTON, Info, "the attention button was pressed while it is busy: ignored")
        }
        Notice::Card(true) => (kinds::CARD, Info, "a card was put in"),
        Notice::Card(false) => (kinds::CARD, Info, "the card was taken out"),
        Notice::Link(true) => (kinds::LINK, Info, "the link is up"),
        Notice::Link(false) => (kinds::LINK, Info, "the link is down"),
        Notice::Latch(true) => (kinds::LATCH, Info, "the latch was opened"),
        Notice::Latch(false) => (kinds::LATCH, Info, "the latch was closed"),
        Notice::PowerFault => (kinds::POWER_FAULT, Warning, "the power of the slot has failed"),
        Notice::On => (kinds::PLUGGED, Info, "it is on: what is on the card can be used"),
        Notice::Kept => (kinds::UNPLUG_KEPT, Info, "called off: consumers may stay"),
        Notice::Released => (kinds::RELEASED, Info, "consumers have let go"),
        Notice::Revoked => (kinds::REVOKED, Info, "nothing reaches the card any more"),
        Notice::Removed => (kinds::REMOVED, Info, "its functions are out of the topology"),
        Notice::Off => (kinds::OFF, Info, "it is off"),
        Notice::Asked(1) => (kinds::UNPLUG_REQUESTED, Info, "consumers were asked to let go"),
        Notice::Asked(nth) => {
            return (
                kinds::UNPLUG_REMINDED,
                Info,
                format!("consumers were asked to let go, the {nth}th time"),
            );
        }
        Notice::NotOn(why) => {
            let why = outcome(Request::Enable, *why, None).detail;
            return (kinds::NOT_PLUGGED, Warning, format!("the card did not come up: {why}"));
        }
        Notice::Revoking(cause) => {
            let (severity, why) = match cause {
                Cause::Deadline => (Warning, "consumers did not let go in time"),
                Cause::Released => (Info, "consumers have let go"),
                Cause::Forced => (Info, "at once, as was asked for"),
                Cause::CardLost => (Warning, "the card was torn out"),
                Cause::LinkLost => (Warning, "the link was lost"),
                Cause::Replaced => (Warning, "another card is in its place"),
                Cause::Failed => (Warning, "the card has failed, and could not be recovered"),
            };
            return (kinds::REVOKING, severity, format!("everything is taken away: {why}"));
        }
    };
    (kind, severity, text.to_owned())
}

fn operation_words(request: Request, ended: Option<Finished>) -> (&'static str, Severity, String) {
    let what = match request {
        Request::Enable => String::from("switching it on"),
        Request::Disable { timeout } if timeout.is_zero() => String::from("taking it away"),
        Request::Disable { timeout } => format!("unplugging it within {}", seconds(timeout)),
        Request::Cancel => String::from("calling it off"),
    };
    match ended {
        None => (kinds::OPERATION_STARTED, Severity::Info, format!("{what} was asked for")),
        Some(Finished::Done) => (kinds::OPERATION_ENDED, Severity::Info, format!("{what}: done")),
        Some(how) => {
            let why = outcome(request, how, None).detail;
            (kinds::OPERATION_ENDED, Severity::Info, format!("{what}: {why}"))
        }
    }
}

fn callback_words(who: &str, call: &str, how: &Failure) -> (&'static str, Severity, String) {
    let (kind, text) = match how {
        Failure::Hung => (
            kinds::CALLBACK_HUNG,
            format!("`{call}` of {who} did not return in time; the slot goes on without it"),
        ),
        Failure::Panicked => (kinds::CALLBACK_PANICKED, format!("`{call}` of {who} panicked")),
        Failure::Failed(why) => (kinds::CALLBACK_FAILED, format!("`{call}` of {who} failed: {why}")),
    };
    (kind, Severity::Warning, text)
}

//! What containment tells, for the journal.

use std::sync::Arc;

use contain::pe::PeAddress;
use contain::report::{Notice, Outcome};
use contain::watch::{Told, Watch};
use pci_spec::Bdf;

use super::owners::Owners;
use crate::control::stream::Severity;
use crate::events::Journal;
use crate::events::kinds::containment as kinds;

/// Puts what happens into the journal: at the slot of the PE, or else under the PE's own name.
pub(super) struct Teller {
    owners: Arc<Owners>,
    journal: Arc<Journal>,
}

impl Teller {
    pub(super) fn new(owners: &Arc<Owners>, journal: &Arc<Journal>) -> Teller {
        Teller { owners: Arc::clone(owners), journal: Arc::clone(journal) }
    }

    fn about(&self, pe: PeAddress, kind: &'static str, severity: Severity, text: String) {
        let name = subject(&self.owners, pe);
        self.journal.slot(&name, kind, severity, text);
    }
}

/// The slot whose functions are in a PE; the PE itself if it is no slot's.
fn subject(owners: &Owners, pe: PeAddress) -> String {
    let is_here = |at: Bdf| {
        let (bus, function) = (PeAddress::new(at.segment(), u16::from(at.bus()) << 8), PeAddress::of(at));
        at.segment() == pe.segment() && (pe == function || pe == bus)
    };
    let places = owners.places();
    places
        .iter()
        .find(|place| is_here(place.address))
        .map_or_else(|| pe.to_string(), |place| place.name.clone())
}

impl Watch for Teller {
    fn tell(&self, told: &Told) {
        use Severity::{Info, Warning};
        match told {
            Told::Frozen { pe, function, sign } => {
                let at = function.map(|at| format!(" at {at}")).unwrap_or_default();
                let sign = sign.map_or_else(|| String::from("an error"), |sign| sign.to_string());
                self.about(*pe, kinds::FROZEN, Warning, format!("PE {pe} is frozen: {sign}{at}"));
            }
            Told::Thawed { pe } => self.about(*pe, kinds::THAWED, Info, format!("PE {pe} is thawed")),
            Told::Began { pe, .. } => {
                self.about(*pe, kinds::RECOVERY_STARTED, Info, format!("the recovery of PE {pe} begins"));
            }
            // How it begins and ends is told by others.
            Told::Notice { notice: Notice::Began, .. } => {}
            Told::Notice { pe, notice, .. } => {
                let severity =
                    if matches!(notice, Notice::Failing(_) | Notice::Lost(..)) { Warning } else { Info };
                self.about(*pe, kinds::RECOVERY_STEP, severity, format!("PE {pe}: {}", step(notice)));
            }
            Told::Uevent { at, uevent, .. } => {
                let name = self.owners.name_of(*at).unwrap_or_else(|| at.to_string());
                let (event, online) = (uevent.error_event(), uevent.device_online());
                let text = format!("{at}: ERROR_EVENT={event} DEVICE_ONLINE={online}");
                self.journal.slot(&name, kinds::ERROR_EVENT, Info, text);
            }
            Told::Log { pe, text, .. } => tracing::info!("PE {pe}: {text}"),
            Told::Ended { pe, outcome, pause, resets, .. } => {
                let good = matches!(outcome, Outcome::Recovered | Outcome::Gone);
                let severity = if good { Info } else { Warning };
                let ended = ended(*outcome);
                let ms = pause.as_secs_f64() * 1000.0;
                let resets = if *resets == 1 { String::from("1 reset") } else { format!("{resets} resets") };
                let text =
                    format!("the recovery of PE {pe} has ended after {ms:.1} ms and {resets}: {ended}");
                self.about(*pe, kinds::RECOVERY_ENDED, severity, text);
            }
            Told::PermanentFailure { pe, doom } => {
                self.about(*pe, kinds::FAILED, Warning, format!("PE {pe} has failed for good: {doom}"));
            }
            Told::Orphan(orphan) => {
                let seconds = orphan.age.as_secs();
                let text = format!("PE {} was removed {seconds} s ago and is still held", orphan.address);
                self.about(orphan.address, kinds::ORPHAN, Warning, text);
            }
            Told::Special { segment, event } => {
                let pe = PeAddress::phb(*segment);
                self.about(
                    pe,
                    kinds::RECOVERY_STEP,
                    Info,
                    format!("PE {pe}: the platform reports {event:?}"),
                );
            }
            Told::Overlap(overlap) => {
                let name = self.owners.name_of(overlap.with).unwrap_or_else(|| overlap.with.to_string());
                let (first, last) = (overlap.range.first, overlap.range.last);
                let text =
                    format!("another function has BAR addresses {first:#x} to {last:#x}, or some of them");
                self.journal.slot(&name, kinds::BAR_OVERLAP, Warning, text);
            }
        }
    }
}

/// How a recovery ended, in a word for programs.
pub(in crate::daemon) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Recovered => "recovered",
        Outcome::FrozenAgain => "frozen-again",
        Outcome::Contained => "contained",
        Outcome::Gone => "gone",
        Outcome::Failed(_) => "failed",
    }
}

fn ended(how: Outcome) -> String {
    match how {
        Outcome::Failed(doom) => format!("failed: {doom}"),
        how => outcome(how).to_owned(),
    }
}

fn step(notice: &Notice) -> String {
    match notice {
        Notice::Began => String::from("its recovery begins"),
        Notice::Taking(path) => format!("it is recovered by way of {path:?}"),
        Notice::Resetting { nth } => format!("it is reset, number {nth}"),
        Notice::FrozenAgain => String::from("there was another error before it was recovered"),
        Notice::Lost(_, call) => {
            format!("a call was lost, which counts as the answer that it does not go on: {call:?}")
        }
        Notice::TakenOut(_) => String::from("one of its functions is taken out, the others go on"),
        Notice::Failing(doom) => format!("it fails: {doom}"),
    }
}

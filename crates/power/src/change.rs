//! Carries out a plan on functions whose gates are closed.

use crate::State;
use crate::error::PowerError;
use crate::facts::Facts;
use crate::hold::Hold;
use crate::plan::{Step, plan};
use crate::platform::Platform;
use crate::ready::{self, Answer, Probe, READY_LIMIT, Watched};
use gate::Gone;
use pci_core::{Change, PowerState, PowerStep, Progress, Width};
use pci_spec::Bdf;
use pci_spec::capability::pm;
use std::time::Duration;

/// What operators read of a wait that this crate makes.
const WHAT: &str = "resume";

/// Takes one function to a state; answers the state it is in then, which is another one if the function refused (PWR-06)
/// or is kept from it. What is below a bridge is the caller's: see [`crate::change_subtree`].
///
/// # Errors
/// [`PowerError`]; the state is then where [`Hold::state`] says.
pub fn change(
    hold: &mut dyn Hold,
    platform: Option<&dyn Platform>,
    at: Bdf,
    to: State,
) -> Result<State, PowerError> {
    let platform = platform.filter(|platform| platform.manages(at));
    let facts = Facts { has_platform: platform.is_some(), ..hold.facts(at) };
    let from = hold.state(at);
    let steps = plan(from, to, &facts)?;
    let run = run(hold, platform, at, &facts, Change { old: from, new: to }, &steps);
    let reached = hold.state(at);
    if reached != from {
        hold.changed(at, Change { old: from, new: reached });
    }
    run.map(|()| reached)
}

fn run(
    hold: &mut dyn Hold,
    platform: Option<&dyn Platform>,
    at: Bdf,
    facts: &Facts,
    change: Change<State>,
    steps: &[Step],
) -> Result<(), PowerError> {
    for step in steps {
        match *step {
            Step::Save => hold.save(at),
            Step::Write(state) => write_state(hold, at, facts, change, state)?,
            Step::Platform(state) => {
                if let Some(platform) = platform {
                    platform.set_state(at, state).map_err(PowerError::Platform)?;
                }
            }
            Step::LosePower => hold.lose_power(at),
            Step::RegainPower => hold.regain_power(at),
            Step::Pass(duration) => hold.pass(at, duration)?,
            Step::WaitReady => {
                let mut one = One { hold, at, probe: Probe::of(facts.is_virtual, true) };
                ready::wait(&mut one, READY_LIMIT, false, WHAT)?;
            }
            Step::ReadBack(expected) => {
                if !read_back(hold, at, facts, change, expected) {
                    return Ok(());
                }
            }
            Step::Restore => hold.restore(at),
            Step::Note(state) => hold.note(at, state),
        }
    }
    Ok(())
}

/// Writes the state field of PMCSR and nothing else of it; an event noted in it stays. Does not write the state that is
/// there already.
fn write_state(
    hold: &mut dyn Hold,
    at: Bdf,
    facts: &Facts,
    change: Change<State>,
    state: PowerState,
) -> Result<(), PowerError> {
    let Some(capability) = facts.pm else { return Ok(()) };
    let register = capability + pm::CONTROL_STATUS;
    let control = read_control(hold, at, register);
    let Some(control) = control else { return Err(inaccessible(hold, at, change)) };
    // It answers, so it has power, whatever was believed.
    hold.note(at, PowerState::decode(control).into());
    if PowerState::decode(control) == state {
        return Ok(());
    }
    let kept = control & !(pm::POWER_STATE_MASK | pm::CONTROL_STATUS_RW1C);
    hold.write(at, register, Width::Word, u32::from(kept | state.bits()))
        .map_err(|_| inaccessible(hold, at, change))
}

/// Whether the function is in the state that it was sent to. If not, the one it shows counts (PWR-06).
fn read_back(
    hold: &mut dyn Hold,
    at: Bdf,
    facts: &Facts,
    change: Change<State>,
    expected: PowerState,
) -> bool {
    let Some(capability) = facts.pm else { return true };
    let shown = match read_control(hold, at, capability + pm::CONTROL_STATUS) {
        Some(control) => State::from(PowerState::decode(control)),
        None => State::D3Cold,
    };
    hold.note(at, shown);
    if shown != expected.into() {
        hold.tell(at, PowerStep::Refused { from: change.old, to: change.new });
        return false;
    }
    true
}

/// PMCSR; nothing if it reads all-ones, which is what a function without power gives (PWR-03).
fn read_control(hold: &mut dyn Hold, at: Bdf, register: u16) -> Option<u16> {
    let value = hold.read(at, register, Width::Word).ok()?;
    u16::try_from(value).ok().filter(|control| *control != u16::MAX)
}

fn inaccessible(hold: &mut dyn Hold, at: Bdf, change: Change<State>) -> PowerError {
    hold.note(at, State::D3Cold);
    hold.tell(at, PowerStep::Inaccessible { from: change.old, to: change.new });
    PowerError::Inaccessible
}

/// One function that is waited for.
pub(crate) struct One<'a> {
    pub(crate) hold: &'a mut dyn Hold,
    pub(crate) at: Bdf,
    pub(crate) probe: Probe,
}

impl Watched for One<'_> {
    fn look(&mut self) -> Result<Answer, Gone> {
        if self.hold.is_disconnected(self.at) {
            return Ok(Answer::Disconnected);
        }
        let read = self.hold.read(self.at, self.probe.register(), Width::Word);
        Ok(self.probe.answer(read))
    }

    fn pass(&mut self, duration: Duration) -> Result<(), Gone> {
        self.hold.pass(self.at, duration)
    }

    fn tell(&mut self, progress: Progress) {
        self.hold.tell(self.at, PowerStep::Readiness(progress));
    }
}

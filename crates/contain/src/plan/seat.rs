//! A function's part in a recovery.

use super::{Answer, Call, Channel, Flavour, Handlers, Member, Phase, Policy, Role, Whom};
use crate::merge::Vote;

/// One function, and what this recovery has done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) member: Member,
    /// It stays frozen until its consumer says otherwise, whoever has it meanwhile.
    pub(super) contained: bool,
    /// It came, or whoever has it did, when the recovery was under way: it was told of no error, and is told nothing of
    /// how that goes on (EEH-18).
    pub(super) late: bool,
    /// It was told of the error, and is told what becomes of it.
    pub(super) told: bool,
    /// A call to it was lost; there is no second one.
    pub(super) lost: bool,
    /// Its driver was unbound, and one is to be probed.
    pub(super) unbound: bool,
    /// Its model's state is saved. Saved once: what is restored half is no state to save.
    pub(super) saved: bool,
    /// Its channel is not normal, and its interrupts are off.
    pub(super) quiet: bool,
    /// User space knows that it is being recovered.
    pub(super) announced: bool,
    /// It was called in this phase.
    pub(super) called: bool,
    /// The call that has not returned.
    pub(super) in_call: Option<Call>,
    /// What it answered in this phase.
    answer: Option<Vote>,
}

impl Seat {
    pub(super) fn new(member: Member, late: bool) -> Seat {
        Seat {
            member,
            contained: member.role == Role::Consumer(Policy::ContainUntilTold),
            late,
            told: false,
            lost: false,
            unbound: false,
            saved: false,
            quiet: false,
            announced: false,
            called: false,
            in_call: None,
            answer: None,
        }
    }

    /// Whether this recovery does anything with it, but for putting it away if it fails.
    pub(super) fn takes_part(&self) -> bool {
        !self.contained && !self.member.disconnected
    }

    pub(super) fn begin_phase(&mut self) {
        self.called = false;
        self.answer = None;
    }

    /// What it is called for in this phase, if anything.
    pub(super) fn call_in(&self, phase: Phase, flavour: Flavour) -> Option<Call> {
        if self.lost || !self.takes_part() {
            return None;
        }
        let has = |handlers| matches!(self.member.role, Role::Aware(of) if of.contains(handlers));
        let listens = !self.late && !self.unbound;
        let hears = self.told && listens;
        let model = self.member.role == Role::Consumer(Policy::SaveAndRestore);
        match phase {
            Phase::ErrorDetected if has(Handlers::ERROR_DETECTED) && listens => {
                Some(Call::ErrorDetected(flavour.channel()))
            }
            Phase::ErrorDetected if model && listens => Some(Call::Quiesce),
            Phase::MmioEnabled if has(Handlers::MMIO_ENABLED) && hears => Some(Call::MmioEnabled),
            Phase::Unbind(whom) if self.is_unbound_for(whom) => Some(Call::Unbind),
            Phase::Save if model && hears && !self.saved => Some(Call::Save),
            Phase::Probe if self.unbound && !self.member.virtual_function => Some(Call::Probe),
            Phase::ProbeVirtual if self.unbound && self.member.virtual_function => Some(Call::Probe),
            Phase::SlotReset if has(Handlers::SLOT_RESET) && hears => Some(Call::SlotReset),
            Phase::SlotReset if model && hears => Some(Call::Restore),
            Phase::Resume if (has(Handlers::RESUME) || model) && hears => Some(Call::Resume),
            Phase::PermanentFailure if has(Handlers::ERROR_DETECTED) && listens => {
                Some(Call::ErrorDetected(Channel::PermFailure))
            }
            Phase::CorErrorDetected if has(Handlers::COR_ERROR_DETECTED) => Some(Call::CorErrorDetected),
            _ => None,
        }
    }

    /// Whether its driver goes before a reset.
    fn is_unbound_for(&self, whom: Whom) -> bool {
        let can_be_told = match self.member.role {
            // Nobody's driver.
            Role::Unbound | Role::Consumer(_) => return false,
            Role::Unaware => false,
            Role::Aware(handlers) => {
                !self.late && handlers.contains(Handlers::ERROR_DETECTED | Handlers::SLOT_RESET)
            }
        };
        // Without the driver of a bridge, what is below it would go, too.
        !self.unbound && (whom == Whom::Everybody || !(can_be_told || self.member.bridge))
    }

    /// A call has returned.
    pub(super) fn hear(&mut self, call: Call, answer: Answer) {
        self.in_call = None;
        self.answer = Some(answer.counts_as(call));
        let done = answer != Answer::Failed;
        match call {
            Call::ErrorDetected(_) | Call::Quiesce => self.told = true,
            Call::Save => self.saved = done,
            Call::Unbind => self.unbound = done,
            Call::Probe => {
                // Whoever has it now came after the error.
                (self.unbound, self.told, self.late) = (false, false, true);
                if !done {
                    self.member.role = Role::Unbound;
                }
            }
            Call::MmioEnabled | Call::SlotReset | Call::Resume | Call::CorErrorDetected | Call::Restore => {}
        }
    }

    /// A call will not return.
    pub(super) fn lose(&mut self) {
        self.in_call = None;
        self.lost = true;
    }

    /// What it says in this phase, asked or not.
    pub(super) fn vote(&self, phase: Phase, flavour: Flavour) -> Vote {
        match self.answer {
            _ if self.lost => Vote::Disconnect,
            Some(vote) => vote,
            None if phase == Phase::ErrorDetected => self.unasked(flavour),
            None => Vote::None,
        }
    }

    /// What it counts as when nobody can be asked (EEH-12, AER-04).
    fn unasked(&self, flavour: Flavour) -> Vote {
        if self.contained || self.late {
            return Vote::None;
        }
        match flavour {
            Flavour::Aer(_) if self.member.disconnected => Vote::Disconnect,
            _ if self.member.disconnected => Vote::None,
            _ if self.member.role == Role::Consumer(Policy::Notify) => Vote::CanRecover,
            Flavour::Aer(_) if !self.member.bridge => Vote::NoAerDriver,
            Flavour::Aer(_) | Flavour::Eeh => Vote::None,
        }
    }
}

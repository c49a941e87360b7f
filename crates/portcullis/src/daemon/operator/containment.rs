//! Containment, as an operator asks for it: PEs, freezes, recoveries, counters.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use contain::containment::{Ended, PeReport as Pe, Phase, RefusedError, Then};
use contain::pe::{Held, Holder, PeAddress, PeKind, PeState};
use contain::report::Outcome;
use contain::tree::Snapshot;
use gate::{Deadline, ThreadToken};
use pci_core::Errno;
use pci_spec::Bdf;

use super::changes::{micros, refuse};
use super::{DaemonOperator, Target};
use crate::control::containment::{
    EehReport, OrphanEntry, PeChange, PeReport, PeSummary, Recovered, RecoveryEntry,
};
use crate::control::protocol::{Refusal, RefusalCode};
use crate::daemon::containment::outcome;

/// How long a command may wait for a recovery; one that takes longer goes on.
const RECOVERY: Duration = Duration::from_secs(30);
/// How long what clients have mapped may take to follow.
const MAPPINGS: Duration = Duration::from_secs(4);

impl DaemonOperator {
    pub(super) fn pe_list(&self, token: &mut ThreadToken) -> Vec<PeSummary> {
        self.contained.follow(token);
        self.contained.containment.pes(token).iter().map(summary).collect()
    }

    pub(super) fn pe_show(&self, token: &mut ThreadToken, target: &str) -> Result<PeReport, Refusal> {
        let at = self.pe(token, target)?.address();
        let all = self.contained.containment.pes(token);
        let pe = all.iter().find(|pe| pe.address == at).ok_or_else(|| unknown(target))?;
        let children = all.iter().filter(|pe| pe.parent == Some(at)).map(|pe| pe.address.to_string());
        let budget = self.contained.containment.budget();
        Ok(PeReport {
            summary: summary(pe),
            children: children.collect(),
            max_freezes: budget.max_freezes,
            window_s: budget.window.as_secs(),
            holders: pe.holders.iter().map(|(holder, count)| (holder.name().to_owned(), *count)).collect(),
            history: self.history(|ended| ended.pe == at),
        })
    }

    pub(super) fn pe_freeze(&self, token: &mut ThreadToken, target: &str) -> Result<PeChange, Refusal> {
        let start = Instant::now();
        let pe = self.pe(token, target)?;
        let before = pe.state().contains(PeState::ISOLATED);
        let containment = &self.contained.containment;
        containment
            .freeze(token, pe.address(), "an operator asked for it", Then::Stay)
            .map_err(|error| refused(&pe, &error))?;
        Ok(self.changed(token, &pe, "frozen", !before, start))
    }

    pub(super) fn pe_thaw(&self, token: &mut ThreadToken, target: &str) -> Result<PeChange, Refusal> {
        let start = Instant::now();
        let pe = self.pe(token, target)?;
        let containment = &self.contained.containment;
        containment.thaw(token, pe.address()).map_err(|error| refused(&pe, &error))?;
        Ok(self.changed(token, &pe, "thawed", true, start))
    }

    pub(super) fn pe_recover(&self, token: &mut ThreadToken, target: &str) -> Result<Recovered, Refusal> {
        let start = Instant::now();
        let pe = self.pe(token, target)?;
        let containment = &self.contained.containment;
        let id = containment.recover(token, pe.address()).map_err(|error| refused(&pe, &error))?;
        let ended = containment.wait_for(token, id, Deadline::after(RECOVERY));
        let entry = containment.history().into_iter().find(|ended| ended.id == id);
        Ok(Recovered {
            pe: pe.address().to_string(),
            outcome: ended.map_or("under-way", outcome).to_owned(),
            detail: ended.map(detail).unwrap_or_default(),
            resets: entry.as_ref().map_or(0, |ended| ended.resets),
            pause_us: entry.as_ref().map(|ended| whole_micros(ended.pause)),
            took_us: micros(start),
        })
    }

    pub(super) fn eeh(&self, token: &ThreadToken) -> EehReport {
        let containment = &self.contained.containment;
        let budget = containment.budget();
        let under_way = containment.recoveries().into_iter();
        EehReport {
            enabled: containment.is_enabled(),
            recover: containment.recovers(),
            max_freezes: budget.max_freezes,
            window_s: budget.window.as_secs(),
            delay_percent: self.contained.delay_percent,
            pes: containment.tree().snapshot(token).len(),
            statistics: statistics(containment.statistics()),
            under_way: under_way.map(|it| (it.pe.to_string(), phase(&it.phase))).collect(),
            history: self.history(|_| true),
        }
    }

    pub(super) fn orphans(&self) -> Vec<OrphanEntry> {
        let entry = |orphan: contain::orphans::Orphan| OrphanEntry {
            name: format!("PE {}", orphan.address),
            age_ms: u64::try_from(orphan.age.as_millis()).unwrap_or(u64::MAX),
            overdue: orphan.overdue,
            holders: orphan
                .holders
                .iter()
                .map(|(holder, count)| (holder.name().to_owned(), *count))
                .collect(),
        };
        self.contained.containment.orphans().into_iter().map(entry).collect()
    }

    /// The PE that an operator means: by its own name, or by that of a function in it.
    pub(super) fn pe(&self, token: &mut ThreadToken, target: &str) -> Result<Held, Refusal> {
        self.contained.follow(token);
        let tree = self.contained.containment.tree();
        if let Some(address) = pe_address(target) {
            return tree.find(token, address, Holder::Operator).ok_or_else(|| unknown(target));
        }
        let target = self.find(token, target)?;
        let at = target.address();
        if target.node.function.handle().is_gone() {
            return Err(gone(&target));
        }
        let found = tree.of_function(token, at, Holder::Operator);
        found.map(|(pe, _)| pe).ok_or_else(|| unknown(&at.to_string()))
    }

    fn changed(
        &self,
        token: &mut ThreadToken,
        pe: &Held,
        done: &str,
        changed: bool,
        start: Instant,
    ) -> PeChange {
        let snapshot = self.contained.containment.tree().snapshot(token);
        let functions = below(&snapshot, pe.address());
        let machine = self.machine.snapshot(token);
        let deadline = Deadline::after(MAPPINGS);
        let mut followed = true;
        for at in &functions {
            let Some(node) = machine.function(*at) else { continue };
            followed &= node.function.mappings().settle(token, deadline).is_ok();
        }
        PeChange {
            pe: pe.address().to_string(),
            done: done.to_owned(),
            changed,
            functions: functions.iter().map(ToString::to_string).collect(),
            mappings_followed: followed,
            took_us: micros(start),
        }
    }

    fn history(&self, wanted: impl Fn(&Ended) -> bool) -> Vec<RecoveryEntry> {
        let now = self.machine.time.now();
        let entry = |ended: &Ended| RecoveryEntry {
            pe: ended.pe.to_string(),
            sign: ended.sign.map(|sign| sign.to_string()).unwrap_or_default(),
            outcome: outcome(ended.outcome).to_owned(),
            detail: detail(ended.outcome),
            resets: ended.resets,
            pause_us: whole_micros(ended.pause),
            ago_ms: u64::try_from(now.saturating_sub(ended.since + ended.pause).as_millis())
                .unwrap_or(u64::MAX),
        };
        self.contained.containment.history().iter().filter(|ended| wanted(ended)).map(entry).collect()
    }
}

/// `0000:0100` or `0000:phb`; a function's address has a dot.
fn pe_address(text: &str) -> Option<PeAddress> {
    let (segment, number) = text.split_once(':')?;
    let hex = |digits: &str| {
        let sound = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| sound)
    };
    let segment = hex(segment)?;
    if number == "phb" { Some(PeAddress::phb(segment)) } else { Some(PeAddress::new(segment, hex(number)?)) }
}

/// The functions of a PE and of all below it.
fn below(snapshot: &Snapshot, root: PeAddress) -> Vec<Bdf> {
    let pes = snapshot.walk(root);
    pes.flat_map(|visit| {
        let functions = snapshot.functions(visit.pe().address());
        functions.map(|function| function.address).collect::<Vec<_>>()
    })
    .collect()
}

fn summary(pe: &Pe) -> PeSummary {
    let kind = match pe.kind {
        PeKind::Phb => "phb",
        PeKind::Bus => "bus",
        PeKind::Device => "device",
        PeKind::Vf => "vf",
    };
    let state = pe.state.iter_names().map(|(name, _)| name.to_lowercase().replace('_', "-"));
    PeSummary {
        pe: pe.address.to_string(),
        kind: kind.to_owned(),
        parent: pe.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        state: state.collect(),
        functions: pe.functions.iter().map(ToString::to_string).collect(),
        freezes: pe.freezes,
        recovery: pe.incident.as_ref().map(|(_, at)| phase(at)),
    }
}

fn detail(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(doom) => doom.to_string(),
        Outcome::Recovered | Outcome::FrozenAgain | Outcome::Contained | Outcome::Gone => String::new(),
    }
}

fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn unknown(target: &str) -> Refusal {
    let shown: String = target.chars().filter(|c| !c.is_control()).take(64).collect();
    Refusal::new(RefusalCode::NotFound, format!("there is no PE `{shown}`; `portcullis pe` lists them"))
}

fn phase(phase: &Phase) -> String {
    match phase {
        Phase::Due => String::from("about to be recovered"),
        Phase::Waiting => String::from("waits for another recovery"),
        Phase::Recovering(how) => how.clone(),
        Phase::Ended => String::from("its recovery has ended"),
        Phase::Left(_) => String::from("stays frozen until it is thawed or recovered"),
    }
}

fn statistics(counts: contain::containment::Statistics) -> BTreeMap<String, u64> {
    let noticed = counts.noticed;
    let named = [
        ("ignored-while-off", noticed.ignored),
        ("no-pe", noticed.no_pe),
        ("isolated", noticed.isolated),
        ("isolated-already", noticed.already),
        ("queue-overflows", noticed.overflowed),
        ("no-device", counts.no_device),
        ("false-positives", counts.false_positives),
        ("joined", counts.joined),
        ("passed-through", counts.passed_through),
        ("freezes", counts.freezes),
        ("recoveries", counts.recoveries),
        ("recovered", counts.recovered),
        ("failed", counts.failed),
        ("slot-resets", counts.slot_resets),
        ("sweeps", counts.sweeps),
    ];
    named.map(|(name, count)| (name.to_owned(), count)).into()
}

fn refused(pe: &Held, error: &RefusedError) -> Refusal {
    let at = pe.address();
    match error {
        RefusedError::NoPe(_) | RefusedError::NoFunction(_) => refuse(Errno::ENODEV, error),
        RefusedError::NotFrozen(_) => refuse(Errno::EINVAL, error),
        RefusedError::Recovering(_) => {
            refuse(Errno::EBUSY, &format!("{error}; `portcullis pe show {at}` says where that is"))
        }
    }
}

fn gone(target: &Target<'_>) -> Refusal {
    let at = target.address();
    let way_back = target.place.map(|place| {
        let name = &place.name;
        format!("; `portcullis slot power {name} off`, then `on`, brings its card up anew")
    });
    refuse(Errno::ENODEV, &format!("{at} is gone{}", way_back.unwrap_or_default()))
}

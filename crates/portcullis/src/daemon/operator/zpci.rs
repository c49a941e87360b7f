//! The s390 view, as an operator asks for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::zpci::hotplug::{HotplugSlot, OperationError, Recovered};
use ::zpci::{Configuration, Fid, View, Zdev};
use assign::Assignment;
use gate::{Deadline, ThreadToken};
use pci_core::BarIndex;
use topology::Snapshot;

use super::DaemonOperator;
use super::changes::{micros, refuse};
use crate::control::protocol::{Refusal, RefusalCode};
use crate::control::report::OperationReport;
use crate::control::zpci::{ErrorReported, RecoverDone, ZpciBar, ZpciReport, ZpciSummary};
use crate::daemon::zpci::follow_virtual_functions;
use crate::daemon::{Place, Slot};
use crate::inspect;

/// How long a reset may wait for what is in flight. What the hardware needs comes on top.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Version of the reports of errors (ZP-11).
const REPORT_VERSION: u8 = 1;

/// Where a function ID belongs.
struct Standing<'a> {
    slot: &'a Slot,
    place: &'a Arc<Place>,
    hotplug: HotplugSlot,
}

impl DaemonOperator {
    pub(super) fn zpci_list(&self, token: &ThreadToken) -> Vec<ZpciSummary> {
        let snapshot = self.machine.snapshot(token);
        let list = self.zpci.list();
        list.iter().filter_map(|zdev| self.standing(zdev)).map(|it| summary(&it, &snapshot)).collect()
    }

    pub(super) fn zpci_show(&self, token: &ThreadToken, fid: &str) -> Result<ZpciReport, Refusal> {
        let standing = self.by_fid(fid)?;
        let zdev = standing.hotplug.zdev();
        let view = zdev.view();
        let config = view.as_ref().map(|view| view.function().config());
        let bar = |bar: u8| {
            let size = config?.window_size(BarIndex::new(bar)?)?;
            Some(ZpciBar { bar, log2_size: u8::try_from(size.checked_ilog2()?).ok()? })
        };
        let settings = self.zpci.settings();
        let group = settings.groups.iter().find(|group| group.id == zdev.description().group);
        Ok(ZpciReport {
            summary: summary(&standing, &self.machine.snapshot(token)),
            enabled: zdev.handle().is_enabled(),
            max_store: view
                .as_ref()
                .map_or(group.map_or(0, |group| group.max_store), |view| view.max_store()),
            group: zdev.description().group,
            bars: (0..6).filter_map(bar).collect(),
            dma_start: format!("{:#x}", settings.dma.start()),
            dma_end: format!("{:#x}", settings.dma.end()),
        })
    }

    pub(super) fn zpci_power(
        &self,
        fid: &str,
        on: bool,
        timeout_ms: Option<u64>,
    ) -> Result<OperationReport, Refusal> {
        let standing = self.by_fid(fid)?;
        standing.hotplug.check_power(on).map_err(|error| refused(&standing, &error))?;
        self.switch(standing.slot, on, timeout_ms)
    }

    pub(super) fn zpci_reset(&self, token: &mut ThreadToken, fid: &str) -> Result<RecoverDone, Refusal> {
        let standing = self.by_fid(fid)?;
        let start = Instant::now();
        let done = standing.hotplug.reset(token, false, Deadline::after(TIMEOUT));
        done.map_err(|error| refused(&standing, &error))?;
        Ok(self.done(token, &standing, "reset", start))
    }

    pub(super) fn zpci_recover(&self, token: &mut ThreadToken, fid: &str) -> Result<RecoverDone, Refusal> {
        let standing = self.by_fid(fid)?;
        self.recover_standing(token, &standing)
    }

    fn recover_standing(
        &self,
        token: &mut ThreadToken,
        standing: &Standing<'_>,
    ) -> Result<RecoverDone, Refusal> {
        let start = Instant::now();
        let recovered = standing.hotplug.recover(token, Deadline::after(TIMEOUT));
        let outcome = match recovered.map_err(|error| refused(standing, &error))? {
            Recovered::Done { .. } => "recovered",
            Recovered::NotConfigured => "not-configured",
            Recovered::AlreadyRunning => "already-running",
        };
        Ok(self.done(token, standing, outcome, start))
    }

    pub(super) fn zpci_report_error(
        &self,
        fid: &str,
        action: u8,
        data: &str,
    ) -> Result<ErrorReported, Refusal> {
        let standing = self.by_fid(fid)?;
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        let mut report = vec![REPORT_VERSION, action];
        report.extend(length.to_be_bytes());
        report.extend(data.as_bytes());
        standing.hotplug.report_error(0, &report).map_err(|error| refused(&standing, &error))?;
        Ok(ErrorReported { fid: standing.hotplug.name(), action, bytes: data.len() })
    }

    fn done(
        &self,
        token: &mut ThreadToken,
        standing: &Standing<'_>,
        outcome: &str,
        start: Instant,
    ) -> RecoverDone {
        let Standing { place, hotplug, .. } = standing;
        // A reset may have taken virtual functions away.
        follow_virtual_functions(&self.zpci, &self.machine, &place.zdev, place.address, token);
        RecoverDone {
            fid: hotplug.name(),
            outcome: outcome.to_owned(),
            handle: format!("{:08x}", hotplug.zdev().handle().bits()),
            took_us: micros(start),
        }
    }

    fn by_fid(&self, text: &str) -> Result<Standing<'_>, Refusal> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let sound = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let fid = u32::from_str_radix(digits, 16).ok().filter(|_| sound);
        let zdev = fid.and_then(|fid| self.zpci.find(Fid(fid)));
        zdev.and_then(|zdev| self.standing(&zdev)).ok_or_else(|| unknown(text))
    }

    /// Where a function stands; `None` if it has gone meanwhile.
    fn standing(&self, zdev: &Arc<Zdev>) -> Option<Standing<'_>> {
        let of_place = zdev.parent_vfn().map_or(zdev.fid(), |(parent, _)| parent);
        self.slots.iter().find_map(|slot| {
            let hotplug = slot.hotplug.iter().find(|it| it.zdev().fid() == of_place)?;
            let place = slot.places.iter().find(|place| place.zdev.fid() == of_place)?;
            let is_virtual = zdev.fid() != of_place;
            let hotplug = if is_virtual { hotplug.of_virtual(Arc::clone(zdev)) } else { hotplug.clone() };
            Some(Standing { slot, place, hotplug })
        })
    }
}

fn summary(standing: &Standing<'_>, snapshot: &Snapshot) -> ZpciSummary {
    let Standing { place, hotplug, .. } = standing;
    let zdev = hotplug.zdev();
    let view = zdev.view();
    let state = match zdev.configuration() {
        Configuration::Reserved => "reserved",
        Configuration::Standby => "standby",
        Configuration::Configured => "configured",
    };
    let is_virtual = zdev.parent_vfn().is_some();
    // A virtual function knows nothing of where it is, and may have left the topology meanwhile.
    let address = match &view {
        Some(view) if is_virtual => {
            let mut nodes = snapshot.iter();
            let node = nodes.find(|node| Arc::ptr_eq(&node.function, view.function()));
            node.map(|node| node.address)
        }
        _ if is_virtual => None,
        _ => Some(place.address),
    };
    let assignment = place.assignment().filter(|_| !is_virtual);
    ZpciSummary {
        fid: zdev.fid().to_string(),
        uid: if zdev.uid().is_given() { zdev.uid().to_string() } else { String::new() },
        handle: format!("{:08x}", zdev.handle().bits()),
        state: state.to_owned(),
        function: view.as_ref().map(|view| condition(view)).unwrap_or_default().to_owned(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        slot: if is_virtual { String::new() } else { place.name.clone() },
        virtual_function: zdev.parent_vfn().map(|(_, number)| number),
        parent: zdev.parent_vfn().map(|(parent, _)| parent.to_string()),
        io_region: assignment.is_some_and(|assignment| has_io_region(&assignment)),
    }
}

/// It is the last one, if it is there.
fn has_io_region(assignment: &Assignment) -> bool {
    let last = assignment.device_info().regions.saturating_sub(1);
    assignment.region_info(last).is_ok_and(|info| info.fails_when_gone)
}

/// What a function does, in a word.
fn condition(view: &View) -> &'static str {
    match inspect::state_name(view.function().gate().status().state) {
        _ if view.has_failed() => "failed",
        "open" => "works",
        other => other,
    }
}

fn unknown(fid: &str) -> Refusal {
    let shown: String = fid.chars().filter(|c| !c.is_control()).take(64).collect();
    let message = format!("there is no function under `{shown}`; `portcullis zpci` lists them");
    Refusal::new(RefusalCode::NotFound, message)
}

/// What the state of a function does not admit may be admitted later.
fn refused(standing: &Standing<'_>, error: &OperationError) -> Refusal {
    let busy = matches!(
        error,
        OperationError::WrongState { .. }
            | OperationError::Contended
            | OperationError::VirtualFunctions(_)
            | OperationError::Removed
    );
    let (zdev, fid, place) = (standing.hotplug.zdev(), standing.hotplug.name(), &standing.place.name);
    let message = match error {
        OperationError::WrongState(Configuration::Reserved) => {
            format!("there is no card; `portcullis plug {place}` puts one in")
        }
        OperationError::WrongState(Configuration::Standby) => {
            format!("{error}; `portcullis zpci configure {fid}` brings it up")
        }
        OperationError::WrongState(Configuration::Configured) => format!("{error} already"),
        OperationError::VirtualFunctions(count) => {
            format!(
                "{count} virtual functions are switched on; `portcullis numvfs {place} 0` switches them off"
            )
        }
        // `revoke` leaves the card in its slot, and the place configured; who unplugs it is on the way to something else.
        OperationError::Removed
            if zdev.parent_vfn().is_none() && zdev.configuration() == Configuration::Configured =>
        {
            format!(
                "the function is gone; if it was revoked, `portcullis slot power {place} off`, then `on`, brings its card up anew"
            )
        }
        error => error.to_string(),
    };
    let refusal = refuse(error.errno(), &message);
    if busy { Refusal { code: RefusalCode::Busy, ..refusal } } else { refusal }
}

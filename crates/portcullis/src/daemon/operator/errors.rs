//! Errors, as an operator makes them and looks at what was reported: faults of devices, errors on the bus, errors of AER.

use std::collections::BTreeMap;
use std::time::Duration;

use contain::aer::{AerError, AerFile, AerInjection, Reported, names};
use contain::detect::Check;
use contain::inject::ErrorInjection;
use contain::pe::Holder;
use gate::{Deadline, ThreadToken};
use pci_core::{Errno, ErrorSign, InjectError};
use pci_spec::Bdf;
use remote::inject::Kind;

use super::DaemonOperator;
use super::changes::refuse;
use super::containment::unknown;
use crate::control::containment::{AerReport, FaultEntry, Injected};
use crate::control::protocol::Refusal;
use crate::control::stream::Severity;
use crate::events::kinds::containment as kinds;

/// How long a fault may wait for the function's gate.
const INJECTION: Duration = Duration::from_secs(4);

impl DaemonOperator {
    pub(super) fn pe_faults(&self, token: &ThreadToken, target: &str) -> Result<Vec<FaultEntry>, Refusal> {
        let target = self.find(token, target)?;
        let faults = target.node.function.device().faults();
        let entry = |fault: &pci_core::FaultName| FaultEntry {
            fault: fault.name.to_owned(),
            about: fault.what.to_owned(),
        };
        Ok(faults.iter().map(entry).collect())
    }

    /// Gives a function, or a PE, an error: a fault of the device, one on the bus, or one of AER.
    pub(super) fn pe_inject(
        &self,
        token: &mut ThreadToken,
        target: &str,
        fault: &str,
    ) -> Result<Injected, Refusal> {
        self.contained.follow(token);
        let kind = fault.split(':').next().unwrap_or_default();
        if kind.parse::<Kind>().is_ok() {
            let injected = {
                let target = self.find(token, target)?;
                self.inject_rule(token, &target, fault)?
            };
            return Ok(Injected { target: injected, fault: fault.to_owned() });
        }
        if !self.contained.containment.is_enabled() {
            return Err(refuse(Errno::ENXIO, &"containment is switched off: `enabled` of [containment]"));
        }
        let injected = if let Some(name) = fault.strip_prefix("aer:") {
            self.inject_aer(token, target, name)?
        } else if fault.contains(':') {
            self.inject_on_the_bus(token, target, fault)?
        } else {
            let target = self.find(token, target)?;
            let done = target.node.function.inject(token, fault, Deadline::after(INJECTION));
            done.map_err(|error| not_injected(&target.address(), &error))?;
            target.address().to_string()
        };
        Ok(Injected { target: injected, fault: fault.to_owned() })
    }

    /// `TYPE:FUNCTION:ADDRESS:MASK` (EEH-25).
    fn inject_on_the_bus(
        &self,
        token: &mut ThreadToken,
        target: &str,
        fault: &str,
    ) -> Result<String, Refusal> {
        let malformed = || {
            let message = "an error on the bus is TYPE:FUNCTION:ADDRESS:MASK, four hexadecimal numbers, such as 0:0:0:0";
            refuse(Errno::EINVAL, &message)
        };
        let numbers =
            fault.split(':').map(hexadecimal).collect::<Option<Vec<u64>>>().ok_or_else(malformed)?;
        let [width, function, address, mask] = numbers[..] else { return Err(malformed()) };
        let narrow = |number: u64| u32::try_from(number).map_err(|_| malformed());
        let error = ErrorInjection::from_numbers(narrow(width)?, narrow(function)?, address, mask);
        let error = error.map_err(|error| refuse(error.errno(), &error))?;
        let pe = self.pe(token, target)?;
        let containment = &self.contained.containment;
        let snapshot = containment.tree().snapshot(token);
        let functions: Vec<_> = snapshot.functions(pe.address()).cloned().collect();
        let hit = error.hits(&functions).map_err(|error| refuse(error.errno(), &error))?;
        if containment.notice(token, hit.address, ErrorSign::Injected("an error on the bus"))
            == Check::Ignored
        {
            return Err(refuse(Errno::ENODEV, &"the function has just left"));
        }
        containment.turn(token);
        Ok(pe.address().to_string())
    }

    /// `aer:` and the name of an error; an uncorrectable one has the severity that the function gives it.
    fn inject_aer(&self, token: &mut ThreadToken, target: &str, name: &str) -> Result<String, Refusal> {
        let at = self.find(token, target)?.address();
        let corrected = names::CORRECTABLE.iter().find(|(_, known)| *known == name);
        let lost = names::UNCORRECTABLE.iter().find(|(_, known)| *known == name);
        let error = match (corrected, lost) {
            (Some((error, _)), _) => AerError::correctable(*error),
            (None, Some((error, _))) => AerError::uncorrectable(*error, [0; 4]),
            (None, None) => {
                let known: Vec<&str> = names::CORRECTABLE.iter().map(|(_, name)| *name).collect();
                let more = names::UNCORRECTABLE.iter().map(|(_, name)| *name);
                let known = known.into_iter().chain(more).collect::<Vec<_>>().join(", ");
                return Err(refuse(Errno::EINVAL, &format!("there is no such error; there are {known}")));
            }
        };
        let containment = &self.contained.containment;
        let reported = containment.inject_aer(token, &AerInjection { at, error });
        let reported = reported.map_err(|error| refuse(Errno::EINVAL, &format!("{at}: {error}")))?;
        let words = match reported {
            Reported::CardPulled => String::from("the link went down with its card, which is no error"),
            Reported::Masked => format!("{name} is masked"),
            Reported::Error { record, .. } => record.to_string(),
        };
        let place = self
            .places()
            .find(|place| place.address == at)
            .map_or_else(|| at.to_string(), |place| place.name.clone());
        self.journal.slot(&place, kinds::AER, Severity::Warning, words);
        containment.turn(token);
        Ok(at.to_string())
    }

    /// What a function has reported (AER-09).
    pub(super) fn aer(&self, token: &mut ThreadToken, target: &str) -> Result<AerReport, Refusal> {
        self.contained.follow(token);
        let at = self.find(token, target)?.address();
        let containment = &self.contained.containment;
        let found = containment.tree().of_function(token, at, Holder::Operator);
        let (_, function) = found.ok_or_else(|| unknown(target))?;
        let ledger = containment.aer();
        let counters = ledger.counters(function.id);
        let some = |file| {
            let counted = counters.of(file).filter(|(_, count)| *count != 0);
            counted.map(|(name, count)| (name.to_owned(), count)).collect::<BTreeMap<_, _>>()
        };
        let heard = ledger.root_port(function.id);
        let heard =
            [("correctable", heard.correctable), ("nonfatal", heard.non_fatal), ("fatal", heard.fatal)];
        let is_root_port = function.function.config().root_errors().is_some();
        Ok(AerReport {
            address: at.to_string(),
            correctable: some(AerFile::Correctable),
            nonfatal: some(AerFile::NonFatal),
            fatal: some(AerFile::Fatal),
            root_port: is_root_port.then(|| heard.map(|(kind, count)| (kind.to_owned(), count)).into()),
            records: ledger.records(function.id).iter().rev().map(ToString::to_string).collect(),
        })
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let sound = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| sound)
}

fn not_injected(at: &Bdf, error: &InjectError) -> Refusal {
    let message = format!("{at}: {error}");
    match error {
        InjectError::Refused(gate::Refusal::Gone | gate::Refusal::StaleEpoch { .. }) => {
            refuse(Errno::ENODEV, &message)
        }
        InjectError::Refused(_) | InjectError::NotNow(_) => refuse(Errno::EBUSY, &message),
        InjectError::Unknown { .. } => {
            refuse(Errno::EINVAL, &format!("{message}; `portcullis inject {at}` lists them"))
        }
        InjectError::DevicePanicked => refuse(Errno::EIO, &message),
    }
}

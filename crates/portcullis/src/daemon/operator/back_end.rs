//! Back ends of remote functions, and faults by rules, for an operator.

use std::sync::Arc;

use gate::ThreadToken;
use pci_core::Errno;
use remote::Remote;
use remote::inject::{Rule, RuleId};

use super::changes::refuse;
use super::{DaemonOperator, Target};
use crate::control::back_end::{BackEndReport, InjectionEntry, InjectionsCleared};
use crate::control::protocol::Refusal;
use crate::control::stream::Severity;
use crate::daemon::Place;
use crate::events::kinds::back_end as kinds;

impl DaemonOperator {
    pub(super) fn back_ends(&self) -> Vec<BackEndReport> {
        let remote = |place: &Arc<Place>| Some(report(place, &*place.remote()?));
        self.places().filter_map(remote).collect()
    }

    pub(super) fn back_end(&self, token: &ThreadToken, target: &str) -> Result<BackEndReport, Refusal> {
        let (place, remote) = self.remote(token, target)?;
        Ok(report(place, &remote))
    }

    pub(super) fn back_end_retry(&self, token: &ThreadToken, target: &str) -> Result<BackEndReport, Refusal> {
        let (place, remote) = self.remote(token, target)?;
        remote.retry_now();
        Ok(report(place, &remote))
    }

    fn remote(&self, token: &ThreadToken, target: &str) -> Result<(&Arc<Place>, Arc<Remote>), Refusal> {
        let place = self.find(token, target)?.place;
        let found = place.and_then(|place| Some((place, place.remote()?)));
        found.ok_or_else(|| {
            refuse(
                Errno::EINVAL,
                &format!("{target} has no back end; `portcullis backend` lists those that have"),
            )
        })
    }

    /// Gives the function faults by a rule.
    pub(super) fn inject_rule(
        &self,
        token: &mut ThreadToken,
        target: &Target<'_>,
        rule: &str,
    ) -> Result<String, Refusal> {
        let rule: Rule = rule.parse().map_err(|error| refuse(Errno::EINVAL, &error))?;
        let place = self.with_rules(target)?;
        let id = place.inject(token, rule).map_err(|error| refuse(Errno::EBUSY, &error))?;
        let text = format!("an operator injects {rule} (rule {id})");
        self.journal.slot(&place.name, kinds::INJECTED, Severity::Warning, text);
        Ok(target.address().to_string())
    }

    pub(super) fn injected(&self, token: &ThreadToken, target: &str) -> Result<Vec<InjectionEntry>, Refusal> {
        let target = self.find(token, target)?;
        let Some(injections) = self.with_rules(&target)?.injections() else { return Ok(Vec::new()) };
        let entry = |listed: remote::inject::Listed| InjectionEntry {
            id: listed.id.to_string(),
            rule: listed.rule.to_string(),
            hits: listed.hits,
            state: listed.state.to_string(),
            refused: listed.refused.map(|error| error.to_string()).unwrap_or_default(),
        };
        Ok(injections.list().into_iter().map(entry).collect())
    }

    pub(super) fn clear_injected(
        &self,
        token: &mut ThreadToken,
        target: &str,
        id: Option<&str>,
    ) -> Result<InjectionsCleared, Refusal> {
        let target = self.find(token, target)?;
        let place = self.with_rules(&target)?;
        let injections = place.injections();
        let cleared = match id {
            None => injections.map_or(0, |injections| injections.clear(token)),
            Some(text) => {
                let id: Option<RuleId> = text.parse().ok();
                let removed = id.is_some_and(|id| injections.is_some_and(|it| it.remove(token, id)));
                if !removed {
                    let message = format!(
                        "there is no rule {text}; `portcullis inject {} --rules` lists them",
                        place.name
                    );
                    return Err(refuse(Errno::EINVAL, &message));
                }
                1
            }
        };
        if cleared > 0 {
            let text = format!("an operator ended what was injected ({cleared})");
            self.journal.slot(&place.name, kinds::INJECTED, Severity::Info, text);
        }
        Ok(InjectionsCleared { target: target.address().to_string(), cleared })
    }

    fn with_rules<'a>(&self, target: &Target<'a>) -> Result<&'a Arc<Place>, Refusal> {
        target.place.ok_or_else(|| {
            let message = format!("{} stands in no slot; rules are for functions in slots", target.address());
            refuse(Errno::EINVAL, &message)
        })
    }
}

fn report(place: &Place, remote: &Remote) -> BackEndReport {
    let status = remote.status();
    BackEndReport {
        address: place.address.to_string(),
        slot: place.name.clone(),
        upstream: status.upstream.display().to_string(),
        mode: status.mode.name().to_owned(),
        state: status.state.to_string(),
        for_ms: u64::try_from(status.since.as_millis()).unwrap_or(u64::MAX),
        pid: status.pid,
        attempts: status.attempts,
        losses: status.losses,
        last_loss: status.last_loss.map(|loss| loss.to_string()).unwrap_or_default(),
        last_pause_us: status.last_pause.map(|pause| u64::try_from(pause.as_micros()).unwrap_or(u64::MAX)),
        replayed: status.replayed,
        refused: status.refused,
        left_out: status.left_out,
    }
}

//! Nothing stays behind: when the disk is out of every machine, the daemon holds no more than before and waits for nothing.

use super::{COMMAND, Stage};
use crate::guest::GuestError;
use crate::guest::daemon::SLOT;
use crate::guest::deadline::Deadline;
use crate::guest::holdings::Holdings;
use serde_json::{Value, json};
use std::time::Duration;

/// What a thread of the daemon may take to end after the work that it began for.
const ENDS: Duration = Duration::from_secs(20);

/// How often the daemon is looked at for the least that it holds, and how long it is left alone after a look.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// What the daemon held when nobody had anything of the card.
///
/// A card that was used holds more than one that is new: its threads begin and its memory is made when somebody needs them. So
/// like is to be compared with like, and not with a daemon that was just started: a few things are made once, for all cards.
#[derive(Debug)]
pub(in crate::guest::scenarios) struct Before(Holdings);

impl Before {
    /// Counts what the daemon holds now. A thread that answered the last question may not have ended yet, so it is the least
    /// of many looks.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`] when somebody goes on having something, or what counting can give.
    pub(in crate::guest::scenarios) fn count(stage: &Stage<'_, '_>) -> Result<Self, GuestError> {
        let mut least = wait_until_calm(stage, None)?;
        for _ in 0..LOOKS {
            std::thread::sleep(PAUSE);
            least = least.or_less(&holdings(stage)?);
        }
        Ok(Self(least))
    }

    /// Fails unless nobody has anything of the card and the daemon holds no more than it did, or soon does not.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`] with what is left.
    pub(in crate::guest::scenarios) fn expect_no_more(
        &self,
        stage: &mut Stage<'_, '_>,
    ) -> Result<(), GuestError> {
        let after = wait_until_calm(stage, Some(&self.0))?;
        let fact = json!({"machine": stage.name, "before": self.0.json(), "after": after.json()});
        stage.rig.fact("holdings", fact);
        Ok(())
    }
}

fn holdings(stage: &Stage<'_, '_>) -> Result<Holdings, GuestError> {
    stage.rig.holdings()?.ok_or_else(|| GuestError::Check("there is no daemon".into()))
}

/// There is nothing to poll for that, so this looks now and then.
fn wait_until_calm(stage: &Stage<'_, '_>, before: Option<&Holdings>) -> Result<Holdings, GuestError> {
    let deadline = Deadline::after(ENDS);
    loop {
        let slot = stage.operator.run(&["slot", "show", SLOT], COMMAND)?.answer;
        let waits = stage.operator.run(&["locks"], COMMAND)?.answer;
        let now = holdings(stage)?;
        let is_calm = is_idle(&slot) && waits.as_array().is_some_and(Vec::is_empty);
        if is_calm && before.is_none_or(|before| now.is_within(before)) {
            return Ok(now);
        }
        let before = before.map(|before| format!(", before: {before}")).unwrap_or_default();
        deadline.left(&|| format!("nothing to be left{before}, now: {now}; {slot}; waits: {waits}"))?;
        std::thread::sleep(PAUSE);
    }
}

/// Whether nobody has anything of the card or waits for it.
fn is_idle(slot: &Value) -> bool {
    let is_empty = |list: &str| slot[list].as_array().is_some_and(Vec::is_empty);
    let settled = slot["state"] == "on" || slot["state"] == "off";
    settled
        && is_empty("consumers")
        && is_empty("operations")
        && slot["tombstones"] == 0
        && slot["abandoned"] == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_idle_only_with_nobody_at_it() {
        let idle = json!({"state": "on", "consumers": [], "operations": [], "tombstones": 0, "abandoned": 0});
        assert!(is_idle(&idle));
        let busy = [
            ("state", json!("asked")),
            ("consumers", json!(["slot0: process 7"])),
            ("operations", json!([{"id": 1}])),
            ("tombstones", json!(1)),
            ("abandoned", json!(1)),
        ];
        for (field, value) in busy {
            let mut slot = idle.clone();
            slot[field] = value;
            assert!(!is_idle(&slot), "{slot}");
        }
    }
}

//! What a run tells at its end: a table, or one JSON object a line.

use super::rig::Rig;
use super::scenarios::Scenario;
use super::source::{Interrupt, Source};
use serde_json::{Value, json};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// The outcome of one scenario in one interrupt mode.
pub(super) struct Report {
    scenario: Scenario,
    /// Nothing if the mode makes no difference to the scenario.
    irq: Option<Interrupt>,
    source: Source,
    took: Duration,
    facts: Vec<(String, Value)>,
    error: Option<String>,
    logs: Option<PathBuf>,
}

impl Report {
    /// The outcome of a run of `scenario` on `rig`; `error` if it failed.
    pub(super) fn new(scenario: Scenario, rig: &Rig, took: Duration, error: Option<String>) -> Self {
        let irq = rig.subject().has_interrupt_modes().then(|| rig.irq());
        let (source, facts) = (rig.source(), rig.facts().to_vec());
        Self { scenario, irq, source, took, facts, error, logs: None }
    }

    /// Adds where the logs of a failure are.
    pub(super) fn with_logs(self, logs: PathBuf) -> Self {
        Self { logs: Some(logs), ..self }
    }

    /// Whether the scenario passed.
    pub(super) fn passed(&self) -> bool {
        self.error.is_none()
    }

    /// One line of JSON; `irq` only if the mode makes a difference, `facts` only if the scenario found any, `error` and
    /// `logs` only for a failure.
    pub(super) fn json(&self) -> String {
        let mut object = json!({
            "scenario": self.scenario.to_string(),
            "source": self.source.to_string(),
            "passed": self.passed(),
            "seconds": (self.took.as_secs_f64() * 10.0).round() / 10.0,
        });
        if let Some(irq) = self.irq {
            object["irq"] = json!(irq.to_string());
        }
        if !self.facts.is_empty() {
            object["facts"] = self.facts.iter().map(|(name, value)| json!({ name: value })).collect();
        }
        if let Some(error) = &self.error {
            object["error"] = json!(error);
        }
        if let Some(logs) = &self.logs {
            object["logs"] = json!(logs);
        }
        object.to_string()
    }
}

/// All outcomes, one a line, with a head.
pub(super) fn table(reports: &[Report]) -> String {
    let mut text =
        format!("{:<10} {:<6} {:<12} {:>9}  {}\n", "scenario", "irq", "source", "seconds", "result");
    for report in reports {
        // Padding works on strings only.
        let irq = report.irq.map_or_else(|| "-".to_owned(), |irq| irq.to_string());
        let [scenario, source] = [report.scenario.to_string(), report.source.to_string()];
        let result = match &report.error {
            None => "passed".to_owned(),
            Some(error) => format!("FAILED: {}", error.lines().next().unwrap_or_default()),
        };
        let seconds = report.took.as_secs_f64();
        text.push_str(&format!("{scenario:<10} {irq:<6} {source:<12} {seconds:>9.1}  {result}\n"));
    }
    text
}

/// An error and what caused it, in one text.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

//! One measured figure, its limit, and the two ways it is printed.

use serde::Serialize;

/// Which way is better.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// One line of a benchmark's result.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) figure: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) limit: f64,
    pub(crate) better: Better,
    /// The raw figures behind the ratio, in `raw_unit`.
    pub(crate) ours: f64,
    pub(crate) floor: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<f64>,
    pub(crate) raw_unit: &'static str,
    /// What `peer` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_is: Option<&'static str>,
}

impl Figure {
    /// Whether the figure keeps its limit.
    pub(crate) fn holds(&self) -> bool {
        match self.better {
            Better::Lower => self.value <= self.limit,
            Better::Higher => self.value >= self.limit,
        }
    }
}

fn rounded(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

/// Prints the figures as JSON lines or as a table. A missed limit is marked, never hidden.
pub(crate) fn print(figures: &[Figure], json: bool) {
    if !json && !figures.is_empty() {
        println!(
            "{:<22} {:>9} {:<8} {:>7}   {:>12} {:>12} {:>12}  unit",
            "figure", "value", "", "limit", "ours", "floor", "peer"
        );
    }
    for f in figures {
        if json {
            let line = Figure {
                value: rounded(f.value),
                ours: rounded(f.ours),
                floor: rounded(f.floor),
                peer: f.peer.map(rounded),
                ..*f
            };
            match serde_json::to_string(&line) {
                Ok(text) => println!("{text}"),
                Err(error) => eprintln!("bench: {} cannot be printed: {error}", f.figure),
            }
            continue;
        }
        let peer = f.peer.map_or_else(|| "-".to_owned(), |p| format!("{p:.3}"));
        let mark = if f.holds() { "" } else { "  MISSED" };
        println!(
            "{:<22} {:>9.3} {:<8} {:>7}   {:>12.3} {:>12.3} {:>12}  {}{mark}",
            f.figure, f.value, f.unit, f.limit, f.ours, f.floor, peer, f.raw_unit
        );
    }
}

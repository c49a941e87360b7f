//! Answers as text for people. Programs use `--json`.

use std::fmt::Write;

use super::exit::{Exit, Failure};
use crate::config::size::{describe_size, format_size};
use crate::control::report::{
    ConfigReport, Dump, EventEntry, FunctionReport, FunctionSummary, GateReport, ResetDone, SlotSummary,
};

/// Columns as wide as their widest cell, two spaces apart; the last is not padded.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut lines = vec![head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows);
    let width =
        |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn functions(list: &[FunctionSummary]) -> String {
    let row = |f: &FunctionSummary| {
        let client = if f.attached { "attached" } else { "-" };
        vec![
            f.address.clone(),
            f.slot.clone(),
            f.model.clone(),
            f.state.clone(),
            client.to_owned(),
            f.socket.clone(),
        ]
    };
    table(&["ADDRESS", "SLOT", "MODEL", "STATE", "CLIENT", "SOCKET"], list.iter().map(row).collect())
}

pub(super) fn slots(list: &[SlotSummary]) -> String {
    let row = |s: &SlotSummary| {
        let path = s.path.clone().unwrap_or_else(|| String::from("-"));
        vec![s.slot.clone(), s.address.clone(), s.model.clone(), s.backing.clone(), format_size(s.size), path]
    };
    table(&["SLOT", "ADDRESS", "MODEL", "BACKING", "SIZE", "PATH"], list.iter().map(row).collect())
}

pub(super) fn events(list: &[EventEntry]) -> String {
    let row = |e: &EventEntry| vec![clock(e.at_ms), e.function.clone(), e.kind.clone(), e.text.clone()];
    table(&["TIME (UTC)", "FUNCTION", "KIND", "EVENT"], list.iter().map(row).collect())
}

pub(super) fn reset(done: &ResetDone) -> String {
    format!("{} reset in {} us\n", done.address, done.took_us)
}

pub(super) fn function(report: &FunctionReport) -> String {
    let s = &report.summary;
    let client = if s.attached { "attached" } else { "none" };
    let mut fields = vec![
        ("slot", s.slot.clone()),
        ("model", s.model.clone()),
        ("socket", s.socket.clone()),
        ("client", client.to_owned()),
        ("dma", format!("{} mappings, {}", report.dma.mappings, describe_size(report.dma.bytes))),
        ("interrupts", interrupts(report)),
    ];
    fields.extend(gate(&report.gate));
    match &report.config {
        Some(config) => fields.extend(configuration(config)),
        None => fields.push(("config", "not readable: the gate does not let the read in".into())),
    }
    let mut text = format!("{} {}\n", s.address, s.class);
    for (name, value) in &fields {
        let _ = writeln!(text, "  {name:<14}{value}");
    }
    if !report.device.is_empty() {
        text.push_str("  device\n");
        let width = report.device.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
        for (name, value) in &report.device {
            let _ = writeln!(text, "    {name:<width$}{value}");
        }
    }
    text
}

fn interrupts(report: &FunctionReport) -> String {
    let i = &report.interrupts;
    let offered: Vec<String> = i.offered.iter().map(|(kind, vectors)| format!("{kind} x{vectors}")).collect();
    let enabled = i.enabled.as_deref().unwrap_or("none");
    format!("{enabled} enabled, {} offered, {} dropped", offered.join(" "), i.dropped)
}

fn gate(gate: &GateReport) -> Vec<(&'static str, String)> {
    let reason = gate.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let (state, since, epoch) = (&gate.state, gate.since_ms, gate.epoch);
    let (waiting, refused) = (gate.waiting, gate.refused);
    let line = format!("{state}{reason} for {since} ms, epoch {epoch}, {waiting} waiting, {refused} refused");
    let mut fields = vec![("gate", line)];
    fields.extend(gate.inside.iter().map(|inside| {
        let age = inside.age_ms.map(|age| format!(" for {age} ms")).unwrap_or_default();
        ("inside", format!("{}{age}", inside.what))
    }));
    fields
}

fn configuration(config: &ConfigReport) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("ids", format!("{}:{} rev {}", config.vendor, config.device, config.revision)),
        ("subsystem", format!("{}:{}", config.subsystem_vendor, config.subsystem)),
        ("class", format!("{} {}", config.class, config.class_name)),
        ("command", if config.command.is_empty() { String::from("-") } else { config.command.join(" ") }),
    ];
    fields.extend(config.power.clone().map(|power| ("power", power)));
    fields.extend(
        config.bars.iter().map(|bar| {
            ("bar", format!("{} {} {} at {}", bar.index, bar.kind, format_size(bar.size), bar.base))
        }),
    );
    fields.extend(config.capabilities.iter().map(|c| ("capability", format!("{} {}", c.offset, c.name))));
    fields
}

/// In the form that `lspci -F` reads.
pub(super) fn dumps(dumps: &[Dump]) -> Result<String, Failure> {
    let mut text = String::new();
    for dump in dumps {
        let unreadable =
            || Failure::new(Exit::Failed, format!("the daemon's dump of {} is not readable", dump.address));
        let bytes = bytes_of(&dump.bytes).ok_or_else(unreadable)?;
        pci_core::dump::write_function(&mut text, &dump.address, &dump.title, &bytes)
            .map_err(|_| unreadable())?;
    }
    Ok(text)
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Time of day in UTC with milliseconds, and the date.
fn clock(at_ms: u64) -> String {
    let (days, ms) = (at_ms / 86_400_000, at_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}", ms % 1000)
}

/// The date `days` after 1970-01-01, by stepping over whole 400-year, then single years and months.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970 + 400 * (days / DAYS_IN_400_YEARS);
    let mut left = days % DAYS_IN_400_YEARS;
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = table(&["A", "B"], vec![vec!["long".into(), "x".into()], vec!["s".into(), String::new()]]);
        assert_eq!(text, "A     B\nlong  x\ns\n");
    }

    #[test]
    fn times_are_dates_in_utc() {
        assert_eq!(clock(0), "1970-01-01 00:00:00.000");
        assert_eq!(clock(951_782_400_123), "2000-02-29 00:00:00.123");
        assert_eq!(clock(1_795_132_799_999), "2026-11-19 23:59:59.999");
        assert_eq!(clock(4_107_542_400_000), "2100-03-01 00:00:00.000");
        assert!(!clock(u64::MAX).is_empty());
    }

    #[test]
    fn a_dump_is_hexadecimal_or_refused() {
        assert_eq!(bytes_of("00ffA1"), Some(vec![0, 0xff, 0xa1]));
        for bad in ["0", "0g", "+1", "é"] {
            assert_eq!(bytes_of(bad), None, "{bad}");
        }
    }
}

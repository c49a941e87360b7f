//! Answers as text for people. Programs use `--json`.

use std::fmt::Write;

use super::exit::{Exit, Failure};
use crate::config::size::{describe_size, format_size};
use crate::control::report::{
    AdmissionChange, ConfigReport, Dump, FunctionReport, FunctionSummary, GateReport, InterruptReport,
    LockEntry, MappingLine, OperationReport, PowerReport, RegisterReport, ResetDone, ResetMethodReport,
    ResetMethods, SlotReport, SlotSummary, VirtualFunctions, VmReport,
};

/// Columns as wide as their widest cell, two spaces apart; the last is not padded.
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
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
            or_dash(&f.slot),
            f.model.clone(),
            f.state.clone(),
            or_dash(&f.power),
            client.to_owned(),
            or_dash(&f.socket),
        ]
    };
    table(&["ADDRESS", "SLOT", "MODEL", "STATE", "POWER", "CLIENT", "SOCKET"], list.iter().map(row).collect())
}

pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { String::from("-") } else { text.to_owned() }
}

pub(super) fn slots(list: &[SlotSummary]) -> String {
    let row = |s: &SlotSummary| {
        let path = s.path.clone().unwrap_or_else(|| String::from("-"));
        let size = if s.size == 0 { String::from("-") } else { format_size(s.size) };
        vec![
            s.slot.clone(),
            s.address.clone(),
            s.state.clone(),
            or_dash(&s.model),
            s.backing.clone(),
            size,
            or_dash(&s.consumer),
            path,
        ]
    };
    let head = ["SLOT", "ADDRESS", "STATE", "MODEL", "BACKING", "SIZE", "CONSUMER", "PATH"];
    table(&head, list.iter().map(row).collect())
}

pub(super) fn slot(report: &SlotReport) -> String {
    let yes = |is: bool| String::from(if is { "yes" } else { "no" });
    let mut fields = vec![
        ("state", format!("{}: {}", report.state, report.detail)),
        ("card", if report.card { "in the slot".into() } else { String::from("none") }),
        ("link", if report.link { "up".into() } else { String::from("down") }),
    ];
    if let Some(open) = report.latch_open {
        fields.push(("latch", String::from(if open { "open" } else { "closed" })));
    }
    fields.extend([
        ("button", yes(report.attention_button)),
        ("power fault", yes(report.power_fault)),
        ("lamps", format!("power {}, attention {}", report.power_lamp, report.attention_lamp)),
    ]);
    for consumer in &report.consumers {
        fields.push(("consumer", consumer.clone()));
    }
    if report.tombstones > 0 {
        fields.push(("left over", format!("{} clients of earlier cards", report.tombstones)));
    }
    if report.abandoned > 0 {
        fields.push(("abandoned", format!("{} callbacks that have not come back", report.abandoned)));
    }
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("{}\n", report.slot);
    for (name, value) in fields {
        let _ = writeln!(text, "  {name:<width$}  {value}");
    }
    text.push('\n');
    text.push_str(&slots(&report.functions));
    if !report.operations.is_empty() {
        text.push('\n');
        text.push_str(&operations(&report.operations));
    }
    text
}

pub(super) fn operations(list: &[OperationReport]) -> String {
    let row = |o: &OperationReport| {
        let state = o.finished.clone().unwrap_or_else(|| String::from("under way"));
        vec![
            o.id.to_string(),
            o.slot.clone(),
            o.request.clone(),
            state,
            duration(o.took_us),
            o.detail.clone(),
        ]
    };
    table(&["N", "SLOT", "REQUEST", "STATE", "TIME", "DETAIL"], list.iter().map(row).collect())
}

pub(super) fn operation(o: &OperationReport) -> String {
    let took = duration(o.took_us);
    match o.finished.as_deref() {
        None => format!("{} {}: under way as operation {}: {}\n", o.request, o.slot, o.id, o.detail),
        Some("done") => format!("{} {}: {} in {took}\n", o.request, o.slot, o.detail),
        Some(_) => format!("{} {}: {} (after {took})\n", o.request, o.slot, o.detail),
    }
}

pub(super) fn vms(list: &[VmReport]) -> String {
    let row = |v: &VmReport| vec![v.vm.clone(), v.state.clone(), or_dash(&v.slots.join(", ")), v.qmp.clone()];
    table(&["VM", "STATE", "SLOTS", "MONITOR"], list.iter().map(row).collect())
}

pub(super) fn locks(list: &[LockEntry]) -> String {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| String::from("-"));
    let row = |l: &LockEntry| {
        let held_by = if l.held_by.is_empty() { String::from("-") } else { l.held_by.join("; ") };
        vec![
            or_dash(&l.thread),
            l.operation.clone(),
            or_dash(&l.function),
            l.since_ms.map_or_else(|| String::from("-"), |ms| ms.to_string()),
            or_dash(&l.waits_for),
            held_by,
        ]
    };
    table(&["THREAD", "OPERATION", "FUNCTION", "MS", "WAITS FOR", "HELD BY"], list.iter().map(row).collect())
}

pub(super) fn reset(done: &ResetDone) -> String {
    let mut text = format!("{} reset by {} in {}\n", done.address, done.method, duration(done.took_us));
    if done.not_restored > 0 {
        let _ = writeln!(text, "{} registers could not be restored; see the events", done.not_restored);
    }
    text
}

pub(super) fn reset_methods(report: &ResetMethods) -> String {
    let row = |m: &ResetMethodReport| {
        let place = report.in_use.iter().position(|name| *name == m.method);
        let use_ = match (&m.unsupported, place) {
            (Some(why), _) => format!("no: {why}"),
            (None, Some(place)) => format!("in use, number {}", place + 1),
            (None, None) => String::from("not in use"),
        };
        vec![m.method.clone(), use_]
    };
    let mut text = table(&["METHOD", report.address.as_str()], report.methods.iter().map(row).collect());
    if report.in_use.is_empty() {
        text.push_str("no method is in use, so the function cannot be reset\n");
    }
    if let Some(warning) = &report.warning {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

pub(super) fn power(report: &PowerReport) -> String {
    let took = report.took_us.map(|took| format!(" after {}", duration(took))).unwrap_or_default();
    format!("{} {}{took}\n", report.address, report.state)
}

pub(super) fn admission(change: &AdmissionChange, done: &str) -> String {
    let mut text = if change.changed {
        format!("{} {done} in {}\n", change.address, duration(change.took_us))
    } else {
        format!("{} was {done} already\n", change.address)
    };
    if change.state != expected_state(done) {
        let _ = writeln!(text, "its gate is {} by now", change.state);
    }
    for inside in &change.still_inside {
        let _ = writeln!(text, "still inside, cut off: {inside}");
    }
    if !change.mappings_followed {
        text.push_str("what its client has mapped does not show it yet; it will\n");
    }
    text
}

fn expected_state(done: &str) -> &str {
    match done {
        "thawed" => "open",
        "revoked" => "gone",
        frozen => frozen,
    }
}

pub(super) fn virtual_functions(report: &VirtualFunctions) -> String {
    let mut text =
        format!("{} has {} of {} virtual functions\n", report.address, report.functions.len(), report.total);
    report.functions.iter().for_each(|function| text.extend([function.as_str(), "\n"]));
    text
}

/// A time in the unit that suits it.
pub(super) fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us / 100 % 10),
        _ => format!("{}.{:02} s", us / 1_000_000, us / 10_000 % 100),
    }
}

/// The value alone, as setpci prints it.
pub(super) fn register(report: &RegisterReport) -> String {
    match &report.written {
        Some(written) if *written != report.value => {
            format!("{} (written: {written})\n", report.value)
        }
        _ => format!("{}\n", report.value),
    }
}

pub(super) fn function(report: &FunctionReport) -> String {
    let s = &report.summary;
    let mut fields = vec![("model", s.model.clone())];
    if !s.slot.is_empty() {
        let client = if s.attached { "attached" } else { "none" };
        fields.extend([
            ("slot", s.slot.clone()),
            ("socket", s.socket.clone()),
            ("client", client.to_owned()),
        ]);
    }
    if let Some(dma) = &report.dma {
        fields.push(("dma", format!("{} mappings, {}", dma.mappings, describe_size(dma.bytes))));
    }
    fields.extend(report.mappings.iter().map(|line| ("mapping", mapping(line))));
    fields.extend(report.interrupts.as_ref().map(|report| ("interrupts", interrupts(report))));
    fields.extend(gate(&report.gate));
    match &report.config {
        Some(config) => fields.extend(configuration(config)),
        None => fields.extend([("power", s.power.clone()), ("config", unreadable(report))]),
    }
    let class = if s.class.is_empty() { "without power" } else { &s.class };
    let mut text = format!("{} {class}\n", s.address);
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

/// Why nothing is known of the configuration space, and what helps.
fn unreadable(report: &FunctionReport) -> String {
    let FunctionReport { summary, gate, .. } = report;
    match (summary.class.is_empty(), gate.state.as_str()) {
        (true, _) => format!("not readable without power: `portcullis power {} D0`", summary.address),
        (false, "frozen") => {
            let at = &summary.address;
            format!(
                "not readable while it is frozen: `portcullis thaw {at}` or `portcullis reset {at}` ends that"
            )
        }
        (false, "gone") => {
            String::from("not readable: the function is gone until its slot is switched off and on")
        }
        (false, "open") => String::from("not readable: nothing answers at its address"),
        (false, state) => format!("not readable while its gate is {state}: `portcullis locks` says why"),
    }
}

fn mapping(m: &MappingLine) -> String {
    let place = match m.region {
        6 => String::from("ROM"),
        bar @ 0..6 => format!("BAR {bar}"),
        own => format!("region {own}"),
    };
    let zaps = if m.shared { "hidden" } else { "zapped" };
    let faults = if m.shared { String::new() } else { format!(", {} faults", m.faults) };
    let waiting = if m.waiting { ", accesses wait" } else { "" };
    let (owner, size, state) = (&m.owner, format_size(m.size), &m.state);
    format!("{owner}: {place} {:#x}+{size}, {state}{faults}, {zaps} {} times{waiting}", m.offset, m.zaps)
}

fn interrupts(i: &InterruptReport) -> String {
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
    let behind = match config.buses {
        Some((above, below, last)) => {
            ("buses", format!("{above:02x} above, {below:02x} to {last:02x} below"))
        }
        None => ("subsystem", format!("{}:{}", config.subsystem_vendor, config.subsystem)),
    };
    let mut fields = vec![
        ("ids", format!("{}:{} rev {}", config.vendor, config.device, config.revision)),
        behind,
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
pub(super) fn clock(at_ms: u64) -> String {
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
    fn a_time_has_the_unit_that_suits_it() {
        for (us, text) in
            [(0, "0 us"), (999, "999 us"), (1_050, "1.0 ms"), (122_507, "122.5 ms"), (1_102_506, "1.10 s")]
        {
            assert_eq!(duration(us), text);
        }
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

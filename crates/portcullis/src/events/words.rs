//! The events of functions in words.

use assign::Event;

use super::kept::Source;
use super::kinds::function as kind;
use crate::config::size::format_size;
use crate::control::stream::Severity;

/// What is told of an event.
pub(super) struct Words {
    pub(super) kind: &'static str,
    pub(super) source: Source,
    pub(super) severity: Severity,
    pub(super) text: String,
}

fn well(kind: &'static str, text: impl Into<String>) -> Words {
    Words { kind, source: Source::Consumer, severity: Severity::Info, text: text.into() }
}

fn bad(kind: &'static str, text: impl Into<String>) -> Words {
    Words { severity: Severity::Warning, ..well(kind, text) }
}

/// An event in words.
pub(super) fn words(event: &Event) -> Words {
    match event {
        Event::ClientAttached => well(kind::CLIENT_ATTACHED, "a client attached"),
        Event::AttachRefused { reason } => {
            bad(kind::ATTACH_REFUSED, format!("a client was sent away: {reason}"))
        }
        Event::ClientDetached { orphans: 0 } => well(kind::CLIENT_DETACHED, "the client left"),
        Event::ClientDetached { orphans } => {
            bad(kind::CLIENT_DETACHED, format!("the client left; DMA still holds {orphans} of its mappings"))
        }
        Event::DmaUnmapTimedOut { iova, size, in_flight } => bad(
            kind::DMA_UNMAP_TIMED_OUT,
            format!(
                "unmapping {size} bytes at {iova:#x} failed, since {in_flight} accesses did not end; \
                 the client may already reuse that memory, so the function was frozen"
            ),
        ),
        Event::DmaOrphaned { iova, size, held } => bad(
            kind::DMA_ORPHANED,
            format!("the mapping of {size} bytes at {iova:#x} is gone, but {held} accesses still hold it"),
        ),
        Event::Frozen { reason } => bad(kind::FROZEN, format!("frozen: {reason}")),
        Event::Reset { reason } => well(kind::RESET, format!("reset: {reason}")),
        Event::NotReset { detail } => bad(kind::NOT_RESET, format!("not reset: {detail}")),
        Event::PowerChanged { from, to } => well(kind::POWER, format!("power state {from} to {to}")),
        Event::PowerNotChanged { detail } => bad(kind::POWER, format!("power state not changed: {detail}")),
        Event::Operator { detail } => {
            Words { source: Source::Operator, ..well(kind::OPERATOR, format!("by an operator: {detail}")) }
        }
        Event::Notice { detail } => bad(kind::NOTICE, detail.clone()),
        Event::NotShared { region, bytes, detail } => bad(
            kind::NOT_SHARED,
            format!(
                "{} of region {region} are served by messages instead of being mapped: {detail}",
                format_size(*bytes)
            ),
        ),
        Event::DeviceFault { detail } => bad(kind::DEVICE_FAULT, format!("device fault: {detail}")),
        other => bad(kind::OTHER, format!("{other:?}")),
    }
}

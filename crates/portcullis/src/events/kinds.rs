//! The kinds of events, for programs: a promise, so they are added and never renamed. `docs/operations.md` says what each
//! means; a test compares the two.

/// Constants in a module, and a list of them.
macro_rules! kinds {
    ($($(#[$about:meta])* pub mod $module:ident { $($(#[$doc:meta])* $name:ident = $kind:literal;)* })*) => {
        $(
            $(#[$about])*
            pub mod $module {
                $($(#[$doc])* pub const $name: &str = $kind;)*
                /// All of them.
                pub const ALL: &[&str] = &[$($name),*];
            }
        )*
        const ALL: &[&[&str]] = &[$($module::ALL),*];
    };
}

kinds! {
    /// Kinds of a function's events.
    pub mod function {
        /// A client attached.
        CLIENT_ATTACHED = "client-attached";
        /// A client was sent away.
        ATTACH_REFUSED = "attach-refused";
        /// The client left.
        CLIENT_DETACHED = "client-detached";
        /// Memory was unmapped while it was in use.
        DMA_UNMAP_TIMED_OUT = "dma-unmap-timed-out";
        /// A mapping is gone, but accesses still hold it.
        DMA_ORPHANED = "dma-orphaned";
        /// The function was frozen.
        FROZEN = "frozen";
        /// The function was reset.
        RESET = "reset";
        /// A reset was asked for and not done.
        NOT_RESET = "not-reset";
        /// The power state changed, or was to and did not.
        POWER = "power";
        /// An operator did something.
        OPERATOR = "operator";
        /// Something on the way that is worth knowing.
        NOTICE = "notice";
        /// Memory of the device is served by messages.
        NOT_SHARED = "not-shared";
        /// The device found itself broken.
        DEVICE_FAULT = "device-fault";
        /// Anything else.
        OTHER = "other";
    }

    /// Kinds of a slot's events.
    pub mod slot {
        /// The attention button was pressed.
        BUTTON = "button";
        /// A card was put in, or taken out.
        CARD = "card";
        /// The link came up, or went down.
        LINK = "link";
        /// The latch was opened, or closed.
        LATCH = "latch";
        /// The slot's power failed.
        POWER_FAULT = "power-fault";
        /// A card is up: its functions can be reached.
        PLUGGED = "plugged";
        /// A card did not come up.
        NOT_PLUGGED = "not-plugged";
        /// The consumers are asked to let go.
        UNPLUG_REQUESTED = "unplug-requested";
        /// They are asked again.
        UNPLUG_REMINDED = "unplug-reminded";
        /// The unplug was called off, and the consumers may stay.
        UNPLUG_KEPT = "unplug-kept";
        /// The consumers have let go.
        RELEASED = "released";
        /// Everything is being taken from the consumers.
        REVOKING = "revoking";
        /// Nothing reaches the card any more.
        REVOKED = "revoked";
        /// The card's functions are out of the topology.
        REMOVED = "removed";
        /// The slot is off.
        OFF = "off";
        /// An operation that somebody asked for has begun.
        OPERATION_STARTED = "operation-started";
        /// It has ended.
        OPERATION_ENDED = "operation-ended";
        /// Something is gone, but still in use.
        ORPHAN = "orphan";
        /// A driver's callback did not return in time.
        CALLBACK_HUNG = "callback-hung";
        /// A driver's callback panicked.
        CALLBACK_PANICKED = "callback-panicked";
        /// A driver's callback failed.
        CALLBACK_FAILED = "callback-failed";
    }

    /// Kinds of a PE's events, told of its slot or function.
    pub mod containment {
        /// Nothing gets in or out any more.
        FROZEN = "pe-frozen";
        /// Everything does again.
        THAWED = "pe-thawed";
        /// A recovery has begun.
        RECOVERY_STARTED = "recovery-started";
        /// What a recovery does.
        RECOVERY_STEP = "recovery-step";
        /// A recovery has ended.
        RECOVERY_ENDED = "recovery-ended";
        /// A function's `ERROR_EVENT`.
        ERROR_EVENT = "error-event";
        /// There is no way back.
        FAILED = "pe-failed";
        /// An error that AER reports.
        AER = "aer";
        /// Something that was removed is still held.
        ORPHAN = "pe-orphan";
        /// Two functions have the same address in their BARs.
        BAR_OVERLAP = "bar-overlap";
    }

    /// Kinds of a remote function's events.
    pub mod back_end {
        /// The back end died, hangs, or answered nonsense.
        LOST = "back-end-lost";
        /// Whether what it may still have in flight is over.
        FENCED = "back-end-fenced";
        /// The command that starts it again runs.
        RESTARTED = "back-end-restarted";
        /// A back end is there again, and everything goes on.
        RETURNED = "back-end-returned";
        /// A back end is there that is not what the last one was.
        DIFFERS = "back-end-differs";
        /// There is no way back.
        FAILED = "back-end-failed";
        /// A fault is injected, or no longer.
        INJECTED = "injected";
    }

    /// Kinds of a slot's events in the s390 view.
    pub mod zpci {
        /// An availability event.
        AVAILABILITY = "zpci-availability";
        /// An error event.
        ERROR = "zpci-error";
        /// A function has another handle.
        HANDLE = "zpci-handle";
    }

    /// Kinds of a virtual machine's events.
    pub mod vm {
        /// It is known from now on.
        ADDED = "vm-added";
        /// It is not known any more.
        FORGOTTEN = "vm-forgotten";
        /// Its monitor does not answer.
        UNREACHABLE = "vm-unreachable";
        /// It has a function.
        DEVICE_PLUGGED = "device-plugged";
        /// It did not take a function.
        DEVICE_NOT_PLUGGED = "device-not-plugged";
        /// Its guest is asked to let a function go, or has answered.
        DEVICE_ASKED = "device-asked";
        /// It has not let a function go in time.
        DEVICE_NOT_UNPLUGGED = "device-not-unplugged";
        /// It has let a function go.
        DEVICE_UNPLUGGED = "device-unplugged";
        /// Its guest refuses to let a function go.
        GUEST_REFUSED = "guest-refused";
    }
}

/// Whether there is such a kind.
pub fn is_known(kind: &str) -> bool {
    ALL.iter().any(|kinds| kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The kinds in the first column of the table under "## Events".
    fn documented() -> BTreeSet<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
        let text = std::fs::read_to_string(path).unwrap();
        let section = text.split("\n## ").find(|section| section.starts_with("Events\n")).unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.map(|line| line.trim_start_matches("| ").split(" | ").next().unwrap());
        cells.flat_map(|cell| cell.split(", ").map(|kind| kind.trim_matches('`').to_owned())).collect()
    }

    #[test]
    fn the_documented_kinds_are_the_kinds_that_there_are() {
        let all: Vec<String> = ALL.concat().into_iter().map(str::to_owned).collect();
        let known: BTreeSet<String> = all.iter().cloned().collect();
        assert_eq!(known.len(), all.len(), "twice the same");
        assert_eq!(known, documented());
    }
}

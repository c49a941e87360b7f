//! Errors that are not simply a frozen PE (EEH-22).

use crate::report::Doom;

/// What the platform reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialEvent {
    /// Nothing.
    None,
    /// Something that needs nobody.
    Informational,
    /// A PE is frozen.
    FrozenPe,
    /// A host bridge has fenced itself off.
    FencedHostBridge,
    /// A host bridge is dead.
    DeadHostBridge,
    /// The whole I/O is dead.
    DeadIoc,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Nothing.
    Ignore,
    /// It is written down.
    Log,
    /// The PE is recovered.
    Recover,
    /// The PE of the host bridge is.
    RecoverHostBridge,
    /// The host bridge's PE is beyond recovery; a recovery under way below it is told so with
    /// [`Event::Doomed`](super::Event::Doomed).
    GiveUpHostBridge(Doom),
    /// The PEs of all host bridges are.
    GiveUpAll(Doom),
}

impl SpecialEvent {
    /// What is done about it.
    #[must_use]
    pub const fn response(self) -> Response {
        match self {
            SpecialEvent::None => Response::Ignore,
            SpecialEvent::Informational => Response::Log,
            SpecialEvent::FrozenPe => Response::Recover,
            SpecialEvent::FencedHostBridge => Response::RecoverHostBridge,
            SpecialEvent::DeadHostBridge => Response::GiveUpHostBridge(Doom::HostBridgeDead),
            SpecialEvent::DeadIoc => Response::GiveUpAll(Doom::PlatformDead),
        }
    }

    /// Whether an event that was queued before this one means nothing any more.
    #[must_use]
    pub const fn supersedes(self, same_host_bridge: bool) -> bool {
        match self {
            SpecialEvent::None | SpecialEvent::Informational | SpecialEvent::FrozenPe => false,
            SpecialEvent::FencedHostBridge | SpecialEvent::DeadHostBridge => same_host_bridge,
            SpecialEvent::DeadIoc => true,
        }
    }
}

//! What the platform says, and special events.

use contain::plan::{PlatformState, Response, SpecialEvent};
use contain::report::Doom;

const ALL: [SpecialEvent; 6] = [
    SpecialEvent::None,
    SpecialEvent::Informational,
    SpecialEvent::FrozenPe,
    SpecialEvent::FencedHostBridge,
    SpecialEvent::DeadHostBridge,
    SpecialEvent::DeadIoc,
];

#[test]
fn active_is_mmio_and_dma_and_no_reset_eeh_03() {
    for bits in 0..0x80 {
        let state = PlatformState::from_bits(bits).unwrap();
        let active = bits & 0x08 != 0 && bits & 0x10 != 0 && bits & 0x04 == 0;
        assert_eq!(state.is_active(), active, "{bits:#x}");
    }
}

#[test]
fn the_dead_are_given_up_and_the_fenced_and_frozen_recovered_eeh_22() {
    let responses = [
        Response::Ignore,
        Response::Log,
        Response::Recover,
        Response::RecoverHostBridge,
        Response::GiveUpHostBridge(Doom::HostBridgeDead),
        Response::GiveUpAll(Doom::PlatformDead),
    ];
    assert_eq!(ALL.map(SpecialEvent::response), responses);
}

#[test]
fn what_a_host_bridge_reports_supersedes_what_was_queued_for_it_eeh_22() {
    assert_eq!(ALL.map(|event| event.supersedes(true)), [false, false, false, true, true, true]);
    assert_eq!(ALL.map(|event| event.supersedes(false)), [false, false, false, false, false, true]);
}

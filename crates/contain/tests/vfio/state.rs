//! What a consumer is told of its PE's state: every row of `GET_STATE`.

use contain::plan::PlatformState as State;
use contain::vfio::{PeAnswer, PeStatus};

fn told(state: State) -> PeAnswer {
    PeStatus { state, above_is_recovered: false, removed: false }.answer()
}

#[test]
fn the_states_have_the_numbers_of_vfio() {
    use PeAnswer::{Normal, Reset, Stopped, StoppedDma, Unavailable};
    assert_eq!([Normal, Reset, Stopped, StoppedDma, Unavailable].map(|state| state as u32), [0, 1, 2, 4, 5]);
}

#[test]
fn a_pe_with_mmio_and_dma_is_normal() {
    assert_eq!(told(State::MMIO_ENABLED | State::DMA_ENABLED), PeAnswer::Normal);
}

#[test]
fn a_pe_in_reset_is_in_reset_whatever_else_it_is() {
    assert_eq!(told(State::RESET_ACTIVE), PeAnswer::Reset);
    assert_eq!(told(State::RESET_ACTIVE | State::MMIO_ENABLED | State::DMA_ENABLED), PeAnswer::Reset);
}

#[test]
fn a_frozen_pe_is_stopped() {
    assert_eq!(told(State::empty()), PeAnswer::Stopped);
}

#[test]
fn a_pe_whose_dma_alone_is_frozen_has_stopped_its_dma() {
    assert_eq!(told(State::MMIO_ENABLED), PeAnswer::StoppedDma);
}

#[test]
fn a_pe_of_which_that_makes_no_sense_is_unavailable() {
    assert_eq!(told(State::DMA_ENABLED), PeAnswer::Unavailable);
    assert_eq!(told(State::UNAVAILABLE), PeAnswer::Unavailable, "and not just stopped");
}

#[test]
fn a_pe_below_one_that_is_isolated_or_recovered_is_unavailable_unless_it_failed_for_good() {
    let normal = State::MMIO_ENABLED | State::DMA_ENABLED;
    let below = |removed| PeStatus { state: normal, above_is_recovered: true, removed }.answer();
    assert_eq!((below(false), below(true)), (PeAnswer::Unavailable, PeAnswer::Normal));
    let reset = PeStatus { state: State::RESET_ACTIVE, above_is_recovered: true, removed: false };
    assert_eq!(reset.answer(), PeAnswer::Unavailable);
}

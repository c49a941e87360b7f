//! The three ways to ring a doorbell: a message, a store to a mapped page, or a shadow buffer.

use std::sync::atomic::{Ordering, fence};

use gate::ThreadToken;
use nvme_spec::Doorbell;
use vfio_user::client::{Client, ClientError, MappedArea, SharedMemory};

use super::layout::{EVENT_INDEXES, SHADOW_DOORBELLS};
use super::registers::BAR0;

/// How doorbells are rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DoorbellChoice {
    /// The cheapest that the controller offers: mapped, then shadow, then trapped.
    #[default]
    Best,
    /// A store to the page that the controller lets be mapped.
    Mapped,
    /// Doorbell Buffer Config: a store to shared memory, and a message only when the controller sleeps.
    Shadow,
    /// A message each time.
    Trapped,
}

/// How doorbells are rung, decided.
#[derive(Debug)]
pub(super) enum Doorbells {
    /// A message each time. Admin doorbells are always rung like this in the shadow form, too.
    Trapped,
    /// A store; `start` is where the area begins in BAR 0.
    Mapped { area: MappedArea, start: u64 },
    /// A store to shared memory, and a message when the event index is passed.
    Shadow,
}

impl Doorbells {
    /// The name for reports.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Trapped => "trapped",
            Self::Mapped { .. } => "mapped",
            Self::Shadow => "shadow",
        }
    }

    /// Rings `bell`, whose last value was `old`, with `value`.
    #[inline]
    pub(super) fn ring(
        &self,
        token: &mut ThreadToken,
        client: &mut Client,
        memory: &SharedMemory,
        stride: u8,
        bell: Doorbell,
        (old, value): (u16, u16),
    ) -> Result<(), ClientError> {
        match self {
            Self::Mapped { area, start } => {
                let offset = usize::try_from(bell.offset(stride) - start).ok();
                let cell = offset.and_then(|offset| area.atomic_u32(offset));
                let cell = cell.ok_or(ClientError::Request("the doorbell lies outside the mapped area"))?;
                cell.store(u32::from(value).to_le(), Ordering::Release);
                Ok(())
            }
            Self::Shadow if !is_admin(bell) => {
                if shadow(memory, stride, bell, old, value) {
                    post(token, client, stride, bell, value)?;
                }
                Ok(())
            }
            Self::Trapped | Self::Shadow => post(token, client, stride, bell, value),
        }
    }
}

fn is_admin(bell: Doorbell) -> bool {
    matches!(bell, Doorbell::SubmissionTail(0) | Doorbell::CompletionHead(0))
}

/// A posted write: its failure shows as a command that is never completed.
fn post(
    token: &mut ThreadToken,
    client: &mut Client,
    stride: u8,
    bell: Doorbell,
    value: u16,
) -> Result<(), ClientError> {
    client.region_post(token, BAR0, bell.offset(stride), &u32::from(value).to_le_bytes())
}

/// Stores to the shadow buffer; true if the controller asked to be told about this value.
///
/// NVMe Base 1.4 s5.7 Doorbell Buffer Config command.
fn shadow(memory: &SharedMemory, stride: u8, bell: Doorbell, old: u16, value: u16) -> bool {
    let Ok(offset) = usize::try_from(bell.shadow_offset(stride)) else { return true };
    let cells = (memory.atomic_u32(SHADOW_DOORBELLS + offset), memory.atomic_u32(EVENT_INDEXES + offset));
    let (Some(cell), Some(event)) = cells else { return true };
    cell.store(u32::from(value).to_le(), Ordering::Release);
    // The store must be visible before the event index is read: the controller publishes the index and then looks
    // at the doorbell once more, so one of the two sees the other.
    fence(Ordering::SeqCst);
    // The index has 16 bits; anything else in the cell is the controller's fault, and a message does no harm.
    u16::try_from(u32::from_le(event.load(Ordering::Relaxed))).map_or(true, |event| passes(old, value, event))
}

/// Whether moving from `old` to `value` passes `event`, modulo 2^16.
fn passes(old: u16, value: u16, event: u16) -> bool {
    value.wrapping_sub(event).wrapping_sub(1) < value.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_due_exactly_when_the_event_index_is_passed() {
        assert!(passes(3, 4, 3), "the controller has seen 3 and wants to hear of 4");
        assert!(passes(3, 9, 5));
        assert!(!passes(3, 4, 2), "told already");
        assert!(!passes(3, 4, 4), "not there yet");
        assert!(passes(1022, 2, 1023), "around the ring");
        assert!(!passes(5, 5, 5), "nothing moved");
    }
}

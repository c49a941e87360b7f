//! The taps on what a device does: its interrupts and its accesses to memory. They are there only while a rule is about them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use assign::{DmaAccess, DmaTap, InterruptTap, InterruptVerdict, Port};
use gate::{CloseError, Deadline, ThreadToken};

use super::kind::{Kind, Target};
use super::shared::Shared;

/// How long the gate may take to close for a change of the taps.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sits behind a device.
struct Signals(Arc<Shared>);

impl InterruptTap for Signals {
    fn signalled(&self, vector: Option<u16>) -> InterruptVerdict {
        let Signals(shared) = self;
        if !shared.concerns(&[Target::Interrupt]) {
            return InterruptVerdict::Deliver;
        }
        let verdict = shared.ask(|state, now| {
            // INTx has no number, and is no more than one.
            let Some(hit) = state.plan.interrupt(now, vector.unwrap_or(0)) else {
                return InterruptVerdict::Deliver;
            };
            match hit.kind {
                Kind::IrqDrop => InterruptVerdict::Drop,
                Kind::IrqDuplicate => InterruptVerdict::Twice,
                _ if state.put_off(now, hit.delay, vector) => InterruptVerdict::Later,
                _ => InterruptVerdict::Deliver,
            }
        });
        if verdict == InterruptVerdict::Later {
            shared.changed.notify_all();
        }
        verdict
    }
}

impl DmaTap for Signals {
    fn fails(&self, iova: u64, len: u64, _access: DmaAccess) -> bool {
        let Signals(shared) = self;
        shared.concerns(&[Target::Dma]) && shared.ask(|state, now| state.plan.dma(now, iova, len))
    }
}

/// Has the device tapped for what the rules are about, and for nothing else. Whoever comes while another does that waits for it.
///
/// # Errors
/// The gate could not be closed for short passes. What is tapped is as it was.
pub(super) fn settle(shared: &Arc<Shared>, token: &mut ThreadToken) -> Result<(), CloseError> {
    let Some(port) = shared.port.get().and_then(Weak::upgrade) else { return Ok(()) };
    let deadline = Deadline::after(PATIENCE);
    while let Some((from, to)) = begin(shared, token, deadline) {
        let changed = change(shared, token, &port, (from, to), deadline);
        let mut state = shared.state.lock();
        state.changing = false;
        state.tapped = if changed.is_ok() { to } else { from };
        drop(state);
        shared.changed.notify_all();
        changed?;
    }
    Ok(())
}

/// What is tapped and what is to be, once nobody else changes it; `None` if that is the same, or nobody gets to it in time.
fn begin(shared: &Shared, token: &mut ThreadToken, deadline: Deadline) -> Option<(u8, u8)> {
    let mut state = shared.state.lock();
    while state.changing {
        let expired;
        (state, expired) = shared.changed.wait(state, token, deadline);
        if expired {
            return None;
        }
    }
    let of_device = Target::Interrupt.bit() | Target::Dma.bit();
    let wanted = state.plan.targets(shared.now()) & of_device;
    state.changing = wanted != state.tapped;
    state.changing.then_some((state.tapped, wanted))
}

fn change(
    shared: &Arc<Shared>,
    token: &mut ThreadToken,
    port: &Port,
    (from, to): (u8, u8),
    deadline: Deadline,
) -> Result<(), CloseError> {
    let is_changed = |target: Target| (from ^ to) & target.bit() != 0;
    let is_wanted = |target: Target| to & target.bit() != 0;
    let signals = || Arc::new(Signals(Arc::clone(shared)));
    if is_changed(Target::Interrupt) {
        let tap = is_wanted(Target::Interrupt).then(|| signals() as Arc<dyn InterruptTap>);
        port.tap_interrupts(token, tap, deadline)?;
    }
    if is_changed(Target::Dma) {
        let tap = is_wanted(Target::Dma).then(|| signals() as Arc<dyn DmaTap>);
        port.tap_dma(token, tap, deadline)?;
    }
    Ok(())
}

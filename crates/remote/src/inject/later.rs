//! The thread that does what comes later: interrupts that were put off, and faults of the back end that happen by time.
//!
//! It exists while a rule needs it ([`Rule::needs_thread`](super::Rule)) or an interrupt is on its way.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use gate::{AccessKind, Deadline, ThreadToken};

use super::shared::{Due, Shared};

/// Nothing here recurses.
const STACK_BYTES: usize = 256 * 1024;
/// The longest sleep (law 4). Whoever makes work wakes the thread.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long an interrupt waits for a closed function. A reset loses it, and so does whoever closes for longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// # Errors
/// The system has no thread left.
pub(super) fn start(shared: Arc<Shared>) -> io::Result<()> {
    let name = format!("inject-{}", shared.name);
    std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || run(&shared))?;
    Ok(())
}

fn run(shared: &Shared) {
    let mut token = ThreadToken::at_thread_entry();
    while let Some(due) = next(shared, &mut token) {
        match due {
            Due::Interrupt(vector) => signal(shared, &mut token, vector),
            Due::Fault(hit) => shared.strike(hit),
            Due::Nothing(_) => {}
        }
    }
}

/// Waits for the next thing to do. `None`: there is nothing, and the thread is written off.
fn next(shared: &Shared, token: &mut ThreadToken) -> Option<Due> {
    let mut state = shared.state.lock();
    loop {
        let when = match state.due(shared.now()) {
            Due::Nothing(Some(when)) if !state.over => when,
            Due::Nothing(_) => {
                state.runs = false;
                return None;
            }
            due => return Some(due),
        };
        let longest = Instant::now() + LONGEST;
        let until = shared.instant(when).map_or(longest, |when| when.min(longest));
        (state, _) = shared.changed.wait(state, token, Deadline::at(until));
    }
}

/// Signals an interrupt that was put off. A function that was reset meanwhile or cannot be reached has lost it.
fn signal(shared: &Shared, token: &mut ThreadToken, vector: Option<u16>) {
    let Some(port) = shared.port.get().and_then(Weak::upgrade) else { return };
    if let Ok(pass) = port.handle().enter(token, AccessKind::Interrupt, Deadline::after(PATIENCE)) {
        port.interrupts().deliver_late(&pass, vector);
    }
}

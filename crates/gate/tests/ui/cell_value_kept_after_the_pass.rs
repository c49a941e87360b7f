//! What is read under a pass does not outlive it.
use gate::{AccessKind, Gate, GateCell, ThreadToken};

fn main() {
    let gate = Gate::new("f");
    let cell = GateCell::new(&gate, 1);
    let handle = gate.handle();
    let token = ThreadToken::at_thread_entry();
    let pass = handle.try_enter(&token, AccessKind::Dma).unwrap();
    let value = cell.get(&pass);
    drop(pass);
    drop(*value);
}

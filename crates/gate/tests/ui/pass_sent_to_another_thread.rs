//! A short pass is written down in its thread's record and stays there.
use gate::Pass;

fn sendable<T: Send>() {}

fn main() {
    sendable::<Pass<'static>>();
}

//! A token says something about one thread.
use gate::ThreadToken;

fn sendable<T: Send>() {}
fn shareable<T: Sync>() {}

fn main() {
    sendable::<ThreadToken>();
    shareable::<ThreadToken>();
}

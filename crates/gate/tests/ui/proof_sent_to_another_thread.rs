//! A proof is bound to the thread whose token it borrows.
use gate::Quiesced;

fn sendable<T: Send>() {}

fn main() {
    sendable::<Quiesced<'static>>();
}

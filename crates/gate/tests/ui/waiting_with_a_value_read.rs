//! Law 1: a thread that reads a published value keeps its replacement waiting, so it cannot wait itself.
use gate::{Deadline, Published, ThreadToken};
use std::time::Duration;

fn main() {
    let value = Published::new(1);
    let mut token = ThreadToken::at_thread_entry();
    let reading = value.read(&token);
    let replaced = value.replace(&mut token, 2, Deadline::after(Duration::ZERO)).is_ok();
    drop((*reading, replaced));
}

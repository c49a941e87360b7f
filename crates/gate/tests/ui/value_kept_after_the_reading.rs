//! What is read of a published value does not outlive the reading.
use gate::{Published, ThreadToken};

fn main() {
    let value = Published::new(1);
    let token = ThreadToken::at_thread_entry();
    let reading = value.read(&token);
    let kept: &i32 = &reading;
    drop(reading);
    drop(*kept);
}

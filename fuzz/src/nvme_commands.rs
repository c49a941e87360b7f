//! Arbitrary bytes as guest memory, NVMe commands, register and doorbell writes; the controller must come back by a reset.
#![no_main]

use gate::ThreadToken;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static TOKEN: std::cell::RefCell<ThreadToken> = std::cell::RefCell::new(ThreadToken::at_thread_entry());
}

fuzz_target!(|bytes: &[u8]| {
    TOKEN.with_borrow_mut(|token| models::nvme::fuzz::commands(token, bytes));
});

//! Arbitrary bytes, cut into messages and parsed in every way that either side would.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    vfio_user::fuzz::codec(bytes);
});

//! Misuse that must not compile.
#![cfg(not(any(loom, shuttle, miri)))]

#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

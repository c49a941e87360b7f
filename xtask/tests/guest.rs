//! The guest scenarios, as tests that say how to run them: they boot virtual machines and need the lab.
//!
//! `cargo xtask guest-lab` prepares the lab once (as root); then `cargo xtask guest` runs all of them, and
//! `cargo test -p xtask --test guest -- --ignored --test-threads 1` runs these.

use std::process::Command;

/// Runs one scenario, in each interrupt mode if that makes a difference.
fn scenario(name: &str) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let status = Command::new(env!("CARGO")).current_dir(root).args(["xtask", "guest", name]).status();
    let status = status.expect("cargo runs");
    assert!(status.success(), "`cargo xtask guest {name}` failed; its output says where the logs are");
}

#[test]
#[ignore = "boots virtual machines: cargo xtask guest-lab && cargo xtask guest disk"]
fn a_guest_makes_a_file_system_and_verifies_what_it_wrote() {
    scenario("disk");
}

#[test]
#[ignore = "boots virtual machines: cargo xtask guest-lab && cargo xtask guest reboot"]
fn a_guest_finds_its_data_after_a_reboot() {
    scenario("reboot");
}

#[test]
#[ignore = "boots virtual machines: cargo xtask guest-lab && cargo xtask guest restart"]
fn a_new_machine_finds_the_data_of_the_one_before() {
    scenario("restart");
}

#[test]
#[ignore = "boots virtual machines: cargo xtask guest-lab && cargo xtask guest mapping"]
fn a_bar_that_a_guest_has_mapped_is_taken_back_at_any_time() {
    scenario("mapping");
}

#[test]
#[ignore = "boots virtual machines: cargo xtask guest-lab && cargo xtask guest hotplug"]
fn a_disk_comes_and_goes_under_load_whatever_the_guest_does() {
    scenario("hotplug");
}

#[test]
#[ignore = "boots virtual machines: cargo xtask guest-lab && cargo xtask guest freeze"]
fn a_disk_that_fails_under_load_is_recovered_until_it_fails_too_often() {
    scenario("freeze");
}

#[test]
#[ignore = "boots virtual machines: cargo xtask guest-lab && cargo xtask guest kill"]
fn a_back_end_that_is_killed_under_load_is_a_pause_and_another_disk_is_refused() {
    scenario("kill");
}

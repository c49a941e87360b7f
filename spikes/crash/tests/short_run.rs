//! A short run of the experiment, so that it goes on to compile, to run and to find what it should.

#![allow(clippy::unwrap_used)] // A test.

use std::process::Command;

/// Exit status, and for each row of the table (candidate, how killed) the counts of deaths, ok, lost, twice and torn.
fn exchange(candidate: &str) -> (bool, Vec<[u64; 5]>) {
    let output = Command::new(env!("CARGO_BIN_EXE_crash-spike"))
        .args(["exchange", "--stride", "41", "--storms", "1", "--candidates", candidate])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let counts = |line: &str| {
        let words: Vec<u64> = line.split_whitespace().rev().map_while(|word| word.parse().ok()).collect();
        <[u64; 5]>::try_from(words)
            .ok()
            .map(|[torn, twice, lost, ok, deaths]| [deaths, ok, lost, twice, torn])
    };
    let rows = text.lines().filter(|line| line.starts_with(candidate)).filter_map(counts).collect();
    (output.status.success(), rows)
}

#[test]
fn what_the_document_recommends_loses_and_repeats_nothing() {
    let (succeeded, rows) = exchange("peek-splice");
    assert!(succeeded, "{rows:?}");
    assert_eq!(rows.len(), 4);
    for [deaths, ok, lost, twice, torn] in rows {
        assert!(
            ok > 0 && lost + twice + torn == 0,
            "{deaths} deaths, {ok} ok, {lost} lost, {twice} twice, {torn} torn"
        );
    }
}

#[test]
fn a_server_that_notes_nothing_is_found_out() {
    let (_, rows) = exchange("plain");
    assert!(rows.iter().any(|[_, _, lost, twice, torn]| lost + twice + torn > 0), "{rows:?}");
}

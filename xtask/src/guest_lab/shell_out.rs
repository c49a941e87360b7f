//! Running other programs, with their output in the error when they fail.

use super::{During, LabError};
use std::process::{Command, Output};

/// How much of a failed program's output the error shows, in bytes from the end.
const SHOWN_BYTES: usize = 4000;

/// Runs a program to its end and gives what it wrote to standard output.
///
/// # Errors
/// [`LabError::Io`] if it cannot be started, [`LabError::Program`] if it ends with anything but success.
pub(super) fn output(command: &mut Command) -> Result<Vec<u8>, LabError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } = command.output().during(|| format!("run {program}"))?;
    if status.success() {
        return Ok(stdout);
    }
    let text = [stdout, stderr].concat();
    let shown = &text[text.len().saturating_sub(SHOWN_BYTES)..];
    Err(LabError::Program { program, status, output: String::from_utf8_lossy(shown).into_owned() })
}

/// As [`output`], for a program that writes text.
///
/// # Errors
/// As [`output`]. Bytes that are not UTF-8 are replaced.
pub(super) fn text(command: &mut Command) -> Result<String, LabError> {
    output(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

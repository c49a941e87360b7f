//! The operator: commands of the daemon's command line, as somebody at a terminal gives them.

use super::deadline::Deadline;
use super::process::Process;
use super::{During, GuestError};
use serde_json::Value;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The command line of one daemon.
#[derive(Debug)]
pub(super) struct Operator {
    program: PathBuf,
    control: PathBuf,
    /// For what the commands write.
    directory: PathBuf,
    commands: Cell<u32>,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Its exit status was 0.
    pub(super) succeeded: bool,
    /// The last JSON document that it wrote; null if there is none.
    pub(super) answer: Value,
    /// All that it wrote.
    pub(super) output: String,
    /// From its start to its end.
    pub(super) took: Duration,
}

impl Operator {
    /// The command line `program`, for the daemon that listens at `control`.
    pub(super) fn new(program: &Path, control: &Path, directory: &Path) -> Self {
        let commands = Cell::new(0);
        Self { program: program.into(), control: control.into(), directory: directory.into(), commands }
    }

    /// Gives a command and waits for its end, whatever it is.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`] when it has not ended after `allowed`, or an I/O error.
    pub(super) fn attempt(&self, arguments: &[&str], allowed: Duration) -> Result<Outcome, GuestError> {
        self.commands.set(self.commands.get() + 1);
        let log = self.directory.join(format!("command{}.log", self.commands.get()));
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--json").arg("--control").arg(&self.control);
        let start = Instant::now();
        let mut process = Process::spawn(&format!("portcullis {}", arguments.join(" ")), &mut command, &log)?;
        let status = process.wait(&Deadline::after(allowed))?;
        let output = process.output();
        let mut documents = output.lines().filter_map(|line| serde_json::from_str(line).ok());
        let answer = documents.next_back().unwrap_or_default();
        std::fs::remove_file(&log).during(|| format!("remove {}", log.display()))?;
        Ok(Outcome { succeeded: status.success(), answer, output, took: start.elapsed() })
    }

    /// Gives a command that must succeed.
    ///
    /// # Errors
    /// [`GuestError::Daemon`] with what it wrote when it does not, or as [`Operator::attempt`].
    pub(super) fn run(&self, arguments: &[&str], allowed: Duration) -> Result<Outcome, GuestError> {
        let outcome = self.attempt(arguments, allowed)?;
        if outcome.succeeded {
            return Ok(outcome);
        }
        Err(GuestError::Daemon(format!("`portcullis {}` fails:\n{}", arguments.join(" "), outcome.output)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    fn shell(directory: &Path) -> Operator {
        Operator::new(Path::new("sh"), Path::new("/run/control.sock"), directory)
    }

    #[test]
    fn the_answer_is_the_last_document_and_the_socket_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let script = "echo starting; echo '{\"a\":1}'; echo \"[\\\"$3\\\"]\"";
        let outcome = shell(directory.path()).run(&["-c", script, "x"], SOON).unwrap();
        assert_eq!(outcome.answer, serde_json::json!(["/run/control.sock"]));
    }

    #[test]
    fn a_command_that_fails_is_an_error_with_what_it_wrote_only_if_it_must_succeed() {
        let directory = tempfile::tempdir().unwrap();
        let operator = shell(directory.path());
        let failing = ["-c", "echo no such slot >&2; exit 3"];
        assert!(!operator.attempt(&failing, SOON).unwrap().succeeded);
        let error = operator.run(&failing, SOON).unwrap_err().to_string();
        assert!(error.contains("no such slot"), "{error}");
    }
}

//! The shell in the guest: commands go in over a serial line, output and exit status come back.
//!
//! The other end is the loop of the lab's `/init`. A request is the line `ID COMMAND`, the answer the command's output
//! and then the line `@ID STATUS`; `@ready` says that the loop has started, at boot. Kernel messages go elsewhere.

use super::GuestError;
use super::deadline::{Deadline, GUEST};
use super::lines::Lines;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The guest's terminal takes lines of up to 4095 bytes.
const LONGEST_COMMAND: usize = 4000;

/// How long a guest that was nudged gets to show that it has woken before it is nudged again.
const NUDGE: Duration = Duration::from_secs(2);

/// A connection to the guest's shell.
#[derive(Debug)]
pub(super) struct Console {
    lines: Lines,
    next_id: u32,
}

impl Console {
    /// Takes over the serial line's socket.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { lines: Lines::new(stream, "QEMU"), next_id: 1 }
    }

    /// Waits until the guest has booted.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], [`GuestError::Ended`].
    pub(super) fn wait_ready(&mut self) -> Result<(), GuestError> {
        let deadline = Deadline::after(GUEST);
        while self.lines.next(&deadline, &|| "the guest to boot".into())? != "@ready" {}
        Ok(())
    }

    /// Starts a command without waiting for it, for those that do not come back.
    ///
    /// # Errors
    /// [`GuestError::Ended`], or [`GuestError::Check`] for a command of more than one line or too many bytes.
    pub(super) fn send(&mut self, command: &str) -> Result<u32, GuestError> {
        if command.contains('\n') || command.len() > LONGEST_COMMAND {
            return Err(GuestError::Check(format!("not one short line: {command}")));
        }
        let id = self.next_id;
        self.next_id += 1;
        self.lines.send(&format!("{id} {command}\n"))?;
        Ok(id)
    }

    /// Runs a command and gives its output, standard error included.
    ///
    /// # Errors
    /// [`GuestError::Guest`] when its exit status is not 0, [`GuestError::Rebooted`], [`GuestError::TimedOut`],
    /// [`GuestError::Ended`].
    pub(super) fn run(&mut self, command: &str) -> Result<String, GuestError> {
        let id = self.send(command)?;
        self.finish(id, command)
    }

    /// Waits for the end of a command that was sent, and gives its output.
    ///
    /// # Errors
    /// As [`Console::run`].
    pub(super) fn finish(&mut self, id: u32, command: &str) -> Result<String, GuestError> {
        self.read_answer(id, command, false)
    }

    /// As [`Console::finish`], for a command that has put the guest to sleep: input on the line wakes it. What wakes
    /// it is lost with the state of the sleeping port, so this goes on until the guest says something.
    ///
    /// # Errors
    /// As [`Console::run`].
    pub(super) fn wake_and_finish(&mut self, id: u32, command: &str) -> Result<String, GuestError> {
        self.read_answer(id, command, true)
    }

    fn read_answer(&mut self, id: u32, command: &str, mut asleep: bool) -> Result<String, GuestError> {
        let deadline = Deadline::after(GUEST);
        let mut output = String::new();
        loop {
            let what = || format!("the guest to run `{command}`");
            let line = if asleep {
                self.lines.send("\n")?;
                match self.lines.next(&Deadline::after(NUDGE), &what) {
                    Err(GuestError::TimedOut { .. }) => {
                        deadline.left(&what)?;
                        continue;
                    }
                    other => other?,
                }
            } else {
                self.lines.next(&deadline, &what)?
            };
            asleep = false;
            if line == "@ready" {
                return Err(GuestError::Rebooted(command.into()));
            }
            if let Some(status) = status_of(&line, id) {
                // The marker starts on a line of its own, so one line end is not the command's.
                output.pop();
                return match status {
                    0 => Ok(output),
                    status => Err(GuestError::Guest { command: command.into(), status, output }),
                };
            }
            output.push_str(&line);
            output.push('\n');
        }
    }
}

/// The exit status in the line that ends the answer to `id`.
fn status_of(line: &str, id: u32) -> Option<u32> {
    line.strip_prefix('@')?.strip_prefix(&id.to_string())?.strip_prefix(' ')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn console(answers: &str) -> (Console, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(answers.as_bytes()).unwrap();
        (Console::new(ours), theirs)
    }

    #[test]
    fn output_is_what_the_command_wrote_and_no_more() {
        let (mut console, _guest) = console("one\ntwo\n\n@1 0\nno newline\n@2 0\n");
        assert_eq!(console.run("a").unwrap(), "one\ntwo\n");
        assert_eq!(console.run("b").unwrap(), "no newline");
    }

    #[test]
    fn a_failing_command_is_an_error_with_its_status_and_output() {
        let (mut console, _guest) = console("bad disk\n\n@1 32\n");
        let error = console.run("mount").unwrap_err();
        assert!(matches!(error, GuestError::Guest { status: 32, output, .. } if output == "bad disk\n"));
    }

    #[test]
    fn a_reboot_in_the_middle_of_a_command_is_noticed_at_once() {
        let (mut console, _guest) = console("half an\n\n@ready\n");
        assert!(matches!(console.run("fio"), Err(GuestError::Rebooted(command)) if command == "fio"));
    }

    #[test]
    fn a_guest_that_sleeps_is_nudged_and_its_answer_read() {
        let (mut console, mut guest) = console("\n@1 0\n");
        let id = console.send("echo freeze >/sys/power/state").unwrap();
        assert_eq!(console.wake_and_finish(id, "echo").unwrap(), "");
        let mut received = [0; 64];
        let count = std::io::Read::read(&mut guest, &mut received).unwrap();
        assert!(received[..count].ends_with(b"state\n\n"), "an empty line follows the command");
    }

    #[test]
    fn a_marker_of_another_command_is_output() {
        assert_eq!(status_of("@12 0", 1), None);
        assert_eq!(status_of("@1 17", 1), Some(17));
    }
}

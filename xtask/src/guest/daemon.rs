//! The daemon under test: built from this workspace, started on a configuration file, ended with SIGTERM.

use super::address::FUNCTION;
use super::deadline::Deadline;
use super::holdings::Holdings;
use super::process::Process;
use super::rig::Doorbells;
use super::source::Interrupt;
use super::subject::{MEMORY_BYTES, Subject};
use super::{During, GuestError};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// From start to socket, and from SIGTERM to exit with everything flushed.
const START_OR_STOP: Duration = Duration::from_secs(30);

/// The name of the one slot.
pub(super) const SLOT: &str = "slot0";

/// How many failures of a disk are recovered from.
pub(super) const BUDGET: u32 = 10;

/// How many losses of its back end a remote disk puts up with: more than any scenario has.
const MAX_LOSSES: u32 = 100_000;

/// Builds the daemon in release mode and says where it is.
///
/// # Errors
/// [`GuestError::Daemon`] when it does not build.
pub(super) fn build() -> Result<PathBuf, GuestError> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--package", "portcullis", "--message-format=json-render-diagnostics"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    let output = cargo.output().during(|| "run cargo".into())?;
    if !output.status.success() {
        return Err(GuestError::Daemon(format!("does not build: cargo ended with {}", output.status)));
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    executable_in(&messages).ok_or_else(|| GuestError::Daemon("cargo built no executable".into()))
}

/// The path of the daemon in cargo's messages, one JSON object a line.
fn executable_in(messages: &str) -> Option<PathBuf> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut daemons = parsed.filter(|message| message["target"]["name"] == "portcullis");
    daemons.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// A running daemon with one slot; dropping it kills it.
#[derive(Debug)]
pub(super) struct Daemon {
    process: Process,
    program: PathBuf,
    socket: PathBuf,
    control_socket: PathBuf,
}

/// What is on a disk.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// The file, which is made if there is none.
    pub(super) path: PathBuf,
    /// Its length in MiB.
    pub(super) mib: u64,
}

/// What the daemon is to serve, and where.
pub(super) struct Serve<'a> {
    pub(super) program: &'a Path,
    /// For the configuration, the sockets and the log.
    pub(super) directory: &'a Path,
    pub(super) subject: Subject,
    pub(super) image: &'a Image,
    /// The socket of the back end of a remote disk.
    pub(super) upstream: Option<&'a Path>,
    pub(super) irq: Interrupt,
    pub(super) doorbells: Doorbells,
}

impl Daemon {
    /// Starts the daemon and waits for its socket.
    ///
    /// # Errors
    /// [`GuestError::Daemon`] when it ends before, [`GuestError::TimedOut`], or an I/O error.
    pub(super) fn start(serve: &Serve<'_>) -> Result<Self, GuestError> {
        let run_dir = serve.directory.join("run");
        let file = serve.directory.join("portcullis.toml");
        fs::write(&file, configuration(serve, &run_dir)).during(|| format!("write {}", file.display()))?;
        let log = serve.directory.join("daemon.log");
        let process =
            Process::spawn("portcullis", Command::new(serve.program).arg("serve").arg(&file), &log)?;
        let socket = Self::socket_in(serve.directory);
        let (program, control_socket) = (serve.program.to_owned(), run_dir.join("control.sock"));
        let mut daemon = Self { process, program, socket, control_socket };
        daemon.wait_for_socket()?;
        Ok(daemon)
    }

    /// Where a daemon that lives in `directory` has its vfio-user socket.
    pub(super) fn socket_in(directory: &Path) -> PathBuf {
        directory.join("run").join(SLOT).join("cntrl")
    }

    /// The program, which is the command line too.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The vfio-user socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The socket that answers an operator.
    pub(super) fn control_socket(&self) -> &Path {
        &self.control_socket
    }

    /// Does `step` while the daemon stands still: what needs an answer of it is not done until this has returned.
    ///
    /// # Errors
    /// What `step` gives, or as [`Process::stand_still`].
    pub(super) fn stopped_during<T>(
        &self,
        step: impl FnOnce() -> Result<T, GuestError>,
    ) -> Result<T, GuestError> {
        let outcome = self.process.stand_still().and_then(|()| step());
        self.process.go_on();
        outcome
    }

    /// What the daemon holds now.
    ///
    /// # Errors
    /// As [`Holdings::of`].
    pub(super) fn holdings(&self) -> Result<Holdings, GuestError> {
        Holdings::of(self.process.id())
    }

    /// Fails if the daemon has ended.
    ///
    /// # Errors
    /// [`GuestError::Daemon`].
    pub(super) fn check_alive(&mut self) -> Result<(), GuestError> {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => {
                Err(GuestError::Daemon(format!("ended with {status}:\n{}", self.process.output())))
            }
        }
    }

    /// Asks the daemon to end and checks that it ends well.
    ///
    /// # Errors
    /// [`GuestError::Daemon`] when its exit status is not 0 or a thread of it panicked, [`GuestError::TimedOut`].
    pub(super) fn stop(mut self) -> Result<(), GuestError> {
        self.check_alive()?;
        self.process.signal(Signal::TERM);
        let status = self.process.wait(&Deadline::after(START_OR_STOP))?;
        let output = self.process.output();
        if !status.success() || output.contains("panicked at") {
            return Err(GuestError::Daemon(format!("ended after SIGTERM with {status}:\n{output}")));
        }
        Ok(())
    }

    /// There is nothing to poll for a file that does not exist yet, so this looks every 10 ms. The socket is not probed
    /// by connecting: it serves one client at a time, and a probe would be one.
    fn wait_for_socket(&mut self) -> Result<(), GuestError> {
        let deadline = Deadline::after(START_OR_STOP);
        while !self.socket.exists() {
            self.check_alive()?;
            deadline.left(&|| format!("the daemon's socket {}", self.socket.display()))?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// The daemon's configuration; the one place that knows its form.
fn configuration(serve: &Serve<'_>, run_dir: &Path) -> String {
    // A JSON string of printable characters is a TOML string too.
    let quoted = |path: &Path| Value::from(path.to_string_lossy()).to_string();
    let irq = if serve.subject.is_hot() { Interrupt::Msi } else { serve.irq };
    let device = match serve.subject {
        Subject::Disk | Subject::HotDisk => format!(
            "device = {{ model = \"nvme\", interrupts = \"{irq}\", doorbells = \"{}\" }}\n\
             backing = {{ kind = \"file\", path = {}, size = \"{}MiB\" }}\n",
            serve.doorbells,
            quoted(&serve.image.path),
            serve.image.mib,
        ),
        Subject::RemoteDisk => format!(
            "device = {{ model = \"remote\", upstream = {}, mode = \"replay\", max_losses = {MAX_LOSSES}, \
             interrupts = \"{irq}\", doorbells = \"{}\" }}\n",
            quoted(serve.upstream.unwrap_or(Path::new(""))),
            serve.doorbells,
        ),
        Subject::EndpointTest => {
            format!("device = {{ model = \"endpoint-test\", memory = \"{MEMORY_BYTES}B\", mapped = true }}\n")
        }
    };
    // QEMU has no use for the I/O region, and is to take a function that has one.
    format!(
        "[daemon]\n\
         run_dir = {}\n\
         \n\
         [containment]\n\
         max_freezes = {BUDGET}\n\
         \n\
         [[slot]]\n\
         name = \"{SLOT}\"\n\
         address = \"{FUNCTION}\"\n\
         {device}\
         zpci = {{ io_region = true }}\n",
        quoted(run_dir),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = "{\"target\":{\"name\":\"gate\"},\"executable\":null}\nnot json\n\
            {\"target\":{\"name\":\"portcullis\"},\"executable\":null}\n\
            {\"target\":{\"name\":\"portcullis\"},\"executable\":\"/t/release/portcullis\"}\n";
        assert_eq!(executable_in(messages), Some(PathBuf::from("/t/release/portcullis")));
    }

    /// A stand-in for the daemon: makes the socket's file, then does `then`.
    fn start(directory: &Path, then: &str) -> Result<Daemon, GuestError> {
        let program = directory.join("stand-in");
        let socket = directory.join(format!("run/{SLOT}/cntrl")).display().to_string();
        let script = format!(
            "#!/bin/sh\ntrap 'echo left; exit 3' TERM\n{}\n",
            then.replace("SERVE", &format!("mkdir -p \"${{0%/*}}/run/{SLOT}\"; : >'{socket}'"))
        );
        // Written by another process: one that a test's thread forks meanwhile could still have it open for writing,
        // and then it cannot be run.
        let mut written = Command::new("sh");
        written.args(["-c", "printf %s \"$1\" >\"$0\"; chmod +x \"$0\""]);
        assert!(written.arg(&program).arg(script).status().unwrap().success());
        let image = Image { path: directory.join("disk.img"), mib: 1 };
        Daemon::start(&Serve {
            program: &program,
            directory,
            subject: Subject::Disk,
            image: &image,
            upstream: None,
            irq: Interrupt::Msi,
            doorbells: Doorbells::Trapped,
        })
    }

    #[test]
    fn a_daemon_that_ends_before_it_serves_is_an_error_with_what_it_said() {
        let directory = tempfile::tempdir().unwrap();
        let error = start(directory.path(), "echo no such backing; exit 2").unwrap_err();
        assert!(matches!(&error, GuestError::Daemon(text) if text.contains("no such backing")), "{error}");
    }

    #[test]
    fn a_daemon_that_leaves_with_an_error_after_sigterm_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let daemon = start(directory.path(), "SERVE; while :; do sleep 0.01; done").unwrap();
        let error = daemon.stop().unwrap_err();
        assert!(matches!(&error, GuestError::Daemon(text) if text.contains("left")), "{error}");
    }

    #[test]
    fn a_panic_in_the_log_is_a_fault_even_if_the_daemon_leaves_well() {
        let directory = tempfile::tempdir().unwrap();
        let then =
            "trap 'exit 0' TERM; SERVE; echo thread worker panicked at x; while :; do sleep 0.01; done";
        assert!(matches!(start(directory.path(), then).unwrap().stop(), Err(GuestError::Daemon(_))));
    }

    #[test]
    fn a_daemon_that_leaves_well_is_no_fault() {
        let directory = tempfile::tempdir().unwrap();
        let then = "trap 'exit 0' TERM; SERVE; while :; do sleep 0.01; done";
        start(directory.path(), then).unwrap().stop().unwrap();
    }
}

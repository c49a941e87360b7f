//! QEMU's command line and its process.

use super::deadline::{Deadline, GUEST};
use super::platform::Platform;
use super::process::Process;
use super::{During, GuestError, lines};
use crate::guest_lab::Lab;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// A QEMU without a guest inside ends at once; one that flushes a disk may take a moment.
const EXIT: Duration = Duration::from_secs(30);

/// How QEMU is to be started.
pub(super) struct Machine<'a> {
    pub(super) lab: &'a Lab,
    /// For sockets and logs; short, since a UNIX socket's path has at most 107 bytes.
    pub(super) directory: &'a Path,
    /// Distinguishes the logs of the machines that one scenario starts.
    pub(super) number: u32,
    /// What it has around the device.
    pub(super) platform: Platform,
    /// Added to the kernel's command line, with a leading space.
    pub(super) kernel_arguments: &'a str,
    /// Where QEMU listens with a second monitor, for the daemon; the first is the scenario's.
    pub(super) monitor: Option<&'a Path>,
    /// Added to QEMU's command line: the device under test.
    pub(super) device: Vec<String>,
}

/// A running QEMU; dropping it kills it.
#[derive(Debug)]
pub(super) struct Qemu {
    process: Process,
}

/// The two channels into it.
pub(super) struct Channels {
    pub(super) qmp: UnixStream,
    pub(super) console: UnixStream,
}

impl Machine<'_> {
    /// Starts QEMU and waits for it to connect both channels.
    ///
    /// # Errors
    /// [`GuestError::Ended`] when QEMU ends before, [`GuestError::TimedOut`], or an I/O error.
    pub(super) fn start(&self) -> Result<(Qemu, Channels), GuestError> {
        let path = |name: &str| self.directory.join(format!("{name}{}", self.number));
        let listen =
            |path: &Path| UnixListener::bind(path).during(|| format!("listen on {}", path.display()));
        let (qmp_path, console_path) = (path("qmp"), path("console"));
        let (qmp, console) = (listen(&qmp_path)?, listen(&console_path)?);

        let mut qemu = self.lab.qemu();
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        // QEMU must not outlive a killed xtask. Software emulation: the machine may have no KVM, or a broken one.
        qemu.args(["-run-with", "exit-with-parent=on"]);
        qemu.args([
            "-machine",
            "q35,accel=tcg,memory-backend=mem0",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "512M",
        ]);
        // vfio-user needs memory that another process can map.
        qemu.args(["-object", "memory-backend-memfd,id=mem0,size=512M,share=on"]);
        qemu.arg("-kernel").arg(self.lab.kernel()).arg("-initrd").arg(self.lab.initrd());
        let (platform, device) = (self.platform.kernel_arguments(), self.kernel_arguments);
        qemu.arg("-append").arg(format!("console=ttyS0 loglevel=5 panic=-1{platform}{device}"));
        let log = |name: &str| path(name).with_extension("log").display().to_string();
        qemu.arg("-chardev").arg(format!("file,id=kernel,path={}", log("kernel")));
        let (socket, shell) = (console_path.display(), log("shell"));
        qemu.arg("-chardev").arg(format!("socket,id=console,path={socket},logfile={shell}"));
        qemu.args(["-serial", "chardev:kernel", "-serial", "chardev:console"]);
        qemu.arg("-qmp").arg(format!("unix:{}", qmp_path.display()));
        if let Some(monitor) = self.monitor {
            qemu.arg("-qmp").arg(format!("unix:{},server=on,wait=off", monitor.display()));
        }
        qemu.args(self.platform.qemu_arguments());
        qemu.args(["-device", "pcie-root-port,id=rp0,bus=pcie.0,chassis=1,slot=1,addr=2.0"]);
        qemu.args(&self.device);

        let mut process = Process::spawn("QEMU", &mut qemu, &log_in(self.directory, self.number))?;
        let channels = connect(&mut process, &qmp, &console)?;
        Ok((Qemu { process }, channels))
    }
}

/// Where machine `number` in `directory` leaves what QEMU itself writes.
pub(super) fn log_in(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("qemu{number}.log"))
}

/// Accepts both channels, looking now and then whether QEMU is still there: a refused device ends it at once.
fn connect(
    process: &mut Process,
    qmp: &UnixListener,
    console: &UnixListener,
) -> Result<Channels, GuestError> {
    let whole = Deadline::after(GUEST);
    let mut accept = |listener: &UnixListener, what: &str| loop {
        match lines::accept(listener, &Deadline::after(Duration::from_millis(200)), what) {
            Err(GuestError::TimedOut { .. }) => {}
            other => return other,
        }
        if let Some(status) = process.ended()? {
            return Err(GuestError::Ended(format!("QEMU ({status})")));
        }
        whole.left(&|| format!("QEMU's {what}"))?;
    };
    Ok(Channels { console: accept(console, "serial line")?, qmp: accept(qmp, "QMP")? })
}

impl Qemu {
    /// Waits for QEMU to end after it was asked to.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], or an I/O error.
    pub(super) fn wait(&mut self) -> Result<ExitStatus, GuestError> {
        self.process.wait(&Deadline::after(EXIT))
    }
}

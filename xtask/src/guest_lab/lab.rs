//! The lab's directory: where things are in it, when it is complete, and how it is made.

use super::{During, LabError, debian, initramfs, recipe, shell_out};
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names another directory for the lab, for instance one that CI keeps between runs.
const DIRECTORY_VARIABLE: &str = "PORTCULLIS_GUEST_LAB";

/// Where the packages of Debian's amd64 put shared libraries; fio's Ceph engine has a directory of its own.
const LIBRARIES: &[&str] = &["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/ceph"];

/// A lab that is complete, or the one being made.
#[derive(Debug)]
pub(crate) struct Lab {
    directory: PathBuf,
}

impl Lab {
    /// The complete lab on this machine.
    ///
    /// # Errors
    /// [`LabError::Incomplete`] when there is none or it is of another recipe.
    pub(crate) fn open() -> Result<Self, LabError> {
        let lab = Self { directory: default_directory() };
        if lab.is_complete() { Ok(lab) } else { Err(LabError::Incomplete(lab.directory)) }
    }

    /// Makes the lab unless it is complete already; `progress` is told each step.
    ///
    /// # Errors
    /// Any [`LabError`] but [`LabError::Incomplete`].
    pub(super) fn prepare(force: bool, progress: impl Fn(&str)) -> Result<Self, LabError> {
        let lab = Self { directory: default_directory() };
        fs::create_dir_all(&lab.directory).during(|| format!("create {}", lab.directory.display()))?;
        let lock = lab.directory.join("lock");
        let lock = File::create(&lock).during(|| format!("create {}", lock.display()))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(Into::into).during(|| "lock the lab".into())?;
        if lab.is_complete() && !force {
            progress("the lab is complete, nothing to do");
            return Ok(lab);
        }
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        lab.clear()?;
        progress("mmdebstrap: install if missing");
        debian::install_mmdebstrap()?;
        progress("unpack QEMU, the kernel and the guest's tools");
        debian::unpack(&lab.root())?;
        progress("pack the initramfs");
        let release = lab.kernel_release()?;
        initramfs::write(&lab, &release, &lab.initrd())?;
        let kernel = lab.root().join("boot").join(format!("vmlinuz-{release}"));
        fs::copy(&kernel, lab.kernel()).during(|| format!("copy {}", kernel.display()))?;
        progress(&lab.check_qemu()?);
        fs::write(lab.stamp(), recipe::version()).during(|| "write the stamp".into())?;
        Ok(lab)
    }

    /// Where everything is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The kernel image, for `-kernel`.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The guest's root file system, for `-initrd`.
    pub(crate) fn initrd(&self) -> PathBuf {
        self.directory.join("initrd")
    }

    /// QEMU, with the directories of its firmware.
    pub(crate) fn qemu(&self) -> Command {
        let mut qemu = self.program("usr/bin/qemu-system-x86_64");
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(self.root().join(firmware));
        }
        qemu
    }

    /// The unpacked Debian root.
    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// A program of the unpacked root, run on this machine by the root's own loader and libraries.
    pub(super) fn program(&self, path: &str) -> Command {
        self.program_as(path, path)
    }

    /// As [`Lab::program`], under another name, for programs that go by it.
    pub(super) fn program_as(&self, path: &str, name: &str) -> Command {
        let mut command = self.loader();
        command.args(["--argv0", name]).arg(self.root().join(path));
        command
    }

    /// The root's dynamic loader, told where its libraries are.
    pub(super) fn loader(&self) -> Command {
        let mut command = Command::new(self.root().join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
        let mut libraries = OsString::new();
        for directory in LIBRARIES {
            if !libraries.is_empty() {
                libraries.push(":");
            }
            libraries.push(self.root().join(directory));
        }
        command.arg("--library-path").arg(libraries);
        command
    }

    fn stamp(&self) -> PathBuf {
        self.directory.join("stamp")
    }

    fn is_complete(&self) -> bool {
        fs::read_to_string(self.stamp()).is_ok_and(|stamp| stamp == recipe::version())
    }

    /// Removes an earlier lab, its stamp first. Only what the lab itself makes is touched, since the directory's name
    /// may come from the environment.
    fn clear(&self) -> Result<(), LabError> {
        let missing_is_fine = |result: std::io::Result<()>| match result {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        for file in [self.stamp(), self.kernel(), self.initrd()] {
            missing_is_fine(fs::remove_file(&file)).during(|| format!("remove {}", file.display()))?;
        }
        let root = self.root();
        missing_is_fine(fs::remove_dir_all(&root)).during(|| format!("remove {}", root.display()))
    }

    /// The release of the one kernel that was unpacked.
    fn kernel_release(&self) -> Result<String, LabError> {
        let boot = self.root().join("boot");
        let entries = fs::read_dir(&boot).during(|| format!("read {}", boot.display()))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut releases = names.filter_map(|name| Some(name.strip_prefix("vmlinuz-")?.to_owned()));
        releases.next().ok_or_else(|| LabError::Missing("kernel in boot/".into()))
    }

    /// Runs QEMU once and says which one it is.
    fn check_qemu(&self) -> Result<String, LabError> {
        let text = shell_out::text(self.qemu().arg("--version"))?;
        let version = text.lines().next().unwrap_or_default();
        Ok(if version.contains(recipe::QEMU_VERSION) {
            version.to_owned()
        } else {
            format!(
                "WARNING: the server was written against QEMU {}, this is: {version}",
                recipe::QEMU_VERSION
            )
        })
    }
}

fn default_directory() -> PathBuf {
    std::env::var_os(DIRECTORY_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).join("target/guest-lab"),
        PathBuf::from,
    )
}

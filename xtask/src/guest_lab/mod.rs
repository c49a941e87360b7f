//! `cargo xtask guest-lab`: a QEMU, a Linux kernel and an initramfs to test the daemon with, built once and kept.
//!
//! The lab is a directory outside the tracked files (`target/guest-lab`, or the one `PORTCULLIS_GUEST_LAB` names):
//! an unpacked Debian root with QEMU 11 in `root/`, the guest's kernel in `vmlinuz`, its root file system in `initrd`,
//! and `stamp`, written last, with the version of the recipe that made them. A lab whose stamp is this recipe's is
//! used as it is.
//!
//! Nothing of the unpacked root is installed on the machine: its programs run under their own dynamic loader (see
//! [`Lab::program`]). The lab does not run guests; that is [`crate::guest`].
//!
//! Concurrency: preparing holds an exclusive `flock` on `lock` in the lab's directory, so that a second `guest-lab`
//! waits for the first and then finds the lab complete.

mod apt;
mod cpio;
mod debian;
mod initramfs;
mod lab;
mod modules;
mod recipe;
mod shell_out;

pub(crate) use lab::Lab;

use std::path::PathBuf;
use std::time::Instant;

/// Options of `guest-lab`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Build it again even if the lab that is there is complete
    #[arg(long)]
    force: bool,
}

/// Why the lab could not be prepared or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabError {
    /// Unpacking a Debian root sets owners and makes device nodes.
    #[error("the guest lab must be prepared as root: sudo -E cargo xtask guest-lab")]
    NotRoot,
    /// The lab is missing or was made by another version of the recipe.
    #[error("no complete guest lab in {}: run `cargo xtask guest-lab` as root first", .0.display())]
    Incomplete(PathBuf),
    /// The machine's apt knows no Debian mirror.
    #[error("apt on this machine names no Debian mirror for its own release: set {}", apt::MIRROR_VARIABLE)]
    NoMirror,
    /// A program ended with an error.
    #[error("`{program}` ended with {status}:\n{output}")]
    Program { program: String, status: std::process::ExitStatus, output: String },
    /// A file operation failed.
    #[error("cannot {action}")]
    Io { action: String, source: std::io::Error },
    /// The unpacked packages are not what the recipe expects.
    #[error("the unpacked packages hold no {0}")]
    Missing(String),
}

/// Adds to an I/O error what was being done.
trait During<T> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError::Io { action: action(), source })
    }
}

/// Runs `cargo xtask guest-lab`.
///
/// # Errors
/// Any [`LabError`]: the lab is then left without a stamp and will be made anew by the next run.
pub(crate) fn command(options: &Options) -> Result<(), LabError> {
    let started = Instant::now();
    let lab = Lab::prepare(options.force, |step| {
        println!("[{:6.1} s] {step}", started.elapsed().as_secs_f64());
    })?;
    println!("[{:6.1} s] guest lab ready in {}", started.elapsed().as_secs_f64(), lab.directory().display());
    Ok(())
}

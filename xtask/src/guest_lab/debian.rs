//! Unpacks the lab's Debian packages into a directory, without installing anything.
//!
//! `mmdebstrap --variant=extract` resolves dependencies and unpacks; no maintainer script runs, so no chroot, no
//! mount and no daemon is needed.

use super::{During, LabError, apt, recipe, shell_out};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Links that Debian's `usr-is-merged` would make: no script of it ran.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib64"];

/// Installs mmdebstrap if it is missing.
///
/// # Errors
/// What running apt can give.
pub(super) fn install_mmdebstrap() -> Result<(), LabError> {
    if Command::new("mmdebstrap").arg("--version").output().is_ok() {
        return Ok(());
    }
    let install = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt.args(["install", "--yes", "--no-install-recommends", "mmdebstrap"]);
        shell_out::output(&mut apt).map(drop)
    };
    install().or_else(|_| {
        // A fresh container has no package lists.
        shell_out::output(Command::new("apt-get").arg("update"))?;
        install()
    })
}

/// Unpacks the recipe's packages into `root`, which must not exist.
///
/// # Errors
/// [`LabError::NoMirror`], [`LabError::Program`] with mmdebstrap's output, or an I/O error.
pub(super) fn unpack(root: &Path) -> Result<(), LabError> {
    let mirror = apt::mirror()?;
    let input = tempfile::tempdir().during(|| "make a temporary directory".into())?;
    let write = |name: &str, text: String| {
        let path = input.path().join(name);
        fs::write(&path, text).during(|| format!("write {}", path.display()))?;
        Ok::<_, LabError>(path)
    };
    let sources = [recipe::SUITE, recipe::BACKPORTS].map(|suite| mirror.source_line(suite)).concat();
    let sources = write("sources.list", sources)?;
    let preferences = write("preferences", preferences())?;
    let options = write("apt.conf", apt::transport_options()?)?;

    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--variant=extract", "--mode=root", "--architectures=amd64", "--format=directory"])
        .arg(format!("--include={}", recipe::PACKAGES.join(",")))
        .arg(format!("--aptopt={}", options.display()))
        .args(recipe::EXCLUDED_PATHS.iter().map(|path| format!("--dpkgopt=path-exclude={path}")))
        .env("LAB_PREFERENCES", &preferences)
        .arg("--setup-hook=mkdir -p \"$1/etc/apt/preferences.d\"")
        .arg("--setup-hook=cp \"$LAB_PREFERENCES\" \"$1/etc/apt/preferences.d/guest-lab\"")
        .args([Path::new(""), root, &sources]);
    shell_out::output(&mut mmdebstrap)?;

    for name in MERGED {
        let link = root.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new("usr").join(name), &link).during(|| format!("link {}", link.display()))?;
        }
    }
    Ok(())
}

/// Apt's pins: backports wins for QEMU and its firmware, and for nothing else.
fn preferences() -> String {
    let packages = recipe::FROM_BACKPORTS.join(" ");
    format!("Package: {packages}\nPin: release n={}\nPin-Priority: 990\n", recipe::BACKPORTS)
}

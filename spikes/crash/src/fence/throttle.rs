//! A slow disk: a control group of our own whose writes the block layer holds back.
//!
//! The bios wait inside the kernel with their submitter gone, which is what a slow or stuck disk looks like. Version 1 and
//! version 2 of control groups are tried. The group is removed on drop.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes per second that the writer may write.
const RATE: u64 = 16 << 20;

/// The control group.
pub(crate) struct Throttle(PathBuf);

impl Throttle {
    /// Makes the group, for the disk under `directory`.
    ///
    /// # Errors
    /// No permission, or a kernel without throttling.
    pub(crate) fn new(directory: &Path) -> Result<Self, String> {
        let device = fs::metadata(directory).map_err(|error| error.to_string())?.dev();
        let disk = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let name = format!("crash-spike-{}", std::process::id());
        let first = PathBuf::from("/sys/fs/cgroup/blkio").join(&name);
        let second = PathBuf::from("/sys/fs/cgroup").join(&name);
        let tries = [
            (first, "blkio.throttle.write_bps_device", format!("{disk} {RATE}")),
            (second, "io.max", format!("{disk} wbps={RATE}")),
        ];
        let mut last = String::new();
        for (group, file, value) in tries {
            match fs::create_dir(&group).and_then(|()| fs::write(group.join(file), value)) {
                Ok(()) => return Ok(Self(group)),
                Err(error) => {
                    let _ = fs::remove_dir(&group);
                    last = format!("{}: {error}", group.display());
                }
            }
        }
        Err(format!("no slow disk here ({last}); it needs root and the block layer's throttling"))
    }

    /// Puts a process into the group.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn admit(&self, pid: u32) -> Result<(), String> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
            .map_err(|error| format!("cgroup.procs: {error}"))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

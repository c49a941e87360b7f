//! The run directory: where the daemon's sockets live, and nobody else's.
//!
//! Whoever can connect to a socket here owns the function behind it, so the directory is 0700, belongs to the user
//! who runs the daemon, and is no symbolic link. One daemon holds it at a time, by a lock on the file `lock`; what
//! an earlier daemon left behind may therefore be removed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

/// Name of the control socket in the run directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// Longest path of a UNIX socket, in bytes: 108 with the final zero.
const SOCKET_PATH_MAX: usize = 107;

/// Why a directory cannot be the run directory.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// It could not be made or opened.
    #[error("cannot use {0} as run directory: {1}\nfix: name a directory you may write to with --run-dir")]
    Io(PathBuf, #[source] io::Error),
    /// A link or a file stands there.
    #[error("{0} is no directory or is a symbolic link\nfix: remove it, or name another with --run-dir")]
    NotADirectory(PathBuf),
    /// It belongs to another user.
    #[error(
        "{path} belongs to user {owner}, not to you ({user})\nfix: name a directory of your own with --run-dir"
    )]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs the daemon.
        user: u32,
    },
    /// Others may enter it. It is not changed silently: it may be a directory that others need, such as /tmp.
    #[error(
        "{path} is open to others (mode {mode:04o}), and whoever reaches a socket owns the disk behind it\n\
         fix: chmod 700 {path}, or name a directory of its own with --run-dir"
    )]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another daemon holds it.
    #[error("another `portcullis serve` uses {0}\nfix: stop it, or name another directory with --run-dir")]
    InUse(PathBuf),
    /// A socket in it would have too long a path.
    #[error(
        "the socket path {path} has {len} bytes, and a UNIX socket takes 107\n\
         fix: name a shorter directory with --run-dir, or shorten the slot's name"
    )]
    PathTooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
}

/// The user's own run directory: `$XDG_RUNTIME_DIR/portcullis`, else `/tmp/portcullis-UID`.
pub fn default_path() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_absolute()) {
        Some(dir) => Path::new(&dir).join("portcullis"),
        None => PathBuf::from(format!("/tmp/portcullis-{}", rustix::process::geteuid().as_raw())),
    }
}

/// A run directory that this process holds. Dropping it lets the next daemon in.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Keeps the lock; the file itself stays, since removing it would let two daemons lock two different files.
    _lock: File,
}

impl RunDir {
    /// Makes `path` if needed, checks it and takes its lock.
    ///
    /// # Errors
    /// [`RunDirError`] says what is wrong with the directory and what to do.
    pub fn hold(path: &Path) -> Result<Self, RunDirError> {
        let path = std::path::absolute(path).map_err(|e| RunDirError::Io(path.into(), e))?;
        make_private(&path)?;
        let lock_path = path.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            // Opening a FIFO that nobody reads would wait for ever.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&lock_path)
            .and_then(regular)
            .map_err(|e| RunDirError::Io(lock_path, e))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| RunDirError::InUse(path.clone()))?;
        Ok(Self { path, _lock: lock })
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the control socket is.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join(CONTROL_SOCKET)
    }

    /// Makes the directory of slot `name` and gives its socket's path, `<run_dir>/<name>/cntrl`.
    ///
    /// # Errors
    /// As [`RunDir::hold`], and [`RunDirError::PathTooLong`].
    pub fn slot_socket(&self, name: &str) -> Result<PathBuf, RunDirError> {
        let directory = self.path.join(name);
        let path = directory.join("cntrl");
        let len = path.as_os_str().len();
        if len > SOCKET_PATH_MAX {
            return Err(RunDirError::PathTooLong { path, len });
        }
        make_private(&directory)?;
        Ok(path)
    }
}

/// Makes `path` (and what leads to it) with mode 0700, or checks what is there.
fn make_private(path: &Path) -> Result<(), RunDirError> {
    let io_error = |e: io::Error| RunDirError::Io(path.into(), e);
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io_error(e)),
        _ => {}
    }
    // Opened without following a link, and judged by what was opened: nothing can be swapped in between.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => RunDirError::NotADirectory(path.into()),
        other => io_error(other.into()),
    })?;
    let metadata = File::from(opened).metadata().map_err(io_error)?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(RunDirError::ForeignOwner { path: path.into(), owner: metadata.uid(), user });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RunDirError::OpenToOthers { path: path.into(), mode });
    }
    Ok(())
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no regular file; remove it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_daemon_holds_a_directory_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let first = RunDir::hold(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        assert!(matches!(RunDir::hold(&path), Err(RunDirError::InUse(_))));
        drop(first);
        assert!(RunDir::hold(&path).is_ok(), "dropping lets the next one in");
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = RunDir::hold(dir.path()).unwrap_err();
        assert!(matches!(error, RunDirError::OpenToOthers { mode: 0o755, .. }), "{error}");
        assert!(error.to_string().contains("fix: chmod 700 "), "{error}");
        assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_link_to_a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("real"), &link).unwrap();
        assert!(matches!(RunDir::hold(&link), Err(RunDirError::NotADirectory(_))));
    }

    #[test]
    fn a_fifo_in_the_place_of_the_lock_is_an_error_and_not_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        drop(RunDir::hold(&path).unwrap());
        std::fs::remove_file(path.join("lock")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path.join("lock"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        assert!(matches!(RunDir::hold(&path), Err(RunDirError::Io(..))));
        // With a reader the FIFO opens, and is still no lock.
        let reader =
            File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path.join("lock")).unwrap();
        assert!(matches!(RunDir::hold(&path), Err(RunDirError::Io(..))));
        drop(reader);
    }

    #[test]
    fn a_socket_path_that_cannot_be_bound_is_found_before_binding() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::hold(&dir.path().join("r".repeat(120))).unwrap();
        assert!(matches!(run.slot_socket("disk0"), Err(RunDirError::PathTooLong { .. })));
    }
}

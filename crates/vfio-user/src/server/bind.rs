//! The socket file: made with mode 0600, never stolen from a server that lives, removed when ours ends.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, Stat, chmod, lstat, unlink};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use thiserror::Error;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// Why a socket cannot be made.
#[derive(Debug, Error)]
pub enum BindError {
    /// A server lives on this socket.
    #[error("{path}: another server listens on this socket; stop it or choose another path")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// There is a file that is no socket; it is left alone.
    #[error("{path}: there is a file that is not a socket; remove it or choose another path")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The path does not fit into a socket address (107 bytes).
    #[error("{path}: the path is too long for a socket (107 bytes at most)")]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("{path}: cannot make the socket: {errno}")]
    System {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
}

/// A listening socket and its file.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) listener: OwnedFd,
    path: PathBuf,
    /// Which file is ours: device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Makes the socket. A file that a dead server left behind is replaced.
    pub(super) fn bind(path: &Path) -> Result<SocketFile, BindError> {
        let path = crate::socket_path(path);
        let system = |errno| BindError::System { path: path.clone(), errno };
        let address = SocketAddrUnix::new(&path).map_err(|_| BindError::TooLong { path: path.clone() })?;
        let listener = stream_socket(SocketFlags::NONBLOCK).map_err(system)?;
        match bind(&listener, &address) {
            Ok(()) => {}
            Err(Errno::ADDRINUSE) => {
                remove_stale(&path, &address)?;
                bind(&listener, &address).map_err(system)?;
            }
            Err(errno) => return Err(system(errno)),
        }
        // Nobody can connect before `listen`, so there is no moment at which others could.
        let identity = chmod(&path, Mode::RUSR | Mode::WUSR)
            .and_then(|()| listen(&listener, BACKLOG))
            .and_then(|()| lstat(&path))
            .map_err(system)?;
        Ok(SocketFile { listener, identity: identify(&identity), path })
    }

    /// Where clients find it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have replaced the file meanwhile; that one is not ours to remove.
        if lstat(&self.path).is_ok_and(|stat| identify(&stat) == self.identity) {
            let _ = unlink(&self.path);
        }
    }
}

fn identify(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn stream_socket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags | SocketFlags::CLOEXEC, None)
}

/// Removes the file of a server that does not live any more. Two servers that start at the same moment over the
/// same stale file may both get here; the operator gives each function a path of its own.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), BindError> {
    let system = |errno| BindError::System { path: path.to_path_buf(), errno };
    match lstat(path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
            return Err(BindError::NotASocket { path: path.to_path_buf() });
        }
        Ok(_) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(system(errno)),
    }
    let probe = stream_socket(SocketFlags::NONBLOCK).map_err(system)?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => unlink(path).map_err(system),
        Err(Errno::NOENT) => Ok(()),
        // Connected, or its backlog is full: it lives.
        Ok(()) | Err(Errno::AGAIN) => Err(BindError::InUse { path: path.to_path_buf() }),
        Err(errno) => Err(system(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    #[test]
    fn the_socket_is_for_its_owner_only_and_goes_with_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nvme0.sock");
        let socket = SocketFile::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_gets_a_socket_named_cntrl() {
        let directory = tempfile::tempdir().unwrap();
        let socket = SocketFile::bind(directory.path()).unwrap();
        assert_eq!(socket.path(), directory.path().join("cntrl"));
        assert!(std::fs::metadata(socket.path()).unwrap().file_type().is_socket());
    }

    #[test]
    fn a_living_socket_is_not_stolen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let first = SocketFile::bind(&path).unwrap();
        assert!(matches!(SocketFile::bind(&path), Err(BindError::InUse { .. })));
        assert!(path.exists());
        drop(first);
        assert!(SocketFile::bind(&path).is_ok());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let stale = directory.path().join("stale");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        assert!(stale.exists());
        let socket = SocketFile::bind(&stale).unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "keep").unwrap();
        assert!(matches!(SocketFile::bind(&file), Err(BindError::NotASocket { .. })));
        assert_eq!(std::fs::read(&file).unwrap(), b"keep");
        // A file that replaced ours is not removed with ours.
        std::fs::remove_file(&stale).unwrap();
        std::fs::write(&stale, "other").unwrap();
        drop(socket);
        assert!(stale.exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_said_to_be() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        assert!(matches!(SocketFile::bind(&path), Err(BindError::TooLong { .. })));
    }
}
